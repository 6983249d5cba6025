"""`--workers N`: limits hold for the host, and any worker tells of all of them."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .support.client import Client
from .support.proxy import Proxy, wait_until
from .support.site import Launcher, Site

TWO = ("--workers", "2")
HOURLY = {"per": "tenant", "messages": 20, "every": "1h"}


def workers(proxy: Proxy) -> list[int]:
    return [pid for pid in proxy.alive() if pid != proxy.pid]


@contextmanager
def only(proxy: Proxy, worker: int) -> Iterator[None]:
    """The other workers stand still, so that this one has every new connection."""
    others = [pid for pid in workers(proxy) if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def seen(proxy: Proxy) -> dict[str, Any]:
    """What `/-/clusters` shows of the only cluster."""
    (found,) = proxy.ask("GET", "/-/clusters").json["clusters"]
    assert isinstance(found, dict)
    return found


def statuses(clients: list[Client]) -> Counter[int]:
    found: Counter[int] = Counter()
    for client in clients:
        response = client.response()
        found[response.status] += 1
        if response.status == 429:
            # A token comes every three minutes.
            assert 0 < int(response.get("retry-after") or 0) <= 180
            assert response.error["code"] == "rate_limited"
    return found


def ask(site: Site, count: int) -> Counter[int]:
    """Messages of one tenant, at the same time and each on a connection of its own."""
    return statuses([site.chat("model", x_waypost_tenant="acme") for _ in range(count)])


def test_a_rate_holds_for_all_workers(launch: Launcher) -> None:
    server = launch.server()
    site = Site(launch, {"model": {"endpoints": [server.url], "rate": HOURLY}}, args=TWO)
    assert ask(site, 60) == {200: 20, 429: 40}
    assert len(server.requests) == 20
    assert site.chat("model", x_waypost_tenant="globex").response().status == 200
    first, second = workers(site.proxy)
    for worker in (first, second):
        with only(site.proxy, worker):
            assert ask(site, 3) == {429: 3}
    # A reload keeps the accounts, also where one worker has not reloaded yet.
    config = json.loads(site.proxy.config.read_text())
    config["clusters"]["model"]["timeout"] = {"connect": "7s"}
    with only(site.proxy, first):
        site.proxy.config.write_text(json.dumps(config))
        site.proxy.signal(signal.SIGHUP)
        assert ask(site, 3) == {429: 3}
    with only(site.proxy, second):
        assert ask(site, 3) == {429: 3}
    # So does the end of a worker.
    os.kill(first, signal.SIGKILL)
    site.proxy.wait_for(f"worker {first} was killed")
    wait_until(lambda: len(workers(site.proxy)) == 2, "there are two workers again")
    assert ask(site, 10) == {429: 10}


def test_workers_divide_a_fixed_limit(launch: Launcher) -> None:
    site = Site(launch, {"model": {"concurrency": 5, "queue": {"length": 0}}}, args=TWO)
    shares = []
    for worker in workers(site.proxy):
        with only(site.proxy, worker):
            held = []
            for _ in range(2):
                client = site.chat("model")
                held.append((client, *site["model"].request()))
            third = site.chat("model")
            if not shares:  # it is the first, which has what is left over
                held.append((third, *site["model"].request()))
                third = site.chat("model")
            assert third.response().error["code"] == "queue_full"
            shares.append(len(held))
            for client, peer, _ in held:
                peer.reply()
                assert client.response().status == 200
    assert shares == [3, 2]
    wait_until(lambda: seen(site.proxy)["limit"] == 5, "both have told of their shares")


def test_any_worker_tells_of_all(launch: Launcher) -> None:
    server = launch.server()
    site = Site(launch, {"model": {"endpoints": [server.url]}}, args=TWO)
    proxy = site.proxy

    def count(view: dict[str, Any]) -> tuple[int, int]:
        (endpoint,) = view["endpoints"]
        return view["messages"], endpoint["attempts"]["succeeded"]

    sent = 0
    for worker in workers(proxy):
        with only(proxy, worker):
            for _ in range(5):
                assert site.chat("model").response().status == 200
                sent += 1

    def told(worker: int) -> bool:
        with only(proxy, worker):
            return count(seen(proxy)) == (sent, sent)

    for worker in workers(proxy):
        wait_until(partial(told, worker), "the other has told it")
        with only(proxy, worker):
            text = proxy.ask("GET", "/metrics").body.decode()
        samples = {
            (sample.name, sample.labels.get("condition")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith(("waypost_cluster", "waypost_endpoint"))
        }
        assert samples["waypost_cluster_messages_total", None] == sent
        assert samples["waypost_endpoint_condition", "fit"] == 2
    # What a worker has counted remains when it ends, and what it was doing does not.
    first = workers(proxy)[0]
    os.kill(first, signal.SIGKILL)
    proxy.wait_for(f"worker {first} was killed")
    wait_until(lambda: len(workers(proxy)) == 2, "there are two workers again")
    for worker in workers(proxy):
        wait_until(partial(told, worker), "the counts of the worker that is gone are there")
    assert seen(proxy)["in_flight"] == 0


def test_ids_of_workers_differ(launch: Launcher) -> None:
    server = launch.server()
    site = Site(launch, {"model": {"endpoints": [server.url]}}, args=TWO)
    ids = []
    for worker in workers(site.proxy):
        with only(site.proxy, worker):
            ids += [site.chat("model").response().get("x-request-id") for _ in range(5)]
    assert None not in ids
    assert len(set(ids)) == len(ids)


def test_each_worker_tells_of_its_own_messages(launch: Launcher) -> None:
    site = Site(launch, {"model": {"endpoints": [launch.server().url]}}, args=TWO)
    told = {}
    for worker in workers(site.proxy):
        with only(site.proxy, worker):
            response = site.chat("model", x_request_id=f"of-{worker}").response()
            assert response.status == 200
            assert response.body
            told[worker] = site.proxy.ask("GET", "/-/decisions").json
            found = site.proxy.ask("GET", "/-/config").json
            assert (found["worker"], found["workers"]) == (told[worker]["worker"], 2)
    assert sorted(each["worker"] for each in told.values()) == [0, 1]
    for worker, each in told.items():
        assert each["workers"] == 2
        (decision,) = each["decisions"]
        assert (decision["id"], decision["status"], decision["cluster"]) == (f"of-{worker}", 200, "model")


def test_a_worker_that_stands_still_is_replaced(launch: Launcher) -> None:
    if launch.path != "fast":
        pytest.skip("the way in does not matter")
    site = Site(launch, {"main": {}}, {"limits": {"worker_timeout": "5s"}}, args=TWO)
    stands, other = workers(site.proxy)
    os.kill(stands, signal.SIGSTOP)
    site.proxy.wait_for(rf"worker {stands} has stood still for \d+ s: ending it")
    site.proxy.wait_for(rf"worker {stands} was killed by SIGKILL: starting another")
    wait_until(lambda: len(workers(site.proxy)) == 2, "another one has started")
    assert other in workers(site.proxy)
    assert site.proxy.output.count("stood still") == 1
    assert all(site.proxy.ask("GET", "/healthz").status == 200 for _ in range(10))
