"""The data path as a plain ASGI application.

For each message, the application reads the head and the body (the whole body if its dialect needs it), decides, and
lets a `Direct` carry the message. Callbacks fill an `AsgiSink`, which the application's task empties into `send`.
Another task waits in `receive` for the client to leave. With the server's `AsgiShortcut`, a body that has arrived, a
whole response and a client that leaves need no `receive`, no `send` and no other task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, cast

from waypost.config.units import format_size
from waypost.dialects.errors import render_error, render_rejection
from waypost.entry.asgi_sink import AsgiSink, Send
from waypost.entry.extensions import BACKLOG, REJECTED, SHORTCUT
from waypost.errors import WaypostError
from waypost.exchange.direct import Direct
from waypost.exchange.upload import Upload
from waypost.gateway import CERTIFICATE
from waypost.loop.eager import EagerAwait
from waypost.loop.stall import Stall

if TYPE_CHECKING:
    from waypost._native import Intake
    from waypost.entry.asgi_shortcut import AsgiShortcut
    from waypost.entry.backlog import Backlog
    from waypost.exchange.exchange import Exchange
    from waypost.gateway import Gateway, Generation

__all__ = ["DataPath", "too_large"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_DISCARD_TIME: Final = 1.0
"""Time for which input is discarded after an early rejection, in seconds; closing at once could lose the answer."""
_DISCARD_LIMIT: Final = 64 * 1024
"""Largest unread body after which the connection stays open, in bytes."""
_logger = logging.getLogger("waypost")


class _Disconnected(Exception):  # noqa: N818 - an event, not an error
    """The client left before its request was complete."""


class DataPath:
    """The ASGI application that routes and answers messages."""

    __slots__ = ("_gateway",)

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        task = asyncio.current_task()
        if task is not None and type(task).cancel is asyncio.Task.cancel:
            return self._serve(scope, receive, send)
        # ASGI does not say that the server runs the application in a task that can be cancelled. Time limits need one.
        return asyncio.get_running_loop().create_task(self._serve(scope, receive, send))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await self._refuse_websocket(scope, send)
            return
        request = _Request(self._gateway, scope, receive, send)
        try:
            await request.run()
        except _Disconnected:
            request.client_gone()
            return
        except WaypostError as error:
            rejection = error
            if scope.get("root_path"):
                rejection.message = _mounted(error, scope["root_path"])
        except asyncio.CancelledError:
            if not self._gateway.draining:
                raise
            # The drain has run out of time. Returning before the end of the response tells the client.
            if request.started:
                return
            rejection = _draining_error()
        except Exception:
            if request.started:
                raise
            _logger.exception("a defect ended request %s", request.id)
            rejection = WaypostError("internal", "a defect in Waypost ended this request: see the log of Waypost")
        else:
            return
        with contextlib.suppress(_Disconnected, OSError):
            await request.reject(rejection)

    async def _refuse_websocket(self, scope: Scope, send: Send) -> None:
        """Answer a WebSocket's opening handshake: with 501 where the server can, otherwise by closing."""
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": "this gateway forwards HTTP messages only"})
            return
        message = "nothing here speaks WebSocket: this gateway forwards HTTP messages only, so send them by HTTP"
        error = WaypostError("not_implemented", message)
        status, headers, body = render_error("json", error, "")
        client = scope.get("client")
        self._gateway.recorder.record_rejection(
            error.code, status, client=client[0] if client else None, target=_target(scope), bytes_out=len(body)
        )
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})


