"""The listener's TLS context, built when a configuration is loaded, and renewed without losing a connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any, Self

from waypost.config.listen import ListenTls
from waypost.upstream import tls

__all__ = ["NAMES", "RenewedContext", "ServerTls", "server_tls"]

NAMES = ("certificate", "key", "client_ca")
"""How messages call the files."""


class ServerTls:
    """The listener's TLS settings, ready for use. Two objects with equal `fingerprint` are interchangeable."""

    __slots__ = ("context", "fingerprint")

    def __init__(self, settings: ListenTls, fingerprint: tls.Fingerprint) -> None:
        """Raises `OSError` (`ssl.SSLError` is one) if a file cannot be used."""
        self.fingerprint = fingerprint
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Without a password, OpenSSL would ask on the terminal for that of an encrypted key.
        context.load_cert_chain(settings.certificate, settings.key, password="")
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            # The file may hold any certificate, a client's own too, as a cluster's `tls.ca` may.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            required = settings.client_auth == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL


def server_tls(
    settings: ListenTls | None, old: ServerTls | None = None, names: Sequence[str] = NAMES
) -> tuple[ServerTls | None, list[tuple[str, str]]]:
    """The listener's TLS, and (name of the setting, message) for each problem. `old` is kept if nothing has changed."""
    if settings is None:
        return None, []
    try:
        files = [settings.certificate, settings.key, settings.client_ca]
        current = (settings.client_auth, *tls.digests(files))
        kept = old is not None and old.fingerprint == current
        return old if kept else ServerTls(settings, current), []
    except OSError as exc:
        certificate, key, client_ca = names
        pair = ((certificate, settings.certificate), (key, settings.key))
        setting, why = tls.fault(exc, pair, (client_ca, settings.client_ca))
        return None, [(setting, why)]


class RenewedContext(ssl.SSLContext):
    """Stands for the context that is in force when a handshake begins. Connections keep the one they began with."""

    _current: Callable[[], ServerTls | None]
    _protocols: list[str]
    _context: ssl.SSLContext

    def __new__(cls, current: Callable[[], ServerTls | None], protocols: Sequence[str]) -> Self:
        """`current` returns the TLS in force, or `None` for the last one. `protocols` are offered by ALPN."""
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._current = current
        self._protocols = list(protocols)
        self._context = self
        return self

    def wrap_bio(self, *args: Any, **how: Any) -> ssl.SSLObject:
        current = self._current()
        if current is not None and current.context is not self._context:
            if self._protocols:
                current.context.set_alpn_protocols(self._protocols)
            self._context = current.context
        return self._context.wrap_bio(*args, **how)
