"""The store in memory: the contract of all stores, and its own bounds, threads and event loops."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waypost.errors import StoreError
from waypost.stores.expiry import ExpiryQueue
from waypost.stores.memory import SWEEP, MemoryStore
from waypost.stores.store import Keep, Position, StoreKey

from .contract import ALL, FOREVER, A, B, Opened, StoreContract, settled, values
from .sequences import sequences


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def open_memory() -> AsyncIterator[Opened]:
    clock = Clock()

    async def advance(seconds: float) -> None:
        clock.now += seconds

    store = MemoryStore(limit=4 << 20, clock=clock)
    yield Opened(store, advance)
    await store.close()
    assert store.held == 0


class TestContract(StoreContract):
    open = staticmethod(open_memory)


TestSequences = sequences(open_memory).TestCase
TestSequences.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def keys(count: int, namespace: str = "n") -> list[StoreKey]:
    return [StoreKey(namespace, f"{number:06}") for number in range(count)]


async def fill(store: MemoryStore, namespace: str = "fill", **how: object) -> list[StoreKey]:
    """Put records until there is no room; gives their keys."""
    there = []

    async def put_all() -> None:
        for key in keys(1 << 16, namespace):
            await store.put_if_absent(key, bytes(1000), **{"ttl": FOREVER, **how})
            there.append(key)

    with pytest.raises(StoreError, match="no room"):
        await put_all()
    return there


# Bounds.


def test_a_full_store_refuses_writes_and_keeps_what_it_has():
    async def main():
        store = MemoryStore(limit=100_000, clock=Clock())
        await store.append(A, b"entry", keep=ALL)
        there = await fill(store)
        held = store.held
        with pytest.raises(StoreError, match="no room") as caught:
            await store.append(A, bytes(2000), keep=ALL)
        assert (caught.value.code, caught.value.status) == ("store_full", 503)
        record = await store.get(there[0])
        with pytest.raises(StoreError, match="no room"):
            await store.compare_and_set(there[0], record.version, bytes(5000), ttl=FOREVER)
        assert store.held == held <= 100_000
        for key in there:
            assert (await store.get(key)).value == bytes(1000)
        assert (await store.get(there[0])).version == record.version
        assert values(await store.read(A, None)) == [b"entry"]
        # A lease can be renewed all the same, and what is no larger than what it replaces fits.
        version = await store.expire(there[0], record.version, ttl=FOREVER)
        assert await store.compare_and_set(there[0], version, bytes(1000), ttl=FOREVER) is not None
        assert await store.delete(there[1])
        assert await store.put_if_absent(B, bytes(900), ttl=FOREVER) is not None

    asyncio.run(main())


def test_what_can_never_fit_is_too_large():
    async def main():
        store = MemoryStore(limit=10_000)
        await store.put_if_absent(A, b"v", ttl=FOREVER, disposable=True)
        for write in (
            store.put_if_absent(B, bytes(10_000), ttl=FOREVER),
            store.append(B, bytes(10_000), keep=ALL),
            store.append(B, b"", keep=ALL, token="t" * 2000),
        ):
            with pytest.raises(StoreError) as caught:
                await write
            assert caught.value.code == "store_too_large"
        assert await store.get(A) is not None

    asyncio.run(main())


def test_expired_records_and_entries_make_room():
    async def main():
        clock = Clock()
        store = MemoryStore(limit=1_000_000, clock=clock)
        await fill(store, ttl=10)
        clock.now += 10
        assert await store.put_if_absent(B, bytes(900_000), ttl=FOREVER) is not None
        await store.delete(B)
        for number in range(100):
            await store.append(StoreKey("log", str(number)), bytes(8000), keep=Keep(age=10))
        with pytest.raises(StoreError):
            await store.put_if_absent(B, bytes(800_000), ttl=FOREVER)
        clock.now += 10
        assert await store.put_if_absent(B, bytes(800_000), ttl=FOREVER) is not None

    asyncio.run(main())


def test_disposable_records_make_room_least_recently_used_first():
    async def main():
        store = MemoryStore(limit=100_000, clock=Clock())
        await store.put_if_absent(A, b"stays", ttl=FOREVER)
        cached = keys(200, "cache")
        for number, key in enumerate(cached):
            assert await store.put_if_absent(key, bytes(1000), ttl=FOREVER, disposable=True) is not None
            if number >= 2:
                assert await store.get(cached[0]) is not None  # in use all the time
        there = [key for key in cached if await store.get(key) is not None]
        assert there == [cached[0], *cached[-len(there) + 1 :]]
        assert 10 < len(there) < 100
        # Nothing that is to stay goes for a record that may go.
        kept = await fill(store)
        assert [key for key in cached if await store.get(key) is not None] == []
        with pytest.raises(StoreError):
            await store.put_if_absent(B, bytes(1000), ttl=FOREVER, disposable=True)
        assert (await store.get(A)).value == b"stays"
        assert len(kept) > 10

    asyncio.run(main())


def test_a_disposable_record_that_is_replaced_does_not_make_room_for_itself():
    async def main():
        store = MemoryStore(limit=5_000, clock=Clock())
        await store.put_if_absent(B, bytes(1000), ttl=FOREVER)
        version = await store.put_if_absent(A, b"v", ttl=FOREVER, disposable=True)
        with pytest.raises(StoreError):
            await store.compare_and_set(A, version, bytes(4000), ttl=FOREVER, disposable=True)
        assert (await store.get(A)).version == version
        version = await store.compare_and_set(A, version, bytes(2000), ttl=FOREVER)
        assert (await store.get(A)).value == bytes(2000)
        # It is to stay now.
        with pytest.raises(StoreError):
            await store.put_if_absent(StoreKey("x", "x"), bytes(1000), ttl=FOREVER)

    asyncio.run(main())


def test_empty_logs_make_room_and_their_readers_are_told():
    async def main():
        store = MemoryStore(limit=100_000, clock=Clock())
        positions = {key: await store.tail(key) for key in keys(1000, "asked")}
        assert store.held <= 100_000
        reader = asyncio.ensure_future(store.read(A, None, wait=FOREVER))
        await settled()
        filled = await fill(store)
        await store.delete(filled[0])
        await store.delete(filled[1])
        await store.append(A, b"1", keep=ALL)
        batch = await reader
        assert (values(batch), batch.gap) == ([b"1"], True)
        oldest = next(iter(positions))
        await store.append(A, b"2", keep=ALL)
        assert (await store.read(oldest, positions[oldest])).gap
        assert isinstance(await store.tail(oldest), Position)

    asyncio.run(main())


def test_an_entry_takes_the_room_of_those_that_give_way_to_it():
    async def main():
        store = MemoryStore(limit=100_000, clock=Clock())
        await store.append(A, bytes(1000), keep=Keep(messages=1))
        await fill(store)
        for number in range(50):
            await store.append(A, b"%01000d" % number, keep=Keep(messages=1))
        assert values(await store.read(A, None)) == [b"%01000d" % 49]

    asyncio.run(main())


def test_what_is_charged_covers_what_python_takes():
    async def main():
        for write in (record, renewed, entry, short_log, token):
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            store = MemoryStore(limit=1 << 30)
            for number in range(3000):
                await write(store, number)
            taken = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            assert taken <= store.held, write.__name__
            assert store.held <= 4 * taken, write.__name__

    async def record(store, number):
        await store.put_if_absent(StoreKey("n", f"{number:06}"), b"%d" % number, ttl=FOREVER, disposable=True)

    async def renewed(store, number):
        key = StoreKey("n", f"{number // 2:06}")
        held = await store.get(key)
        if held is None:
            await store.put_if_absent(key, b"%d" % number, ttl=FOREVER)
        else:
            await store.expire(key, held.version, ttl=FOREVER + number)

    async def entry(store, number):
        await store.append(A, b"%d" % number, keep=ALL)

    async def short_log(store, number):
        await store.append(StoreKey("n", f"{number:06}"), b"%d" % number, keep=Keep(age=FOREVER))

    async def token(store, number):
        await store.append(A, b"%d" % number, keep=Keep(messages=1), token=f"{number:06}")

    asyncio.run(main())


@given(
    st.lists(
        st.tuples(st.sampled_from("pdaer"), st.integers(0, 9), st.integers(0, 3000), st.booleans(), st.integers(0, 40)),
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_the_bound_holds_and_nothing_goes_that_was_to_stay(operations):
    async def main():
        clock = Clock()
        store = MemoryStore(limit=20_000, clock=clock)
        stays: dict[StoreKey, float] = {}
        for what, name, size, disposable, seconds in operations:
            key = StoreKey("n", str(name))
            clock.now += seconds / 4
            try:
                if what == "p":
                    if await store.put_if_absent(key, bytes(size), ttl=10, disposable=disposable) is not None:
                        stays[key] = 0 if disposable else clock.now + 10
                elif what == "e":
                    found = await store.get(key)
                    if found and await store.compare_and_set(key, found.version, bytes(size), ttl=20):
                        stays[key] = clock.now + 20
                elif what == "d":
                    await store.delete(key)
                    stays.pop(key, None)
                elif what == "a":
                    await store.append(key, bytes(size), keep=Keep(messages=3, age=10), token=str(seconds))
                else:
                    await store.read(key, None)
            except StoreError as error:
                assert error.code == "store_full"  # noqa: PT017 - it may come or not
            assert 0 <= store.held <= 20_000
            for each, until in stays.items():
                if until > clock.now:
                    assert await store.get(each) is not None

    asyncio.run(main())


def test_a_write_clears_up_a_bounded_number_of_what_is_over():
    async def main():
        clock = Clock()
        store = MemoryStore(clock=clock)
        for key in keys(10 * SWEEP):
            await store.put_if_absent(key, b"", ttl=10)
        held = store.held
        clock.now += 10
        await store.put_if_absent(A, b"", ttl=10)
        assert held * 0.85 < store.held < held * 0.95
        for _ in range(10):
            await store.append(B, b"", keep=Keep(messages=1))
        assert store.held < held * 0.01

    asyncio.run(main())


def test_logs_to_which_nobody_appends_are_cleared_up_by_other_writes():
    async def main():
        clock = Clock()
        store = MemoryStore(clock=clock)
        for number, key in enumerate(keys(SWEEP // 2)):
            await store.append(key, b"", keep=Keep(idle=10), token="t" if number % 2 else None)
        clock.now += 200
        await store.append(A, b"", keep=ALL)
        alone = MemoryStore(clock=clock)
        await alone.append(A, b"", keep=ALL)
        assert store.held == alone.held

    asyncio.run(main())


def test_an_empty_log_does_not_make_room_for_its_own_entry():
    async def main():
        store = MemoryStore(limit=10_000, clock=Clock())
        tail = await store.tail(A)
        filled = await fill(store)
        assert len(filled) >= 3
        # It has to go for the last record; with one record less it and an entry just fit.
        await store.delete(filled[0])
        tail = await store.tail(A)
        room = 10_000 - store.held
        with pytest.raises(StoreError, match="no room"):
            await store.append(A, bytes(room), keep=ALL)
        assert await store.tail(A) == tail
        await store.append(A, bytes(room - 200), keep=ALL)
        batch = await store.read(A, tail)
        assert (values(batch), batch.gap) == ([bytes(room - 200)], False)

    asyncio.run(main())


def test_an_empty_log_whose_entry_was_refused_still_makes_room():
    async def main():
        store = MemoryStore(limit=10_000, clock=Clock())
        await store.tail(A)
        await store.put_if_absent(B, bytes(5000), ttl=FOREVER)
        room = 10_000 - store.held
        with pytest.raises(StoreError, match="no room"):
            await store.append(A, bytes(room), keep=ALL)
        assert await store.put_if_absent(StoreKey("n", "n"), bytes(room), ttl=FOREVER) is not None

    asyncio.run(main())


def test_readers_that_leave_or_wait_in_vain_leave_nothing_behind():
    async def main():
        store = MemoryStore()
        leaves = asyncio.ensure_future(store.read(A, None, wait=FOREVER))
        await store.read(A, None, wait=0.01)
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        assert store._waiters == {}

    asyncio.run(main())


@given(st.lists(st.tuples(st.sampled_from("srp"), st.integers(0, 5), st.integers(0, 50)), max_size=200))
def test_things_are_over_in_the_order_of_their_latest_times(operations):
    queue: ExpiryQueue[tuple[str]] = ExpiryQueue()
    model: dict[tuple[str], float] = {}
    for what, number, time in operations:
        thing = (str(number),)
        if what == "s":
            queue.set(thing, time or float("inf"))
            model[thing] = time or float("inf")
        elif what == "r":
            queue.remove(thing)
            model.pop(thing, None)
        else:
            popped = queue.pop(time)
            if popped is None:
                assert all(at > time for at in model.values())
            else:
                at = model.pop(popped)
                assert at <= time
                assert all(at <= other for other in model.values())
    assert len(queue) <= 2 * len(model) + 65


def test_a_time_that_moves_for_ever_takes_no_more_memory():
    queue: ExpiryQueue[tuple[str]] = ExpiryQueue()
    for time in range(10_000):
        queue.set(("lease",), float(time))
    assert len(queue) < 100
    assert queue.pop(9998) is None
    assert queue.pop(9999) == ("lease",)


# Event loops and threads.


def test_a_reader_of_another_event_loop_is_woken():
    store = MemoryStore()
    waits = threading.Event()
    found = []

    async def read():
        loop = asyncio.get_running_loop()
        task = loop.create_task(store.read(A, None, wait=20))
        await settled()
        waits.set()
        found.extend(values(await task))

    thread = threading.Thread(target=lambda: asyncio.run(read()))
    thread.start()
    assert waits.wait(20)
    asyncio.run(store.append(A, b"1", keep=ALL))
    thread.join(20)
    assert found == [b"1"]


def test_an_event_loop_that_closed_while_it_waited_disturbs_nobody():
    store = MemoryStore()
    loop = asyncio.new_event_loop()
    coroutine = store.read(A, None, wait=FOREVER)
    task = loop.create_task(coroutine)
    loop.run_until_complete(settled())
    loop.close()
    task._log_destroy_pending = False
    asyncio.run(store.append(A, b"1", keep=ALL))
    assert values(asyncio.run(store.read(A, None))) == [b"1"]


def test_threads_share_one_order():
    store = MemoryStore()

    async def work(name: bytes) -> None:
        for number in range(300):
            await store.append(A, b"%s %d" % (name, number), keep=ALL)
            while True:
                held = await store.get(B)
                if held is None:
                    done = await store.put_if_absent(B, b"1", ttl=FOREVER)
                else:
                    done = await store.compare_and_set(B, held.version, b"%d" % (int(held.value) + 1), ttl=FOREVER)
                if done is not None:
                    break

    threads = [threading.Thread(target=lambda name=name: asyncio.run(work(name))) for name in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert asyncio.run(store.get(B)).value == b"1200"
    entries = values(asyncio.run(store.read(A, None, limit=5000)))
    assert len(entries) == 1200
    for name in (b"a", b"b", b"c", b"d"):
        assert [entry for entry in entries if entry.startswith(name)] == [b"%s %d" % (name, n) for n in range(300)]


# Positions.


@pytest.mark.parametrize(
    "text", ["", "0", "a", ":", "a:", ":1", "a:-1", "a:1 ", "a:1\n", "a b:1", "ä:1", "a:\uff11", "a:b:1"]
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="EPOCH:SEQUENCE"):
        Position.parse(text)
    assert Position.parse("4f-1:17") == Position("4f-1", 17)


def test_long_positions_are_refused():
    for text in ("e" * 65 + ":1", "e:" + "1" * 20, "e" * 100_000):
        with pytest.raises(ValueError, match="EPOCH:SEQUENCE"):
            Position.parse(text)


@pytest.mark.parametrize("bound", ["messages", "bytes", "age", "idle"])
def test_a_bound_of_nothing_is_an_error(bound):
    with pytest.raises(ValueError, match=bound):
        Keep(**{bound: 0})
