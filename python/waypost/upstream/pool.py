"""Keeps idle connections for the next message, and has `dial.py` make new ones."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from typing import Final

from waypost._native import Recorder
from waypost.loop.outbox import Outbox
from waypost.loop.wheel import Timed, Wheel
from waypost.upstream.connection import Connection
from waypost.upstream.dial import Key, Tries, dial
from waypost.upstream.resolver import Address, Resolver

__all__ = ["IDLE_PER_KEY", "Connecting", "Key", "Pool"]

IDLE_PER_KEY: Final = 256
"""Maximum number of idle connections per key."""
_JITTER: Final = 0.25
"""Greatest part of its age by which a connection ends earlier, so that not all end at one time."""


class Connecting:
    """A connection that is being made. Calls `done` with a `Connection`, or with the exception that prevented it."""

    __slots__ = ("_done", "_loop", "_task", "_tries")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        key: Key,
        done: Callable[[Connection | BaseException], None],
        within: float,
        others: Sequence[str],
        make: Callable[[Address | None], Connection],
    ) -> None:
        self._loop = loop
        self._tries = Tries()
        self._done: Callable[[Connection | BaseException], None] | None = done
        self._task = loop.create_task(dial(loop, pool.resolver, key, make, within, others, self._tries))
        self._task.add_done_callback(self._finished)

    @property
    def refused(self) -> list[str]:
        """The addresses of the host that took no connection: they refused it, or did not answer in time."""
        return self._tries.refused

    def expire(self) -> None:
        """Give up, because the time for a connection is over: `refused` has each address that had time enough."""
        self._tries.give_up(self._loop.time())
        self.cancel()

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
    """Idle connections by key, most recently used first. Belongs to one event loop.

    A connection ends at a certain age, so that hosts that come to stand behind one address get their share.
    """

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
        while idle:
            connection = idle.pop()
            if connection.idle_until > now and ((watched and connection.descriptor >= 0) or connection.alive()):
                return connection
            connection.close()
        return None

    def give(self, connection: Connection, seconds: float) -> None:
        """Keep a connection whose attempt is over for the next one, for `seconds` at most: the endpoint's own bound."""
        connection.attempt = None
        now = self._loop.time()
        limit = connection.idle_limit
        until = now + (seconds if seconds < limit else limit)  # noqa: FURB136 - half of min
        retire_at = connection.retire_at
        connection.idle_until = until = until if until < retire_at else retire_at  # noqa: FURB136
        if self._closed or until <= now:
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
            self._wheel.schedule(self, until)

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
        self,
        key: Key,
        done: Callable[[Connection | BaseException], None],
        within: float = math.inf,
        *,
        others: Sequence[str] = (),
        age: float = math.inf,
        idle: float = math.inf,
    ) -> Connecting:
        """Open a new connection, TLS handshake included, that is used for `age` seconds at most.

        The caller gives up after `within` seconds, so each of the endpoint's addresses is tried within that time: that
        of `key` first, then the `others`. Between two messages, the connection may be `idle` for so many seconds.
        """
        age -= age * _JITTER * random.random() if age < math.inf else 0.0  # noqa: S311 - no secret

        def make(address: Address | None) -> Connection:
            connection = Connection(self, key, address)
            connection.retire_at = self._loop.time() + age
            connection.idle_limit = idle
            return connection

        return Connecting(self._loop, self, key, done, within, others, make)

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
        first = math.inf
        for key in list(self._idle):
            idle = self._idle[key]
            for connection in idle:
                if connection.idle_until <= now:
                    connection.close()
                elif connection.idle_until < first:
                    first = connection.idle_until
            idle[:] = [connection for connection in idle if connection.idle_until > now]
            if not idle:
                del self._idle[key]
        if first != math.inf:
            self._wheel.schedule(self, first)
