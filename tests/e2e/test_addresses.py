"""Endpoints whose names have several addresses, or none: each address is an endpoint of its own.

Where a test needs a name with addresses of its own choice, the process is given a `socket.getaddrinfo` that reads them
from a file: a fake, as such a name is not to be had without changing the host's. The addresses (all of 127.0.0.0/8 is
this host) and the sockets are real.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .support.certificates import Authority
from .support.client import Client
from .support.proxy import wait_until
from .support.site import Launcher, Site
from .support.upstream import OK, Request, Server, closed_port
from .support.wire import head

CHAT = b'{"model":"m","messages":[]}'
FAKE = """
import json, os, socket

_real = socket.getaddrinfo

def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    with open(os.environ["NAMES"]) as file:
        ips = json.load(file).get(host)
    if ips is None:
        return _real(host, port, family, type, proto, flags)
    if not ips:
        raise socket.gaierror(socket.EAI_AGAIN, "the fake has no address")
    return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, type, 6, "", (ip, port or 0)) for ip in ips]

socket.getaddrinfo = getaddrinfo
"""


def once(_: Request) -> bytes:
    """An answer after which the connection ends, so that the next message needs another one."""
    return head("HTTP/1.1 200 OK", [("content-length", str(len(OK))), ("connection", "close")]) + OK


class Names:
    """The names that a process can resolve."""

    def __init__(self, directory: Path) -> None:
        (directory / "sitecustomize.py").write_text(FAKE)
        self._file = directory / "names.json"
        path = os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")]))
        self.env = {"PYTHONPATH": path, "NAMES": str(self._file)}

    def set(self, **names: list[str]) -> None:
        self._file.write_text(json.dumps({f"{name}.test": ips for name, ips in names.items()}))


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return Names(tmp_path)


@contextmanager
def _full(host: str, port: int = 0) -> Iterator[tuple[str, int]]:
    """An address that never answers: its listener's queue is full, so that the kernel drops what comes."""
    listener = socket.create_server((host, port), backlog=0)
    address = listener.getsockname()
    waiting = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        waiting.append(sock)
    with socket.socket() as probe:
        probe.settimeout(0.3)
        if probe.connect_ex(address) == 0:
            pytest.skip("this system answers whatever the listener's queue holds")
    yield address
    for sock in [listener, *waiting]:
        sock.close()


@pytest.fixture
def full() -> Iterator[tuple[str, int]]:
    with _full("127.0.0.3") as address:
        yield address


def _site(launcher: Launcher, names: Names, port: int, **cluster: Any) -> Site:
    return Site(launcher, {"c": {"endpoints": [f"http://many.test:{port}"], **cluster}}, env=names.env)


def _ask(site: Site, times: int = 1, attempts: str = "1") -> None:
    for _ in range(times):
        response = site.chat("c", CHAT).response()
        assert (response.status, response.get("x-waypost-attempts")) == (200, attempts), response.body


@contextmanager
def _load(site: Site, clients: int = 4) -> Iterator[None]:
    """Steady load over kept connections, all of which has to be answered 200."""
    over = threading.Event()
    wrong: list[object] = []

    def ask() -> None:
        try:
            with Client(site.proxy.address) as client:
                while not over.wait(0.01):
                    client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "c"})
                    response = client.response()
                    _ = response.body
                    if response.status != 200:
                        wrong.append(response)
        except Exception as exc:  # noqa: BLE001 - shown below
            wrong.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]


def _share(servers: list[Server], wanted: Callable[[list[float]], bool], what: str) -> None:
    """Wait until the messages of half a second are shared among `servers` as `wanted`."""

    def shared() -> bool:
        before = [len(server.requests) for server in servers]
        time.sleep(0.5)
        new = [len(server.requests) - old for server, old in zip(servers, before, strict=True)]
        return sum(new) > 0 and wanted([each / sum(new) for each in new])

    wait_until(shared, what, 120)


def _addresses(site: Site) -> dict[str | None, dict[str, Any]]:
    """What `/-/clusters` shows of each address."""
    (cluster,) = site.proxy.ask("GET", "/-/clusters").json["clusters"]
    return {endpoint["address"]: endpoint for endpoint in cluster["endpoints"]}


def test_a_name_that_gains_an_address_under_load_gives_it_its_share_and_takes_it_back(
    launch: Launcher, names: Names
) -> None:
    one = launch.server(host="127.0.0.11")
    two = launch.server(host="127.0.0.14", port=one.port)
    names.set(many=["127.0.0.11"])
    site = _site(launch, names, one.port)
    with _load(site):
        wait_until(lambda: len(one.requests) > 100, "there is load")
        names.set(many=["127.0.0.11", "127.0.0.14"])
        _share([one, two], lambda shares: 0.35 < shares[1] < 0.65, "the new address has its share")
        names.set(many=["127.0.0.14"])
        _share([one, two], lambda shares: shares[1] == 1, "the old address gets nothing")
    wait_until(lambda: list(_addresses(site)) == ["127.0.0.14"], "what was in flight at the old address has ended")


