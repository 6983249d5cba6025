"""Endpoints whose names have several addresses, or none.

Where a test needs a name with addresses of its own choice, the process is given a `socket.getaddrinfo` that reads them
from a file: a fake, as such a name is not to be had without changing the host's. The addresses (all of 127.0.0.0/8 is
this host) and the sockets are real.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture
def full() -> Iterator[tuple[str, int]]:
    """An address that never answers: its listener's queue is full, so that the kernel drops what comes."""
    listener = socket.create_server(("127.0.0.3", 0), backlog=0)
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


def _site(launcher: Launcher, names: Names, port: int, **cluster: Any) -> Site:
    return Site(launcher, {"c": {"endpoints": [f"http://many.test:{port}"], **cluster}}, env=names.env)


def _ask(site: Site, times: int = 1, attempts: str = "1") -> None:
    for _ in range(times):
        response = site.chat("c", CHAT).response()
        assert (response.status, response.get("x-waypost-attempts")) == (200, attempts), response.body


def test_new_connections_spread_over_all_addresses(launch: Launcher, names: Names) -> None:
    servers = [one := launch.server(once, host="127.0.0.1")]
    servers += [launch.server(once, host=host, port=one.port) for host in ("127.0.0.2", "127.0.0.4")]
    names.set(many=["127.0.0.1", "127.0.0.2", "127.0.0.4"])
    _ask(_site(launch, names, one.port), 12)
    assert [server.connections for server in servers] == [4, 4, 4]


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
