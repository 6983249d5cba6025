"""Connections that are kept for the next message, and the making of new ones."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from waypost._native import Recorder
from waypost.exchange.connection import Connection
from waypost.exchange.tls import Tls
from waypost.exchange.wheel import Timed, Wheel

__all__ = ["IDLE_LIMIT", "IDLE_PER_KEY", "Connecting", "Key", "Pool"]

Key = tuple[str, int, Tls | None]
"""Host, port and TLS settings: connections of one key are interchangeable."""

IDLE_LIMIT: Final = 4.0
"""Seconds that a connection may wait for its next message. Common servers close after 5."""

IDLE_PER_KEY: Final = 256
"""How many connections of one key may wait."""


class Connecting:
    """A connection that is being made. Calls `done` with a `Connection`, or with what went wrong."""

    __slots__ = ("_done", "_task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        key: Key,
        done: Callable[[Connection | BaseException], None],
    ) -> None:
        host, port, tls = key
        self._done: Callable[[Connection | BaseException], None] | None = done
        self._task = loop.create_task(
            loop.create_connection(
                lambda: Connection(pool, key),
                host,
                port,
                ssl=None if tls is None else tls.context,
                server_hostname=None if tls is None else tls.server_name or host,
            ),
        )
        self._task.add_done_callback(self._finished)

    def cancel(self) -> None:
        """Give up: `done` is not called any more."""
        self._done = None
        self._task.cancel()

    def _finished(self, task: asyncio.Task[tuple[asyncio.Transport, Connection]]) -> None:
        done, self._done = self._done, None
        if task.cancelled():
            if done is not None:
                done(ConnectionAbortedError("the event loop is shutting down"))
            return
        exc = task.exception()
        if exc is not None:
            if done is not None:
                done(exc)
            return
        connection = task.result()[1]
        if done is None:
            connection.close()
        else:
            done(connection)


class Pool(Timed):
    """Idle connections by key, most recently used first. Belongs to one event loop."""

    __slots__ = ("_closed", "_idle", "_loop", "_recorder", "_wheel")

    def __init__(self, loop: asyncio.AbstractEventLoop, wheel: Wheel, recorder: Recorder | None = None) -> None:
        super().__init__()
        self._loop = loop
        self._recorder = recorder
        self._wheel = wheel
        self._idle: dict[Key, list[Connection]] = {}
        self._closed = False

    def take(self, key: Key) -> Connection | None:
        """An idle connection that the endpoint has not closed, or `None`."""
        idle = self._idle.get(key)
        if idle is None:
            return None
        found = None
        oldest = self._loop.time() - IDLE_LIMIT
        while idle:
            connection = idle.pop()
            if connection.idle_since > oldest and connection.alive():
                found = connection
                break
            connection.close()
        if not idle:
            self._idle.pop(key, None)
        return found

    def give(self, connection: Connection) -> None:
        """Keep a connection whose attempt is over for the next one."""
        connection.attempt = None
        if self._closed:
            connection.close()
            return
        connection.used = True
        if not connection.reading:
            connection.resume()
        now = connection.idle_since = self._loop.time()
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
        """An idle connection was closed, or spoke without being asked."""
        idle = self._idle.get(connection.key)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[connection.key]
        connection.close()

    def made(self) -> None:
        """A connection was made."""
        if self._recorder is not None:
            self._recorder.upstream_connected()

    def connect(self, key: Key, done: Callable[[Connection | BaseException], None]) -> Connecting:
        """Open a new connection, TLS handshake included. The caller bounds the time it may take."""
        return Connecting(self._loop, self, key, done)

    def close(self) -> None:
        """Close what is idle, and from now on whatever is given back."""
        self._closed = True
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
        remaining = math.inf
        for key in list(self._idle):
            idle = self._idle[key]
            # Ordered by the time they became idle: the oldest come first.
            keep = next((i for i, connection in enumerate(idle) if connection.idle_since > oldest), len(idle))
            for connection in idle[:keep]:
                connection.close()
            del idle[:keep]
            if idle:
                remaining = min(remaining, idle[0].idle_since)
            else:
                del self._idle[key]
        if remaining != math.inf:
            self._wheel.schedule(self, remaining + IDLE_LIMIT)
