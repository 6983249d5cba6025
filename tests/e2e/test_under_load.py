"""What happens to the proxy itself while messages come: reloads, the death of a worker, a stop."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Self

import pytest

from .support.client import Client
from .support.metrics import Metrics
from .support.proxy import Proxy, wait_until
from .support.site import Launcher, Site
from .support.upstream import Request, Server
from .support.wire import Truncated, chunk, head

CHAT = b'{"model":"m","messages":[]}'
STREAM = {"model": "m", "messages": [], "stream": True}

BOTH = pytest.mark.parametrize("workers", ["1", "2"])


class Load:
    """Clients that ask all the time, each on a connection that it keeps until that is closed between two messages."""

    def __init__(self, proxy: Proxy, clients: int = 4) -> None:
        self._proxy = proxy
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        self._problems: list[BaseException] = []
        self.answers: list[tuple[int, str | None, str | None, bytes]] = []
        """Status, route, cluster and body."""
        self.lost = 0
        """Messages whose connection ended without an answer."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._problems:
            raise self._problems[0]

    def goes_on(self, count: int = 50) -> None:
        """Wait for so many more answers."""
        seen = len(self.answers)
        wait_until(lambda: len(self.answers) >= seen + count or bool(self._problems), "messages go on")

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with Client(self._proxy.address) as client:
                    while not self._stop.is_set() and self._ask(client):
                        pass
        except BaseException as problem:  # noqa: BLE001 - raised again in `__exit__`
            self._problems.append(problem)

    def _ask(self, client: Client) -> bool:
        try:
            client.ask("POST", "/v1/chat/completions", CHAT)
            response = client.response()
            answer = response.status, response.get("x-waypost-route"), response.get("x-waypost-cluster"), response.body
        except (Truncated, ConnectionError):
            self.lost += 1
            return False
        self.answers.append(answer)
        return True


def _named(name: str) -> Callable[[Request], bytes]:
    return lambda _: head("HTTP/1.1 200 OK", [("content-length", str(len(name)))]) + name.encode()


def _config(name: str, server: Server) -> dict[str, Any]:
    """Route, cluster and what the endpoint answers have one name."""
    return {
        "access_log": "off",
        "clusters": {name: {"speaks": "openai", "endpoints": [server.url]}},
        "routes": [{"name": name, "match": {"kind": "model", "dialect": "openai"}, "to": name}],
    }


@BOTH
def test_no_message_fails_in_reloads_or_sees_half_of_one(launch: Launcher, workers: str) -> None:
    configs = {name: _config(name, launch.server(_named(name))) for name in ("red", "blue")}
    proxy = launch.serve(configs["red"], "--workers", workers)
    assert proxy.config is not None
    with Load(proxy) as load:
        load.goes_on()
        for number in range(10):
            name = "red" if number % 2 else "blue"
            new = proxy.config.with_suffix(".new")
            new.write_text(json.dumps(configs[name]))
            new.replace(proxy.config)
            proxy.signal(signal.SIGHUP)
            load.goes_on()
        wait_until(lambda: load.answers[-1][1] == "red", "the last one is in force")
    assert load.lost == 0
    whole = {(200, name, name, name.encode()) for name in configs}
    assert set(load.answers) == whole
    wait_until(lambda: Metrics(proxy)("requests_in_flight") == 0, "none is under way")


def test_a_worker_that_is_killed_takes_only_its_own_messages(launch: Launcher) -> None:
    proxy = launch.serve(_config("red", launch.server(_named("red"))), "--workers", "2")
    killed: set[int] = set()
    with Load(proxy) as load:
        for number in range(1, 4):
            load.goes_on()
            victim = next(pid for pid in proxy.alive() if pid not in (proxy.pid, *killed))
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
            load.goes_on()
            proxy.wait_for("was killed by SIGKILL: starting another", count=number)
            wait_until(lambda: len(set(proxy.alive()) - killed) == 3, "there are two workers again")
    assert {answer[0] for answer in load.answers} == {200}
    # Its four connections, and what the kernel had given to it and nobody had accepted yet.
    assert load.lost <= 3 * 8
    wait_until(lambda: Metrics(proxy)("workers") == 2, "two workers serve")
    wait_until(lambda: Metrics(proxy)("requests_in_flight") == 0, "what the dead ones had under way is not counted")


@BOTH
def test_a_drain_finishes_all_streams(launch: Launcher, workers: str) -> None:
    """Whoever has begun is served to the end, by whichever worker."""
    site = Site(launch, {"model": {}}, args=("--workers", workers))
    streams = []
    for number in range(20):
        client = site.chat("model", STREAM)
        peer, _ = site["model"].request()
        peer.start()
        peer.send(chunk(b"data: %d\n\n" % number))
        streams.append((number, client, peer))
    bodies = [client.response() for _, client, _ in streams]
    site.proxy.signal(signal.SIGTERM)
    wait_until(lambda: not site.proxy.accepts(), "no new connection is accepted")
    for number, _, peer in streams:
        peer.send(chunk(b"data: %d again\n\n" % number) + chunk(b""))
    for (number, client, _), response in zip(streams, bodies, strict=True):
        assert response.body == b"data: %d\n\ndata: %d again\n\n" % (number, number)
        assert client.closed()
    assert site.proxy.exit_code() == 0
