"""One log in memory: its entries, and the tokens of its latest appends."""

from __future__ import annotations

import math
from typing import Final

from waypost.stores.store import BATCH_BYTES, REPEAT_WINDOW, Batch, Entry, Keep, Position

__all__ = ["MemoryLog"]

LOG_COST: Final = 1024
ENTRY_COST: Final = 160
TOKEN_COST: Final = 320
"""Fixed cost of a log, an entry and a token, in bytes; keys, values and a token's characters are charged as well."""


class MemoryLog:
    """A log whose sequences are consecutive, so that an entry is found by its number. Every change updates `cost`."""

    __slots__ = ("_appended", "_entries", "_head", "_keep", "_size", "_tokens", "cost", "epoch", "last")

    def __init__(self, epoch: str, key_bytes: int, now: float) -> None:
        self.epoch = epoch
        self.last = 0
        """Sequence of the newest entry ever appended; 0 before the first."""
        self.cost = LOG_COST + key_bytes
        """Cost of the whole log, in bytes."""
        self._keep = Keep()
        self._appended = now
        self._entries: list[tuple[bytes, float]] = []  # value and time of each; those before `_head` are dropped
        self._head = 0
        self._size = 0
        self._tokens: dict[str, tuple[int, float]] = {}  # oldest first

    @property
    def empty(self) -> bool:
        """Whether the log holds nothing but its epoch."""
        return not self._count and not self._tokens

    @property
    def _count(self) -> int:
        return len(self._entries) - self._head

    @property
    def tail(self) -> Position:
        """The position behind the newest entry."""
        return Position(self.epoch, self.last)

    def due(self) -> float:
        """When the next part of the log expires, by the clock of `now`."""
        keep, due = self._keep, math.inf
        if keep.age is not None and self._count:
            due = self._entries[self._head][1] + keep.age
        if keep.idle is not None:
            idle = self._appended + keep.idle
            # A token may outlive the entries, because a repeat can still come.
            due = min(due, idle if self._count or not self._tokens else math.inf)
        for _, at in self._tokens.values():
            return min(due, at + REPEAT_WINDOW)
        return due

    def idle(self, now: float) -> bool:
        """Whether the log is to be forgotten."""
        return self._keep.idle is not None and self.empty and self._appended + self._keep.idle <= now

    def expire(self, now: float) -> None:
        """Drop everything that has expired at `now`."""
        keep = self._keep
        if keep.idle is not None and self._appended + keep.idle <= now:
            self._drop(self._count)
        elif keep.age is not None:
            count = 0
            while count < self._count and self._entries[self._head + count][1] + keep.age <= now:
                count += 1
            self._drop(count)
        while self._tokens:
            token, (_, at) = next(iter(self._tokens.items()))
            if at + REPEAT_WINDOW > now:
                break
            del self._tokens[token]
            self.cost -= TOKEN_COST + 4 * len(token)

    def repeated(self, token: str | None) -> Position | None:
        """The position of an earlier append with `token`; `None` if there was none."""
        found = None if token is None else self._tokens.get(token)
        return None if found is None else Position(self.epoch, found[0])

    def displaced(self, value: bytes, keep: Keep) -> tuple[int, int]:
        """How many of the oldest entries an entry with `value` displaces, and their cost."""
        messages = math.inf if keep.messages is None else keep.messages
        most = math.inf if keep.bytes is None else keep.bytes
        count, dropped = 0, 0
        while count < self._count and (self._count - count + 1 > messages or self._size - dropped + len(value) > most):
            dropped += len(self._entries[self._head + count][0])
            count += 1
        return count, dropped + count * ENTRY_COST

    @staticmethod
    def charge(value: bytes, token: str | None) -> int:
        """The cost of another entry."""
        return ENTRY_COST + len(value) + (0 if token is None else TOKEN_COST + 4 * len(token))

    def append(self, value: bytes, keep: Keep, token: str | None, now: float) -> Position:
        """Add an entry, and drop the entries that it displaces. `token` must be new."""
        self._drop(self.displaced(value, keep)[0])
        self._keep = keep
        self._appended = now
        self.last += 1
        self._entries.append((value, now))
        self._size += len(value)
        self.cost += self.charge(value, token)
        if token is not None:
            self._tokens[token] = (self.last, now)
        return self.tail

    def read(self, after: Position | None, limit: int) -> Batch:
        """The entries behind `after`, at most `limit`."""
        first = self.last - self._count + 1
        start, gap = first, False
        if after is not None:
            gap = after.epoch != self.epoch
            if not gap:
                start = min(max(after.sequence + 1, first), self.last + 1)
                gap = start != after.sequence + 1
        entries: list[Entry] = []
        size = 0
        index = self._head + start - first
        while index < len(self._entries) and len(entries) < limit and size < BATCH_BYTES:
            value = self._entries[index][0]
            entries.append(Entry(Position(self.epoch, start + len(entries)), value))
            size += len(value)
            index += 1
        return Batch(tuple(entries), Position(self.epoch, start - 1 + len(entries)), gap)

    def _drop(self, count: int) -> None:
        """Drop the oldest `count` entries."""
        if not count:
            return
        size = sum(len(value) for value, _ in self._entries[self._head : self._head + count])
        self._size -= size
        self.cost -= size + count * ENTRY_COST
        for index in range(self._head, self._head + count):
            self._entries[index] = (b"", 0.0)  # frees the value now; its place is freed later
        self._head += count
        if 2 * self._head >= len(self._entries):
            del self._entries[: self._head]
            self._head = 0
