"""Explaining, deciding and listing agree, on any rules and documents, and one at a time."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from waypost import EnvelopeError, Matcher, PatternError, RouteTable, WaypostError
from waypost._native import Explanation

KEYS = st.sampled_from(["a", "b", "a.b", "é", ""])
SCALARS: st.SearchStrategy[Any] = st.sampled_from([None, True, 0, 1, 1.5, 10**20, "", "x", "xy", "X", "10.0.0.7", "é"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
TEXTS = st.sampled_from(["x", "y", "X", "é"])
PREDICATES: st.SearchStrategy[Any] = st.one_of(
    SCALARS,
    SCALARS,
    st.builds(lambda key, text: {key: text}, st.sampled_from(["prefix", "suffix", "equals-ignore-case"]), TEXTS),
    st.sampled_from(
        [
            {"exists": True},
            {"exists": False},
            {"wildcard": "x*"},
            {"anything-but": ["x", 1, None]},
            {"anything-but": {"prefix": "x"}},
            {"numeric": [">=", 1]},
            {"numeric": [">", 0, "<", 2]},
            {"cidr": "10.0.0.0/8"},
            {"regex": "x.?"},
        ]
    ),
)
TESTS = st.lists(PREDICATES, min_size=1, max_size=3)


def _with_or(pattern: dict[str, Any], branches: list[dict[str, Any]]) -> dict[str, Any]:
    branches = [branch for branch in branches if branch]
    return {**pattern, "$or": branches} if branches else pattern


def _patterns(keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    flat = st.dictionaries(keys, TESTS, min_size=1, max_size=2)
    nested = st.dictionaries(keys, st.one_of(TESTS, flat, flat.map(lambda inner: {"a": inner})), max_size=3)
    return st.builds(_with_or, nested, st.lists(nested, max_size=2))


def check(names: list[str], first: str | None, matches: list[str], explanation: Explanation) -> None:
    verdicts = explanation.verdicts
    assert [verdict.route for verdict in verdicts] == names
    assert [verdict.route for verdict in verdicts if verdict.matched] == matches
    assert first == explanation.route == (matches[0] if matches else None)
    for verdict in verdicts:
        assert verdict.reason
        assert "\n" not in verdict.reason
        if verdict.matched:
            assert (verdict.path, verdict.expected, verdict.seen) == (None, None, None)
        else:
            assert verdict.path is not None
            if verdict.seen is not None:
                assert verdict.seen in verdict.reason


@given(
    st.dictionaries(st.sampled_from("pqrs"), _patterns(KEYS), max_size=4),
    st.one_of(st.dictionaries(KEYS, VALUES, max_size=4), VALUES),
)
@settings(max_examples=400, deadline=None)
def test_a_matcher_agrees_with_itself(rules: dict[str, dict[str, Any]], document: Any) -> None:
    body = json.dumps(document)
    matcher = Matcher(rules)
    matches = matcher.matches(body)
    check(list(rules), matcher.first(body), matches, matcher.explain(body))
    # Alone a rule matches what it matches among others, however the rules came to be there.
    one_by_one = Matcher()
    for name, pattern in rules.items():
        assert Matcher({name: pattern}).matches(body) == [name] * matches.count(name)
        one_by_one.add(name, {})
        one_by_one.update(name, pattern)
    assert one_by_one.matches(body) == matches


@given(_patterns(KEYS), st.dictionaries(KEYS, VALUES, max_size=4), st.data())
@settings(max_examples=300, deadline=None)
def test_asking_less_never_matches_less(pattern: dict[str, Any], document: Any, data: st.DataObject) -> None:
    if not pattern or Matcher({"r": pattern}).first(json.dumps(document)) is None:
        return
    less = {key: value for key, value in pattern.items() if key != data.draw(st.sampled_from(sorted(pattern)))}
    assert Matcher({"r": less}).first(json.dumps(document)) == "r"
    wider = {
        key: [*tests, "other"] if isinstance(tests, list) and key != "$or" else tests for key, tests in pattern.items()
    }
    assert Matcher({"r": wider}).first(json.dumps(document)) == "r"


def _of_strings(tests: list[Any]) -> list[Any]:
    """Those that a field which holds strings can satisfy: a pattern with others is refused."""
    return [test for test in tests if isinstance(test, str) or (isinstance(test, dict) and "numeric" not in test)]


STRING_TESTS = TESTS.map(_of_strings).filter(bool)
ATTRIBUTES = st.sampled_from(["agent", "model", "tenant", "task", "tool", "topic"])
MESSAGES = st.fixed_dictionaries(
    {"id": st.just("1"), "kind": st.sampled_from(["model", "tool", "query"])},
    optional={
        "tenant": st.sampled_from(["x", "y", None]),
        "model": st.sampled_from(["x", "xy", 5]),
        "priority": st.integers(0, 10),
        "labels": st.dictionaries(KEYS, VALUES, max_size=3),
        "context": st.lists(st.fixed_dictionaries({"type": TEXTS}, optional={"ref": TEXTS}), max_size=3),
        "content": VALUES,
        "a": VALUES,
        "user": TEXTS,
        "metadata": st.dictionaries(KEYS, VALUES, max_size=2),
    },
)
PARTS = st.one_of(
    st.builds(lambda name, tests: {name: tests}, ATTRIBUTES, STRING_TESTS),
    st.builds(
        lambda name, tests: {name: tests}, st.sampled_from(["labels", "body", "content"]), _patterns(KEYS).filter(bool)
    ),
    st.builds(lambda key, tests: {"context": {key: tests}}, st.sampled_from(["type", "ref"]), STRING_TESTS),
    st.builds(lambda tests: {"headers": {"x-tier": tests}}, STRING_TESTS),
    st.sampled_from(
        [{"kind": ["model"]}, {"dialect": "openai"}, {"priority": [{"numeric": [">", 4]}]}, {"path": "/v1/envelopes"}]
    ),
)
ROUTES = st.lists(
    st.tuples(st.builds(lambda first, second: {**first, **second}, PARTS, PARTS), st.integers(-1, 1)), max_size=5
)


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["x-tier", "X-Tier", "x-waypost-tenant", "x-waypost-priority"]),
        st.sampled_from(["x", "7", "y"]),
    ),
    max_size=3,
)


@given(
    ROUTES,
    MESSAGES,
    st.sampled_from(["envelope", "json", "openai"]),
    HEADERS,
    st.sampled_from([None, {"tenant": "x"}, {"agent": "y", "labels": {"a": "x"}}]),
)
@settings(max_examples=400, deadline=None)
def test_a_route_table_agrees_with_itself(
    routes: list[tuple[dict[str, Any], int]], message: Any, dialect: Any, headers: Any, identity: Any
) -> None:
    specs: list[dict[str, Any]] = [
        {"name": str(index), "match": pattern, "precedence": precedence, "to": "c"}
        for index, (pattern, precedence) in enumerate(routes)
    ]
    table = RouteTable(routes=specs)
    order = [spec["name"] for spec in sorted(specs, key=lambda spec: -spec["precedence"])]
    body = json.dumps(message)
    known = {"dialect": dialect, "headers": headers, "identity": identity}
    refused = []
    for method in (table.decide, table.matches, table.explain):
        try:
            method(body, **known)
        except WaypostError as error:
            refused.append((error.code, error.message, type(error)))
    if refused:
        code, _, kind = refused[0]
        assert kind is {"invalid_envelope": EnvelopeError, "identity_conflict": WaypostError}[code]
        assert len(refused) == 3
        assert len(set(refused)) == 1
        return
    decision = table.decide(body, **known)
    explanation = table.explain(body, **known)
    assert explanation.decision is decision
    matches = [found.route for found in table.matches(body, **known)]
    check(order, decision and decision.route, matches, explanation)


@given(
    st.recursive(
        PREDICATES | VALUES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.just("$or"), inner, max_size=3),
    )
)
@settings(max_examples=300, deadline=None)
def test_any_tree_is_a_pattern_or_an_error(tree: Any) -> None:
    try:
        Matcher({"r": tree}).explain(json.dumps({"a": {"b": 1}, "b": "x"}))
    except PatternError as error:
        refused = error
    else:
        return
    assert refused.rule == "r"
    assert refused.message
