"""Whatever a client sends, it gets a clear answer in its own dialect, and no endpoint sees what was refused."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from .support.client import Client, Response
from .support.site import Launcher, Site
from .support.upstream import OK
from .support.wire import Truncated, chunk, head

MiB = 1024 * 1024
Dialect = Literal["envelope", "openai"]
TARGET: dict[Dialect, str] = {"envelope": "/v1/envelopes", "openai": "/v1/chat/completions"}
CLUSTER: dict[Dialect, str] = {"envelope": "native", "openai": "model"}
GOOD: dict[Dialect, bytes] = {"envelope": b'{"id":"e-1","kind":"query"}', "openai": b'{"model":"m","messages":[]}'}

both = pytest.mark.parametrize("dialect", ["envelope", "openai"])


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    return Site(shared, {"native": {"speaks": "envelope"}, "model": {}}, {"limits": {"depth": 100}})


@pytest.fixture(autouse=True)
def _upstreams_saw_nothing(request: pytest.FixtureRequest, site: Site) -> Iterator[None]:
    """Unless a test says so, nothing in here may reach an endpoint."""
    yield
    if "passes" not in request.keywords:
        assert site["native"].untouched()
        assert site["model"].untouched()


def _fields(dialect: Dialect, *more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Host", "proxy.test"), ("X-To", CLUSTER[dialect]), *more]


def _post(site: Site, dialect: Dialect, body: bytes, *more: tuple[str, str], target: str | None = None) -> Client:
    client = site.client()
    length = [("Content-Length", str(len(body)))]
    client.send(head(f"POST {target or TARGET[dialect]} HTTP/1.1", _fields(dialect, *more) + length) + body)
    return client


def _refused(response: Response, dialect: Dialect, status: int, code: str) -> dict[str, Any]:
    """Hold a refusal to the form of its dialect."""
    assert (response.status, response.get("content-type")) == (status, "application/json"), response.body
    assert response.get("content-length") == str(len(response.body))
    assert response.get("x-request-id")
    error = response.error
    assert error["code"] == code
    assert len(error["message"]) > 10
    if dialect == "openai":
        assert set(response.json) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
    else:
        assert set(response.json) == {"id", "error"}
        assert isinstance(response.json["id"], str)
    return error


def _usable(client: Client, dialect: Dialect, site: Site) -> None:
    """The connection carries another message."""
    client.ask("POST", TARGET[dialect], GOOD[dialect], {"x-to": CLUSTER[dialect]})
    peer, request = site[CLUSTER[dialect]].request()
    assert request.body == GOOD[dialect]
    peer.reply()
    response = client.response()
    assert (response.status, response.body) == (200, OK)
    assert client.silent()
    peer.close()


# The body as JSON. (body, code, byte offset)
DEEP = b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"
JSON: dict[str, tuple[bytes, str, int]] = {
    "empty": (b"", "invalid_json", 0),
    "blank": (b" \n\t", "invalid_json", 3),
    "cut in a key": (b'{"id', "invalid_json", 4),
    "cut in a string": (b'{"id":"a', "invalid_json", 8),
    "cut in a number": (b'{"n":1', "invalid_json", 6),
    "cut before the end": (b'{"id":"a","kind":"query"', "invalid_json", 24),
    "no JSON at all": (b"hello", "invalid_json", 0),
    "form": (b"id=a&kind=query", "invalid_json", 0),
    "single quotes": (b"{'id':1}", "invalid_json", 1),
    "trailing comma in an object": (b'{"id":"a",}', "invalid_json", 10),
    "trailing comma in an array": (b'{"a":[1,]}', "invalid_json", 8),
    "missing colon": (b'{"id" "a"}', "invalid_json", 6),
    "comment": (b'{"id":"a"/**/}', "invalid_json", 9),
    "NaN": (b'{"n":NaN}', "invalid_json", 5),
    "leading zero": (b'{"n":01}', "invalid_json", 6),
    "plus sign": (b'{"n":+1}', "invalid_json", 5),
    "bare point": (b'{"n":1.}', "invalid_json", 7),
    "raw line break in a string": (b'{"s":"a\nb"}', "invalid_json", 7),
    "raw NUL in a string": (b'{"s":"a\x00b"}', "invalid_json", 7),
    "NUL after the end": (b'{"id":"a"}\x00', "invalid_json", 10),
    "bad escape": (b'{"s":"\\x41"}', "invalid_json", 6),
    "half a surrogate pair": (b'{"s":"\\ud83d"}', "invalid_json", 6),
    "byte order mark": (b'\xef\xbb\xbf{"id":"a"}', "invalid_json", 0),
    "UTF-16": ('{"id":"a"}'.encode("utf-16-le"), "invalid_json", 1),
    "two documents": (b'{"id":"a"}{"id":"b"}', "invalid_json", 10),
    "trailing garbage": (b'{"id":"a","kind":"query"} x', "invalid_json", 26),
    "mismatched brackets": (b'{"a":[1}', "invalid_json", 7),
    "invalid UTF-8 in a value": (b'{"id":"\xff"}', "invalid_utf8", 7),
    "invalid UTF-8 in a key": (b'{"\xc3(":1}', "invalid_utf8", 2),
    "overlong UTF-8": (b'{"s":"\xc0\xaf"}', "invalid_utf8", 6),
    "surrogate in UTF-8": (b'{"s":"\xed\xa0\x80"}', "invalid_utf8", 6),
    "cut UTF-8": (b'{"s":"\xe2\x98"}', "invalid_utf8", 6),
    "duplicate key": (b'{"id":"a","id":"b"}', "duplicate_key", 10),
    "duplicate key of no rule": (b'{"x":1,"x":1}', "duplicate_key", 7),
    "nested duplicate key": (b'{"a":[{"b":{"c":1,"c":2}}]}', "duplicate_key", 18),
    "duplicate key, escaped": (b'{"kind":"query","k\\u0069nd":"tool"}', "duplicate_key", 16),
    "1,000 levels": (DEEP, "too_deep", 5 + 99),
    "101 levels": (b"[" * 101 + b"]" * 101, "too_deep", 100),
}


@both
@pytest.mark.parametrize("name", JSON)
@pytest.mark.passes
def test_bodies_that_are_no_valid_json(site: Site, dialect: Dialect, name: str) -> None:
    body, code, offset = JSON[name]
    client = _post(site, dialect, body)
    error = _refused(client.response(), dialect, 400, code)
    if dialect == "envelope":
        assert error["offset"] == offset
    assert f"(at byte {offset})" in error["message"]
    _usable(client, dialect, site)


@both
def test_an_open_bracket_a_million_times(site: Site, dialect: Dialect) -> None:
    _refused(_post(site, dialect, b"[" * MiB).response(), dialect, 400, "too_deep")


@both
@pytest.mark.passes
def test_100_levels_are_fine(site: Site, dialect: Dialect) -> None:
    body = GOOD[dialect][:-1] + b',"deep":' + b"[" * 99 + b"]" * 99 + b"}"
    client = _post(site, dialect, body)
    peer, request = site[CLUSTER[dialect]].request()
    assert request.body == body
    peer.reply()
    assert client.response().status == 200


# The envelope's fields.

ENVELOPES: dict[str, tuple[Any, str | None]] = {
    "not an object": ([], None),
    "text": ("x", None),
    "null": (None, None),
    "no id": ({"kind": "query"}, "id"),
    "no kind": ({"id": "a"}, "kind"),
    "neither": ({}, "id"),
    "null id": ({"id": None, "kind": "query"}, "id"),
    "null kind": ({"id": "a", "kind": None}, "kind"),
    "empty id": ({"id": "", "kind": "query"}, "id"),
    "long id": ({"id": "x" * 129, "kind": "query"}, "id"),
    "number as id": ({"id": 1, "kind": "query"}, "id"),
    "unknown kind": ({"id": "a", "kind": "chat"}, "kind"),
    "kind in capitals": ({"id": "a", "kind": "Query"}, "kind"),
    "list as kind": ({"id": "a", "kind": ["query"]}, "kind"),
}
WRONG: dict[str, list[Any]] = {
    "agent": [1, True, [], {}],
    "model": [1, ["m"]],
    "tenant": [1, {"name": "acme"}],
    "task": [False],
    "tool": [7],
    "topic": [["a"]],
    "priority": ["5", 5.5, -1, 10, True, [5], 1e2],
    "deadline_ms": ["1s", -5, 1.5, [], 10**30],
    "labels": [[], "x", 1],
    "context": [{}, "x", [1]],
    "stream": ["true", 1],
}
ENVELOPES |= {
    f"{field}: {json.dumps(value)}": ({"id": "a", "kind": "query", field: value}, field)
    for field, values in WRONG.items()
    for value in values
}


@pytest.mark.parametrize("name", ENVELOPES)
@pytest.mark.passes
def test_documents_that_are_no_envelope(site: Site, name: str) -> None:
    document, field = ENVELOPES[name]
    client = _post(site, "envelope", json.dumps(document).encode())
    error = _refused(client.response(), "envelope", 400, "invalid_envelope")
    assert error.get("field") == field or (field == "context" and error.get("field", "").startswith("context"))
    if field is not None:
        assert f"`{error['field']}`" in error["message"]
    _usable(client, "envelope", site)


@pytest.mark.passes
@pytest.mark.parametrize("field", [*WRONG, "content", "unknown"])
def test_null_in_an_optional_field_is_absence(site: Site, field: str) -> None:
    client = _post(site, "envelope", json.dumps({"id": "a", "kind": "query", field: None}).encode())
    peer, _ = site["native"].request()
    peer.reply()
    assert client.response().status == 200


@pytest.mark.parametrize(("document", "field"), [({"model": 7}, "model"), ({"stream": "yes"}, "stream"), ([], None)])
@pytest.mark.passes
def test_openai_bodies_of_wrong_types(site: Site, document: Any, field: str | None) -> None:
    client = _post(site, "openai", json.dumps(document).encode())
    error = _refused(client.response(), "openai", 400, "invalid_envelope")
    assert error["param"] == field
    assert error["type"] == "invalid_request_error"
    _usable(client, "openai", site)


@pytest.mark.parametrize(
    ("name", "value"), [("x-waypost-priority", "10"), ("x-waypost-priority", "high"), ("x-waypost-deadline-ms", "1s")]
)
def test_headers_that_carry_envelope_fields(site: Site, name: str, value: str) -> None:
    error = _refused(_post(site, "openai", GOOD["openai"], (name, value)).response(), "openai", 400, "invalid_envelope")
    assert name in error["message"]


def test_an_error_after_the_id_was_read_carries_it(site: Site) -> None:
    client = site.client()
    client.ask("POST", TARGET["envelope"], b'{"id":"my-id","kind":"query"}')  # without x-to: no route
    response = client.response()
    _refused(response, "envelope", 404, "no_route")
    assert response.json["id"] == "my-id"


# Too large.


@both
def test_a_body_beyond_the_limit_is_refused_by_its_length(site: Site, dialect: Dialect) -> None:
    client = site.client()
    size = 20 * MiB
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", _fields(dialect, ("Content-Length", str(size)))))
    response = client.response()  # before any of it was sent
    error = _refused(response, dialect, 413, "body_too_large")
    assert "limits.body" in error["message"]
    assert response.get("connection") == "close"


def _push(client: Client, data: bytes) -> Response:
    """Send as a client does that does not listen while it sends: until all is gone, or the other side closes."""
    client.sock.settimeout(10)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send(data)
    return client.response()


@both
def test_the_refusal_of_20_mb_can_be_read_by_a_client_that_is_still_sending(site: Site, dialect: Dialect) -> None:
    size = 20 * MiB
    client = site.client()
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", _fields(dialect, ("Content-Length", str(size)))))
    _refused(_push(client, b"x" * size), dialect, 413, "body_too_large")
    assert client.closed()


@both
def test_the_same_in_chunks(site: Site, dialect: Dialect) -> None:
    before = site.proxy.resident()
    client = site.client()
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", _fields(dialect, ("Transfer-Encoding", "chunked"))))
    _refused(_push(client, chunk(b'"' + b"x" * MiB) * 20 + chunk(b"")), dialect, 413, "body_too_large")
    assert client.closed()
    assert site.proxy.resident() - before < 24 * MiB


def test_a_client_that_never_stops_sending_is_cut_off(site: Site) -> None:
    client = site.client()
    client.send(head(f"POST {TARGET['openai']} HTTP/1.1", _fields("openai", ("Content-Length", str(MiB * MiB)))))
    client.sock.settimeout(10)
    with pytest.raises(ConnectionError):  # noqa: PT012 - which of them raises is the system's affair
        while True:
            client.send(b"x" * MiB)


@both
@pytest.mark.parametrize("how", ["field", "many fields", "target"])
@pytest.mark.passes
def test_a_head_beyond_the_limit(site: Site, dialect: Dialect, how: str) -> None:
    more = {"field": [("X-Big", "x" * 40_000)], "many fields": [("X-Many", "x" * 90)] * 400, "target": []}[how]
    target = TARGET[dialect] + ("?q=" + "x" * 40_000 if how == "target" else "")
    client = _post(site, dialect, GOOD[dialect], *more, target=target)
    error = _refused(client.response(), dialect, 431, "header_too_large")
    assert "limits.header" in error["message"]
    _usable(client, dialect, site)


# Where it was sent, and how.


@pytest.mark.parametrize(
    "target", ["/", "/v1", "/v1/", "/v2/chat/completions", "/V1/envelopes", "/metrics", "/favicon.ico"]
)
def test_unknown_paths(site: Site, target: str) -> None:
    client = site.client()
    client.ask("POST", target, GOOD["envelope"])
    error = _refused(client.response(), "envelope", 404, "not_found")
    assert f"`{target}`" in error["message"]
    client.ask("GET", target)
    _refused(client.response("GET"), "envelope", 404, "not_found")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/../healthz",
        "/v1/./files",
        "/v1/files/..",
        "/v1/files/%2e%2e/keys",
        "/v1/files/..%2Fkeys",
        "/v1/files/..%5Ckeys",
        "/v1//files",
        "//v1/files",
        "/v1/%zz",
        "/v1/files%",
        "/v1/files%2",
        "/v1/a%00b",
        "/v1/a%0d%0ahost:%20x",
        "/%76%31/envelopes",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_paths_that_others_may_read_differently(site: Site, target: str, method: str) -> None:
    client = site.client()
    client.ask(method, target, GOOD["openai"] if method == "POST" else None, {"x-to": "model"})
    _refused(client.response(method), "envelope", 404, "not_found")
    assert client.silent()


@pytest.mark.parametrize(
    ("method", "target", "allow", "dialect"),
    [
        ("GET", "/v1/envelopes", "POST", "envelope"),
        ("DELETE", "/v1/envelopes", "POST", "envelope"),
        ("GET", "/v1/chat/completions", "POST", "openai"),
        ("PUT", "/v1/embeddings", "POST", "openai"),
        ("OPTIONS", "/v1/responses", "POST", "openai"),
        ("DELETE", "/v1/models", "GET, HEAD", "openai"),
    ],
)
def test_wrong_methods(site: Site, method: str, target: str, allow: str, dialect: Dialect) -> None:
    client = site.client()
    client.ask(method, target, headers={"x-to": CLUSTER[dialect]})
    response = client.response(method)
    _refused(response, dialect, 405, "method_not_allowed")
    assert response.get("allow") == allow
    assert client.silent()


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_wrong_methods_of_administration(site: Site, method: str) -> None:
    for target in ("/healthz", "/readyz"):
        response = site.proxy.ask(method, target, b"")
        assert (response.status, response.get("allow")) == (405, "GET, HEAD")
        assert response.json["error"]["code"] == "method_not_allowed"


def test_options_for_the_server_itself(site: Site) -> None:
    _refused(site.proxy.ask("OPTIONS", "*"), "envelope", 404, "not_found")


@both
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "nonsense", ""]
)
@pytest.mark.passes
def test_bodies_of_another_type(site: Site, dialect: Dialect, kind: str) -> None:
    client = _post(site, dialect, GOOD[dialect], ("Content-Type", kind))
    error = _refused(client.response(), dialect, 415, "unsupported_media_type")
    assert "application/json" in error["message"]
    _usable(client, dialect, site)


@both
@pytest.mark.parametrize(
    "kind", ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", "application/vnd.x+json"]
)
@pytest.mark.passes
def test_types_that_are_json(site: Site, dialect: Dialect, kind: str) -> None:
    client = _post(site, dialect, GOOD[dialect], ("Content-Type", kind))
    peer, request = site[CLUSTER[dialect]].request()
    assert request.get("content-type") == kind
    peer.reply()
    assert client.response().status == 200


@both
@pytest.mark.passes
def test_an_absent_type_means_json(site: Site, dialect: Dialect) -> None:
    client = _post(site, dialect, GOOD[dialect])
    peer, request = site[CLUSTER[dialect]].request()
    assert request.body == GOOD[dialect]
    peer.reply()
    assert client.response().status == 200


@both
@pytest.mark.passes
def test_compressed_bodies(site: Site, dialect: Dialect) -> None:
    body = gzip.compress(GOOD[dialect])
    client = _post(site, dialect, body, ("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    error = _refused(client.response(), dialect, 415, "unsupported_media_type")
    assert "content-encoding" in error["message"]
    _usable(client, dialect, site)


def test_no_route_names_what_was_seen(site: Site) -> None:
    client = site.client()
    envelope = {"id": "e-1", "kind": "model", "tenant": "acme", "priority": 7, "labels": {"region": "eu"}}
    client.ask("POST", TARGET["envelope"], json.dumps(envelope).encode())
    error = _refused(client.response(), "envelope", 404, "no_route")
    for word in ('"model"', '"acme"', "7", '"eu"'):
        assert word in error["message"]
    client.ask("POST", TARGET["openai"], b'{"model":"gpt-x","messages":[]}', {"x-waypost-tenant": "acme"})
    error = _refused(client.response(), "openai", 404, "no_route")
    assert '"gpt-x"' in error["message"]
    assert '"acme"' in error["message"]
    assert error["type"] == "not_found_error"
    client.ask("GET", "/v1/files")
    assert "path" in _refused(client.response("GET"), "openai", 404, "no_route")["message"]


# HTTP itself. What the server's own parser refuses is answered by it: 400, and the connection ends.


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
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case method": _raw("post", CHAT, "content-length: 0"),
    "CONNECT": b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n",
    "NUL in the target": _raw("GET", "/v1/a\0b"),
    "raw bytes in the target": _raw("GET", "/v1/caf\xe9"),
    "space in the target": _raw("GET", "/v1/a b"),
    "very long target": _raw("GET", "/v1/" + "x" * 200_000),
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
    assert response.body
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


@pytest.mark.passes
def test_a_websocket_handshake_is_an_ordinary_request(site: Site) -> None:
    client = site.client()
    fields = {
        "x-to": "model",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    client.ask("GET", "/v1/realtime", headers=fields)
    peer, request = site["model"].request()
    assert "upgrade" not in request.fields
    assert "connection" not in request.fields
    peer.reply(b"{}", 426)
    assert client.response("GET").status == 426


# Clients that leave.


@both
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["close", "reset", "finish"])
def test_a_client_that_leaves_in_the_middle_of_its_body_reaches_no_endpoint(
    site: Site, dialect: Dialect, framing: str, how: str
) -> None:
    client = site.client()
    field = ("Content-Length", "1000") if framing == "length" else ("Transfer-Encoding", "chunked")
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", _fields(dialect, field)))
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
    client.send(
        head(
            "POST /v1/audio/raw HTTP/1.1", _fields("openai", ("Content-Type", "audio/wav"), ("Content-Length", "1000"))
        )
    )
    client.send(b"begin")
    _, request = site["model"].request(whole=False)
    assert request.stream.exactly(5) == b"begin"
    client.close()
    with pytest.raises(Truncated):
        request.stream.rest()


@pytest.mark.passes
def test_a_broken_chunk_in_an_upload_ends_it_upstream(site: Site) -> None:
    client = site.client()
    fields = _fields("openai", ("Content-Type", "audio/wav"), ("Transfer-Encoding", "chunked"))
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
    _refused(response, "openai", 503, "overloaded")
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
            client.send(head(f"POST {TARGET['openai']} HTTP/1.1", _fields("openai", framing)) + sent)
            if status == 200:
                peer, request = site["model"].request()
                assert request.body == body
                peer.reply()
            assert client.response().status == status
