"""What one client connection with many responses holds in memory while its client does not read."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

__all__ = ["HELD_READ", "SHARED_READ", "Backlog", "Holding"]

_HIGH: Final = 112 * 1024
"""Bytes that wait for the client, above which nothing more is read for it from endpoints."""
_LOW: Final = 32 * 1024
"""Bytes down to which the client has to read, before endpoints are read again."""


SHARED_READ: Final = 16 * 1024
"""Bytes that are read at a time of each response, so that one of them alone does not hold back the others."""
HELD_READ: Final = 1024
"""Bytes that are read at a time of a response that has not begun, while others are held back."""


class Holding(Protocol):
    """A response that is on its way to the client."""

    def hold(self) -> None:
        """Read nothing more from the endpoint. A response that has not begun may begin."""

    def go_on(self) -> None:
        """Undo `hold`."""


class Backlog:
    """Counts the bytes of all responses of one connection that were read from endpoints and not sent.

    Each read adds at most `SHARED_READ` bytes. The one that exceeds `_HIGH` stops all further ones. What still comes
    are the beginnings of other responses, `HELD_READ` each: if they waited too, their endpoints would seem slow.
    """

    __slots__ = ("_full", "_loop", "_responses", "_waiters", "held")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.held = 0
        """Bytes that wait."""
        self._full = False
        self._loop = loop
        self._responses: set[Holding] = set()
        self._waiters: list[asyncio.Future[None]] = []

    async def room(self) -> None:
        """Wait until another response may begin."""
        while self._full:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def join(self, response: Holding) -> None:
        self._responses.add(response)
        if self._full:
            response.hold()

    def leave(self, response: Holding, size: int) -> None:
        """The response is over. `size` bytes of it were added and not removed."""
        self._responses.discard(response)
        self.remove(size)

    def add(self, size: int) -> None:
        self.held += size
        if self.held > _HIGH and not self._full:
            self._full = True
            for response in self._responses:
                response.hold()

    def remove(self, size: int) -> None:
        self.held -= size
        if self._full and self.held <= _LOW:
            self.close()

    def close(self) -> None:
        """Hold nothing back any longer."""
        self._full = False
        for response in list(self._responses):
            response.go_on()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
