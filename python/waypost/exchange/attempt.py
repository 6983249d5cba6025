"""One try of an exchange at one endpoint: gets a connection, reads the response from it, and tells the exchange.

The exchange decides what is sent and what happens next. An attempt is over once the exchange has another one, or none.
Whatever arrives for an attempt that is over is dropped.
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
from waypost.upstream.settings import DialSettings, UpstreamSettings

__all__ = ["Attempt", "AttemptOwner"]


_LINGER: Final = 1.0
"""Time for a response to end properly after the client has all of it, in seconds."""


class AttemptOwner(Protocol):
    """The exchange that makes attempts and is told what becomes of them."""

    runtime: Runtime
    settings: UpstreamSettings
    plan: Plan
    attempt: Attempt | None
    request_sent: bool

    def is_current(self, attempt: Attempt) -> bool: ...
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
    def endpoint_unfit(self, attempt: Attempt) -> None: ...
    def fail(self, error: WaypostError) -> None: ...
    def defect(self, exc: Exception) -> None: ...


class Attempt(Timed):
    """One try at `endpoint`, which another address of the same endpoint may replace when the connection is made."""

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
        """The attempt's number in its exchange, from 1."""
        self.connection: Connection | None = None
        self.reused = False
        """The connection has carried an attempt before, so the endpoint may have been about to close it."""
        self.sent = False
        """Bytes of the request may have reached the endpoint."""
        self.answered = False
        """Bytes of a response have arrived."""
        self._exchange = exchange
        self._connecting: Connecting | None = None
        self._reader = exchange.plan.reader(number)

    @property
    def lacks_event(self) -> bool:
        """The response is a model's stream of events, and has had no event so far."""
        return self._reader.lacks_event

    def reuse(self) -> Connection | None:
        """Take an idle connection from the pool. Returns `None` if the pool has none."""
        runtime = self._exchange.runtime
        connection = runtime.pool.take(self.dial.key, runtime.loop.time())
        if connection is not None:
            self.reused = True
            self.connection = connection
            connection.attempt = self
        return connection

    def adopt(self, connection: Connection) -> None:
        """Use `connection`, which came from the pool and was given the whole request."""
        self.reused = self.sent = True
        self.connection = connection
        connection.attempt = self

    def connect(self) -> None:
        """Make a connection. `AttemptOwner.connected` or `AttemptOwner.attempt_failed` follows."""
        dial = self.dial
        others: list[str] = []
        if dial.key[4] is not None:
            others = [endpoint.address or "" for endpoint in self._exchange.plan.alternatives(self.number)]
        self._connecting = self._exchange.runtime.pool.connect(
            dial.key,
            self._connect_done,
            dial.connect_timeout,
            others=others,
            age=dial.connection_age,
            idle=dial.connection_idle,
        )

    def close(self) -> None:
        """End the attempt and close its connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def connect_expired(self) -> None:
        """End the attempt, because no connection was made in time, and count each address that took none."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.expire()
            if connecting.refused and self.dial.key[3] is None:
                self._move(None, connecting.refused)

    def linger(self) -> None:
        """Wait for the end of the response after the exchange is over, so that the connection can be used again."""
        if self.connection is not None:
            self.connection.resume()
            runtime = self._exchange.runtime
            runtime.wheel.schedule(self, runtime.loop.time() + _LINGER)

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Timed
        if self._exchange.is_current(self):
            self._exchange.attempt_expired(self)
        else:
            self.close()

    def _connect_done(self, outcome: Connection | BaseException) -> None:
        connecting, self._connecting = self._connecting, None
        refused = [] if connecting is None else connecting.refused
        if isinstance(outcome, Connection):
            address = outcome.address
            if address is not None and self.dial.key[3] is None and (refused or address.ip != self.endpoint.address):
                self._move(address.ip, refused)
                outcome.key = self.dial.key
            self._use(outcome)
            return
        if refused and self.dial.key[3] is None:
            self._move(None, refused)
        if shortage(outcome) and self._exchange.attempt is self:
            self._exchange.fail(failures.no_resources(outcome))  # not the endpoint's fault, so another would not help
        else:
            self._exchange.attempt_failed(self, "connect", failures.unreachable(self.endpoint, outcome))

    def _move(self, made: str | None, refused: list[str]) -> None:
        """Go on at the address that a connection was made to, and count those that took none."""
        endpoint = self._exchange.plan.moved(self.number, made, refused)
        if endpoint is not None and endpoint is not self.endpoint:
            self.endpoint = endpoint
            self.dial = self._exchange.settings.dial(endpoint)

    def _use(self, connection: Connection) -> None:
        self.connection = connection
        connection.attempt = self
        self._exchange.connected(self, connection)

    # Called by the connection.

    def received(self, data: bytes) -> None:
        """Take the bytes of one socket read."""
        self.answered = True
        exchange = self._exchange
        try:
            head, body, end = self._reader.feed(data)
            if end is not None:
                self._release(end.reusable)
                if end.empty:
                    exchange.attempt_failed(self, "protocol", failures.no_event(self.endpoint))
                    return
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
            exchange.attempt_failed(self, "protocol", failures.bad_response(self.endpoint, error))
        except Exception as exc:  # noqa: BLE001 - reported, and the client gets an answer
            exchange.defect(exc)

    def unsolicited(self) -> None:
        """The pooled connection received bytes, or closed, before the request was sent: use another one."""
        self.sent = False
        self.close()
        if self._exchange.is_current(self):
            self._exchange.attempt_failed(self, "stale", failures.connection_lost(self.endpoint, None, False))

    def eof(self) -> None:
        """The endpoint sends nothing more, which is legal where closing ends the response (RFC 9112, section 6.3)."""
        if self.connection is None:
            return
        self.close()
        exchange = self._exchange
        if not exchange.is_current(self):
            return
        try:
            end = self._reader.eof()
        except UpstreamError:
            exchange.attempt_failed(
                self, self._loss_failure(), failures.connection_lost(self.endpoint, None, self.answered)
            )
            return
        if end.empty:
            exchange.attempt_failed(self, "protocol", failures.no_event(self.endpoint))
            return
        try:
            exchange.response_end(self, end.trailers)
        except UpstreamError as error:
            exchange.attempt_failed(self, "protocol", failures.bad_response(self.endpoint, error))
        except Exception as exc:  # noqa: BLE001 - as above
            exchange.defect(exc)

    def lost(self, exc: Exception | None) -> None:
        """The connection was lost without an end of stream before."""
        if self.connection is None:
            return
        self.connection = None
        if self._exchange.is_current(self):
            error = failures.connection_lost(self.endpoint, exc, self.answered)
            self._exchange.attempt_failed(self, self._loss_failure(), error)

    def writing_paused(self) -> None:
        self._exchange.request_paused()

    def writing_resumed(self) -> None:
        self._exchange.request_resumed()

    def endpoint_unfit(self, endpoint: Endpoint) -> None:
        # After a reload, the same endpoint is another object.
        own = self.endpoint
        if (endpoint.url, endpoint.address, endpoint.cluster.name) == (own.url, own.address, own.cluster.name):
            self._exchange.endpoint_unfit(self)

    def _loss_failure(self) -> failures.Failure:
        """The failure that a closed connection means: an idle connection may have been about to close."""
        return "stale" if self.reused and not self.answered else "reset"

    def _release(self, reusable: float) -> None:
        """The response has ended. The idle connection may be used again for `reusable` seconds."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if self.deadline != math.inf:
            self._exchange.runtime.wheel.cancel(self)
        if reusable and self._exchange.request_sent:
            self._exchange.runtime.pool.give(connection, reusable)
        else:
            connection.close()
