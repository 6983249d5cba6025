"""Divides the messages of a client's connection between the fast path and the application.

More than 500 lines, because the states of one connection belong together.

The rules, all of them in this file:

- At a *boundary*, no message is under way. `RequestReader` reads every head there, and refuses what two parsers could
  read differently. An `Http1Sink` carries a plain message. Every other message goes to the application, and with the
  fast path off, every message does.
- `BodyReader` reads the body of the application's message.
- Bytes behind a message are kept, with reading paused, until that message is over. What stands behind a message is
  therefore read as strictly as the first one, and is answered after it.
- An offer to upgrade is not taken.
- A connection that begins with the HTTP/2 preface, or has agreed on `h2` by ALPN, belongs to `Http2` for good.
- A connection is rejected before anything is read if file descriptors are scarce.
- A slow client is disconnected. The limits are `listen.header_timeout` for a head, for trailers and for the first byte
  of a new connection, `listen.body_timeout` between two pieces of a body, and uvicorn's `timeout_keep_alive` between
  messages.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from waypost._native import BodyReader, Intake, RequestReader
from waypost.entry.http1_sink import ClientClock, Http1Sink
from waypost.entry.listener import ListenerState
from waypost.entry.negotiation import OFFERED, agreed_on_http2, begins_http2, switch
from waypost.entry.uvicorn_http1 import StrictHttp1
from waypost.errors import WaypostError
from waypost.exchange.upload import Upload
from waypost.loop.descriptors import Descriptors

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from waypost._native import Endpoint, Plan, RequestHead, Step
    from waypost.config import Listen
    from waypost.exchange.runtime import Runtime
    from waypost.gateway import Gateway, Generation

__all__ = ["Http1", "fast_path"]

_logger = logging.getLogger("waypost")

_LINGER: Final = 1.0
"""Time for which input is discarded after the last answer, in seconds; closing at once could lose the answer."""
_CLOSE_TIME: Final = 30.0
"""Longest time without progress while a connection that is being closed sends its last bytes, in seconds."""
_DRAIN_CLOSE_TIME: Final = 5.0
"""The same during a drain."""
_WRITE_LIMIT: Final = 4 * 1024
"""Bytes that may wait for the client's socket before reading from the endpoint pauses."""

