"""The common case, handled without an `Exchange`: one attempt over a pooled connection, and a response in one read.

A message that cannot go this way gets an `Exchange` at once. A message under way gets one as soon as anything unusual
happens; the exchange then adopts the attempt. `Direct` decides nothing.
"""

from __future__ import annotations

import math
from typing import Protocol, cast

from waypost._native import Endpoint, Plan, Step
from waypost.exchange.exchange import Exchange
from waypost.exchange.runtime import Runtime
from waypost.exchange.translator import Translator
from waypost.exchange.upload import Upload
from waypost.loop.wheel import Timed
from waypost.sink import Sink
from waypost.upstream.connection import Connection
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Direct", "DirectSink"]


class DirectSink(Sink, Protocol):
    """A sink that can also take a whole response at once."""

    __slots__ = ()

    def answer(self, plan: Plan, endpoint: Endpoint, data: bytes) -> float | None:
        """Take `data`, the first read of the only attempt, if it is a whole response for the client.

        Returns for how many seconds the endpoint's idle connection can be used again, 0 if it cannot, or `None` if
        `data` is anything else. In that case nothing has changed.
        """

    def done(self) -> None:
        """The message is over; `answer` took its response."""


_Pending = tuple[UpstreamSettings, Plan, Endpoint, Connection]
"""A message that waits for its response: its settings, plan and endpoint, and the connection that it was sent over."""


class Direct(Timed):
    """Carries one message after another. Used from its event loop only."""

    __slots__ = ("_pending", "exchange", "runtime", "sink")

    def __init__(self, runtime: Runtime, sink: DirectSink) -> None:
        super().__init__()
        self.runtime = runtime
        self.sink: DirectSink = sink
        """The receiver of the responses."""
        self.exchange: Exchange | None = None
        """The message's exchange, if it has one."""
        self._pending: _Pending | None = None

    def begin(
        self,
        settings: UpstreamSettings,
        plan: Plan,
        upload: Upload | None = None,
        translator: Translator | None = None,
    ) -> None:
        """Send the message to the clusters of its plan, as `Carrier.begin` says."""
        if upload is None and translator is None and plan.direct:
            step, request = plan.depart()
            self.send(settings, plan, step, request)
            return
        self.exchange = exchange = Exchange(
            self.runtime, settings, plan, self.sink, self, upload=upload, translator=translator
        )
        exchange.begin(plan.begin())

    def send(self, settings: UpstreamSettings, plan: Plan, step: Endpoint | Step, request: bytes | None) -> None:
        """Carry a message whose plan has departed. `step` and `request` are the results of `Plan.depart`."""
        runtime = self.runtime
        if request is not None:
            endpoint = cast(Endpoint, step)
            dial = settings.dials.get(endpoint) or settings.dial(endpoint)
            now = runtime.loop.time()
            outbox = runtime.outbox
            connection = runtime.pool.take(dial.key, now, watched=outbox.collecting)
            if connection is not None and connection.transport is not None:
                self._pending = (settings, plan, endpoint, connection)
                connection.attempt = self
                if self.sink.reads_limited:
                    connection.limit_reads(self.sink.read_limit)
                self.deadline = deadline = now + dial.first_read_timeout
                if deadline <= self.inspected_at:
                    runtime.wheel.schedule(self, deadline)
                if outbox.collecting:
                    connection.unsent = True
                    waiting = outbox.waiting
                    if not waiting:
                        outbox.arm()
                    waiting.append((connection, request))
                else:
                    connection.transport.write(request)
                    outbox.countdown = countdown = outbox.countdown - 1
                    if countdown <= 0:
                        outbox.measure()
                return
        self.exchange = exchange = Exchange(runtime, settings, plan, self.sink, self)
        exchange.begin(step)

    def exchange_done(self) -> None:
        """Drop the exchange, which is over."""
        self.exchange = None

    def limit_reads(self, size: int | None) -> None:
        """Read at most `size` bytes of the response at a time."""
        if self._pending is not None:
            self._pending[3].limit_reads(size)
        elif self.exchange is not None:
            self.exchange.limit_reads(size)

    def clear(self) -> None:
        """Drop everything about the last message, its sink too."""
        self.exchange = None
        self.sink = cast(DirectSink, None)

    def discard(self) -> None:
        self.runtime.wheel.cancel(self)

    def cancel(self) -> None:
        """End the message under way, for example because the client left."""
        exchange = self.ensure_exchange()
        if exchange is not None:
            exchange.cancel()
            self.exchange = None

    @property
    def busy(self) -> bool:
        """A message is under way."""
        return self._pending is not None or self.exchange is not None

    def ensure_exchange(self) -> Exchange | None:
        """The exchange of the message under way, made now if necessary; `None` if no message is under way."""
        pending, self._pending = self._pending, None
        if pending is not None:
            settings, plan, endpoint, connection = pending
            self.exchange = exchange = Exchange(self.runtime, settings, plan, self.sink, self)
            exchange.adopt(endpoint, connection)
        return self.exchange

    # Timed.

    def expired(self, now: float) -> None:
        exchange = self.ensure_exchange()
        if exchange is not None:
            exchange.expired(now)

    # Called by the connection.

    def received(self, data: bytes) -> None:
        pending = self._pending
        if pending is None:
            return
        _, plan, endpoint, connection = pending
        self._pending = None  # from here on, the client cannot end this message
        try:
            reusable = self.sink.answer(plan, endpoint, data)
        except Exception as exc:  # noqa: BLE001 - an event-loop callback: nobody else could tell the client
            self._fail_internally(pending, exc)
            return
        if reusable is None:
            self._pass_to_exchange(pending, data)
            return
        self.deadline = math.inf  # the timer stays on the wheel
        runtime = self.runtime
        if reusable:
            runtime.pool.give(connection, reusable)
        else:
            connection.close()
        room = runtime.waiting_room
        if room.waiting or room.shared:
            room.notify(plan)
        self.sink.done()  # outside the `try`: the client has its answer and must not get another one

    def _fail_internally(self, pending: _Pending, exc: Exception) -> None:
        """End the message because of a defect in Waypost."""
        self._pending = pending
        exchange = self.ensure_exchange()
        if exchange is not None:
            exchange.defect(exc)

    def _pass_to_exchange(self, pending: _Pending, data: bytes) -> None:
        """Give the message and `data`, which is not simply a whole response, to an exchange."""
        self._pending = pending
        self.ensure_exchange()
        pending[3].data_received(data)

    def unsolicited(self) -> None:
        pending = self._pending
        exchange = self.ensure_exchange()
        if exchange is not None and pending is not None and pending[3].attempt is not None:
            pending[3].attempt.unsolicited()

    def eof(self) -> None:
        pending = self._pending
        self.ensure_exchange()
        if pending is not None:
            pending[3].eof_received()

    def lost(self, exc: Exception | None) -> None:
        pending = self._pending
        self.ensure_exchange()
        if pending is not None and pending[3].attempt is not None:
            pending[3].attempt.lost(exc)

    def endpoint_unfit(self, endpoint: Endpoint) -> None:
        pending = self._pending
        if pending is not None and (pending[2].url, pending[2].address) == (endpoint.url, endpoint.address):
            self.ensure_exchange()
            if pending[3].attempt is not None:
                pending[3].attempt.endpoint_unfit(endpoint)

    def writing_paused(self) -> None:
        exchange = self.ensure_exchange()
        if exchange is not None:
            exchange.request_paused()

    def writing_resumed(self) -> None:
        exchange = self.ensure_exchange()
        if exchange is not None:
            exchange.request_resumed()
