"""Broken HTTP, clients that leave in the middle, and how much requests may hold: no endpoint sees what was refused."""

from __future__ import annotations

import pytest

from .support.dialects import GOOD, TARGET, Dialect, fields_for, refused
from .support.site import Launcher, Site
from .support.wire import Truncated, chunk, head

MiB = 1024 * 1024

both = pytest.mark.parametrize("dialect", ["envelope", "openai"])


pytestmark = pytest.mark.usefixtures("nothing_passes")
"""Unless a test says so, nothing in here may reach an endpoint."""


# HTTP itself: what is refused is answered in the client's dialect where that is known, and the connection ends.


def _raw(method: str, target: str, *fields: str, body: bytes = b"") -> bytes:
    """A request that would reach an endpoint if nothing were wrong with it."""
    lines = [f"{method} {target} HTTP/1.1", "host: h", "x-to: model", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


CHAT = "/v1/chat/completions"
FILES = "/v1/files"
CHUNKED = "transfer-encoding: chunked"
FRAMING: dict[str, bytes] = {
    "garbage": b"garbage\r\n\r\n",
    "TLS": bytes.fromhex("160301020001000001fc0303") + bytes(100),
    "nearly HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r",
    "lower-case method": _raw("post", CHAT, "content-length: 0"),
    "CONNECT": b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n",
    "NUL in the target": _raw("GET", "/v1/a\0b"),
    "raw bytes in the target": _raw("GET", "/v1/caf\xe9"),
    "space in the target": _raw("GET", "/v1/a b"),
    "same length twice": _raw("POST", CHAT, "content-length: 2", "content-length: 2", body=b"{}"),
    "two lengths": _raw("POST", CHAT, "content-length: 2", "content-length: 3", body=b"{}"),
    "list of lengths": _raw("POST", CHAT, "content-length: 2, 2", body=b"{}"),
    "length and chunks": _raw("POST", CHAT, "content-length: 2", CHUNKED),
    "chunks and length": _raw("POST", CHAT, CHUNKED, "content-length: 2"),
    "negative length": _raw("POST", CHAT, "content-length: -1"),
    "length with a sign": _raw("POST", CHAT, "content-length: +2", body=b"{}"),
    "length that overflows": _raw("POST", CHAT, f"content-length: {10**30}"),
    "unknown coding": _raw("POST", CHAT, "transfer-encoding: xchunked"),
    "two codings": _raw("POST", FILES, "transfer-encoding: gzip, chunked", body=chunk(b"")),
    "chunked twice": _raw("POST", FILES, "transfer-encoding: chunked, chunked", body=chunk(b"")),
    "bad chunk": _raw("POST", CHAT, CHUNKED, body=b"zz\r\n"),
    "chunk without its end": _raw("POST", CHAT, CHUNKED, body=b"2\r\n{}x\r\n"),
    "folded field": _raw("GET", FILES, "a: b", " c"),
    "NUL in a field": _raw("GET", FILES, "a: b\0c"),
    "space before the colon": _raw("GET", FILES, "a : b"),
    "field without a colon": _raw("GET", FILES, "nonsense"),
    "two hosts": _raw("GET", FILES, "host: other"),
    "bad host": b"GET /v1/files HTTP/1.1\r\nhost: a b\r\nx-to: model\r\n\r\n",
    "host with a path": b"GET /v1/files HTTP/1.1\r\nhost: a/b\r\nx-to: model\r\n\r\n",
}


@pytest.mark.parametrize("name", FRAMING)
def test_broken_http_is_refused_and_its_connection_closed(site: Site, name: str) -> None:
    client = site.client()
    client.send(FRAMING[name])
    response = client.response()
    assert (response.status, response.get("connection")) == (400, "close")
    assert response.get("content-type") == "application/json"
    assert response.error["code"] == "bad_framing"
    assert client.closed()


def test_nothing_behind_a_broken_request_is_taken_for_one(site: Site) -> None:
    smuggled = _raw("GET", "/v1/files/smuggled")
    for name in ("two lengths", "length and chunks", "bad chunk", "two hosts", "two codings"):
        client = site.client()
        client.send(FRAMING[name] + smuggled)
        assert client.response().status == 400
        assert client.rest().count(b"HTTP/1.1 ") == 0


@pytest.mark.passes
@pytest.mark.parametrize("target", ["http://proxy.test/v1/files/1?a=b", "/v1/files/1?a=b#fragment"])
def test_other_forms_of_a_target_are_forwarded_in_the_normal_one(site: Site, target: str) -> None:
    client = site.client()
    client.ask("GET", target, headers={"x-to": "model"})
    peer, request = site["model"].request()
    assert request.target == "/v1/files/1?a=b"
    peer.reply()
    assert client.response("GET").status == 200


def test_a_websocket_handshake_is_refused(site: Site) -> None:
    client = site.client()
    fields = {
        "x-to": "model",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    client.ask("GET", "/v1/realtime", headers=fields)
    response = client.response("GET")
    assert (response.status, response.error["code"]) == (501, "not_implemented")


# Clients that leave.


@both
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["close", "reset", "finish"])
def test_a_client_that_leaves_in_the_middle_of_its_body_reaches_no_endpoint(
    site: Site, dialect: Dialect, framing: str, how: str
) -> None:
    client = site.client()
    field = ("Content-Length", "1000") if framing == "length" else ("Transfer-Encoding", "chunked")
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", fields_for(dialect, field)))
    client.send(GOOD[dialect] if framing == "length" else chunk(GOOD[dialect]))
    getattr(client, how)()
    if how == "finish":
        with pytest.raises(Truncated):
            client.head()
    # The proxy has dealt with it by the time it has answered another.
    assert site.proxy.ask("GET", "/healthz").status == 200


@pytest.mark.passes
def test_a_client_that_leaves_in_the_middle_of_an_upload_takes_it_along(site: Site) -> None:
    client = site.client()
    fields = fields_for("openai", ("Content-Type", "audio/wav"), ("Content-Length", "1000"))
    client.send(head("POST /v1/audio/raw HTTP/1.1", fields))
    client.send(b"begin")
    _, request = site["model"].request(whole=False)
    assert request.stream.exactly(5) == b"begin"
    client.close()
    with pytest.raises(Truncated):
        request.stream.rest()


@pytest.mark.passes
def test_a_broken_chunk_in_an_upload_ends_it_upstream(site: Site) -> None:
    client = site.client()
    fields = fields_for("openai", ("Content-Type", "audio/wav"), ("Transfer-Encoding", "chunked"))
    client.send(head("POST /v1/audio/raw HTTP/1.1", fields) + chunk(b"begin"))
    _, request = site["model"].request(whole=False)
    assert request.stream.exactly(5) == b"begin"
    client.send(b"zz\r\n")
    with pytest.raises(Truncated):
        request.stream.rest()


def test_limits_buffered_bounds_what_all_requests_hold(shared: Launcher) -> None:
    site = Site(shared, {"model": {}}, {"limits": {"body": "1MiB", "buffered": "2MiB"}})
    body = b'{"model":"' + b"x" * (MiB - 100) + b'"}'
    fields = [("Host", "h"), ("X-To", "model"), ("Content-Length", str(len(body)))]
    waiting = []
    for _ in range(2):
        client = site.client()
        client.send(head(f"POST {TARGET['openai']} HTTP/1.1", fields) + body)
        waiting.append((client, *site["model"].request()))
    client = site.client()
    client.send(head(f"POST {TARGET['openai']} HTTP/1.1", fields) + body)
    response = client.response()
    refused(response, "openai", 503, "overloaded")
    assert response.get("retry-after") == "1"
    for client, peer, _ in waiting:
        peer.reply()
        assert client.response().status == 200
    client = site.client()
    client.send(head(f"POST {TARGET['openai']} HTTP/1.1", fields) + body)
    peer, _ = site["model"].request()
    peer.reply()
    assert client.response().status == 200


def test_a_small_limit_is_kept_to_the_byte(shared: Launcher) -> None:
    site = Site(shared, {"model": {}}, {"limits": {"body": 1000}})
    fits = b'{"model":"' + b"x" * 988 + b'"}'
    for chunked in (False, True):
        for body, status in ((fits, 200), (fits + b" ", 413)):
            client = site.client()
            framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
            sent = chunk(body) + chunk(b"") if chunked else body
            client.send(head(f"POST {TARGET['openai']} HTTP/1.1", fields_for("openai", framing)) + sent)
            if status == 200:
                peer, request = site["model"].request()
                assert request.body == body
                peer.reply()
            assert client.response().status == status
