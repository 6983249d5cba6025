"""Maps queue tickets to exchanges. The core owns the queues and decides whose turn it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Protocol

from waypost._native import Plan, Turn

__all__ = ["QueueTicket", "Waiter", "WaitingRoom"]

QueueTicket = tuple[str, int]
"""The name of a cluster, and a number in its queue."""


class Waiter(Protocol):
    """An exchange that waits for its turn in a cluster."""

    def take_turn(self, turn: Turn) -> None:
        """The wait is over. `turn` says whether the exchange got a place in the cluster."""


class WaitingRoom:
    """The waiting exchanges of one event loop. All event loops of a gateway share its clusters and their turns."""

    __slots__ = ("_loop", "_rooms", "shared", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, rooms: list[WaitingRoom]) -> None:
        """`rooms` lists the waiting rooms of all event loops that share their clusters; this one is added."""
        self.waiting: dict[QueueTicket, Waiter] = {}
        self.shared = False
        """Exchanges of other event loops may wait for the same clusters."""
        self._loop = loop
        self._rooms = rooms
        rooms.append(self)
        self._update_shared()

    def notify(self, plan: Plan) -> None:
        """Offer the room that may be free in the clusters of `plan` to the exchanges that wait for it."""
        if self.waiting or self.shared:
            self.announce(plan.turns())

    def announce(self, turns: Iterable[Turn]) -> None:
        """Tell each waiter that its turn has come, or that its place is lost.

        The waiter is told in the next iteration of the event loop, because its exchange may end at once and make room
        for another one.
        """
        for turn in turns:
            others = [room for room in self._rooms if room is not self]
            self._loop.call_soon(self._offer, turn, others)

    def close(self) -> None:
        """Leave the rooms: no exchange waits on this event loop any more."""
        self._rooms.remove(self)
        self._update_shared()

    def _update_shared(self) -> None:
        """Tell every room whether it is the only one."""
        for room in self._rooms:
            room.shared = len(self._rooms) > 1

    def _offer(self, turn: Turn, others: list[WaitingRoom]) -> None:
        waiter = self.waiting.pop((turn.cluster, turn.ticket), None)
        if waiter is not None:
            waiter.take_turn(turn)
            return
        # The exchange waits on another event loop, or its client has left meanwhile.
        while others:
            room = others.pop()
            with contextlib.suppress(RuntimeError):  # its event loop is closed
                room._loop.call_soon_threadsafe(room._offer, turn, others)  # noqa: SLF001 - another of this class
                return
        self.announce(turn.release())
