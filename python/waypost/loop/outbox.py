"""Writes of one event-loop turn, made together at its end while many come in each turn.

A write wakes its reader. Writes that are made together wake a busy reader once instead of once a write, which saves
about a tenth of a message's CPU time. With few messages under way the extra step costs more than it saves. So writes
are collected only while enough of them come in a turn; while they are not, a turn is measured now and then.
"""

from __future__ import annotations

import asyncio
import select
from typing import Final, Protocol

__all__ = ["Outbox", "Writer"]

_NO_EPOLL: Final = not hasattr(select, "epoll")
_ENOUGH: Final = 8
"""Writes in a turn from which collecting them pays."""
_PATIENCE: Final = 4
"""Turns in a row with fewer writes after which they are not collected any more."""
_INTERVAL: Final = 128
"""Writes until the next turn is measured while writes are not collected."""


_EVENTS: Final = 1023
"""Events that `epoll.poll` returns at most without a number: CPython takes FD_SETSIZE - 1."""
_MANY_EVENTS: Final = 1 << 20


class Writer(Protocol):
    """Has a transport, and knows whether bytes for it wait in the outbox."""

    unsent: bool
    descriptor: int
    """Of the socket, where it must be silent until the bytes are written; otherwise -1."""

    @property
    def transport(self) -> asyncio.Transport | None: ...

    def spoke(self) -> None:
        """The socket was not silent: the bytes were not written."""


class Outbox:
    """Collects the writes of one event loop. Not thread-safe.

    While `collecting`, a writer sets `unsent`, calls `arm` if `waiting` is empty, and appends itself and its bytes to
    `waiting`. Otherwise the writer writes at once and counts `countdown` down; at 0 the writer calls `measure`. Nothing
    but the outbox may write to a transport, or close it, while its writer is `unsent`: call `flush` first.
    """

    __slots__ = ("_few", "_loop", "_poll", "collecting", "countdown", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.collecting = False
        """Writes wait for the end of the turn."""
        self.countdown = _INTERVAL
        """Writes until the next turn is measured."""
        self.waiting: list[tuple[Writer, bytes]] = []
        """What is written at the end of this turn, in this order."""
        self._loop = loop
        self._few = 0
        self._poll = None if _NO_EPOLL else select.epoll()

    def watch(self, descriptor: int, *, tls: bool) -> bool:
        """Know from now on, until the socket is closed, whether it has spoken or ended. TLS may speak by itself.

        Returns false if the socket cannot be watched.
        """
        if self._poll is None:
            return False
        events = select.EPOLLRDHUP if tls else select.EPOLLRDHUP | select.EPOLLIN
        try:
            self._poll.register(descriptor, events)
        except FileExistsError:  # the number of a socket that is gone
            self._poll.modify(descriptor, events)
        except OSError:  # the system watches no more sockets for this user
            return False
        return True

    def arm(self) -> None:
        """Bytes wait: write them when this turn ends."""
        self._loop.call_soon(self._end_turn)

    def measure(self) -> None:
        """Collect the writes of the next turn, to see how many they are."""
        self.countdown = _INTERVAL
        if self._poll is not None:  # without it nobody could tell that a socket is silent
            self.collecting = True
            self._few = _PATIENCE - 1

    def flush(self) -> None:
        """Write everything now, in the order in which it was put."""
        waiting, self.waiting = self.waiting, []
        loud = self._loud(self._poll) if waiting and self._poll is not None else ()
        refused: list[Writer] | None = None
        for writer, data in waiting:
            writer.unsent = False
            transport = writer.transport
            if loud and writer.descriptor in loud:
                refused = [writer] if refused is None else [*refused, writer]
            elif transport is not None:
                # A transport that closes meanwhile takes nothing more, and says so.
                try:  # noqa: SIM105 - costs nothing where nothing is raised
                    transport.write(data)
                except RuntimeError:
                    pass
        for writer in refused or ():
            try:
                writer.spoke()
            except Exception as exc:  # noqa: BLE001 - one defect must not end the other messages
                self._loop.call_exception_handler({"message": f"{writer!r} failed", "exception": exc})

    def close(self) -> None:
        """Write what waits, and watch nothing more."""
        self.flush()
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def _end_turn(self) -> None:
        if len(self.waiting) >= _ENOUGH:
            self._few = 0
        else:
            self._few += 1
            if self._few >= _PATIENCE:
                self.collecting = False
        self.flush()

    @staticmethod
    def _loud(poll: select.epoll) -> set[int]:
        """The watched sockets that have spoken or ended."""
        events = poll.poll(0)
        if len(events) >= _EVENTS:
            events = poll.poll(0, _MANY_EVENTS)
        return {descriptor for descriptor, _ in events}
