"""One message's life: decision made, attempts at endpoints, the response to a sink.

The rules, all of them in this file:

- Endpoints are tried in the plan's order. A connect error always moves on to the next one.
- Once a byte of the request may have reached an endpoint, another attempt is made only if the message is idempotent,
  its request bytes are still all there, and the sink has not been given anything.
- An idempotent message that finds its pooled connection closed under it goes to the same endpoint once more, over a
  new connection. For others the pool looks at the socket before it is reused, and nothing is sent twice.
- A 429, 502, 503 or 504 moves on likewise, while endpoints are left. It is kept: if no endpoint does better, the last
  such response is what the client gets.
- The head of a model's 200 is held until its first body byte, so that a model that dies before it can be replaced.
- The message's deadline and the cluster's total timeout bound all of it.
- A response that stops short after the sink was given its head ends in `Sink.abort`, never in `Sink.end`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

from waypost._native import Endpoint, Plan, ResponseEnd, ResponseHead
from waypost.dialects.envelope_openai import TranslateSink
from waypost.dialects.errors import render_error
from waypost.errors import UpstreamError, WaypostError
from waypost.exchange import failures
from waypost.exchange.attempt import Attempt
from waypost.exchange.connection import Connection
from waypost.exchange.runtime import Runtime, Settings
from waypost.exchange.sink import Sink
from waypost.exchange.upload import Translation, Upload
from waypost.exchange.wheel import Timer

__all__ = ["Exchange"]

_FAILOVER: Final = frozenset({429, 502, 503, 504})
_ASIDE_LIMIT: Final = 64 * 1024
"""Bytes of a 429, 502, 503 or 504 that are kept while other endpoints are tried."""
_ASIDE_TIME: Final = 1.0
"""Seconds that the body of such a response may take before the next endpoint is tried without keeping it."""

_Phase = Literal["connect", "send", "wait", "hold", "deliver", "aside"]

_logger = logging.getLogger("waypost")


class Exchange:
    """Carries one message to an endpoint and its response to `sink`. Used from its event loop only."""

    __slots__ = ("_aside", "_aside_size", "_began", "_deadline", "_endpoints", "_head", "_kept", "_method", "_next",
                 "_out", "_paused", "_phase", "_plan", "_reached", "_settings", "_sink", "_timer", "_translation",
                 "_until", "_upload", "attempt", "attempts", "done", "endpoint", "on_writable", "request_sent",
                 "runtime")  # fmt: skip

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        plan: Plan,
        sink: Sink,
        *,
        method: str = "POST",
        upload: Upload | None = None,
        timer: Timer | None = None,
    ) -> None:
        """`plan` has the whole request body, or it comes as `upload`, by `write` and `finish`.

        `method` is the request's. `timer` may serve one exchange after the other.
        """
        self._timer = Timer() if timer is None else timer
        self._timer.owner = self
        self.runtime = runtime
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
        self._plan = plan
        self._endpoints = plan.endpoints
        self._sink = sink
        self._out: Sink | None = None  # what the response goes to, once it began: the sink, or a translation before it
        self._method = method
        self._upload = upload
        self._translation = None if plan.forwards else Translation(plan)
        self._next = 0
        self._phase: _Phase = "connect"
        self._began = 0.0
        self._deadline = math.inf  # the message's own
        self._until = math.inf  # the deadline or the cluster's total timeout, whichever comes first
        self._paused = False
        self._reached = False
        self._head: ResponseHead | None = None
        self._aside: list[bytes] = []
        self._aside_size = 0
        self._kept: tuple[Endpoint, ResponseHead, list[bytes], Sequence[tuple[bytes, bytes]]] | None = None

    # Used by whoever has the client.

    def begin(self) -> None:
        """Make the first attempt."""
        self._began = self.runtime.loop.time()
        deadline_ms = self._plan.deadline_ms
        if deadline_ms is not None:
            self._deadline = self._began + deadline_ms / 1000
        if not self._endpoints:
            route = self._plan.decision.route
            self._answer(WaypostError("no_route", f"route {route} names no cluster, so that nothing can be sent on"))
            return
        self._try_next()

    def write(self, chunk: bytes) -> bool:
        """Take a piece of a streamed request body. False: wait for `on_writable` before the next.

        More than was announced ends the exchange, with `bad_framing` where the response has not begun.
        """
        if self.done or self._upload is None:
            return True
        try:
            self._plan.received(len(chunk))
            return self._upload.take(chunk, self._connection())
        except WaypostError as error:
            self.fail(error)
            return True

    def finish(self) -> None:
        """The streamed request body is complete. Less than was announced ends the exchange as more does."""
        if self.done or self._upload is None:
            return
        connection = self._connection()
        try:
            self._upload.finish(connection)
        except WaypostError as error:
            self.fail(error)
        else:
            if connection is not None:
                self._request_complete()

    def pause(self) -> None:
        """The sink cannot keep up: stop reading the response."""
        self._paused = True
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause()
            if self._phase == "deliver":
                self.runtime.wheel.schedule(self._timer, self._until)

    def resume(self) -> None:
        """The sink can take more."""
        self._paused = False
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume()
            if self._phase == "deliver":
                self._expect(self.attempt.endpoint.cluster.idle_timeout)

    def cancel(self) -> None:
        """The client left: close the upstream connection now. The sink hears nothing more."""
        if not self.done:
            self._record("client_gone")
            self._finish()

    def defect(self, exc: Exception) -> None:
        """Something in Waypost itself broke: say so in the log, and give the client an answer or a clear end."""
        _logger.error("a defect ended exchange %s", self._plan.id, exc_info=exc)
        self.fail(WaypostError("internal", "a defect in Waypost ended this exchange; its log says more"))

    # Attempts.

    def _try_next(self) -> None:
        endpoint = self._endpoints[self._next]
        self._next += 1
        self._try(endpoint)

    def _try(self, endpoint: Endpoint, *, fresh: bool = False) -> None:
        self.endpoint = endpoint
        runtime = self.runtime
        now = runtime.loop.time()
        try:
            place = self._settings.place(endpoint)
            until = self._began + place.total_timeout
            self._until = until = until if until < self._deadline else self._deadline  # noqa: FURB136 - half of min
            if now >= until:
                self._out_of_time()
                return
            if self._translation is not None and self._plan.translated(endpoint):
                self._translation.body(endpoint.cluster)
            self.attempts += 1
            self.request_sent = False
            self._head = None
            attempt = self.attempt = Attempt(self, endpoint, place, self._method)
            connection = None if fresh else attempt.reuse()
            if connection is not None:
                self._send_request(attempt, connection, now)
                return
        except WaypostError as error:
            self.fail(error)
            return
        except Exception as exc:  # noqa: BLE001 - whoever called this could not tell the client
            self.defect(exc)
            return
        self._phase = "connect"
        self._expect(place.connect_timeout)
        attempt.connect()

    def connected(self, attempt: Attempt, connection: Connection) -> None:
        """`attempt` has its connection: send what there is of the request."""
        try:
            self._send_request(attempt, connection, self.runtime.loop.time())
        except WaypostError as error:
            self.fail(error)
        except Exception as exc:  # noqa: BLE001 - an event-loop callback: nobody else could tell the client
            self.defect(exc)

    def _send_request(self, attempt: Attempt, connection: Connection, now: float) -> None:
        plan = self._plan
        endpoint = attempt.endpoint
        remaining = None
        if self._deadline != math.inf:
            remaining = max(1, int((self._deadline - now) * 1000))
        upload = self._upload
        if upload is not None:
            head = plan.head(endpoint, upload.length, remaining_ms=remaining)
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
        if self._translation is not None and plan.translated(endpoint):
            body = self._translation.body(endpoint.cluster)
            data = plan.head(endpoint, len(body), remaining_ms=remaining) + body
        else:
            data = plan.request(endpoint, remaining)
        attempt.sent = self.request_sent = True
        self._phase = "wait"
        when = now + attempt.place.first_byte_timeout
        self.runtime.wheel.schedule(self._timer, when if when < self._until else self._until)  # noqa: FURB136
        connection.write(data)

    def attempt_failed(self, attempt: Attempt, error: UpstreamError, *, lost: bool = False) -> None:
        """`attempt` is over without a whole response. `lost`: because its connection ended."""
        if self.attempt is not attempt:
            return
        self.attempt = None
        if self._out is not None:
            self.fail(error)
            return
        self._reached |= attempt.sent
        again = not attempt.sent or self._repeatable()
        if again and lost and attempt.reused and not attempt.answered:
            self._try(attempt.endpoint, fresh=True)
        elif again and self._next < len(self._endpoints):
            self._try_next()
        elif self._kept is not None:
            self._deliver_kept()
        else:
            self.fail(failures.after_all(error, self._endpoints[: self._next], self._reached))

    # The request.

    def _repeatable(self) -> bool:
        """Whether it may be sent again after it may have reached an endpoint."""
        return self._plan.idempotent and (self._upload is None or not self._upload.left)

    def _connection(self) -> Connection | None:
        return None if self.attempt is None else self.attempt.connection

    def _request_complete(self) -> None:
        self.request_sent = True
        if self._phase == "send" and self.attempt is not None:
            self._phase = "wait"
            self._expect(self.attempt.endpoint.cluster.first_byte_timeout)

    def request_paused(self) -> None:
        """The endpoint does not read its request as fast as it comes."""
        if self._phase == "send" and self.attempt is not None:
            self._expect(self.attempt.endpoint.cluster.idle_timeout)

    def request_resumed(self) -> None:
        """More of the request can be sent."""
        if self._phase == "send":
            self._expect(math.inf)  # the client's turn; the total timeout alone counts
        if self.on_writable is not None:
            self.on_writable()

    # The response, as the attempt reads it.

    def response_head(self, attempt: Attempt, head: ResponseHead) -> None:
        """The head is complete. May raise `UpstreamError`, as the sink may."""
        plan = self._plan
        status = head.status
        if status in _FAILOVER and self._repeatable() and self._next < len(self._endpoints) and self._out is None:
            self._phase = "aside"
            self._head = head
            self._aside = []
            self._aside_size = 0
            self._expect(_ASIDE_TIME)
        elif status == 200 and plan.kind == "model":
            self._phase = "hold"  # within the first-byte timeout, which is running
            self._head = head
        else:
            self._begin_response(attempt.endpoint, head)

    def response_flush(self) -> None:
        """Nothing came with the head."""
        if self._out is not None:
            self._out.flush()

    def response_whole(self, attempt: Attempt, head: ResponseHead, body: bytes, end: ResponseEnd) -> None:
        """All of a response, at once: the same as `response_head`, `response_data` and `response_end`."""
        if head.status in _FAILOVER or self._translation is not None:
            self.response_head(attempt, head)
            if body and self.attempt is attempt:
                self.response_data(attempt, body)
            if self.attempt is attempt:
                self.response_end(attempt, end.trailers)
            return
        self._phase = "deliver"
        out = self._out = self._sink
        out.whole(head, self._plan, attempt.endpoint, self.attempts, body, end)
        self._finish()

    def response_data(self, attempt: Attempt, chunk: bytes) -> None:
        """A piece of the body. May raise `UpstreamError`, as the sink may."""
        if self._phase == "deliver":
            if not self._paused:
                self._expect(attempt.place.idle_timeout)
        elif self._phase == "aside":
            self._aside_size += len(chunk)
            if self._aside_size > _ASIDE_LIMIT:
                self._set_aside(attempt, None)
            else:
                self._aside.append(chunk)
            return
        elif self._head is not None:
            self._begin_response(attempt.endpoint, self._head)
            if self.attempt is not attempt:
                return
        if self._out is not None:
            self._out.data(chunk)

    def response_end(self, attempt: Attempt, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """The response is complete. May raise `UpstreamError`, as the sink may."""
        if self._phase == "aside":
            self._set_aside(attempt, trailers)
            return
        if self._phase == "hold" and self._head is not None:
            self._begin_response(attempt.endpoint, self._head)
        if self.attempt is attempt:
            self._end_response(trailers)

    def _begin_response(self, endpoint: Endpoint, head: ResponseHead) -> None:
        plan = self._plan
        self._phase = "deliver"
        plan.forget()
        self._kept = None
        self.endpoint = endpoint
        out: Sink = self._sink
        if self._translation is not None and plan.translated(endpoint):
            out = TranslateSink(out, plan, endpoint, self._settings.reply_limit, self._complete)
        self._out = out
        if not self._paused:
            self._expect(endpoint.cluster.idle_timeout)
        out.forward(head, plan, endpoint, self.attempts)

    def _end_response(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        out = self._out
        if out is not None:
            out.end(trailers)
        self._record("ok")
        self._finish()

    def _complete(self) -> None:
        """The sink has everything, but the response has not ended. Its connection may still become reusable."""
        self._record("ok")
        attempt, self.attempt = self.attempt, None
        self._finish()
        if attempt is not None:
            attempt.linger()

    def _set_aside(self, attempt: Attempt, trailers: Sequence[tuple[bytes, bytes]] | None) -> None:
        """On to the next endpoint; keep this response if it is whole (`trailers` is not `None`)."""
        if trailers is not None and self._head is not None:
            self._kept = (attempt.endpoint, self._head, self._aside, trailers)
        self._aside = []
        self.attempt = None
        attempt.close()
        self._try_next()

    def _deliver_kept(self) -> None:
        if self._kept is None:
            return
        endpoint, head, chunks, trailers = self._kept
        try:
            self._begin_response(endpoint, head)
            for chunk in chunks:
                if self._out is not None and not self.done:
                    self._out.data(chunk)
            if not self.done:
                self._end_response(trailers)
        except UpstreamError as error:
            self.fail(failures.malformed(endpoint, error))
        except Exception as exc:  # noqa: BLE001 - as above
            self.defect(exc)

    # The end.

    def expired(self, now: float) -> None:
        attempt = self.attempt
        if self.done or attempt is None:
            return
        if now >= self._until:
            self._out_of_time()
            return
        cluster = attempt.endpoint.cluster
        if self._phase == "aside":
            self._set_aside(attempt, None)
            return
        if self._phase == "connect":
            error = failures.timed_out(attempt.endpoint, "no connection", cluster.connect_timeout, retryable=True)
        elif self._phase in ("wait", "hold"):
            what = "no response" if self._phase == "wait" else "no body after the response's head"
            error = failures.timed_out(attempt.endpoint, what, cluster.first_byte_timeout)
        else:
            what = "nothing more of the response" if self._phase == "deliver" else "nothing of the request was read"
            error = failures.timed_out(attempt.endpoint, what, cluster.idle_timeout)
        attempt.close()
        self.attempt_failed(attempt, error)

    def _out_of_time(self) -> None:
        endpoint = self.endpoint
        if self._deadline <= self._until or endpoint is None:
            ms = self._plan.deadline_ms
            self.fail(WaypostError("deadline_exceeded", f"the message's deadline of {ms} ms passed without a reply"))
        else:
            self.fail(failures.timed_out(endpoint, "no whole response", endpoint.cluster.total_timeout))

    def _expect(self, seconds: float) -> None:
        """Something has to happen within `seconds`, and all of it before the deadline."""
        runtime = self.runtime
        when = runtime.loop.time() + seconds
        runtime.wheel.schedule(self._timer, when if when < self._until else self._until)  # noqa: FURB136 - half of min

    def fail(self, error: WaypostError) -> None:
        """The exchange is over and the response is not whole: an answer if it has not begun, else a clear end."""
        if self.done:
            return
        out = self._out
        if out is None:
            self._answer(error)
            return
        self._finish()
        out.abort(error)
        self._record("aborted", error.code)

    def _answer(self, error: WaypostError) -> None:
        """Answer with `error` in the client's dialect."""
        status, headers, body = render_error(self._plan.dialect, error, self._plan.id)
        self._plan.finished(len(body), error.code, status=status, endpoint=self.endpoint, attempts=self.attempts)
        self._finish()
        sink = self._sink
        sink.start(status, headers + self._plan.own_fields(self.endpoint, self.attempts))
        sink.data(body)
        sink.end()

    def _record(self, why: str, error: str | None = None) -> None:
        """Count and log the message, which ends now."""
        self._plan.finished(self._sink.sent, why, error=error, endpoint=self.endpoint, attempts=self.attempts)

    def _finish(self) -> None:
        self.done = True
        self._timer.rest(self.runtime.wheel)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.close()
        if self._upload is not None:
            self._upload.drop()
        self._kept = None
        if self._aside:
            self._aside = []
        writable, self.on_writable = self.on_writable, None
        if writable is not None:
            writable()
