"""The data path as a plain ASGI application: the one place that awaits.

Per message: look at the head, read the body (whole where a dialect has to read it), decide, then let an `Exchange`
run. Its callbacks fill an `AsgiSink`, which the application's own task empties into `send`; one more task listens for
the client leaving.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from waypost.config.units import format_size
from waypost.dialects.errors import render_error
from waypost.errors import WaypostError
from waypost.exchange.exchange import Exchange
from waypost.exchange.sink import Headers, Sink
from waypost.exchange.stall import Stall
from waypost.exchange.upload import Upload

if TYPE_CHECKING:
    from waypost._native import Intake
    from waypost.app import Gateway, Generation

__all__ = ["GONE", "REFUSED", "AsgiSink", "DataPath", "too_large"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

GONE: Final = "waypost.gone"
"""An extension of the scope. Its `call` takes a function to call when the client has left, or `None`: cheaper than
a task that waits in `receive`."""
REFUSED: Final = "waypost.refused"
"""An extension of the scope, there once the server has refused the rest of the request: the error that it answered. The
application then sees a client that has left."""
_HIGH_WATER: Final = 256 * 1024
"""Bytes of a response that wait for the client before reading from the endpoint pauses."""
_DISCARD_TIME: Final = 1.0
"""Seconds for which input is read and thrown away after an early refusal: closing at once could lose the answer."""
_DISCARD_FREELY: Final = 64 * 1024
"""An unread body of no more bytes than this does not cost the client its connection."""
_logger = logging.getLogger("waypost")


class _Disconnected(Exception):  # noqa: N818 - an event, not an error
    """The client left before its request was complete."""


class AsgiSink(Sink):
    """Takes a response from callbacks and gives it to `send`, no faster than the client takes it."""

    __slots__ = ("_aborted", "_chunks", "_ended", "_headers", "_loop", "_paused", "_size", "_status", "_trailers",
                 "_waiter", "began", "exchange", "release", "sent")  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange: Exchange | None = None
        """Whom to slow down."""
        self.release: Callable[[], None] | None = None
        """Called once the request's bytes are not needed any more."""
        self.began = False
        """The client was given the head, or is about to be."""
        self.sent = 0
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
        self.sent += len(chunk)
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
            request.left()
            return
        except WaypostError as error:
            refusal = error
            if scope.get("root_path"):
                refusal.message = _mounted(error, scope["root_path"])
        except asyncio.CancelledError:
            if not self._gateway.draining:
                raise
            # The time that a drain may take is over. Returning short of the end is how the client gets to know.
            if request.started:
                return
            refusal = _stopping()
        except Exception:
            if request.started:
                raise
            _logger.exception("a defect ended request %s", request.id)
            refusal = WaypostError("internal", "a defect in Waypost ended this request; its log says more")
        else:
            return
        with contextlib.suppress(_Disconnected):
            await request.refuse(refusal)


