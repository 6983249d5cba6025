from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from waypost.config import from_dict, json_schema, load_config
from waypost.config.positions import EMPTY
from waypost.config.yaml12 import compose
from waypost.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples"
YAML = sorted([*EXAMPLES.glob("*.yaml"), *EXAMPLES.glob("routes.d/*.yaml")])
CLUSTER = {"speaks": "openai", "endpoints": ["http://127.0.0.1:9100"]}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_schema_is_the_present_one() -> None:
    committed = (EXAMPLES / "waypost.schema.json").read_text(encoding="utf-8")
    assert committed == json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_examples_name_the_schema_and_fit_it(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    text = path.read_text(encoding="utf-8")
    first, _, name = text.partition("\n")[0].partition("=")
    assert first == "# yaml-language-server: $schema"
    assert (path.parent / name).resolve() == EXAMPLES / "waypost.schema.json"
    validator.validate(compose(text)[0])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_examples_load(path: Path) -> None:
    assert load_config(path, environ={}).routes


def test_every_key_is_described() -> None:
    def check(schema: dict[str, Any], where: str) -> None:
        for key, inner in schema.get("properties", {}).items():
            assert inner.get("description"), f"{where}.{key}"

    schema = json_schema()
    assert schema["title"]
    assert schema["$id"]
    check(schema, "")
    for name, definition in schema["$defs"].items():
        check(definition, name)


BAD: list[dict[str, Any]] = [
    {"listn": {}},
    {"listen": {"port": "80"}},
    {"listen": {"port": 65536}},
    {"limits": {"drain": 30}},
    {"limits": {"drain": "30"}},
    {"limits": {"body": "16mb"}},
    {"limits": {"body": 0}},
    {"limits": {"depth": True}},
    {"clusters": {"c": {"speaks": "openai"}}},
    {"clusters": {"c": {**CLUSTER, "speaks": "http"}}},
    {"clusters": {"c": {**CLUSTER, "endpoints": []}}},
    {"clusters": {"c": {**CLUSTER, "endpoints": ["ftp://x"]}}},
    {"clusters": {"c": {**CLUSTER, "endpoints": [{"url": "http://h", "weight": 0}]}}},
    {"clusters": {"c": {**CLUSTER, "credential": "x"}}},
    {"clusters": {"c": {**CLUSTER, "credential": {"header": "a b", "value": "x"}}}},
    {"clusters": {"c": {**CLUSTER, "retrys": {}}}},
    *(
        {"clusters": {"c": {**CLUSTER, **policy}}}
        for policy in (
            {"timeout": {"connect": 1}},
            {"retry": "on"},
            {"retry": {"attempts": -1}},
            {"retry": {"statuses": {"on": 503}}},
            {"retry": {"budget": 20}},
            {"balance": "random"},
            {"balance": {}},
            {"health": {"check": {"path": ""}}},
            {"health": {"aggression": "fast"}},
            {"breaker": {"failures": "50"}},
            {"concurrency": 1.5},
            {"concurrency": "many"},
            {"concurrency": {"adaptive": {"min": 1000001}}},
            {"queue": {"wait": 5}},
            {"rate": {"per": "key", "messages": 1}},
            {"rate": [{"per": "host", "messages": 1, "every": "1s"}]},
            {"hedge": "95"},
            {"hedge": {"after": "p100"}},
        )
    ),
    {"clusters": {"a b": CLUSTER}},
    {"clusters": {"c": CLUSTER}, "routes": [{"name": "a"}]},
    {"clusters": {"c": CLUSTER}, "routes": [{"name": "a", "to": "c", "match": None}]},
    {"clusters": {"c": CLUSTER}, "routes": [{"name": "a", "to": "c", "match": {"m": {"prefix": "x"}}}]},
    {"clusters": {"c": CLUSTER}, "routes": [{"name": "a", "to": "c", "match": {"prefix": "x"}}]},
    {"include": {"a": "b.yaml"}},
    {"listen": {"prot": 1}},
    {"listen": [1]},
]

GOOD: list[dict[str, Any]] = [
    {"listen": {"port": "${PORT}"}},
    {"listen": 9000},
    {"listen": "127.0.0.1:9000"},
    {"listen": {"keep_alive": "2m", "x-why": "the proxy keeps its own for 1m"}, "x-any": [{"thing": 1}]},
    {"routes": [], "include": "a-*.yaml"},
    {"clusters": {"c": CLUSTER, "d": CLUSTER}, "routes": [{"name": "a", "to": "c", "fallback": "d"}]},
    {"limits": {"body": 1, "header": "1.5KiB", "drain": "1m30s"}},
    {"clusters": {"c": {**CLUSTER, "credential": "pass"}}},
    *(
        {"clusters": {"c": {**CLUSTER, **policy}}}
        for policy in (
            {"timeout": {"connect": "1ms"}, "retry": "off", "breaker": "off", "balance": "weighted"},
            {"retry": {"budget": "20%", "statuses": [500, "${STATUS:-503}"]}, "balance": {"hash": "labels.x"}},
            {"health": {"check": "/up", "aggression": 0.5, "panic": "0 %"}, "concurrency": 64, "hedge": "p95"},
            {"health": {"check": {}}, "concurrency": "adaptive", "hedge": {"after": "p99"}},
            {"concurrency": {"adaptive": {"tolerance": 2}}, "queue": {"length": 0}},
            {"retry": {"statuses": 503}},
            {"concurrency": "${N:-5}", "hedge": "${P:-p95}"},
            {"rate": {"per": "key", "messages": 1, "every": "1s"}},
            {"rate": [{"per": "tenant", "messages": 1, "every": "1s", "burst": 5, "keys": 10}]},
        )
    ),
    {
        "clusters": {"c": CLUSTER},
        "routes": [{"name": "a", "to": "c", "match": {"prefix": ["x"], "m": {"exists": {"x": 1}}}}],
    },
]

PREDICATES: list[tuple[Any, bool]] = [
    ([{"prefix": "x"}], True),
    ([{"suffix": {"equals-ignore-case": "x"}}], True),
    ([{"anything-but": ["x", 1, None]}], True),
    ([{"anything-but": {"prefix": ["x"]}}], True),
    ([{"numeric": [">", 1, "<=", 2.5]}], True),
    ([{"numeric": ["=", 1]}], True),
    ([{"exists": False}, {"cidr": "10.0.0.0/8"}, {"regex": "a+"}, {"wildcard": "*"}], True),
    ([{"prefix": ["x"]}], False),
    ([{"prefxi": "x"}], False),
    ([{"numeric": [">"]}], False),
    ([{"numeric": ["<", 1, ">", 2]}], False),
    ([{"exists": "yes"}], False),
    ([{"prefix": "x", "suffix": "y"}], False),
    ([["x"]], False),
]


@pytest.mark.parametrize("config", BAD, ids=json.dumps)
def test_the_schema_refuses_what_loading_refuses(config: Any, validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid(config)
    with pytest.raises(ConfigError):
        from_dict({**config, **({"include": EMPTY} if "include" in config else {})}, environ={})


@pytest.mark.parametrize("config", GOOD, ids=json.dumps)
def test_the_schema_takes_what_loading_takes(config: Any, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(config)
    from_dict(config, environ={"PORT": "80"})


@pytest.mark.parametrize(("field", "good"), PREDICATES, ids=json.dumps)
def test_the_schema_knows_the_pattern_language(
    field: Any, good: bool, validator: jsonschema.Draft202012Validator
) -> None:
    for match in ({"f": field}, {"model": field}, {"a": {"b": field}}, {"$or": [{"f": field}]}):
        config = {"clusters": {"c": CLUSTER}, "routes": [{"name": "a", "to": "c", "match": match}]}
        assert validator.is_valid(config) is good
