"""Whatever a client sends, it gets a clear answer in its own dialect, and no endpoint sees what was refused."""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import Any

import pytest

from .support.client import Client, Response
from .support.dialects import CLUSTER, GOOD, TARGET, Dialect, fields_for, post, refused, usable
from .support.site import Launcher, Site
from .support.wire import TIMEOUT, chunk, head

MiB = 1024 * 1024

both = pytest.mark.parametrize("dialect", ["envelope", "openai"])


pytestmark = pytest.mark.usefixtures("nothing_passes")
"""Unless a test says so, nothing in here may reach an endpoint."""


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
    client = post(site, dialect, body)
    error = refused(client.response(), dialect, 400, code)
    if dialect == "envelope":
        assert error["offset"] == offset
    assert f"(at byte {offset})" in error["message"]
    usable(client, dialect, site)


def test_a_message_that_takes_too_long_to_match(shared: Launcher) -> None:
    def match(i: int) -> dict[str, Any]:
        return {"body": {"items": {"x": [{"numeric": [">", i]}], "y": [{"numeric": ["<", i]}]}}}

    routes = [{"name": f"r{i}", "match": match(i), "reply": {"status": 204}} for i in range(100)]
    proxy = shared.serve({"routes": routes})
    items = [{"x": i % 100, "y": i % 100} for i in range(200_000)]
    for dialect in ("envelope", "openai"):
        body = json.dumps({**json.loads(GOOD[dialect]), "items": items}).encode()
        client = proxy.client()
        client.ask("POST", TARGET[dialect], body, {})
        response = client.response()
        error = refused(response, dialect, 413, "too_costly")
        assert "too many steps" in error["message"]
        if dialect == "envelope":
            assert response.json["id"] == response.get("x-request-id") == json.loads(GOOD[dialect])["id"]
            (decision,) = proxy.ask("GET", "/-/decisions").json["decisions"]
            assert (decision["id"], decision["why"]) == (response.get("x-request-id"), "too_costly")
        # The connection, and the process, go on.
        client.ask("POST", TARGET[dialect], GOOD[dialect], {})
        assert client.response().status == 404


@both
def test_an_open_bracket_a_million_times(site: Site, dialect: Dialect) -> None:
    refused(post(site, dialect, b"[" * MiB).response(), dialect, 400, "too_deep")


@both
@pytest.mark.passes
def test_100_levels_are_fine(site: Site, dialect: Dialect) -> None:
    body = GOOD[dialect][:-1] + b',"deep":' + b"[" * 99 + b"]" * 99 + b"}"
    client = post(site, dialect, body)
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
    client = post(site, "envelope", json.dumps(document).encode())
    error = refused(client.response(), "envelope", 400, "invalid_envelope")
    assert error.get("field") == field or (field == "context" and error.get("field", "").startswith("context"))
    if field is not None:
        assert f"`{error['field']}`" in error["message"]
    usable(client, "envelope", site)


@pytest.mark.passes
@pytest.mark.parametrize("field", [*WRONG, "content", "unknown"])
def test_null_in_an_optional_field_is_absence(site: Site, field: str) -> None:
    client = post(site, "envelope", json.dumps({"id": "a", "kind": "query", field: None}).encode())
    peer, _ = site["native"].request()
    peer.reply()
    assert client.response().status == 200


@pytest.mark.parametrize(("document", "field"), [({"model": 7}, "model"), ({"stream": "yes"}, "stream"), ([], None)])
@pytest.mark.passes
def test_openai_bodies_of_wrong_types(site: Site, document: Any, field: str | None) -> None:
    client = post(site, "openai", json.dumps(document).encode())
    error = refused(client.response(), "openai", 400, "invalid_envelope")
    assert error["param"] == field
    assert error["type"] == "invalid_request_error"
    usable(client, "openai", site)


@pytest.mark.parametrize(
    ("name", "value"), [("x-waypost-priority", "10"), ("x-waypost-priority", "high"), ("x-waypost-deadline-ms", "1s")]
)
def test_headers_that_carry_envelope_fields(site: Site, name: str, value: str) -> None:
    error = refused(post(site, "openai", GOOD["openai"], (name, value)).response(), "openai", 400, "invalid_envelope")
    assert name in error["message"]


