"""What every store guarantees, each promise by itself: subclass `StoreContract`. `sequences.py` is the other half."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from waypost.errors import StoreError
from waypost.stores.store import KEY_BYTES, REPEAT_WINDOW, Keep, Position, Store, StoreKey

A, B = StoreKey("once", "a"), StoreKey("once", "b")
FOREVER = 10_000.0
ALL = Keep()


@dataclass
class Opened:
    """A new store, and its clock."""

    store: Store
    advance: Callable[[float], Awaitable[None]]
    """Let so many seconds pass by the store's clock."""


Open = Callable[[], AbstractAsyncContextManager[Opened]]


def on_a_store(test: Callable[..., Awaitable[None]]) -> Callable[[Any], None]:
    """Runs a test on an event loop of its own, with a new store and `advance`."""

    def run(self: Any) -> None:
        async def main() -> None:
            async with asyncio.timeout(60), self.open() as opened:
                await test(self, opened.store, opened.advance)

        asyncio.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def values(batch: Any) -> list[bytes]:
    return [entry.value for entry in batch.entries]


async def settled() -> None:
    """Every task that can go on has done so."""
    for _ in range(20):
        await asyncio.sleep(0)


class StoreContract:
    open: Open
    """Opens a new, empty store with room for a few MiB."""

    # Records.

    @on_a_store
    async def test_a_record_is_absent_until_it_is_put(self, store, advance):
        assert await store.get(A) is None
        version = await store.put_if_absent(A, b"\x00\xff", ttl=FOREVER)
        assert version is not None
        record = await store.get(A)
        assert (record.value, record.version) == (b"\x00\xff", version)
        assert await store.get(B) is None

    @on_a_store
    async def test_a_record_is_put_once(self, store, advance):
        await store.put_if_absent(A, b"first", ttl=FOREVER)
        assert await store.put_if_absent(A, b"second", ttl=FOREVER) is None
        assert (await store.get(A)).value == b"first"

    @on_a_store
    async def test_names_and_namespaces_are_kept_apart(self, store, advance):
        keys = [StoreKey("a", "b:c"), StoreKey("a:b", "c"), StoreKey("a", "b/c"), StoreKey("A", "b:c")]
        keys += [
            StoreKey("x", name) for name in ("", " ", ".", "..", "*", ">", "a..b", "$x", "\x00", "\n", "ä", "a\u0308")
        ]
        for number, key in enumerate(keys):
            assert await store.put_if_absent(key, b"%d" % number, ttl=FOREVER) is not None
            await store.append(key, b"%d" % number, keep=ALL)
        for number, key in enumerate(keys):
            assert (await store.get(key)).value == b"%d" % number
            assert values(await store.read(key, None)) == [b"%d" % number]

    @on_a_store
    async def test_of_many_that_put_at_once_one_does(self, store, advance):
        versions = await asyncio.gather(*(store.put_if_absent(A, b"%d" % n, ttl=FOREVER) for n in range(64)))
        (winner,) = [number for number, version in enumerate(versions) if version is not None]
        record = await store.get(A)
        assert (record.value, record.version) == (b"%d" % winner, versions[winner])

    @on_a_store
    async def test_of_many_that_compare_one_version_one_sets(self, store, advance):
        version = await store.put_if_absent(A, b"", ttl=FOREVER)
        versions = await asyncio.gather(*(store.compare_and_set(A, version, b"%d" % n, ttl=FOREVER) for n in range(64)))
        (winner,) = [number for number, version in enumerate(versions) if version is not None]
        assert (await store.get(A)).value == b"%d" % winner

    @on_a_store
    async def test_a_stale_version_changes_nothing(self, store, advance):
        first = await store.put_if_absent(A, b"1", ttl=FOREVER)
        second = await store.compare_and_set(A, first, b"2", ttl=FOREVER)
        assert second not in (None, first)
        assert await store.compare_and_set(A, first, b"3", ttl=FOREVER) is None
        assert await store.expire(A, first, ttl=1) is None
        assert not await store.delete(A, first)
        await advance(5)
        assert (await store.get(A)).value == b"2"

    @on_a_store
    async def test_no_version_of_an_earlier_life_counts(self, store, advance):
        seen = []
        for _ in range(3):
            seen.append(await store.put_if_absent(A, b"same", ttl=FOREVER))
            seen.append(await store.compare_and_set(A, seen[-1], b"same", ttl=10))
            assert await store.delete(A, seen[-1])
            seen.append(await store.put_if_absent(A, b"same", ttl=10))
            await advance(11)
        assert None not in seen
        assert len(set(seen)) == len(seen)
        await store.put_if_absent(A, b"new", ttl=FOREVER)
        for version in seen:
            assert await store.compare_and_set(A, version, b"old", ttl=FOREVER) is None
        assert (await store.get(A)).value == b"new"

    @on_a_store
    async def test_a_record_lives_for_its_ttl(self, store, advance):
        version = await store.put_if_absent(A, b"v", ttl=10)
        await advance(9.5)
        assert (await store.get(A)).version == version
        assert await store.put_if_absent(A, b"other", ttl=10) is None
        await advance(1.5)
        assert await store.get(A) is None

    @on_a_store
    async def test_an_expired_record_is_absent_to_every_operation(self, store, advance):
        version = await store.put_if_absent(A, b"v", ttl=10)
        await advance(11)
        assert await store.compare_and_set(A, version, b"w", ttl=10) is None
        assert await store.expire(A, version, ttl=10) is None
        assert not await store.delete(A, version)
        assert not await store.delete(A)
        assert await store.put_if_absent(A, b"new", ttl=10) is not None
        assert (await store.get(A)).value == b"new"

    @on_a_store
    async def test_setting_a_record_sets_its_ttl(self, store, advance):
        version = await store.put_if_absent(A, b"v", ttl=10)
        await store.compare_and_set(A, version, b"w", ttl=100)
        version = await store.put_if_absent(B, b"v", ttl=100)
        await store.compare_and_set(B, version, b"w", ttl=10)
        await advance(11)
        assert (await store.get(A)).value == b"w"
        assert await store.get(B) is None

    @on_a_store
    async def test_a_lease_is_renewed_and_its_version_changes(self, store, advance):
        first = version = await store.put_if_absent(A, b"v", ttl=10)
        for _ in range(5):
            await advance(9)
            version = await store.expire(A, version, ttl=10)
            assert version is not None
        assert version != first
        record = await store.get(A)
        assert (record.value, record.version) == (b"v", version)
        await advance(11)
        assert await store.get(A) is None

    @on_a_store
    async def test_a_deleted_record_is_absent(self, store, advance):
        assert not await store.delete(A)
        await store.put_if_absent(A, b"v", ttl=FOREVER)
        await store.put_if_absent(B, b"v", ttl=FOREVER)
        assert await store.delete(A)
        assert await store.get(A) is None
        version = (await store.get(B)).version
        assert await store.delete(B, version)
        assert await store.put_if_absent(B, b"w", ttl=FOREVER) not in (None, version)

    @on_a_store
    async def test_a_key_that_is_too_long_is_refused(self, store, advance):
        longest = StoreKey("n", "ä" * ((KEY_BYTES - 1) // 2))
        assert await store.put_if_absent(longest, b"v", ttl=FOREVER) is not None
        for write in (
            store.put_if_absent(StoreKey("n", "x" * KEY_BYTES), b"v", ttl=FOREVER),
            store.append(StoreKey("n", "x" * KEY_BYTES), b"v", keep=ALL),
        ):
            with pytest.raises(StoreError) as caught:
                await write
            assert (caught.value.code, caught.value.status) == ("store_too_large", 413)

    @on_a_store
    async def test_a_ttl_that_is_not_positive_is_an_error(self, store, advance):
        version = await store.put_if_absent(A, b"v", ttl=FOREVER)
        for ttl in (0, -1.0, float("nan")):
            with pytest.raises(ValueError, match="ttl"):
                await store.put_if_absent(B, b"v", ttl=ttl)
            with pytest.raises(ValueError, match="ttl"):
                await store.compare_and_set(A, version, b"v", ttl=ttl)
        assert (await store.get(A)).version == version

    # Logs.

    @on_a_store
    async def test_entries_come_in_the_order_of_their_appends(self, store, advance):
        positions = [await store.append(A, b"%d" % number, keep=ALL) for number in range(10)]
        assert len({position.epoch for position in positions}) == 1
        sequences = [position.sequence for position in positions]
        assert sequences == sorted(set(sequences))
        batch = await store.read(A, None)
        assert values(batch) == [b"%d" % number for number in range(10)]
        assert [entry.position for entry in batch.entries] == positions
        assert (batch.end, batch.gap) == (positions[-1], False)

    @on_a_store
    async def test_all_readers_see_one_order_of_concurrent_appends(self, store, advance):
        await asyncio.gather(*(store.append(A, b"%d" % number, keep=ALL) for number in range(64)))
        first, second = await store.read(A, None), await store.read(A, None)
        assert first == second
        assert sorted(map(int, values(first))) == list(range(64))

    @on_a_store
    async def test_reading_goes_on_from_any_position(self, store, advance):
        positions = [await store.append(A, b"%d" % number, keep=ALL) for number in range(5)]
        for number, position in enumerate(positions):
            batch = await store.read(A, Position.parse(str(position)))
            assert values(batch) == [b"%d" % rest for rest in range(number + 1, 5)]
            assert (batch.end, batch.gap) == (positions[-1], False)

    @on_a_store
    async def test_a_batch_is_bounded(self, store, advance):
        for number in range(5):
            await store.append(A, b"%d" % number, keep=ALL)
        after, batches = None, []
        while (batch := await store.read(A, after, limit=2)).entries:
            batches.append(values(batch))
            after = batch.end
        assert batches == [[b"0", b"1"], [b"2", b"3"], [b"4"]]
        for _ in range(3):
            await store.append(B, bytes(600_000), keep=ALL)
        batch = await store.read(B, None)
        assert len(batch.entries) == 2
        assert len((await store.read(B, batch.end)).entries) == 1
        with pytest.raises(ValueError, match="limit"):
            await store.read(A, None, limit=0)

    @on_a_store
    async def test_a_log_keeps_so_many_messages(self, store, advance):
        start = await store.tail(A)
        for number in range(10):
            position = await store.append(A, b"%d" % number, keep=Keep(messages=3))
        batch = await store.read(A, start)
        assert (values(batch), batch.end, batch.gap) == ([b"7", b"8", b"9"], position, True)
        batch = await store.read(A, None)
        assert (values(batch), batch.gap) == ([b"7", b"8", b"9"], False)

    @on_a_store
    async def test_a_log_keeps_so_many_bytes_and_always_the_newest_entry(self, store, advance):
        for size in (4, 4, 4):
            await store.append(A, b"x" * size, keep=Keep(bytes=10))
        assert values(await store.read(A, None)) == [b"xxxx", b"xxxx"]
        await store.append(A, b"y" * 6, keep=Keep(bytes=10))
        assert values(await store.read(A, None)) == [b"xxxx", b"yyyyyy"]
        await store.append(A, b"z" * 11, keep=Keep(bytes=10))
        assert values(await store.read(A, None)) == [b"z" * 11]

    @on_a_store
    async def test_a_log_keeps_entries_for_their_age(self, store, advance):
        keep = Keep(age=10)
        await store.append(A, b"1", keep=keep)
        await advance(5)
        second = await store.append(A, b"2", keep=keep)
        await advance(4.5)
        assert values(await store.read(A, None)) == [b"1", b"2"]
        await advance(1.5)
        assert values(await store.read(A, None)) == [b"2"]
        await advance(5)
        batch = await store.read(A, None)
        assert (values(batch), batch.gap) == ([], False)
        # Its epoch goes on, and whoever has seen everything has missed nothing.
        third = await store.append(A, b"3", keep=keep)
        batch = await store.read(A, second)
        assert (values(batch), batch.end, batch.gap) == ([b"3"], third, False)

    @on_a_store
    async def test_the_latest_keep_is_in_force_for_the_whole_log(self, store, advance):
        for number in range(5):
            await store.append(A, b"%d" % number, keep=Keep(messages=5, age=10))
        await store.append(A, b"5", keep=Keep(age=100))
        await advance(50)
        assert len((await store.read(A, None)).entries) == 6
        await store.append(A, b"6", keep=Keep(messages=2))
        assert values(await store.read(A, None)) == [b"5", b"6"]

    @on_a_store
    async def test_a_log_is_forgotten_once_nobody_appends(self, store, advance):
        keep = Keep(idle=300)
        first = await store.append(A, b"1", keep=keep)
        await advance(299)
        await store.append(A, b"2", keep=keep)
        await advance(299)
        assert values(await store.read(A, None)) == [b"1", b"2"]
        await advance(2)
        assert values(await store.read(A, None)) == []
        batch = await store.read(A, first)
        assert (values(batch), batch.gap) == ([], True)

    @on_a_store
    async def test_a_reader_whose_next_entry_is_gone_is_told(self, store, advance):
        positions = [await store.append(A, b"%d" % number, keep=Keep(messages=2)) for number in range(4)]
        for position, gap in zip(positions, (True, False, False, False), strict=True):
            assert (await store.read(A, position)).gap == gap
        batch = await store.read(A, positions[0])
        assert not (await store.read(A, batch.end)).gap

    @on_a_store
    async def test_a_position_of_another_epoch_has_a_gap_and_goes_on_from_the_first(self, store, advance):
        await store.append(A, b"1", keep=ALL)
        batch = await store.read(A, Position("never", 7))
        assert (values(batch), batch.gap) == ([b"1"], True)
        assert not (await store.read(A, batch.end)).gap

    @on_a_store
    async def test_a_position_beyond_the_end_has_a_gap_and_goes_on_from_the_end(self, store, advance):
        end = await store.append(A, b"1", keep=ALL)
        batch = await store.read(A, Position(end.epoch, end.sequence + 5), wait=FOREVER)
        assert (values(batch), batch.end, batch.gap) == ([], end, True)

    @on_a_store
    async def test_a_dropped_log_begins_anew_with_another_epoch(self, store, advance):
        assert not await store.drop(A)
        old = await store.append(A, b"1", keep=ALL)
        await store.append(B, b"other", keep=ALL)
        assert await store.drop(A)
        assert values(await store.read(A, None)) == []
        new = await store.append(A, b"2", keep=ALL)
        assert new.epoch != old.epoch
        batch = await store.read(A, old)
        assert (values(batch), batch.gap) == ([b"2"], True)
        assert values(await store.read(B, None)) == [b"other"]

    @on_a_store
    async def test_the_tail_of_a_log_is_where_new_entries_come(self, store, advance):
        empty = await store.tail(A)
        await store.append(A, b"1", keep=ALL)
        batch = await store.read(A, empty)
        assert (values(batch), batch.gap) == ([b"1"], False)
        assert await store.tail(A) == batch.end
        await store.append(A, b"2", keep=ALL)
        assert values(await store.read(A, batch.end)) == [b"2"]

    @on_a_store
    async def test_where_an_empty_log_was_read_to_its_first_entry_follows(self, store, advance):
        batch = await store.read(A, None)
        assert (values(batch), batch.gap) == ([], False)
        await store.append(A, b"1", keep=ALL)
        batch = await store.read(A, batch.end)
        assert (values(batch), batch.gap) == ([b"1"], False)

    @on_a_store
    async def test_a_repeated_append_adds_nothing(self, store, advance):
        keep = Keep(messages=1)
        first = await store.append(A, b"1", keep=keep, token="t")
        second = await store.append(A, b"2", keep=keep, token="u")
        assert await store.append(A, b"anything", keep=keep, token="t") == first
        assert await store.append(A, b"2", keep=keep, token="u") == second
        assert values(await store.read(A, None)) == [b"2"]
        # The token is the log's own.
        await store.append(B, b"3", keep=keep, token="t")
        assert values(await store.read(B, None)) == [b"3"]

    @on_a_store
    async def test_a_token_is_known_for_its_window_even_in_a_log_that_is_idle(self, store, advance):
        keep = Keep(idle=10)
        first = await store.append(A, b"1", keep=keep, token="t")
        await advance(REPEAT_WINDOW - 1)
        assert await store.append(A, b"1", keep=keep, token="t") == first
        assert values(await store.read(A, None)) == []
        await advance(2)
        assert await store.append(A, b"1", keep=keep, token="t") != first
        assert values(await store.read(A, None)) == [b"1"]

    @on_a_store
    async def test_of_many_repeats_at_once_one_is_added(self, store, advance):
        positions = await asyncio.gather(*(store.append(A, b"1", keep=ALL, token="t") for _ in range(32)))
        assert len(set(positions)) == 1
        assert values(await store.read(A, None)) == [b"1"]

    # Waiting.

    @on_a_store
    async def test_a_reader_waits_for_the_next_entry(self, store, advance):
        await store.append(A, b"1", keep=ALL)
        end = await store.tail(A)
        readers = [asyncio.ensure_future(store.read(A, end, wait=FOREVER)) for _ in range(3)]
        other = asyncio.ensure_future(store.read(B, None, wait=FOREVER))
        await settled()
        await store.append(A, b"2", keep=ALL)
        for batch in await asyncio.gather(*readers):
            assert (values(batch), batch.gap) == ([b"2"], False)
        assert not other.done()
        await store.append(B, b"3", keep=ALL)
        assert values(await other) == [b"3"]

    @on_a_store
    async def test_a_wait_ends_without_an_entry(self, store, advance):
        batch = await store.read(A, None, wait=0.01)
        assert (values(batch), batch.gap) == ([], False)

    @on_a_store
    async def test_what_is_there_is_given_without_waiting(self, store, advance):
        await store.append(A, b"1", keep=ALL)
        assert values(await store.read(A, None, wait=FOREVER)) == [b"1"]

    @on_a_store
    async def test_a_reader_that_leaves_disturbs_no_other(self, store, advance):
        leaves = asyncio.ensure_future(store.read(A, None, wait=FOREVER))
        stays = asyncio.ensure_future(store.read(A, None, wait=FOREVER))
        await settled()
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        await store.append(A, b"1", keep=ALL)
        assert values(await stays) == [b"1"]

    # Its end.

    @on_a_store
    async def test_a_closed_store_is_unavailable(self, store, advance):
        await store.put_if_absent(A, b"v", ttl=FOREVER)
        waits = asyncio.ensure_future(store.read(A, None, wait=FOREVER))
        await settled()
        await store.close()
        for operation in (
            waits,
            store.get(A),
            store.put_if_absent(B, b"v", ttl=FOREVER),
            store.delete(A),
            store.append(A, b"v", keep=ALL),
            store.read(A, None),
            store.tail(A),
            store.drop(A),
        ):
            with pytest.raises(StoreError) as caught:
                await operation
            assert (caught.value.code, caught.value.status) == ("store_unavailable", 503)
        await store.close()
