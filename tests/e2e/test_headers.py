"""What Waypost adds to the headers of requests and responses, what it replaces, and what it drops.

Each row of the two tables in `docs/reference/headers.md` that name the next hop has a test here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from .support.http2 import Http2Client
from .support.proxy import Process
from .support.site import Launcher, Site
from .support.upstream import Request, closed_port
from .support.wire import Fields, chunk

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "headers.md"
TO_ENDPOINTS, TO_CLIENTS = "to endpoints", "to clients"
CHAT = {"model": "m", "messages": []}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DEBUG, PLAIN = "wp-debug", "wp-plain"

Test = TypeVar("Test", bound=Callable[..., Any])
covered: dict[str, list[str]] = {TO_ENDPOINTS: [], TO_CLIENTS: []}


def row(table: str, *names: str) -> Callable[[Test], Test]:
    """The test is that of the row which begins with these headers."""
    covered[table].append(", ".join(names))
    return lambda test: test


def test_each_row_has_a_test() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for table, names in covered.items():
        rows = text.partition(f"| {table} |")[2].partition("\n\n")[0].splitlines()[2:]
        documented = [", ".join(re.findall(r"`([^`]+)`", line.split("|")[1])) for line in rows]
        assert sorted(documented) == sorted(names)


def key(name: str, secret: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "hash": f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}", **rest}


class _Headers(Site):
    @staticmethod
    def _match(name: str) -> dict[str, Any]:
        return {"headers": {"x-to": [name]}} if name != "translated" else {"dialect": "envelope"}


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    clusters: dict[str, dict[str, Any]] = {
        "model": {},
        "passing": {"credential": "pass"},
        "own": {"credential": {"header": "authorization", "value": "Bearer ours"}},
        "translated": {},
        "dead": {"endpoints": [f"http://127.0.0.1:{closed_port()}"]},
        "backed": {"retry": {"attempts": 1}, "fallback": ["model"]},
    }
    keys = [key("d", DEBUG, tenant="acme", debug=True), key("p", PLAIN)]
    return _Headers(shared, clusters, {"keys": keys, "access_log": "off"})


def sent(site: Site, cluster: str = "model", secret: str = PLAIN, **headers: str) -> Request:
    """What an endpoint of `cluster` gets of a message with these headers."""
    client = site.chat(cluster, CHAT, **{"x_waypost_key": secret, **headers})
    peer, request = site[cluster].request()
    peer.reply()
    assert client.response().status == 200
    return request


def envelope(site: Site, secret: str = PLAIN, **fields: Any) -> tuple[Request, Fields]:
    """The translated request of an envelope, and the head of its response."""
    body = {"id": "e-1", "kind": "model", "model": "m", "content": "Hi", **fields}
    client = site.envelope("translated", body, x_waypost_key=secret)
    peer, request = site["translated"].request()
    if body.get("stream"):
        peer.start([("request-id", "req_1")])
        peer.send(chunk(b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'))
        peer.send(chunk(b"data: [DONE]\n\n") + chunk(b""))
    else:
        answer = b'{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
        peer.reply(answer, headers=[("content-type", "application/json"), ("request-id", "req_1")])
    response = client.response()
    assert response.status == 200
    _ = response.body
    return request, response.fields


def answered(
    site: Site, headers: list[tuple[str, str]], *, secret: str = PLAIN, status: int = 200, **sent: str
) -> Fields:
    """The head that a client gets of a response with these headers."""
    client = site.chat("model", CHAT, x_waypost_key=secret, **sent)
    events = any("event-stream" in value.lower() for _, value in headers)  # a stream without an event is no answer
    site["model"].request()[0].reply(b"data: 1\n\n" if events else b"{}", status, headers)
    return client.response().fields


# To endpoints.


@row(TO_ENDPOINTS, "host")
def test_an_endpoint_is_asked_by_its_own_name(site: Site) -> None:
    assert sent(site).get("host") == site["model"].url.removeprefix("http://")


@row(TO_ENDPOINTS, "x-request-id")
def test_an_endpoint_is_told_the_id(site: Site) -> None:
    assert sent(site, x_request_id="mine").fields.all("x-request-id") == ["mine"]
    assert re.fullmatch("[0-9a-f]{32}", sent(site).get("x-request-id") or "")


@row(TO_ENDPOINTS, "traceparent", "tracestate")
def test_a_trace_is_passed_on_as_it_came_and_none_begins_here(site: Site) -> None:
    request = sent(site, traceparent=TRACE, tracestate="a=1")
    assert (request.fields.all("traceparent"), request.get("tracestate")) == ([TRACE], "a=1")
    for headers in ({}, {"tracestate": "a=1"}, {"traceparent": TRACE + "x", "tracestate": "a=1"}):
        request = sent(site, **headers)
        assert request.get("traceparent") is request.get("tracestate") is None
    request, _ = envelope(site)
    assert request.get("traceparent") is None


@row(TO_ENDPOINTS, "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
def test_an_endpoint_is_told_the_way(site: Site) -> None:
    request = sent(site, x_forwarded_for="6.6.6.6", x_forwarded_proto="https", x_forwarded_host="evil.test")
    assert request.fields.all("x-forwarded-for") == ["127.0.0.1"]
    assert request.fields.all("x-forwarded-proto") == ["http"]
    assert "evil.test" not in (request.get("x-forwarded-host") or "")


@row(TO_ENDPOINTS, "forwarded")
def test_a_way_that_nobody_vouches_for_is_dropped(site: Site) -> None:
    assert sent(site, forwarded="for=6.6.6.6").get("forwarded") is None


@row(TO_ENDPOINTS, "via")
def test_an_endpoint_is_told_of_this_hop(site: Site) -> None:
    assert sent(site, via="1.0 edge").get("via") == "1.0 edge, 1.1 waypost"


@row(TO_ENDPOINTS, "te", "connection")
def test_an_endpoint_may_send_trailers_where_the_client_takes_them(site: Site) -> None:
    request = sent(site, te="gzip, trailers")
    assert (request.get("te"), request.get("connection")) == ("trailers", "te")
    request = sent(site)
    assert request.get("te") is request.get("connection") is None


@row(TO_ENDPOINTS, "keep-alive", "proxy-authorization", "proxy-connection", "expect", "trailer", "http2-settings")
def test_what_is_for_one_hop_stays_there(site: Site) -> None:
    request = sent(
        site, connection="keep-alive, x-hop", keep_alive="timeout=5", x_hop="1", proxy_authorization="Basic x"
    )
    assert not {"keep-alive", "x-hop", "proxy-authorization", "connection"} & {name for name, _ in request.fields}


@row(TO_ENDPOINTS, "content-length", "transfer-encoding")
def test_a_body_is_framed_anew(site: Site) -> None:
    assert sent(site).get("content-length") == str(len(json.dumps(CHAT)))


@row(TO_ENDPOINTS, "credential")
@row(TO_ENDPOINTS, "authorization", "x-api-key", "api-key", "cookie")
def test_credentials_pass_where_the_cluster_says_so(site: Site) -> None:
    own = {"authorization": "Bearer sk-user", "x_api_key": "sk-other", "cookie": "a=b"}
    names = [name.replace("_", "-") for name in own]
    assert [sent(site, "passing", **own).get(name) for name in names] == list(own.values())
    assert [sent(site, **own).get(name) for name in names] == [None] * 3
    assert [sent(site, "own", **own).get(name) for name in names] == ["Bearer ours", None, None]
    # A key that Waypost knows goes nowhere.
    request = sent(site, "passing", secret="", authorization=f"Bearer {PLAIN}")
    assert not any(PLAIN in value for _, value in request.fields)


@row(TO_ENDPOINTS, "x-waypost-key")
def test_a_key_for_waypost_is_for_waypost(site: Site) -> None:
    for cluster in ("model", "passing", "own"):
        assert sent(site, cluster).get("x-waypost-key") is None
    assert envelope(site)[0].get("x-waypost-key") is None


@row(TO_ENDPOINTS, "x-waypost-tenant")
def test_an_endpoint_is_told_the_proved_tenant(site: Site) -> None:
    assert sent(site, secret=DEBUG).get("x-waypost-tenant") == "acme"
    assert sent(site, x_waypost_tenant="said").get("x-waypost-tenant") == "said"


@row(TO_ENDPOINTS, "x-waypost-task", "x-waypost-priority")
def test_a_translated_message_carries_what_its_body_cannot(site: Site) -> None:
    request, _ = envelope(site, task="t", priority=7, tenant="globex")
    found = [request.get(f"x-waypost-{name}") for name in ("task", "priority", "tenant")]
    assert found == ["t", "7", "globex"]


@row(TO_ENDPOINTS, "x-waypost-deadline-ms")
def test_an_endpoint_is_told_what_is_left_of_the_deadline(site: Site) -> None:
    assert 0 < int(sent(site, x_waypost_deadline_ms="50000").get("x-waypost-deadline-ms") or 0) <= 50000
    assert sent(site).get("x-waypost-deadline-ms") is None


@row(TO_ENDPOINTS, "accept", "accept-encoding", "content-type")
def test_a_translated_request_says_what_it_takes(site: Site) -> None:
    for stream, accept in ((False, "application/json"), (True, "text/event-stream")):
        request, _ = envelope(site, stream=stream)
        found = [request.get(name) for name in ("accept", "accept-encoding", "content-type")]
        assert found == [accept, "identity", "application/json"]
    request = sent(site, accept="text/plain", accept_encoding="br")
    assert (request.get("accept"), request.get("accept-encoding")) == ("text/plain", "br")


@row(TO_ENDPOINTS, "content-digest", "repr-digest", "digest", "content-md5")
def test_what_describes_a_body_does_not_go_with_its_translation(site: Site) -> None:
    names = ("content-digest", "repr-digest", "digest", "content-md5")
    described = {name.replace("-", "_"): "sha-256=:AA==:" for name in names}
    body = {"id": "e-1", "kind": "model", "model": "m", "content": "Hi"}
    client = site.envelope("translated", body, x_waypost_key=PLAIN, **described)
    peer, request = site["translated"].request()
    answer = b'{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
    peer.reply(answer, headers=[("content-type", "application/json"), *((name, "x") for name in names)])
    response = client.response()
    assert [request.get(name) or response.get(name) for name in names] == [None] * 4
    request = sent(site, **described)
    assert [request.get(name) for name in names] == ["sha-256=:AA==:"] * 4


# To clients.


@row(TO_CLIENTS, "x-request-id")
def test_a_client_is_told_the_id(site: Site) -> None:
    assert answered(site, [("x-request-id", "theirs")], x_request_id="mine").all("x-request-id") == ["mine"]


@row(TO_CLIENTS, "x-upstream-request-id")
def test_a_client_is_told_the_endpoints_own_id(site: Site) -> None:
    def told(*headers: tuple[str, str]) -> list[str]:
        return answered(site, list(headers), x_request_id="mine").all("x-upstream-request-id")

    for name in ("x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "x-amzn-requestid"):
        assert told((name.title(), "req_1")) == ["req_1"], name
    assert told(("apim-request-id", "b"), ("x-request-id", "a")) == ["a"]
    assert told(("x-request-id", "a"), ("x-upstream-request-id", "vendor")) == ["vendor"], "of another Waypost"
    # An endpoint that repeats the message's id has none of its own; an id is short and printable.
    assert told(("x-request-id", "mine"), ("request-id", "a")) == ["a"]
    for none in ([("x-request-id", "mine")], [("request-id", "x" * 129)], [("request-id", "a b")], [("x-id", "a")]):
        assert told(*none) == []
    # An error of the endpoint has one, too, and a translated answer and a stream.
    assert answered(site, [("request-id", "req_2")], status=400).all("x-upstream-request-id") == ["req_2"]
    for stream in (False, True):
        _, fields = envelope(site, stream=stream)
        assert fields.all("x-upstream-request-id") == ["req_1"]
    client, peer, response = _stream(site, ("request-id", "req_3"))
    assert (response.all("x-upstream-request-id"), response.all("request-id")) == (["req_3"], ["req_3"])
    peer.close()
    client.close()


def _stream(site: Site, *headers: tuple[str, str]) -> tuple[Any, Any, Fields]:
    """A stream that has begun: the client, the endpoint and the head of the response."""
    client = site.chat("model", CHAT, x_waypost_key=PLAIN)
    peer, _ = site["model"].request()
    peer.start(headers)
    peer.send(chunk(b"data: 1\n\n"))
    response = client.response()
    assert response.stream.exactly(9) == b"data: 1\n\n"
    return client, peer, response.fields


@row(TO_CLIENTS, "x-waypost-route", "x-waypost-cluster", "x-waypost-attempts")
def test_a_client_is_told_the_way(site: Site) -> None:
    fields = answered(site, [("x-waypost-route", "theirs"), ("x-waypost-cluster", "theirs")])
    found = [fields.all(f"x-waypost-{name}") for name in ("route", "cluster", "attempts")]
    assert found == [["to-model"], ["model"], ["1"]]


@row(TO_CLIENTS, "x-waypost-trace")
def test_a_caller_with_debug_is_told_of_each_attempt(site: Site) -> None:
    forged = [("x-waypost-trace", "theirs")]
    (trace,) = answered(site, forged, secret=DEBUG).all("x-waypost-trace")
    assert re.fullmatch(rf'"model";endpoint="{site["model"].url}";status=200;ms=\d+\.\d', trace)
    assert answered(site, forged).all("x-waypost-trace") == []
    for status in (None, 503):
        client = site.chat("backed", CHAT, x_waypost_key=DEBUG)
        peer, _ = site["backed"].request()
        if status is None:
            peer.close()
        else:
            peer.reply(b"{}", status)
        site["model"].request()[0].reply()
        response = client.response()
        assert (response.status, response.get("x-waypost-attempts")) == (200, "2")
        how = "status=503" if status else "failure=reset"
        first, second = (f'"{name}";endpoint="{site[name].url}"' for name in ("backed", "model"))
        wanted = rf"{first};{how};ms=\S+, {second};status=200;ms=\S+"
        assert re.fullmatch(wanted, response.get("x-waypost-trace") or ""), response.fields
    # An answer of Waypost's own tells, too.
    response = site.chat("dead", CHAT, x_waypost_key=DEBUG).response()
    assert response.status == 502
    assert re.fullmatch(r'"dead";endpoint="\S+";failure=connect;ms=\S+', response.get("x-waypost-trace") or "")
    assert "endpoint" in (envelope(site, secret=DEBUG)[1].get("x-waypost-trace") or "")


@row(TO_CLIENTS, "x-accel-buffering")
def test_a_proxy_in_front_is_asked_not_to_collect_a_stream(site: Site) -> None:
    for headers in ((), (("x-accel-buffering", "yes"),)):
        client, peer, fields = _stream(site, *headers)
        assert fields.all("x-accel-buffering") == ["no"]
        peer.close()
        client.close()
    assert envelope(site, stream=True)[1].all("x-accel-buffering") == ["no"]
    assert answered(site, [("content-type", "application/json")]).all("x-accel-buffering") == []
    assert answered(site, [("content-type", "Text/Event-Stream;x=y")]).all("x-accel-buffering") == ["no"]
    with Http2Client(site.proxy.address) as two:
        stream = two.ask(body=json.dumps(CHAT).encode(), headers={"x-to": "model", "x-waypost-key": PLAIN})
        site["model"].request()[0].reply(b"data: 1\n\n", headers=[("content-type", "text/event-stream")])
        assert two.response(stream).get("x-accel-buffering") == "no"


@row(TO_CLIENTS, "x-accel-redirect", "x-accel-", "x-sendfile", "x-lighttpd-send-file")
def test_no_endpoint_commands_the_proxy_in_front_of_waypost(site: Site) -> None:
    names = ("x-accel-redirect", "x-accel-expires", "x-accel-limit-rate", "x-sendfile", "x-lighttpd-send-file")
    fields = answered(site, [*((name, "/private") for name in names), ("x-accelerated", "yes")])
    assert [fields.get(name) for name in (*names, "x-accelerated")] == [None] * 5 + ["yes"]
    client, peer, fields = _stream(site, *((name, "/private") for name in names))
    assert [fields.get(name) for name in names] == [None] * 5
    peer.close()
    client.close()


@row(TO_CLIENTS, "alt-svc")
def test_an_endpoints_other_ports_are_not_waypost_s(site: Site) -> None:
    assert answered(site, [("alt-svc", 'h3=":443"; ma=86400')]).get("alt-svc") is None


@row(TO_CLIENTS, "connection", "keep-alive", "upgrade", "proxy-authenticate")
def test_what_an_endpoint_says_for_one_hop_stays_there(site: Site) -> None:
    fields = answered(
        site,
        [("connection", "keep-alive, x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5"), ("proxy-authenticate", "x")],
    )
    assert not {"connection", "x-hop", "keep-alive", "proxy-authenticate"} & {name for name, _ in fields}


@row(TO_CLIENTS, "content-length", "transfer-encoding")
def test_a_response_is_framed_anew(site: Site) -> None:
    assert answered(site, [("content-type", "application/json")]).get("content-length") == "2"
    client, peer, fields = _stream(site)
    assert fields.get("transfer-encoding") == "chunked"
    peer.close()
    client.close()


@row(TO_CLIENTS, "cache-control")
def test_a_translated_stream_is_not_kept(site: Site) -> None:
    assert envelope(site, stream=True)[1].get("cache-control") == "no-cache"


@row(TO_CLIENTS, "www-authenticate")
def test_a_challenge_is_waypost_s_or_of_an_endpoint_that_gets_the_callers_credential(site: Site) -> None:
    assert site.chat("model", CHAT).response().get("www-authenticate") == "Bearer"
    assert answered(site, [("www-authenticate", "Basic")], status=401).get("www-authenticate") == "Basic"
    body = {"id": "e-1", "kind": "model", "model": "m", "content": "Hi"}
    client = site.envelope("translated", body, x_waypost_key=PLAIN)
    headers = [("content-type", "application/json"), ("www-authenticate", "Basic")]
    site["translated"].request()[0].reply(b"{}", 401, headers)
    response = client.response()
    assert (response.status, response.get("www-authenticate")) == (502, None)


# nginx in front, with nothing but `proxy_pass`.

NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr notice;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{to}; }}
    }}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path, site: Site) -> Iterator[int]:
    """The port of nginx in front of Waypost."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("nginx is not installed")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(directory=tmp_path, to=site.proxy.port, port=port))
    process = Process([found, "-p", str(tmp_path), "-e", "stderr", "-c", str(config)])
    try:
        process.wait_for("start worker process ")
        yield port
    finally:
        process.stop()


@pytest.mark.parametrize("translated", [False, True])
def test_events_pass_a_default_nginx_as_they_come(site: Site, nginx: int, translated: bool) -> None:
    target, cluster = ("/v1/envelopes", "translated") if translated else ("/v1/chat/completions", "model")
    body: dict[str, Any] = {"id": "e", "kind": "model", "model": "m", "content": "x"} if translated else dict(CHAT)
    encoded = json.dumps(body | {"stream": True}).encode()
    with socket.create_connection(("127.0.0.1", nginx), timeout=60) as client:
        client.sendall(
            f"POST {target} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\nx-to: {cluster}\r\n"
            f"x-waypost-key: {PLAIN}\r\ncontent-length: {len(encoded)}\r\n\r\n".encode()
            + encoded
        )
        peer, _ = site[cluster].request()
        peer.start()
        received = b""
        for word in ("one", "two", "three"):
            # The next event is sent only after this one has arrived.
            event = {"choices": [{"delta": {"content": word}, "finish_reason": None}]}
            peer.send(chunk(f"data: {json.dumps(event)}\n\n".encode()))
            while word.encode() not in received:
                data = client.recv(1 << 16)
                assert data, received
                received += data
        peer.close()
