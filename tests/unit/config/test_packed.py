"""Large files of routes are read by the extension, with the same results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from waypost import ConfigError, RouteTable
from waypost.config import Config, load, packed, parse_config
from waypost.config.packed import Routes
from waypost.errors import Problem

HEAD = """\
listen: {port: 8080}
clusters:
  c: {speaks: envelope, endpoints: [http://127.0.0.1:9100]}
  d: {speaks: envelope, endpoints: [http://127.0.0.1:9101]}
"""


@pytest.fixture(autouse=True)
def _any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LARGE", 0)


def complete(text: str, file: str = "c.yaml", **how: Any) -> Config:
    """Read without the extension."""
    loader = load._Loader({}, None)
    loader.main_text(text, file, Path(how.get("base", "")))
    return loader.finish()


def result(read: Callable[[], Config]) -> Config | list[Problem]:
    """The configuration, or its problems."""
    try:
        return read()
    except ConfigError as error:
        return list(error.problems)


def same(one: Callable[[], Config], two: Callable[[], Config]) -> Config | None:
    """Hold two readings to one result: the same configuration, or the same problems at the same places."""
    expected, found = result(one), result(two)
    if isinstance(expected, list) or isinstance(found, list):
        assert found == expected
        return None
    assert found == expected
    assert expected == found
    assert list(found.routes) == list(expected.routes)
    assert len(found.routes) == len(expected.routes)
    for index in range(len(expected.routes)):
        for below in ((), ("name",), ("match",), ("match", "kind"), ("match", "kind", 0), ("to",)):
            path = ("routes", index, *below)
            assert found.locate(path) == expected.locate(path), path
    for path in ((), ("clusters", "c", "speaks"), ("listen", "port"), ("clusters", "d")):
        assert found.locate(path) == expected.locate(path)
    return found


ROUTES = [
    {"name": "a", "match": {"kind": "query", "tenant": ["x", {"prefix": "y"}]}, "to": "c"},
    {
        "name": "b",
        "match": {"body": {"n": [1, 2.5, None, True, {"numeric": [">=", 7, "<", 9]}]}},
        "to": "c",
        "fallback": ["d"],
    },
    {"name": "e", "reply": {"status": 404}},
    {"name": "f", "to": "d", "precedence": 7, "match": {"$or": [{"kind": "event"}, {"topic": [{"suffix": "/eu"}]}]}},
    {"name": "g", "match": {"task": "${TASK:-plan}"}, "to": "c", "mirror": {"to": "d", "share": "5%"}},
]


@pytest.mark.parametrize("flow", [True, False, None])
@pytest.mark.parametrize("first", [True, False])
def test_yaml_in_any_style_gives_the_same_configuration(flow: bool | None, first: bool) -> None:
    routes = yaml.safe_dump({"routes": ROUTES}, default_flow_style=flow, sort_keys=False)
    if flow:
        routes = "routes: " + yaml.safe_dump(ROUTES, default_flow_style=True)
    text = routes + HEAD if first else (HEAD + routes).rstrip("\n")
    found = same(lambda: complete(text), lambda: parse_config(text, file="c.yaml", environ={}))
    assert found is not None
    assert isinstance(found.routes, Routes)
    native = RouteTable(found.to_native()["routes"])
    assert native.decide(b'{"id": "1", "kind": "event"}').route == "f"  # type: ignore[union-attr]
    assert [each.name for each in found.routes[1:3]] == ["b", "e"]
    assert found.routes[-1].name == "g"
    with pytest.raises(IndexError):
        found.routes[5]
    assert json.dumps(found.routes[0].match) == '{"kind": ["query"], "tenant": ["x", {"prefix": "y"}]}'


def test_included_files_are_packed_too(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text(
        "\n".join(map(json.dumps, ROUTES[:2])) + "\n\n" + json.dumps(ROUTES[2]) + "\n"
    )
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"routes": ROUTES[3:]}))
    main = tmp_path / "c.yaml"
    main.write_text(HEAD + "include: [lines.jsonl, more.yaml]\nroutes: [{name: z, to: c}]\n")
    found = same(lambda: _unpacked(main), lambda: load.load_config(main, environ={}))
    assert found is not None
    assert [route.name for route in found.routes] == ["z", "a", "b", "e", "f", "g"]
    assert found.locate(("routes", 1, "to")) == (str(tmp_path / "lines.jsonl"), 1, 83)


def _unpacked(file: Path) -> Config:
    loader = load._Loader({}, None)
    loader.files.append(file)
    loader.stack.append(str(file.resolve()))
    loader.main_text(file.read_bytes(), str(file), file.parent)
    return loader.finish()


@pytest.mark.parametrize(
    "wrong",
    [
        "{name: a, to: nowhere}",
        "{name: a, to: c}, {name: a, to: d}",
        "{name: a, to: c, unknown: 1}",
        "{name: a, to: c, name: b}",
        "{name: a, to: c, match: {kind: }}",
        "{name: a, to: c, match: {kind: {prefix: q}}}",
        "{name: a}",
        "{name: a, to: c, fallback: [nowhere]}",
        "{name: a, to: c, precedence: 99999999999}",
        "{name: a, to: c, match: {x: '${MISSING}'}}",
        "{name: a, to: c, match: {x: .inf}}",
        "&x {name: a, to: c}, *x",
        "7",
    ],
)
def test_problems_are_those_of_the_complete_reader(wrong: str) -> None:
    for text in (f"{HEAD}routes: [{wrong}]\n", f"routes:\n  - {wrong.split('}, ', maxsplit=1)[0]}\n{HEAD}unknown: 1\n"):
        same(lambda text=text: complete(text), lambda text=text: parse_config(text, file="c.yaml", environ={}))  # type: ignore[misc]


_KEYS = st.sampled_from(("kind", "tenant", "x", "body", "é", "prefix", "$or", "null", "7", "a b", ""))
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.sampled_from(
        ("", "x", "yes", "7", "-", "1e3", "10.0.0.0/8", "${A}", "$", "é", "a: b", "- a", "#", "0x1F", "~", "\t", "null")
    ),
)
_ALTERNATIVES = st.lists(
    st.one_of(_SCALARS, st.dictionaries(st.sampled_from(("prefix", "numeric", "exists")), _SCALARS, max_size=1)),
    max_size=3,
)
_PATTERNS = st.recursive(
    st.one_of(_SCALARS, _ALTERNATIVES), lambda inner: st.dictionaries(_KEYS, inner, max_size=3), max_leaves=6
)
_ROUTES = st.fixed_dictionaries(
    {"name": st.sampled_from("abcdefghijkl"), "to": st.sampled_from(("c", "d", "c", "d", "z", 7))},
    optional={
        "match": st.dictionaries(_KEYS, _PATTERNS, max_size=3),
        "fallback": st.lists(st.sampled_from("cd"), max_size=2),
        "precedence": st.integers(-3, 3),
        "reply": st.just({"status": 200}),
        "other": _SCALARS,
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_ROUTES, max_size=4), st.sampled_from((True, False, None)), st.booleans())
def test_any_routes_give_the_same_configuration(routes: list[dict[str, Any]], flow: bool | None, lines: bool) -> None:
    listed = yaml.safe_dump({"routes": routes}, default_flow_style=flow, sort_keys=False, allow_unicode=True)
    text = HEAD + listed if not flow else HEAD + "routes: " + yaml.safe_dump(routes, default_flow_style=True)
    same(lambda: complete(text), lambda: parse_config(text, file="c.yaml", environ={}))
    if lines:
        written = "\n".join(json.dumps(route) for route in routes)
        source = packed.pack_lines("r.jsonl", Path(), written, 0)
        assert source is not None
        assert len(source.routes) == len(routes)
