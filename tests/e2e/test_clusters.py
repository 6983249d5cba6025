"""Policies of clusters: which endpoint a message goes to, when another one, who waits, and what `/-/clusters` shows."""

from __future__ import annotations

import json
import re
import signal
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .support.certificates import Authority
from .support.proxy import Proxy, wait_until
from .support.site import Launcher, Site
from .support.upstream import OK, Request, closed_port, plain
from .support.wire import head

CALM_HEALTH = {"slow_start": "0s"}


def seen(proxy: Proxy, cluster: str) -> dict[str, Any]:
    """What `/-/clusters` shows of a cluster."""
    document = proxy.ask("GET", "/-/clusters").json
    (found,) = [each for each in document["clusters"] if each["name"] == cluster]
    return found


def endpoint(proxy: Proxy, cluster: str, url: str) -> dict[str, Any]:
    (found,) = [each for each in seen(proxy, cluster)["endpoints"] if each["url"] == url]
    return found


def condition(proxy: Proxy, cluster: str) -> str:
    """Of a cluster with one endpoint."""
    (only,) = seen(proxy, cluster)["endpoints"]
    word: str = only["condition"]
    return word


def idle(proxy: Proxy, cluster: str) -> bool:
    found = seen(proxy, cluster)
    return not (found["in_flight"] or found["waiting"] or any(each["in_flight"] for each in found["endpoints"]))


def messages(site: Site, cluster: str, count: int) -> Iterable[tuple[str | None, str | None]]:
    """Cluster and attempts of each response."""
    for _ in range(count):
        response = site.chat(cluster).response()
        _ = response.body
        yield response.get("x-waypost-cluster"), response.get("x-waypost-attempts")


# Endpoints.


def test_a_breaker_opens_and_lets_a_trial_pass(launch: Launcher) -> None:
    backup = launch.server()
    breaker = {"consecutive": 2, "open": "300ms", "open_max": "300ms", "jitter": "0%", "trials": 1}
    site = Site(
        launch,
        {
            "main": {"breaker": breaker, "health": CALM_HEALTH, "fallback": ["backup"]},
            "backup": {"endpoints": [backup.url]},
        },
    )
    for _ in range(2):
        client = site.chat("main")
        peer, _ = site["main"].request()
        peer.close()
        assert client.response().get("x-waypost-attempts") == "2"
    assert condition(site.proxy, "main") == "open"
    sample = f'waypost_endpoint_condition{{cluster="main",endpoint="{site["main"].url}",condition="open"}} 1'
    assert sample in site.proxy.ask("GET", "/metrics").body.decode().splitlines()
    assert list(messages(site, "main", 3)) == [("backup", "1")] * 3
    assert site["main"].untouched()
    told = f"WARNING endpoint {re.escape(site['main'].url)} of cluster `main` is "
    site.proxy.wait_for(told + "left alone: its breaker is open, 2 failures in a row\n")
    wait_until(lambda: condition(site.proxy, "main") == "half_open", "the breaker lets a trial pass")
    client = site.chat("main")
    peer, _ = site["main"].request()
    # One at a time: others still go elsewhere.
    assert list(messages(site, "main", 1)) == [("backup", "1")]
    peer.reply()
    assert client.response().get("x-waypost-cluster") == "main"
    assert condition(site.proxy, "main") == "fit"
    site.proxy.wait_for(told + "used again\n")
    assert idle(site.proxy, "main")
    assert idle(site.proxy, "backup")


def test_the_budget_ends_a_storm_of_retries(launch: Launcher) -> None:
    retry = {"attempts": 3, "budget": "10%", "budget_minimum": 0, "window": "1h", "backoff": "0s"}
    dead = [f"http://127.0.0.1:{closed_port()}" for _ in range(3)]
    site = Site(launch, {"dead": {"endpoints": dead, "retry": retry}})
    made = 0
    for _ in range(50):
        response = site.chat("dead").response()
        assert response.status == 502
        made += int(response.get("x-waypost-attempts") or 0)
    found = seen(site.proxy, "dead")
    assert made == 50 + 5
    assert (found["messages"], found["retries"], found["retries_left"]) == (50, 5, 0)
    assert sum(each["attempts"]["unreachable"] for each in found["endpoints"]) == made


