"""The data path as a plain ASGI application: the one place that awaits.

Per message: look at the head, read the body (whole where a dialect has to read it), decide, then let an `Exchange`
run. Its callbacks fill an `AsgiSink`, which the application's own task empties into `send`; one more task listens for
the client leaving.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from waypost.dialects.errors import render_error
from waypost.errors import WaypostError
from waypost.exchange.exchange import Exchange
from waypost.exchange.sink import Headers

if TYPE_CHECKING:
    from waypost._native import Intake
    from waypost.app import Gateway, Generation

__all__ = ["AsgiSink", "DataPath"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HIGH_WATER: Final = 256 * 1024
"""Bytes of a response that wait for the client before reading from the endpoint pauses."""
_DISCARD_TIME: Final = 1.0
"""Seconds for which input is read and thrown away after an early refusal: closing at once could lose the answer."""
_DISCARD_FREELY: Final = 64 * 1024
"""An unread body of no more bytes than this does not cost the client its connection."""
_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")

_logger = logging.getLogger("waypost")


class _Disconnected(Exception):  # noqa: N818 - an event, not an error
    """The client left before its request was complete."""


class AsgiSink:
    """Takes a response from callbacks and gives it to `send`, no faster than the client takes it."""

    __slots__ = ("_aborted", "_chunks", "_ended", "_headers", "_loop", "_paused", "_size", "_status", "_trailers",
                 "_waiter", "began", "exchange", "release")  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange: Exchange | None = None
        """Whom to slow down."""
        self.release: Callable[[], None] | None = None
        """Called once the request's bytes are not needed any more."""
        self.began = False
        """The client was given the head, or is about to be."""
        self._loop = loop
        self._status = 0
        self._headers: Headers = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._aborted = False
        self._paused = False
        self._trailers: Sequence[tuple[bytes, bytes]] = ()
        self._waiter: asyncio.Future[None] | None = None

    # Sink.

    def start(self, status: int, headers: Headers) -> None:
        self._status = status
        if status == 304:
            # Says what a body would have been; servers take it for a promise of one.
            headers = [field for field in headers if field[0] != b"content-length"]
        self._headers = headers
        if self.release is not None:
            self.release()
        self._wake()

    def data(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > _HIGH_WATER and not self._paused and self.exchange is not None:
            self._paused = True
            self.exchange.pause()
        self._wake()

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._trailers = trailers
        self._ended = True
        self._wake()

    def abort(self, error: WaypostError) -> None:
        _logger.info("a response stopped short: %s", error.message)
        self._aborted = True
        self._wake()

    # The application's task.

    def disconnected(self) -> None:
        """The client left."""
        self._chunks.clear()
        self._aborted = True
        self._wake()

    async def relay(self, send: Send, *, trailers: bool) -> None:
        """Give all of the response to `send`. Returns early where it stopped short.

        The server then sees an application that did not complete its response, and closes the connection without a
        clean end, which is what tells the client. `trailers`: the server can send trailers.
        """
        while not self._status:
            if self._aborted:
                return
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
                if self.exchange is not None:
                    self.exchange.resume()
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


class DataPath:
    """Routes and forwards every message that reaches it."""

    __slots__ = ("_gateway",)

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": "not a WebSocket endpoint"})
            return
        request = _Request(self._gateway, scope, receive, send)
        try:
            await request.run()
        except _Disconnected:
            return
        except WaypostError as error:
            await request.refuse(error)
        except asyncio.CancelledError:
            if not self._gateway.draining:
                raise
            # The time that a drain may take is over. Returning short of the end is how the client gets to know.
            if not request.started:
                await request.refuse(WaypostError("draining", "this process is stopping: send messages elsewhere"))
        except Exception:
            if request.started:
                raise
            _logger.exception("a defect ended request %s", request.id)
            message = "a defect in Waypost ended this request; its log says more"
            await request.refuse(WaypostError("internal", message))


class _Request:
    """One request, from its head to the end of its response."""

    __slots__ = ("_budgeted", "_complete", "_gateway", "_generation", "_length", "_receive", "_scope", "_send",
                 "dialect", "id", "started")  # fmt: skip

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = ""
        self.dialect = ""
        self.started = False
        """The client was given the head of a response."""
        self._gateway = gateway
        self._generation: Generation = gateway.generation
        self._scope = scope
        self._receive = receive
        self._send = send
        self._length: int | None = None
        self._complete = False  # the request body was read to its end
        self._budgeted = 0  # bytes taken from the gateway's budget

    async def run(self) -> None:
        scope = self._scope
        headers = scope["headers"]
        for name, value in headers:
            if name == b"content-length":
                self._length = _content_length(value)
        client = scope.get("client")
        intake = self._generation.snapshot.accept(
            scope["method"],
            _target(scope),
            headers,
            client=client[0] if client else None,
            scheme=scope.get("scheme", "http"),
        )
        self.id = intake.id
        self.dialect = intake.dialect
        try:
            await self._exchange(intake, await self._read() if intake.buffered else None)
        finally:
            self._release()

    async def refuse(self, error: WaypostError) -> None:
        """Answer with `error`. What is left of the request is read and thrown away, for a bounded time."""
        dialect = self.dialect or error.dialect or "envelope"
        status, headers, body = render_error(dialect, error, error.message_id or self.id or self._own_id())
        request_id = self.id or self._own_id()
        headers.append((b"x-request-id", request_id.encode("ascii", "replace")))
        length = self._length
        rest = not self._complete and length != 0 and (length is not None or self._is_chunked())
        close = rest and (length is None or length > _DISCARD_FREELY)
        if close and self._scope.get("http_version", "1.1").startswith("1") and error.code != "bad_framing":
            headers.append((b"connection", b"close"))
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        if close and error.code != "draining":
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            body = b""
            try:
                async with asyncio.timeout(_DISCARD_TIME):
                    while True:
                        message = await self._receive()
                        if message["type"] == "http.disconnect" or not message.get("more_body"):
                            break
            except TimeoutError:
                pass
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    # The request.

    async def _read(self) -> bytes:
        limit = self._generation.body_limit
        if self._length is not None and self._length > limit:
            raise _too_large(limit)
        message = await self._next()
        chunk: bytes = message.get("body", b"")
        self._take(len(chunk), limit)
        if self._complete:
            return chunk
        chunks = [chunk]
        while not self._complete:
            message = await self._next()
            chunk = message.get("body", b"")
            self._take(len(chunk), limit)
            if chunk:
                chunks.append(chunk)
        return b"".join(chunks)

    async def _next(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        self._complete = not message.get("more_body", False)
        return message

    def _take(self, size: int, limit: int) -> None:
        """Count `size` bytes of body against this request's limit and the process's."""
        gateway = self._gateway
        self._budgeted += size
        gateway.buffered += size
        if self._budgeted > limit:
            raise _too_large(limit)
        if gateway.buffered > self._generation.buffered_limit:
            message = "too many request bodies are held at once (limits.buffered): try again"
            raise WaypostError("overloaded", message)

    def _release(self) -> None:
        self._gateway.buffered -= self._budgeted
        self._budgeted = 0

    # The response.

    async def _exchange(self, intake: Intake, body: bytes | None) -> None:
        plan = intake.plan(body)
        runtime = self._gateway.runtime()
        scope = self._scope
        first = b""
        streaming = False
        if body is None:
            first = (await self._next()).get("body", b"")
            if self._complete:
                body = first
            else:
                streaming = True
        sink = AsgiSink(runtime.loop)
        exchange = Exchange(
            runtime,
            self._generation.settings,
            plan,
            sink,
            body,
            method=scope["method"],
            streaming=streaming,
            length=self._length,
        )
        body = None  # the exchange knows how long it is needed
        sink.exchange = exchange
        sink.release = self._release
        exchange.begin()
        if streaming:
            listener = runtime.loop.create_task(self._stream(exchange, sink, first))
        else:
            listener = runtime.loop.create_task(self._listen(exchange, sink))
        try:
            await sink.relay(self._send, trailers="http.response.trailers" in (scope.get("extensions") or ()))
        finally:
            self.started = sink.began
            exchange.cancel()
            sink.exchange = sink.release = None  # a cycle would be the garbage collector's work
            if not listener.done():
                listener.cancel()

    async def _listen(self, exchange: Exchange, sink: AsgiSink) -> None:
        """Wait for the client to leave."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        exchange.cancel()
        sink.disconnected()

    async def _stream(self, exchange: Exchange, sink: AsgiSink, chunk: bytes) -> None:
        """Hand the request body on as it comes, then listen."""
        writable = asyncio.Event()
        exchange.on_writable = writable.set
        try:
            while not exchange.done:
                writable.clear()
                if chunk and not exchange.write(chunk):
                    await writable.wait()
                if self._complete:
                    exchange.finish()
                    break
                chunk = (await self._next()).get("body", b"")
        except _Disconnected:
            exchange.cancel()
            sink.disconnected()
            return
        await self._listen(exchange, sink)

    # What to say where `accept` refused.

    def _own_id(self) -> str:
        for name, value in self._scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                self.id = value.decode("ascii")
                return self.id
        self.id = uuid.uuid4().hex
        return self.id

    def _is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self._scope["headers"])


def _too_large(limit: int) -> WaypostError:
    return WaypostError("body_too_large", f"the request body is longer than limits.body, {limit} bytes")


def _content_length(value: bytes) -> int:
    # `accept` judges framing; this only has to be safe.
    return int(value) if value.isdigit() and len(value) < 19 else 0


def _target(scope: Scope) -> bytes:
    """The raw request target, relative to where the application is mounted."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        # Optional in ASGI. The path as the server decoded it is the best there is.
        from urllib.parse import quote  # noqa: PLC0415 - rare

        raw = quote(scope["path"], safe="/:@!$&'()*+,;=~").encode("ascii")
    root: str = scope.get("root_path", "")
    if root:
        prefix = root.rstrip("/").encode()
        if raw.startswith(prefix + b"/"):
            raw = raw[len(prefix) :]
    query: bytes = scope.get("query_string", b"")
    return raw + b"?" + query if query else raw
