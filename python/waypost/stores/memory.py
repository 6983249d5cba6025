"""The store in this process's memory: for tests, and where nothing has to survive the process.

One instance serves every event loop and thread of the process; other processes do not see it. The store bounds what
its content is charged: keys, values, and a fixed cost for each record, log, entry and token. The fixed costs cover what
Python takes for such an object, and so bound the number of objects as well.

A write that finds no room is refused. An idempotency record that goes early lets a message be executed twice, and an
answer that goes early is lost: the writer of a new record can be told so, the owner of an old one cannot. Only a record
that was written as `disposable` goes early.

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
"""Bytes that a record is charged beside its key and its value."""
SWEEP: Final = 100
"""How many expired records and logs one write clears up at most, unless it needs more room."""


class MemoryStore(Store):
    """A `Store`, as `waypost.stores.store` states it."""

    def __init__(self, *, limit: int = 64 << 20, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` is the bound in bytes; `clock` gives seconds and never goes back."""
        self.held = 0
        """Bytes that everything in it is charged."""
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._records: dict[StoreKey, _Held] = {}
        self._disposable: dict[StoreKey, None] = {}  # least recently used first
        self._records_due: ExpiryQueue[StoreKey] = ExpiryQueue()
        self._versions = itertools.count(1)
        self._logs: dict[StoreKey, MemoryLog] = {}
        self._empty_logs: dict[StoreKey, None] = {}  # least recently emptied first
        self._logs_due: ExpiryQueue[StoreKey] = ExpiryQueue()
        self._epochs = (f"{os.urandom(6).hex()}-{number:x}" for number in itertools.count())
        self._waiting: dict[StoreKey, set[asyncio.Future[None]]] = {}

    async def get(self, key: StoreKey) -> Record | None:
        with self._lock:
            held = self._find(key, self._begin())
            if held is None:
                return None
            if held.disposable:
                del self._disposable[key]
                self._disposable[key] = None
            return Record(held.value, held.version)

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
            held = self._find(key, now)
            if held is None or held.version != version:
                return None
            return self._write(key, value, ttl, disposable, now)

    async def expire(self, key: StoreKey, version: Version, *, ttl: float) -> Version | None:
        with self._lock:
            now = self._begin()
            held = self._find(key, now)
            if held is None or held.version != version:
                return None
            return self._write(key, held.value, ttl, held.disposable, now)

    async def delete(self, key: StoreKey, version: Version | None = None) -> bool:
        with self._lock:
            held = self._find(key, self._begin())
            if held is None or (version is not None and held.version != version):
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
                known = found.known(token)
                if known is not None:
                    return known
            position = self._append(log, value, keep, token, now)
            waiting = self._waiting.pop(log, ())
        _wake(waiting)
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
                coming: asyncio.Future[None] = loop.create_future()
                self._waiting.setdefault(log, set()).add(coming)
            # An entry that comes and goes before the next look is a gap behind this position.
            after = batch.end
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await coming
            finally:
                self._forget(log, coming)

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
            waiting = list(itertools.chain.from_iterable(self._waiting.values()))
            for each in (self._waiting, self._records, self._disposable, self._logs, self._empty_logs):
                each.clear()
            self._records_due, self._logs_due = ExpiryQueue(), ExpiryQueue()
            self.held = 0
        _wake(waiting)

    # The caller of these holds the lock.

    def _begin(self) -> float:
        if self._closed:
            raise StoreError("store_unavailable", "the store is closed")
        return self._clock()

    def _find(self, key: StoreKey, now: float) -> _Held | None:
        held = self._records.get(key)
        if held is not None and held.due <= now:
            self._remove(key)
            return None
        return held

    def _write(self, key: StoreKey, value: bytes, ttl: float, disposable: bool, now: float) -> Version:
        if not ttl > 0:
            raise ValueError(f"ttl must be positive, not {ttl}")
        cost = RECORD_COST + _key_bytes(key) + len(value)
        self._sweep(now)
        # Out of the way, so that it is not dropped to make room for itself.
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
        self._insert(key, _Held(value, version, now + ttl, disposable, cost))
        return version

    def _insert(self, key: StoreKey, held: _Held) -> None:
        self._records[key] = held
        self._records_due.set(key, held.due)
        if held.disposable:
            self._disposable[key] = None
        self.held += held.cost

    def _remove(self, key: StoreKey) -> None:
        self.held -= self._records.pop(key).cost
        self._disposable.pop(key, None)
        self._records_due.remove(key)

    def _append(self, key: StoreKey, value: bytes, keep: Keep, token: str | None, now: float) -> Position:
        if token is not None and len(token) > KEY_BYTES:
            raise StoreError("store_too_large", f"a token has at most {KEY_BYTES} characters, not {len(token)}")
        log = self._logs.get(key) or MemoryLog(next(self._epochs), _key_bytes(key), now)
        new = key not in self._logs
        self._empty_logs.pop(key, None)  # not dropped to make room for its own entry
        try:
            freed = log.surplus(value, keep)[1]
            self._make_room(log.charge(value, token) - freed + (log.cost if new else 0), now)
        except StoreError:
            if not new:
                self._settle(key, log)
            raise
        if new:
            self._logs[key] = log
            self.held += log.cost
        before = log.cost
        position = log.append(value, keep, token, now)
        self.held += log.cost - before
        self._settle(key, log)
        return position

    def _open(self, key: StoreKey, now: float) -> MemoryLog:
        """The log as it is now. One that is not there is begun, so that its first entries are not missed."""
        log = self._logs.get(key)
        if log is not None:
            self._expire_log(key, log, now)
            log = self._logs.get(key)
        if log is None:
            log = MemoryLog(next(self._epochs), _key_bytes(key), now)
            with contextlib.suppress(StoreError):  # whoever reads on then is told of a gap
                self._make_room(log.cost, now)
                self._logs[key] = log
                self.held += log.cost
                self._settle(key, log)
        return log

    def _expire_log(self, key: StoreKey, log: MemoryLog, now: float) -> None:
        before = log.cost
        log.expire(now)
        self.held += log.cost - before
        if log.idle(now):
            self._forget_log(key)
        else:
            self._settle(key, log)

    def _settle(self, key: StoreKey, log: MemoryLog) -> None:
        """Note what became of a log."""
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
        """Make room for so many bytes. Raises `StoreError` where that cannot be."""
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

    # The caller of this does not.

    def _forget(self, log: StoreKey, coming: asyncio.Future[None]) -> None:
        with self._lock:
            waiting = self._waiting.get(log)
            if waiting is not None:
                waiting.discard(coming)
                if not waiting:
                    del self._waiting[log]


class _Held:
    """A record."""

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


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    """Let those who wait for an entry look again, each on its own event loop."""
    here = asyncio.get_running_loop()
    for coming in waiting:
        loop = coming.get_loop()
        if loop is here:
            _settle(coming)
        else:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(_settle, coming)


def _settle(coming: asyncio.Future[None]) -> None:
    if not coming.done():
        coming.set_result(None)
