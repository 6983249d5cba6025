"""The trailers of a chunked request: limited as a head, and used for nothing, however the bytes are cut."""

from __future__ import annotations

import pytest

from .support.client import Client
from .support.proxy import Proxy
from .support.site import Launcher, Site
from .support.upstream import Request
from .support.wire import chunk, head

KEY = "wp-planner-example"
KEYS = [{"name": "planner", "hash": "sha256:dcfab436142ac5a855bd663557c89eeea5f2e7252addfc0532c5be59e0cbadc0"}]
CHAT = b'{"model":"m","messages":[]}'


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    return Site(shared, {"model": {}, "other": {}}, {"limits": {"header": 1000}})


@pytest.fixture(scope="module")
def guarded(shared: Launcher) -> Proxy:
    """A proxy whose callers need a key."""
    upstream = shared.server()
    clusters = {"one": {"speaks": "openai", "endpoints": [upstream.url]}}
    routes = [{"name": "all", "match": {"path": [{"prefix": "/"}]}, "to": "one"}]
    return shared.serve({"clusters": clusters, "routes": routes, "keys": KEYS, "limits": {"header": 1000}})


def message(*trailers: str, fields: tuple[tuple[str, str], ...] = (("X-To", "model"),), target: str = "chat") -> bytes:
    path = {"chat": "/v1/chat/completions", "upload": "/v1/audio/raw"}[target]
    kind = {"chat": "application/json", "upload": "audio/wav"}[target]
    framing = (("Content-Type", kind), ("Transfer-Encoding", "chunked"))
    body = chunk(CHAT) + b"0\r\n" + "".join(f"{line}\r\n" for line in trailers).encode("latin-1") + b"\r\n"
    return head(f"POST {path} HTTP/1.1", [("Host", "h"), *fields, *framing]) + body


def status(client: Client) -> int:
    response = client.response()
    _ = response.body
    return response.status


REFUSED = {
    "too long": (["x: " + "y" * 1000], 431),
    "too many": ([f"x{n}: y" for n in range(129)], 431),
    "folded": (["x: y", " z"], 400),
    "without a colon": (["nonsense"], 400),
    "space before the colon": (["x : y"], 400),
    "NUL": (["x: \0"], 400),
    "bare LF": (["x: y\nz: a"], 400),
    "length": (["content-length: 5"], 400),
    "coding": (["Transfer-Encoding: chunked"], 400),
    "host": (["host: other"], 400),
}


@pytest.mark.parametrize("target", ["chat", "upload"])
@pytest.mark.parametrize("name", REFUSED)
def test_trailers_have_the_limits_of_a_head(site: Site, name: str, target: str) -> None:
    trailers, code = REFUSED[name]
    client = site.client()
    client.send(message(*trailers, target=target) + message())
    response = client.response()
    assert (response.status, response.get("connection")) == (code, "close")
    assert response.error["code"] == ("header_too_large" if code == 431 else "bad_framing")
    assert client.closed()
    assert site["model"].untouched()


def test_the_limit_is_kept_to_the_byte(site: Site) -> None:
    whole = "x: " + "y" * (1000 - len("x: \r\n\r\n"))
    client = site.client()
    client.send(message(whole))
    peer, request = site["model"].request()
    assert request.body == CHAT
    peer.reply()
    assert status(client) == 200
    client.send(message(whole + "y"))
    assert client.response().status == 431


def test_trailers_without_end_are_refused_before_their_end(site: Site) -> None:
    for byte in (b"y", b"y: z\r\n"):
        client = site.client()
        client.send(message().removesuffix(b"\r\n"))
        client.send(byte * 2000)
        assert status(client) == 431
        assert client.closed()


def test_the_limits_hold_before_keys(guarded: Proxy) -> None:
    for trailers, code in REFUSED.values():
        client = guarded.client()
        client.send(message(*trailers, fields=()))
        assert status(client) == code
        assert client.closed()


def cuts(sent: bytes) -> list[int]:
    """Places at the head's end, in the body and in the trailers."""
    end = sent.index(b"\r\n\r\n") + 4
    return [0, end - 2, end, end + 3, len(sent) - 40, *range(len(sent) - 30, len(sent), 3)]


@pytest.mark.parametrize("field", [f"authorization: Bearer {KEY}", f"x-api-key: {KEY}"])
def test_no_trailer_is_a_key(guarded: Proxy, field: str) -> None:
    sent = message(field, fields=())
    for cut in cuts(sent):
        client = guarded.client()
        client.send(sent[:cut])
        client.send(sent[cut:])
        assert client.response().status == 401
    # Nor does one spoil the key that a request has.
    client = guarded.client()
    client.send(message("x-api-key: another", fields=(("x-api-key", KEY),)))
    assert client.response().status == 200


def carried(site: Site, client: Client, sent: bytes, cut: int) -> Request:
    client.send(sent[:cut])
    client.send(sent[cut:])
    peer, request = site["model"].request()
    assert request.body == CHAT
    peer.reply()
    assert status(client) == 200
    return request


@pytest.mark.parametrize("target", ["chat", "upload"])
def test_no_trailer_decides_or_is_forwarded(site: Site, target: str) -> None:
    trailers = ["x-to: other", "x-waypost-tenant: acme", "x-sum: 9", "connection: x-to", "x-request-id: theirs"]
    fields = (("X-To", "model"), ("Trailer", "x-to, x-sum"), ("X-Request-Id", "mine"))
    sent = message(*trailers, fields=fields, target=target)
    client = site.client()
    for cut in cuts(sent):
        request = carried(site, client, sent, cut)
        names = {name for name, _ in request.fields}
        assert not names & {"trailer", "x-sum", "x-waypost-tenant", "connection"}
        assert request.get("x-to") == "model"
        assert request.get("x-request-id") == "mine"
        assert request.stream.trailers == []


@pytest.mark.parametrize("target", ["chat", "upload"])
def test_a_message_behind_trailers_is_the_next_one(site: Site, target: str) -> None:
    client = site.client()
    client.send(message("x: y", target=target) + message("x-to: other"))
    for _ in range(2):
        peer, request = site["model"].request()
        assert request.body == CHAT
        peer.reply()
        assert status(client) == 200
    assert client.silent()
