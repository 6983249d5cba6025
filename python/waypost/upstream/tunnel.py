"""A tunnel through a proxy by CONNECT (RFC 9110, section 9.3.6).

The proxy is not trusted: the strict response reader reads its answer, up to `MAX_HEAD` bytes, within the connect
timeout. Bytes after the head of a success would be taken for the endpoint's, so they end the connection.
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
"""Largest head of a proxy's answer, in bytes. The body of a refusal is not read."""

_ADVICE: Final = {
    407: "it requires a user name and a password, or different ones: http://USER:PASSWORD@HOST:PORT",
    403: "it does not allow this endpoint or its port",
    405: "it does not support CONNECT",
    502: "it cannot reach the endpoint",
    503: "it cannot reach the endpoint",
    504: "it cannot reach the endpoint",
}


class TunnelError(Exception):
    """The proxy opened no tunnel to the endpoint.

    `args[0]` is for clients and names no hosts; `detail` is for the log. Neither contains the proxy's credential.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail

    @classmethod
    def unreachable(cls, proxy: Proxy, exc: OSError) -> Self:
        """The error for a proxy to which no connection can be made."""
        what = "its name cannot be resolved" if isinstance(exc, socket.gaierror) else "no connection to it"
        return cls(f"its proxy cannot be reached: {what}", f"{proxy}: {exc}")


async def open_tunnel(loop: asyncio.AbstractEventLoop, sock: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Ask the proxy at the other end of `sock` for a tunnel to `host` and `port`. Raises `TunnelError`."""
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
    """The CONNECT request (RFC 9112, section 3.2.3)."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    credential = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    return f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{credential}\r\n".encode("ascii")


async def _status(loop: asyncio.AbstractEventLoop, sock: socket.socket, proxy: Proxy) -> int:
    """The status of the proxy's final answer. Raises `TunnelError` if bytes follow the head of a success."""
    # Read as an answer to HEAD: a success has no body, whatever its fields say (RFC 9110, section 9.3.6).
    reader = ResponseReader("HEAD", max_head=MAX_HEAD)
    consumed = 0
    buffer = bytearray()
    while True:
        data = await loop.sock_recv(sock, MAX_HEAD)
        if not data:
            raise TunnelError("its proxy closed the connection", f"{proxy}: closed before it answered CONNECT")
        searched = max(0, len(buffer) - 3)
        buffer += data
        # One head at a time (interim ones may come first), so that `buffer` holds what follows the final one.
        while (end := buffer.find(b"\r\n\r\n", searched)) >= 0:
            head = bytes(buffer[: end + 4])
            del buffer[: end + 4]
            searched = 0
            consumed += len(head)
            try:
                found = reader.feed(head)[0]
            except UpstreamError as exc:
                raise _invalid_answer(proxy, exc.message) from exc
            if found is None:
                continue
            if buffer and 200 <= found.status < 300:
                raise _invalid_answer(proxy, "bytes follow the head of its answer to CONNECT")
            return found.status
        if consumed + len(buffer) > MAX_HEAD:
            raise _invalid_answer(proxy, f"the head of its answer is longer than {MAX_HEAD} bytes")


def _invalid_answer(proxy: Proxy, detail: str) -> TunnelError:
    return TunnelError("its proxy sent an invalid answer", f"{proxy}: {detail}")
