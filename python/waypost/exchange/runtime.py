"""The parts that the exchanges of one event loop share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from waypost._native import Recorder, Snapshot
from waypost.exchange.waiting_room import WaitingRoom
from waypost.loop.outbox import Outbox
from waypost.loop.wheel import Wheel
from waypost.upstream.checks import Checks
from waypost.upstream.pool import Pool
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Runtime"]

_SPARE_LIMIT: Final = 256
"""Largest number of carriers that are kept for reuse."""


class Reusable(Protocol):
    """A carrier that can carry another message, and costs more to make than to keep."""

    def clear(self) -> None:
        """Drop everything that belongs to the last message."""

    def discard(self) -> None:
        """Give up the carrier, which will carry no further message."""


class Runtime:
    """Timers, connections, the waiting room and active checks of one event loop. Survives reloads."""

    __slots__ = ("checks", "loop", "outbox", "pool", "spare", "waiting_room", "wheel")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        recorder: Recorder | None = None,
        waiting_rooms: list[WaitingRoom] | None = None,
        resolved: Callable[[str, list[str]], None] | None = None,
    ) -> None:
        """`waiting_rooms` lists the waiting rooms of all event loops that share their clusters with this one.

        `resolved` is told the addresses of names (`Registry.resolved`).
        """
        self.loop = loop
        self.waiting_room = WaitingRoom(loop, [] if waiting_rooms is None else waiting_rooms)
        self.wheel = Wheel(loop)
        self.outbox = Outbox(loop)
        """Collects the writes of messages that need no exchange."""
        self.pool = Pool(loop, self.wheel, self.outbox, recorder)
        self.pool.resolver.told = resolved
        self.checks = Checks(loop, self.wheel, self.pool)
        self.spare: list[Reusable] = []
        """Carriers that carry no message now, kept for the next messages."""

    def follow(self, snapshot: Snapshot, settings: UpstreamSettings) -> None:
        """Adopt a new configuration: limits may be higher, and active checks may be new or gone."""
        self.pool.resolver.follow({endpoint.host for endpoint in settings.names})
        self.checks.follow(snapshot, settings)
        self.waiting_room.announce(snapshot.turns())

    def recycle(self, used: Reusable) -> None:
        """Keep a carrier whose message is over for another message."""
        used.clear()
        if len(self.spare) < _SPARE_LIMIT:
            self.spare.append(used)
        else:
            used.discard()

    def close(self) -> None:
        """Stop active checks and close idle connections. Exchanges under way keep theirs until they are over."""
        self.checks.close()
        for carrier in self.spare:
            carrier.discard()
        self.outbox.close()
        self.pool.close()
        self.waiting_room.close()