def test_one_address_is_broken_and_the_others_are_not(launch: Launcher, names: Names) -> None:
    def busy(_: Request) -> bytes:
        return head("HTTP/1.1 503 Busy", [("content-length", "0")])

    good = launch.server(host="127.0.0.1")
    bad = launch.server(busy, host="127.0.0.2", port=good.port)
    names.set(many=["127.0.0.1", "127.0.0.2"])
    breaker = {"consecutive": 2, "open": "1h", "open_max": "1h"}
    site = _site(launch, names, good.port, breaker=breaker, retry={"attempts": 2}, balance="round_robin")

    def broken() -> bool:
        assert site.chat("c", CHAT).response().status == 200  # a retry goes to another address
        return _addresses(site).get("127.0.0.2", {}).get("condition") == "open"

    wait_until(broken, "the breaker of one address is open")
    seen = _addresses(site)
    assert set(seen) == {"127.0.0.1", "127.0.0.2"}
    assert seen["127.0.0.1"]["condition"] == "fit"
    told = len(bad.requests)
    _ask(site, 10)
    assert len(bad.requests) == told
    url = f"http://many.test:{good.port}"
    site.proxy.wait_for(rf"WARNING endpoint {url} \(127\.0\.0\.2\) of cluster `c` is left alone: its breaker is open")
    labels = f'{{cluster="c",endpoint="{url}",address="127.0.0.2",condition="open"}}'
    assert f"waypost_endpoint_condition{labels} 1" in site.proxy.ask("GET", "/metrics").body.decode().splitlines()
    # The series of an address go with it.
    names.set(many=["127.0.0.1"])
    wait_until(lambda: "127.0.0.2" not in site.proxy.ask("GET", "/metrics").body.decode(), "its series are gone", 60)


def test_each_attempt_is_told_with_its_address(launch: Launcher, names: Names, tmp_path: Path) -> None:
    def busy(_: Request) -> bytes:
        return head("HTTP/1.1 503 Busy", [("content-length", "0")])

    good = launch.server(host="127.0.0.1")
    launch.server(busy, host="127.0.0.2", port=good.port)
    names.set(many=["127.0.0.1", "127.0.0.2"])
    url, log = f"http://many.test:{good.port}", tmp_path / "log"
    secret = "wp-debug"
    key = {
        "name": "k",
        "hash": f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}",
        "debug": True,
        "admin": True,
        "messages": True,
    }
    cluster = {"endpoints": [url], "balance": "round_robin", "retry": {"attempts": 2}}
    site = Site(launch, {"c": cluster}, {"access_log": str(log), "keys": [key]}, env=names.env)

    traces: list[str] = []

    def twice() -> bool:
        response = site.chat("c", CHAT, x_waypost_key=secret).response()
        assert response.status == 200
        traces.append(response.get("x-waypost-trace") or "")
        return response.get("x-waypost-attempts") == "2"

    wait_until(twice, "a message had two attempts")
    trace = traces[-1]
    first, second = (f'"c";endpoint="{url}";address="{ip}";status=' for ip in ("127.0.0.2", "127.0.0.1"))
    assert trace.startswith(f"{first}503;")
    assert f", {second}200;" in trace
    decisions = site.proxy.ask("GET", "/-/decisions", headers={"x-waypost-key": secret}).json["decisions"]
    decision = next(each for each in decisions if each["attempts"] == 2)
    assert (decision["endpoint"], decision["address"]) == (url, "127.0.0.1")
    assert [(each["endpoint"], each["address"]) for each in decision["tried"]] == [
        (url, "127.0.0.2"),
        (url, "127.0.0.1"),
    ]
    wait_until(lambda: log.exists() and '"attempts":2' in log.read_text(), "the line is written")
    line = next(line for line in map(json.loads, log.read_text().splitlines()) if line["attempts"] == 2)
    assert (line["endpoint"], line["address"]) == (url, "127.0.0.1")
    assert [each["address"] for each in line["tried"]] == ["127.0.0.2", "127.0.0.1"]


