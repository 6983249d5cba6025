from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from waypost.config import from_dict, parse_config
from waypost.config.jsontext import compose as compose_json
from waypost.config.jsontext import loads
from waypost.config.positions import UnreadableError
from waypost.config.yaml12 import compose as compose_yaml
from waypost.errors import ConfigError, Problem

TEXT = st.text(st.characters(codec="utf-8"))
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=30)


def exact(value: Any) -> Any:
    """`value` as reading its JSON text should give it."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return value


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def escaped(text: str) -> str:
    """JSON text with what YAML's reader does not take raw as escapes."""
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda found: f"\\u{ord(found.group()):04x}", text)


@given(VALUE)
def test_json_gives_the_same_values_quickly_and_slowly(value: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        found, _, faults = compose_json(text)
        assert not faults
        assert same(found, exact(value))
        assert same(loads(text), exact(value))


@given(VALUE, st.sampled_from([None, 2]))
def test_yaml_gives_the_same_values(value: Any, indent: int | None) -> None:
    text = escaped(json.dumps(value, ensure_ascii=False, indent=indent))
    found, _, faults = compose_yaml(text)
    assert not faults
    assert same(found, exact(value))


def block(value: Any, indent: int) -> str:
    """`value` as YAML in block style."""
    pad = " " * indent
    if isinstance(value, dict) and value:
        return "".join(
            f"\n{pad}{escaped(json.dumps(k, ensure_ascii=False))}:{block(v, indent + 2)}" for k, v in value.items()
        )
    if isinstance(value, list) and value:
        return "".join(f"\n{pad}-{block(item, indent + 2)}" for item in value)
    return " " + escaped(json.dumps(value, ensure_ascii=False))


@given(st.recursive(SCALAR, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=15))
def test_block_style_gives_the_same_values(value: Any) -> None:
    assert same(compose_yaml(block(value, 0))[0], exact(value))


KEY = TEXT.filter(lambda key: "${" not in key)  # references are replaced in values only
PATTERN = st.dictionaries(KEY, st.lists(SCALAR, min_size=1), max_size=5)


@given(PATTERN)
def test_patterns_come_through_whole(pattern: dict[str, Any]) -> None:
    config = {
        "clusters": {"c": {"speaks": "openai", "endpoints": ["http://h"]}},
        "routes": [{"name": "a", "match": pattern, "to": "c"}],
    }
    text = escaped(json.dumps(config, ensure_ascii=False).replace("${", "$${"))
    for name in ("c.json", "c.yaml"):
        assert same(parse_config(text, file=name, environ={}).routes[0].match, exact(pattern))
    assert same(from_dict(config).routes[0].match, exact(pattern))


def problems(load: Callable[[], object]) -> tuple[Problem, ...]:
    """What a `ConfigError` holds. Anything else that is raised goes on to fail the test."""
    try:
        load()
    except ConfigError as error:
        return error.problems or (Problem((), "an error without problems"),)
    return ()


@settings(max_examples=400)
@given(st.text() | st.binary())
def test_arbitrary_text_raises_nothing_but_config_error(text: str | bytes) -> None:
    for name in ("c.yaml", "c.json"):
        for problem in problems(lambda name=name: parse_config(text, file=name, base="/nonexistent", environ={})):
            assert problem.file == name
            assert problem.line > 0
            assert problem.column > 0


WORDS = ["routes", "clusters", "match", "name", "to", "include", "limits", "listen", "port", "null", "1", "1e5", "x"]
MARKS = [":", ": ", "\n", "\n  ", "\n- ", "- ", "{", "}", "[", "]", ", ", "&a ", "*a ", "'", '"', "!!int ", "\t", "~"]
MORE = ["---\n", ".inf", "${X}", "${", "|", "#", "? ", "<<", "%YAML"]


@settings(max_examples=600)
@given(st.lists(st.sampled_from(WORDS + MARKS + MORE), max_size=40).map("".join))
def test_text_that_is_nearly_yaml_raises_nothing_but_config_error(text: str) -> None:
    for name in ("c.yaml", "c.json"):
        for problem in problems(lambda name=name: parse_config(text, file=name, base="/nonexistent", environ={})):
            assert problem.line > 0


@given(st.dictionaries(st.sampled_from(["routes", "clusters", "listen", "limits"]) | TEXT, VALUE))
def test_arbitrary_objects_raise_nothing_but_config_error(obj: dict[str, Any]) -> None:
    for problem in problems(lambda: from_dict(obj)):
        assert problem.message


JSONISH = [*'{}[],:"\\ \n0123456789.eE+-utrfnalse', "true", "null", '"a"', '"a":', "\\u00e9", "\x00", "\u00e9"]


@settings(max_examples=600)
@given(st.lists(st.sampled_from(JSONISH), min_size=1, max_size=25).map("".join).filter(str.strip))
def test_both_readers_of_json_agree_on_what_is_json(text: str) -> None:
    try:
        quick: Any = loads(text)
    except (ValueError, RecursionError):
        quick = UnreadableError
    try:
        slow, _, faults = compose_json(text)
    except UnreadableError:
        slow, faults = UnreadableError, []
    assert (quick is UnreadableError) == (slow is UnreadableError or bool(faults))
    assert quick is UnreadableError or same(quick, slow)