def test_messages_with_the_same_value_go_to_the_same_endpoint(launch: Launcher) -> None:
    servers = [launch.server() for _ in range(4)]
    urls = [server.url for server in servers]
    site = Site(
        launch,
        {
            "field": {"endpoints": urls, "balance": {"hash": "labels.session"}, "speaks": "envelope"},
            "header": {"endpoints": urls, "balance": {"hash": "headers.x-session"}},
        },
    )

    def homes(send: Callable[[str], Any]) -> dict[str, int]:
        found = {}
        for session in map(str, range(20)):
            asked = set()
            for _ in range(3):
                before = [len(server.requests) for server in servers]
                response = send(session).response()
                assert (response.status, response.body) == (200, OK)
                after = [len(server.requests) for server in servers]
                asked.add([b - a for a, b in zip(before, after, strict=True)].index(1))
            (found[session],) = asked
        return found

    def envelope(session: str) -> Any:
        body = {"id": "e", "kind": "query", "labels": {"other": "x", "session": session}}
        return site.envelope("field", body)

    by_field = homes(envelope)
    assert len(set(by_field.values())) == 4
    assert by_field == homes(lambda session: site.chat("header", x_session=session))


def test_an_active_check_takes_an_endpoint_out_and_back(launch: Launcher) -> None:
    well = threading.Event()
    asked: list[Request] = []

    def answer(request: Request) -> bytes:
        if request.target != "/are/you/well":
            return plain(request)
        asked.append(request)
        status = "204 No Content" if well.is_set() else "503 Service Unavailable"
        return head(f"HTTP/1.1 {status}", [("content-length", "0")] if not well.is_set() else [])

    server, backup = launch.server(answer), launch.server()
    check = {
        "path": "/are/you/well",
        "interval": "100ms",
        "timeout": "2s",
        "healthy": 2,
        "unhealthy": 2,
        "jitter": "0%",
    }
    clusters = {
        "main": {
            "endpoints": [f"{server.url}/base"],
            "health": {"check": check, "slow_start": "0s"},
            "fallback": ["backup"],
        },
        "backup": {"endpoints": [backup.url]},
    }
    site = Site(launch, clusters)
    wait_until(lambda: condition(site.proxy, "main") == "check_fails", "the endpoint is out")
    told = f"WARNING endpoint {re.escape(server.url)}/base of cluster `main` is "
    site.proxy.wait_for(told + "left alone: its active check fails\n")
    assert list(messages(site, "main", 2)) == [("backup", "1")] * 2
    assert (asked[0].method, asked[0].get("host")) == ("GET", server.url.removeprefix("http://"))
    well.set()
    wait_until(lambda: condition(site.proxy, "main") == "fit", "the endpoint is back")
    assert list(messages(site, "main", 2)) == [("main", "1")] * 2
    # What a message says and what a check says are two things: an endpoint that is gone fails its check.
    assert endpoint(site.proxy, "main", f"{server.url}/base")["check"] is True
    # A reload that drops the check ends it.
    config = json.loads(site.proxy.config.read_text()) if site.proxy.config else {}
    del config["clusters"]["main"]["health"]
    assert site.proxy.config is not None
    site.proxy.config.write_text(json.dumps(config))
    site.proxy.wait_for("reloaded")
    assert endpoint(site.proxy, "main", f"{server.url}/base")["check"] is None


