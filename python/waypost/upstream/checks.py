"""Active health checks: periodic requests to endpoints, as their clusters configure them."""

from __future__ import annotations

import asyncio
import logging

from waypost._native import Endpoint, ResponseReader, Snapshot
from waypost.config.url import endpoint_text
from waypost.errors import UpstreamError
from waypost.loop.wheel import Timed, Wheel
from waypost.upstream.connection import Connection
from waypost.upstream.pool import Connecting, Pool
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Checks"]

_logger = logging.getLogger("waypost")


class Checks(Timed):
    """Checks the endpoints of the configuration in force, each when it is due. There is one for each event loop.

    If several event loops serve one configuration, the first of them to come checks an endpoint.
    """

    __slots__ = ("_loop", "_pool", "_running", "_settings", "_snapshot", "_wheel")

    def __init__(self, loop: asyncio.AbstractEventLoop, wheel: Wheel, pool: Pool) -> None:
        super().__init__()
        self._loop = loop
        self._wheel = wheel
        self._pool = pool
        self._snapshot: Snapshot | None = None
        self._settings: UpstreamSettings | None = None
        self._running: set[_Check] = set()

    def follow(self, snapshot: Snapshot, settings: UpstreamSettings) -> None:
        """Put a configuration in force. Running checks for the one before are dropped."""
        self._drop_running()
        self._snapshot = snapshot
        self._settings = settings
        self._schedule()

    def close(self) -> None:
        """Drop running checks and start no more."""
        self._wheel.cancel(self)
        self._snapshot = self._settings = None
        self._drop_running()

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Timed
        snapshot, settings = self._snapshot, self._settings
        if snapshot is None or settings is None:
            return
        for endpoint in snapshot.due_checks():
            check = _Check(self, self._loop, self._wheel, self._pool, endpoint)
            self._running.add(check)
            check.begin(settings)
        self._schedule()

    def finished(self, check: _Check, good: bool, why: str = "") -> None:
        """Record the result of a check."""
        self._running.discard(check)
        if self._snapshot is not None:
            if not good:
                endpoint = check.endpoint
                where = endpoint_text(endpoint.url, endpoint.address)
                _logger.debug("cluster %s: %s: check failed: %s", endpoint.cluster.name, where, why)
            fails = self._snapshot.checked(check.endpoint, good)
            self._schedule()
            if fails:
                for connection in list(self._pool.open):
                    if connection.attempt is not None:
                        connection.attempt.endpoint_unfit(check.endpoint)

    def _schedule(self) -> None:
        seconds = None if self._snapshot is None else self._snapshot.next_check
        if seconds is None:
            self._wheel.cancel(self)
        else:
            self._wheel.schedule(self, self._loop.time() + seconds)

    def _drop_running(self) -> None:
        running, self._running = self._running, set()
        for check in running:
            check.close()


class _Check(Timed):
    """One check of one endpoint. It makes a connection of its own, because that must be possible too."""

    __slots__ = ("_checks", "_connecting", "_connection", "_loop", "_pool", "_reader", "_wheel", "endpoint")

    def __init__(
        self, checks: Checks, loop: asyncio.AbstractEventLoop, wheel: Wheel, pool: Pool, endpoint: Endpoint
    ) -> None:
        super().__init__()
        self.endpoint = endpoint
        self._checks = checks
        self._loop = loop
        self._wheel = wheel
        self._pool = pool
        self._connecting: Connecting | None = None
        self._connection: Connection | None = None
        self._reader = ResponseReader("GET")

    def begin(self, settings: UpstreamSettings) -> None:
        check = self.endpoint.cluster.check
        if check is not None:
            self._wheel.schedule(self, self._loop.time() + check[1])
            key = settings.dial(self.endpoint).key
            self._connecting = self._pool.connect(key, self._connected, check[1])

    def close(self) -> None:
        self._wheel.cancel(self)
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Timed
        self._end(False, "no answer in time")

    def _connected(self, outcome: Connection | BaseException) -> None:
        self._connecting = None
        check = self.endpoint.cluster.check
        if isinstance(outcome, BaseException) or check is None:
            self._end(False, str(outcome))
            return
        self._connection = outcome
        outcome.attempt = self
        head = f"GET {check[0]} HTTP/1.1\r\nhost: {self.endpoint.authority}\r\n"
        outcome.write(f"{head}user-agent: waypost\r\naccept: */*\r\nconnection: close\r\n\r\n".encode("ascii"))

    def _end(self, good: bool, why: str) -> None:
        self.close()
        self._checks.finished(self, good, why)

    # Called by the connection.

    def received(self, data: bytes) -> None:
        try:
            head, _, _ = self._reader.feed(data)
        except UpstreamError as error:
            self._end(False, error.message)
            return
        if head is not None:
            self._end(200 <= head.status < 300, f"status {head.status}")

    def unsolicited(self) -> None:
        """A check writes at once."""

    def eof(self) -> None:
        self._end(False, "the connection was closed without an answer")

    def lost(self, exc: Exception | None) -> None:
        self._connection = None
        self._end(False, str(exc or "the connection was closed without an answer"))

    def writing_paused(self) -> None:
        """Nothing to do: the request fits into any buffer."""

    def writing_resumed(self) -> None:
        """Nothing to do."""

    def endpoint_unfit(self, endpoint: Endpoint) -> None:
        """Nothing to do: a check waits for its own answer."""
