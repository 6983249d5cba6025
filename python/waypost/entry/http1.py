"""Divides the bytes of a client's connection between the fast path and uvicorn, message by message.

More than 500 lines, because the states of one connection belong together.

The rules, all of them in this file:

- At a *boundary*, uvicorn has no message under way and none waiting, its parser stands between messages, and no fast
  message is under way. Bytes at a boundary are offered to `RequestReader`. An `Http1Sink` carries a plain message.
  Every other message goes to uvicorn, byte for byte as it came. With the fast path off, a plain message becomes an
  ASGI message at once, so that its head is not parsed twice.
- Bytes behind a message of uvicorn's belong to uvicorn until the next boundary. Bytes behind a fast message are kept,
  with reading paused, until that message is over.
- After an Upgrade, all further bytes belong to uvicorn.
- A connection that begins with the HTTP/2 preface, or has agreed on `h2` by ALPN, belongs to `Http2` for good.
- Bytes that are not HTTP, or that two parsers could read differently, are rejected on both paths, and the connection
  ends.
- A connection is rejected before anything is read if file descriptors are scarce.
- A slow client is disconnected. The limits are `listen.header_timeout` for a head and for the first byte of a new
  connection, `listen.body_timeout` between two pieces of a body, and uvicorn's `timeout_keep_alive` between messages.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from waypost._native import RequestReader
from waypost.entry.http1_sink import ClientClock, Http1Sink
from waypost.entry.listener import ListenerState
from waypost.entry.negotiation import OFFERED, agreed_on_http2, begins_http2, switch
from waypost.entry.uvicorn_http1 import HEAD_SLACK, StrictHttp1
from waypost.errors import WaypostError
from waypost.exchange.upload import Upload
from waypost.loop.descriptors import Descriptors

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from waypost._native import Endpoint, Intake, Plan, Step
    from waypost.config import Listen
    from waypost.exchange.runtime import Runtime
    from waypost.gateway import Gateway, Generation

__all__ = ["Http1", "fast_path"]

_logger = logging.getLogger("waypost")

_LINGER: Final = 1.0
"""Time for which input is discarded after a rejection, in seconds; closing at once could lose the answer."""
_CLOSE_TIME: Final = 30.0
"""Longest time without progress while a connection that is being closed sends its last bytes, in seconds."""
_DRAIN_CLOSE_TIME: Final = 5.0
"""The same during a drain."""
_WRITE_LIMIT: Final = 4 * 1024
"""Bytes that may wait for the client's socket before reading from the endpoint pauses."""

_State = Literal["new", "boundary", "head", "body", "exchange", "skip", "linger", "uvicorn"]
"""What the next bytes of a connection are.

`new`: the first bytes, which may be HTTP/2's. `boundary`: see above. `head`, `body`: more of an incomplete message.
`exchange`: more of the fast message under way, or surplus. `skip`: the rest of the body of a message that is over.
`linger`: to be discarded, because the last answer is written. `uvicorn`: uvicorn's.
"""


