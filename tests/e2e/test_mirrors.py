"""Mirrors: copies of messages for a second cluster, which never delay or fail the message."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from waypost._native import Snapshot
from waypost.config import from_dict

from .support.metrics import Metrics
from .support.proxy import Proxy, command, wait_until
from .support.site import Launcher
from .support.upstream import closed_port

CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
ENVELOPE = b'{"id":"e-1","kind":"model","content":"hi","tenant":"acme"}'
CALM = {"retry": "off", "breaker": "off"}


class Mirrored:
    """A proxy whose only route mirrors its messages, and both upstreams."""

    def __init__(
        self,
        launcher: Launcher,
        *,
        mirror: dict[str, Any] | None = None,
        copies: dict[str, Any] | None = None,
        rest: dict[str, Any] | None = None,
    ) -> None:
        self.main = launcher.upstream()
        self.copies = launcher.upstream()
        clusters = {
            "main": {"speaks": "openai", "endpoints": [self.main.url], "model": "m", **CALM},
            "copies": {"speaks": "openai", "endpoints": [self.copies.url], "model": "m", **CALM, **(copies or {})},
        }
        route = {
            "name": "all",
            "match": {"path": [{"prefix": "/"}]},
            "to": "main",
            "mirror": mirror or {"to": "copies"},
        }
        self.log = launcher.directory / f"access-{len(launcher.proxies)}.log"
        config = {"clusters": clusters, "routes": [route], "access_log": str(self.log), **(rest or {})}
        self.proxy: Proxy = launcher.serve(config)

    def metric(self, result: str) -> float:
        return Metrics(self.proxy)("internal_calls_total", call="mirror", result=result)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def ask(mirrored: Mirrored, body: bytes = CHAT, target: str = "/v1/chat/completions", **headers: str) -> Any:
    client = mirrored.proxy.client()
    client.ask("POST", target, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return client


def test_a_copy_goes_to_the_mirror_and_its_response_nowhere(launch: Launcher) -> None:
    site = Mirrored(launch)
    client = ask(site, x_request_id="r-1", x_waypost_tenant="acme", x_own="kept")
    peer, request = site.main.request()
    copy_peer, copy = site.copies.request()
    assert (copy.method, copy.target, copy.body) == (request.method, request.target, request.body)
    for name in ("x-request-id", "x-waypost-tenant", "x-own", "content-type"):
        assert copy.get(name) == request.get(name), name
    assert (copy.get("traceparent") or "")[:35] == (request.get("traceparent") or "")[:35]
    copy_peer.reply(b'{"of": "the copy"}', 500)
    peer.reply(b'{"of": "the message"}')
    response = client.response()
    assert (response.status, response.json) == (200, {"of": "the message"})
    assert (response.get("x-waypost-cluster"), response.get("x-waypost-attempts")) == ("main", "1")


def test_a_mirror_is_counted_and_logged_as_one(launch: Launcher) -> None:
    site = Mirrored(launch)
    for status in (200, 503):
        client = ask(site, x_request_id=f"r-{status}")
        site.copies.request()[0].reply(status=status)
        site.main.request()[0].reply()
        assert client.response().status == 200
    wait_until(lambda: site.metric("succeeded") + site.metric("failed") == 2, "both copies are over")
    assert (site.metric("succeeded"), site.metric("failed"), site.metric("dropped")) == (1, 1, 0)
    metrics = Metrics(site.proxy)
    assert metrics("requests_total") == metrics("requests_total", route="all", cluster="main", status="2xx") == 2
    assert metrics("requests_in_flight") == 0
    wait_until(lambda: len(site.lines()) == 4, "all lines are in the log")
    copies = [line for line in site.lines() if line.get("call") == "mirror"]
    assert sorted((line["id"], line["cluster"], line["status"]) for line in copies) == [
        ("r-200", "copies", 200),
        ("r-503", "copies", 503),
    ]
    assert all(line["cluster"] == "main" for line in site.lines() if "call" not in line)


@pytest.mark.parametrize("broken", ["dead", "silent"])
def test_a_mirror_that_fails_or_hangs_costs_the_message_nothing(launch: Launcher, broken: str) -> None:
    copies = {"endpoints": [f"http://127.0.0.1:{closed_port()}"]} if broken == "dead" else {}
    site = Mirrored(launch, copies=copies)
    for _ in range(3):
        client = ask(site)
        site.main.request()[0].reply()
        assert client.response().status == 200


def test_more_mirrors_than_the_limit_are_dropped_and_counted(launch: Launcher) -> None:
    site = Mirrored(launch, rest={"limits": {"mirrors": 2}})
    held = []
    for number in range(5):
        client = ask(site)
        if number < 2:
            held.append(site.copies.request()[0])  # not answered
        site.main.request()[0].reply()
        assert client.response().status == 200
    assert site.metric("dropped") == 3
    for peer in held:
        peer.reply()
    wait_until(lambda: site.metric("succeeded") == 2, "the copies are over")
    client = ask(site)
    site.copies.request()[0].reply()
    site.main.request()[0].reply()
    assert client.response().status == 200
    assert site.metric("dropped") == 3


def test_a_share_of_the_messages_is_mirrored_by_their_ids(launch: Launcher) -> None:
    site = Mirrored(launch, mirror={"to": "copies", "share": "50%"})
    config = json.loads(site.proxy.config.read_text())  # type: ignore[union-attr]
    snapshot = Snapshot(from_dict(config).to_native())
    fields = [(b"host", b"p"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(CHAT))]
    expected = {}
    for number in range(12):
        headers = [*fields, (b"x-request-id", b"m-%d" % number)]
        plan = snapshot.accept("POST", b"/v1/chat/completions", headers).plan(CHAT)
        expected[number] = plan.mirror is not None
    assert 2 <= sum(expected.values()) <= 10
    for _ in range(2):  # the same ids again: the same messages
        for number, mirrored in expected.items():
            client = ask(site, x_request_id=f"m-{number}")
            if mirrored:
                peer, copy = site.copies.request()
                assert copy.get("x-request-id") == f"m-{number}"
                peer.reply()
            site.main.request()[0].reply()
            assert client.response().status == 200
    wait_until(lambda: site.metric("succeeded") == 2 * sum(expected.values()), "all copies are over")


def test_a_mirror_carries_no_credential_of_the_client(launch: Launcher) -> None:
    for credential, expected in ((None, None), ("pass", None), ({"header": "x-api-key", "value": "own"}, "own")):
        site = Mirrored(launch, copies={"credential": credential} if credential else {})
        client = ask(site, authorization="Bearer secret", x_api_key="client", cookie="a=b")
        _, copy = site.copies.request()
        assert (copy.get("x-api-key"), copy.get("authorization"), copy.get("cookie")) == (expected, None, None)
        site.main.request()[0].reply()
        assert client.response().status == 200


def test_a_mirror_spends_no_rate_of_its_caller(launch: Launcher) -> None:
    key = {"name": "k", "hash": "sha256:" + hashlib.sha256(b"key").hexdigest(), "tenant": "acme"}
    rate = [{"per": "tenant", "messages": 1, "every": "1h"}, {"per": "cluster", "messages": 2, "every": "1h"}]
    site = Mirrored(launch, copies={"rate": rate}, rest={"keys": [key]})
    for number in range(3):
        client = ask(site, authorization="Bearer key")
        site.main.request()[0].reply()
        assert client.response().status == 200
        if number < 2:  # the cluster's own rate holds, the tenant's is not touched
            site.copies.request()[0].reply()


def test_a_mirror_is_translated_where_its_cluster_needs_that(launch: Launcher) -> None:
    site = Mirrored(launch)
    client = ask(site, ENVELOPE, "/v1/envelopes")
    _, copy = site.copies.request()
    assert (copy.target, copy.json["messages"]) == ("/v1/chat/completions", [{"role": "user", "content": "hi"}])
    site.main.request()[0].reply(
        b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}'
    )
    assert client.response().json["result"]["content"] == "yes"


def test_a_body_that_streams_past_is_not_mirrored(launch: Launcher) -> None:
    site = Mirrored(launch)
    client = ask(site, b"x" * 1000, "/v1/files", content_type="application/octet-stream")
    peer, request = site.main.request()
    assert request.body == b"x" * 1000
    peer.reply()
    assert client.response().status == 200
    assert (site.metric("dropped"), site.metric("succeeded")) == (1, 0)


def test_a_client_that_leaves_does_not_end_the_copy(launch: Launcher) -> None:
    site = Mirrored(launch)
    client = ask(site)
    site.main.request()
    peer, _ = site.copies.request()
    client.close()
    wait_until(lambda: Metrics(site.proxy)("clients_gone_total") == 1, "the proxy has noticed")
    peer.reply()
    wait_until(lambda: site.metric("succeeded") == 1, "the copy is over")


def test_check_names_what_cannot_be_mirrored(launch: Launcher, tmp_path: Path) -> None:
    config = {
        "clusters": {
            "a": {"speaks": "envelope", "endpoints": ["http://127.0.0.1:9"]},
            "b": {"speaks": "openai", "endpoints": ["http://127.0.0.1:9"]},
        },
        "routes": [{"name": "r", "match": {"kind": "query"}, "to": "a", "mirror": {"to": "b", "share": "200%"}}],
    }
    file = tmp_path / "w.yaml"
    file.write_text(json.dumps(config))
    out = command("check", "--running", str(file)).stdout.decode()
    assert "routes[0].mirror.share: 200% is out of range; write 1% to 100%" in out
    config["routes"][0]["mirror"]["share"] = "10%"  # type: ignore[index]
    file.write_text(json.dumps(config))
    out = command("check", "--running", str(file)).stdout.decode()
    assert "routes[0].mirror.to: cluster `b` speaks openai: envelopes of kind query cannot be sent to it" in out