class _Request:
    """One request, from its head to the end of its response."""

    __slots__ = (
        "_budgeted",
        "_complete",
        "_dispatched",
        "_extensions",
        "_gateway",
        "_generation",
        "_intake",
        "_length",
        "_receive",
        "_received",
        "_runtime",
        "_scope",
        "_send",
        "_shortcut",
        "dialect",
        "id",
        "started",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = ""
        self.dialect = ""
        self.started = False
        """The client got the head of a response."""
        self._gateway = gateway
        self._runtime = gateway.runtime()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._length: int | None = None  # of the body in bytes, if the head tells it
        self._received = -1  # bytes of the body; -1 before anything was received
        self._complete = False  # the request body was received to its end
        self._budgeted = 0  # bytes held of the gateway's budget
        self._dispatched = False  # the message has a plan, which records its end
        self._extensions: MutableMapping[str, Any] = scope.get("extensions") or {}
        self._shortcut: AsgiShortcut | None = (
            self._extensions[SHORTCUT]["shortcut"] if SHORTCUT in self._extensions else None
        )
        self._generation: Generation
        self._intake: Intake | None
        accepted = None if self._shortcut is None else self._shortcut.accepted
        self._generation, self._intake = (gateway.generation, None) if accepted is None else accepted

    async def run(self) -> None:
        intake = self._intake
        if self._shortcut is None and self._offers_upgrade():
            # The server may take the offer for an upgrade, and read nothing more from the connection.
            self._send = _closing(self._send)
        if intake is None:
            scope = self._scope
            client = scope.get("client")
            intake = self._intake = self._generation.snapshot.accept(
                scope["method"],
                _target(scope),
                scope["headers"],
                client=client[0] if client else None,
                scheme=scope.get("scheme", "http"),
                http_version=scope.get("http_version", "1.1"),
                certificate=self._extensions.get(CERTIFICATE),
            )
        self.id = intake.id
        self.dialect = intake.dialect
        self._length = intake.length
        try:
            # The body is not kept here: the plan has it for as long as it is needed.
            await self._exchange(
                intake, (self._take_whole_body() or await self._receive_body()) if intake.buffered else None
            )
        finally:
            self._release()

    async def reject(self, error: WaypostError) -> None:
        """Answer with `error`, and discard the rest of the request for at most `_DISCARD_TIME`."""
        message_id = error.message_id or self.id or ""
        dialect = self.dialect or error.dialect or "envelope"
        status, headers, body = render_rejection(dialect, error, message_id)
        if self._received < 0 and not self._length:
            await self._peek()
        remaining = None if self._length is None else self._length - max(self._received, 0)
        close = not self._complete and (remaining is None or remaining > _DISCARD_LIMIT)
        if close and self._scope.get("http_version", "1.1").startswith("1") and error.code != "bad_framing":
            headers.append((b"connection", b"close"))
        self.started = True
        self._record(error.code, status, message_id, len(body))
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

    def client_gone(self) -> None:
        """Record that the client left before its request was complete, or that the server rejected the rest."""
        rejection = self._server_rejection()
        if rejection is None:
            self._record(None, 0, self.id, 0)
        else:
            self._record(rejection.code, rejection.status, self.id, 0)

    def _server_rejection(self) -> WaypostError | None:
        return self._extensions.get(REJECTED)

    def _record(self, code: str | None, status: int, request_id: str, size: int) -> None:
        if self._dispatched:
            return
        scope = self._scope
        client = scope.get("client")
        self._gateway.recorder.record_rejection(
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

    def _take_whole_body(self) -> bytes | None:
        """Take the whole body by the shortcut. Returns `None` if it has not arrived, is too long or finds no room."""
        length, generation = self._length, self._generation
        if self._shortcut is None or not length or length > generation.body_limit:
            return None
        budget = self._gateway.budget
        if not budget.take(length, generation.buffered_limit):
            return None
        body = self._shortcut.take_body(self._receive)
        if body is None:
            budget.give(length)
            return None
        self._budgeted = length
        self._received = len(body)
        self._complete = True
        return body

    async def _receive_body(self) -> bytes:
        """Receive the whole body."""
        limit = self._generation.body_limit
        if self._length is not None and self._length > limit:
            raise too_large(limit)
        begun = EagerAwait(self._receive())
        if begun.done:
            message = begun.result
            body: bytes = message.get("body", b"")
            size = len(body)
            whole = message["type"] == "http.request" and not message.get("more_body", False)
            if whole and size <= limit and self._gateway.budget.take(size, self._generation.buffered_limit):
                # Most bodies have arrived already and need no timer.
                self._note_message(message)
                self._budgeted = size
                self._check_length()
                return body
        chunks: list[bytes] = []
        with Stall(self._runtime.wheel, self._generation.config.listen.body_timeout) as stall:
            message = self._note_message(await begun)
            while True:
                chunk: bytes = message.get("body", b"")
                if self._received > limit:
                    raise too_large(limit)
                if chunk:
                    size = len(chunk)
                    if not self._gateway.budget.take(size, self._generation.buffered_limit):
                        stall.hold()
                        await self._wait_for_room(size)
                    self._budgeted += size
                    chunks.append(chunk)
                    stall.restart()
                if self._complete:
                    break
                message = await self._next()
        self._check_length()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _wait_for_room(self, size: int) -> None:
        if not await self._gateway.budget.wait(size, self._generation.buffered_limit, self._runtime.wheel):
            message = "too many request bodies are held at once (limits.buffered): try again"
            raise WaypostError("overloaded", message)

    async def _next(self) -> MutableMapping[str, Any]:
        return self._note_message(await self._receive())

    def _note_message(self, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if message["type"] == "http.disconnect":
            raise _Disconnected
        self._complete = not message.get("more_body", False)
        self._received = max(self._received, 0) + len(message.get("body", b""))
        return message

    async def _peek(self) -> None:
        """Receive what has arrived. In every HTTP version, only this tells whether the request has a body."""
        try:
            async with asyncio.timeout(0):
                await self._next()
        except TimeoutError:
            pass

    def _check_length(self) -> None:
        """Compare the body with its announced length, which HTTP/2 does not enforce (RFC 9113, section 8.1.1)."""
        if not self._received and self._shortcut is None and self._offers_upgrade() and self._announces_body():
            message = (
                "the server dropped the request's body, because the request offers an upgrade (`upgrade`): use "
                "`waypost serve` or another server for such clients, or have the client offer nothing"
            )
            raise WaypostError("bad_framing", message)
        if self._length is not None and self._received != self._length:
            message = f"the request body has {self._received} bytes, its Content-Length is {self._length}"
            raise WaypostError("bad_framing", message)

    def _offers_upgrade(self) -> bool:
        scope = self._scope
        return scope.get("http_version") == "1.1" and any(name == b"upgrade" for name, _ in scope["headers"])

    def _announces_body(self) -> bool:
        return bool(self._length) or any(name == b"transfer-encoding" for name, _ in self._scope["headers"])

    def _release(self) -> None:
        if self._budgeted:
            self._gateway.budget.give(self._budgeted)
            self._budgeted = 0

    # The response.

    async def _exchange(self, intake: Intake, body: bytes | None) -> None:
        plan = intake.plan(body)
        runtime = self._runtime
        first = b""
        upload: Upload | None = None
        if body is None:
            with Stall(runtime.wheel, self._generation.config.listen.body_timeout):
                first = (await self._next()).get("body", b"")
            if self._complete:
                self._check_length()
                plan.attach(first)
            else:
                upload = Upload(self._length)
        body = None  # the plan has it for as long as it is needed
        backlog: Backlog | None = self._extensions[BACKLOG]["backlog"] if BACKLOG in self._extensions else None
        if backlog is not None:
            await backlog.room()
        sink = AsgiSink(runtime.loop, backlog)
        spare = runtime.spare
        direct = sink.direct = cast(Direct, spare.pop()) if spare else Direct(runtime, sink)
        direct.sink = sink
        self._dispatched = True
        sink.release = self._release
        shortcut = self._shortcut
        if shortcut is not None and shortcut.can_answer(self._send):
            sink.shortcut = shortcut
        listener: asyncio.Task[None] | None = None

        try:
            self._gateway.dispatcher.begin(direct, self._generation.settings, plan, upload)
            if upload is not None:
                listener = runtime.loop.create_task(self._stream(direct.exchange, sink, first))
            elif shortcut is not None and self._complete:
                shortcut.on_disconnect(sink.client_gone)
            else:
                listener = runtime.loop.create_task(self._listen(sink))
            with contextlib.suppress(OSError):  # the client has left (ASGI HTTP specification, 2.4)
                await sink.relay(self._send, trailers="http.response.trailers" in self._extensions)
        finally:
            self.started = sink.began
            if self._gateway.draining:
                exchange = direct.ensure_exchange()
                if exchange is not None and not exchange.done:
                    exchange.fail(_draining_error())  # the drain has run out of time
            sink.client_gone()
            sink.shortcut = sink.release = None  # no reference cycle for the garbage collector
            if shortcut is not None:
                shortcut.on_disconnect(None)
            if listener is not None and not listener.done():
                listener.cancel()
            runtime.recycle(direct)

    async def _listen(self, sink: AsgiSink) -> None:
        """Wait until the client leaves, then end the message."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        sink.client_gone()

    async def _stream(self, exchange: Exchange | None, sink: AsgiSink, chunk: bytes) -> None:
        """Pass the request body on as it arrives, then listen."""
        if exchange is None:
            return  # the route replies by itself, and needs no body
        writable = asyncio.Event()
        exchange.on_writable = writable.set
        try:
            while not exchange.done:
                writable.clear()
                if chunk and not exchange.write(chunk):
                    await writable.wait()
                if self._complete:
                    exchange.upload_complete()
                    break
                chunk = (await self._next()).get("body", b"")
        except _Disconnected:
            rejection = self._server_rejection()
            if rejection is not None:
                exchange.fail(rejection)
            sink.client_gone()
            return
        except Exception as exc:  # noqa: BLE001 - the task is not awaited: nobody else would tell the client
            exchange.defect(exc)
        await self._listen(sink)


def _closing(send: Send) -> Send:
    """`send` for a response after which the server ends the connection."""

    async def send_closing(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and (b"connection", b"close") not in message["headers"]:
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return send_closing


def _draining_error() -> WaypostError:
    return WaypostError("draining", "this process is stopping: send messages elsewhere")


def too_large(limit: int) -> WaypostError:
    """The error for a request body of more than `limit` bytes."""
    message = (
        f"the request body is longer than limits.body, which is {format_size(limit)}: send less, or raise the limit"
    )
    return WaypostError("body_too_large", message)


def _mounted(error: WaypostError, root: str) -> str:
    """The text of `error`, with its paths below `root`, as clients see them."""
    if error.code in ("not_found", "method_not_allowed", "not_implemented"):
        named = r"(?:^|(?<=[\s`]))/"
    elif error.code == "no_route":
        named = r"(?<=Did you mean `)/"  # any other path in it is as patterns see it
    else:
        return error.message
    return re.sub(named, lambda _: f"{root.rstrip('/')}/", error.message)


def _target(scope: Scope) -> bytes:
    """The raw request target, relative to where the application is mounted."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        # `raw_path` is optional in ASGI, so the decoded path has to do.
        from urllib.parse import quote  # noqa: PLC0415 - rare

        raw = quote(scope["path"], safe="/:@!$&'()*+,;=~").encode("ascii")
    root: str = scope.get("root_path", "")
    if root:
        prefix = root.rstrip("/").encode()
        if raw.startswith(prefix + b"/"):
            raw = raw[len(prefix) :]
    query: bytes = scope.get("query_string", b"")
    return raw + b"?" + query if query else raw
