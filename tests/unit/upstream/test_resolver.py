"""Addresses of names, on a clock that the test moves and with scripted answers.

`socket.getaddrinfo` is a fake here: names with several addresses that change are not to be had without a DNS server of
one's own. Everything else is the real thing; `test_addresses.py` connects to what it gives.
"""

import asyncio
import logging
import socket
import subprocess
import sys

import pytest
from waypost.loop.wheel import Wheel
from waypost.upstream import resolver as module
from waypost.upstream.resolver import MAX_LOOKUPS, Resolver, has_addresses, is_address

NONE = socket.gaierror(socket.EAI_NONAME, "no such name")


class World:
    """A resolver whose lookups run when the test says so."""

    def __init__(self, clock, monkeypatch):
        self.clock = clock
        self.lookups = []
        self.asked = []
        self.script = {}
        self.resolver = Resolver(self.clock, Wheel(self.clock), self.lookups.append)
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host, port, **asked_for):
        self.asked.append(host)
        answer = self.script[host]
        if isinstance(answer, Exception):
            raise answer
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(families[":" in ip], asked_for["type"], 6, "", (ip, 0)) for ip in answer]

    def start(self, host="a.test"):
        """Begin to want a name."""
        return asyncio.ensure_future(self.resolver.resolve(host))

    def run(self):
        """Run the lookups that were begun."""
        lookups, self.lookups[:] = list(self.lookups), []
        for lookup in lookups:
            lookup()

    async def ips(self, host="a.test"):
        """What somebody who wants it now is given."""
        task = self.start(host)
        await asyncio.sleep(0)
        self.run()
        return [address.ip for address in await task]

    def at_once(self, host="a.test"):
        """The addresses, without any waiting."""
        coroutine = self.resolver.resolve(host)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        coroutine.close()
        raise AssertionError("it waits")

    def later(self, seconds):
        """Time passes, second by second; lookups are answered as they come."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.advance(min(until, self.clock.now + 1))
            self.run()


@pytest.fixture
def world(clock, monkeypatch):
    return World(clock, monkeypatch)


def run(body):
    asyncio.run(body())


def test_who_wants_a_name_at_the_same_time_shares_one_lookup(world):
    async def body():
        world.script["a.test"] = ["10.0.0.1"]
        tasks = [world.start() for _ in range(5)]
        await asyncio.sleep(0)
        assert len(world.lookups) == 1
        world.run()
        assert [[address.ip for address in found] for found in await asyncio.gather(*tasks)] == [["10.0.0.1"]] * 5

    run(body)


def test_who_gives_up_waiting_takes_nothing_from_the_others(world):
    async def body():
        world.script["a.test"] = ["10.0.0.1"]
        one, other = world.start(), world.start()
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.sleep(0)
        world.run()
        assert one.cancelled()
        assert [address.ip for address in await other] == ["10.0.0.1"]

    run(body)


def test_nobody_waits_while_there_is_an_answer_however_slow_the_next_one_is(world):
    async def body():
        world.script["a.test"] = ["10.0.0.1"]
        await world.ips()
        world.clock.advance(world.clock.now + module.REFRESH + 1)
        assert len(world.lookups) == 1  # begun, and not answered
        assert [address.ip for address in world.at_once()] == ["10.0.0.1"]
        world.script["a.test"] = ["10.0.0.2"]
        world.run()
        assert [address.ip for address in world.at_once()] == ["10.0.0.2"]

    run(body)


def test_a_name_is_looked_up_again_while_it_is_used_and_forgotten_afterwards(world):
    async def body():
        world.script["a.test"] = ["10.0.0.1"]
        await world.ips()
        world.later(module.KEEP + 2 * module.REFRESH)
        lookups = len(world.asked)
        assert 6 <= lookups <= 7  # every 10 s for 60 s
        world.later(10 * module.KEEP)
        assert len(world.asked) == lookups
        assert len(world.resolver) == 0
        assert world.clock.armed == 0  # nothing is left to wake up for

    run(body)


def test_an_open_connection_keeps_its_name_in_use(world):
    async def body():
        world.script["a.test"] = ["10.0.0.1"]
        await world.ips()
        (address,) = world.at_once()
        address.opened()
        world.later(600)
        assert len(world.asked) == 61
        address.closed()
        world.later(module.KEEP + module.REFRESH)
        assert len(world.resolver) == 0

    run(body)


def test_all_addresses_come_first_by_turns_and_families_alternate(world):
    async def body():
        world.script["a.test"] = ["2001:db8::1", "2001:db8::2", "10.0.0.1", "10.0.0.2"]
        orders = [await world.ips() for _ in range(8)]
        assert {order[0] for order in orders} == set(world.script["a.test"])
        for order in orders:
            assert sorted(order) == sorted(world.script["a.test"])
            assert [":" in ip for ip in order] in ([True, False] * 2, [False, True] * 2)
        assert [order[0] for order in orders[:4]] == [order[0] for order in orders[4:]]
        assert len(world.asked) == 1

    run(body)


def test_an_address_that_failed_is_tried_last_for_a_while(world):
    async def body():
        world.script["a.test"] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        await world.ips()
        bad = next(address for address in world.at_once() if address.ip == "10.0.0.2")
        bad.failed(world.clock.now)
        orders = [[address.ip for address in world.at_once()] for _ in range(4)]
        assert [order[2] for order in orders] == ["10.0.0.2"] * 4
        assert sorted(order[0] for order in orders) == ["10.0.0.1"] * 2 + ["10.0.0.3"] * 2
        world.later(module.REFRESH + 1)
        assert world.at_once()[2] is bad  # an answer that still has it changes nothing
        world.later(module.AVOID)
        assert bad.ip in {world.at_once()[0].ip for _ in range(3)}

    run(body)


def test_of_addresses_that_all_failed_the_one_that_failed_first_comes_first(world):
    async def body():
        world.script["a.test"] = ["10.0.0.1", "10.0.0.2"]
        await world.ips()
        one, other = sorted(world.at_once(), key=lambda address: address.ip)
        other.failed(world.clock.now)
        one.failed(world.clock.now + 1)
        assert world.at_once() == [other, one]

    run(body)


def test_a_failing_resolver_leaves_the_last_answer_for_a_bounded_time_and_says_so_once(world, caplog):
    async def body():
        world.script["a.test"] = ["10.0.0.1"]
        await world.ips()
        world.script["a.test"] = NONE
        while world.clock.now < 100 + module.STALE - 2:
            world.later(1)
            assert [address.ip for address in world.at_once()] == ["10.0.0.1"]
        assert len(world.asked) > 20
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert "a.test cannot be resolved" in record.getMessage()
        assert "300 s" in record.getMessage()
        world.later(module.REFRESH + 2)
        with pytest.raises(socket.gaierror, match="no such name"):
            await world.ips()
        assert len(caplog.records) == 1

    run(body)


def test_a_name_that_comes_back_is_used_at_once_and_may_fail_again(world, caplog):
    async def body():
        world.script["a.test"] = ["10.0.0.1"]
        await world.ips()
        for _ in range(2):
            world.script["a.test"] = NONE
            world.later(2 * module.REFRESH)
            world.at_once()
            world.script["a.test"] = ["10.0.0.2"]
            world.later(2 * module.REFRESH)
            assert [address.ip for address in world.at_once()] == ["10.0.0.2"]
        assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO] * 2

    caplog.set_level(logging.INFO, "waypost")
    run(body)


def test_a_name_that_was_never_resolved_is_asked_for_once_a_second_at_most(world):
    async def body():
        world.script["a.test"] = NONE
        for _ in range(3):
            with pytest.raises(socket.gaierror, match="no such name"):
                await world.ips()
        assert len(world.asked) == 1
        world.clock.advance(world.clock.now + module.RETRY)
        world.script["a.test"] = ["10.0.0.1"]
        assert await world.ips() == ["10.0.0.1"]

    run(body)


def test_an_answer_without_addresses_and_a_name_that_cannot_be_asked_for_are_failures(world):
    async def body():
        world.script |= {"a.test": [], "b.test": UnicodeError("label too long")}
        for host in world.script:
            with pytest.raises(socket.gaierror):
                await world.ips(host)

    run(body)


def test_each_answer_for_a_name_of_the_configuration_is_told(world):
    async def body():
        told = []
        world.resolver.told = lambda host, ips: told.append((host, ips))
        world.resolver.follow(["a.test"])
        assert (told, world.asked) == ([], [])  # nobody has used it yet
        world.script |= {"a.test": ["10.0.0.2", "10.0.0.1"], "proxy.test": ["10.0.0.9"]}
        await world.ips()
        await world.ips("proxy.test")
        assert told == [("a.test", ["10.0.0.1", "10.0.0.2"])]
        world.script["a.test"] = ["10.0.0.3"]
        world.later(module.REFRESH)
        assert told[-1] == ("a.test", ["10.0.0.3"])
        world.script["a.test"] = NONE
        world.later(module.STALE - 1)
        assert told[-1] == ("a.test", ["10.0.0.3"])
        world.later(module.REST + 1)
        assert told[-1] == ("a.test", [])

    run(body)


def test_a_name_of_the_configuration_is_looked_up_less_often_while_nobody_uses_it(world):
    async def body():
        world.resolver.follow(["a.test"])
        world.script["a.test"] = ["10.0.0.1"]
        await world.ips()
        world.later(module.KEEP + 2 * module.REFRESH)
        world.asked.clear()
        world.later(10 * module.REST)
        assert 9 <= len(world.asked) <= 11
        world.asked.clear()
        # A connection to an address that is known already waits for nothing, and brings the name back into use.
        assert [address.ip for address in world.resolver.addresses("a.test", ["10.0.0.1", "10.0.0.7"])] == [
            "10.0.0.1",
            "10.0.0.7",
        ]
        world.later(module.KEEP)
        assert 5 <= len(world.asked) <= 7
        world.resolver.follow([])
        world.later(2 * module.KEEP + module.REST)
        assert (len(world.resolver), world.clock.armed) == (0, 0)

    run(body)


def test_addresses_that_this_host_has_no_route_for_are_not_told(world, monkeypatch):
    async def body():
        told = []
        world.resolver.told = lambda _, ips: told.append(ips)
        world.resolver.follow(["a.test"])
        world.script["a.test"] = ["2001:db8::1", "10.0.0.1"]
        with monkeypatch.context() as patch:
            patch.setattr(module, "_has_route", lambda ip: ":" not in ip)
            assert sorted(await world.ips()) == ["10.0.0.1", "2001:db8::1"]
        assert told == [["10.0.0.1"]]
        with monkeypatch.context() as patch:
            patch.setattr(module, "_has_route", lambda _: False)
            world.later(module.REFRESH)
        assert told[-1] == ["10.0.0.1", "2001:db8::1"]  # one may be wrong about routes

    run(body)
    assert module._has_route("127.0.0.1")
    assert not module._has_route("256.0.0.1")


def test_of_very_many_addresses_those_in_use_stay_in_use(world, caplog):
    async def body():
        told = []
        world.resolver.told = lambda _, ips: told.append(set(ips))
        world.resolver.follow(["a.test"])
        many = [f"10.0.{number // 100}.{number % 100}" for number in range(200)]
        world.script["a.test"] = many
        await world.ips()
        assert len(told[-1]) == module.MAX_ADDRESSES
        world.script["a.test"] = many[::-1]
        world.later(module.REFRESH)
        assert told[-1] == told[0]
        (record,) = caplog.records
        assert record.getMessage() == "a.test has 200 addresses: 64 of them are used"

    run(body)


def test_localhost_is_one_endpoint_whatever_its_addresses():
    assert all(map(has_addresses, ("a", "models.svc.cluster.local", "localhost.example", "localhost4")))
    assert not any(map(has_addresses, ("localhost", "LOCALHOST.", "api.localhost", "10.0.0.1", "::1")))


def test_addresses_skip_all_of_it(world):
    async def body():
        for ip in ("127.0.0.1", "::1", "2001:db8::7"):
            assert [address.ip for address in world.at_once(ip)] == [ip]
        assert (world.asked, len(world.resolver), world.clock.armed) == ([], 0, 0)

    run(body)
    assert not any(map(is_address, ("a", "10.example", "localhost", "1e3.test")))


def test_lookups_at_one_time_are_bounded_and_names_that_somebody_waits_for_come_first(world):
    async def body():
        hosts = [f"h{number}.test" for number in range(MAX_LOOKUPS + 2)]
        world.script |= {host: ["10.0.0.1"] for host in [*hosts, "new.test"]}
        for host in hosts:
            await world.ips(host)
        world.clock.advance(world.clock.now + module.REFRESH + 1)
        assert len(world.lookups) == MAX_LOOKUPS  # and two wait
        new = world.start("new.test")
        await asyncio.sleep(0)
        assert len(world.lookups) == MAX_LOOKUPS
        world.asked.clear()
        world.lookups.pop(0)()
        world.lookups.pop()()
        assert world.asked[1] == "new.test"
        assert [address.ip for address in await new] == ["10.0.0.1"]
        while world.lookups:
            world.run()
        assert set(world.asked) >= set(hosts)

    run(body)


def test_a_system_that_has_no_more_threads_fails_lookups_and_nothing_else(world, monkeypatch):
    def none(_):
        raise RuntimeError("can't start new thread")

    async def body():
        world.resolver._run = none
        with pytest.raises(OSError, match="can't start new thread"):
            await world.resolver.resolve("a.test")
        world.resolver._run = world.lookups.append
        world.clock.advance(world.clock.now + module.RETRY)
        world.script["a.test"] = ["10.0.0.1"]
        assert await world.ips() == ["10.0.0.1"]

    run(body)


def test_after_the_end_nothing_is_looked_up_but_what_somebody_waits_for(world):
    async def body():
        world.script |= {"a.test": ["10.0.0.1"], "b.test": ["10.0.0.2"]}
        await world.ips()
        world.resolver.close()
        world.later(100)
        assert world.asked == ["a.test"]
        assert await world.ips("b.test") == ["10.0.0.2"]
        world.later(100)
        assert world.asked == ["a.test", "b.test"]

    run(body)


HANGS = """
import asyncio, socket, threading
from waypost.upstream.resolver import Resolver
from waypost.loop.wheel import Wheel

asked = threading.Event()

def getaddrinfo(*_, **__):
    asked.set()
    threading.Event().wait()

socket.getaddrinfo = getaddrinfo

async def main():
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(Resolver(loop, Wheel(loop)).resolve("a.test"))
    await loop.run_in_executor(None, asked.wait)
    task.cancel()

asyncio.run(main())
"""


def test_a_lookup_that_hangs_holds_up_no_stop():
    subprocess.run([sys.executable, "-c", HANGS], timeout=60, check=True)
