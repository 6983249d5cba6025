"""One try of an exchange at one endpoint: gets a connection, reads the response off it, tells the exchange.

The exchange decides what is sent and what happens next. An attempt is over once the exchange has another one, or
none; whatever still arrives for it then is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol

from waypost._native import Endpoint, Plan, ResponseEnd, ResponseHead
from waypost.errors import UpstreamError, WaypostError
from waypost.exchange import failures
from waypost.exchange.runtime import Runtime
from waypost.loop.descriptors import shortage
from waypost.loop.wheel import Timed
from waypost.upstream.connection import Connection
from waypost.upstream.pool import Connecting
from waypost.upstream.settings import DialSettings

__all__ = ["Attempt", "AttemptOwner"]


_LINGER: Final = 1.0
"""Seconds in which a response, all of which was given to the client, may end properly."""


class AttemptOwner(Protocol):
    """Makes attempts and hears of them: an exchange."""

    runtime: Runtime
    plan: Plan
    attempt: Attempt | None
    request_sent: bool

    def awaits(self, attempt: Attempt) -> bool: ...
    def connected(self, attempt: Attempt, connection: Connection) -> None: ...
    def request_paused(self) -> None: ...
    def request_resumed(self) -> None: ...
    def response_head(self, attempt: Attempt, head: ResponseHead) -> None: ...
    def response_flush(self) -> None: ...
    def response_data(self, attempt: Attempt, chunk: bytes) -> None: ...
    def response_end(self, attempt: Attempt, trailers: Sequence[tuple[bytes, bytes]]) -> None: ...
    def response_whole(self, attempt: Attempt, head: ResponseHead, body: bytes, end: ResponseEnd) -> None: ...
    def attempt_failed(self, attempt: Attempt, failure: failures.Failure, error: UpstreamError) -> None: ...
    def attempt_expired(self, attempt: Attempt) -> None: ...
    def fail(self, error: WaypostError) -> None: ...
    def defect(self, exc: Exception) -> None: ...


class Attempt(Timed):
    """One try at `endpoint`."""

    __slots__ = (
        "_connecting",
        "_exchange",
        "_reader",
        "answered",
        "connection",
        "dial",
        "endpoint",
        "number",
        "reused",
        "sent",
    )  # fmt: skip

    def __init__(self, exchange: AttemptOwner, endpoint: Endpoint, dial: DialSettings, number: int) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.dial = dial
        self.number = number
        """Which of its exchange it is, from 1."""
        self.connection: Connection | None = None
        self.reused = False
        """Its connection carried an attempt before, so that the endpoint may have been about to close it."""
        self.sent = False
        """Bytes of the request may have reached the endpoint."""
        self.answered = False
        """Bytes of a response have arrived."""
        self._exchange = exchange
        self._connecting: Connecting | None = None
        self._reader = exchange.plan.reader(number)

    def reuse(self) -> Connection | None:
        """Take a connection from the pool, if it has one."""
        runtime = self._exchange.runtime
        connection = runtime.pool.take(self.dial.key, runtime.loop.time())
        if connection is not None:
            self.reused = True
            self.connection = connection
            connection.attempt = self
        return connection

    def take_up(self, connection: Connection) -> None:
        """Go on with a connection from the pool that was given the whole request."""
        self.reused = self.sent = True
        self.connection = connection
        connection.attempt = self

    def connect(self) -> None:
        """Make a connection; `Exchange.connected` or `Exchange.attempt_failed` follows."""
        self._connecting = self._exchange.runtime.pool.connect(
            self.dial.key, self._connect_done, self.dial.connect_timeout
        )

    def close(self) -> None:
        """End the attempt; its connection cannot be used again."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def linger(self) -> None:
        """The exchange is over without the end of the response: wait for it a little, for the connection's sake."""
        if self.connection is not None:
            self.connection.resume()
            runtime = self._exchange.runtime
            runtime.wheel.schedule(self, runtime.loop.time() + _LINGER)

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Timed
        if self._exchange.awaits(self):
            self._exchange.attempt_expired(self)
        else:
            self.close()

    def _connect_done(self, outcome: Connection | BaseException) -> None:
        self._connecting = None
        if isinstance(outcome, Connection):
            self._open(outcome)
        elif shortage(outcome) and self._exchange.attempt is self:
            self._exchange.fail(failures.short(outcome))  # no endpoint's fault, and elsewhere it would be no better
        else:
            self._exchange.attempt_failed(self, "connect", failures.unreachable(self.endpoint, outcome))

    def _open(self, connection: Connection) -> None:
        self.connection = connection
        connection.attempt = self
        self._exchange.connected(self, connection)

    # Called by the connection.

    def received(self, data: bytes) -> None:
        """What one read of the socket gave."""
        self.answered = True
        exchange = self._exchange
        try:
            head, body, end = self._reader.feed(data)
            if end is not None:
                self._release(end.reusable)
                if head is not None:
                    exchange.response_whole(self, head, body, end)
                    return
            elif head is not None:
                exchange.response_head(self, head)
                if not body and exchange.attempt is self:
                    exchange.response_flush()
            if body and exchange.attempt is self:
                exchange.response_data(self, body)
            if end is not None and exchange.attempt is self:
                exchange.response_end(self, end.trailers)
        except UpstreamError as error:
            self.close()
            exchange.attempt_failed(self, "protocol", failures.malformed(self.endpoint, error))
        except Exception as exc:  # noqa: BLE001 - reported, and the client gets an answer
            exchange.defect(exc)

    def unasked(self) -> None:
        """The connection from the pool spoke, or ended, before the request was sent: take another one."""
        self.sent = False
        self.close()
        if self._exchange.awaits(self):
            self._exchange.attempt_failed(self, "stale", failures.closed(self.endpoint, None, False))

    def eof(self) -> None:
        """The endpoint will send nothing more: legal where closing ends the response (RFC 9112, section 6.3)."""
        if self.connection is None:
            return
        self.close()
        exchange = self._exchange
        if not exchange.awaits(self):
            return
        try:
            end = self._reader.eof()
        except UpstreamError:
            exchange.attempt_failed(self, self._loss(), failures.closed(self.endpoint, None, self.answered))
            return
        try:
            exchange.response_end(self, end.trailers)
        except UpstreamError as error:
            exchange.attempt_failed(self, "protocol", failures.malformed(self.endpoint, error))
        except Exception as exc:  # noqa: BLE001 - as above
            exchange.defect(exc)

    def lost(self, exc: Exception | None) -> None:
        """The connection is gone without an end of stream before."""
        if self.connection is None:
            return
        self.connection = None
        if self._exchange.awaits(self):
            error = failures.closed(self.endpoint, exc, self.answered)
            self._exchange.attempt_failed(self, self._loss(), error)

    def writing_paused(self) -> None:
        self._exchange.request_paused()

    def writing_resumed(self) -> None:
        self._exchange.request_resumed()

    def _loss(self) -> failures.Failure:
        """What it is that the connection ended: an idle one may have been about to."""
        return "stale" if self.reused and not self.answered else "reset"

    def _release(self, reusable: bool) -> None:
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if self.deadline != math.inf:
            self._exchange.runtime.wheel.cancel(self)
        if reusable and self._exchange.request_sent:
            self._exchange.runtime.pool.give(connection)
        else:
            connection.close()
