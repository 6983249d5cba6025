"""Random operations on a store, compared with a plain dict and a plain list: part of the contract of every store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from waypost.stores.store import REPEAT_WINDOW, Keep, Position, StoreKey

from .contract import ALL, A, B, Open

KEYS = st.sampled_from([A, B, StoreKey("cache", "a")])
VALUES = st.binary(max_size=8)
TTLS = st.sampled_from([5.0, 50.0, 500.0])
TOKENS = st.sampled_from([None, None, "t", "u"])
KEEPS = st.builds(
    Keep,
    messages=st.sampled_from([None, 1, 3]),
    bytes=st.sampled_from([None, 1, 12]),
    age=st.sampled_from([None, 7.0, 70.0]),
)


@dataclass
class ModelLog:
    """Everything that was ever appended, and which of it is still there."""

    keep: Keep = ALL
    entries: list[tuple[Position, bytes, float]] = field(default_factory=list)
    kept: list[tuple[Position, bytes, float]] = field(default_factory=list)
    tokens: dict[str, tuple[Position, float]] = field(default_factory=dict)

    def trim(self, now: float) -> None:
        keep, kept = self.keep, self.kept
        if keep.age is not None:
            kept[:] = [entry for entry in kept if entry[2] + keep.age > now]
        while len(kept) > 1 and (
            (keep.messages is not None and len(kept) > keep.messages)
            or (keep.bytes is not None and sum(len(entry[1]) for entry in kept) > keep.bytes)
        ):
            del kept[0]


def sequences(open_store: Open) -> type[RuleBasedStateMachine]:
    """Random operations; after each, everything that can be read is what the model has.

    Time moves by whole seconds and an odd fraction, so that nothing is due within the second that expiry may be late.
    """

    class Sequences(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.now = 0.0
            self.records: dict[StoreKey, tuple[bytes, Any, float]] = {}
            self.versions: list[Any] = []
            self.logs: dict[StoreKey, ModelLog] = {}
            self.readers: dict[StoreKey, Position | None] = {}

        @initialize()
        def begin(self) -> None:
            self.manager = open_store()
            self.opened = self.runner.run(self.manager.__aenter__())

        def teardown(self) -> None:
            if hasattr(self, "opened"):
                self.runner.run(self.manager.__aexit__(None, None, None))
            self.runner.close()

        def do(self, operation: Awaitable[Any]) -> Any:
            async def main() -> Any:
                return await operation

            return self.runner.run(main())

        def live(self, key: StoreKey) -> tuple[bytes, Any, float] | None:
            found = self.records.get(key)
            return None if found is None or found[2] <= self.now else found

        def wrote(self, key: StoreKey, value: bytes, version: Any, ttl: float) -> None:
            assert version is not None
            assert version not in self.versions
            self.versions.append(version)
            self.records[key] = (value, version, self.now + ttl)

        @rule(seconds=st.sampled_from([2, 11, 61, 211]))
        def time_passes(self, seconds: int) -> None:
            self.now += seconds
            self.do(self.opened.advance(seconds))

        @rule(key=KEYS, value=VALUES, ttl=TTLS)
        def put(self, key: StoreKey, value: bytes, ttl: float) -> None:
            version = self.do(self.opened.store.put_if_absent(key, value, ttl=ttl))
            if self.live(key) is None:
                self.wrote(key, value, version, ttl)
            else:
                assert version is None

        @rule(key=KEYS, value=VALUES, ttl=TTLS, data=st.data())
        def compare_and_set(self, key: StoreKey, value: bytes, ttl: float, data: st.DataObject) -> None:
            version, current = self.some_version(key, data)
            new = self.do(self.opened.store.compare_and_set(key, version, value, ttl=ttl))
            if current:
                self.wrote(key, value, new, ttl)
            else:
                assert new is None

        @rule(key=KEYS, ttl=TTLS, data=st.data())
        def expire(self, key: StoreKey, ttl: float, data: st.DataObject) -> None:
            version, current = self.some_version(key, data)
            new = self.do(self.opened.store.expire(key, version, ttl=ttl))
            if current:
                self.wrote(key, self.records[key][0], new, ttl)
            else:
                assert new is None

        @rule(key=KEYS, anyhow=st.booleans(), data=st.data())
        def delete(self, key: StoreKey, anyhow: bool, data: st.DataObject) -> None:
            version, current = self.some_version(key, data)
            wanted = self.live(key) is not None if anyhow else current
            assert self.do(self.opened.store.delete(key, None if anyhow else version)) == wanted
            if wanted:
                del self.records[key]

        def some_version(self, key: StoreKey, data: st.DataObject) -> tuple[Any, bool]:
            """A version to compare with, and whether it is the record's."""
            live = self.live(key)
            if live is not None and data.draw(st.booleans()):
                return live[1], True
            version = data.draw(st.sampled_from([*self.versions, object()]))
            return version, live is not None and version == live[1]

        @rule(log=KEYS, value=VALUES, keep=KEEPS, token=TOKENS)
        def append(self, log: StoreKey, value: bytes, keep: Keep, token: str | None) -> None:
            model = self.logs.setdefault(log, ModelLog())
            model.trim(self.now)
            position = self.do(self.opened.store.append(log, value, keep=keep, token=token))
            known = model.tokens.get(token or "")
            if known is not None and known[1] + REPEAT_WINDOW > self.now:
                assert position == known[0]
                return
            if model.entries:
                assert position.epoch == model.entries[-1][0].epoch
                assert position.sequence > model.entries[-1][0].sequence
            entry = (position, value, self.now)
            model.entries.append(entry)
            model.kept.append(entry)
            model.keep = keep
            if token is not None:
                model.tokens[token] = (position, self.now)

        @rule(log=KEYS)
        def drop(self, log: StoreKey) -> None:
            self.do(self.opened.store.drop(log))
            self.logs.pop(log, None)
            self.readers.pop(log, None)

        @rule(log=KEYS, limit=st.integers(1, 3))
        def read_on(self, log: StoreKey, limit: int) -> None:
            """A reader gets each entry once, in order, and is told exactly where it missed some."""
            model = self.logs.setdefault(log, ModelLog())
            model.trim(self.now)
            after = self.readers.get(log)
            batch = self.do(self.opened.store.read(log, after, limit=limit))
            unseen = [entry for entry in model.entries if after is None or entry[0].sequence > after.sequence]
            kept = [entry for entry in unseen if entry in model.kept]
            assert [(entry.position, entry.value) for entry in batch.entries] == [entry[:2] for entry in kept[:limit]]
            assert batch.gap == (after is not None and len(kept) < len(unseen))
            self.readers[log] = batch.end

        @rule(log=KEYS)
        def go_to_the_tail(self, log: StoreKey) -> None:
            model = self.logs.setdefault(log, ModelLog())
            self.readers[log] = tail = self.do(self.opened.store.tail(log))
            if model.entries:
                assert tail.epoch == model.entries[-1][0].epoch
                assert tail.sequence >= model.entries[-1][0].sequence

        @invariant()
        def records_are_those_of_the_model(self) -> None:
            for key in self.records if hasattr(self, "opened") else ():
                record, live = self.do(self.opened.store.get(key)), self.live(key)
                assert (None if record is None else (record.value, record.version)) == (live and live[:2])

        @invariant()
        def logs_are_those_of_the_model(self) -> None:
            for key, model in self.logs.items():
                model.trim(self.now)
                batch = self.do(self.opened.store.read(key, None))
                assert [(entry.position, entry.value) for entry in batch.entries] == [entry[:2] for entry in model.kept]
                assert not batch.gap

    return Sequences