@pytest.mark.parametrize("name", ["X-Waypost-Tennant", "x-waypost-route", "x-waypost-agent"])
@both
def test_headers_that_are_named_like_those_are_refused(site: Site, dialect: Dialect, name: str) -> None:
    error = refused(post(site, dialect, GOOD[dialect], (name, "acme")).response(), dialect, 400, "invalid_envelope")
    assert f"there is no header `{name.lower()}`" in error["message"]


def test_beside_an_envelope_they_are_refused(site: Site) -> None:
    for name in ("tenant", "task", "priority"):
        response = post(site, "envelope", GOOD["envelope"], (f"x-waypost-{name}", "5")).response()
        error = refused(response, "envelope", 400, "invalid_envelope")
        assert error["message"].endswith(f"set `{name}` in the envelope")


@pytest.mark.passes
def test_the_deadline_of_another_waypost_is_welcome_beside_an_envelope(site: Site) -> None:
    client = post(site, "envelope", GOOD["envelope"], ("x-waypost-deadline-ms", "250"))
    peer, _ = site["native"].request()
    peer.reply()
    assert client.response().status == 200


def test_an_error_after_the_id_was_read_carries_it(site: Site) -> None:
    client = site.client()
    client.ask("POST", TARGET["envelope"], b'{"id":"my-id","kind":"query"}')  # without x-to: no route
    response = client.response()
    refused(response, "envelope", 404, "no_route")
    assert response.json["id"] == "my-id"


# Too large.


@both
def test_a_body_beyond_the_limit_is_refused_by_its_length(site: Site, dialect: Dialect) -> None:
    client = site.client()
    size = 20 * MiB
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", fields_for(dialect, ("Content-Length", str(size)))))
    response = client.response()  # before any of it was sent
    error = refused(response, dialect, 413, "body_too_large")
    assert "limits.body" in error["message"]
    assert response.get("connection") == "close"


def _push(client: Client, data: bytes) -> Response:
    """Send as a client does that does not listen while it sends: until all is gone, or the other side closes."""
    client.sock.settimeout(TIMEOUT)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send(data)
    return client.response()


@both
def test_the_refusal_of_20_mb_can_be_read_by_a_client_that_is_still_sending(site: Site, dialect: Dialect) -> None:
    size = 20 * MiB
    client = site.client()
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", fields_for(dialect, ("Content-Length", str(size)))))
    refused(_push(client, b"x" * size), dialect, 413, "body_too_large")
    assert client.closed()


@both
def test_the_same_in_chunks(site: Site, dialect: Dialect) -> None:
    before = site.proxy.resident()
    client = site.client()
    client.send(head(f"POST {TARGET[dialect]} HTTP/1.1", fields_for(dialect, ("Transfer-Encoding", "chunked"))))
    refused(_push(client, chunk(b'"' + b"x" * MiB) * 20 + chunk(b"")), dialect, 413, "body_too_large")
    assert client.closed()
    assert site.proxy.resident() - before < 24 * MiB


def test_a_client_that_never_stops_sending_is_cut_off(site: Site) -> None:
    client = site.client()
    client.send(head(f"POST {TARGET['openai']} HTTP/1.1", fields_for("openai", ("Content-Length", str(MiB * MiB)))))
    client.sock.settimeout(TIMEOUT)
    with pytest.raises(ConnectionError):  # noqa: PT012 - which of them raises is the system's affair
        while True:
            client.send(b"x" * MiB)


@both
@pytest.mark.parametrize("how", ["field", "many fields", "target"])
def test_a_head_beyond_the_limit(site: Site, dialect: Dialect, how: str) -> None:
    more = {"field": [("X-Big", "x" * 40_000)], "many fields": [("X-Many", "x" * 390)] * 100, "target": []}[how]
    target = TARGET[dialect] + ("?q=" + "x" * 40_000 if how == "target" else "")
    client = post(site, dialect, GOOD[dialect], *more, target=target)
    error = refused(client.response(), dialect, 431, "header_too_large")
    assert "limits.header" in error["message"]
    assert client.closed()


@both
def test_more_fields_than_anybody_needs(site: Site, dialect: Dialect) -> None:
    client = post(site, dialect, GOOD[dialect], *[("X-Many", "x")] * 200)
    error = refused(client.response(), dialect, 431, "header_too_large")
    assert "128" in error["message"]
    assert client.closed()


# Where it was sent, and how.


