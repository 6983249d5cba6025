"""Coarse and cheap timeouts: one timer wheel per event loop, and no event-loop timer per message.

A `Timed` object waits on the wheel. Postponing its deadline, which nearly every read does, only sets an attribute:
when its bucket is due, the wheel inspects the deadline and moves the object on. The wheel uses at most one timer of
the event loop, and none while nothing waits.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

__all__ = ["TICK", "Expiring", "Timed", "Timer", "Wheel"]

TICK: Final = 0.02
"""Width of a bucket, in seconds. A timeout is never early, and at most this late (plus the event loop's own delay)."""


class Timed:
    """An object that a `Wheel` calls once its deadline has passed."""

    __slots__ = ("_bucket", "deadline", "inspected_at")

    def __init__(self) -> None:
        self.deadline = math.inf
        self.inspected_at = math.inf
        """When the wheel next inspects this entry; only an earlier deadline needs `schedule()`. Infinite when off."""
        self._bucket: int | None = None

    def expired(self, now: float) -> None:
        """The deadline passed at or before `now` (event-loop time). The object is no longer scheduled."""
        raise NotImplementedError


class Expiring(Protocol):
    """The owner of a `Timer`, which is told when its deadline has passed."""

    def expired(self, now: float) -> None: ...


class Timer(Timed):
    """The deadline of an `owner` that cannot be a `Timed` itself."""

    __slots__ = ("owner",)

    def __init__(self) -> None:
        super().__init__()
        self.owner: Expiring | None = None

    def expired(self, now: float) -> None:
        if self.owner is not None:
            self.owner.expired(now)


class Wheel:
    """Buckets of `TICK` seconds. Not thread-safe: to be used from its event loop only."""

    __slots__ = ("_armed", "_buckets", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buckets: dict[int, set[Timed]] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._armed = 0

    def schedule(self, timed: Timed, when: float) -> None:
        """Call `timed.expired` once `when` (event-loop time, seconds) has passed, instead of at its old deadline."""
        timed.deadline = when
        if when <= timed.inspected_at:
            self._insert(timed, when)

    def schedule_in(self, timed: Timed, seconds: float) -> None:
        """Call `timed.expired` once `seconds` have passed, instead of at its old deadline."""
        self.schedule(timed, self._loop.time() + seconds)

    def cancel(self, timed: Timed) -> None:
        """Forget `timed`."""
        timed.deadline = math.inf
        self._remove(timed)

    def close(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def __len__(self) -> int:
        """How many objects are scheduled."""
        return sum(map(len, self._buckets.values()))

    def _insert(self, timed: Timed, when: float) -> None:
        self._remove(timed)
        if when == math.inf:
            return
        tick = math.ceil(when / TICK)
        timed._bucket = tick  # noqa: SLF001 - the wheel's own field
        timed.inspected_at = (tick - 1) * TICK
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {timed}
            if self._handle is None or tick < self._armed:
                self._arm(tick)
        else:
            bucket.add(timed)

    def _remove(self, timed: Timed) -> None:
        tick = timed._bucket  # noqa: SLF001
        if tick is None:
            return
        timed._bucket = None  # noqa: SLF001
        timed.inspected_at = math.inf
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.discard(timed)
            if not bucket:
                del self._buckets[tick]

    def _arm(self, tick: int) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed = tick
        self._handle = self._loop.call_at(tick * TICK, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self._loop.time()
        due = [tick for tick in self._buckets if tick * TICK <= now]
        expired: list[Timed] = []
        for tick in due:
            for timed in self._buckets.pop(tick):
                timed._bucket = None  # noqa: SLF001
                timed.inspected_at = math.inf
                if timed.deadline <= now:
                    expired.append(timed)
                else:
                    self._insert(timed, timed.deadline)
        if self._buckets:
            earliest = min(self._buckets)
            if self._handle is None or earliest < self._armed:
                self._arm(earliest)
        for timed in expired:
            # An earlier callback may have moved or cancelled a later one.
            if timed._bucket is None and timed.deadline <= now:  # noqa: SLF001
                timed.deadline = math.inf
                try:
                    timed.expired(now)
                except Exception as exc:  # noqa: BLE001 - one defect must not lose the other timeouts
                    self._loop.call_exception_handler({"message": f"{timed!r} failed on timeout", "exception": exc})
