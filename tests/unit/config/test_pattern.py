from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from waypost.config import parse_config
from waypost.errors import ConfigError

CLUSTERS = "clusters: {c: {speaks: openai, endpoints: [http://h]}}\n"


def match(text: str) -> Any:
    return parse_config(f"{CLUSTERS}routes: [{{name: a, to: c, match: {text}}}]", environ={}).routes[0].match


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", {}),
        ("{kind: model}", {"kind": ["model"]}),
        ("{a: null, b: ~, c: true, d: 7, e: no}", {"a": [None], "b": [None], "c": [True], "d": [7], "e": ["no"]}),
        ("{a: {b: {c: x}}}", {"a": {"b": {"c": ["x"]}}}),
        ("{a: [{prefix: x}, {numeric: ['>', 1.50]}]}", {"a": [{"prefix": "x"}, {"numeric": [">", Decimal("1.50")]}]}),
        ("{$or: [{a: x}, {b: {c: y}}]}", {"$or": [{"a": ["x"]}, {"b": {"c": ["y"]}}]}),
        ("{prefix: [llama]}", {"prefix": ["llama"]}),
        ("{model: {prefix: [llama], numeric: [a, b]}}", {"model": {"prefix": ["llama"], "numeric": ["a", "b"]}}),
        ("{exists: {x: 1}}", {"exists": {"x": [1]}}),
        ("{a: []}", {"a": []}),
    ],
)
def test_scalars_become_lists_of_one(text: str, expected: object) -> None:
    assert match(text) == expected


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        match(text)
    return [str(problem).partition(": ")[2] for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "where", "suggestion"),
    [
        ("{model: {prefix: llama}}", "routes[0].match.model", "`model: [{prefix: llama}]`"),
        ("{a: {b: {exists: true}}}", "routes[0].match.a.b", "`b: [{exists: true}]`"),
        ("{n: {numeric: ['>=', 7]}}", "routes[0].match.n", '`n: [{numeric: [">=", 7]}]`'),
        ("{m: {anything-but: [a, b]}}", "routes[0].match.m", "`m: [{anything-but: [a, b]}]`"),
        ("{m: {anything-but: {prefix: a}}}", "routes[0].match.m", "`m: [{anything-but: {prefix: a}}]`"),
        ("{m: {suffix: {equals-ignore-case: a}}}", "routes[0].match.m", "`m: [{suffix: {equals-ignore-case: a}}]`"),
        ("{$or: [{m: {cidr: 10.0.0.0/8}}]}", "routes[0].match.$or[0].m", '`m: [{cidr: "10.0.0.0/8"}]`'),
        ("{prefix: llama}", "routes[0].match", "`FIELD: [{prefix: llama}]`"),
        ("{n: {numeric: ['>=', '7']}}", "routes[0].match.n", '`n: [{numeric: [">=", 7]}]`'),
        ("{numeric: ['>', x, '<', 5]}", "routes[0].match", '`FIELD: [{numeric: [">=", 7]}]`'),
        ("{m: {wildcard: '', x: ~}}", "routes[0].match.m", '`m: [{wildcard: "", x: null}]`'),
    ],
)
def test_a_predicate_outside_a_list_is_pointed_out(text: str, where: str, suggestion: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"{where}: `")
    assert f"write {suggestion}" in found


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("{a: }", "a", "`null` for the value null"),
        ("{a: {b: }}", "a.b", "has no value"),
        ("{a: [{prefix: }]}", "a[0].prefix", "has no value"),
        ("{a: .inf}", "a", "JSON has neither"),
        ("{a: [{numeric: ['>', .nan]}]}", "a[0].numeric[1]", "JSON has neither"),
        ("{a: ['${NOPE}']}", "a[0]", "`NOPE` is not set"),
    ],
)
def test_values_that_cannot_be_matched(text: str, where: str, why: str) -> None:
    (found,) = problems(text)
    assert found.startswith(f"routes[0].match.{where}: ")
    assert why in found


def test_all_problems_of_a_pattern_are_reported() -> None:
    assert len(problems("{a: , b: [.inf, '${X}${Y}'], c: {prefix: x}, d: {e: }}")) == 6
