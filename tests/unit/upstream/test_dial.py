"""Connections to names with several addresses: real sockets on loopback, on both event loops.

`socket.getaddrinfo` is a fake that gives what a test wants; all of 127.0.0.0/8 is this host.
"""

import asyncio
import errno
import math
import os
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvloop
from waypost.exchange.runtime import Runtime
from waypost.upstream import dial as dial_module
from waypost.upstream import resolver as resolver_module
from waypost.upstream.connection import Connection

from ..support import until  # noqa: TID252


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run_on(request):
    """Runs a test body on an event loop of either kind."""

    def run(body):
        async def bounded():
            before = sockets()
            async with asyncio.timeout(60):
                runtime = Runtime(asyncio.get_running_loop())
                await body(runtime)
                runtime.close()
                await until(lambda: sockets() <= before, 0.005)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return run


@pytest.fixture
def names(monkeypatch):
    """The addresses of names, by name."""
    known = {}

    def getaddrinfo(host, port, **_):
        if not known.get(host):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in ip], socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(os, "getpid", lambda: 0)  # the first address comes first
    return known


@contextmanager
def listener(host, port=0):
    """What connects to it is connected: the kernel sees to that."""
    with socket.create_server((host, port)) as sock:
        yield sock.getsockname()[1]


@contextmanager
def silence(host, port=0):
    """A listener whose queue is full: the kernel drops what comes, and nobody is ever answered."""
    listener = socket.create_server((host, port), backlog=0)
    address = listener.getsockname()
    waiting = []
    try:
        for _ in range(4):
            sock = socket.socket()
            waiting.append(sock)
            sock.setblocking(False)
            sock.connect_ex(address)
        yield address[1]
    finally:
        for sock in [listener, *waiting]:
            sock.close()


def connect(runtime, host, port, within=2.0):
    """Begin to connect: what comes of it, and the way to give up."""
    outcome = asyncio.get_running_loop().create_future()
    connecting = runtime.pool.connect((host, port, None, None, None), outcome.set_result, within)
    return outcome, connecting


def sockets():
    """How many this process has open."""
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(str(link).startswith("socket:") for link in links)


@pytest.fixture
def no_ipv6(monkeypatch):
    """While it is entered, this host cannot make IPv6 sockets."""
    real = socket.socket

    def without(family, *rest):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest)

    @contextmanager
    def entered():
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", without)
            yield

    return entered


def test_of_many_addresses_the_first_that_answers_is_used_and_the_others_are_closed(run_on, names):
    async def body(runtime):
        names["many"] = ["127.0.0.3", "127.0.0.2", "127.0.0.4"]
        with listener("127.0.0.2") as port, silence("127.0.0.3", port), silence("127.0.0.4", port):
            before = sockets()
            for _ in range(4):
                connection = await connect(runtime, "many", port)[0]
                assert isinstance(connection, Connection)
                assert connection.address.ip == "127.0.0.2"
                connection.close()
            await until(lambda: sockets() <= before, 0.005)
            silent = [address for address in await runtime.pool.resolver.resolve("many") if address.avoid > 0]
            assert {address.ip for address in silent} <= {"127.0.0.3", "127.0.0.4"}
            assert silent, "who was overtaken is not tried first"

    run_on(body)


def test_all_have_their_turn_within_a_short_timeout(run_on, names):
    async def body(runtime):
        names["many"] = [f"127.0.0.{number}" for number in (3, 4, 5, 9)]
        with ExitStack() as stack:
            port = stack.enter_context(listener("127.0.0.9"))
            for ip in names["many"][:3]:
                stack.enter_context(silence(ip, port))
            began = asyncio.get_running_loop().time()
            connection = await connect(runtime, "many", port, within=0.4)[0]
            assert isinstance(connection, Connection)
            assert asyncio.get_running_loop().time() - began < 3 * dial_module.STAGGER
            connection.close()

    run_on(body)


def test_giving_up_leaves_no_socket_and_remembers_who_was_silent(run_on, names):
    async def body(runtime):
        with silence("127.0.0.3") as port, silence("127.0.0.4", port):
            names["many"] = ["127.0.0.3", "127.0.0.4"]
            before = sockets()
            outcome, connecting = connect(runtime, "many", port, within=0.03)
            await until(lambda: sockets() == before + 2, 0.005)
            connecting.cancel()
            await until(lambda: sockets() <= before, 0.005)
            assert not outcome.done()
            assert any(address.avoid > 0 for address in await runtime.pool.resolver.resolve("many"))

    run_on(body)


