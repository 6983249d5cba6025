"""Carries a decided message: makes attempts at endpoints, and gives the response to a sink.

More than 500 lines, because the callbacks of one state machine belong together.

The core's `Course` decides which endpoint is tried when, whether another attempt follows, and which message waits for
room. An exchange asks it by `Plan.begin`, `retryable_response`, `failed` and the like, and has the sockets and the
timers. The exchange adds these rules:

- If an attempt finds its pooled connection closed although the pool has checked the socket, the same endpoint is tried
  once more over a new connection, if the message may be sent twice.
- A retryable response is held. If no endpoint does better, the client gets the last such response.
- The head of a model's 200 is held until the first byte of its body, that of a stream of events until its first event,
  so that a model that dies before it can be replaced. A stream of events that ends without one is a failure.
- The message's deadline and the cluster's total timeout limit the whole exchange.
- While a stream of events is silent, the client gets a comment now and then. If the stream's first event takes long,
  the client gets the head with the first comment, and the model cannot be replaced any more.
- An attempt that waits at an endpoint whose active check fails is given up if the message may go elsewhere.
- Of two attempts under way, the one whose response begins first goes on; the other is closed.
- A response that stops short after the sink got its head ends in `Sink.abort`, never in `Sink.end`.
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
from waypost.loop.wheel import Timed, Timer
from waypost.sink import Sink
from waypost.upstream.connection import Connection
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Exchange"]

_Phase = Literal["queue", "pause", "connect", "send", "wait", "hold_head", "deliver", "hold_response"]
"""What an exchange waits for.