def test_checks_use_the_clusters_tls(launch: Launcher, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1"))
    upstream = launch.upstream(tls=context)
    health = {"check": {"path": "/", "interval": "100ms"}}
    tls = {"ca": str(authority.certificate)}
    site = Site(launch, {"secure": {"endpoints": [upstream.url], "tls": tls, "health": health}})
    peer, request = upstream.request()
    assert (request.method, request.target) == ("GET", "/")
    peer.reply()
    wait_until(lambda: endpoint(site.proxy, "secure", upstream.url)["check"] is True, "the check is good")


def test_an_endpoint_that_asked_for_rest_gets_it(launch: Launcher) -> None:
    backup = launch.server()
    site = Site(
        launch,
        {
            "main": {"health": CALM_HEALTH, "fallback": ["backup"]},
            "alone": {"health": CALM_HEALTH},
            "backup": {"endpoints": [backup.url]},
        },
    )
    client = site.chat("main")
    peer, _ = site["main"].request()
    peer.reply(b"{}", 429, [("retry-after", "1")])
    assert client.response().get("x-waypost-attempts") == "2"
    assert condition(site.proxy, "main") == "resting"
    assert list(messages(site, "main", 1)) == [("backup", "1")]
    assert site["main"].untouched()
    wait_until(lambda: condition(site.proxy, "main") == "fit", "the endpoint has rested")
    client = site.chat("main")
    peer, _ = site["main"].request()
    peer.reply()
    assert client.response().get("x-waypost-cluster") == "main"
    # Where there is nobody else, the next one is told when to come.
    client = site.chat("alone")
    peer, _ = site["alone"].request()
    peer.reply(b"{}", 503, [("retry-after", "20")])
    assert client.response().status == 503
    response = site.chat("alone").response()
    assert (response.status, response.error["code"]) == (503, "overloaded")
    assert 15 <= int(response.get("retry-after") or 0) <= 20
    assert "asked for a pause" in response.error["message"]


def test_a_retry_waits_for_as_long_as_the_endpoint_said(launch: Launcher) -> None:
    site = Site(launch, {"main": {"retry": {"attempts": 2}, "health": CALM_HEALTH}})
    client = site.chat("main")
    peer, _ = site["main"].request()
    peer.reply(b"{}", 429, [("retry-after", "1")])
    assert condition(site.proxy, "main") == "resting"
    peer, _ = site["main"].request()
    assert condition(site.proxy, "main") != "resting"
    peer.reply(b'{"n":2}')
    response = client.response()
    assert (response.json, response.get("x-waypost-attempts")) == ({"n": 2}, "2")
    # A client that leaves meanwhile takes its place with it.
    client = site.chat("main")
    peer, _ = site["main"].request()
    peer.reply(b"{}", 429, [("retry-after", "20")])
    wait_until(lambda: condition(site.proxy, "main") == "resting", "the endpoint rests")
    client.close()
    wait_until(lambda: idle(site.proxy, "main"), "nothing is in flight")


# Hedging.


def test_a_second_attempt_wins_over_a_slow_one(launch: Launcher) -> None:
    stuck, release = threading.Event(), threading.Event()

    def answer(request: Request) -> bytes:
        if stuck.is_set():
            stuck.clear()
            release.wait(10)
        return plain(request)

    servers = [launch.server(answer), launch.server(answer)]
    hedge = {"after": "p95", "minimum": "50ms", "samples": 10}
    cluster = {"endpoints": [server.url for server in servers], "hedge": hedge, "retry": {}, "balance": "round_robin"}
    site = Site(launch, {"pair": cluster, "native": {**cluster, "speaks": "envelope"}})
    try:
        assert {attempts for _, attempts in messages(site, "pair", 12)} == {"1"}
        stuck.set()
        assert list(messages(site, "pair", 1)) == [("pair", "2")]
        found = seen(site.proxy, "pair")
        assert (found["hedges"], sum(each["attempts"]["cancelled"] for each in found["endpoints"])) == (1, 1)
        assert sum(each["attempts"]["succeeded"] for each in found["endpoints"]) == 13
        assert idle(site.proxy, "pair")
        # What must not be executed twice is waited for.
        for _ in range(12):
            assert site.envelope("native").response().status == 200
        release.clear()
        stuck.set()
        client = site.envelope("native", {"id": "e-1", "kind": "tool"})
        wait_until(lambda: not stuck.is_set(), "it is asked")
        release.set()
        assert client.response().get("x-waypost-attempts") == "1"
    finally:
        release.set()


def test_of_two_attempts_that_fail_the_one_that_answered_is_heard(launch: Launcher) -> None:
    pair = [launch.upstream(), launch.upstream()]
    hedge = {"after": "p95", "minimum": "50ms", "samples": 10}
    urls = [upstream.url for upstream in pair]
    cluster = {"endpoints": urls, "hedge": hedge, "retry": {"attempts": 2}, "balance": "round_robin"}
    site = Site(launch, {"pair": cluster})
    for turn in range(12):
        client = site.chat("pair")
        peer, _ = pair[turn % 2].request()
        peer.reply()
        assert client.response().get("x-waypost-attempts") == "1"
    client = site.chat("pair")
    slow, _ = pair[0].request()
    peer, _ = pair[1].request()
    peer.reply(b'{"busy":1}', 503)
    wait_until(lambda: endpoint(site.proxy, "pair", urls[1])["attempts"]["refused"] == 1, "it was told")
    slow.send(b"HTTP/1.1 200")  # so that it is no idle connection that was closed
    slow.close()
    response = client.response()
    assert (response.status, response.json, response.get("x-waypost-attempts")) == (503, {"busy": 1}, "2")
    assert idle(site.proxy, "pair")


# Room.


def test_who_finds_no_room_waits_by_priority(launch: Launcher) -> None:
    site = Site(launch, {"small": {"speaks": "envelope", "concurrency": 1}})
    upstream = site["small"]
    clients = {"held": site.envelope("small", {"id": "held", "kind": "tool"})}
    peer, request = upstream.request()
    for waiting, (name, priority) in enumerate([("low", 1), ("usual", None), ("high", 9), ("later", 5)]):
        body = {"id": name, "kind": "tool", **({} if priority is None else {"priority": priority})}
        clients[name] = site.envelope("small", body)
        wait_until(lambda count=waiting: seen(site.proxy, "small")["waiting"] == count + 1, "it waits")
    assert seen(site.proxy, "small")["waiting_by_priority"] == {"1": 1, "5": 2, "9": 1}
    order = []
    for name in ("held", "high", "usual", "later", "low"):
        assert upstream.untouched() or name == "held"
        order.append(request.json["id"])
        assert seen(site.proxy, "small")["in_flight"] == 1
        peer.reply()
        assert clients[name].response().status == 200
        if name != "low":
            peer, request = upstream.request()
    assert order == ["held", "high", "usual", "later", "low"]
    assert idle(site.proxy, "small")


def test_how_long_a_message_waited_is_logged(launch: Launcher) -> None:
    site = Site(launch, {"small": {"speaks": "envelope", "concurrency": 1}}, {"access_log": "stdout"})
    held = site.envelope("small", {"id": "held", "kind": "tool"})
    peer, _ = site["small"].request()
    waits = site.envelope("small", {"id": "waits", "kind": "tool"})
    wait_until(lambda: seen(site.proxy, "small")["waiting"] == 1, "it waits")
    for client in (held, waits):
        peer.reply()
        assert client.response().status == 200
        if client is held:
            peer, _ = site["small"].request()
    times = {}
    for name in ("held", "waits"):
        line = json.loads(site.proxy.wait_for(rf'\{{.*"id":"{name}".*\}}')[0])
        times[name] = line["queue_ms"]
        assert line["queue_ms"] <= line["total_ms"]
    assert times["held"] == 0 < times["waits"]


def test_who_leaves_the_queue_is_forgotten(launch: Launcher) -> None:
    site = Site(launch, {"small": {"concurrency": 1}})
    client = site.chat("small")
    peer, _ = site["small"].request()
    gone, patient = site.chat("small"), site.chat("small")
    wait_until(lambda: seen(site.proxy, "small")["waiting"] == 2, "they wait")
    gone.close()
    wait_until(lambda: seen(site.proxy, "small")["waiting"] == 1, "one has left")
    client.close()  # in flight, and gone too
    peer, _ = site["small"].request()
    peer.reply()
    assert patient.response().status == 200
    assert idle(site.proxy, "small")


def test_a_full_queue_is_told_with_when_to_come_back(launch: Launcher) -> None:
    site = Site(
        launch,
        {
            "small": {"speaks": "envelope", "concurrency": 1, "queue": {"length": 1}},
            "hasty": {"concurrency": 1, "queue": {"wait": "200ms"}},
            "roomy": {"concurrency": 1, "queue": {"wait": "1h"}},
            "spills": {"concurrency": 1, "queue": {"length": 0}, "fallback": ["spare"]},
            "spare": {"endpoints": [launch.server().url]},
        },
    )
    held = site.envelope("small")
    peer, _ = site["small"].request()
    waits = site.envelope("small")
    wait_until(lambda: seen(site.proxy, "small")["waiting"] == 1, "it waits")
    response = site.envelope("small").response()
    assert (response.status, response.error["code"], response.get("retry-after")) == (503, "queue_full", "1")
    assert (response.get("x-waypost-attempts"), response.get("x-waypost-cluster")) == ("0", "small")
    # A more urgent one takes the place of the one that waits.
    urgent = site.envelope("small", {"id": "urgent", "kind": "query", "priority": 9})
    response = waits.response()
    assert (response.status, response.error["code"]) == (503, "queue_full")
    peer.reply()
    assert held.response().status == 200
    peer, request = site["small"].request()
    assert request.json["id"] == "urgent"
    peer.reply()
    assert urgent.response().status == 200
    assert seen(site.proxy, "small")["refused"]["displaced"] == 1
    # Nobody waits for longer than the cluster allows, or than the message has.
    held = site.chat("hasty")
    peer, _ = site["hasty"].request()
    response = site.chat("hasty").response()
    assert (response.status, response.error["code"], response.get("retry-after")) == (503, "deadline_too_short", "1")
    site.chat("roomy")
    site["roomy"].request()
    response = site.chat("roomy", x_waypost_deadline_ms="100").response()
    assert (response.status, response.error["code"]) == (504, "deadline_exceeded")
    # Where there is somewhere else to go, nobody is refused.
    site.chat("spills")
    site["spills"].request()
    assert list(messages(site, "spills", 1)) == [("spare", "1")]


def test_a_rate_is_told_with_when_to_come_back(launch: Launcher) -> None:
    server = launch.server()
    rate = {"per": "tenant", "messages": 2, "every": "60s"}
    site = Site(launch, {"slow": {"endpoints": [server.url], "rate": [rate], "fallback": ["other"]},
                         "other": {"endpoints": [server.url]}})  # fmt: skip
    for _ in range(2):
        assert site.chat("slow", x_waypost_tenant="acme").response().status == 200
    response = site.chat("slow", x_waypost_tenant="acme").response()
    assert (response.status, response.error["code"]) == (429, "rate_limited")
    assert 25 <= int(response.get("retry-after") or 0) <= 30
    assert response.error["message"] == "cluster slow: more than 2 messages from one tenant in 60 s"
    assert site.chat("slow", x_waypost_tenant="globex").response().status == 200
    found = seen(site.proxy, "slow")
    assert (found["refused"]["rate_limited"], found["rates"][0]["accounts"]) == (1, 2)
    assert len(server.requests) == 3


# State.


def test_a_reload_keeps_what_is_known(launch: Launcher) -> None:
    backup = launch.server()
    breaker = {"consecutive": 1, "open": "1h", "open_max": "1h"}
    site = Site(
        launch,
        {
            "main": {"breaker": breaker, "fallback": ["backup"]},
            "small": {"concurrency": 1},
            "backup": {"endpoints": [backup.url]},
        },
    )
    client = site.chat("main")
    peer, _ = site["main"].request()
    peer.close()
    assert client.response().get("x-waypost-cluster") == "backup"
    held, waits = site.chat("small"), site.chat("small")
    peer, _ = site["small"].request()
    wait_until(lambda: seen(site.proxy, "small")["waiting"] == 1, "one waits")
    assert site.proxy.config is not None
    config = json.loads(site.proxy.config.read_text())
    config["clusters"]["small"]["concurrency"] = 2
    config["routes"].append({"name": "one-more", "to": "main"})
    site.proxy.config.write_text(json.dumps(config))
    site.proxy.signal(signal.SIGHUP)
    # The limit was raised: who waited goes on at once.
    second, _ = site["small"].request()
    assert (condition(site.proxy, "main"), seen(site.proxy, "main")["messages"]) == ("open", 1)
    assert list(messages(site, "main", 1)) == [("backup", "1")]
    for each in (peer, second):
        each.reply()
    for client in (held, waits):
        assert client.response().status == 200
    assert idle(site.proxy, "small")


def test_what_is_shown_of_clusters(launch: Launcher) -> None:
    site = Site(launch, {"one": {"concurrency": 7}})
    client = site.chat("one")
    peer, _ = site["one"].request()
    found = seen(site.proxy, "one")
    assert (found["in_flight"], found["limit"], found["waiting"], found["messages"]) == (1, 7, 0, 1)
    assert found["latency"] is None
    peer.reply()
    assert client.response().status == 200
    found = seen(site.proxy, "one")
    assert set(found["latency"]) == {"p50", "p95", "p99"}
    (only,) = found["endpoints"]
    assert (only["url"], only["weight"], only["condition"], only["share"]) == (site["one"].url, 1, "fit", 1.0)
    assert only["attempts"] == {
        "begun": 1, "succeeded": 1, "unreachable": 0, "timed_out": 0, "broken": 0, "refused": 0, "cancelled": 0,
    }  # fmt: skip
    assert site.proxy.ask("POST", "/-/clusters").status == 405