_State = Literal["new", "boundary", "head", "body", "exchange", "skip", "linger", "application"]
"""What the next bytes of a connection are.

`new`: the first bytes, which may be HTTP/2's. `boundary`: see above. `head`, `body`: more of an incomplete message.
`exchange`: more of the fast message under way, or surplus. `skip`: the rest of the body of a fast message that is over.
`linger`: to be discarded, because the last answer is written. `application`: more of the application's message, or
surplus.
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
        "_in_trailers",
        "_intake",
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
        self._buffer = bytearray()  # the first bytes of the connection, or a body that is not complete
        self._intake: Intake | None = None
        self._generation: Generation | None = None
        self._budgeted = 0  # bytes held of the gateway's budget for `_buffer`
        self._body_remaining = 0  # bytes of a fast message's body that have not arrived
        self._surplus = b""  # bytes behind the message under way
        self._in_trailers = False  # the time for the trailers of the application's message has begun
        self._stopping = False
        self._unsent_size = 0  # bytes that waited for the client when the connection was being closed
        self.unsent = False
        """A response waits in the outbox."""
        self._no_middleware = listener.serves_directly(self.app)

    # The event loop's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(_WRITE_LIMIT)
        self._reader = RequestReader(
            client=self._address(),
            scheme=self.scheme or "http",
            certificate=self.certificate,
            guard=self.listener.guard,
        )
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
            if result is None or len(result) != 5:
                self._handle_undecided(generation, result)
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
        elif state == "application":
            self._feed_application(data)
        elif state == "exchange" or state == "skip":  # noqa: PLR1714 - a tuple is slower
            self._receive_during_message(data)
        elif state == "head":
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
        if self._state == "application":
            self._close_after_message()
        elif self._state == "skip":
            self.linger()
        elif self._state not in ("body", "exchange", "linger") and not self._surplus:
            self.close()

    def drain_expired(self) -> None:
        """End the connection, because the drain has run out of time."""
        if self.unsent:
            self.runtime.outbox.flush()
        if self._state == "exchange":
            self._sink.fail(WaypostError("draining", "this process is stopping: send messages elsewhere"))
        if self._state != "application":
            self.close()

    def write_answer(self, response: bytes, persistent: bool) -> None:
        outbox = self.runtime.outbox
        if persistent and outbox.collecting and not self._surplus:
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
            data = bytes(self._buffer + data)
            self._buffer.clear()
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
            switch(self, self.gateway, self.listener.guard, data)
        except WaypostError as error:
            self.reject(error)
            return
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
        if result is not None and len(result) == 5:
            self.gateway.budget.hold(result[1])
            self._begin_decided(generation, *result)
        else:
            self._handle_undecided(generation, result)

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
        self, generation: Generation, result: tuple[Intake, bytes, bytes] | tuple[RequestHead, bytes] | None
    ) -> None:
        """Go on after an offer that decided no message. `result` is what `RequestReader.feed` returned."""
        if result is None:
            if self._state == "boundary":
                self._state = "head"
                self._set_timeout(self._listen.header_timeout)
            return
        if len(result) == 2:
            self._give_to_application(generation, *result)
            return
        intake, body, surplus = result
        length = intake.length
        if not self._fast:
            self._give_to_application(generation, intake, body, surplus)
        elif length is not None and len(body) < length:
            self._begin_body(generation, intake, body, length)
        else:
            self._decide_message(generation, intake, body, surplus)

    def _leave_boundary(self, surplus: bytes) -> None:
        """A fast message begins. `surplus` arrived behind it."""
        self._state = "exchange"
        self._body_remaining = 0
        self._clock.deadline = math.inf  # the clock stays on the wheel
        if surplus:
            self._keep_surplus(surplus)
        if self._stopping:
            self._sink.closing = not surplus

    def _decide_message(self, generation: Generation, intake: Intake, body: bytes, surplus: bytes) -> None:
        """Decide and carry a message that is complete. `surplus` arrived behind it."""
        size = len(body)
        if (intake.buffered and size > generation.body_limit) or not self.gateway.budget.take(
            size, generation.buffered_limit
        ):
            # The ASGI path rejects the message, or can wait.
            self._give_to_application(generation, intake, body, surplus)
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

    def _begin_body(self, generation: Generation, intake: Intake, body: bytes, length: int) -> None:
        """Read or stream a body of which not all has arrived."""
        if intake.buffered:
            if length > generation.body_limit:
                self._give_to_application(generation, intake, body)
                return
            self._state = "body"
            self._intake = intake
            self._generation = generation
            self._buffer += body
            self._budget_body(len(body))
            return
        try:
            plan = intake.plan(None)
        except WaypostError:
            plan = None
        if plan is None:
            # The ASGI path answers the error and deals with the rest of the body.
            self._give_to_application(generation, intake, body)
            return
        self._state = "exchange"
        self._body_remaining = length
        self._sink.carry(generation, plan, 0, Upload(length))
        exchange = self._sink.ensure_exchange()
        if exchange is not None:
            exchange.on_writable = self._writable
        self._receive_during_message(body)

    # Bodies.

    def _receive_body(self, data: bytes) -> None:
        self._buffer += data
        generation, intake = self._generation, self._intake
        if generation is None or intake is None:
            return
        length = intake.length or 0
        if len(self._buffer) < length:
            self._budget_body(len(data))
            return
        whole = bytes(self._buffer)
        self._drop_partial()
        self._decide_message(generation, intake, whole[:length], whole[length:])

    def _budget_body(self, size: int) -> None:
        """Hold `size` more bytes of the budget for a body that is read whole."""
        generation, intake = self._generation, self._intake
        if generation is not None and intake is not None and size:
            if not self.gateway.budget.take(size, generation.buffered_limit):
                body = bytes(self._buffer)
                self._drop_partial()
                self._give_to_application(generation, intake, body)  # the ASGI path can wait
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
        self.flow.resume_reading()
        if self._body_remaining and self._sink.busy:
            self._set_timeout(self._listen.body_timeout)

    def _keep_surplus(self, data: bytes) -> None:
        self._surplus += data
        self.held_flow.held = True
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
        if self.unsent:
            self.runtime.outbox.flush()
        data, self._surplus = self._surplus, b""
        self.held_flow.held = False
        self.flow.resume_reading()
        self._offer(data)

    # The application's messages.

    def _give_to_application(
        self, generation: Generation, head: Intake | RequestHead, body: bytes, surplus: bytes = b""
    ) -> None:
        """Give a message to the application. `body` is what has arrived behind the head, up to `surplus`."""
        self._state = "application"
        self._clock.deadline = math.inf
        self._in_trailers = False
        accepted = None
        length = head.length
        if isinstance(head, Intake):
            length = length or 0  # a plain message has no chunks
            if self._no_middleware:
                accepted = (generation, head)
        if length is not None and len(body) == length:
            self.begin_message(head, body, accepted)
            if surplus:
                self._keep_surplus(surplus)
        else:
            limit = generation.config.limits.header
            self.begin_message(head, BodyReader(length, max_trailers=limit), accepted)
            self._feed_application(body)
        if self._stopping:
            self._close_after_message()

    def _feed_application(self, data: bytes) -> None:
        """Take bytes of the application's message, or bytes behind it."""
        try:
            surplus = self.feed_body(data)
        except WaypostError as error:
            self.reject_body(error)
            return
        if surplus is None:
            self._limit_body()
            return
        self._clock.deadline = math.inf
        if surplus:
            self._keep_surplus(surplus)
        if self.cycle.response_complete:
            self.boundary_reached()

    def _limit_body(self) -> None:
        """Limit the time for what the client has to send of the application's message."""
        reader = self.body_reader
        if reader is not None and reader.in_trailers:
            if not self._in_trailers:
                self._in_trailers = True
                self._set_timeout(self._listen.header_timeout)
        elif self.cycle.response_complete:
            self._set_timeout(self._listen.body_timeout)

    def message_answered(self) -> None:
        if self.body_reader is None:
            self.boundary_reached()
        else:
            self._limit_body()

    def _close_after_message(self) -> None:
        """End the connection after the application's message, or after the messages behind it."""
        if self.cycle.response_complete:
            self.close()
        elif not self._surplus:
            self.cycle.keep_alive = False

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
        if state == "head" or (state == "new" and self._buffer):
            self._drop_partial()
            message = (
                f"the request's head stopped arriving: it was not complete within {self._listen.header_timeout:g} s"
            )
            self.reject(WaypostError("bad_framing", message))
        elif state == "application" and self.flow.read_paused:
            self._set_timeout(self._listen.header_timeout)  # the application is slow, not the client
        elif state == "application" and not self.cycle.response_complete:
            limit = self._listen.header_timeout
            message = f"the request's trailers stopped arriving: they were not complete within {limit:g} s"
            self.reject_body(WaypostError("bad_framing", message))
        elif state == "body" or state == "exchange":  # noqa: PLR1714
            message = f"the request body stopped arriving: nothing came for {self._listen.body_timeout:g} s"
            error = WaypostError("bad_framing", message)
            if not self._sink.fail(error) and self._intake is not None:
                intake, received = self._intake, self._body_received()
                self._drop_partial()
                self._sink.reject(intake, error, received)
        else:
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
        return 0 if self._intake is None else len(self._buffer)

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
