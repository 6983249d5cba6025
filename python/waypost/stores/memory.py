"""The store in the memory of one process: for tests, and for content that need not survive the process.

One instance serves every event loop and thread of the process; other processes do not see it. The store limits the cost
of its content: keys, values, and a fixed cost for each record, log, entry and token. The fixed costs cover Python's
memory for such an object, so they limit the number of objects as well.

A write that finds no room fails. An idempotency record that is dropped early lets a message be executed twice, and an
answer that is dropped early is lost. The writer of a new record can be told, the owner of an old record cannot.
Therefore only records written as `disposable` are dropped early.

No record has a timer. An expired record is absent for every reader, and each write removes a bounded number of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from waypost.errors import StoreError
from waypost.stores.expiry import ExpiryQueue
from waypost.stores.log import MemoryLog
from waypost.stores.store import KEY_BYTES, Batch, Keep, Position, Record, Store, StoreKey, Version

__all__ = ["MemoryStore"]

RECORD_COST: Final = 640
"""Fixed cost of a record in bytes; its key and its value are charged as well."""
SWEEP: Final = 100
"""Largest number of expired records and logs that one write removes, unless it needs more room."""


class MemoryStore(Store):
    """A `Store` with the guarantees of `waypost.stores.store`."""

    def __init__(self, *, limit: int = 64 << 20, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` is the largest cost of the content, in bytes. `clock` returns seconds and never goes back."""
        self.held = 0
        """Cost of the whole content, in bytes."""
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._records: dict[StoreKey, _StoredRecord] = {}
        self._disposable: dict[StoreKey, None] = {}  # least recently used first
        self._records_due: ExpiryQueue[StoreKey] = ExpiryQueue()
        self._versions = itertools.count(1)
        self._logs: dict[StoreKey, MemoryLog] = {}
        self._empty_logs: dict[StoreKey, None] = {}  # least recently emptied first
        self._logs_due: ExpiryQueue[StoreKey] = ExpiryQueue()
        self._epochs = (f"{os.urandom(6).hex()}-{number:x}" for number in itertools.count())
        self._waiters: dict[StoreKey, set[asyncio.Future[None]]] = {}

    async def get(self, key: StoreKey) -> Record | None:
        with self._lock:
            record = self._find(key, self._begin())
            if record is None:
                return None
            if record.disposable:
                del self._disposable[key]
                self._disposable[key] = None
            return Record(record.value, record.version)

    async def put_if_absent(
        self, key: StoreKey, value: bytes, *, ttl: float, disposable: bool = False
    ) -> Version | None:
        with self._lock:
            now = self._begin()
            return None if self._find(key, now) is not None else self._write(key, value, ttl, disposable, now)

    async def compare_and_set(
        self, key: StoreKey, version: Version, value: bytes, *, ttl: float, disposable: bool = False
    ) -> Version | None:
        with self._lock:
            now = self._begin()
            record = self._find(key, now)
            if record is None or record.version != version:
                return None
            return self._write(key, value, ttl, disposable, now)

    async def expire(self, key: StoreKey, version: Version, *, ttl: float) -> Version | None:
        with self._lock:
            now = self._begin()
            record = self._find(key, now)
            if record is None or record.version != version:
                return None
            return self._write(key, record.value, ttl, record.disposable, now)

    async def delete(self, key: StoreKey, version: Version | None = None) -> bool:
        with self._lock:
            record = self._find(key, self._begin())
            if record is None or (version is not None and record.version != version):
                return False
            self._remove(key)
            return True

    async def append(self, log: StoreKey, value: bytes, *, keep: Keep, token: str | None = None) -> Position:
        with self._lock:
            now = self._begin()
            self._sweep(now)
            found = self._logs.get(log)
            if found is not None:
                self._expire_log(log, found, now)
                first = found.repeated(token)
                if first is not None:
                    return first
            position = self._append(log, value, keep, token, now)
            waiters = self._waiters.pop(log, ())
        _wake(waiters)
        return position

    async def read(self, log: StoreKey, after: Position | None, *, limit: int = 100, wait: float = 0.0) -> Batch:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            with self._lock:
                batch = self._open(log, self._begin()).read(after, limit)
                if batch.entries or batch.gap or loop.time() >= deadline:
                    return batch
                waiter: asyncio.Future[None] = loop.create_future()
                self._waiters.setdefault(log, set()).add(waiter)
            # An entry that is appended and dropped before the next read is a gap behind this position.
            after = batch.end
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await waiter
            finally:
                self._remove_waiter(log, waiter)

    async def tail(self, log: StoreKey) -> Position:
        with self._lock:
            return self._open(log, self._begin()).tail

    async def drop(self, log: StoreKey) -> bool:
        with self._lock:
            now = self._begin()
            found = self._logs.get(log)
            if found is not None:
                self._expire_log(log, found, now)
            if log not in self._logs:
                return False
            self._forget_log(log)
            return True

    async def close(self) -> None:
        with self._lock:
            self._closed = True
            waiters = list(itertools.chain.from_iterable(self._waiters.values()))
            for each in (self._waiters, self._records, self._disposable, self._logs, self._empty_logs):
                each.clear()
            self._records_due, self._logs_due = ExpiryQueue(), ExpiryQueue()
            self.held = 0
        _wake(waiters)

    # The caller of these methods holds the lock.

    def _begin(self) -> float:
        if self._closed:
            raise StoreError("store_unavailable", "the store is closed")
        return self._clock()

    def _find(self, key: StoreKey, now: float) -> _StoredRecord | None:
        record = self._records.get(key)
        if record is not None and record.due <= now:
            self._remove(key)
            return None
        return record

    def _write(self, key: StoreKey, value: bytes, ttl: float, disposable: bool, now: float) -> Version:
        if not ttl > 0:
            raise ValueError(f"ttl must be positive, not {ttl}")
        cost = RECORD_COST + _key_bytes(key) + len(value)
        self._sweep(now)
        # The old record goes first, so that it is not dropped to make room for its successor.
        old = self._records.get(key)
        if old is not None:
            self._remove(key)
        try:
            self._make_room(cost, now)
        except StoreError:
            if old is not None:
                self._insert(key, old)
            raise
        version = Version(next(self._versions))
        self._insert(key, _StoredRecord(value, version, now + ttl, disposable, cost))
        return version

    def _insert(self, key: StoreKey, record: _StoredRecord) -> None:
        self._records[key] = record
        self._records_due.set(key, record.due)
        if record.disposable:
            self._disposable[key] = None
        self.held += record.cost

    def _remove(self, key: StoreKey) -> None:
        self.held -= self._records.pop(key).cost
        self._disposable.pop(key, None)
        self._records_due.remove(key)

    def _append(self, key: StoreKey, value: bytes, keep: Keep, token: str | None, now: float) -> Position:
        if token is not None and len(token) > KEY_BYTES:
            raise StoreError("store_too_large", f"a token has at most {KEY_BYTES} characters, not {len(token)}")
        log = self._logs.get(key) or MemoryLog(next(self._epochs), _key_bytes(key), now)
        new = key not in self._logs
        self._empty_logs.pop(key, None)  # or the log could be dropped to make room for its own entry
        try:
            freed = log.displaced(value, keep)[1]
            self._make_room(log.charge(value, token) - freed + (log.cost if new else 0), now)
        except StoreError:
            if not new:
                self._update_log(key, log)
            raise
        if new:
            self._logs[key] = log
            self.held += log.cost
        before = log.cost
        position = log.append(value, keep, token, now)
        self.held += log.cost - before
        self._update_log(key, log)
        return position

    def _open(self, key: StoreKey, now: float) -> MemoryLog:
        """The log, which is begun if it does not exist, so that a reader does not miss its first entries."""
        log = self._logs.get(key)
        if log is not None:
            self._expire_log(key, log, now)
            log = self._logs.get(key)
        if log is None:
            log = MemoryLog(next(self._epochs), _key_bytes(key), now)
            with contextlib.suppress(StoreError):  # without room, the next read reports a gap
                self._make_room(log.cost, now)
                self._logs[key] = log
                self.held += log.cost
                self._update_log(key, log)
        return log

    def _expire_log(self, key: StoreKey, log: MemoryLog, now: float) -> None:
        before = log.cost
        log.expire(now)
        self.held += log.cost - before
        if log.idle(now):
            self._forget_log(key)
        else:
            self._update_log(key, log)

    def _update_log(self, key: StoreKey, log: MemoryLog) -> None:
        """Update the queues after a change of the log."""
        self._logs_due.set(key, log.due())
        if not log.empty:
            self._empty_logs.pop(key, None)
        elif key not in self._empty_logs:
            self._empty_logs[key] = None

    def _forget_log(self, key: StoreKey) -> None:
        self.held -= self._logs.pop(key).cost
        self._empty_logs.pop(key, None)
        self._logs_due.remove(key)

    def _make_room(self, cost: int, now: float) -> None:
        """Make room for `cost` bytes. Raises `StoreError` if that is impossible."""
        if cost > self._limit:
            raise StoreError("store_too_large", f"{cost} bytes are more than the whole store may hold ({self._limit})")
        while self.held + cost > self._limit:
            if not (self._sweep_one(now) or self._drop_disposable() or self._drop_empty_log()):
                raise StoreError("store_full", f"no room for {cost} bytes: {self.held} of {self._limit} are held")

    def _sweep(self, now: float) -> None:
        for _ in range(SWEEP):
            if not self._sweep_one(now):
                break

    def _sweep_one(self, now: float) -> bool:
        key = self._records_due.pop(now)
        if key is not None:
            self._remove(key)
            return True
        key = self._logs_due.pop(now)
        if key is not None:
            self._expire_log(key, self._logs[key], now)
            return True
        return False

    def _drop_disposable(self) -> bool:
        for key in self._disposable:
            self._remove(key)
            return True
        return False

    def _drop_empty_log(self) -> bool:
        for key in self._empty_logs:
            self._forget_log(key)
            return True
        return False

    # The caller of this method does not hold the lock.

    def _remove_waiter(self, log: StoreKey, waiter: asyncio.Future[None]) -> None:
        with self._lock:
            waiters = self._waiters.get(log)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[log]


class _StoredRecord:
    """A record with its expiry time and its cost."""

    __slots__ = ("cost", "disposable", "due", "value", "version")

    def __init__(self, value: bytes, version: Version, due: float, disposable: bool, cost: int) -> None:
        self.value = value
        self.version = version
        self.due = due
        self.disposable = disposable
        self.cost = cost


def _key_bytes(key: StoreKey) -> int:
    size = len(key.namespace.encode()) + len(key.name.encode())
    if size > KEY_BYTES:
        raise StoreError("store_too_large", f"a key has at most {KEY_BYTES} bytes, not {size}")
    return size


def _wake(waiters: Iterable[asyncio.Future[None]]) -> None:
    """Let the readers that wait for an entry read again, each on its own event loop."""
    here = asyncio.get_running_loop()
    for waiter in waiters:
        loop = waiter.get_loop()
        if loop is here:
            _settle(waiter)
        else:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(_settle, waiter)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
