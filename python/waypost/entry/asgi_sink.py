"""The sink of a message of the ASGI path: callbacks fill it, and the application's task empties it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from waypost.entry.backlog import HELD_READ, SHARED_READ
from waypost.errors import WaypostError
from waypost.exchange.direct import Direct, DirectSink
from waypost.loop.eager import EagerAwait
from waypost.sink import COMMENT, Headers

if TYPE_CHECKING:
    from waypost._native import Endpoint, Plan
    from waypost.entry.asgi_shortcut import AsgiShortcut
    from waypost.entry.backlog import Backlog

__all__ = ["AsgiSink", "Send"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HIGH_WATER: Final = 4 * 1024
"""Bytes of a response that may wait for the application's task; with more, reading from the endpoint pauses."""

_logger = logging.getLogger("waypost")


class _StoppedShort(Exception):  # noqa: N818 - an event, not an error
    """The response was aborted while it waited for the client."""


class AsgiSink(DirectSink):
    """Takes a response from callbacks and passes it to `send`, no faster than the client reads it."""

    __slots__ = (
        "_aborted",
        "_answered_by_shortcut",
        "_backlog",
        "_blocked",
        "_chunks",
        "_counted",
        "_ended",
        "_headers",
        "_held",
        "_loop",
        "_paused",
        "_size",
        "_status",
        "_trailers",
        "_waiter",
        "began",
        "direct",
        "read_limit",
        "reads_limited",
        "release",
        "sent",
        "shortcut",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, backlog: Backlog | None = None) -> None:
        """`backlog` is that of the client's connection, if other responses share the connection."""
        self.reads_limited = backlog is not None
        self.read_limit = None if backlog is None else SHARED_READ
        self._backlog = backlog
        self._counted = 0
        """Bytes that the backlog counts."""
        self._held = False
        """The backlog holds the response back."""
        self._blocked: asyncio.Task[Any] | None = None
        """The application's task, while it waits for the client to read."""
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
        if self._held or self._size > _HIGH_WATER:
            self._pause()
        if self._backlog is not None:
            self._count(len(chunk))
        self._wake()

    def comment(self) -> None:
        self.data(COMMENT)

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._trailers = trailers
        self._ended = True
        self._wake()

    def abort(self, error: WaypostError) -> None:
        _logger.info("a response stopped short: %s", error.message)
        self._aborted = True
        self._wake()
        blocked, self._blocked = self._blocked, None
        if blocked is not None:
            blocked.cancel()  # the client may never read

    def answer(self, plan: Plan, endpoint: Endpoint, data: bytes) -> float | None:
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
            if self._backlog is not None:
                self._count(len(body))
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

    # Backpressure.

    def hold(self) -> None:
        """Part of `Holding`."""
        self._held = True
        self.read_limit = HELD_READ
        if self.direct is None:
            return
        self.direct.limit_reads(HELD_READ)
        if self._status and self.direct.exchange is not None:
            self.direct.exchange.pause_reading()

    def go_on(self) -> None:
        """Part of `Holding`."""
        self._held = False
        self.read_limit = SHARED_READ
        if self.direct is not None:
            self.direct.limit_reads(SHARED_READ)
        if not self._paused:
            self._resume()

    def _pause(self) -> None:
        """Read nothing more from the endpoint until all of the response so far is sent."""
        if not self._paused:
            exchange = None if self.direct is None else self.direct.exchange
            if exchange is not None:
                self._paused = True
                exchange.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        exchange = None if self.direct is None else self.direct.exchange
        if exchange is not None and not self._held:
            exchange.resume_reading()

    def _count(self, size: int) -> None:
        if self._backlog is not None:
            self._counted += size
            self._backlog.add(size)

    def _count_sent(self) -> None:
        """Everything is sent except what waits for the application's task."""
        if self._backlog is not None:
            sent = self._counted - self._size
            self._counted = self._size
            self._backlog.remove(sent)

    # The application's task.

    def disconnected(self) -> None:
        """Drop the response and wake the application's task, because the client left."""
        self._chunks.clear()
        self._aborted = True
        self._wake()

    async def relay(self, send: Send, *, trailers: bool) -> None:
        """Pass the whole response to `send`, as `_relay` says, and count it in the backlog."""
        backlog = self._backlog
        if backlog is None:
            with contextlib.suppress(_StoppedShort):
                await self._relay(send, trailers=trailers)
            return
        backlog.join(self)
        try:
            with contextlib.suppress(_StoppedShort):
                await self._relay(send, trailers=trailers)
        finally:
            backlog.leave(self, self._counted)
            self._backlog = None

    async def _relay(self, send: Send, *, trailers: bool) -> None:
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
        await self._unless_aborted(send(start))
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
                await self._unless_aborted(send({"type": "http.response.body", "body": body, "more_body": not ended}))
            if ended:
                break
            shortcut = self.shortcut
            if shortcut is not None and shortcut.stalled:
                await self._unless_aborted(shortcut.drained())
            self._count_sent()
            if self._aborted and not self._chunks:
                return
            if self._paused and self._size <= _HIGH_WATER:
                self._resume()
        if trailers:
            await self._unless_aborted(
                send({"type": "http.response.trailers", "headers": list(self._trailers), "more_trailers": False})
            )

    async def _unless_aborted(self, awaitable: Awaitable[None]) -> None:
        """Wait for the client to read. Raises `_StoppedShort` if the response is aborted meanwhile."""
        waiting = EagerAwait(awaitable)
        if waiting.done:
            return
        self._pause()  # the client is slower than the endpoint
        task = self._blocked = asyncio.current_task()
        try:
            await waiting
        except asyncio.CancelledError:
            if task is None or self._blocked is not None:
                raise
            task.uncancel()
            raise _StoppedShort from None
        finally:
            self._blocked = None

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
