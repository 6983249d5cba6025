"""A queue of expiry times, without a timer for each."""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

__all__ = ["ExpiryQueue"]

_T = TypeVar("_T", bound=tuple[str, ...])


class ExpiryQueue(Generic[_T]):
    """One expiry time for each item, earliest first.

    A changed time leaves a stale entry in the heap, which `pop` skips. When most are stale, the heap is rebuilt.
    """

    __slots__ = ("_heap", "_times")

    def __init__(self) -> None:
        self._times: dict[_T, float] = {}
        self._heap: list[tuple[float, _T]] = []

    def set(self, item: _T, time: float) -> None:
        """Let `item` expire at `time`; if that is infinite, never."""
        if time == self._times.get(item):
            return
        if time == math.inf:
            self._times.pop(item, None)
            return
        self._times[item] = time
        heapq.heappush(self._heap, (time, item))
        if len(self._heap) > 2 * len(self._times) + 64:
            self._heap = [(time, item) for item, time in self._times.items()]
            heapq.heapify(self._heap)

    def remove(self, item: _T) -> None:
        """Forget `item`."""
        self._times.pop(item, None)

    def pop(self, now: float) -> _T | None:
        """Remove and return an item that has expired at `now`; `None` if there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            time, item = heapq.heappop(heap)
            if self._times.get(item) == time:
                del self._times[item]
                return item
        return None

    def __len__(self) -> int:
        """Number of entries in the heap, stale ones included."""
        return len(self._heap)