def test_a_client_that_leaves_at_once_says_nothing_of_the_address(run_on, names):
    async def body(runtime):
        with silence("127.0.0.3") as port:
            names["many"] = ["127.0.0.3"]
            before = sockets()
            _, connecting = connect(runtime, "many", port)
            await until(lambda: sockets() == before + 1, 0.005)
            connecting.cancel()
            await until(lambda: sockets() <= before, 0.005)
            (address,) = await runtime.pool.resolver.resolve("many")
            assert address.avoid == -math.inf

    run_on(body)


def test_too_many_open_files_are_no_fault_of_an_address(run_on, names, monkeypatch):
    def none_left(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    async def body(runtime):
        names["many"] = ["127.0.0.1", "127.0.0.2"]
        with listener("127.0.0.1") as port, monkeypatch.context() as patch:
            patch.setattr(socket, "socket", none_left)
            outcome = await connect(runtime, "many", port)[0]
        assert isinstance(outcome, OSError)
        assert outcome.errno == errno.EMFILE
        assert [address.avoid for address in await runtime.pool.resolver.resolve("many")] == [-math.inf] * 2

    run_on(body)


def test_of_two_that_answer_in_the_same_moment_one_is_closed(run_on, names, monkeypatch):
    now = asyncio.Event()
    opened = []

    async def open_socket(*_):
        opened.append(sock := socket.socket())
        await now.wait()
        return sock

    monkeypatch.setattr(dial_module, "_open", open_socket)

    async def body(runtime):
        names["many"] = ["127.0.0.1", "127.0.0.2"]
        until_both = runtime.loop.time() + 0.02
        addresses = await runtime.pool.resolver.resolve("many")
        tries = dial_module.Tries()
        connecting = asyncio.ensure_future(dial_module._connect(runtime.loop, addresses, 1, until_both, tries))
        await until(lambda: len(opened) == 2, 0.005)
        now.set()
        sock, address = await connecting
        assert address.ip == "127.0.0.1"
        assert opened[0] is sock
        assert opened[1].fileno() == -1
        assert tries.refused == []
        sock.close()

    run_on(body)


def test_the_error_of_many_addresses_is_the_one_that_tells_most(run_on, names, no_ipv6):
    async def body(runtime):
        names["many"] = ["::1", "127.0.0.1"]
        with listener("127.0.0.1") as port:
            pass
        with no_ipv6():
            outcome = await connect(runtime, "many", port)[0]
        assert outcome.errno == errno.ECONNREFUSED
        assert "::1: Address family not supported by protocol; 127.0.0.1: Connection refused" in str(outcome)

    run_on(body)


def test_a_name_stays_known_as_long_as_a_connection_to_it_is_open(run_on, names, monkeypatch):
    monkeypatch.setattr(resolver_module, "REFRESH", 0.02)
    monkeypatch.setattr(resolver_module, "KEEP", 0.0)

    async def body(runtime):
        with listener("127.0.0.1") as port, listener("127.0.0.2", port):
            names["kept"] = ["127.0.0.1"]
            connection = await connect(runtime, "kept", port)[0]
            names["kept"] = ["127.0.0.2"]
            name = connection.address._name
            await until(lambda: [address.ip for address in name.addresses] == ["127.0.0.2"], 0.005)
            assert len(runtime.pool.resolver) == 1
            connection.close()
            await until(lambda: len(runtime.pool.resolver) == 0, 0.005)

    run_on(body)


def test_a_host_without_ipv6_uses_the_other_addresses(run_on, names, no_ipv6):
    async def body(runtime):
        names["many"] = ["::1", "127.0.0.1"]
        with listener("127.0.0.1") as port:
            for _ in range(2):
                with no_ipv6():
                    connection = await connect(runtime, "many", port)[0]
                assert connection.address.ip == "127.0.0.1"
                connection.close()

    run_on(body)


def test_small_writes_are_not_held_back(run_on, names):
    async def body(runtime):
        names["many"] = ["127.0.0.1"]
        with listener("127.0.0.1") as port:
            connection = await connect(runtime, "many", port)[0]
            sock = connection.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            connection.close()

    run_on(body)


def test_what_ends_at_once_is_an_error_and_not_a_connection(run_on):
    async def body(runtime):
        def accepted(_, writer):
            writer.transport.abort()

        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        for _ in range(20):
            outcome = asyncio.get_running_loop().create_future()

            def done(made, outcome=outcome):
                # Whoever is given a connection hears of its end from then on, and not of what was before.
                outcome.set_result(isinstance(made, ConnectionError) or made.open)
                if isinstance(made, Connection):
                    made.close()

            runtime.pool.connect(("127.0.0.1", server.sockets[0].getsockname()[1], None, None, None), done)
            assert await outcome
        server.close()
        await server.wait_closed()

    run_on(body)


def test_the_address_that_was_chosen_is_first_and_others_of_the_name_only_stand_in(run_on, names):
    async def body(runtime):
        names["many"] = []  # nobody asks
        with listener("127.0.0.2") as port, listener("127.0.0.3", port), listener("127.0.0.4", port):
            for ip, others, made, refused in [
                ("127.0.0.3", ["127.0.0.2"], "127.0.0.3", []),
                ("127.0.0.5", ["127.0.0.4", "127.0.0.2"], "127.0.0.4", ["127.0.0.5"]),
            ]:
                outcome = asyncio.get_running_loop().create_future()
                key = ("many", port, None, None, ip)
                connecting = runtime.pool.connect(key, outcome.set_result, 2.0, others=others)
                connection = await outcome
                assert (connection.address.ip, connecting.refused) == (made, refused)
                connection.close()

    run_on(body)


def test_a_connection_ends_at_its_age_and_no_two_at_one_time(run_on, names):
    async def body(runtime):
        names["old"] = ["127.0.0.1"]
        pool, now = runtime.pool, runtime.loop.time
        with listener("127.0.0.1") as port:
            key = ("old", port, None, None, None)
            ends = []
            for _ in range(20):
                outcome = asyncio.get_running_loop().create_future()
                pool.connect(key, outcome.set_result, age=100.0, idle=1000.0)
                connection = await outcome
                ends.append(connection.retire_at - now())
                pool.give(connection, math.inf)
                assert connection.idle_until == connection.retire_at
                assert pool.take(key, now()) is connection
                connection.retire_at = now()
                pool.give(connection, math.inf)
                assert pool.take(key, now()) is None
                assert not connection.open
            assert 74 < min(ends) < max(ends) <= 100
            assert len(set(ends)) == len(ends)

    run_on(body)


def test_an_idle_connection_is_used_again_for_as_long_as_both_sides_allow(run_on, names):
    async def body(runtime):
        names["idle"] = ["127.0.0.1"]
        pool, now = runtime.pool, runtime.loop.time
        with listener("127.0.0.1") as port:
            key = ("idle", port, None, None, None)
            for own, endpoint, kept in [(60.0, math.inf, 60), (60.0, 20.0, 20), (20.0, 60.0, 20)]:
                outcome = asyncio.get_running_loop().create_future()
                pool.connect(key, outcome.set_result, idle=own)
                connection = await outcome
                pool.give(connection, endpoint)
                given = now()
                assert connection.idle_until == pytest.approx(given + kept, abs=5)
                assert pool.take(key, given + kept - 10) is connection
                pool.give(connection, endpoint)
                assert pool.take(key, given + kept + 10) is None
            assert len(pool) == 0

    run_on(body)


def test_connections_that_were_idle_for_too_long_are_closed_each_at_its_time(run_on, names):
    async def body(runtime):
        names["idle"] = ["127.0.0.1"]
        pool, now = runtime.pool, runtime.loop.time
        with listener("127.0.0.1") as port:
            connections = []
            for idle in (1000.0, 30.0, 60.0):
                outcome = asyncio.get_running_loop().create_future()
                pool.connect(("idle", port, None, None, None), outcome.set_result, idle=idle)
                connections.append(await outcome)
            for connection in connections:
                pool.give(connection, math.inf)
            for seconds, left in ((45, [True, False, True]), (100, [True, False, False])):
                pool.expired(now() + seconds)
                assert [connection.open for connection in connections] == left
            assert len(pool) == 1

    run_on(body)