def test_what_is_in_flight_at_an_address_that_left_ends(launch: Launcher, names: Names) -> None:
    go_on = threading.Event()

    def slow(_: Request) -> bytes:
        go_on.wait(120)
        return once(_)

    staying = launch.server(host="127.0.0.1")
    leaving = launch.server(slow, host="127.0.0.2", port=staying.port)
    names.set(many=["127.0.0.2"])
    site = _site(launch, names, staying.port)
    try:
        client = site.chat("c", CHAT)
        wait_until(lambda: len(leaving.requests) == 1, "a message is in flight")
        names.set(many=["127.0.0.1"])
        wait_until(lambda: set(_addresses(site)) == {"127.0.0.1", "127.0.0.2"}, "the address has left", 60)
        assert _addresses(site)["127.0.0.2"]["condition"] == "draining"
        _ask(site, 10)
        assert len(leaving.requests) == 1
    finally:
        go_on.set()
    assert client.response().status == 200
    wait_until(lambda: set(_addresses(site)) == {"127.0.0.1"}, "the address is gone")


def test_each_address_is_checked(launch: Launcher, names: Names) -> None:
    def ill(request: Request) -> bytes:
        return head("HTTP/1.1 500 Ill", [("content-length", "0")]) if request.target == "/health" else once(request)

    good = launch.server(host="127.0.0.1")
    bad = launch.server(ill, host="127.0.0.2", port=good.port)
    names.set(many=["127.0.0.1", "127.0.0.2"])
    check = {"path": "/health", "interval": "100ms", "timeout": "20s", "unhealthy": 1}
    site = _site(launch, names, good.port, health={"check": check})
    wait_until(
        lambda: [each["check"] for _, each in sorted(_addresses(site).items(), key=str)] == [True, False],
        "both addresses are checked, though there was no message",
        60,
    )
    _ask(site, 10)
    assert not [request for request in bad.requests if request.target != "/health"]


def test_several_workers_tell_of_all_addresses(launch: Launcher, names: Names) -> None:
    one = launch.server(host="127.0.0.1")
    two = launch.server(host="127.0.0.2", port=one.port)
    names.set(many=["127.0.0.1", "127.0.0.2"])
    cluster = {"endpoints": [f"http://many.test:{one.port}"], "health": {"slow_start": "0s"}}
    site = Site(launch, {"c": cluster}, args=("--workers", "2"), env=names.env)
    _ask(site, 40)

    def told() -> bool:
        seen = _addresses(site)
        return [seen.get(ip, {"attempts": {}})["attempts"].get("succeeded") for ip in ("127.0.0.1", "127.0.0.2")] == [
            len(one.requests),
            len(two.requests),
        ]

    wait_until(told, "each worker tells of all")
    assert len(one.requests) + len(two.requests) == 40


