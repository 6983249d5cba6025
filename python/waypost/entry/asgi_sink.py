"""The sink of a message of the ASGI path: callbacks fill it, and the application's task empties it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from waypost.errors import WaypostError
from waypost.exchange.direct import Direct, DirectSink
from waypost.sink import Headers

if TYPE_CHECKING:
    from waypost._native import Endpoint, Plan
    from waypost.entry.asgi_shortcut import AsgiShortcut

__all__ = ["AsgiSink", "Send"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HIGH_WATER: Final = 256 * 1024
"""Bytes of a response that may wait for the client; with more, reading from the endpoint pauses."""

_logger = logging.getLogger("waypost")


class AsgiSink(DirectSink):
    """Takes a response from callbacks and passes it to `send`, no faster than the client reads it."""

    __slots__ = (
        "_aborted",
        "_answered_by_shortcut",
        "_chunks",
        "_ended",
        "_headers",
        "_loop",
        "_paused",
        "_size",
        "_status",
        "_trailers",
        "_waiter",
        "began",
        "direct",
        "release",
        "sent",
        "shortcut",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.direct: Direct | None = None
        """The carrier of the message, to slow it down or to end it."""
        self.shortcut: AsgiShortcut | None = None
        """The server's shortcut, if the client can be answered by it."""
        self.release: Callable[[], None] | None = None
        """Called once the bytes of the request are no longer needed."""
        self.began = False
        """The client got the head of a response, or is about to get it."""
        self.sent = 0
        self._loop = loop
        self._status = 0
        self._headers: Headers = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._answered_by_shortcut = False
        self._aborted = False
        self._paused = False
        self._trailers: Sequence[tuple[bytes, bytes]] = ()
        self._waiter: asyncio.Future[None] | None = None

    # Sink.

    def start(self, status: int, headers: Headers) -> None:
        self._status = status
        if status == 304:
            # The length is that of a body which is not sent (RFC 9110, section 8.6), but servers would wait for it.
            headers = [field for field in headers if field[0] != b"content-length"]
        self._headers = headers
        if self.release is not None:
            self.release()
        self._wake()

    def data(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.sent += len(chunk)
        self._size += len(chunk)
        if self._size > _HIGH_WATER and not self._paused:
            exchange = None if self.direct is None else self.direct.exchange
            if exchange is not None:
                self._paused = True
                exchange.pause_reading()
        self._wake()

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._trailers = trailers
        self._ended = True
        self._wake()

    def abort(self, error: WaypostError) -> None:
        _logger.info("a response stopped short: %s", error.message)
        self._aborted = True
        self._wake()

    def answer(self, plan: Plan, endpoint: Endpoint, data: bytes) -> bool | None:
        shortcut = self.shortcut
        if shortcut is not None and shortcut.writable:
            reusable = shortcut.answer(plan, endpoint, data)
            self._answered_by_shortcut = self.began = self._ended = reusable is not None
            return reusable
        answer = plan.answer_parts(endpoint, data)
        if answer is None:
            return None
        status, headers, body, self._trailers, reusable = answer
        if body:
            self._chunks.append(body)
            self.sent = len(body)
        self._ended = True
        self.start(status, headers)
        return reusable

    def done(self) -> None:
        if self._answered_by_shortcut and self.shortcut is not None:
            if self.release is not None:
                self.release()
            self._wake()
            self.shortcut.done()

    def client_gone(self) -> None:
        """End the message, because the client left."""
        direct, self.direct = self.direct, None
        if direct is not None:
            direct.cancel()
        self.disconnected()

    # The application's task.

    def disconnected(self) -> None:
        """Drop the response and wake the application's task, because the client left."""
        self._chunks.clear()
        self._aborted = True
        self._wake()

    async def relay(self, send: Send, *, trailers: bool) -> None:
        """Pass the whole response to `send`. Returns early if the response stops short.

        The server then sees that the application did not complete its response, and closes the connection without a
        clean end, which tells the client. `trailers` says whether the server can send trailers.
        """
        while not self._status:
            if self._aborted or self._ended:
                return  # the client left, or the shortcut has answered
            await self._wait()
        trailers = trailers and any(name == b"trailer" for name, _ in self._headers)
        start: dict[str, Any] = {"type": "http.response.start", "status": self._status, "headers": self._headers}
        if trailers:
            start["trailers"] = True
        self.began = True
        await send(start)
        while True:
            chunks = self._chunks
            if not chunks and not self._ended and not self._aborted:
                await self._wait()
                continue
            self._chunks = []
            self._size = 0
            ended = self._ended
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if body or ended:
                await send({"type": "http.response.body", "body": body, "more_body": not ended})
            if ended:
                break
            if self._aborted and not self._chunks:
                return
            if self._paused and self._size <= _HIGH_WATER:
                self._paused = False
                exchange = None if self.direct is None else self.direct.exchange
                if exchange is not None:
                    exchange.resume_reading()
        if trailers:
            await send({"type": "http.response.trailers", "headers": list(self._trailers), "more_trailers": False})

    async def _wait(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
