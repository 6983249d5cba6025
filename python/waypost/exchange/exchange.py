"""One message's life: decision made, attempts at endpoints, the response to a sink.

More than 500 lines, because the callbacks of one state machine belong together.

Which endpoint is tried when, whether there is another attempt, and who waits for room is decided by the core (its
`Course`, behind `Plan.begin`, `refused`, `failed` and the like): this is the side that has sockets and timers. Its own
rules, all of them in this file:

- An attempt that finds its pooled connection closed under it, although the pool has looked at the socket, goes to the
  same endpoint once more, over a new connection, if its message may be sent twice.
- A response with a status for which another attempt may be made is kept: if no endpoint does better, the last such
  response is what the client gets.
- The head of a model's 200 is held until its first body byte, so that a model that dies before it can be replaced.
- The message's deadline and the cluster's total timeout bound all of it.
- Of two attempts at once, the one whose response begins first goes on; the other is closed.
- A response that stops short after the sink was given its head ends in `Sink.abort`, never in `Sink.end`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Literal

from waypost._native import Endpoint, Plan, ResponseEnd, ResponseHead, Step, Turn
from waypost.dialects.errors import render_error
from waypost.errors import UpstreamError, WaypostError
from waypost.exchange import failures
from waypost.exchange.attempt import Attempt
from waypost.exchange.failures import Failure
from waypost.exchange.hedge import Hedge
from waypost.exchange.held_response import HOLD_TIME, HeldResponse
from waypost.exchange.runtime import Runtime
from waypost.exchange.translator import Translator
from waypost.exchange.upload import Upload
from waypost.exchange.waiting_room import QueueTicket
from waypost.loop.wheel import Timed
from waypost.sink import Sink
from waypost.upstream.connection import Connection
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Exchange"]

_Phase = Literal["queue", "pause", "connect", "send", "wait", "hold", "deliver", "discard"]

_logger = logging.getLogger("waypost")


class Exchange:
    """Carries one message to an endpoint and its response to `sink`. Used from its event loop only."""

    __slots__ = (
        "_head",
        "_hedge",
        "_held",
        "_idle",
        "_incoming",
        "_out",
        "_paused",
        "_phase",
        "_resume_at",
        "_settings",
        "_sink",
        "_ticket",
        "_timer",
        "_total",
        "_translator",
        "_tried",
        "_until",
        "_upload",
        "attempt",
        "attempts",
        "done",
        "endpoint",
        "on_writable",
        "plan",
        "request_sent",
        "runtime",
    )  # fmt: skip

    def __init__(
        self,
        runtime: Runtime,
        settings: UpstreamSettings,
        plan: Plan,
        sink: Sink,
        timer: Timed,
        *,
        upload: Upload | None = None,
        translator: Translator | None = None,
    ) -> None:
        """`plan` has the whole request body, or the body comes as `upload`, by `write` and `upload_complete`.

        `translator`: some endpoint speaks another dialect than the client.

        `timer` calls `expired`. It may serve one exchange after the other, and stays on the wheel in between.
        """
        self._timer = timer
        self.runtime = runtime
        self.plan = plan
        self.attempt: Attempt | None = None
        """The attempt under way."""
        self.attempts = 0
        """How many attempts were made."""
        self.endpoint: Endpoint | None = None
        """The endpoint that answered, or else the one that was tried last."""
        self.done = False
        """The sink was given its end (or the exchange was cancelled)."""
        self.request_sent = False
        """The connection under way was given the whole request."""
        self.on_writable: Callable[[], None] | None = None
        """Called when `write` may be used again after it returned false, and when the exchange is over."""
        self._settings = settings
        self._sink = sink
        self._out: Sink | None = None  # what the response goes to, once it began: the sink, or a translation before it
        self._upload = upload
        self._translator = translator
        self._phase: _Phase = "connect"
        self._until = math.inf  # when all of it has to be over: the course says so
        self._total: float | None = None  # the total timeout that says so, if not the message's own deadline
        self._idle = 0.0  # seconds that may pass between two pieces of the response
        self._resume_at = 0.0  # when a pause ends
        self._paused = False
        self._ticket: QueueTicket | None = None  # what it waits by
        self._hedge: Hedge | None = None
        self._head: ResponseHead | None = None
        self._incoming: HeldResponse | None = None  # what is being kept
        self._held: HeldResponse | None = None  # what was
        self._tried: list[Attempt] | None = None  # attempts that failed

    # Used by whoever has the client.

    def begin(self, step: Endpoint | Step) -> None:
        """Make the first attempt, or wait for room: `step` is what `Plan.begin` said."""
        self._go(step)

    def take_up(self, endpoint: Endpoint, connection: Connection) -> None:
        """Go on with a first attempt that was made without an exchange. Its timer runs.

        `connection` comes from the pool, and was given the whole request.
        """
        attempt = self.attempt = self.attempt_at(endpoint)
        attempt.take_up(connection)
        self.endpoint = endpoint
        self.request_sent = True
        self._bound()
        self._phase = "wait"

    def write(self, chunk: bytes) -> bool:
        """Take a piece of a streamed request body. False: wait for `on_writable` before the next.

        More than was announced ends the exchange, with `bad_framing` where the response has not begun.
        """
        if self.done or self._upload is None:
            return True
        try:
            self.plan.count_received(len(chunk))
            return self._upload.take(chunk, self._connection())
        except WaypostError as error:
            self.fail(error)
            return True

    def upload_complete(self) -> None:
        """The streamed request body is complete. Less than was announced ends the exchange as more does."""
        if self.done or self._upload is None:
            return
        connection = self._connection()
        try:
            self._upload.end(connection)
        except WaypostError as error:
            self.fail(error)
        else:
            if connection is not None:
                self._request_complete()

    def pause_reading(self) -> None:
        """The sink cannot keep up: stop reading the response."""
        self._paused = True
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause()
            if self._phase == "deliver":
                self.runtime.wheel.schedule(self._timer, self._until)

    def resume_reading(self) -> None:
        """The sink can take more."""
        self._paused = False
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume()
            if self._phase == "deliver":
                self._expect(self._idle)

    def cancel(self) -> None:
        """The client left: close the upstream connection now. The sink hears nothing more."""
        if not self.done:
            self._record("client_gone")
            self._close()

    def defect(self, exc: Exception) -> None:
        """Something in Waypost itself broke: say so in the log, and give the client an answer or a clear end."""
        _logger.error("a defect ended exchange %s", self.plan.id, exc_info=exc)
        self.fail(WaypostError("internal", "a defect in Waypost ended this exchange; its log says more"))

    # The course.

    def take_turn(self, turn: Turn) -> None:
        """The wait is over."""
        self._ticket = None
        self._go(self.plan.take_turn(turn))

    def _go(self, step: Endpoint | Step, *, fresh: bool = False, error: UpstreamError | None = None) -> None:
        """What the course says is next. `error` is what the last attempt failed with."""
        if isinstance(step, Endpoint):
            self._try(step, fresh=fresh)
        elif step.kind == "pause":
            self._phase = "pause"
            self._hold(step.seconds)
        elif step.kind == "wait":
            self._phase = "queue"
            self._ticket = ticket = (step.cluster, step.ticket)
            self.runtime.waiting_room.waiting[ticket] = self
            if step.displaced is not None:
                self.runtime.waiting_room.announce((step.displaced,))
            self._hold(step.seconds)
        elif step.kind != "stay" and self._held is not None:
            self._deliver_held(self._held)
        elif step.kind == "refuse" and isinstance(step.error, WaypostError):
            self.fail(step.error)
        elif step.kind == "give_up" and error is not None:
            self.fail(failures.after_all(error, self._tried or ()))
        self.runtime.waiting_room.notify(self.plan)

    def _leave_line(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self.runtime.waiting_room.waiting.pop(ticket, None)

    def _try(self, endpoint: Endpoint, *, fresh: bool = False) -> None:
        """An attempt, which the course has begun."""
        try:
            attempt = self.attempt = self.attempt_at(endpoint)
            dial = attempt.dial
            self.endpoint = endpoint
            self._bound()
            self.request_sent = False
            self._head = None
        except Exception as exc:  # noqa: BLE001 - whoever called this could not tell the client
            self.defect(exc)
            return
        self.start(attempt, fresh=fresh)
        if dial.hedged and self._upload is None and not self.done:
            if self._hedge is None:
                self._hedge = Hedge(self)
            self._hedge.arm()

    def attempt_at(self, endpoint: Endpoint) -> Attempt:
        """One more attempt, not started."""
        self.attempts += 1
        return Attempt(self, endpoint, self._settings.dial(endpoint), self.attempts)

    def start(self, attempt: Attempt, *, fresh: bool = False) -> None:
        """Get `attempt` a connection, a new one if it is to be `fresh`, and send it the request."""
        try:
            connection = None if fresh else attempt.reuse()
            if connection is not None:
                self._send_request(attempt, connection, self.runtime.loop.time())
                return
            if self._translator is not None:
                self._translator.request(attempt.endpoint)  # a message that cannot be translated needs no connection
            if attempt is self.attempt:
                self._phase = "connect"
            self._allow(attempt, attempt.dial.connect_timeout, self.runtime.loop.time())
            attempt.connect()
        except WaypostError as error:
            self.fail(error)
        except Exception as exc:  # noqa: BLE001 - as above
            self.defect(exc)

    def connected(self, attempt: Attempt, connection: Connection) -> None:
        """`attempt` has its connection: send what there is of the request."""
        try:
            self._send_request(attempt, connection, self.runtime.loop.time())
        except WaypostError as error:
            self.fail(error)
        except Exception as exc:  # noqa: BLE001 - an event-loop callback: nobody else could tell the client
            self.defect(exc)

    def _send_request(self, attempt: Attempt, connection: Connection, now: float) -> None:
        plan = self.plan
        endpoint = attempt.endpoint
        upload = self._upload
        if upload is not None:
            head = plan.head(endpoint, upload.length)
            attempt.sent = True
            self._phase = "send"
            connection.write(head)
            self._expect(math.inf)
            upload.flush(connection)
            if upload.complete:
                self._request_complete()
            elif connection.writable:
                self.request_resumed()
            return
        body = None if self._translator is None else self._translator.request(endpoint)
        data = plan.request(endpoint) if body is None else plan.head(endpoint, len(body)) + body
        attempt.sent = self.request_sent = True
        if attempt is self.attempt:
            self._phase = "wait"
        self._allow(attempt, attempt.dial.first_byte_timeout, now)
        connection.write(data)

    def awaits(self, attempt: Attempt) -> bool:
        """Whether it still matters what becomes of `attempt`."""
        return attempt is self.attempt or (self._hedge is not None and attempt is self._hedge.attempt)

    def _failed(self, attempt: Attempt) -> None:
        if self._tried is None:
            self._tried = []
        self._tried.append(attempt)

    @property
    def unanswered(self) -> bool:
        """An attempt is under way, and nothing of a response has come."""
        return self.attempt is not None and self._phase in ("connect", "wait")

    def take_over(self, second: Attempt) -> None:
        """A second attempt goes on alone, with the time that it has left."""
        self.attempt = second
        self.endpoint = second.endpoint
        self._phase = "wait" if second.sent else "connect"
        wheel = self.runtime.wheel
        wheel.schedule(self._timer, second.deadline)
        wheel.cancel(second)

    def attempt_failed(self, attempt: Attempt, failure: Failure, error: UpstreamError) -> None:
        """`attempt` is over without a whole response."""
        if not self.awaits(attempt):
            return
        delivered = self._out is not None
        step = self.plan.failed(attempt.number, failure, attempt.sent, self._replayable, delivered)
        if delivered:
            self.attempt = None
            self.fail(error)
            return
        self._failed(attempt)
        if self._hedge is not None and self._hedge.attempt is not None:
            self._hedge.drop(attempt)
            return
        self.attempt = None
        self._go(step, fresh=failure == "stale", error=error)

    # The request.

    @property
    def _replayable(self) -> bool:
        """All of its bytes are still there."""
        return self._upload is None or not self._upload.started

    def _connection(self) -> Connection | None:
        return None if self.attempt is None else self.attempt.connection

    def _request_complete(self) -> None:
        self.request_sent = True
        if self._phase == "send" and self.attempt is not None:
            self.plan.request_sent(self.attempt.number)
            self._phase = "wait"
            self._expect(self.attempt.dial.first_byte_timeout)

    def request_paused(self) -> None:
        """The endpoint does not read its request as fast as it comes."""
        if self._phase == "send" and self.attempt is not None:
            self._expect(self.attempt.dial.idle_timeout)

    def request_resumed(self) -> None:
        """More of the request can be sent."""
        if self._phase == "send":
            self._expect(math.inf)  # the client's turn; the total timeout alone counts
        if self.on_writable is not None:
            self.on_writable()

    # The response, as the attempt reads it.

    def response_head(self, attempt: Attempt, head: ResponseHead) -> None:
        """The head is complete. May raise `UpstreamError`, as the sink may."""
        hedge = self._hedge
        if hedge is not None and hedge.attempt is not None and not hedge.settle(attempt, head):
            self._failed(attempt)
            return
        if head.retryable and self._out is None:
            step = self.plan.retryable_response(attempt.number, head, self._replayable)
            if isinstance(step, Step) and step.kind == "pause":
                self._phase = "discard"
                self._incoming = HeldResponse(attempt.endpoint, head)
                self._resume_at = self.runtime.loop.time() + step.seconds
                self._expect(HOLD_TIME)
                return
        if head.status == 200 and self.plan.kind == "model":
            self._phase = "hold"  # within the first-byte timeout, which is running
            self._head = head
        else:
            self._begin_response(attempt.endpoint, head)

    def response_flush(self) -> None:
        """Nothing came with the head."""
        if self._out is not None:
            self._out.flush()

    def response_whole(self, attempt: Attempt, head: ResponseHead, body: bytes, end: ResponseEnd) -> None:
        """All of a response, at once: `response_head`, `response_data` and `response_end`."""
        if head.retryable and self._hedge is not None and self._hedge.attempt is not None:
            self._held = HeldResponse.whole(attempt.endpoint, head, body, end.trailers)
        self.response_head(attempt, head)
        if body and self.attempt is attempt:
            self.response_data(attempt, body)
        if self.attempt is attempt:
            self.response_end(attempt, end.trailers)

    def response_data(self, attempt: Attempt, chunk: bytes) -> None:
        """A piece of the body. May raise `UpstreamError`, as the sink may."""
        if self._phase == "deliver":
            if not self._paused:
                self._expect(self._idle)
        elif self._phase == "discard":
            if self._incoming is not None and not self._incoming.take(chunk):
                self._set_incoming(attempt, None)
            return
        elif self._head is not None:
            self._begin_response(attempt.endpoint, self._head)
            if self.attempt is not attempt:
                return
        if self._out is not None:
            self._out.data(chunk)

    def response_end(self, attempt: Attempt, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """The response is complete. May raise `UpstreamError`, as the sink may."""
        if self._phase == "discard":
            self._set_incoming(attempt, trailers)
            return
        if self._phase == "hold" and self._head is not None:
            self._begin_response(attempt.endpoint, self._head)
        if self.attempt is attempt:
            self._end_response(trailers)

    def _begin_response(self, endpoint: Endpoint, head: ResponseHead) -> None:
        plan = self.plan
        self._phase = "deliver"
        plan.drop_body()
        self._held = None
        self.endpoint = endpoint
        out: Sink = self._sink
        if self._translator is not None:
            out = self._translator.response(out, endpoint, self._complete)
        self._out = out
        dial = self._settings.dial(endpoint)
        self._idle = dial.idle_timeout
        if head.stream:
            # Only its own limits end a stream that flows.
            self._idle = dial.stream_idle_timeout
            self._bound(stream=True)
        if not self._paused:
            self._expect(self._idle)
        out.forward(head, plan, endpoint, self.attempts)
        self.runtime.waiting_room.notify(self.plan)

    def _end_response(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        out = self._out
        if out is not None:
            out.end(trailers)
        self._record("ok")
        self._close()

    def _complete(self) -> None:
        """The sink has everything, but the response has not ended. Its connection may still become reusable."""
        self._record("ok")
        attempt, self.attempt = self.attempt, None
        self._close(whole=True)
        if attempt is not None:
            attempt.linger()

    def _set_incoming(self, attempt: Attempt, trailers: Sequence[tuple[bytes, bytes]] | None) -> None:
        """On to the next attempt; keep this response if it is whole (`trailers` is not `None`)."""
        aside, self._incoming = self._incoming, None
        if trailers is not None and aside is not None:
            aside.trailers = trailers
            self._held = aside
        self._failed(attempt)
        self.attempt = None
        attempt.close()
        left = self._resume_at - self.runtime.loop.time()
        if left > 0:
            self._phase = "pause"
            self._hold(left)
        else:
            self._go(self.plan.resume())

    def _deliver_held(self, kept: HeldResponse) -> None:
        try:
            self._begin_response(kept.endpoint, kept.head)
            for chunk in kept.chunks:
                if self._out is not None and not self.done:
                    self._out.data(chunk)
            if not self.done:
                self._end_response(kept.trailers)
        except UpstreamError as error:
            self.fail(failures.malformed(kept.endpoint, error))
        except Exception as exc:  # noqa: BLE001 - as above
            self.defect(exc)

    # The end.

    def expired(self, now: float) -> None:
        if self.done:
            return
        if self._phase == "queue":
            step = self.plan.wait_expired()
            if isinstance(step, Endpoint) or step.kind != "stay":  # else its turn is on the way
                self._leave_line()
                self._go(step)
        elif self._phase == "pause":
            self._go(self.plan.resume())
        elif self.attempt is None:
            return
        elif now >= self._until:
            self._out_of_time(self.attempt)
        elif self._phase == "discard":
            self._set_incoming(self.attempt, None)
        else:
            self.attempt_expired(self.attempt)

    def attempt_expired(self, attempt: Attempt) -> None:
        """`attempt` took too long for what it is at."""
        phase = self._phase if attempt is self.attempt else "wait" if attempt.sent else "connect"
        failure, error = failures.late(attempt.endpoint, attempt.dial, phase)
        attempt.close()
        self.attempt_failed(attempt, failure, error)

    def _out_of_time(self, attempt: Attempt) -> None:
        total = self._total
        if total is None:
            ms = self.plan.deadline_ms
            self.fail(WaypostError("deadline_exceeded", f"the message's deadline of {ms} ms passed without a reply"))
        else:
            self.plan.failed(attempt.number, "timeout", attempt.sent, False, True)  # only to be counted
            self.fail(failures.timed_out(attempt.endpoint, "no whole response", total))

    def _bound(self, stream: bool = False) -> None:
        """Ask the plan how long all of the exchange may take."""
        seconds, self._total = self.plan.time_left(stream)
        self._until = self.runtime.loop.time() + seconds

    def _expect(self, seconds: float) -> None:
        """Something has to happen within `seconds`, and all of it before the deadline."""
        runtime = self.runtime
        when = runtime.loop.time() + seconds
        runtime.wheel.schedule(self._timer, when if when < self._until else self._until)  # noqa: FURB136 - half of min

    def _allow(self, attempt: Attempt, seconds: float, now: float) -> None:
        """The same for one of two attempts: the second one has a time of its own."""
        when = now + seconds
        timed = self._timer if attempt is self.attempt else attempt
        self.runtime.wheel.schedule(timed, when if when < self._until else self._until)  # noqa: FURB136 - half of min

    def _hold(self, seconds: float) -> None:
        """Nothing is to happen for `seconds`, which is before the deadline."""
        runtime = self.runtime
        runtime.wheel.schedule(self._timer, runtime.loop.time() + seconds)

    def fail(self, error: WaypostError) -> None:
        """The exchange is over and the response is not whole: an answer if it has not begun, else a clear end."""
        if self.done:
            return
        out = self._out
        if out is None:
            self._answer(error)
            return
        self._close()
        out.abort(error)
        self._record("aborted", error.code)

    def _answer(self, error: WaypostError) -> None:
        """Answer with `error` in the client's dialect."""
        plan = self.plan
        status, headers, body = render_error(plan.dialect, error, plan.id)
        plan.record(len(body), error.code, status=status, endpoint=self.endpoint, attempts=self.attempts)
        self._close()
        sink = self._sink
        sink.start(status, headers + self.plan.own_fields(self.endpoint, self.attempts))
        sink.data(body)
        sink.end()

    def _record(self, why: str, error: str | None = None) -> None:
        """Count and log the message, which ends now."""
        self.plan.record(self._sink.sent, why, error=error, endpoint=self.endpoint, attempts=self.attempts)

    def _close(self, *, whole: bool = False) -> None:
        """It is over. `whole`: the client has all of a response that has not ended."""
        self.done = True
        self._timer.deadline = math.inf
        self.plan.close(whole)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.close()
        hedge, self._hedge = self._hedge, None
        if hedge is not None:
            hedge.close()
        if self._upload is not None:
            self._upload.drop()
        self._held = self._incoming = self._tried = None
        self._leave_line()
        self.runtime.waiting_room.notify(self.plan)
        writable, self.on_writable = self.on_writable, None
        if writable is not None:
            writable()