def test_tls_is_by_name_at_each_address(launch: Launcher, names: Names, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    contexts = []
    for name in ("many.test", "many.test", "other.test"):
        contexts.append(context := ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        context.load_cert_chain(*authority.issue(name))
    one = launch.server(host="127.0.0.1", tls=contexts[0])
    two = launch.server(host="127.0.0.2", port=one.port, tls=contexts[1])
    wrong = launch.server(host="127.0.0.3", port=one.port, tls=contexts[2])
    names.set(many=["127.0.0.1", "127.0.0.2", "127.0.0.3"])
    cluster = {
        "endpoints": [f"https://many.test:{one.port}"],
        "tls": {"ca": str(authority.certificate)},
        "balance": "round_robin",
        "retry": {"attempts": 2},
    }
    site = Site(launch, {"c": cluster}, env=names.env)
    for _ in range(12):
        assert site.chat("c", CHAT).response().status == 200
    assert min(len(one.requests), len(two.requests)) >= 4
    assert wrong.connections > 0
    assert not wrong.requests
    assert _addresses(site)["127.0.0.3"]["attempts"]["unreachable"] > 0


def test_behind_a_proxy_the_age_of_connections_brings_new_hosts_their_share(launch: Launcher, names: Names) -> None:
    one = launch.server(host="127.0.0.1")
    two = launch.server(host="127.0.0.2", port=one.port)
    known = {"many.test": "127.0.0.1"}
    tunnels = launch.tunnels(known)
    names.set(many=["127.0.0.9"])  # which only the proxy knows better
    timeout = {"connection_age": "500ms"}
    site = _site(launch, names, one.port, proxy=tunnels.url, timeout=timeout)
    with _load(site):
        wait_until(lambda: len(one.requests) > 20, "there is load")
        known["many.test"] = "127.0.0.2"
        _share([one, two], lambda shares: shares[1] == 1, "all goes to the new host")
    assert list(_addresses(site)) == [None]


def test_an_endpoint_s_keep_alive_bounds_how_long_its_idle_connection_is_used_again(launch: Launcher) -> None:
    def says(value: str) -> Callable[[Request], bytes]:
        fields = [("content-length", str(len(OK))), ("keep-alive", value)]
        return lambda _: head("HTTP/1.1 200 OK", fields) + OK

    brief, lasting = launch.server(says("timeout=1")), launch.server(says("timeout=600"))
    timeout = {"connection_idle": "60s", "connection_age": "10m"}
    clusters = {
        name: {"endpoints": [server.url], "timeout": timeout}
        for name, server in (("brief", brief), ("lasting", lasting))
    }
    site = Site(launch, clusters)
    for _ in range(2):
        for name in clusters:
            assert site.chat(name, CHAT).response().body == OK
        time.sleep(1)
    assert (brief.connections, lasting.connections) == (2, 1)


def test_messages_spread_over_all_addresses(launch: Launcher, names: Names) -> None:
    servers = [one := launch.server(host="127.0.0.1")]
    servers += [launch.server(host=host, port=one.port) for host in ("127.0.0.2", "127.0.0.4")]
    names.set(many=["127.0.0.1", "127.0.0.2", "127.0.0.4"])
    site = _site(launch, names, one.port, balance="round_robin")
    _ask(site)  # the name is resolved
    before = [len(server.requests) for server in servers]
    _ask(site, 12)
    assert [len(server.requests) - old for server, old in zip(servers, before, strict=True)] == [4, 4, 4]


def test_an_address_that_refuses_costs_no_attempt_and_is_tried_last(launch: Launcher, names: Names) -> None:
    good = launch.server(once, host="127.0.0.2")
    names.set(many=["127.0.0.1", "127.0.0.2", "::1"])  # nothing listens at the others
    _ask(_site(launch, names, good.port), 9)
    assert good.connections == 9


def test_an_address_that_never_answers_is_left_behind_within_the_timeout(
    launch: Launcher, names: Names, full: tuple[str, int]
) -> None:
    good = launch.server(once, host="127.0.0.2", port=full[1])
    names.set(many=["127.0.0.3", "127.0.0.2"])
    _ask(_site(launch, names, good.port), 6)


@pytest.mark.parametrize("tls", [False, True])
def test_a_connect_timeout_counts_for_each_address_that_was_tried(
    launch: Launcher, names: Names, full: tuple[str, int], tls: bool
) -> None:
    names.set(many=["127.0.0.3", "127.0.0.6"])
    url = f"{'https' if tls else 'http'}://many.test:{full[1]}"
    cluster = {"endpoints": [url], "timeout": {"connect": "1s"}, "balance": "round_robin"}
    site = Site(launch, {"c": cluster}, env=names.env)
    # With TLS, the second address takes connections and is silent then.
    silent = socket.create_server(("127.0.0.6", full[1])) if tls else _full("127.0.0.6", full[1])
    with silent:
        for times in (1, 2, 3):
            error = site.chat("c", CHAT).response().error
            assert (error["code"], error["message"]) == ("upstream_timeout", "cluster c: no connection within 1 s")
            seen = {ip: view["attempts"]["unreachable"] for ip, view in _addresses(site).items()}
            if tls:
                assert seen.pop("127.0.0.3") <= times  # is not tried if the other one comes first
            assert set(seen.values()) == {times}


def test_where_all_addresses_fail_the_error_says_how_and_the_log_which(launch: Launcher, names: Names) -> None:
    names.set(many=["127.0.0.1", "::1"])
    site = _site(launch, names, closed_port())
    error = site.chat("c", CHAT).response().error
    assert error["code"] == "upstream_unreachable"
    assert error["message"] == "cluster c: connection refused: nothing listens there"
    found = site.proxy.wait_for(r"connection refused: nothing listens there \((.*)\)")[1]
    assert "127.0.0.1: Connection refused" in found
    assert "::1: " in found


def test_a_name_that_cannot_be_resolved_yet(launch: Launcher, names: Names) -> None:
    server = launch.server()
    names.set(many=[])
    site = _site(launch, names, server.port)
    error = site.chat("c", CHAT).response().error
    assert error["message"] == "cluster c: its host's name cannot be resolved"
    names.set(many=["127.0.0.1"])
    wait_until(lambda: site.chat("c", CHAT).response().status == 200, "it is resolved")


def test_a_kept_connection_needs_no_name(launch: Launcher, names: Names) -> None:
    server = launch.server()
    names.set(many=["127.0.0.1"])
    site = _site(launch, names, server.port)
    _ask(site)
    names.set(many=[])
    _ask(site, 3)
    assert server.connections == 1


def test_localhost_has_the_addresses_that_the_system_says(launch: Launcher) -> None:
    """No fake: on many hosts localhost is ::1 and 127.0.0.1. Only the last of them is served here."""
    *_, (family, _, _, _, address) = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    assert family in (socket.AF_INET, socket.AF_INET6)
    server: Server = launch.server(once, host=str(address[0]))
    site = Site(launch, {"c": {"endpoints": [f"http://localhost:{server.port}"]}})
    _ask(site, 3)
    assert server.connections == 3
