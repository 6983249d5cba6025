"""`RouteTable`: routes from Python objects, and decisions on messages of every dialect."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from waypost import ConfigError, EnvelopeError, RouteTable, WaypostError

ROUTES: list[dict[str, Any]] = [
    {"name": "gold", "match": {"kind": "model", "tenant": ["acme"]}, "to": "cloud", "fallback": ["local", "spare"]},
    {"name": "models", "match": {"kind": "model"}, "to": "local"},
    {"name": "urgent", "match": {"priority": [{"numeric": [">=", 7]}]}, "to": "cloud", "precedence": 5},
    {"name": "tier", "match": {"headers": {"x-tier": ["gold"]}}},
]


def envelope(**fields: Any) -> bytes:
    return json.dumps({"id": "1", "kind": "query", **fields}).encode()


def test_a_decision_is_what_the_route_says() -> None:
    table = RouteTable(routes=ROUTES)
    decision = table.decide(envelope(kind="model", tenant="acme"))
    assert decision is not None
    assert (decision.route, decision.cluster, decision.fallback) == ("gold", "cloud", ("local", "spare"))
    nowhere = table.decide(envelope(), headers=[("X-Tier", "gold")])
    assert nowhere is not None
    assert (nowhere.route, nowhere.cluster, nowhere.fallback) == ("tier", None, ())
    assert table.decide(envelope()) is None
    assert len(table) == 4
    assert "gold" in repr(decision)


def test_deciding_hands_out_one_object() -> None:
    table = RouteTable(routes=ROUTES)
    body = envelope(kind="model", tenant="acme", priority=9)
    decision = table.decide(body)
    assert decision is table.decide(body) is table.matches(body)[0] is table.explain(body).decision
    assert [found.route for found in table.matches(body)] == ["urgent", "gold", "models"]
    with pytest.raises(AttributeError):
        decision.route = "other"  # type: ignore[misc]


def test_explain_lists_routes_as_they_are_tried() -> None:
    explanation = RouteTable(routes=ROUTES).explain(envelope(kind="model", tenant="globex"))
    assert explanation.route == "models"
    assert [(verdict.route, verdict.matched) for verdict in explanation.verdicts] == [
        ("urgent", False),
        ("gold", False),
        ("models", True),
        ("tier", False),
    ]
    assert explanation.fields == {"id": '"1"', "kind": '"model"', "tenant": '"globex"'}
    assert explanation.verdicts[1].reason == 'tenant is "globex", wanted "acme"'
    nothing = RouteTable(routes=ROUTES).explain(envelope())
    assert (nothing.route, nothing.decision) == (None, None)


@pytest.mark.parametrize(
    "headers",
    [
        [("x-tier", "gold")],
        [("X-TIER", b"gold")],
        [(b"X-Tier", b"gold")],
        [["x-tier", "gold"]],
        (("x-other", "1"), ("x-tier", "silver"), ("x-tier", "gold")),
        iter([("x-tier", "gold")]),
        {"X-Tier": "gold"},
        {"X-Tier": "gold"}.items(),
    ],
)
def test_headers_in_many_forms(headers: Iterable[Any]) -> None:
    decision = RouteTable(routes=ROUTES).decide(envelope(), headers=headers)
    assert decision is not None
    assert decision.route == "tier"


def test_header_values_that_are_no_utf8_are_latin1() -> None:
    table = RouteTable(routes=[{"name": "r", "match": {"headers": {"x": ["é"]}}}])
    assert table.decide(envelope(), headers=[(b"x", "é".encode("latin-1"))]) is not None
    assert table.decide(envelope(), headers=[(b"x", "é".encode())]) is not None


@pytest.mark.parametrize(
    "headers", [["ab"], [("a",)], [("a", "b", "c")], [("a", 1)], [1], 5, [("\ud800", "x")], [None]]
)
def test_what_are_no_headers_is_a_type_error(headers: Any) -> None:
    with pytest.raises(TypeError):
        RouteTable(routes=ROUTES).decide(envelope(), headers=headers)


def test_the_path_defaults_to_the_dialects_own() -> None:
    table = RouteTable(
        routes=[
            {"name": path, "match": {"path": path}}
            for path in ("/v1/envelopes", "/", "/v1/chat/completions", "/v1/files")
        ]
    )
    dialects: tuple[Literal["envelope", "json", "openai"], ...] = ("envelope", "json", "openai")
    paths = []
    for dialect in dialects:
        decision = table.decide(envelope(), dialect=dialect)
        paths.append(decision and decision.route)
    assert paths == ["/v1/envelopes", "/", "/v1/chat/completions"]
    decision = table.decide(b"[]", dialect="openai", path="/v1/files?limit=1")
    assert decision is not None
    assert decision.route == "/v1/files"


def test_the_method_can_be_said() -> None:
    table = RouteTable(routes=[{"name": "r", "match": {"method": "DELETE"}}])
    assert table.decide(envelope()) is None
    assert table.decide(envelope(), method="DELETE") is not None


def test_an_unknown_dialect_is_an_error() -> None:
    with pytest.raises(ValueError, match="dialects: envelope, json, openai"):
        RouteTable(routes=ROUTES).decide(b"{}", dialect="mcp")  # type: ignore[arg-type]


def test_openai_requests() -> None:
    table = RouteTable(routes=ROUTES)
    decision = table.decide(b'{"model": "m"}', dialect="openai", headers=[("x-waypost-tenant", "acme")])
    assert decision is not None
    assert decision.route == "gold"
    decision = table.decide(b'{"model": "m"}', dialect="openai", headers=[("x-waypost-priority", "8")])
    assert decision is not None
    assert decision.route == "urgent"
    with pytest.raises(EnvelopeError) as caught:
        table.decide(b"{}", dialect="openai", headers=[("x-waypost-priority", "high")])
    error = caught.value
    assert (error.code, error.field, error.offset) == ("invalid_envelope", "x-waypost-priority", None)


@pytest.mark.parametrize(
    ("body", "field", "offset", "says"),
    [
        (b'{"kind": "model"}', "id", None, "`id` is missing"),
        (b'{"id": "1"}', "kind", None, "`kind` is missing"),
        (b'{"id": "1", "kind": "chat"}', "kind", 20, '"query", "context", "model", "tool", "event"'),
        (b'{"id": 7, "kind": "model"}', "id", 7, "1 to 128 characters"),
        (b'{"id": "1", "kind": "model", "priority": "high"}', "priority", 41, "from 0 to 9"),
        (b'{"id": "1", "kind": "model", "context": [{"type": 1}]}', "context.type", 50, "list of objects"),
        (b" [1]", None, 0, "an envelope is a JSON object"),
    ],
)
def test_what_is_no_envelope_names_the_field(body: bytes, field: str | None, offset: int | None, says: str) -> None:
    table = RouteTable(routes=ROUTES)
    for method in (table.decide, table.matches, table.explain):
        with pytest.raises(EnvelopeError) as caught:
            method(body)
        error = caught.value
        assert (error.code, error.status, error.field, error.offset) == ("invalid_envelope", 400, field, offset)
        assert says in error.message


def test_invalid_json_is_an_error_of_the_message() -> None:
    with pytest.raises(EnvelopeError) as caught:
        RouteTable(routes=ROUTES).decide(b'{"id": "1", "id": "2"}')
    assert (caught.value.code, caught.value.offset) == ("duplicate_key", 12)
    deep = RouteTable(routes=[], depth=2)
    with pytest.raises(EnvelopeError) as caught:
        deep.decide(b'{"id": "1", "kind": "query", "content": [[]]}')
    assert caught.value.code == "too_deep"
    for depth in (0, 1025):
        with pytest.raises(ValueError, match="1 to 1024"):
            RouteTable(routes=[], depth=depth)


# Identity.


def test_an_identity_decides_or_conflicts() -> None:
    table = RouteTable(routes=[{"name": "r", "match": {"tenant": "acme", "agent": "a", "labels": {"tier": ["gold"]}}}])
    identity = {"tenant": "acme", "agent": "a", "labels": {"tier": "gold"}}
    assert table.decide(envelope()) is None
    assert table.decide(envelope(), identity=identity) is not None
    assert table.decide(envelope(tenant="acme", labels={"tier": "gold"}), identity=identity) is not None
    for forged in (
        {"tenant": "globex"},
        {"agent": "b"},
        {"labels": {"tier": "silver"}},
        {"labels": {"tier": ["gold", "x"]}},
    ):
        with pytest.raises(WaypostError) as caught:
            table.decide(envelope(**forged), identity=identity)
        assert (caught.value.code, caught.value.status) == ("identity_conflict", 403)
        assert not isinstance(caught.value, EnvelopeError)
    # None says nothing.
    assert table.decide(envelope(tenant="globex"), identity={"tenant": None, "agent": None, "labels": None}) is None


@pytest.mark.parametrize(
    "identity", [{"team": "x"}, {"tenant": 5}, {"labels": {"a": 1}}, {"labels": ["a"]}, {1: "x"}, 5]
)
def test_what_is_no_identity_is_an_error(identity: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        RouteTable(routes=ROUTES).decide(envelope(), identity=identity)


# Routes.


def problems(*routes: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ConfigError) as caught:
        RouteTable(routes=routes)
    return [(problem.path, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("route", "path", "says"),
    [
        ("x", (), "a route is a mapping"),
        ({}, ("name",), "needs a name"),
        ({"name": ""}, ("name",), "needs a name"),
        ({"name": "fine"}, ("name",), "duplicate route name `fine`"),
        ({"name": "r", "to": 5}, ("to",), "name of a cluster"),
        ({"name": "r", "to": ["x"]}, ("to",), "name of a cluster"),
        ({"name": "r", "fallback": "x"}, ("fallback",), "list of cluster names"),
        ({"name": "r", "fallback": [1]}, ("fallback",), "list of cluster names"),
        ({"name": "r", "precedence": "high"}, ("precedence",), "whole number"),
        ({"name": "r", "precedence": 2**63}, ("precedence",), "whole number"),
        ({"name": "r", "precedence": 1.5}, ("precedence",), "whole number"),
        ({"name": "r", "prio": 1}, ("prio",), "unknown key `prio`"),
        ({"name": "r", "match": []}, ("match",), "mapping of fields"),
        ({"name": "r", "match": {"tenent": ["x"]}}, ("match", "tenent"), "did you mean `tenant`?"),
        ({"name": "r", "match": {"tenant": [object()]}}, ("match", "tenant", 0), "not of object"),
        ({"name": "r", "match": {"kind": ["chat"]}}, ("match", "kind"), "allowed: query"),
    ],
)
def test_a_wrong_route_is_named(route: Any, path: tuple[str | int, ...], says: str) -> None:
    [(found, message)] = problems({"name": "fine"}, route)
    assert found == ("routes", 1, *path)
    assert says in message


def test_a_broken_pattern_is_told_beside_problems_of_shape() -> None:
    found = problems({"name": "a", "match": {"tenant": [object()]}, "to": 5}, {"name": "b", "match": {"tenant": []}})
    assert [path for path, _ in found] == [
        ("routes", 0, "match", "tenant", 0),
        ("routes", 0, "to"),
        ("routes", 1, "match", "tenant"),
    ]


def test_routes_can_be_any_iterable_of_mappings() -> None:
    assert len(RouteTable(routes=iter(ROUTES))) == 4
    assert len(RouteTable(routes=())) == 0
    with pytest.raises(TypeError):
        RouteTable(routes=5)  # type: ignore[arg-type]


def test_a_table_serves_many_threads() -> None:
    table = RouteTable(routes=ROUTES)
    bodies = [
        (envelope(kind="model", tenant="acme"), "gold"),
        (envelope(kind="model"), "models"),
        (envelope(priority=9), "urgent"),
    ]
    faults: list[object] = []

    def read() -> None:
        for _ in range(300):
            for body, route in bodies:
                decision = table.decide(body)
                if decision is None or decision.route != route:
                    faults.append((body, decision))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
