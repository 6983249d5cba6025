"""The two ways in give the same answers, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .support.client import Client
from .support.proxy import Proxy
from .support.site import PATHS, Launcher
from .support.upstream import Request
from .support.wire import chunk, head


def answer(request: Request) -> bytes:
    """What the endpoint says, by the path that it is asked for."""
    last = request.target.rpartition("/")[2]
    fields = [("Server", "up"), ("X-Seen", f"{request.method} {request.target}"), ("X-Request-Id", "theirs")]
    if request.method == "HEAD":
        return head("HTTP/1.1 200 OK", [*fields, ("Content-Length", "7")])
    if last.isdigit():
        length = [] if last in ("204", "304") else [("Content-Length", "2")]
        return head(f"HTTP/1.1 {last} Whatever", [*fields, *length]) + (b"{}" if length else b"")
    if last == "chunks":
        return head("HTTP/1.1 200 OK", [*fields, ("Transfer-Encoding", "chunked")]) + chunk(b"one") + chunk(b"")
    if last == "nothing":
        return head("HTTP/1.1 200 OK", [*fields, ("Content-Length", "0")])
    return head("HTTP/1.1 200 OK", [*fields, ("Content-Length", str(len(request.body)))]) + request.body


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Proxy]]:
    launchers = [Launcher(path, tmp_path_factory.mktemp(path)) for path in PATHS]
    try:
        upstream = launchers[0].server(answer)
        config = {
            "limits": {"body": 1000, "header": 2000},
            "clusters": {
                "one": {"speaks": "openai", "endpoints": [upstream.url]},
                "none": {"speaks": "openai", "endpoints": ["http://127.0.0.1:1"]},
            },
            "routes": [
                {"name": "dead", "match": {"headers": {"x-to": ["none"]}, "path": [{"prefix": "/"}]}, "to": "none"},
                {"name": "all-the-rest", "match": {"dialect": "openai", "path": [{"prefix": "/"}]}, "to": "one"},
            ],
        }
        yield [launcher.serve(config) for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.close()


CHAT = b'{"model":"m","messages":[]}'


def post(body: bytes = CHAT, *fields: str, target: str = "/v1/chat/completions", version: str = "1.1") -> bytes:
    lines = [f"POST {target} HTTP/{version}", "Host: h", "X-Request-Id: id-1", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: h", "X-Request-Id: id-1", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


REQUESTS: dict[str, bytes] = {
    "chat": post(),
    "GET": get("/v1/files/x"),
    "HEAD": get("/v1/files/x", method="HEAD"),
    "HEAD of what is refused": get("/v1/files/../x", method="HEAD"),
    "OPTIONS": get("/v1/files/x", method="OPTIONS"),
    "chunked answer": get("/v1/files/chunks"),
    "empty answer": get("/v1/files/nothing"),
    **{f"status {status}": get(f"/v1/files/{status}") for status in (201, 204, 206, 299, 304, 404, 418, 429, 500, 503)},
    "upload": post(b"RIFF", "Content-Type: audio/wav", target="/v1/audio/raw"),
    "empty upload": post(b"", "Content-Type: audio/wav", target="/v1/audio/raw"),
    "chunked request": post(CHAT).replace(b"Content-Length: 27", b"Transfer-Encoding: chunked")[: -len(CHAT)]
    + chunk(CHAT)
    + chunk(b""),
    "HTTP/1.0": post(version="1.0"),
    "HTTP/1.0 and a chunked answer": get("/v1/files/chunks", version="1.0"),
    "HTTP/1.0 that would stay": get("/v1/files/x", "Connection: keep-alive", version="1.0"),
    "HTTP/1.0 HEAD": get("/v1/files/x", method="HEAD", version="1.0"),
    "close": post(CHAT, "Connection: close"),
    "close among others": get("/v1/files/x", "Connection: x-y, CLOSE"),
    "invalid JSON": post(b"{"),
    "invalid UTF-8": post(b'{"model":"\xff"}'),
    "not an object": post(b"[]"),
    "no body": post(b""),
    "no route": post(b'{"id":"e","kind":"query"}', target="/v1/envelopes"),
    "invalid envelope": post(b'{"id":"e","kind":"x"}', target="/v1/envelopes"),
    "dead endpoint": post(CHAT, "X-To: none"),
    "dead endpoint, HEAD": get("/v1/files/x", "X-To: none", method="HEAD"),
    "wrong type": post(CHAT, "Content-Type: text/plain"),
    "compressed": post(CHAT, "Content-Encoding: gzip"),
    "unknown path": get("/v2/x"),
    "wrong method": get("/v1/chat/completions"),
    "body too large": post(b" " * 1001),
    "head too large": get("/v1/files/x", "X-Big: " + "x" * 2000),
    "no host": get("/v1/files/x").replace(b"Host: h\r\n", b""),
    "two lengths": post(CHAT, "Content-Length: 27"),
    "bare LF": get("/v1/files/x", "a: b\nc: d"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "healthz": get("/healthz"),
    "absolute form": get("http://h/v1/files/x"),
    "odd fields": get("/v1/files/x?a=%20&b#c", "X-A: \xe9", "x_b: c", "Via: 1.0 a", "X-Forwarded-For: 1.2.3.4"),
}


def told(proxy: Proxy, request: bytes) -> bytes:
    """All that a client of its own is told, until the connection ends."""
    with Client(proxy.address) as client:
        client.send(request + get("/healthz", "Connection: close"))
        said = client.rest()
    # Ids that were made up, and the places of the upstream.
    said = re.sub(rb"\r\ndate: [^\r]*", b"\r\ndate: <now>", said)
    return re.sub(rb"\b[0-9a-f]{32}\b", b"<id>", said)


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_answer_alike(proxies: list[Proxy], name: str) -> None:
    fast, asgi = (told(proxy, REQUESTS[name]) for proxy in proxies)
    assert fast.startswith(b"HTTP/1.1 ")
    assert fast == asgi
