"""TLS contexts for connections to endpoints: one per cluster, built when a configuration is loaded."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Fingerprint", "Tls", "contexts", "digests", "fault", "fingerprint"]

Fingerprint = tuple[object, ...]
Named = tuple[str, str | os.PathLike[str] | None]
"""A setting and the file that it names."""


class Tls:
    """A cluster's TLS settings, ready for use. Two objects with equal `fingerprint` are interchangeable.

    The object is part of a connection's key in the pool, by identity: different settings never share connections.
    The endpoint's certificate and name are always verified. No setting switches that off, because a self-signed
    certificate can be named as `ca`.
    """

    __slots__ = ("context", "fingerprint", "server_name")

    def __init__(self, settings: Any | None, fingerprint: Fingerprint) -> None:
        """`settings`: `ca`, `client_certificate` and `client_key` (file names), `server_name`; each may be `None`.

        Raises `OSError` (`ssl.SSLError` is one) if a file cannot be used.
        """
        self.fingerprint = fingerprint
        self.server_name: str | None = None if settings is None else settings.server_name
        ca = None if settings is None else settings.ca
        self.context = ssl.create_default_context(cafile=None if ca is None else os.fspath(ca))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        if ca is not None:
            # The file may hold any certificate, an endpoint's own too. Certificates of private authorities may lack
            # the extensions that only some versions of Python require.
            self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if settings is not None and settings.client_certificate is not None:
            # Without a password, OpenSSL would ask on the terminal for that of an encrypted key.
            self.context.load_cert_chain(settings.client_certificate, settings.client_key, password="")


def fingerprint(settings: Any | None) -> Fingerprint:
    """The settings and the contents of the files that they name: if equal, a context built earlier can be kept.

    Raises `OSError` if a file cannot be read.
    """
    if settings is None:
        return _system()
    own = _system() if settings.ca is None else ()
    return (settings.server_name, *own, *digests((settings.ca, settings.client_certificate, settings.client_key)))


def _system() -> Fingerprint:
    """What tells the system's file of authorities from a later one."""
    name = ssl.get_default_verify_paths().cafile
    try:
        stat = None if name is None else Path(name).stat()
    except OSError:
        stat = None
    return () if stat is None else (name, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def digests(files: Iterable[str | os.PathLike[str] | None]) -> Iterator[bytes | None]:
    """The SHA-256 of the content of each file. Raises `OSError` if a file cannot be read."""
    for name in files:
        yield None if name is None else hashlib.sha256(Path(name).read_bytes()).digest()


def contexts(
    settings: Mapping[str, Any | None], old: Mapping[str, Tls]
) -> tuple[dict[str, Tls], list[tuple[tuple[str, ...], str]]]:
    """A context for each cluster, and (path, message) for each cluster whose settings cannot be used.

    Contexts of `old` whose settings are unchanged are kept.
    """
    made: dict[str, Tls] = {}
    problems: list[tuple[tuple[str, ...], str]] = []
    for name, each in settings.items():
        try:
            current = fingerprint(each)
            kept = old.get(name)
            made[name] = kept if kept is not None and kept.fingerprint == current else Tls(each, current)
        except OSError as exc:
            ca = None if each is None else each.ca
            pair = (None, None) if each is None else (each.client_certificate, each.client_key)
            setting, why = fault(exc, (("client_certificate", pair[0]), ("client_key", pair[1])), ("ca", ca))
            path = ("clusters", name, "tls", setting) if setting else ("clusters", name, "tls")
            problems.append((path, why))
    return made, problems


def fault(exc: OSError, pair: tuple[Named, Named], ca: Named = ("", None)) -> tuple[str, str]:
    """Find the file that made TLS fail with `exc`: the name of its setting, and a message.

    `pair` is a certificate and its key, which may be in the certificate's file. The name is "" if several settings may
    be at fault.
    """
    (_, chain), (key_setting, key) = pair
    for (setting, file), kind in ((ca, "CERTIFICATE"), (pair[0], "CERTIFICATE"), (pair[1], "PRIVATE KEY")):
        if file is None:
            continue
        try:
            text = Path(file).read_bytes()
        except OSError as unreadable:
            return setting, f"`{os.fspath(file)}` cannot be read: {unreadable.strerror}"
        if b"-----BEGIN " not in text or f"{kind}-----".encode() not in text:
            return setting, f"`{os.fspath(file)}` contains no {kind.lower()} in PEM format"
        if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in text or b"Proc-Type: 4,ENCRYPTED" in text:
            return setting, f"`{os.fspath(file)}` contains an encrypted key; decrypt it (openssl pkey)"
        if key is None and file is chain and b"PRIVATE KEY-----" not in text:
            return setting, f"`{os.fspath(file)}` contains no private key; set {key_setting} to the file with the key"
    if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
        setting = pair[0][0] if key is None else key_setting
        return setting, f"`{key or chain}` does not contain the key of the certificate in `{chain}`"
    named = [(setting, file) for setting, file in (ca, *pair) if file is not None]
    if len(named) == 1:
        return named[0][0], f"`{named[0][1]}` cannot be used: {exc.strerror or exc}"
    listed = ", ".join(f"{setting} `{file}`" for setting, file in named)
    return "", f"{listed or 'TLS'} cannot be used: {exc.strerror or exc}"
