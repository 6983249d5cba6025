"""Routes that answer by themselves: in any dialect, on both paths, and without any cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .support.metrics import Metrics
from .support.proxy import Proxy, command
from .support.site import Launcher

REPLIES: dict[str, dict[str, Any]] = {
    "json": {"status": 201, "json": {"ok": [1, None, "é"]}},
    "null": {"json": None},
    "text": {"status": 404, "text": "nothing hére", "headers": {"X-A": "b", "cache-control": "no-store"}},
    "typed": {"text": "<p>", "headers": {"Content-Type": "text/html"}},
    "events": {
        "text": "data: 1\n\n",
        "headers": {"Content-Type": "Text/Event-Stream; charset=utf-8", "X-Accel-Buffering": "yes"},
    },
    "empty": {"status": 204},
    "bare": {"status": 503},
    "denied": {"error": "forbidden"},
    "full": {"error": "overloaded"},
}
ROUTES = [
    *({"name": name, "match": {"headers": {"x-to": [name]}}, "reply": reply} for name, reply in REPLIES.items()),
    {"name": "paths", "match": {"path": ["/v1/files"]}, "reply": {"json": {"data": []}}},
]
ENVELOPE = b'{"id":"e-1","kind":"query"}'
CHAT = b'{"model":"m","messages":[],"stream":true}'
MESSAGES = [("/v1/envelopes", ENVELOPE), ("/v1/chat/completions", CHAT)]


@pytest.fixture(scope="module")
def proxy(shared: Launcher) -> Proxy:
    return shared.serve({"routes": ROUTES})


@pytest.mark.parametrize(("target", "body"), MESSAGES)
def test_a_route_replies_with_json(proxy: Proxy, target: str, body: bytes) -> None:
    response = proxy.ask("POST", target, body, headers={"x-to": "json"})
    assert (response.status, response.body) == (201, '{"ok":[1,null,"é"]}'.encode())
    assert (response.get("content-type"), response.get("x-waypost-route")) == ("application/json", "json")
    assert (response.get("x-waypost-attempts"), response.get("x-waypost-cluster")) == ("0", None)
    assert response.get("x-request-id")


def test_a_route_replies_with_null(proxy: Proxy) -> None:
    assert proxy.ask("POST", "/v1/envelopes", ENVELOPE, headers={"x-to": "null"}).body == b"null"


@pytest.mark.parametrize(("target", "body"), MESSAGES)
def test_a_route_replies_with_text_and_its_own_headers(proxy: Proxy, target: str, body: bytes) -> None:
    response = proxy.ask("POST", target, body, headers={"x-to": "text"})
    assert (response.status, response.body) == (404, "nothing hére".encode())
    assert response.get("content-type") == "text/plain; charset=utf-8"
    assert (response.get("x-a"), response.get("cache-control")) == ("b", "no-store")


def test_a_replys_own_content_type_counts(proxy: Proxy) -> None:
    assert proxy.ask("POST", "/v1/envelopes", ENVELOPE, headers={"x-to": "typed"}).get("content-type") == "text/html"


def test_a_reply_of_events_is_not_collected_by_proxies(proxy: Proxy) -> None:
    response = proxy.ask("POST", "/v1/envelopes", ENVELOPE, headers={"x-to": "events"})
    assert (response.status, response.body) == (200, b"data: 1\n\n")
    assert response.get("x-accel-buffering") == "no"
    assert proxy.ask("POST", "/v1/envelopes", ENVELOPE, headers={"x-to": "typed"}).get("x-accel-buffering") is None


@pytest.mark.parametrize(("to", "status", "length"), [("empty", 204, None), ("bare", 503, "0")])
def test_a_reply_may_have_no_body(proxy: Proxy, to: str, status: int, length: str | None) -> None:
    client = proxy.client()
    for _ in range(2):  # on one connection: nothing is left in between
        client.ask("POST", "/v1/envelopes", ENVELOPE, headers={"x-to": to})
        response = client.response()
        assert (response.status, response.get("content-length"), response.body) == (status, length, b"")


def test_head_gets_the_head_of_a_reply(proxy: Proxy) -> None:
    client = proxy.client()
    for _ in range(2):
        client.ask("HEAD", "/v1/models", headers={"x-to": "json"})
        response = client.response("HEAD")
        assert (response.status, response.get("content-length")) == (201, "20")
    client.ask("GET", "/v1/models", headers={"x-to": "json"})
    assert client.response("GET").json == {"ok": [1, None, "é"]}


def test_an_error_has_the_status_of_its_code_and_the_shape_of_the_dialect(proxy: Proxy) -> None:
    response = proxy.ask("POST", "/v1/envelopes", ENVELOPE, headers={"x-to": "denied"})
    assert (response.status, response.json["id"], response.error["code"]) == (403, "e-1", "forbidden")
    assert "route `denied`" in response.error["message"]
    response = proxy.ask("POST", "/v1/chat/completions", CHAT, headers={"x-to": "denied"})
    assert (response.status, response.error["code"], response.error["type"]) == (403, "forbidden", "permission_error")
    response = proxy.ask("POST", "/v1/chat/completions", CHAT, headers={"x-to": "full"})
    assert (response.status, response.get("retry-after")) == (503, "1")


@pytest.mark.parametrize("body", [b"x" * 10, b"x" * 500_000], ids=["short", "long"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_streams_past_is_thrown_away(proxy: Proxy, body: bytes, chunked: bool) -> None:
    client = proxy.client()
    for _ in range(2):
        fields = [("Content-Type", "application/octet-stream")]
        if chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            head = "POST /v1/files HTTP/1.1\r\nHost: p\r\nContent-Type: application/octet-stream\r\n"
            client.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + data)
        else:
            client.ask("POST", "/v1/files", body, fields)
        response = client.response()
        assert (response.status, response.json) == (200, {"data": []})
        if response.get("connection") == "close":
            client = proxy.client()


def test_a_message_of_http_1_0_gets_a_reply_and_its_connection_ends(proxy: Proxy) -> None:
    client = proxy.client()
    client.send(b"POST /v1/envelopes HTTP/1.0\r\nx-to: json\r\ncontent-length: %d\r\n\r\n" % len(ENVELOPE) + ENVELOPE)
    answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert answer.endswith('{"ok":[1,null,"é"]}'.encode())


def test_replies_are_counted_and_logged(launch: Launcher) -> None:
    file = launch.directory / "access.log"
    proxy = launch.serve({"routes": ROUTES, "access_log": str(file)})
    for to in ("json", "denied"):
        proxy.ask("POST", "/v1/envelopes", ENVELOPE, headers={"x-to": to})
    metrics = Metrics(proxy)
    assert metrics("requests_total", route="json", cluster="(none)", status="2xx") == 1
    assert metrics("requests_total", route="denied", cluster="(none)", status="4xx") == 1
    assert metrics("errors_total", code="forbidden") == 1
    proxy.stop()
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert (first["route"], first["status"], first["why"], first["attempts"]) == ("json", 201, "ok", 0)
    assert (first["bytes_out"], "cluster" in first) == (20, False)
    assert (second["route"], second["status"], second["why"]) == ("denied", 403, "forbidden")


def test_explain_shows_the_reply(launch: Launcher) -> None:
    config = str(launch.serve({"routes": ROUTES}).config)
    done = command("explain", config, "--header", "x-to: json", stdin=ENVELOPE)
    assert b"json \xe2\x86\x92 replies with 201, 20 bytes of application/json\n" in done.stdout
    done = command("explain", config, "--header", "x-to: denied", "--json", stdin=ENVELOPE)
    document = json.loads(done.stdout)
    assert (document["action"], document["cluster"], document["mirror"]) == ("reply", None, None)
    assert (document["reply"]["status"], document["reply"]["error"]) == (403, "forbidden")
