"""One upstream connection. It carries one attempt at a time and leaves HTTP to its user."""

from __future__ import annotations

import asyncio
import math
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from waypost._native import Endpoint
    from waypost.loop.outbox import Outbox
    from waypost.upstream.dial import Key
    from waypost.upstream.resolver import Address

__all__ = ["READ_LIMIT", "Connection", "ConnectionOwner", "ConnectionUser"]

READ_LIMIT: Final = 64 * 1024
"""The most bytes that a limited read takes."""
_HANGUP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class ConnectionOwner(Protocol):
    """The keeper of idle connections: the pool."""

    outbox: Outbox
    open: set[Connection]

    def made(self) -> None: ...
    def drop(self, connection: Connection) -> None: ...


class ConnectionUser(Protocol):
    """The reader and writer of a connection: an attempt, or an active check."""

    def received(self, data: bytes) -> None: ...
    def unsolicited(self) -> None:
        """The endpoint spoke, or hung up, before the request was sent to it."""

    def eof(self) -> None: ...
    def lost(self, exc: Exception | None) -> None: ...
    def writing_paused(self) -> None: ...
    def writing_resumed(self) -> None: ...
    def endpoint_unfit(self, endpoint: Endpoint) -> None:
        """The active check of `endpoint` fails from now on. The connection may be one to another endpoint."""


class Connection(asyncio.Protocol):
    """The protocol of one connection to an endpoint, with the state that the pool keeps for it."""

    __slots__ = (
        "_fault",
        "_gone",
        "_poll",
        "_pool",
        "address",
        "attempt",
        "descriptor",
        "idle_limit",
        "idle_until",
        "key",
        "read_limit",
        "reading",
        "reads_limited",
        "retire_at",
        "transport",
        "unsent",
        "writable",
    )  # fmt: skip

    def __init__(self, pool: ConnectionOwner, key: Key, address: Address | None = None) -> None:
        self.key = key
        self.address = address
        """The address that the connection goes to, if it was resolved from a name."""
        self.attempt: ConnectionUser | None = None
        self.idle_limit = math.inf
        """Seconds that the connection may be idle."""
        self.idle_until = 0.0
        """Event-loop time from which the idle connection is not used again."""
        self.retire_at = math.inf
        """Event-loop time from which the connection carries no further message."""
        self.writable = True
        self.unsent = False
        """A request waits in the outbox: the endpoint has not been asked."""
        self.descriptor = -1
        """Of the socket, once there is one."""
        self._pool = pool
        self.reading = True
        self.reads_limited = False
        """Each read takes at most `read_limit` bytes."""
        self.read_limit = READ_LIMIT
        self.transport: asyncio.Transport | None = None
        """`None` once the connection is gone."""
        self._poll: select.poll | None = None
        self._gone: Callable[[Exception | None], None] | None = None
        self._fault: Exception | None = None

    # Used by the attempt and the pool.

    @property
    def open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def when_gone(self, callback: Callable[[Exception | None], None]) -> None:
        """Call `callback` with the cause once the connection is gone, or now if it is. For one without a user."""
        if self.transport is None:
            callback(self._fault)
        else:
            self._gone = callback

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def writelines(self, data: list[bytes]) -> None:
        if self.transport is not None:
            self.transport.writelines(data)

    def pause(self) -> None:
        """Stop reading, because the receiver of the response cannot keep up."""
        if self.reading and self.transport is not None:
            self.reading = False
            if not self.transport.is_closing():
                self.transport.pause_reading()

    def resume(self) -> None:
        if not self.reading and self.transport is not None:
            self.reading = True
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def limit_reads(self, size: int | None = None) -> None:
        """Take at most `size` bytes at a time, `READ_LIMIT` by default. The event loop takes up to 256 KiB."""
        self.read_limit = READ_LIMIT if size is None else size
        if self.transport is not None and not self.reads_limited:
            self.reads_limited = True
            self.transport.set_protocol(_LimitedReads(self))

    def unlimit_reads(self) -> None:
        if self.transport is not None:
            self.reads_limited = False
            self.transport.set_protocol(self)

    def close(self) -> None:
        """Close at once, and drop what is still unsent."""
        self.attempt = None
        self._poll = None
        if self.transport is not None:
            self.transport.abort()

    def alive(self) -> bool:
        """Whether an idle connection can carry a message: one system call, no wait.

        The endpoint may have closed the connection before the event loop notices, and a message that cannot be sent
        twice must not go into a closed connection. Unsolicited bytes condemn a connection too, because a message would
        get them as its answer; not so under TLS, where they may belong to TLS itself.
        """
        if self._poll is None:
            transport = self.transport
            if transport is None or transport.is_closing():
                return False
            try:
                fd = transport.get_extra_info("socket").fileno()
            except (AttributeError, OSError):
                return True
            self._poll = select.poll()
            self._poll.register(fd, _HANGUP if self.key[2] is not None else _HANGUP | select.POLLIN)
        return not self._poll.poll(0)

    def spoke(self) -> None:
        """The endpoint spoke, or hung up, before it was asked."""
        if self.attempt is not None:
            self.attempt.unsolicited()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._pool.open.add(self)
        self._pool.made()
        sock = transport.get_extra_info("socket")
        if sock is not None:
            descriptor = sock.fileno()
            if self._pool.outbox.watch(descriptor, tls=self.key[2] is not None):
                self.descriptor = descriptor
        if self.address is not None:
            self.address.opened()

    def data_received(self, data: bytes) -> None:
        attempt = self.attempt
        if attempt is None:
            self._pool.drop(self)
        elif self.unsent:
            attempt.unsolicited()
        else:
            attempt.received(data)

    def eof_received(self) -> None:
        # A false return value closes the transport, as an endpoint that stops sending has finished.
        attempt = self.attempt
        if attempt is None:
            self._pool.drop(self)
        elif self.unsent:
            attempt.unsolicited()
        else:
            attempt.eof()

    def connection_lost(self, exc: Exception | None) -> None:
        attempt = self.attempt
        unsent = self.unsent
        self.attempt = None
        self.transport = None
        self._pool.open.discard(self)
        self._poll = None
        if self.address is not None:
            self.address.closed()
        if attempt is None:
            self._fault = exc
            self._pool.drop(self)
            if self._gone is not None:
                self._gone(exc)
        elif unsent:
            attempt.unsolicited()
        else:
            attempt.lost(exc)

    def pause_writing(self) -> None:
        self.writable = False
        if self.attempt is not None:
            self.attempt.writing_paused()

    def resume_writing(self) -> None:
        self.writable = True
        if self.attempt is not None:
            self.attempt.writing_resumed()


class _LimitedReads(asyncio.BufferedProtocol):
    """The protocol of a connection while its reads are limited."""

    __slots__ = ("_connection",)

    _buffer = memoryview(bytearray(READ_LIMIT))
    """Shared by all connections, because its bytes are copied as soon as they are read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - part of BufferedProtocol
        size = self._connection.read_limit
        return self._buffer if size == READ_LIMIT else self._buffer[:size]

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> None:
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()
