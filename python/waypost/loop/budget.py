"""Limits the bytes of request bodies that a process holds, and queues the requests that find no room."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from waypost.loop.wheel import Timed, Wheel

__all__ = ["PATIENCE", "Budget"]

PATIENCE: Final = 1.0
"""Seconds that a request may wait for others to release their bytes."""


class Budget:
    """The bytes held at this moment. Requests that find no room wait in one line, each in its own event loop."""

    __slots__ = ("_line", "held")

    def __init__(self) -> None:
        self.held = 0
        self._line: deque[_Waiter] = deque()

    def take(self, size: int, limit: int) -> bool:
        """Hold `size` more bytes. Returns false if that would exceed `limit` or others wait already: then `wait`."""
        if self._line or self.held + size > limit:
            return False
        self.held += size
        return True

    def room(self, limit: int) -> int:
        """How many more bytes may be held without waiting; negative where others wait already."""
        return -1 if self._line else limit - self.held

    def hold(self, size: int) -> None:
        """Hold `size` more bytes, for which `room` said there is room."""
        self.held += size

    async def wait(self, size: int, limit: int, wheel: Wheel) -> bool:
        """Hold `size` more bytes as soon as there is room. Returns false if there was none within `PATIENCE`."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(size, limit, loop)
        self._line.append(waiter)
        wheel.schedule(waiter, loop.time() + PATIENCE)
        try:
            return await waiter.outcome
        except asyncio.CancelledError:
            if waiter.admitted:
                self.give(size)
            raise
        finally:
            wheel.cancel(waiter)
            if not waiter.admitted:
                self._line.remove(waiter)
                self._admit()  # a waiter behind this one may need less

    def give(self, size: int) -> None:
        """Release `size` bytes."""
        self.held -= size
        if self._line:
            self._admit()

    def _admit(self) -> None:
        line = self._line
        while line and self.held + line[0].size <= line[0].limit:
            waiter = line.popleft()
            self.held += waiter.size
            waiter.admit()


class _Waiter(Timed):
    __slots__ = ("_loop", "admitted", "limit", "outcome", "size")

    def __init__(self, size: int, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.size = size
        self.limit = limit
        self.admitted = False
        """The bytes are held, and the waiter has left the line."""
        self._loop = loop
        self.outcome: asyncio.Future[bool] = loop.create_future()

    def admit(self) -> None:
        self.admitted = True
        self._loop.call_soon_threadsafe(self._settle)

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Timed
        if not self.admitted:
            self._settle()

    def _settle(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(self.admitted)
