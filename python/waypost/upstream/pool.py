"""Keeps idle connections for the next message, and has `dial.py` make new ones."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from waypost._native import Recorder
from waypost.loop.outbox import Outbox
from waypost.loop.wheel import Timed, Wheel
from waypost.upstream.connection import Connection
from waypost.upstream.dial import Key, dial
from waypost.upstream.resolver import Resolver

__all__ = ["IDLE_LIMIT", "IDLE_PER_KEY", "Connecting", "Key", "Pool"]

IDLE_LIMIT: Final = 4.0
"""Seconds that a connection may be idle. Common servers close after 5."""

IDLE_PER_KEY: Final = 256
"""Maximum number of idle connections per key."""


class Connecting:
    """A connection that is being made. Calls `done` with a `Connection`, or with the exception that prevented it."""

    __slots__ = ("_done", "_task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        key: Key,
        done: Callable[[Connection | BaseException], None],
        within: float,
    ) -> None:
        self._done: Callable[[Connection | BaseException], None] | None = done
        self._task = loop.create_task(
            dial(loop, pool.resolver, key, lambda address: Connection(pool, key, address), within)
        )
        self._task.add_done_callback(self._finished)

    def cancel(self) -> None:
        """Give up. `done` will not be called."""
        self._done = None
        self._task.cancel()

    def _finished(self, task: asyncio.Task[Connection]) -> None:
        if task.cancelled():
            self._tell(ConnectionAbortedError("the event loop is shutting down"))
            return
        exc = task.exception()
        if exc is not None:
            self._tell(exc)
            return
        connection = task.result()
        if self._done is None:
            connection.close()
        elif connection.open:
            self._tell(connection)
        else:
            # The endpoint closed it, or sent bytes, before the first request. With TLS 1.3, a rejected client
            # certificate shows like that. The cause is known once the connection is gone.
            connection.when_gone(self._gone)

    def _gone(self, exc: Exception | None) -> None:
        self._tell(exc or ConnectionAbortedError("the connection was closed as soon as it was made"))

    def _tell(self, outcome: Connection | BaseException) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(outcome)


class Pool(Timed):
    """Idle connections by key, most recently used first. Belongs to one event loop."""

    __slots__ = ("_closed", "_idle", "_loop", "_recorder", "_wheel", "open", "outbox", "resolver")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, wheel: Wheel, outbox: Outbox, recorder: Recorder | None = None
    ) -> None:
        super().__init__()
        self._loop = loop
        self._recorder = recorder
        self._wheel = wheel
        self.outbox = outbox
        """Watches connections, so that none is asked that is not silent."""
        self.open: set[Connection] = set()
        """All connections to endpoints, idle or not."""
        self._idle: dict[Key, list[Connection]] = {}
        self._closed = False
        self.resolver = Resolver(loop, wheel)
        """Resolves the host names of endpoints."""

    def take(self, key: Key, now: float, *, watched: bool = False) -> Connection | None:
        """An idle connection that is still open and has received nothing, or `None`. `now` is event-loop time.

        Every message needs this check of the socket: it would take unsolicited bytes for its answer, and each later
        message on the connection would get the answer to the one before.
        """
        idle = self._idle.get(key)
        if idle is None:
            return None
        oldest = now - IDLE_LIMIT
        while idle:
            connection = idle.pop()
            if connection.idle_since > oldest and ((watched and connection.descriptor >= 0) or connection.alive()):
                return connection
            connection.close()
        return None

    def give(self, connection: Connection) -> None:
        """Keep a connection whose attempt is over for the next one."""
        connection.attempt = None
        now = connection.idle_since = self._loop.time()
        address = connection.address
        if self._closed or (address is not None and address.retire_at <= now):
            connection.close()
            return
        if not connection.reading:
            connection.resume()
        if connection.reads_limited:
            connection.unlimit_reads()
        idle = self._idle.get(connection.key)
        if idle is None:
            self._idle[connection.key] = [connection]
        else:
            idle.append(connection)
            if len(idle) > IDLE_PER_KEY:
                idle.pop(0).close()
        if self.deadline == math.inf:
            self._wheel.schedule(self, now + IDLE_LIMIT)

    def drop(self, connection: Connection) -> None:
        """Remove an idle connection that was closed, or that received unsolicited bytes."""
        idle = self._idle.get(connection.key)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[connection.key]
        connection.close()

    def made(self) -> None:
        """Count a new connection."""
        if self._recorder is not None:
            self._recorder.upstream_connected()

    def connect(
        self, key: Key, done: Callable[[Connection | BaseException], None], within: float = math.inf
    ) -> Connecting:
        """Open a new connection, TLS handshake included.

        The caller gives up after `within` seconds, so each of the endpoint's addresses is tried within that time.
        """
        return Connecting(self._loop, self, key, done, within)

    def close(self) -> None:
        """Close all idle connections, and from now on each one that is given back."""
        self._closed = True
        self.resolver.close()
        self._wheel.cancel(self)
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def __len__(self) -> int:
        """How many connections are idle."""
        return sum(map(len, self._idle.values()))

    def expired(self, now: float) -> None:
        oldest = now - IDLE_LIMIT
        oldest_kept = math.inf
        for key in list(self._idle):
            idle = self._idle[key]
            # Sorted by the time at which they became idle.
            keep = next((i for i, connection in enumerate(idle) if connection.idle_since > oldest), len(idle))
            for connection in idle[:keep]:
                connection.close()
            del idle[:keep]
            if idle:
                oldest_kept = min(oldest_kept, idle[0].idle_since)
            else:
                del self._idle[key]
        if oldest_kept != math.inf:
            self._wheel.schedule(self, oldest_kept + IDLE_LIMIT)
