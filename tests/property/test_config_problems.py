"""One report: whatever is wrong is a problem with a place, and hides nothing that is wrong elsewhere."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from waypost.config import parse_config
from waypost.errors import ConfigError, Problem
from waypost.table import _problems_of_meaning, compile_config

JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "x",
        "${NO}",
        "${",
        "local",
        "\ud800",
        [],
        [[]],
        {},
        {"prefix": 1},
        {"x": None},
        [None],
    ]
)
KEYS = ["name", "match", "to", "kind", "prefix", "$or", "speaks", "endpoints", "tls", "clusters", "cluster", "include"]
POLICY: dict[str, Any] = {
    "timeout": {"connect": "1s"},
    "retry": {"attempts": 2, "statuses": [503, 429], "backoff": "10ms", "backoff_max": "20ms"},
    "balance": {"hash": "labels.x"},
    "health": {"check": {"path": "/up", "interval": "1s"}, "panic": "10%"},
    "breaker": {"open": "1s", "open_max": "2s", "failures": "10%"},
    "concurrency": {"adaptive": {"min": 1, "max": 3, "initial": 2}},
    "queue": {"length": 1},
    "rate": [{"per": "key", "messages": 1, "every": "1s"}],
    "hedge": {"after": "p90"},
}
"""Nothing is wrong with it."""
PREDICATES: st.SearchStrategy[Any] = st.sampled_from(
    ["model", "modle", "${NO}", {"prefix": "x"}, {"prefx": "x"}, {"prefix": 1}, {"numeric": [">", "x"]}, [1], {}, None]
)
PATTERN = st.dictionaries(
    st.sampled_from(["kind", "tenant", "headers", "foo", "dialect"]), st.lists(PREDICATES, max_size=3), max_size=3
)
CLUSTER: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"speaks": st.sampled_from(["openai", "envelope"]), "endpoints": st.just(["http://h", {"url": "http://i"}])},
    optional={"credential": st.just({"header": "accept", "value": "x"}), "tls": st.just({"server_name": "x"})}
    | {key: st.just(value) for key, value in POLICY.items()},
)
ROUTE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c", "d"]), "to": st.sampled_from(["local", "other", "gone"])},
    optional={"match": PATTERN, "fallback": st.lists(st.sampled_from(["local", "other"]), max_size=2)},
)
CONFIG: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "clusters": st.fixed_dictionaries({"local": CLUSTER, "other": CLUSTER}),
        "routes": st.lists(ROUTE, max_size=4),
        "limits": st.just({"body": "1MiB"}),
    }
)


def report(config: Any) -> tuple[Problem, ...]:
    text = json.dumps(config, indent=1)
    try:
        compile_config(parse_config(text, file="c.json", base="/nonexistent", environ={}, meaning=_problems_of_meaning))
    except ConfigError as error:
        return error.problems or (Problem((), "an error without problems"),)
    return ()


def spots(value: Any) -> list[Any]:
    """Every mapping and list in `value`."""
    if not isinstance(value, (dict, list)):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(spot for each in inner for spot in spots(each))]


@settings(max_examples=500)
@given(CONFIG, st.data())
def test_whatever_is_wrong_is_a_problem_with_a_place_and_told_once(config: dict[str, Any], data: st.DataObject) -> None:
    config = copy.deepcopy(config)  # Strategies give the same objects again.
    for _ in range(data.draw(st.integers(1, 4))):
        spot = data.draw(st.sampled_from(spots(config)))
        if isinstance(spot, dict):
            spot[data.draw(st.sampled_from([*KEYS, *spot]))] = copy.deepcopy(data.draw(JUNK))
        elif spot:
            spot[data.draw(st.integers(0, len(spot) - 1))] = copy.deepcopy(data.draw(JUNK))
    found = report(config)
    assert len(set(map(str, found))) == len(found)
    assert [(each.line, each.column) for each in found] == sorted((each.line, each.column) for each in found)
    for each in found:
        assert each.file == "c.json"
        assert each.line > 0
        assert each.column > 0
        assert "Ellipsis" not in each.message


@settings(max_examples=300)
@given(CONFIG)
def test_an_unknown_key_elsewhere_changes_nothing_of_the_rest(config: dict[str, Any]) -> None:
    def shown(problems: tuple[Problem, ...]) -> list[tuple[object, str]]:
        return sorted(
            (str(each.path), re.sub(r":\d+:\d+", "", each.message)) for each in problems if "zzz" not in each.message
        )

    alone = shown(report(config))
    assert shown(report({**config, "zzz": 1})) == alone
    assert shown(report({**config, "limits": {"body": "1MiB", "zzz": 1}})) == alone
