"""Who owns the bytes of a client's connection: the fast path or uvicorn, message by message.

More than 500 lines for now, because the states of one connection belong together.

The rules, all of them in this file:

- A *boundary* is where uvicorn has no message under way and none waiting, its parser stands between messages, and no
  fast message is under way. Bytes at a boundary are offered to `RequestReader`. A plain message whose plan needs
  nothing but forwarding is carried by a `Http1Sink`; every other one is given to uvicorn, byte for byte as it came.
  Without a fast path a plain message begins as an ASGI message at once, as its head need not be read again.
- Bytes behind a message of uvicorn's belong to uvicorn until the next boundary. Bytes behind a fast one are kept, with
  reading paused, until it is over.
- After an Upgrade nothing comes back from uvicorn.
- A connection that begins with HTTP/2's preface, or has agreed on `h2` by ALPN, is `Http2`'s and never comes back.
- What is no HTTP, or could be read in two ways, is refused here on either path, and the connection ends.
- A connection for which there are too few file descriptors is refused before anything is read.
- A client that lets its connection wait is disconnected: `_HEAD_TIME` for a head, `_BODY_IDLE` between the pieces of a
  body, uvicorn's `timeout_keep_alive` between messages.
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
    from waypost.exchange.runtime import Runtime
    from waypost.gateway import Gateway, Generation

__all__ = ["Http1", "fast_path"]

_logger = logging.getLogger("waypost")

_HEAD_TIME: Final = 30.0
"""Seconds that a client may take for a whole head; for its first byte on a new connection, too."""
_BODY_IDLE: Final = 30.0
"""Seconds that a client may take for the next bytes of a body."""
_LINGER: Final = 1.0
"""Seconds for which input is thrown away after a refusal: closing at once could lose the answer."""
_STUCK: Final = 30.0
"""Seconds that a connection which is to be closed may take to send what is left."""

_State = Literal["new", "boundary", "head", "body", "exchange", "skip", "linger", "uvicorn"]


class Http1(StrictHttp1):
    """uvicorn's HTTP/1 protocol with a fast path beside it. `fast_path` makes the class for one application."""

    # Else they are in a dictionary with uvicorn's attributes, and CPython has shortcuts for up to thirty only.
    __slots__ = (
        "_bare",
        "_body_remaining",
        "_clock",
        "_fast",
        "_generation",
        "_held",
        "_intake",
        "_raw",
        "_reader",
        "_sink",
        "_state",
        "_stopping",
        "_surplus",
        "_whole",
        "gateway",
        "runtime",
        "unsent",
    )  # fmt: skip

    listener: ListenerState
    """The same for all of a class."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        listener = self.listener
        if listener.fast and self.config.proxy_headers:
            listener.fast = False
            _logger.warning("the fast path is off: it does not know of uvicorn's proxy_headers, which is on")
        self._fast = listener.fast and self.limit_concurrency is None
        self.gateway = listener.gateway
        self.runtime: Runtime = self.gateway.runtime()
        self._clock = ClientClock(self)
        self._sink = Http1Sink(self)
        self._reader = cast(RequestReader, None)
        self._state: _State = "new"
        self._raw = bytearray()  # what of a message has come and has no owner yet
        self._intake: Intake | None = None
        self._generation: Generation | None = None
        self._whole = 0  # bytes of `_raw` that make it complete
        self._held = 0  # bytes of the budget that `_raw` takes
        self._body_remaining = 0  # bytes of a fast message's body that are still to come
        self._surplus = b""  # what came behind a fast message
        self._stopping = False
        self.unsent = False
        """A response waits in the outbox."""
        self._bare = listener.serves_directly(self.app)

    # The event loop's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reader = RequestReader(client=self._address(), scheme=self.scheme or "http")
        self.gateway.recorder.client_connected()
        if self.turned_away(self.listener.descriptors):
            return
        if agreed_on_http2(transport):
            self._switch(b"")
        else:
            self._expect(_HEAD_TIME)

    def data_received(self, data: bytes) -> None:
        if self.unsent:
            self.runtime.outbox.flush()
        state = self._state
        if state == "boundary":
            if self.flow.write_paused:
                self._keep(data)
                return
            # As `_offer`, in one function: nearly every fast message comes here.
            gateway = self.gateway
            generation = gateway.generation
            budget = gateway.budget
            held = budget.held
            room = -1
            if self._fast and not budget.waiting and held <= generation.spare:
                room = generation.body_limit
            try:
                found = self._reader.feed(generation.snapshot, data, room)
            except WaypostError as error:
                self._forget()
                self.reject(error)
                return
            if not found or len(found) != 5:
                self._take(generation, found, data)
                return
            plan, size, surplus, step, request = found
            budget.held = held + size
            if surplus or self._stopping or step is None:
                self._begin_decided(generation, plan, size, surplus, step, request)
                return
            self._state = "exchange"
            self._body_remaining = 0
            self._clock.deadline = math.inf  # it stays on the wheel
            sink = self._sink
            sink.plan = plan
            sink.size = size
            sink.sent = 0
            sink.send(generation.settings, plan, step, request)
        elif state == "uvicorn":
            self._to_uvicorn(data)
        elif state == "exchange" or state == "skip":  # noqa: PLR1714 - a tuple is slower
            self._more(data)
        elif state == "head":
            self._raw += data
            self._offer(data)
        elif state == "body":
            self._collect(data)
        elif state == "new":
            self._begin(data)

    def eof_received(self) -> None:
        if self.unsent:
            self.runtime.outbox.flush()
        # Nobody is answered who has hung up halfway, and closing would first wait until all is sent.
        if self._sink.busy:
            self._sink.cancel()
            self.transport.abort()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink.close()
        self.runtime.wheel.cancel(self._clock)
        if self._intake is not None:
            self.gateway.recorder.record_rejection(
                None, 0, intake=self._intake, id=self._intake.id, bytes_in=self._body_came()
            )
        self._forget()
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
        """Finish what is in flight, and what waits behind it, then close."""
        if self.unsent:
            self.runtime.outbox.flush()
        self._stopping = True
        self._sink.closing = not self._surplus
        if self._state == "uvicorn":
            super().shutdown()
        elif self._state not in ("body", "exchange") and not self._surplus:
            self.transport.close()

    def cut(self) -> None:
        """The time that a drain may take is over."""
        if self.unsent:
            self.runtime.outbox.flush()
        if self._state == "exchange":
            self._sink.fail(WaypostError("draining", "this process is stopping: send messages elsewhere"))
        if self._state != "uvicorn":
            self.transport.close()

    # A connection's first bytes.

    def _begin(self, data: bytes) -> None:
        if self._raw:
            data = self._take_raw() + data
        found = begins_http2(data)
        if found is None:
            self._raw += data
            return
        self._state = "boundary"
        if found:
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
        """Offer bytes at a boundary, or behind the part of a head that was offered before."""
        generation = self.gateway.generation
        room = min(self.gateway.budget.room(generation.buffered_limit), generation.body_limit) if self._fast else -1
        try:
            found = self._reader.feed(generation.snapshot, data, room)
        except WaypostError as error:
            self._forget()
            self.reject(error)
            return
        if found and len(found) == 5:
            self.gateway.budget.hold(found[1])
            if self._state != "boundary":
                self._raw.clear()
            self._begin_decided(generation, *found)
        else:
            self._take(generation, found, data)

    def _begin_decided(
        self,
        generation: Generation,
        plan: Plan,
        size: int,
        surplus: bytes,
        step: Endpoint | Step | None,
        request: bytes | None,
    ) -> None:
        """Carry a message that was decided; `surplus` came behind it."""
        self._leave_boundary(surplus)
        sink = self._sink
        if step is None:
            sink.carry(generation, plan, size)
        else:
            sink.plan = plan
            sink.size = size
            sink.sent = 0
            sink.send(generation.settings, plan, step, request)

    def _take(
        self, generation: Generation, found: tuple[Intake, bytes, bytes] | Literal[False] | None, data: bytes
    ) -> None:
        """Go on with what was offered and is not decided."""
        if not found:
            if found is not None:
                self._fall_back(data)
            elif self._state == "boundary":
                self._state = "head"
                self._raw += data
                self._expect(_HEAD_TIME)
            return
        intake, body, surplus = found
        length = intake.length
        if not self._fast:
            self._start(generation, intake, data, body, surplus)
        elif length is not None and len(body) < length:
            self._begin_body(generation, intake, data, body, length)
        else:
            raw = data if self._state == "boundary" else self._take_raw()
            self._whole_message(generation, intake, body, surplus, raw)

    def _take_raw(self) -> bytes:
        raw = bytes(self._raw)
        self._raw.clear()
        return raw

    def _leave_boundary(self, surplus: bytes) -> None:
        """A message is carried from here on; `surplus` came behind it."""
        self._state = "exchange"
        self._body_remaining = 0
        self._clock.deadline = math.inf  # it stays on the wheel
        if surplus:
            self._keep(surplus)
        if self._stopping:
            self._sink.closing = not surplus

    def _whole_message(self, generation: Generation, intake: Intake, body: bytes, surplus: bytes, raw: bytes) -> None:
        """A message of which everything is here, not decided yet: `raw` is all of its bytes and `surplus`."""
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
        if intake.buffered:
            if length > generation.body_limit:
                self._fall_back(data)
                return
            if self._state == "boundary":
                self._raw += data
            self._state = "body"
            self._intake = intake
            self._generation = generation
            self._whole = len(self._raw) - len(body) + length
            self._hold(len(body))
            return
        try:
            plan = intake.plan(None)
        except WaypostError:
            plan = None
        if plan is None:
            # What to do about the rest of the body is the ASGI path's matter.
            self._fall_back(data)
            return
        self._forget()
        self._state = "exchange"
        self._body_remaining = length
        self._sink.carry(generation, plan, 0, Upload(length))
        exchange = self._sink.ensure_exchange()
        if exchange is not None:
            exchange.on_writable = self._writable
        self._more(body)

    # Bodies.

    def _collect(self, data: bytes) -> None:
        raw = self._raw
        raw += data
        generation, intake = self._generation, self._intake
        if generation is None or intake is None:
            return
        behind = len(raw) - self._whole
        if behind < 0:
            self._hold(len(data))
            return
        whole = bytes(raw)
        length = intake.length or 0
        body, surplus = whole[self._whole - length : self._whole], whole[self._whole :]
        self._forget()
        self._whole_message(generation, intake, body, surplus, whole)

    def _hold(self, size: int) -> None:
        """Account for `size` more bytes of a body that is read whole."""
        generation = self._generation
        if generation is not None and size:
            if not self.gateway.budget.take(size, generation.buffered_limit):
                self._fall_back(b"")  # the ASGI path can wait
                return
            self._held += size
        self._expect(_BODY_IDLE)

    def _more(self, data: bytes) -> None:
        """What comes while a fast message is under way: more of its body, or what follows it."""
        remaining = self._body_remaining
        if remaining:
            if len(data) > remaining:
                self._keep(data[remaining:])
                data = data[:remaining]
            self._body_remaining = remaining = remaining - len(data)
            exchange = self._sink.ensure_exchange()
            if exchange is not None:
                self._expect(_BODY_IDLE)
                writable = not data or exchange.write(data)
                if not self._sink.busy:
                    return  # it is over
                if not writable or not remaining:
                    self._clock.deadline = math.inf
                if not remaining:
                    exchange.upload_complete()
                elif not writable:
                    self.flow.pause_reading()
            elif not remaining and self._state == "skip":
                self.at_rest()
        elif data:
            self._keep(data)

    def _writable(self) -> None:
        """The endpoint takes more of an upload, or none any more."""
        if not self._surplus:
            self.flow.resume_reading()
        if self._body_remaining and self._sink.busy:
            self._expect(_BODY_IDLE)

    def _keep(self, data: bytes) -> None:
        self._surplus += data
        self.flow.pause_reading()

    # The end of a message.

    def message_done(self, response: bytes = b"") -> None:
        """A fast message was answered, but for `response`, which is to be written now."""
        self.server_state.total_requests += 1
        sink = self._sink
        if sink.persistent and not self._body_remaining and not self._surplus and not self._stopping:
            if response:
                outbox = self.runtime.outbox
                if outbox.collecting:
                    outbox.put(self, response)
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
                self.transport.close()
        elif self._body_remaining:
            self._state = "skip"
            self.flow.resume_reading()
            self._expect(_BODY_IDLE)
        else:
            self.at_rest()

    def at_rest(self) -> None:
        self._state = "boundary"
        self._expect(self.timeout_keep_alive)
        if self._surplus:
            self.loop.call_soon(self._next)
        elif self._stopping:
            self.transport.close()

    def _next(self) -> None:
        """Go on with what came behind a message."""
        if self._state != "boundary" or not self._surplus or self.flow.write_paused or self.transport.is_closing():
            return
        data, self._surplus = self._surplus, b""
        self.flow.resume_reading()
        self._offer(data)

    # uvicorn's messages.

    def _start(self, generation: Generation, intake: Intake, data: bytes, body: bytes, surplus: bytes) -> None:
        """A plain message for the application, or as much as has come of it."""
        if len(body) < (intake.length or 0) or not intake.persistent or self.limit_concurrency is not None:
            self._fall_back(data)
            return
        self._state = "uvicorn"
        self._raw.clear()
        self._clock.deadline = math.inf
        self.start(intake, body, (generation, intake) if self._bare else None)
        if surplus:
            self.feed(surplus)
        if self._stopping:
            super().shutdown()

    def _fall_back(self, data: bytes) -> None:
        """What has come since the boundary is uvicorn's."""
        if self._state != "boundary":
            data = bytes(self._raw)
            self._forget()
        self._give_to_uvicorn(data)

    def _give_to_uvicorn(self, raw: bytes) -> None:
        self._state = "uvicorn"
        self._clock.deadline = math.inf
        self._heading = -1
        self.feed(raw)
        if self._stopping:
            super().shutdown()

    def _to_uvicorn(self, data: bytes) -> None:
        if not self.between_messages():
            self.feed_within(data, self.gateway.generation.config.limits.header + HEAD_SLACK)
            return
        self._state = "boundary"
        self._unset_keepalive_if_required()
        self._offer(data)

    def head_begins(self) -> None:
        self._expect(_HEAD_TIME)

    def head_ends(self) -> None:
        self._clock.deadline = math.inf

    # The end of a connection.

    def linger(self) -> None:
        self._state = "linger"
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._expect(_LINGER)
        else:
            self.transport.close()
            self._expect(_STUCK)

    def timed_out(self, now: float) -> None:
        """The client took too long."""
        if self.unsent:
            self.runtime.outbox.flush()
        if self.transport.is_closing():
            self.transport.abort()
            return
        state = self._state
        heading = state == "head" or (state == "new" and self._raw) or (state == "uvicorn" and self._heading >= 0)
        if heading and self.answering():
            self._expect(_HEAD_TIME)  # the message before it is not over: its client need not hurry
        elif heading:
            self._forget()
            message = f"the request's head stopped arriving: it was not complete within {_HEAD_TIME:g} s"
            self.reject(WaypostError("bad_framing", message))
        elif state == "body" or state == "exchange":  # noqa: PLR1714
            message = f"the request body stopped arriving: nothing came for {_BODY_IDLE:g} s"
            error = WaypostError("bad_framing", message)
            if not self._sink.fail(error) and self._intake is not None:
                intake, came = self._intake, self._body_came()
                self._forget()
                self._sink.reject(intake, error, came)
        elif state != "uvicorn":
            self.transport.close()
            self.runtime.wheel.schedule(self._clock, now + _STUCK)

    def record_rejection(self, error: WaypostError, status: int, request_id: str, size: int) -> None:
        self.gateway.recorder.record_rejection(
            error.code, status, id=request_id, client=self._address(), bytes_out=size
        )

    def _address(self) -> str | None:
        return None if self.client is None else self.client[0]

    def _body_came(self) -> int:
        """Bytes of the body that is being collected."""
        length = 0 if self._intake is None else self._intake.length or 0
        return max(0, len(self._raw) - (self._whole - length))

    def _expect(self, seconds: float) -> None:
        self.runtime.wheel.schedule(self._clock, self.loop.time() + seconds)

    def _forget(self) -> None:
        """Nothing is being collected."""
        self._raw.clear()
        self._intake = self._generation = None
        if self._held:
            self.gateway.budget.give(self._held)
            self._held = 0


def fast_path(app: Starlette, *, fast: bool = True) -> type[Http1]:
    """The HTTP protocol class of an application that `create_app` made, for `uvicorn.Config(app, http=…)`.

    Plain messages then pass by the application: it may have no middleware of its own and not stand within another
    one, and uvicorn's `proxy_headers` has to be off. `fast=False` gives them to the application all the same; what is
    left is how broken requests are refused and slow clients disconnected.

    Raises `ValueError` where `app` is something else, or has middleware.
    """
    gateway: Gateway | None = getattr(app.state, "gateway", None)
    if gateway is None:
        raise ValueError("the fast path is for the application that waypost.create_app makes, not for one around it")
    if app.user_middleware:
        raise ValueError("the fast path would pass by the application's middleware: serve it without one of them")
    listener = ListenerState(app, gateway, Descriptors(), fast)
    return type("Http1", (Http1,), {"listener": listener, **OFFERED})
