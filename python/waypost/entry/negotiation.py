"""Decides whether a connection speaks HTTP/1 or, if that is installed, HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from waypost.entry.uvicorn_internals import HTTP2
from waypost.errors import WaypostError

if TYPE_CHECKING:
    import asyncio

    from waypost.entry.listener import Guard
    from waypost.entry.uvicorn_http1 import StrictHttp1
    from waypost.gateway import Gateway

__all__ = ["OFFERED", "agreed_on_http2", "begins_http2", "switch"]

OFFERED: Final[dict[str, Any]] = {"alpn_protocols": ["h2", "http/1.1"]} if HTTP2 else {}
"""Attributes of a protocol class that tell uvicorn what to offer by ALPN when it serves TLS."""
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of every HTTP/2 connection (RFC 9113, section 3.4)."""


def agreed_on_http2(transport: asyncio.BaseTransport) -> bool:
    """Whether client and server have agreed on HTTP/2 by ALPN."""
    tls = transport.get_extra_info("ssl_object")
    return tls is not None and tls.selected_alpn_protocol() == "h2"


def begins_http2(data: bytes) -> bool | None:
    """Whether the first bytes of a connection are the HTTP/2 preface; `None` if there are too few bytes to tell."""
    return None if len(data) < len(_PREFACE) and _PREFACE.startswith(data) else data.startswith(_PREFACE)


def switch(protocol: StrictHttp1, gateway: Gateway, guard: Guard, data: bytes) -> None:
    """Give the connection of `protocol`, and its first bytes `data`, to HTTP/2.

    Raises `WaypostError` (`bad_framing`) if HTTP/2 is not installed.
    """
    if not HTTP2:
        message = "this server does not speak HTTP/2: use HTTP/1.1, or install `waypost[http2]` on the server"
        raise WaypostError("bad_framing", message)
    from waypost.entry.http2 import Http2  # noqa: PLC0415 - there with the extra only

    transport = protocol.transport
    protocol.connections.discard(protocol)
    successor = Http2(gateway, guard, protocol.config, protocol.server_state, protocol.app_state, protocol.loop)
    transport.set_protocol(successor)
    successor.connection_made(transport)
    if data:
        successor.data_received(data)
