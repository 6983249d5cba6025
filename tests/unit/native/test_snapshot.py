"""`Snapshot`: a request's head, then its body, then the head of each attempt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from waypost import ConfigError, EnvelopeError, WaypostError
from waypost._native import Intake, Plan, Registry, Snapshot

JSON = [(b"host", b"waypost.example"), (b"content-type", b"application/json"), (b"content-length", b"2")]


def cluster(*urls: str, speaks: str = "openai", credential: Any = None, model: str | None = None) -> dict[str, Any]:
    return {
        "speaks": speaks,
        "endpoints": [{"url": url, "weight": 1} for url in urls],
        "credential": credential,
        "model": model,
        "timeout": {"connect": 1.0, "first_byte": 2.5, "idle": 3.0, "total": 4.0},
    }


def route(name: str, match: Any, to: str | None, fallback: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"name": name, "match": match, "to": to, "fallback": list(fallback), "precedence": 0}


def config(**changes: Any) -> dict[str, Any]:
    return {
        "depth": 128,
        "limits": {"header": 4096, "body": 1 << 20},
        "clusters": {
            "local": cluster("http://127.0.0.1:9100", "https://[::1]/base", model="llama"),
            "memory": cluster("http://memory", speaks="envelope"),
        },
        "routes": [
            route("openai", {"dialect": "openai"}, "local"),
            route("models", {"kind": "model", "dialect": "envelope"}, "local", ("memory",)),
            route("memory", {"kind": ["query", "context"]}, "memory"),
        ],
        "keys": [],
        "trusted": [],
        "hosts": [],
        **changes,
    }


def accept(snapshot: Snapshot, path: bytes = b"/v1/envelopes", headers: Any = JSON, method: str = "POST") -> Intake:
    return snapshot.accept(method, path, headers, client="192.0.2.7", scheme="https")


def plan(body: bytes, path: bytes = b"/v1/envelopes") -> Plan:
    return accept(Snapshot(config()), path).plan(body)


def test_the_checks_of_very_many_addresses_are_found_in_a_moment() -> None:
    """The event loop waits for them. A look at all others for each address took as long as a minute."""
    hosts = [f"host-{n}.test" for n in range(400)]
    checked = cluster(*[f"http://{host}" for host in hosts])
    checked["health"] = {"check": {"path": "/", "interval": 60.0, "timeout": 1.0, "jitter": 0}}
    snapshot = Snapshot(config(clusters={"local": checked}, routes=[route("all", {"dialect": "openai"}, "local")]))
    registry = Registry()
    registry.apply(snapshot, snapshot.endpoints)
    for n, host in enumerate(hosts):
        registry.resolved(host, [f"10.{n // 256}.{n % 256}.{last}" for last in range(60)])
    begun = time.monotonic()
    due = snapshot.due_checks()
    assert time.monotonic() - begun < 5
    assert len({(endpoint.url, endpoint.address) for endpoint in due}) == len(due) == 400 * 60
    assert snapshot.due_checks() == []


def test_clusters_and_endpoints_are_as_configured() -> None:
    snapshot = Snapshot(config())
    local = snapshot.clusters["local"]
    assert (local.name, local.speaks, local.model) == ("local", "openai", "llama")
    assert (local.connect_timeout, local.first_byte_timeout, local.idle_timeout, local.total_timeout) == (1, 2.5, 3, 4)
    assert snapshot.clusters["memory"].model is None
    first, second, third = snapshot.endpoints
    assert (first.url, first.host, first.port, first.tls) == ("http://127.0.0.1:9100", "127.0.0.1", 9100, False)
    assert (second.url, second.host, second.port, second.tls) == ("https://[::1]/base", "::1", 443, True)
    assert first.cluster is second.cluster is local
    assert third.cluster is snapshot.clusters["memory"]
    assert snapshot.warnings == []
    decision = snapshot.table.decide(b'{"id": "1", "kind": "model"}')
    assert decision is not None
    assert decision.fallback == ("memory",)


def test_endpoints_are_the_same_objects_in_every_plan() -> None:
    snapshot = Snapshot(config())
    intake = accept(snapshot)
    found = {id(intake.plan(b'{"id": "1", "kind": "model"}').begin()) for _ in range(64)}
    assert found == {id(endpoint) for endpoint in snapshot.endpoints[:2]}


def test_every_problem_of_meaning_is_told() -> None:
    routes = [
        route("a", {"kind": []}, "nowhere", ("local", "gone")),
        route("b", {"kind": "query"}, "local"),
    ]
    with pytest.raises(ConfigError) as caught:
        Snapshot(config(routes=routes))
    assert {problem.path for problem in caught.value.problems} == {
        ("routes", 0, "match", "kind"),
        ("routes", 0, "to"),
        ("routes", 0, "fallback", 1),
        ("routes", 1, "to"),
    }
    assert "envelopes of kind query cannot be sent" in caught.value.message


def test_warnings_have_a_path() -> None:
    routes = [route("all", {}, "memory"), route("late", {"kind": "query"}, "memory")]
    (unused, _), (late, unreachable), (sent, joined) = Snapshot(config(routes=routes)).warnings
    assert unused == ("clusters", "local")
    assert late == ("routes", 1, "match")
    assert "never reached" in unreachable
    assert sent == ("routes", 0, "to")
    assert "OpenAI requests" in joined


def test_routes_that_are_tried_one_by_one_are_a_warning() -> None:
    first = route("first", {"kind": "query", "tenant": "acme"}, "memory")

    def warnings(patterns: list[dict[str, Any]]) -> list[Any]:
        routes = [route(f"r{i}", {"kind": "query", **pattern}, "memory") for i, pattern in enumerate(patterns)]
        found = Snapshot(config(routes=[first, *routes])).warnings
        return [(path, message) for path, message in found if path[0] == "routes"]

    ((path, message),) = warnings([{"labels": {"n": [{"anything-but": [i]}]}} for i in range(300)])
    assert path == ("routes", 1, "match")
    assert message.startswith("300 routes (`r0`, `r1`, `r2` and 297 more) are tried one by one where ")
    assert warnings([{"tenant": f"t{i}"} for i in range(300)]) == []


def test_routes_that_are_compared_with_each_value_of_an_array_are_a_warning() -> None:
    def warnings(pattern: Callable[[int], dict[str, Any]], count: int = 100) -> list[Any]:
        routes = [route(f"r{i}", {"kind": "query", **pattern(i)}, "memory") for i in range(count)]
        return [(path, text) for path, text in Snapshot(config(routes=routes)).warnings if path[0] == "routes"]

    def ranges(i: int) -> dict[str, Any]:
        return {"body": {"items": {"x": [{"numeric": [">", i]}], "y": [{"numeric": ["<", i]}]}}}

    (path, message), (_, other) = warnings(ranges)
    assert path == ("routes", 0, "match")
    assert message.startswith("the conditions of 100 routes (`r0`, `r1`, `r2` and 97 more) are compared with ")
    assert "each value of body.items.x, one by one" in message
    assert "body.items.y" in other
    assert "`too_costly`" in message
    assert warnings(ranges, 16) == []
    # A value, or a prefix, finds few routes or few elements.
    assert warnings(lambda i: {"tenant": f"t{i}", **ranges(i)}) == []
    assert warnings(lambda i: {"body": {"items": {"x": [{"numeric": [">", i]}], "y": [f"y{i}"]}}}) == []
    assert warnings(lambda i: {"context": {"ref": [{"prefix": f"mem://{i}/"}], "type": [{"anything-but": [i]}]}}) == []
    assert warnings(lambda i: {"priority": [{"numeric": [">", i % 9]}], "labels": {"n": [f"l{i}"]}}) == []


def test_bad_endpoints_are_problems() -> None:
    clusters = {"x": cluster("http://ok", "ftp://h", "http://h:0")}
    with pytest.raises(ConfigError) as caught:
        Snapshot(config(clusters=clusters, routes=[]))
    assert [problem.path for problem in caught.value.problems] == [
        ("clusters", "x", "endpoints", 1),
        ("clusters", "x", "endpoints", 2),
    ]


# Heads.


def test_an_intake_says_how_to_read_the_body() -> None:
    snapshot = Snapshot(config())
    envelope = accept(snapshot, headers=[*JSON, (b"X-Request-Id", b"r-1")])
    assert (envelope.id, envelope.dialect, envelope.buffered) == ("r-1", "envelope", True)
    models = accept(snapshot, b"/v1/models?x=1", [(b"host", b"x")], "GET")
    assert (models.dialect, models.buffered, len(models.id)) == ("openai", False, 32)


@pytest.mark.parametrize(
    ("method", "path", "headers", "code", "dialect"),
    [
        ("POST", b"/nowhere", JSON, "not_found", "json"),
        ("GET", b"/v1/envelopes", JSON, "method_not_allowed", "envelope"),
        ("POST", b"/v1/models", JSON, "method_not_allowed", "openai"),
        (
            "POST",
            b"/v1/envelopes",
            [(b"host", b"x"), (b"content-type", b"text/plain")],
            "unsupported_media_type",
            "envelope",
        ),
        (
            "POST",
            b"/v1/embeddings",
            [(b"host", b"x"), (b"content-encoding", b"gzip")],
            "unsupported_media_type",
            "openai",
        ),
        ("POST", b"/v1/envelopes", [(b"a", b"x" * 5000)], "header_too_large", "envelope"),
        ("GET", "/v1/models?é".encode(), JSON, "bad_framing", "openai"),
        ("GET", b"/v1/models?\xff", JSON, "bad_framing", "openai"),
        ("GET", b"/v1/models", [(b"a", b"b\r\nc: d")], "bad_framing", "openai"),
    ],
)
def test_a_head_is_refused(method: str, path: bytes, headers: Any, code: str, dialect: str) -> None:
    with pytest.raises(WaypostError) as caught:
        accept(Snapshot(config()), path, headers, method)
    error: Any = caught.value
    assert error.code == code
    assert not isinstance(error, EnvelopeError)
    if path != b"/v1/models?\xff":
        assert error.dialect == dialect
        assert (error.allow is not None) == (code == "method_not_allowed")


@pytest.mark.parametrize("headers", [JSON, tuple(JSON), iter(JSON), [[name, value] for name, value in JSON]])
def test_headers_are_any_iterable_of_two(headers: Any) -> None:
    assert accept(Snapshot(config()), headers=headers).buffered


@pytest.mark.parametrize("headers", [[(b"a",)], [(b"a", b"b", b"c")], [("a", "b")], [b"ab"], 5, [(b"a", None)]])
def test_what_are_no_headers_is_a_type_error(headers: Any) -> None:
    with pytest.raises(TypeError):
        accept(Snapshot(config()), headers=headers)


# Plans.


def test_a_plan_says_where_the_message_goes() -> None:
    body = '{"id": "é 1", "kind": "model", "stream": true, "deadline_ms": 1500, "priority": 3}'
    found = plan(body.encode())
    assert (found.decision.route, found.decision.cluster) == ("models", "local")
    assert (found.id, found.request_id, found.dialect) == ("é 1", b"%C3%A9%201", "envelope")
    assert (found.kind, found.stream, found.deadline_ms, found.idempotent) == ("model", True, 1500, True)
    snapshot = Snapshot(config())
    assert [found.translated(endpoint) for endpoint in snapshot.endpoints] == [True, True, False]
    assert found.action == "translate"
    openai = plan(b"{}", b"/v1/chat/completions")
    assert (openai.kind, openai.stream, openai.deadline_ms) == ("model", False, None)
    assert openai.action == "forward"
    assert not any(openai.translated(endpoint) for endpoint in snapshot.endpoints[:2])


def test_no_route_names_the_fields_seen() -> None:
    with pytest.raises(WaypostError, match='kind "tool", tenant "acme"') as caught:
        plan(b'{"id": "1", "kind": "tool", "tenant": "acme"}')
    assert (caught.value.code, caught.value.status) == ("no_route", 404)


@pytest.mark.parametrize("body", [None, b"", b"{", b'{"id": "1"}', b"[]"])
def test_a_body_that_is_no_envelope_is_refused(body: bytes | None) -> None:
    with pytest.raises(EnvelopeError) as caught:
        accept(Snapshot(config())).plan(body)
    assert caught.value.status == 400


def test_a_head_is_bytes_for_one_endpoint() -> None:
    snapshot = Snapshot(config())
    found = accept(snapshot, b"/v1/chat/completions?x=1").plan(b"{}")
    local, tls, _ = snapshot.endpoints
    head = found.head(local, 2)
    assert head.startswith(b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nhost: 127.0.0.1:9100\r\n")
    assert head.endswith(b"\r\n\r\n")
    for field in (
        b"content-length: 2",
        b"x-forwarded-for: 192.0.2.7",
        b"x-forwarded-proto: https",
    ):
        assert b"\r\n" + field + b"\r\n" in head
    assert found.head(tls, None).startswith(b"POST /base/chat/completions?x=1 HTTP/1.1\r\nhost: [::1]\r\n")
    assert b"transfer-encoding: chunked" in found.head(tls, None)
    with pytest.raises(OverflowError):
        found.head(local, -1)


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (None, []),
        ("pass", [b"authorization: Bearer client"]),
        ({"header": "X-Api-Key", "value": "ours"}, [b"x-api-key: ours"]),
    ],
)
def test_credentials(credential: Any, expected: list[bytes]) -> None:
    snapshot = Snapshot(
        config(
            clusters={"local": cluster("http://h", credential=credential)},
            routes=[route("r", {"dialect": "openai"}, "local")],
        )
    )
    found = accept(snapshot, b"/v1/completions", [*JSON, (b"Authorization", b"Bearer client")]).plan(b"{}")
    lines = found.head(snapshot.endpoints[0], 2).split(b"\r\n")
    assert [line for line in lines if line.startswith((b"authorization", b"x-api-key"))] == expected
