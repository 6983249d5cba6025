"""The direct way of a message: one attempt over a kept connection, and a response that comes whole.

Most messages go it, and need nothing of what an `Exchange` is for. There is an exchange only where the way is not
direct from the start, or once anything else happens on it: that then goes on with the attempt under way.
"""

from __future__ import annotations

import math
from typing import Protocol, cast

from waypost._native import Endpoint, Plan
from waypost.exchange.exchange import Exchange
from waypost.exchange.runtime import Runtime
from waypost.exchange.upload import Upload
from waypost.loop.wheel import Timed
from waypost.sink import Sink
from waypost.upstream.connection import Connection
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Direct", "DirectSink"]


class DirectSink(Sink, Protocol):
    """Takes a response whole, or as every sink does."""

    __slots__ = ()

    def answer(self, plan: Plan, endpoint: Endpoint, data: bytes) -> bool | None:
        """Take `data`, which the only attempt's connection gave, if it is a whole response that is to be delivered.

        Says whether the connection can be used again; `None` where `data` is anything else, and nothing was done.
        """

    def done(self) -> None:
        """The message that was answered is over."""


_Way = tuple[UpstreamSettings, Plan, Endpoint, Connection, float]
"""What a message needs on its direct way, and when that began."""


class Direct(Timed):
    """Carries messages, one after the other. Used from its event loop only."""

    __slots__ = ("_runtime", "_way", "exchange", "sink")

    def __init__(self, runtime: Runtime, sink: DirectSink) -> None:
        super().__init__()
        self.sink = sink
        """Where responses go."""
        self.exchange: Exchange | None = None
        """The exchange under way, where the way of the message is not direct."""
        self._runtime = runtime
        self._way: _Way | None = None  # of the message that is on it

    def begin(
        self, settings: UpstreamSettings, plan: Plan, upload: Upload | None = None, *, forwards: bool = True
    ) -> None:
        """Carry a message. `plan` has the whole body, or it comes as `upload`; `forwards` is what the plan says."""
        runtime = self._runtime
        step = plan.begin()
        if isinstance(step, Endpoint) and upload is None and forwards and plan.deadline_ms is None:
            dial = settings.dial(step)
            now = runtime.loop.time()
            connection = None if dial.hedged else runtime.pool.take(dial.key, now)
            if connection is not None and connection.transport is not None:
                try:
                    data = plan.request(step)
                except Exception:  # noqa: BLE001 - the exchange finds the same, and says so
                    runtime.pool.give(connection)
                else:
                    self._way = (settings, plan, step, connection, now)
                    connection.attempt = self
                    self.deadline = deadline = now + dial.first_read_timeout
                    if deadline <= self.inspected_at:
                        runtime.wheel.schedule(self, deadline)
                    connection.transport.write(data)
                    return
        self.exchange = exchange = Exchange(runtime, settings, plan, self.sink, self, upload=upload)
        exchange.begin(step)

    def forget(self) -> None:
        """The exchange is over."""
        self.exchange = None

    def clear(self) -> None:
        """There is no message for now, and no sink: nothing of the last one is kept."""
        self.exchange = None
        self.sink = cast(DirectSink, None)

    def discard(self) -> None:
        self._runtime.wheel.cancel(self)

    def cancel(self) -> None:
        """The client left, or nothing is to be carried any more."""
        exchange = self.take_exchange()
        if exchange is not None:
            exchange.cancel()
            self.exchange = None

    @property
    def busy(self) -> bool:
        """A message is under way."""
        return self._way is not None or self.exchange is not None

    def take_exchange(self) -> Exchange | None:
        """The exchange of the message under way, made if it had none: it goes on. `None`: there is no message."""
        way, self._way = self._way, None
        if way is not None:
            settings, plan, endpoint, connection, began = way
            self.exchange = exchange = Exchange(self._runtime, settings, plan, self.sink, self)
            exchange.take_up(endpoint, connection, began)
        return self.exchange

    # Timed.

    def expired(self, now: float) -> None:
        exchange = self.take_exchange()
        if exchange is not None:
            exchange.expired(now)

    # Called by the connection.

    def received(self, data: bytes) -> None:
        way = self._way
        if way is None:
            return
        _, plan, endpoint, connection, _ = way
        self._way = None  # what the client's side does meanwhile is not about this message any more
        try:
            reusable = self.sink.answer(plan, endpoint, data)
        except Exception as exc:  # noqa: BLE001 - an event-loop callback: nobody else could tell the client
            self._way = way
            exchange = self.take_exchange()
            if exchange is not None:
                exchange.defect(exc)
            return
        if reusable is None:
            self._way = way
            self.take_exchange()
            connection.data_received(data)
            return
        self.deadline = math.inf  # it stays on the wheel
        runtime = self._runtime
        if reusable:
            runtime.pool.give(connection)
        else:
            connection.close()
        runtime.waiting_room.notify(plan)
        self.sink.done()  # not within the above: the client has its answer, and must not get another one

    def eof(self) -> None:
        way = self._way
        self.take_exchange()
        if way is not None:
            way[3].eof_received()

    def lost(self, exc: Exception | None) -> None:
        way = self._way
        self.take_exchange()
        if way is not None and way[3].attempt is not None:
            way[3].attempt.lost(exc)

    def writing_paused(self) -> None:
        exchange = self.take_exchange()
        if exchange is not None:
            exchange.request_paused()

    def writing_resumed(self) -> None:
        exchange = self.take_exchange()
        if exchange is not None:
            exchange.request_resumed()
