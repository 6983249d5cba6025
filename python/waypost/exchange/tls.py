"""TLS towards endpoints: one context per cluster, built when a configuration is loaded."""

from __future__ import annotations

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
        self.context.set_alpn_protocols(["http/1.1"])
        if settings is not None and settings.client_certificate is not None:
            self.context.load_cert_chain(settings.client_certificate, settings.client_key)


def fingerprint(settings: Any | None) -> Fingerprint:
    """What tells whether a context built earlier can be kept: the settings, and the state of the files they name.

    Raises `OSError` where a file is not there.
    """
    if settings is None:
        return ()
    found: list[object] = [settings.server_name]
    for name in (settings.ca, settings.client_certificate, settings.client_key):
        if name is None:
            found.append(None)
        else:
            stat = Path(name).stat()
            found.append((os.fspath(name), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


def contexts(settings: Mapping[str, Any | None], old: Mapping[str, Tls]) -> tuple[dict[str, Tls], dict[str, str]]:
    """A context for each cluster, and what is wrong where there can be none; unchanged ones of `old` are kept."""
    made: dict[str, Tls] = {}
    wrong: dict[str, str] = {}
    for name, each in settings.items():
        try:
            now = fingerprint(each)
            kept = old.get(name)
            made[name] = kept if kept is not None and kept.fingerprint == now else Tls(each, now)
        except OSError as exc:
            ca = None if each is None else each.ca
            pair = (None, None) if each is None else (each.client_certificate, each.client_key)
            wrong[name] = fault(exc, (("client_certificate", pair[0]), ("client_key", pair[1])), ("ca", ca))
    return made, wrong


def fault(exc: OSError, pair: tuple[Named, Named], ca: Named = ("", None)) -> str:
    """Which of the files that TLS was set up with made it fail with `exc`, by the name of its setting, and why.

    `pair` is a certificate and its key, which may be in the certificate's file.
    """
    (_, chain), (key_setting, key) = pair
    for (setting, file), kind in ((ca, "CERTIFICATE"), (pair[0], "CERTIFICATE"), (pair[1], "PRIVATE KEY")):
        if file is None:
            continue
        try:
            text = Path(file).read_bytes()
        except OSError as unreadable:
            return f"{setting}: `{os.fspath(file)}` cannot be read: {unreadable.strerror}"
        if b"-----BEGIN " not in text or f"{kind}-----".encode() not in text:
            return f"{setting}: `{os.fspath(file)}` holds no {kind.lower()} in PEM form"
        if key is None and file is chain and b"PRIVATE KEY-----" not in text:
            return f"{setting}: `{os.fspath(file)}` holds no private key: name the file that does with {key_setting}"
    if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"{key_setting}: `{key or chain}` does not hold the key of the certificate in `{chain}`"
    named = [f"{setting} `{file}`" for setting, file in (ca, *pair) if file is not None]
    return f"{', '.join(named) or 'TLS'} cannot be used: {exc.strerror or exc}"
