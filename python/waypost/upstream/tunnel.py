"""A way through a proxy by CONNECT (RFC 9110, section 9.3.6).

The proxy is somebody else's: what it answers is read by the strict reader of responses, up to `MAX_HEAD` bytes, within
the time that a connection may take. Bytes behind the head of its consent would be taken for the endpoint's, and end it.
"""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import Final, Self

from waypost._native import ResponseReader
from waypost.config.proxy import Proxy
from waypost.errors import UpstreamError

__all__ = ["MAX_HEAD", "TunnelError", "open_tunnel"]

MAX_HEAD: Final = 16 * 1024
"""Bytes of a proxy's answer. What refuses may explain itself below the head; nobody reads that."""

_ADVICE: Final = {
    407: "it wants a user and a password, or other ones: http://USER:PASSWORD@HOST:PORT",
    403: "it does not allow this endpoint or its port",
    405: "it takes no CONNECT",
    502: "it cannot reach the endpoint",
    503: "it cannot reach the endpoint",
    504: "it cannot reach the endpoint",
}


class TunnelError(Exception):
    """The proxy gave no way to the endpoint.

    `args[0]` is for clients, who learn of no hosts, `detail` for the log. Neither holds the proxy's credential.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail

    @classmethod
    def unreachable(cls, proxy: Proxy, exc: OSError) -> Self:
        """There is no connection to the proxy itself."""
        what = "its name cannot be resolved" if isinstance(exc, socket.gaierror) else "no connection to it"
        return cls(f"its proxy cannot be reached: {what}", f"{proxy}: {exc}")


async def open_tunnel(loop: asyncio.AbstractEventLoop, sock: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Have the proxy at the other end of `sock` connect to `host` and `port`. Raises `TunnelError`."""
    try:
        await loop.sock_sendall(sock, _request(host, port, proxy))
        status = await _status(loop, sock, proxy)
    except OSError as exc:
        raise TunnelError("its proxy closed the connection", f"{proxy}: {exc}") from exc
    if not 200 <= status < 300:
        advice = _ADVICE.get(status)
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        raise TunnelError(
            f"its proxy refused with status {status}" + (f": {advice}" if advice and status != 407 else ""),
            f"{proxy}: {status} {phrase}".rstrip() + (f"; {advice}" if advice else ""),
        )


def _request(host: str, port: int, proxy: Proxy) -> bytes:
    """RFC 9112, section 3.2.3."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    credential = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    return f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{credential}\r\n".encode("ascii")


async def _status(loop: asyncio.AbstractEventLoop, sock: socket.socket, proxy: Proxy) -> int:
    """The status of the proxy's final answer, behind whose head nothing may stand where it is a consent."""
    # The head of what has no body, as a consent has none whatever its fields say (RFC 9110, section 9.3.6).
    reader = ResponseReader("HEAD", max_head=MAX_HEAD)
    taken = 0
    held = bytearray()
    while True:
        data = await loop.sock_recv(sock, MAX_HEAD)
        if not data:
            raise TunnelError("its proxy closed the connection", f"{proxy}: closed before it answered CONNECT")
        seen = max(0, len(held) - 3)
        held += data
        # Head by head (there may be interim ones), so that what stands behind the last one is known.
        while (end := held.find(b"\r\n\r\n", seen)) >= 0:
            head = bytes(held[: end + 4])
            del held[: end + 4]
            seen = 0
            taken += len(head)
            try:
                found = reader.feed(head)[0]
            except UpstreamError as exc:
                raise _garbage(proxy, exc.message) from exc
            if found is None:
                continue
            if held and 200 <= found.status < 300:
                raise _garbage(proxy, "bytes behind the head of its answer to CONNECT")
            return found.status
        if taken + len(held) > MAX_HEAD:
            raise _garbage(proxy, f"more than {MAX_HEAD} bytes before the end of its answer's head")


def _garbage(proxy: Proxy, what: str) -> TunnelError:
    return TunnelError("its proxy did not answer as a proxy does", f"{proxy}: {what}")
