"""TLS towards endpoints: one context per cluster, built when a configuration is loaded."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Tls", "contexts", "fault", "fingerprint"]

Fingerprint = tuple[object, ...]
Named = tuple[str, str | os.PathLike[str] | None]
"""A setting and the file that it names."""


class Tls:
    """A cluster's TLS settings, ready for use. Two of the same `fingerprint` are interchangeable.

    Part of a connection's key in the pool, by identity: connections are never shared between different settings.
    The endpoint's certificate and name are always verified; there is no way to switch that off, as an endpoint whose
    certificate nobody signed can have it named as `ca`.
    """

    __slots__ = ("context", "fingerprint", "server_name")

    def __init__(self, settings: Any | None, fingerprint: Fingerprint) -> None:
        """`settings`: `ca`, `client_certificate` and `client_key` (file names), `server_name`; each may be `None`.

        Raises `OSError` (`ssl.SSLError` is one) where a file cannot be used.
        """
        self.fingerprint = fingerprint
        self.server_name: str | None = None if settings is None else settings.server_name
        ca = None if settings is None else settings.ca
        self.context = ssl.create_default_context(cafile=None if ca is None else os.fspath(ca))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        if ca is not None:
            # Any certificate in the file is trusted, an endpoint's own too, and private authorities need not have the
            # extensions that some versions of Python ask for and others do not.
            self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if settings is not None and settings.client_certificate is not None:
            # Without a password OpenSSL would ask for that of an encrypted key on the terminal.
            self.context.load_cert_chain(settings.client_certificate, settings.client_key, password="")


def fingerprint(settings: Any | None) -> Fingerprint:
    """What tells whether a context built earlier can be kept: the settings, and what is in the files that they name.

    Raises `OSError` where a file cannot be read.
    """
    if settings is None:
        return ()
    found: list[object] = [settings.server_name]
    for name in (settings.ca, settings.client_certificate, settings.client_key):
        if name is None:
            found.append(None)
        else:
            found.append(hashlib.sha256(Path(name).read_bytes()).digest())
    return tuple(found)


def contexts(
    settings: Mapping[str, Any | None], old: Mapping[str, Tls]
) -> tuple[dict[str, Tls], list[tuple[tuple[str, ...], str]]]:
    """A context for each cluster, and what is wrong, each with its path, where there can be none.

    Unchanged ones of `old` are kept.
    """
    made: dict[str, Tls] = {}
    wrong: list[tuple[tuple[str, ...], str]] = []
    for name, each in settings.items():
        try:
            now = fingerprint(each)
            kept = old.get(name)
            made[name] = kept if kept is not None and kept.fingerprint == now else Tls(each, now)
        except OSError as exc:
            ca = None if each is None else each.ca
            pair = (None, None) if each is None else (each.client_certificate, each.client_key)
            setting, why = fault(exc, (("client_certificate", pair[0]), ("client_key", pair[1])), ("ca", ca))
            path = ("clusters", name, "tls", setting) if setting else ("clusters", name, "tls")
            wrong.append((path, why))
    return made, wrong


def fault(exc: OSError, pair: tuple[Named, Named], ca: Named = ("", None)) -> tuple[str, str]:
    """Which of the files that TLS was set up with made it fail with `exc`, by the name of its setting, and why.

    `pair` is a certificate and its key, which may be in the certificate's file. The setting is "" where several may be
    at fault.
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
            return setting, f"`{os.fspath(file)}` holds no {kind.lower()} in PEM form"
        if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in text or b"Proc-Type: 4,ENCRYPTED" in text:
            return setting, f"`{os.fspath(file)}` holds an encrypted key: decrypt it (openssl pkey)"
        if key is None and file is chain and b"PRIVATE KEY-----" not in text:
            return setting, f"`{os.fspath(file)}` holds no private key: name the file that does with {key_setting}"
    if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
        setting = pair[0][0] if key is None else key_setting
        return setting, f"`{key or chain}` does not hold the key of the certificate in `{chain}`"
    named = [(setting, file) for setting, file in (ca, *pair) if file is not None]
    if len(named) == 1:
        return named[0][0], f"`{named[0][1]}` cannot be used: {exc.strerror or exc}"
    listed = ", ".join(f"{setting} `{file}`" for setting, file in named)
    return "", f"{listed or 'TLS'} cannot be used: {exc.strerror or exc}"
