"""This module maps queue tickets to exchanges. The queues themselves, and whose turn it is, belong to the core."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Protocol

from waypost._native import Plan, Turn

__all__ = ["QueueTicket", "Waiter", "WaitingRoom"]

QueueTicket = tuple[str, int]
"""The name of a cluster, and a ticket number of its queue."""


class Waiter(Protocol):
    """Waits for its turn in a cluster: an exchange."""

    def take_turn(self, turn: Turn) -> None:
        """The wait is over: `turn` says whether with a place in the cluster or without."""


class WaitingRoom:
    """The exchanges of one event loop that wait. All event loops of a gateway share its clusters and their turns."""

    __slots__ = ("_loop", "_rooms", "shared", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, rooms: list[WaitingRoom]) -> None:
        """`rooms` lists those of all event loops that share their clusters; this one is added."""
        self.waiting: dict[QueueTicket, Waiter] = {}
        self.shared = False
        """Exchanges of other event loops may wait for the same clusters."""
        self._loop = loop
        self._rooms = rooms
        rooms.append(self)
        self._tell()

    def notify(self, plan: Plan) -> None:
        """There may be room in the clusters of this message: offer it to those that wait."""
        if self.waiting or self.shared:
            self.announce(plan.turns())

    def announce(self, turns: Iterable[Turn]) -> None:
        """Tell each waiter whose turn came, or whose place was lost.

        The waiter hears of it one turn of the event loop later, as its exchange may end at once and make room for the
        next.
        """
        for turn in turns:
            others = [room for room in self._rooms if room is not self]
            self._loop.call_soon(self._offer, turn, others)

    def close(self) -> None:
        """No exchange waits on this event loop any more."""
        self._rooms.remove(self)
        self._tell()

    def _tell(self) -> None:
        """Tell every room whether it is the only one."""
        for room in self._rooms:
            room.shared = len(self._rooms) > 1

    def _offer(self, turn: Turn, others: list[WaitingRoom]) -> None:
        waiter = self.waiting.pop((turn.cluster, turn.ticket), None)
        if waiter is not None:
            waiter.take_turn(turn)
            return
        # The exchange waits on another event loop, or its client has left since.
        while others:
            room = others.pop()
            with contextlib.suppress(RuntimeError):  # its event loop is closed
                room._loop.call_soon_threadsafe(room._offer, turn, others)  # noqa: SLF001 - another of this class
                return
        self.announce(turn.release())