class Http1(StrictHttp1):
    """uvicorn's HTTP/1 protocol with the fast path beside it. `fast_path` makes the class for one application."""

    # Without slots, these would share a dictionary with uvicorn's attributes, and CPython optimizes only up to thirty.
    __slots__ = (
        "_body_remaining",
        "_budgeted",
        "_buffer",
        "_clock",
        "_fast",
        "_generation",
        "_intake",
        "_message_size",
        "_no_middleware",
        "_reader",
        "_sink",
        "_state",
        "_stopping",
        "_surplus",
        "_unsent_size",
        "gateway",
        "runtime",
        "unsent",
    )  # fmt: skip

    listener: ListenerState
    """The state of all connections of the application. Set by `fast_path`."""
    descriptor = -1
    """Part of `Writer`. A client may send bytes at any time, so its connection is never checked for them."""

    def spoke(self) -> None:
        """Part of `Writer`, for endpoints' connections."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        listener = self.listener
        if listener.fast and self.config.proxy_headers:
            listener.fast = False
            _logger.warning("the fast path is off, because it would ignore uvicorn's proxy_headers, which is on")
        self._fast = listener.fast and self.limit_concurrency is None
        self.gateway = listener.gateway
        self.runtime: Runtime = self.gateway.runtime()
        self._clock = ClientClock(self)
        self._sink = Http1Sink(self)
        self._reader = cast(RequestReader, None)
        self._state: _State = "new"
        self._buffer = bytearray()  # bytes of a message that is not complete or not decided
        self._intake: Intake | None = None
        self._generation: Generation | None = None
        self._message_size = 0  # bytes of `_buffer` that make the message complete
        self._budgeted = 0  # bytes held of the gateway's budget for `_buffer`
        self._body_remaining = 0  # bytes of a fast message's body that have not arrived
        self._surplus = b""  # bytes behind a fast message
        self._stopping = False
        self._unsent_size = 0  # bytes that waited for the client when the connection was being closed
        self.unsent = False
        """A response waits in the outbox."""
        self._no_middleware = listener.serves_directly(self.app)

    # The event loop's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(_WRITE_LIMIT)
        self._reader = RequestReader(client=self._address(), scheme=self.scheme or "http", certificate=self.certificate)
        self.gateway.recorder.client_connected()
        if self.reject_if_full(self.listener.descriptors):
            return
        if agreed_on_http2(transport):
            self._switch(b"")
        else:
            self._set_timeout(self._listen.header_timeout)

    def data_received(self, data: bytes) -> None:
        if self.unsent:
            self.runtime.outbox.flush()
        state = self._state
        if state == "boundary":
            if self.flow.write_paused:
                self._keep_surplus(data)
                return
            # The same as `_offer`, in one function, because nearly every fast message comes here.
            gateway = self.gateway
            generation = gateway.generation
            budget = gateway.budget
            held = budget.held
            room = -1
            if self._fast and not budget.waiting and held <= generation.spare:
                room = generation.body_limit
            try:
                result = self._reader.feed(generation.snapshot, data, room)
            except WaypostError as error:
                self._drop_partial()
                self.reject(error)
                return
            if not result or len(result) != 5:
                self._handle_undecided(generation, result, data)
                return
            plan, size, surplus, step, request = result
            budget.held = held + size
            if surplus or self._stopping or step is None:
                self._begin_decided(generation, plan, size, surplus, step, request)
                return
            self._state = "exchange"
            self._body_remaining = 0
            self._clock.deadline = math.inf  # the clock stays on the wheel
            sink = self._sink
            sink.plan = plan
            sink.budgeted = size
            sink.sent = 0
            sink.send(generation.settings, plan, step, request)
        elif state == "uvicorn":
            self._feed_uvicorn(data)
        elif state == "exchange" or state == "skip":  # noqa: PLR1714 - a tuple is slower
            self._receive_during_message(data)
        elif state == "head":
            self._buffer += data
            self._offer(data)
        elif state == "body":
            self._receive_body(data)
        elif state == "new":
            self._receive_first(data)

    def eof_received(self) -> None:
        if self.unsent:
            self.runtime.outbox.flush()
        # A client that has hung up gets no answer, and a close would first wait until everything is sent.
        if self._sink.busy:
            self._sink.cancel()
            self.transport.abort()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink.close()
        self.runtime.wheel.cancel(self._clock)
        if self._intake is not None:
            self.gateway.recorder.record_rejection(
                None, 0, intake=self._intake, id=self._intake.id, bytes_in=self._body_received()
            )
        self._drop_partial()
        self._surplus = b""
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        exchange = self._sink.ensure_exchange()
        if exchange is not None:
            exchange.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        exchange = self._sink.ensure_exchange()
        if exchange is not None:
            exchange.resume_reading()
        elif self._surplus and self._state == "boundary":
            self.loop.call_soon(self._next)

    # The server's calls.

    def shutdown(self) -> None:
        """Finish the messages that are in flight or waiting, then close."""
        if self.unsent:
            self.runtime.outbox.flush()
        self._stopping = True
        if self.transport.is_closing():
            self.close()  # sets the time anew
            return
        self._sink.closing = not self._surplus
        if self._state == "uvicorn":
            super().shutdown()
        elif self._state not in ("body", "exchange") and not self._surplus:
            self.close()

    def drain_expired(self) -> None:
        """End the connection, because the drain has run out of time."""
        if self.unsent:
            self.runtime.outbox.flush()
        if self._state == "exchange":
            self._sink.fail(WaypostError("draining", "this process is stopping: send messages elsewhere"))
        if self._state != "uvicorn":
            self.close()

    def write_answer(self, response: bytes, persistent: bool) -> None:
        outbox = self.runtime.outbox
        if persistent and outbox.collecting and not (self.pipeline or self._unparsed):
            self.unsent = True
            if not outbox.waiting:
                outbox.arm()
            outbox.waiting.append((self, response))
        else:
            self.transport.write(response)

    def close(self) -> None:
        super().close()
        self._unsent_size = self.transport.get_write_buffer_size()
        self._set_timeout(_DRAIN_CLOSE_TIME if self._stopping else _CLOSE_TIME)

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self.close()

    # A connection's first bytes.

    def _receive_first(self, data: bytes) -> None:
        if self._buffer:
            data = self._take_buffer() + data
        result = begins_http2(data)
        if result is None:
            self._buffer += data
            return
        self._state = "boundary"
        if result:
            self._switch(data)
        else:
            self._offer(data)

    def _switch(self, data: bytes) -> None:
        try:
            switch(self, self.gateway, data)
        except WaypostError as error:
            self.reject(error)
        else:
            self._sink.close()
        self.runtime.wheel.cancel(self._clock)

    # A boundary, and what is offered there.

    def _offer(self, data: bytes) -> None:
        """Offer bytes at a boundary, or bytes behind an incomplete head that was offered before."""
        generation = self.gateway.generation
        room = min(self.gateway.budget.room(generation.buffered_limit), generation.body_limit) if self._fast else -1
        try:
            result = self._reader.feed(generation.snapshot, data, room)
        except WaypostError as error:
            self._drop_partial()
            self.reject(error)
            return
        if result and len(result) == 5:
            self.gateway.budget.hold(result[1])
            if self._state != "boundary":
                self._buffer.clear()
            self._begin_decided(generation, *result)
        else:
            self._handle_undecided(generation, result, data)

    def _begin_decided(
        self,
        generation: Generation,
        plan: Plan,
        size: int,
        surplus: bytes,
        step: Endpoint | Step | None,
        request: bytes | None,
    ) -> None:
        """Carry a decided message. `surplus` arrived behind it."""
        self._leave_boundary(surplus)
        sink = self._sink
        if step is None:
            sink.carry(generation, plan, size)
        else:
            sink.plan = plan
            sink.budgeted = size
            sink.sent = 0
            sink.send(generation.settings, plan, step, request)

    def _handle_undecided(
        self, generation: Generation, result: tuple[Intake, bytes, bytes] | Literal[False] | None, data: bytes
    ) -> None:
        """Go on after an offer that decided no message. `result` is what `RequestReader.feed` returned."""
        if not result:
            if result is not None:
                self._fall_back(data)
            elif self._state == "boundary":
                self._state = "head"
                self._buffer += data
                self._set_timeout(self._listen.header_timeout)
            return
        intake, body, surplus = result
        length = intake.length
        if not self._fast:
            self._pass_to_application(generation, intake, data, body, surplus)
        elif length is not None and len(body) < length:
            self._begin_body(generation, intake, data, body, length)
        else:
            raw = data if self._state == "boundary" else self._take_buffer()
            self._decide_message(generation, intake, body, surplus, raw)

    def _take_buffer(self) -> bytes:
        raw = bytes(self._buffer)
        self._buffer.clear()
        return raw

    def _leave_boundary(self, surplus: bytes) -> None:
        """A fast message begins. `surplus` arrived behind it."""
        self._state = "exchange"
        self._body_remaining = 0
        self._clock.deadline = math.inf  # the clock stays on the wheel
        if surplus:
            self._keep_surplus(surplus)
        if self._stopping:
            self._sink.closing = not surplus

    def _decide_message(self, generation: Generation, intake: Intake, body: bytes, surplus: bytes, raw: bytes) -> None:
        """Decide and carry a message that is complete. `raw` has all of its bytes, and `surplus`."""
        size = len(body)
        if (intake.buffered and size > generation.body_limit) or not self.gateway.budget.take(
            size, generation.buffered_limit
        ):
            self._give_to_uvicorn(raw)  # the ASGI path rejects the message, or can wait
            return
        try:
            plan = intake.plan(body if intake.buffered else None)
        except WaypostError as error:
            self.gateway.budget.give(size)
            self._leave_boundary(surplus)
            self._sink.reject(intake, error, size)
            return
        if not intake.buffered:
            plan.attach(body)
        self._leave_boundary(surplus)
        self._sink.carry(generation, plan, size)

    def _begin_body(self, generation: Generation, intake: Intake, data: bytes, body: bytes, length: int) -> None:
        """Read or stream a body of which not all has arrived."""
        if intake.buffered:
            if length > generation.body_limit:
                self._fall_back(data)
                return
            if self._state == "boundary":
                self._buffer += data
            self._state = "body"
            self._intake = intake
            self._generation = generation
            self._message_size = len(self._buffer) - len(body) + length
            self._budget_body(len(body))
            return
        try:
            plan = intake.plan(None)
        except WaypostError:
            plan = None
        if plan is None:
            # The ASGI path answers the error and deals with the rest of the body.
            self._fall_back(data)
            return
        self._drop_partial()
        self._state = "exchange"
        self._body_remaining = length
        self._sink.carry(generation, plan, 0, Upload(length))
        exchange = self._sink.ensure_exchange()
        if exchange is not None:
            exchange.on_writable = self._writable
        self._receive_during_message(body)

    # Bodies.

    def _receive_body(self, data: bytes) -> None:
        raw = self._buffer
        raw += data
        generation, intake = self._generation, self._intake
        if generation is None or intake is None:
            return
        behind = len(raw) - self._message_size
        if behind < 0:
            self._budget_body(len(data))
            return
        whole = bytes(raw)
        length = intake.length or 0
        body, surplus = whole[self._message_size - length : self._message_size], whole[self._message_size :]
        self._drop_partial()
        self._decide_message(generation, intake, body, surplus, whole)

    def _budget_body(self, size: int) -> None:
        """Hold `size` more bytes of the budget for a body that is read whole."""
        generation = self._generation
        if generation is not None and size:
            if not self.gateway.budget.take(size, generation.buffered_limit):
                self._fall_back(b"")  # the ASGI path can wait
                return
            self._budgeted += size
        self._set_timeout(self._listen.body_timeout)

    def _receive_during_message(self, data: bytes) -> None:
        """Take bytes while a fast message is under way: more of its body, or surplus."""
        remaining = self._body_remaining
        if remaining:
            if len(data) > remaining:
                self._keep_surplus(data[remaining:])
                data = data[:remaining]
            self._body_remaining = remaining = remaining - len(data)
            exchange = self._sink.ensure_exchange()
            if exchange is not None:
                self._set_timeout(self._listen.body_timeout)
                writable = not data or exchange.write(data)
                if not self._sink.busy:
                    return  # the write ended the message
                if not writable or not remaining:
                    self._clock.deadline = math.inf
                if not remaining:
                    exchange.upload_complete()
                elif not writable:
                    self.flow.pause_reading()
            elif not remaining and self._state == "skip":
                self.boundary_reached()
        elif data:
            self._keep_surplus(data)

    def _writable(self) -> None:
        """The endpoint can take more of an upload, or the exchange is over."""
        if not self._surplus:
            self.flow.resume_reading()
        if self._body_remaining and self._sink.busy:
            self._set_timeout(self._listen.body_timeout)

    def _keep_surplus(self, data: bytes) -> None:
        self._surplus += data
        self.flow.pause_reading()

    # The end of a message.

    def message_done(self, response: bytes = b"") -> None:
        """A fast message is over. `response` is its whole response if that is still to be written."""
        self.server_state.total_requests += 1
        sink = self._sink
        if sink.persistent and not self._body_remaining and not self._surplus and not self._stopping:
            if response:
                outbox = self.runtime.outbox
                if outbox.collecting:
                    self.unsent = True
                    waiting = outbox.waiting
                    if not waiting:
                        outbox.arm()
                    waiting.append((self, response))
                else:
                    self.transport.write(response)
            self._state = "boundary"
            clock = self._clock
            clock.deadline = deadline = self.loop.time() + self.timeout_keep_alive
            if deadline <= clock.inspected_at:
                self.runtime.wheel.schedule(clock, deadline)
            return
        if response:
            self.transport.write(response)
        if not sink.persistent:
            if self._body_remaining:
                self.linger()
            else:
                self.close()
        elif self._body_remaining:
            self._state = "skip"
            self.flow.resume_reading()
            self._set_timeout(self._listen.body_timeout)
        else:
            self.boundary_reached()

    def boundary_reached(self) -> None:
        self._state = "boundary"
        self._set_timeout(self.timeout_keep_alive)
        if self._surplus:
            self.loop.call_soon(self._next)
        elif self._stopping:
            self.close()

    def _next(self) -> None:
        """Go on with the bytes behind the last message."""
        if self._state != "boundary" or not self._surplus or self.flow.write_paused or self.transport.is_closing():
            return
        data, self._surplus = self._surplus, b""
        self.flow.resume_reading()
        self._offer(data)

    # uvicorn's messages.

    def _pass_to_application(
        self, generation: Generation, intake: Intake, data: bytes, body: bytes, surplus: bytes
    ) -> None:
        """Give a plain message to the application without uvicorn's parser, if it is complete."""
        if len(body) < (intake.length or 0) or not intake.persistent or self.limit_concurrency is not None:
            self._fall_back(data)
            return
        self._state = "uvicorn"
        self._buffer.clear()
        self._clock.deadline = math.inf
        self.start_application(intake, body, (generation, intake) if self._no_middleware else None)
        if surplus:
            self.feed(surplus)
        if self._stopping:
            super().shutdown()

    def _fall_back(self, data: bytes) -> None:
        """Give uvicorn all bytes since the boundary. At a boundary, these are `data`."""
        if self._state != "boundary":
            data = bytes(self._buffer)
            self._drop_partial()
        self._give_to_uvicorn(data)

    def _give_to_uvicorn(self, raw: bytes) -> None:
        self._state = "uvicorn"
        self._clock.deadline = math.inf
        self._head_size = -1
        self.feed(raw)
        if self._stopping:
            super().shutdown()

    def _feed_uvicorn(self, data: bytes) -> None:
        if not self.between_messages():
            self.feed_limited(data, self.gateway.generation.config.limits.header + HEAD_SLACK)
            return
        self._state = "boundary"
        self._unset_keepalive_if_required()
        self._offer(data)

    def head_begins(self) -> None:
        self._set_timeout(self._listen.header_timeout)

    def head_ends(self) -> None:
        self._clock.deadline = math.inf

    # The end of a connection.

    def linger(self) -> None:
        self._state = "linger"
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._set_timeout(_LINGER)
        else:
            self.close()

    def timed_out(self, now: float) -> None:  # noqa: ARG002 - part of Http1Host
        """The client took too long."""
        if self.unsent:
            self.runtime.outbox.flush()
        if self.transport.is_closing():
            unsent = self.transport.get_write_buffer_size()
            if unsent < self._unsent_size:
                self.close()  # sets the time anew
            else:
                self.transport.abort()
            return
        state = self._state
        heading = state == "head" or (state == "new" and self._buffer) or (state == "uvicorn" and self._head_size >= 0)
        if heading and self.is_answering():
            self._set_timeout(self._listen.header_timeout)  # the client may wait for the answer to its last message
        elif heading:
            self._drop_partial()
            message = (
                f"the request's head stopped arriving: it was not complete within {self._listen.header_timeout:g} s"
            )
            self.reject(WaypostError("bad_framing", message))
        elif state == "body" or state == "exchange":  # noqa: PLR1714
            message = f"the request body stopped arriving: nothing came for {self._listen.body_timeout:g} s"
            error = WaypostError("bad_framing", message)
            if not self._sink.fail(error) and self._intake is not None:
                intake, received = self._intake, self._body_received()
                self._drop_partial()
                self._sink.reject(intake, error, received)
        elif state != "uvicorn":
            self.close()

    def record_rejection(self, error: WaypostError, status: int, request_id: str, size: int) -> None:
        self.gateway.recorder.record_rejection(
            error.code, status, id=request_id, client=self._address(), bytes_out=size
        )

    @property
    def _listen(self) -> Listen:
        return self.gateway.generation.config.listen

    def _address(self) -> str | None:
        return None if self.client is None else self.client[0]

    def _body_received(self) -> int:
        """Bytes that have arrived of a body that is read whole."""
        length = 0 if self._intake is None else self._intake.length or 0
        return max(0, len(self._buffer) - (self._message_size - length))

    def _set_timeout(self, seconds: float) -> None:
        self.runtime.wheel.schedule(self._clock, self.loop.time() + seconds)

    def _drop_partial(self) -> None:
        """Drop the bytes of an incomplete message, and release their budget."""
        self._buffer.clear()
        self._intake = self._generation = None
        if self._budgeted:
            self.gateway.budget.give(self._budgeted)
            self._budgeted = 0


def fast_path(app: Starlette, *, fast: bool = True) -> type[Http1]:
    """The HTTP protocol class for an application that `create_app` made, for `uvicorn.Config(app, http=…)`.

    Plain messages then bypass the application. The application must have no middleware and must not be part of another
    application, and uvicorn's `proxy_headers` must be off. With `fast=False`, all messages go to the application; the
    class then only rejects malformed requests and disconnects slow clients.

    Raises `ValueError` if `app` was not made by `create_app`, or has middleware.
    """
    gateway: Gateway | None = getattr(app.state, "gateway", None)
    if gateway is None:
        raise ValueError("the fast path needs the application that waypost.create_app makes, not one around it")
    if app.user_middleware:
        raise ValueError(
            "the fast path would bypass the application's middleware: remove that, or serve without the fast path"
        )
    listener = ListenerState(app, gateway, Descriptors(), fast)
    return type("Http1", (Http1,), {"listener": listener, **OFFERED})
