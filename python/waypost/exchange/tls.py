"""TLS towards endpoints: one context per cluster, built when a configuration is loaded."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Tls", "contexts", "fingerprint"]

Fingerprint = tuple[object, ...]


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
            where = f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)
            wrong[name] = f"TLS files of this cluster cannot be used ({where}): PEM files are needed"
    return made, wrong