@pytest.mark.parametrize(
    "target", ["/", "/v1", "/v1/", "/v2/chat/completions", "/V1/envelopes", "/metric", "/favicon.ico"]
)
def test_unknown_paths(site: Site, target: str) -> None:
    client = site.client()
    client.ask("POST", target, GOOD["envelope"])
    error = refused(client.response(), "envelope", 404, "not_found")
    assert f"`{target}`" in error["message"]
    client.ask("GET", target)
    refused(client.response("GET"), "envelope", 404, "not_found")


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
    refused(client.response(method), "envelope", 404, "not_found")
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
    refused(response, dialect, 405, "method_not_allowed")
    assert response.get("allow") == allow
    assert client.silent()


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_wrong_methods_of_administration(site: Site, method: str) -> None:
    for target in ("/healthz", "/readyz"):
        response = site.proxy.ask(method, target, b"")
        assert (response.status, response.get("allow")) == (405, "GET, HEAD")
        assert response.json["error"]["code"] == "method_not_allowed"


def test_options_for_the_server_itself(site: Site) -> None:
    refused(site.proxy.ask("OPTIONS", "*"), "envelope", 404, "not_found")


@both
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "nonsense", ""]
)
@pytest.mark.passes
def test_bodies_of_another_type(site: Site, dialect: Dialect, kind: str) -> None:
    client = post(site, dialect, GOOD[dialect], ("Content-Type", kind))
    error = refused(client.response(), dialect, 415, "unsupported_media_type")
    assert "application/json" in error["message"]
    usable(client, dialect, site)


@both
@pytest.mark.parametrize(
    "kind", ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", "application/vnd.x+json"]
)
@pytest.mark.passes
def test_types_that_are_json(site: Site, dialect: Dialect, kind: str) -> None:
    client = post(site, dialect, GOOD[dialect], ("Content-Type", kind))
    peer, request = site[CLUSTER[dialect]].request()
    assert request.get("content-type") == kind
    peer.reply()
    assert client.response().status == 200


@both
@pytest.mark.passes
def test_an_absent_type_means_json(site: Site, dialect: Dialect) -> None:
    client = post(site, dialect, GOOD[dialect])
    peer, request = site[CLUSTER[dialect]].request()
    assert request.body == GOOD[dialect]
    peer.reply()
    assert client.response().status == 200


@both
@pytest.mark.passes
def test_compressed_bodies(site: Site, dialect: Dialect) -> None:
    body = gzip.compress(GOOD[dialect])
    client = post(site, dialect, body, ("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    error = refused(client.response(), dialect, 415, "unsupported_media_type")
    assert "content-encoding" in error["message"]
    usable(client, dialect, site)


def test_no_route_names_what_was_seen(site: Site) -> None:
    client = site.client()
    envelope = {"id": "e-1", "kind": "model", "tenant": "acme", "priority": 7, "labels": {"region": "eu"}}
    client.ask("POST", TARGET["envelope"], json.dumps(envelope).encode())
    error = refused(client.response(), "envelope", 404, "no_route")
    for word in ('"model"', '"acme"', "7", '"eu"'):
        assert word in error["message"]
    client.ask("POST", TARGET["openai"], b'{"model":"gpt-x","messages":[]}', {"x-waypost-tenant": "acme"})
    error = refused(client.response(), "openai", 404, "no_route")
    assert '"gpt-x"' in error["message"]
    assert '"acme"' in error["message"]
    assert error["type"] == "not_found_error"
    client.ask("GET", "/v1/files")
    message = refused(client.response("GET"), "openai", 404, "no_route")["message"]
    assert message.endswith(
        'Fields seen: path "/v1/files", method "GET". Requests to this path only go to routes that test `path`'
    )


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("/v1/envelope", "/v1/envelopes"),
        ("/v1/envelopes/", "/v1/envelopes"),
        ("/v1/chat/completion?x=1", "/v1/chat/completions"),
        ("/envelopes", "/v1/envelopes"),
    ],
)
def test_a_path_that_is_nearly_one_that_is_served(site: Site, target: str, meant: str) -> None:
    client = site.client()
    client.ask("POST", target, b'{"id":"a","kind":"query"}')
    response = client.response()
    assert response.status == 404
    assert response.error["message"].lower().endswith(f"did you mean `{meant}`?")
