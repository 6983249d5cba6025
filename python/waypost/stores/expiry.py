"""When things are over, earliest first, without a timer for each."""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

__all__ = ["ExpiryQueue"]

_T = TypeVar("_T", bound=tuple[str, ...])


class ExpiryQueue(Generic[_T]):
    """A time for each of some things. A time that changes leaves its old place behind, to be passed over later; when
    more than half of the places are old, they are cleared away."""

    __slots__ = ("_heap", "_times")

    def __init__(self) -> None:
        self._times: dict[_T, float] = {}
        self._heap: list[tuple[float, _T]] = []

    def set(self, thing: _T, time: float) -> None:
        """`thing` is over at `time` now; infinite: never."""
        if time == self._times.get(thing):
            return
        if time == math.inf:
            self._times.pop(thing, None)
            return
        self._times[thing] = time
        heapq.heappush(self._heap, (time, thing))
        if len(self._heap) > 2 * len(self._times) + 64:
            self._heap = [(time, thing) for thing, time in self._times.items()]
            heapq.heapify(self._heap)

    def remove(self, thing: _T) -> None:
        """Forget `thing`."""
        self._times.pop(thing, None)

    def pop(self, now: float) -> _T | None:
        """Something that is over at `now`, which is forgotten. `None`: there is nothing."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            time, thing = heapq.heappop(heap)
            if self._times.get(thing) == time:
                del self._times[thing]
                return thing
        return None

    def __len__(self) -> int:
        """Places that take memory."""
        return len(self._heap)
