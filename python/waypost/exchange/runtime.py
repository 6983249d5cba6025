"""The parts that the exchanges of one event loop share."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from waypost._native import Recorder, Snapshot
from waypost.exchange.waiting_room import WaitingRoom
from waypost.loop.outbox import Outbox
from waypost.loop.wheel import Wheel
from waypost.upstream.checks import Checks
from waypost.upstream.pool import Pool
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Runtime"]

_SPARE: Final = 256
"""How many unused objects are kept."""


class Reusable(Protocol):
    """Carries one message after the other; costs more to make than to keep."""

    def clear(self) -> None:
        """Drop everything about the last message."""

    def discard(self) -> None:
        """The object carries no message any more."""


class Runtime:
    """Timers, connections, the waiting room and active checks of one event loop. Survives reloads, until `close`."""

    __slots__ = ("checks", "loop", "outbox", "pool", "spare", "waiting_room", "wheel")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        recorder: Recorder | None = None,
        waiting_rooms: list[WaitingRoom] | None = None,
    ) -> None:
        """`waiting_rooms` lists those of the event loops that share their clusters with this one."""
        self.loop = loop
        self.waiting_room = WaitingRoom(loop, [] if waiting_rooms is None else waiting_rooms)
        self.wheel = Wheel(loop)
        self.outbox = Outbox(loop)
        """Takes the writes of messages that go the direct way."""
        self.pool = Pool(loop, self.wheel, self.outbox, recorder)
        self.checks = Checks(loop, self.wheel, self.pool)
        self.spare: list[Reusable] = []
        """Objects that carry no message now, for the next ones."""

    def follow(self, snapshot: Snapshot, settings: UpstreamSettings) -> None:
        """A new configuration is in force: limits may have been raised, and checks come or gone."""
        self.checks.follow(snapshot, settings)
        self.waiting_room.announce(snapshot.turns())

    def recycle(self, used: Reusable) -> None:
        """Keep an object whose message is over for another message."""
        used.clear()
        if len(self.spare) < _SPARE:
            self.spare.append(used)
        else:
            used.discard()

    def close(self) -> None:
        """Stop checking, and close idle connections. Exchanges under way keep theirs until they are over."""
        self.checks.close()
        for each in self.spare:
            each.discard()
        self.outbox.close()
        self.pool.close()
        self.waiting_room.close()
