"""A cluster's policy, from what is written to what the extension has: every key, every form, every fault."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct
from waypost import ConfigError
from waypost._native import Snapshot, policy_keys
from waypost.config import parse_config
from waypost.config import policy as shapes
from waypost.config.policy import POLICY_KEYS
from waypost.table import _problems_of_meaning, compile_config

BASE = """\
routes: [{name: a, to: c}]
clusters:
  c:
    speaks: openai
    endpoints: [http://h]
"""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def policy(text: str, **environ: str) -> dict[str, Any]:
    """The policy that the extension has of a cluster with these keys."""
    config = parse_config(BASE + indented(text), environ=environ)
    return compile_config(config).clusters["c"].policy


def problems(text: str, **environ: str) -> list[str]:
    """The problems of a cluster with these keys, whose first line is 1 and first column 1."""
    with pytest.raises(ConfigError) as caught:
        compile_config(parse_config(BASE + indented(text), environ=environ, meaning=_problems_of_meaning))
    return [f"{each.line - 5}:{each.column - 4}: {str(each).split('clusters.c.')[1]}" for each in caught.value.problems]


def native(**keys: Any) -> dict[str, Any]:
    """The policy that the extension makes of these keys as `Config.to_native` gives them."""
    endpoints = [{"url": "http://h", "weight": 1}]
    cluster = {"speaks": "openai", "endpoints": endpoints, "credential": None, "model": None, **keys}
    config = {"depth": 1, "limits": {"header": 1}, "routes": [], "keys": [], "trusted": [], "hosts": []}
    return Snapshot({**config, "clusters": {"c": cluster}}).clusters["c"].policy


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that holds no further keys, and what it holds."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, value


# What arrives.


def test_defaults_are_those_of_the_extension() -> None:
    assert policy("") == native()
    every = "health: {check: {}}\nconcurrency: {adaptive: {}}\nhedge: {}\nrate: {per: key, messages: 7, every: 1s}"
    rate = {"per": "key", "messages": 7, "every": 1.0}
    assert policy(every) == native(health={"check": {}}, concurrency="adaptive", hedge={}, rate=[rate])
    assert set(policy("")) == set(POLICY_KEYS)


SECTIONS: dict[str, type[Struct]] = {
    "timeout": shapes.Timeout,
    "retry": shapes.Retry,
    "health": shapes.Health,
    "health.check": shapes.Check,
    "breaker": shapes.Breaker,
    "concurrency.adaptive": shapes.Adaptive,
    "queue": shapes.Queue,
    "rate": shapes.Rate,
    "hedge": shapes.Hedge,
}


def test_shapes_have_the_keys_of_the_extension() -> None:
    keys = {path: tuple(section) for path, section in policy_keys().items()}
    assert keys == {path: section.__struct_fields__ for path, section in SECTIONS.items()}


def test_a_description_says_which_bounds_are_unusual() -> None:
    descriptions = {f"{path}.{key}": text for path, keys in policy_keys().items() for key, (text, _) in keys.items()}
    assert all(text.endswith(".") and text == text.strip() for text in descriptions.values())
    assert descriptions["retry.attempts"].endswith(", the first included; 1 to 16.")
    assert descriptions["retry.budget"].endswith("; up to 1000%.")
    assert descriptions["health.check.interval"].endswith("; at least 100ms.")
    assert descriptions["health.aggression"].endswith("; 0.1 to 10.")
    assert descriptions["hedge.after"].endswith("; p50 to p99.")
    assert descriptions["hedge.samples"].endswith("; at least 10.")
    assert descriptions["queue.length"].endswith(" is refused.")
    assert descriptions["timeout.idle"] == "Between two pieces of a response."


EVERY_KEY = """\
timeout: {connect: 1s, first_byte: 2s, idle: 3s, total: 4s, stream_idle: 5s, stream_comment: 7s, stream_total: 6s,
          connection_age: 8s, connection_idle: 9s}
retry:
  attempts: 5
  statuses: [500, 503]
  after_timeout: true
  budget: 30%
  budget_minimum: 11
  window: 20s
  backoff: 30ms
  backoff_max: 1500ms
balance: {hash: labels.session}
health:
  check: {path: /up?deep=1, interval: 6s, timeout: 1s, healthy: 3, unhealthy: 4, jitter: 10%}
  panic: 40%
  slow_start: 1m
  aggression: 1.5
  rest_max: 10s
breaker:
  consecutive: 6
  failures: 60%
  minimum: 30
  window: 30s
  open: 7s
  open_max: 70s
  jitter: 15%
  trials: 4
concurrency: {adaptive: {min: 5, max: 500, initial: 50, tolerance: 2, window: 2s, remeasure: 1m}}
queue: {length: 64, wait: 250ms, aging: 9}
rate:
  - {per: tenant, messages: 100, every: 1s, burst: 200, keys: 1000}
  - {per: cluster, messages: 6000, every: 1m}
hedge: {after: p90, minimum: 10ms, samples: 50}
"""
ARRIVED: dict[str, Any] = {
    "timeout": {
        "connect": 1.0,
        "first_byte": 2.0,
        "idle": 3.0,
        "total": 4.0,
        "stream_idle": 5.0,
        "stream_comment": 7.0,
        "stream_total": 6.0,
        "connection_age": 8.0,
        "connection_idle": 9.0,
    },
    "retry": {
        "attempts": 5,
        "statuses": [500, 503],
        "after_timeout": True,
        "budget": 30,
        "budget_minimum": 11,
        "window": 20.0,
        "backoff": 0.03,
        "backoff_max": 1.5,
    },
    "balance": {"hash": "labels.session"},
    "health": {
        "check": {
            "path": "/up?deep=1",
            "interval": 6.0,
            "timeout": 1.0,
            "healthy": 3,
            "unhealthy": 4,
            "jitter": 10,
        },
        "panic": 40,
        "slow_start": 60.0,
        "aggression": 1.5,
        "rest_max": 10.0,
    },
    "breaker": {
        "consecutive": 6,
        "failures": 60,
        "minimum": 30,
        "window": 30.0,
        "open": 7.0,
        "open_max": 70.0,
        "jitter": 15,
        "trials": 4,
    },
    "concurrency": {
        "adaptive": {"min": 5, "max": 500, "initial": 50, "tolerance": 2.0, "window": 2.0, "remeasure": 60.0}
    },
    "queue": {"length": 64, "wait": 0.25, "aging": 9},
    "rate": [
        {"per": "tenant", "messages": 100, "every": 1.0, "burst": 200, "keys": 1000},
        {"per": "cluster", "messages": 6000, "every": 60.0, "burst": 6000, "keys": 65536},
    ],
    "hedge": {"after": 90, "minimum": 0.01, "samples": 50},
}


def test_every_key_arrives() -> None:
    found = policy(EVERY_KEY)
    assert found == ARRIVED
    # None of them has its default, so that each of them was read.
    defaults = dict(leaves(policy("health: {check: {}}\nconcurrency: adaptive\nhedge: {}")))
    assert [key for key, value in leaves(found) if defaults.get(key) == value] == []
    assert [key for key in defaults if key not in dict(leaves(found)) and key not in (".balance", ".rate")] == []


def test_what_the_extension_shows_it_takes() -> None:
    assert native(**ARRIVED) == ARRIVED
    shown = policy("")
    shown["retry"]["attempts"] = 9
    assert policy("")["retry"]["attempts"] == 3


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("balance: least_load", ""),
        ("balance:\n  hash: tenant", "balance: {hash: tenant}"),
        ("concurrency: unlimited", ""),
        ("concurrency: adaptive", "concurrency: {adaptive: {}}"),
        ("hedge: p90", "hedge: {after: p90}"),
        ("health: {check: /up}", "health: {check: {path: /up}}"),
        ("rate: {per: key, messages: 1, every: 1s}", "rate: [{per: key, messages: 1, every: 1s, burst: 1}]"),
        ("rate: []", ""),
        ("retry: off", "retry: {attempts: 1}"),
        ("retry: {}", ""),
        ("breaker: off", "breaker: {consecutive: 0, failures: 0%}"),
        ("queue: {}", ""),
        ("concurrency: {adaptive: {max: 10}}", "concurrency: {adaptive: {max: 10, initial: 10}}"),
        ("concurrency: {adaptive: {min: 30}}", "concurrency: {adaptive: {min: 30, initial: 30}}"),
        ("timeout: {connect: 1m0.5s}", "timeout: {connect: 60500ms}"),
        ("concurrency: ${N}", "concurrency: 7"),
        ("concurrency: ${WORD}", "concurrency: adaptive"),
        ("hedge: ${SHARE}", "hedge: p90"),
        (
            "retry: {attempts: '${N}', statuses: ['${STATUS}'], budget: '${N}%'}",
            "retry: {attempts: 7, statuses: [500], budget: 7%}",
        ),
        ("health: {aggression: '${N}'}", "health: {aggression: 7.0}"),
    ],
)
def test_short_forms_mean_the_long_ones(short: str, long: str) -> None:
    environ = {"N": "7", "WORD": "adaptive", "SHARE": "p90", "STATUS": "500"}
    found = policy(short, **environ)
    assert found == policy(long)
    if long:
        assert found != policy("")


@pytest.mark.parametrize("word", ["least_load", "weighted", "round_robin"])
def test_a_balance_arrives(word: str) -> None:
    assert policy(f"balance: {word}")["balance"] == word


@pytest.mark.parametrize("per", ["cluster", "tenant", "agent", "key"])
def test_whose_messages_a_rate_counts_arrives(per: str) -> None:
    assert policy(f"rate: {{per: {per}, messages: 1, every: 1s}}")["rate"][0]["per"] == per


@pytest.mark.parametrize(
    "field", ["tenant", "model", "labels.session", "headers.x-session", "body.user.id", "client.address", "context.ref"]
)
def test_a_field_that_patterns_see_can_be_hashed(field: str) -> None:
    assert policy(f"balance: {{hash: {field}}}")["balance"] == {"hash": field}


# What is wrong.


def test_shape_and_meaning_are_told_at_once_each_at_its_place() -> None:
    assert problems("""\
timeout: {connect: 0s, total: 25h}
retry: {attempts: 17, statuses: [503, 200, x, 503], budget: 20, backof: 1s}
balance: {hash: tennant}
health: {check: {path: up, interval: 1ms}, panic: 101%, aggression: fast}
breaker: {consecutive: -1, trials: 0, window: 10}
concurrency: {adaptive: {tolerance: 0.5, min: 1.5}}
queue: {length: 2000000, wait: 0s}
rate:
  - {per: tenants, messages: 0, every: 1s}
  - 5
  - {per: key, messages: 1, every: 30h}
hedge: p49
""") == [
        "1:20: timeout.connect: must be greater than zero",
        "1:31: timeout.total: must be from 1ms to 24h, not 25h",
        "2:19: retry.attempts: must be from 1 to 16, not 17",
        "2:39: retry.statuses[1]: 200 is no status of a failure: 400 to 599",
        "2:44: retry.statuses[2]: must be an integer from 100 to 599, not a string",
        "2:47: retry.statuses[3]: 503 is there twice",
        "2:61: retry.budget: `20`: not a percentage; write a whole number with a percent sign, such as 20%",
        (
            "2:65: retry: unknown key `backof`; did you mean `backoff`? Allowed: attempts, statuses, after_timeout, "
            "budget, budget_minimum, window, backoff, backoff_max"
        ),
        (
            "3:17: balance.hash: no message has a field `tennant`; did you mean `tenant`? Fields: id, kind, "
            "agent, model, tenant, task, tool, content, context, priority, deadline_ms, labels, topic, "
            "stream, headers, path, method, dialect, client, body. Other fields of the body are under "
            "`body`: body.tennant"
        ),
        "4:24: health.check.path: must begin with `/` and hold no spaces or controls",
        "4:38: health.check.interval: must be from 100ms to 24h, not 1ms",
        "4:51: health.panic: must be from 0% to 100%, not 101%",
        "4:69: health.aggression: `fast`: not a number; write one such as 1.5",
        "5:24: breaker.consecutive: `-1`: a count cannot be negative",
        "5:36: breaker.trials: must be from 1 to 1000, not 0",
        (
            "5:47: breaker.window: `10`: a duration needs a unit; write a string with a unit, such as "
            "1500ms, 2s, 1.5m or 1m30s"
        ),
        "6:37: concurrency.adaptive.tolerance: must be from 1 to 10, not 0.5",
        "6:47: concurrency.adaptive.min: `1.5`: not a count; write a whole number, such as 3",
        "7:17: queue.length: `2000000`: a count can be at most 1000000",
        "7:32: queue.wait: must be greater than zero",
        (
            "9:11: rate[0].per: unknown value `tenants`; did you mean `tenant`? Allowed: `agent`, `cluster`, "
            "`key` or `tenant`"
        ),
        "9:30: rate[0].messages: must be from 1 to 1000000, not 0",
        "10:5: rate[1]: must be a mapping, not an integer",
        "11:36: rate[2].every: must be from 1ms to 24h, not 30h",
        "12:8: hedge.after: must be from p50 to p99, not p49",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("retry: on", ["1:8: retry: must be `off`, or a mapping, not a string"]),
        ("retry: of", ["1:8: retry: unknown value `of`; did you mean `off`? Allowed: `off`, or a mapping"]),
        ("retry: false", ["1:8: retry: must be a mapping, or `off`, not a boolean"]),
        ("breaker: 5", ["1:10: breaker: must be a mapping, or `off`, not an integer"]),
        (
            "balance: leastload",
            [
                (
                    "1:10: balance: unknown value `leastload`; did you mean `least_load`? "
                    "Allowed: `least_load`, `round_robin` or `weighted`, or a mapping"
                )
            ],
        ),
        ("balance: {}", ["1:10: balance: key `hash` is missing"]),
        ("balance: {hash: ''}", ["1:17: balance.hash: must not be empty"]),
        (
            "balance: {hash: labels}",
            ["1:17: balance.hash: `labels` has several values: name one, such as labels.session"],
        ),
        (
            "balance: {hash: headers.X-Session}",
            ["1:17: balance.hash: header names are matched in lower case: write `x-session`"],
        ),
        (
            "balance: {hash: labels..x}",
            ["1:17: balance.hash: names no field: write one such as labels.session, at most 256 characters"],
        ),
        (
            "concurrency: many",
            [
                "1:14: concurrency: must be `adaptive` or `unlimited`, or a number or a mapping, not a string",
            ],
        ),
        ("concurrency: 0", ["1:14: concurrency: must be from 1 to 1000000, not 0"]),
        ("concurrency: 1.5", ["1:14: concurrency: `1.5`: not a count; write a whole number, such as 3"]),
        (
            "concurrency: ${NONE}",
            ["1:14: concurrency: environment variable `NONE` is not set; set it, or write `${NONE:-default}`"],
        ),
        ("concurrency: ${X}", ["1:14: concurrency: `${X}`: not a count; write a whole number, such as 3"]),
        ("concurrency: {}", ["1:14: concurrency: key `adaptive` is missing"]),
        ("rate: 5", ["1:7: rate: must be a mapping or a list of mappings, not an integer"]),
        ("rate: {per: key, messages: 0, every: 1s}", ["1:28: rate[0].messages: must be from 1 to 1000000, not 0"]),
        ("rate: {per: key, every: 1s}", ["1:7: rate[0]: key `messages` is missing"]),
        ("rate: [" + "{per: key, messages: 1, every: 1s}, " * 9 + "]", ["1:7: rate: too many: at most 8"]),
        ("hedge: 95", ["1:8: hedge: must be a string or a mapping, not an integer"]),
        ("hedge: p99.9", ["1:8: hedge: `p99.9`: not a percentile; write one such as p95"]),
        ("health: {check: up}", ["1:17: health.check.path: must begin with `/` and hold no spaces or controls"]),
        ("queue: {length: '${X}'}", ["1:17: queue.length: `${X}`: not a count; write a whole number, such as 3"]),
        ("retry: {backoff: 2s}", ["1:8: retry.backoff_max: less than retry.backoff (2s)"]),
        ("retry: {statuses: [70000]}", ["1:20: retry.statuses[0]: `70000`: must be an integer from 100 to 599"]),
    ],
)
def test_a_fault_is_told_with_what_to_write(text: str, expected: list[str]) -> None:
    assert problems(text, X="x") == expected


@pytest.mark.parametrize(
    "text",
    [
        "retry: {backoff: FAULT, backoff_max: 1ms}",
        "retry: {backoff: 90s, backoff_max: FAULT}",
        "breaker: {open: FAULT, open_max: 1ms}",
        "breaker: {open: 90s, open_max: FAULT}",
        "concurrency: {adaptive: {min: FAULT, max: 1}}",
        "concurrency: {adaptive: {min: 2000, max: FAULT}}",
        "concurrency: {adaptive: {min: 2000, max: 3000, initial: FAULT}}",
        "concurrency: {adaptive: {min: FAULT, initial: 1}}",
        "concurrency: {adaptive: {max: FAULT, initial: 2000}}",
        "concurrency: {adaptive: FAULT}",
        "retry: {statuses: [FAULT, 400, 401]}",
        "retry: FAULT",
        "breaker: FAULT",
        "balance: {hash: FAULT}",
        "health: {check: {path: FAULT}}",
        "rate: [{per: FAULT, messages: 1, every: 1s}]",
        "rate: {per: key, messages: FAULT, every: 1s}",
        "rate: [{per: key, messages: 1, every: FAULT}, FAULT]",
        "rate: FAULT",
        "hedge: FAULT",
        "hedge: {after: FAULT}",
        "concurrency: FAULT",
        "queue: FAULT",
        "timeout: {total: FAULT}",
    ],
)
def test_nothing_is_told_that_follows_from_another_fault(text: str) -> None:
    assert len(problems(text.replace("FAULT", "'${NONE}'"))) == text.count("FAULT")


def test_a_key_beside_an_unknown_one_is_looked_at() -> None:
    assert [line.split(": ")[1] for line in problems("retry: {attempt: 3, backoff: 25h, backoff_max: 25h}")] == [
        "retry",
        "retry.backoff",
        "retry.backoff_max",
    ]


def test_a_policy_that_is_wrong_is_a_problem_of_the_extension_too() -> None:
    wrong = copy.deepcopy(ARRIVED)
    wrong["rate"][1]["messages"] = 0
    wrong["health"]["check"]["healthy"] = 0
    with pytest.raises(ConfigError) as caught:
        native(**wrong)
    assert [problem.path for problem in caught.value.problems] == [
        ("clusters", "c", "health", "check", "healthy"),
        ("clusters", "c", "rate", 1, "messages"),
    ]
