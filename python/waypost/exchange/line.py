"""Who waits for a cluster to have room: the exchanges of one event loop, by their places in the clusters' queues.

The queues themselves, and whose turn it is, are the core's matter; here is only who stands behind a ticket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from waypost._native import Plan, Turn

if TYPE_CHECKING:
    from waypost.exchange.exchange import Exchange

__all__ = ["Line", "Place"]

Place = tuple[str, int]
"""The name of a cluster, and a ticket of its queue."""


class Line:
    """The exchanges of one event loop that wait. Clusters are shared by all loops of a gateway, and so are turns."""

    __slots__ = ("_lines", "_loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, lines: list[Line]) -> None:
        """`lines` has those of all event loops that share their clusters; this one is added."""
        self.waiting: dict[Place, Exchange] = {}
        self._loop = loop
        self._lines = lines
        lines.append(self)

    def moved(self, plan: Plan) -> None:
        """There may be room in the clusters of this message: whoever waits may have it."""
        if self.waiting or len(self._lines) > 1:  # on other event loops, too
            self.call(plan.turns())

    def call(self, turns: Iterable[Turn]) -> None:
        """Tell those whose turn it is, or whose place is lost: a turn of the event loop later, as one may end at once
        and make room for the next."""
        for turn in turns:
            others = [line for line in self._lines if line is not self]
            self._loop.call_soon(self._offer, turn, others)

    def close(self) -> None:
        """Nobody waits on this event loop any more."""
        self._lines.remove(self)

    def _offer(self, turn: Turn, others: list[Line]) -> None:
        exchange = self.waiting.pop((turn.cluster, turn.ticket), None)
        if exchange is not None:
            exchange.called(turn)
            return
        # It waits on another event loop, or its client has left since.
        while others:
            line = others.pop()
            with contextlib.suppress(RuntimeError):  # its event loop is closed
                line._loop.call_soon_threadsafe(line._offer, turn, others)  # noqa: SLF001 - one of us
                return
        self.call(turn.release())
