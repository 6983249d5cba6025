"""The store interface: small records and append-only logs, shared by all nodes that open the same store.

A record holds bytes under a key until its ttl has passed. A log holds entries in the order in which they were
appended, and readers keep their own positions. Records and logs have separate name spaces. They are meant for
idempotency records, cached results, deferred answers and topics.

Every implementation guarantees the following, and `tests/unit/stores/contract.py` checks it.

Atomicity
    Each operation happens at once or not at all. Operations on one key have a single order that agrees with real time:
    a read that begins after a write has returned sees that write, from any node. Operations on different keys have no
    order among them.
Versions
    Each write gives its record a version that the key never had before, not even before a deletion or an expiry. A
    version is opaque: compare it for equality, and give it back.
Expiry
    A record is never absent before its ttl has passed by the store's clock. At most one second later, it is absent to
    every operation: `put_if_absent` succeeds, the others find nothing. Only a record written as `disposable` may be
    dropped earlier, to make room.
Order
    Appends to one log have a single order, in which every reader gets the entries. Sequences rise within a log; they
    need not be consecutive. Whenever a log begins anew, it gets a new epoch, so that a position of an earlier life, or
    of a store restored from a backup, is never mistaken for one of this life.
Gaps
    `Batch.gap` is false only if no entry between the reader's position and the batch was dropped. For a position that
    the log returned in its current epoch, `Batch.gap` is exact.
Repeats
    For `REPEAT_WINDOW` seconds after an append with a `token`, another append to that log with the same token adds
    nothing and returns the position of the first, even if that entry was dropped meanwhile.
Bounds
    A store is bounded. To make room, it drops expired records and entries, then disposable records, then logs without
    entries. If that is not enough, the write fails with `store_full`. Nothing else is ever dropped early.

Each error is a `StoreError`:

- `store_too_large`: the key or the value can never be stored.
- `store_full`: the store has no room now.
- `store_unavailable`: the store is closed or cannot be reached, and nothing has happened. A store that knows this
  raises the error at once, without waiting for a timeout.
- `store_unknown`: the store did not answer, and a write may have happened. Read the record and compare its value, or
  repeat the append with its token. The same holds after a write was cancelled.

Callers compose the keys. A key includes the tenant if its content must not be shared between tenants. A generation
number in the keys of a group of records purges the group without a scan.
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
"""Longest key, namespace and name together, in bytes of UTF-8. Hash a name that may be longer."""
BATCH_BYTES: Final = 1 << 20
"""Size of the values at which a batch ends, in bytes. The entry that reaches it is the last one."""
REPEAT_WINDOW: Final = 120.0
"""Time for which a log recognizes an append by its token, in seconds."""

_POSITION: Final = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,19})")

Version = NewType("Version", object)
"""The version of a record, which every write changes. Opaque."""


class StoreKey(NamedTuple):
    """Names one record or one log. Any text is allowed; an implementation with narrower rules encodes it."""

    namespace: str
    """The part of Waypost that uses it: `once`, `cache`, `topic`, …"""
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """The value of a record, and its version."""

    value: bytes
    version: Version


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a log, behind one of its entries or before all of them, written as `EPOCH:SEQUENCE`."""

    epoch: str
    """1 to 64 letters, digits, `-` and `_`."""
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read a position from `text`. Raises `ValueError` if `text` is not a position."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError("a position is EPOCH:SEQUENCE")
        return cls(found[1], int(found[2]))


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log."""

    position: Position
    """The position behind this entry, from which `read` goes on with the next one."""
    value: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that follow a position, oldest first."""

    entries: tuple[Entry, ...]
    end: Position
    """The position for the next `read`."""
    gap: bool
    """Whether entries may be missing before this batch; before the next entry, if the batch is empty."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a log is kept; `None` sets no limit. `messages` and `bytes` never drop the newest entry."""

    messages: int | None = None
    """Largest number of entries, at least 1."""
    bytes: int | None = None
    """Largest size of all values together, in bytes."""
    age: float | None = None
    """Time for which an entry is kept, in seconds."""
    idle: float | None = None
    """Time after the last append at which the log is forgotten, with its epoch, in seconds."""

    def __post_init__(self) -> None:
        for name in ("messages", "bytes", "age", "idle"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")


class Store(Protocol):
    """Records and logs. The head of this module states what all operations guarantee and raise.

    A `ttl` is positive, and in seconds.
    """

    async def get(self, key: StoreKey) -> Record | None:
        """The record, or `None` if it is absent."""

    async def put_if_absent(
        self, key: StoreKey, value: bytes, *, ttl: float, disposable: bool = False
    ) -> Version | None:
        """Write the record if it is absent. Returns `None`, and changes nothing, if it is present.

        A `disposable` record may be dropped early, the least recently read or written first.
        """

    async def compare_and_set(
        self, key: StoreKey, version: Version, value: bytes, *, ttl: float, disposable: bool = False
    ) -> Version | None:
        """Replace the record and its ttl if it has `version`. Returns `None` if it is absent or has another version."""

    async def expire(self, key: StoreKey, version: Version, *, ttl: float) -> Version | None:
        """Let the record live for `ttl` seconds from now if it has `version`, for example to renew a lease.

        The value stays, the version changes. Returns `None` if the record is absent or has another version.
        """

    async def delete(self, key: StoreKey, version: Version | None = None) -> bool:
        """Remove the record, only if it has `version` when one is given. Returns whether it was removed."""

    async def append(self, log: StoreKey, value: bytes, *, keep: Keep, token: str | None = None) -> Position:
        """Add an entry to the log. Returns the position behind it.

        `keep` applies to the whole log from now on. Appends with the same `token` are repeats of one append.
        """

    async def read(self, log: StoreKey, after: Position | None, *, limit: int = 100, wait: float = 0.0) -> Batch:
        """The entries behind `after`; with `None`, from the first that is kept. At most `limit`, at least 1.

        If there are no entries, `read` waits up to `wait` seconds for the next one. A position of another epoch, or
        beyond the end of the log, has a gap: reading goes on from the first entry that is kept, or from the end.
        """

    async def tail(self, log: StoreKey) -> Position:
        """The position behind the newest entry of the log. Reading from it gives the entries appended from now on."""

    async def drop(self, log: StoreKey) -> bool:
        """Remove the log and its entries; the next append begins another epoch. Returns whether the log existed."""

    async def close(self) -> None:
        """Release everything that the store holds.

        From now on, every other operation raises `store_unavailable`. So do reads that wait.
        """