class _Request:
    """One request, from its head to the end of its response."""

    __slots__ = ("_budgeted", "_complete", "_exchanged", "_gateway", "_generation", "_intake", "_length", "_receive",
                 "_received", "_runtime", "_scope", "_send", "dialect", "id", "started")  # fmt: skip

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = ""
        self.dialect = ""
        self.started = False
        """The client was given the head of a response."""
        self._gateway = gateway
        self._generation: Generation = gateway.generation
        self._runtime = gateway.runtime()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._length: int | None = None  # of the body, as far as the head says
        self._received = -1  # bytes of the body; -1: not even whether there is one
        self._complete = False  # the request body was read to its end
        self._budgeted = 0  # bytes taken from the gateway's budget
        self._intake: Intake | None = None
        self._exchanged = False  # what becomes of it is its exchange's to tell

    async def run(self) -> None:
        scope = self._scope
        client = scope.get("client")
        intake = self._generation.snapshot.accept(
            scope["method"],
            _target(scope),
            scope["headers"],
            client=client[0] if client else None,
            scheme=scope.get("scheme", "http"),
            http_version=scope.get("http_version", "1.1"),
        )
        self._intake = intake
        self.id = intake.id
        self.dialect = intake.dialect
        self._length = intake.length
        try:
            await self._exchange(intake, await self._read() if intake.buffered else None)
        finally:
            self._release()

    async def refuse(self, error: WaypostError) -> None:
        """Answer with `error`. What is left of the request is read and thrown away, for a bounded time."""
        request_id = self.id or error.message_id or ""
        dialect = self.dialect or error.dialect or "envelope"
        status, headers, body = render_error(dialect, error, error.message_id or request_id)
        if request_id:
            headers.append((b"x-request-id", request_id.encode("ascii", "replace")))
        if self._received < 0 and not self._length:
            await self._look()
        rest = None if self._length is None else self._length - max(self._received, 0)
        close = not self._complete and (rest is None or rest > _DISCARD_FREELY)
        if close and self._scope.get("http_version", "1.1").startswith("1") and error.code != "bad_framing":
            headers.append((b"connection", b"close"))
        self.started = True
        self._record(error.code, status, error.message_id or request_id, len(body))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        if close and error.code != "draining":
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            body = b""
            try:
                async with asyncio.timeout(_DISCARD_TIME):
                    while not self._complete:
                        await self._next()
            except (TimeoutError, _Disconnected):
                pass
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def left(self) -> None:
        """The client left before its message was complete, or the server would not read on."""
        refusal = self._refusal()
        self._record(None if refusal is None else refusal.code, 0 if refusal is None else refusal.status, self.id, 0)

    def _refusal(self) -> WaypostError | None:
        return (self._scope.get("extensions") or {}).get(REFUSED)

    def _record(self, code: str | None, status: int, request_id: str, size: int) -> None:
        if self._exchanged:
            return
        scope = self._scope
        client = scope.get("client")
        self._gateway.recorder.refused(
            code,
            status,
            intake=self._intake,
            id=request_id,
            client=client[0] if client else None,
            method=scope["method"],
            target=_target(scope),
            bytes_in=max(self._received, 0),
            bytes_out=size,
        )

    # The request.

    async def _read(self) -> bytes:
        """The whole body."""
        limit = self._generation.body_limit
        if self._length is not None and self._length > limit:
            raise too_large(limit)
        chunks: list[bytes] = []
        with Stall(self._runtime) as stall:
            while not self._complete:
                chunk: bytes = (await self._next()).get("body", b"")
                if not chunk:
                    continue
                if self._received > limit:
                    raise too_large(limit)
                size = len(chunk)
                if not self._gateway.budget.take(size, self._generation.buffered_limit):
                    stall.hold()
                    await self._wait_for_room(size)
                self._budgeted += size
                chunks.append(chunk)
                stall.restart()
        self._check_length()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _wait_for_room(self, size: int) -> None:
        if not await self._gateway.budget.wait(size, self._generation.buffered_limit, self._runtime.wheel):
            message = "too many request bodies are held at once (limits.buffered): try again"
            raise WaypostError("overloaded", message)

    async def _next(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        self._complete = not message.get("more_body", False)
        self._received = max(self._received, 0) + len(message.get("body", b""))
        return message

    async def _look(self) -> None:
        """Take what of the request is there already. Whether it has a body, only this tells for every version."""
        try:
            async with asyncio.timeout(0):
                await self._next()
        except TimeoutError:
            pass

    def _check_length(self) -> None:
        """HTTP/1.1 servers cannot give another length than the head announced, others can (RFC 9113, section 8.1.1)."""
        if self._length is not None and self._received != self._length:
            message = f"the request body has {self._received} bytes, its Content-Length is {self._length}"
            raise WaypostError("bad_framing", message)

    def _release(self) -> None:
        if self._budgeted:
            self._gateway.budget.give(self._budgeted)
            self._budgeted = 0

    # The response.

    async def _exchange(self, intake: Intake, body: bytes | None) -> None:
        plan = intake.plan(body)
        runtime = self._runtime
        scope = self._scope
        first = b""
        upload: Upload | None = None
        if body is None:
            with Stall(runtime):
                first = (await self._next()).get("body", b"")
            if self._complete:
                self._check_length()
                plan.attach(first)
            else:
                upload = Upload(self._length)
        body = None  # the plan has it, for as long as it is needed
        sink = AsgiSink(runtime.loop)
        exchange = Exchange(runtime, self._generation.settings, plan, sink, upload=upload)
        self._exchanged = True
        sink.exchange = exchange
        sink.release = self._release
        extensions = scope.get("extensions") or {}
        gone: Callable[[Callable[[], None] | None], None] | None = None
        listener: asyncio.Task[None] | None = None

        def left() -> None:
            exchange.cancel()
            sink.disconnected()

        try:
            exchange.begin()
            if upload is not None:
                listener = runtime.loop.create_task(self._stream(exchange, sink, first))
            elif GONE in extensions and self._complete:
                gone = extensions[GONE]["call"]
                gone(left)
            else:
                listener = runtime.loop.create_task(self._listen(exchange, sink))
            await sink.relay(self._send, trailers="http.response.trailers" in extensions)
        finally:
            self.started = sink.began
            if self._gateway.draining and not exchange.done:
                exchange.fail(_stopping())  # the time that a drain may take is over
            exchange.cancel()
            sink.exchange = sink.release = None  # a cycle would be the garbage collector's work
            if gone is not None:
                gone(None)
            if listener is not None and not listener.done():
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
            refusal = self._refusal()
            if refusal is not None:
                exchange.fail(refusal)
            exchange.cancel()
            sink.disconnected()
            return
        except Exception as exc:  # noqa: BLE001 - a task of its own: nobody else would tell the client
            exchange.defect(exc)
        await self._listen(exchange, sink)


def _stopping() -> WaypostError:
    return WaypostError("draining", "this process is stopping: send messages elsewhere")


def too_large(limit: int) -> WaypostError:
    """What a body of more than `limit` bytes is refused with."""
    message = f"the request body is longer than limits.body, which is {format_size(limit)}: send less, or raise that"
    return WaypostError("body_too_large", message)


def _mounted(error: WaypostError, root: str) -> str:
    """The message, with the paths that it names as clients see them: below the mount."""
    if error.code in ("not_found", "method_not_allowed"):
        named = r"(?:^|(?<=[\s`]))/"
    elif error.code == "no_route":
        named = r"(?<=Did you mean `)/"  # what else it names is what patterns see
    else:
        return error.message
    return re.sub(named, lambda _: f"{root.rstrip('/')}/", error.message)


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
