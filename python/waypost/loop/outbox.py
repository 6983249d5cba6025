"""Writes of one event-loop turn, made together at its end while many come in each turn.

A write wakes its reader. Writes that are made together wake a busy reader once instead of once a write, which saves
about a tenth of a message's CPU time. With few messages under way the extra step costs more than it saves. So writes
are collected only while enough of them come in a turn; while they are not, a turn is measured now and then.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

__all__ = ["Outbox", "Writer"]

_ENOUGH: Final = 8
"""Writes in a turn from which collecting them pays."""
_PATIENCE: Final = 4
"""Turns in a row with fewer writes after which they are not collected any more."""
_INTERVAL: Final = 128
"""Writes until the next turn is measured while writes are not collected."""


class Writer(Protocol):
    """Has a transport, and knows whether bytes for it wait in the outbox."""

    unsent: bool

    @property
    def transport(self) -> asyncio.Transport | None: ...


class Outbox:
    """Collects the writes of one event loop. Not thread-safe.

    Nothing but the outbox may write to a transport, and nobody may close it, while its writer is `unsent`: call `flush`
    first.
    """

    __slots__ = ("_few", "_loop", "_waiting", "collecting", "countdown")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.collecting = False
        """Give writes to `put`. False: write at once, and count `countdown` down; call `measure` when it reaches 0."""
        self.countdown = _INTERVAL
        self._loop = loop
        self._few = 0
        self._waiting: list[tuple[Writer, bytes]] = []

    def put(self, writer: Writer, data: bytes) -> None:
        """Write `data` at the end of this turn."""
        writer.unsent = True
        waiting = self._waiting
        if not waiting:
            self._loop.call_soon(self._end_turn)
        waiting.append((writer, data))

    def measure(self) -> None:
        """Collect the writes of the next turn, to see how many they are."""
        self.collecting = True
        self._few = _PATIENCE - 1

    def flush(self) -> None:
        """Write everything now, in the order in which it was put."""
        waiting, self._waiting = self._waiting, []
        for writer, data in waiting:
            writer.unsent = False
            transport = writer.transport
            if transport is not None and not transport.is_closing():
                transport.write(data)

    def _end_turn(self) -> None:
        if len(self._waiting) >= _ENOUGH:
            self._few = 0
        else:
            self._few += 1
            if self._few >= _PATIENCE:
                self.collecting = False
                self.countdown = _INTERVAL
        self.flush()
