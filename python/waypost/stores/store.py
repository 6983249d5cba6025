"""The store interface: small records and append-only logs, shared by whoever opens the same store.

A record holds bytes under a key until its ttl has passed. A log holds entries in the order in which they were
appended, and readers keep their own positions. Records and logs have separate name spaces. Idempotency records, cached
results, answers that come later and topics are built on these two.

Every implementation guarantees the following, and `tests/unit/stores/contract.py` checks it.

Atomicity
    Each operation happens at once or not at all. Operations on one key have a single order that agrees with real time:
    a read that begins after a write has returned sees that write, from any node. Operations on different keys have no
    order among them.
Versions
    Each write gives its record a version that the key never had before, not even before a deletion or an expiry. A
    version is opaque: compare it for equality, and give it back.
Expiry
    A record is never absent before its ttl has passed by the store's clock, and at most one second later it is absent
    to every operation: `put_if_absent` succeeds, the others find nothing. Only a record written as `disposable` may go
    earlier, to make room.
Order
    Appends to one log have a single order, in which every reader gets the entries. Sequences rise within a log; they
    need not be consecutive. An epoch is drawn anew whenever a log begins anew, so that a position of an earlier life,
    or of a store restored from a backup, is never taken for one of this life.
Gaps
    `Batch.gap` is false only if no entry between the reader's position and the batch was dropped. It is exact for a
    position that the log gave out in its current epoch.
Repeats
    For `REPEAT_WINDOW` seconds after an append with a `token`, another append to that log with the same token adds
    nothing and gives the first one's position, even where the entry is gone by then.
Bounds
    A store is bounded. To make room it drops expired records and entries, then disposable records, then logs without
    entries; after that it refuses the write with `store_full`. It never drops what was promised to stay.

Each error is a `StoreError`. `store_too_large`: the key or the value can never be stored. `store_full`: there is no
room now. `store_unavailable`: the store is closed or cannot be reached, and nothing has happened; one that
knows so raises at once and waits for no timeout. `store_unknown`: the store gave no answer, and a write may have
happened. After `store_unknown`, read the record and compare its value, or repeat the append with its token. The same
holds after a write was cancelled.

Callers compose keys themselves: whatever must not be shared between two tenants has the tenant in its key. A group of
records is purged without a scan by a generation number in their keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, NewType, Protocol

__all__ = [
    "BATCH_BYTES",
    "KEY_BYTES",
    "REPEAT_WINDOW",
    "Batch",
    "Entry",
    "Keep",
    "Position",
    "Record",
    "Store",
    "StoreKey",
    "Version",
]

KEY_BYTES: Final = 1024
"""Longest key: namespace and name together, in bytes of UTF-8. Hash what may be longer."""
BATCH_BYTES: Final = 1 << 20
"""A batch ends with the entry that brings its values to this many bytes."""
REPEAT_WINDOW: Final = 120.0
"""Seconds for which a log knows an append by its token."""

_POSITION: Final = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,19})")

Version = NewType("Version", object)
"""What a write made of a record."""


class StoreKey(NamedTuple):
    """Names one record, or one log. Any text will do; an engine with narrower rules encodes it."""

    namespace: str
    """Whose it is: `once`, `cache`, `topic`, …"""
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """A value as it is now."""

    value: bytes
    version: Version


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a log, behind one of its entries or before all of them. Its text is `EPOCH:SEQUENCE`."""

    epoch: str
    """1 to 64 letters, digits, `-` and `_`."""
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `text` stands for. Raises `ValueError` for any other text."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError("a position is EPOCH:SEQUENCE")
        return cls(found[1], int(found[2]))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log."""

    position: Position
    """Behind this entry: `read` after it gives the next one."""
    value: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that follow a position, oldest first."""

    entries: tuple[Entry, ...]
    end: Position
    """Where to read on."""
    gap: bool
    """Entries may be missing before the first of these, or before those that come next where there are none."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a log is kept; `None` sets no bound. The newest entry stays within `messages` and `bytes`."""

    messages: int | None = None
    """At most so many entries, at least 1."""
    bytes: int | None = None
    """At most so many bytes of values."""
    age: float | None = None
    """Each entry for so many seconds."""
    idle: float | None = None
    """The whole log until so many seconds after its last append, when it is forgotten with its epoch."""

    def __post_init__(self) -> None:
        for name in ("messages", "bytes", "age", "idle"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")


class Store(Protocol):
    """Records and logs. The head of this module states what all operations guarantee, and what they raise.

    A `ttl` is in seconds and positive.
    """

    async def get(self, key: StoreKey) -> Record | None:
        """The record, or `None` where it is absent."""

    async def put_if_absent(
        self, key: StoreKey, value: bytes, *, ttl: float, disposable: bool = False
    ) -> Version | None:
        """Write the record if it is absent. `None`: it is there, and unchanged.

        `disposable`: the store may drop it before its time, least recently read or written first.
        """

    async def compare_and_set(
        self, key: StoreKey, version: Version, value: bytes, *, ttl: float, disposable: bool = False
    ) -> Version | None:
        """Replace the record, and its ttl, if it has this version. `None`: it is absent or has another."""

    async def expire(self, key: StoreKey, version: Version, *, ttl: float) -> Version | None:
        """Let the record live for `ttl` seconds from now if it has this version: how a lease is renewed.

        Its value stays, its version changes. `None`: it is absent or has another version.
        """

    async def delete(self, key: StoreKey, version: Version | None = None) -> bool:
        """Remove the record, if it has this version where one is given. False: nothing was removed."""

    async def append(self, log: StoreKey, value: bytes, *, keep: Keep, token: str | None = None) -> Position:
        """Add an entry to the log. Gives the position behind it.

        `keep` is in force for the whole log from now on. `token` names this append among its repeats.
        """

    async def read(self, log: StoreKey, after: Position | None, *, limit: int = 100, wait: float = 0.0) -> Batch:
        """The entries behind `after`, at most `limit` (at least 1), or from the first that is kept with `None`.

        Where there are none, waits up to `wait` seconds for the next one. A position that the log does not know, of
        another epoch or beyond its end, has a gap: reading goes on from the first entry that is kept, or from the end.
        """

    async def tail(self, log: StoreKey) -> Position:
        """The position behind the log's newest entry: whoever reads after it gets what is appended from now on."""

    async def drop(self, log: StoreKey) -> bool:
        """Remove the log with all of its entries. Its next append has another epoch. False: there was no such log."""

    async def close(self) -> None:
        """Release what the store holds. Every other operation raises `store_unavailable` from now on, reads that wait
        included."""