`queue`: its turn in a cluster. `pause`: the end of a pause. `connect`: a connection. `send`: the rest of a streamed
request. `wait`: a response. `hold_head`: the begin of a model's answer. `deliver`: more of a response that the sink
gets. `hold_response`: more of a retryable response.
"""

_logger = logging.getLogger("waypost")


class Exchange:
    """Carries one message to an endpoint and its response to `sink`. Used from its event loop only."""

    __slots__ = (
        "_comment_interval",
        "_failed_attempts",
        "_hedge",
        "_held_begin",
        "_held_response",
        "_idle_timeout",
        "_limit_at",
        "_partial_response",
        "_phase",
        "_reading_paused",
        "_response_sink",
        "_resume_at",
        "_silent_until",
        "_sink",
        "_tail",
        "_ticket",
        "_timer",
        "_total",
        "_translator",
        "_upload",
        "attempt",
        "attempts",
        "done",
        "endpoint",
        "on_writable",
        "plan",
        "request_sent",
        "runtime",
        "settings",
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
        """`plan` has the whole request body, or the body arrives as `upload`, by `write` and `upload_complete`.

        `translator` is needed if an endpoint speaks another dialect than the client. `timer` calls `expired`; it may
        serve one exchange after another, and stays on the wheel in between.
        """
        self._timer = timer
        self.runtime = runtime
        self.plan = plan
        self.attempt: Attempt | None = None
        """The attempt under way."""
        self.attempts = 0
        """Number of attempts so far."""
        self.endpoint: Endpoint | None = None
        """The endpoint that answered, or the one that was tried last."""
        self.done = False
        """The sink got `end` or `abort`, or the exchange was cancelled."""
        self.request_sent = False
        """The attempt's connection was given the whole request."""
        self.on_writable: Callable[[], None] | None = None
        """Called when `write` may be used again after it returned false, and when the exchange is over."""
        self.settings = settings
        self._sink = sink
        self._response_sink: Sink | None = None  # once the response has begun: `_sink`, or a translation in front
        self._upload = upload
        self._translator = translator
        self._phase: _Phase = "connect"
        self._limit_at = math.inf  # when the whole exchange has to be over, in event-loop time
        self._total: float | None = None  # the total timeout behind `_limit_at`; `None`: the message's own deadline
        self._idle_timeout = 0.0  # longest silence within the response, in seconds
        self._comment_interval = math.inf  # silence of the response after which the client gets a comment, in seconds
        self._silent_until = math.inf  # when the longest silence ends, in event-loop time
        self._tail = b""  # the last bytes of a stream of events
        self._resume_at = 0.0  # when a pause ends, in event-loop time
        self._reading_paused = False
        self._ticket: QueueTicket | None = None  # while the exchange waits in a queue
        self._hedge: Hedge | None = None
        self._held_begin: HeldResponse | None = None  # a model's 200, until its answer begins
        self._partial_response: HeldResponse | None = None  # a retryable response that is still arriving
        self._held_response: HeldResponse | None = None  # the last retryable response that arrived whole
        self._failed_attempts: list[Attempt] | None = None

    # Used by the owner of the client.

    def begin(self, step: Endpoint | Step) -> None:
        """Make the first attempt, or wait for room. `step` is the result of `Plan.begin`."""
        self._take_step(step)

    def adopt(self, endpoint: Endpoint, connection: Connection) -> None:
        """Go on with a first attempt that was made without an exchange, and whose timer runs.

        `connection` came from the pool and was given the whole request.
        """
        attempt = self.attempt = self.new_attempt(endpoint)
        attempt.adopt(connection)
        self.endpoint = endpoint
        self.request_sent = True
        self._limit()
        self._phase = "wait"

    def write(self, chunk: bytes) -> bool:
        """Send a piece of a streamed request body. Returns false if the next one should wait for `on_writable`.

        A body that becomes longer than announced ends the exchange with `bad_framing`.
        """
        if self.done or self._upload is None:
            return True
        try:
            self.plan.count_received(len(chunk))
            return self._upload.write(chunk, self._connection())
        except WaypostError as error:
            self.fail(error)
            return True

    def upload_complete(self) -> None:
        """End a streamed request body. A body that is shorter than announced ends the exchange with `bad_framing`."""
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
        """Stop reading the response, because the sink cannot keep up."""
        self._reading_paused = True
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause()
            if self._phase == "deliver":
                self.runtime.wheel.schedule(self._timer, self._limit_at)

    def resume_reading(self) -> None:
        """Read on, because the sink can take more."""
        self._reading_paused = False
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume()
            if self._phase == "deliver":
                self._await_more()

    def limit_reads(self, size: int | None) -> None:
        """Read at most `size` bytes of the response at a time."""
        connection = self._connection()
        if connection is not None:
            connection.limit_reads(size)

    def cancel(self) -> None:
        """Close the upstream connection now, because the client left. The sink gets no further call."""
        if not self.done:
            self._record("client_gone")
            self._close()

    def defect(self, exc: Exception) -> None:
        """End the exchange with an `internal` error, because of a defect in Waypost. The log has the exception."""
        _logger.error("a defect ended exchange %s", self.plan.id, exc_info=exc)
        self.fail(WaypostError("internal", "a defect in Waypost ended this exchange: see the log of Waypost"))

    # The course.

    def take_turn(self, turn: Turn) -> None:
        """The wait in a queue is over."""
        self._ticket = None
        self._take_step(self.plan.take_turn(turn))

    def _take_step(self, step: Endpoint | Step, *, fresh: bool = False, error: UpstreamError | None = None) -> None:
        """Do what the course says. `error` ended the last attempt; `fresh` asks for a new connection."""
        if isinstance(step, Endpoint):
            self._begin_attempt(step, fresh=fresh)
        elif step.kind == "pause":
            self._phase = "pause"
            self._wake_in(step.seconds)
        elif step.kind == "wait":
            self._phase = "queue"
            self._ticket = ticket = (step.cluster, step.ticket)
            self.runtime.waiting_room.waiting[ticket] = self
            if step.displaced is not None:
                self.runtime.waiting_room.announce((step.displaced,))
            self._wake_in(step.seconds)
        elif step.kind != "stay" and self._held_response is not None:
            self._deliver_held_response(self._held_response)
        elif step.kind == "refuse" and isinstance(step.error, WaypostError):
            self.fail(step.error)
        elif step.kind == "give_up" and error is not None:
            self.fail(failures.all_failed(error, self._failed_attempts or ()))
        self.runtime.waiting_room.notify(self.plan)

    def _leave_queue(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self.runtime.waiting_room.waiting.pop(ticket, None)

    def _begin_attempt(self, endpoint: Endpoint, *, fresh: bool = False) -> None:
        """Make an attempt, which the course has already counted."""
        try:
            attempt = self.attempt = self.new_attempt(endpoint)
            dial = attempt.dial
            self.endpoint = endpoint
            self._limit()
            self.request_sent = False
            self._held_begin = None
        except Exception as exc:  # noqa: BLE001 - the caller could not tell the client
            self.defect(exc)
            return
        self.start_attempt(attempt, fresh=fresh)
        if dial.hedged and self._upload is None and not self.done:
            if self._hedge is None:
                self._hedge = Hedge(self)
            self._hedge.arm()

    def new_attempt(self, endpoint: Endpoint) -> Attempt:
        """Make another attempt, not started yet."""
        self.attempts += 1
        return Attempt(self, endpoint, self.settings.dial(endpoint), self.attempts)

    def start_attempt(self, attempt: Attempt, *, fresh: bool = False) -> None:
        """Get a connection for `attempt`, a new one if `fresh`, and send the request."""
        try:
            connection = None if fresh else attempt.reuse()
            if connection is not None:
                self._send_request(attempt, connection, self.runtime.loop.time())
                return
            if self._translator is not None:
                self._translator.request(attempt.endpoint)  # fails before a connection is made
            if attempt is self.attempt:
                self._phase = "connect"
            self._set_attempt_timeout(attempt, attempt.dial.connect_timeout, self.runtime.loop.time())
            attempt.connect()
        except WaypostError as error:
            self.fail(error)
        except Exception as exc:  # noqa: BLE001 - as above
            self.defect(exc)

    def connected(self, attempt: Attempt, connection: Connection) -> None:
        """Send the request over the connection that was made for `attempt`, as far as it has arrived."""
        if attempt is self.attempt:
            self.endpoint = attempt.endpoint
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
        if self._sink.reads_limited:
            connection.limit_reads(self._sink.read_limit)
        if upload is not None:
            head = plan.head(endpoint, upload.length)
            attempt.sent = True
            self._phase = "send"
            connection.write(head)
            self._set_timeout(math.inf)
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
        self._set_attempt_timeout(attempt, attempt.dial.first_byte_timeout, now)
        connection.write(data)

    def is_current(self, attempt: Attempt) -> bool:
        """Whether `attempt` is under way; the outcome of any other attempt is ignored."""
        return attempt is self.attempt or (self._hedge is not None and attempt is self._hedge.attempt)

    def _note_failure(self, attempt: Attempt) -> None:
        if self._failed_attempts is None:
            self._failed_attempts = []
        self._failed_attempts.append(attempt)

    @property
    def unanswered(self) -> bool:
        """An attempt is under way, and no byte of a response has arrived."""
        return self.attempt is not None and self._phase in ("connect", "wait")

    def continue_with(self, second: Attempt) -> None:
        """Let the second attempt go on alone, with its own timeout."""
        self.attempt = second
        self.endpoint = second.endpoint
        self._phase = "wait" if second.sent else "connect"
        wheel = self.runtime.wheel
        wheel.schedule(self._timer, second.deadline)
        wheel.cancel(second)

    def attempt_failed(self, attempt: Attempt, failure: Failure, error: UpstreamError) -> None:
        """`attempt` ended without a whole response."""
        if not self.is_current(attempt):
            return
        delivered = self._response_sink is not None
        step = self.plan.failed(attempt.number, failure, attempt.sent, self._replayable, delivered)
        if delivered:
            self.attempt = None
            self.fail(error)
            return
        self._note_failure(attempt)
        if self._hedge is not None and self._hedge.attempt is not None:
            self._hedge.drop(attempt)
            return
        self.attempt = None
        self._take_step(step, fresh=failure == "stale", error=error)

    def endpoint_unfit(self, attempt: Attempt) -> None:
        """The active check of the endpoint of `attempt` fails: the message goes elsewhere, if it may."""
        if attempt is not self.attempt or self._phase != "wait" or self._hedge_under_way:
            return
        step = self.plan.leave_unfit(attempt.number, attempt.sent, self._replayable)
        if isinstance(step, Step) and step.kind == "stay":
            return
        self._note_failure(attempt)
        self.attempt = None
        attempt.close()
        self._take_step(step, error=failures.check_failed(attempt.endpoint))

    @property
    def _hedge_under_way(self) -> bool:
        return self._hedge is not None and self._hedge.attempt is not None

    # The request.

    @property
    def _replayable(self) -> bool:
        """The whole request can be sent again."""
        return self._upload is None or not self._upload.started

    def _connection(self) -> Connection | None:
        return None if self.attempt is None else self.attempt.connection

    def _request_complete(self) -> None:
        self.request_sent = True
        if self._phase == "send" and self.attempt is not None:
            self.plan.request_sent(self.attempt.number)
            self._phase = "wait"
            self._set_timeout(self.attempt.dial.first_byte_timeout)

    def request_paused(self) -> None:
        """The endpoint reads the request more slowly than it arrives."""
        if self._phase == "send" and self.attempt is not None:
            self._set_timeout(self.attempt.dial.idle_timeout)

    def request_resumed(self) -> None:
        """More of the request can be sent."""
        if self._phase == "send":
            self._set_timeout(math.inf)  # waits for the client; only the total timeout applies
        if self.on_writable is not None:
            self.on_writable()

    # The response, as the attempt reads it.

    def response_head(self, attempt: Attempt, head: ResponseHead) -> None:
        """The head is complete. Raises the sink's `UpstreamError`."""
        hedge = self._hedge
        if hedge is not None and hedge.attempt is not None and not hedge.settle(attempt, head):
            self._note_failure(attempt)
            return
        if head.retryable and self._response_sink is None:
            step = self.plan.retryable_response(attempt.number, head, self._replayable)
            if isinstance(step, Step) and step.kind == "pause":
                self._phase = "hold_response"
                self._partial_response = HeldResponse(attempt.endpoint, head)
                self._resume_at = self.runtime.loop.time() + step.seconds
                self._set_timeout(HOLD_TIME)
                return
        if head.status == 200 and self.plan.kind == "model":
            self._phase = "hold_head"  # the first-byte timeout goes on
            self._held_begin = HeldResponse(attempt.endpoint, head)
            self._silent_until = self._timer.deadline
            if head.takes_comments:
                comment_at = self.runtime.loop.time() + attempt.dial.stream_comment
                self.runtime.wheel.schedule(self._timer, min(comment_at, self._silent_until))
        else:
            self._begin_response(attempt.endpoint, head)

    def response_flush(self) -> None:
        """No body arrived together with the head."""
        if self._response_sink is not None:
            self._response_sink.flush()

    def response_whole(self, attempt: Attempt, head: ResponseHead, body: bytes, end: ResponseEnd) -> None:
        """A whole response arrived at once: `response_head`, `response_data` and `response_end` in one call."""
        if head.retryable and self._hedge is not None and self._hedge.attempt is not None:
            self._held_response = HeldResponse.whole(attempt.endpoint, head, body, end.trailers)
        self.response_head(attempt, head)
        if body and self.attempt is attempt:
            self.response_data(attempt, body)
        if self.attempt is attempt:
            self.response_end(attempt, end.trailers)

    def response_data(self, attempt: Attempt, chunk: bytes) -> None:
        """A piece of the body arrived. Raises the sink's `UpstreamError`."""
        if self._phase == "deliver":
            if not self._reading_paused:
                self._await_more()
        elif self._phase == "hold_response":
            if self._partial_response is not None and not self._partial_response.add(chunk):
                self._next_attempt(attempt, None)
            return
        elif self._held_begin is not None:
            if not self._held_begin.add(chunk) or not attempt.lacks_event:
                self._deliver_held_begin(attempt, self._held_begin)
            return
        if self._response_sink is not None:
            if self._comment_interval != math.inf:
                self._tail = (self._tail + chunk[-4:])[-4:]
            self._response_sink.data(chunk)

    def response_end(self, attempt: Attempt, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """The response is complete. Raises the sink's `UpstreamError`."""
        if self._phase == "hold_response":
            self._next_attempt(attempt, trailers)
            return
        if self._phase == "hold_head" and self._held_begin is not None:
            self._deliver_held_begin(attempt, self._held_begin)
        if self.attempt is attempt:
            self._end_response(trailers)

    def _deliver_held_begin(self, attempt: Attempt, held: HeldResponse) -> None:
        """Give the client what has arrived of the model's 200. From now on, the model cannot be replaced."""
        self._held_begin = None
        self._begin_response(attempt.endpoint, held.head)
        for chunk in held.chunks:
            if self.attempt is attempt:
                self.response_data(attempt, chunk)

    def _begin_response(self, endpoint: Endpoint, head: ResponseHead) -> None:
        plan = self.plan
        self._phase = "deliver"
        plan.drop_body()
        self._held_response = None
        self.endpoint = endpoint
        sink: Sink = self._sink
        if self._translator is not None:
            sink = self._translator.response(sink, endpoint, self._response_complete)
        self._response_sink = sink
        connection = self._connection()
        if connection is not None:
            connection.limit_reads(self._sink.read_limit)
        dial = self.settings.dial(endpoint)
        self._idle_timeout = dial.idle_timeout
        if head.stream:
            # Only the timeouts of streams apply from now on.
            self._idle_timeout = dial.stream_idle_timeout
            self._limit(stream=True)
        if head.takes_comments:
            self._comment_interval = dial.stream_comment
        if not self._reading_paused:
            self._await_more()
        sink.forward(head, plan, endpoint, self.attempts)
        self.runtime.waiting_room.notify(self.plan)

    def _end_response(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        if self._response_sink is not None:
            self._response_sink.end(trailers)
        self._record("ok")
        self._close()

    def _response_complete(self) -> None:
        """The sink has everything before the response has ended. The connection may still become reusable."""
        self._record("ok")
        attempt, self.attempt = self.attempt, None
        self._close(whole=True)
        if attempt is not None:
            attempt.linger()

    def _next_attempt(self, attempt: Attempt, trailers: Sequence[tuple[bytes, bytes]] | None) -> None:
        """Make another attempt. The response is held if it arrived whole, that is, if `trailers` is not `None`."""
        response, self._partial_response = self._partial_response, None
        if trailers is not None and response is not None:
            response.trailers = trailers
            self._held_response = response
        self._note_failure(attempt)
        self.attempt = None
        attempt.close()
        remaining = self._resume_at - self.runtime.loop.time()
        if remaining > 0:
            self._phase = "pause"
            self._wake_in(remaining)
        else:
            self._take_step(self.plan.resume())

    def _deliver_held_response(self, held: HeldResponse) -> None:
        try:
            self._begin_response(held.endpoint, held.head)
            for chunk in held.chunks:
                if self._response_sink is not None and not self.done:
                    self._response_sink.data(chunk)
            if not self.done:
                self._end_response(held.trailers)
        except UpstreamError as error:
            self.fail(failures.bad_response(held.endpoint, error))
        except Exception as exc:  # noqa: BLE001 - as above
            self.defect(exc)

    # The end.

    def expired(self, now: float) -> None:
        """The timer has expired."""
        if self.done:
            return
        if self._phase == "queue":
            step = self.plan.wait_expired()
            if isinstance(step, Endpoint) or step.kind != "stay":  # with "stay", its turn is about to be told
                self._leave_queue()
                self._take_step(step)
        elif self._phase == "pause":
            self._take_step(self.plan.resume())
        elif self.attempt is None:
            return
        elif now >= self._limit_at:
            self._limit_passed(self.attempt)
        elif self._phase == "hold_response":
            self._next_attempt(self.attempt, None)
        elif self._phase in ("hold_head", "deliver") and now < self._silent_until:
            self._comment(self.attempt)
        elif self._held_begin is not None and self._held_begin.chunks:
            self._comment(self.attempt)  # the endpoint is not silent: it has sent comments
        else:
            self.attempt_expired(self.attempt)

    def _await_more(self) -> None:
        """Expire when the response has been silent for too long, or when a comment is due."""
        now = self.runtime.loop.time()
        self._silent_until = now + self._idle_timeout
        self.runtime.wheel.schedule(self._timer, min(self._silent_until, now + self._comment_interval, self._limit_at))

    def _comment(self, attempt: Attempt) -> None:
        """Keep the client's connection alive while the stream of events is silent."""
        try:
            held = self._held_begin
            if held is not None:
                self._deliver_held_begin(attempt, held)
                if held.chunks:
                    return
            sink = self._response_sink
            # Within an event, a comment would cut the event in two. A translated stream is passed on by whole events.
            between = sink is not self._sink or self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) or not self._tail
            if sink is not None and between and not self._reading_paused:
                sink.comment()
        except UpstreamError as error:
            self.fail(failures.bad_response(attempt.endpoint, error))
        except Exception as exc:  # noqa: BLE001 - as above
            self.defect(exc)
        if not self.done:
            # The silence of the endpoint goes on.
            now = self.runtime.loop.time()
            when = min(self._silent_until, now + self._comment_interval, self._limit_at)
            self.runtime.wheel.schedule(self._timer, when)

    def attempt_expired(self, attempt: Attempt) -> None:
        """`attempt` took too long in its phase."""
        phase = self._phase if attempt is self.attempt else "wait" if attempt.sent else "connect"
        failure, error = failures.phase_expired(attempt.endpoint, attempt.dial, phase, self._idle_timeout)
        if phase == "connect":
            attempt.connect_expired()
        attempt.close()
        self.attempt_failed(attempt, failure, error)

    def _limit_passed(self, attempt: Attempt) -> None:
        total = self._total
        if total is None:
            ms = self.plan.deadline_ms
            self.fail(WaypostError("deadline_exceeded", f"the message's deadline of {ms} ms passed without a reply"))
        else:
            self.plan.failed(attempt.number, "timeout", attempt.sent, False, True)  # only counts the failure
            self.fail(failures.timed_out(attempt.endpoint, "no complete response", total))

    def _limit(self, stream: bool = False) -> None:
        """Limit the whole exchange to the time that its plan gives it. `stream` says that the response is a stream."""
        seconds, self._total = self.plan.time_left(stream)
        self._limit_at = self.runtime.loop.time() + seconds

    def _set_timeout(self, seconds: float) -> None:
        """Expire in `seconds`, or earlier when the exchange has to be over."""
        runtime = self.runtime
        when = runtime.loop.time() + seconds
        runtime.wheel.schedule(self._timer, when if when < self._limit_at else self._limit_at)  # noqa: FURB136 - half of min

    def _set_attempt_timeout(self, attempt: Attempt, seconds: float, now: float) -> None:
        """`_set_timeout` for one of two attempts: the second attempt has its own timer."""
        when = now + seconds
        timed = self._timer if attempt is self.attempt else attempt
        self.runtime.wheel.schedule(timed, when if when < self._limit_at else self._limit_at)  # noqa: FURB136 - half of min

    def _wake_in(self, seconds: float) -> None:
        """Expire in `seconds`, which the course has kept below the deadline."""
        runtime = self.runtime
        runtime.wheel.schedule(self._timer, runtime.loop.time() + seconds)

    def fail(self, error: WaypostError) -> None:
        """End the exchange with `error`: answer with it, or abort the response if that has begun."""
        if self.done:
            return
        sink = self._response_sink
        if sink is None:
            self._answer(error)
            return
        self._close()
        sink.abort(error)
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
        """End the exchange. `whole` says that the client has a whole response before the response has ended."""
        self.done = True
        timer = self._timer
        timer.deadline = math.inf
        if isinstance(timer, Timer):
            # Nobody reuses this timer, and the wheel would keep the exchange until the timer's old deadline.
            self.runtime.wheel.cancel(timer)
            timer.owner = None
        self.plan.close(whole)
        if self._response_sink is None:
            self.plan.drop_body()
        self._translator = None
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.close()
        hedge, self._hedge = self._hedge, None
        if hedge is not None:
            hedge.close()
        if self._upload is not None:
            self._upload.drop()
        self._held_response = self._partial_response = self._failed_attempts = None
        self._leave_queue()
        self.runtime.waiting_room.notify(self.plan)
        writable, self.on_writable = self.on_writable, None
        if writable is not None:
            writable()
