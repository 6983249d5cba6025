"""What may be shown of a configuration."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from waypost.config import from_dict, load_config, model
from waypost.config.shown import HIDDEN, shown

HASH = "sha256:" + "5e" * 32
CONFIG = {
    "listen": {"trusted": ["10.0.0.0/8"]},
    "limits": {"body": "1MiB", "drain": "5s"},
    "keys": [{"name": "k", "hash": HASH, "tenant": "acme", "labels": {"tier": "gold"}, "admin": True}],
    "clusters": {
        "cloud": {
            "speaks": "openai",
            "endpoints": [{"url": "https://api.example/v1", "weight": 3}],
            "credential": {"header": "authorization", "value": "Bearer hunter2"},
            "proxy": "http://user:hunter2@proxy.example:3128",
            "rate": {"per": "tenant", "messages": 5, "every": "1m"},
        },
        "local": {
            "speaks": "openai",
            "endpoints": ["http://127.0.0.1:9100"],
            "credential": "pass",
            "proxy": "none",
        },
    },
    "routes": [
        {
            "name": "gold",
            "match": {
                "tenant": ["acme"],
                "headers": {"x-token": ["hunter2", {"prefix": "hunter2"}], "x-there": [{"exists": True}]},
                "$or": [
                    {"path": ["/v1/models"]},
                    {"headers": {"x-other": [{"anything-but": ["hunter2", "hunter2"]}], "x-n": [17]}},
                ],
            },
            "to": "cloud",
            "fallback": ["local"],
        },
        {"name": "rest", "match": {"priority": [{"numeric": [">=", 7]}], "body": {"headers": ["seen"]}}, "to": "local"},
    ],
}


def test_a_configuration_is_shown_with_its_defaults():
    seen = shown(from_dict(CONFIG))
    assert set(seen) == {field.name for field in msgspec.structs.fields(model.Document)}
    assert (seen["limits"]["body"], seen["limits"]["drain"], seen["limits"]["depth"]) == (2**20, 5.0, 128)
    assert seen["listen"]["trusted"] == ["10.0.0.0/8"]
    assert seen["keys"] == [
        {
            "name": "k",
            "hash": HIDDEN,
            "certificate": None,
            "tenant": "acme",
            "agent": None,
            "labels": {"tier": "gold"},
            "admin": True,
            "messages": None,
            "debug": False,
        }
    ]
    cloud, local = seen["clusters"]["cloud"], seen["clusters"]["local"]
    assert cloud["endpoints"] == [{"url": "https://api.example/v1", "weight": 3}]
    assert cloud["credential"] == {"header": "authorization", "value": HIDDEN}
    assert cloud["timeout"]["connect"] == 2.0
    assert cloud["rate"][0]["messages"] == 5
    assert (local["credential"], local["tls"]) == ("pass", None)
    assert [route["name"] for route in seen["routes"]] == ["gold", "rest"]
    assert (seen["routes"][0]["to"], seen["routes"][0]["fallback"]) == ("cloud", ["local"])


def test_a_proxy_is_shown_without_user_and_password():
    clusters = shown(from_dict(CONFIG))["clusters"]
    assert clusters["cloud"]["proxy"] == "proxy http://proxy.example:3128"
    assert clusters["local"]["proxy"] == "none"
    config = {**CONFIG, "clusters": {**CONFIG["clusters"], "local": {**CONFIG["clusters"]["local"]}}}
    del config["clusters"]["local"]["proxy"]
    assert shown(from_dict(config))["clusters"]["local"]["proxy"] is None


def test_patterns_are_shown_but_for_header_values():
    gold, rest = (route["match"] for route in shown(from_dict(CONFIG))["routes"])
    assert gold == {
        "tenant": ["acme"],
        "headers": {"x-token": [HIDDEN, {"prefix": HIDDEN}], "x-there": [{"exists": True}]},
        "$or": [
            {"path": ["/v1/models"]},
            {"headers": {"x-other": [{"anything-but": [HIDDEN, HIDDEN]}], "x-n": [HIDDEN]}},
        ],
    }
    # A field of a document may be called so, too.
    assert rest == {"priority": [{"numeric": [">=", 7]}], "body": {"headers": ["seen"]}}


def test_no_secret_is_shown():
    text = json.dumps(shown(from_dict(CONFIG)))
    assert "hunter2" not in text
    assert HASH not in text
    assert "user" not in text


def test_secrets_of_files_and_the_environment_are_not_shown_either(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("hunter2-in-a-file")
    monkeypatch.setenv("WAYPOST_TEST_TOKEN", "hunter2-in-the-environment")
    file = tmp_path / "w.yaml"
    file.write_text(
        "clusters:\n"
        "  a: {speaks: openai, endpoints: [http://127.0.0.1:9],"
        " credential: {header: authorization, value: 'Bearer ${file:token}'}}\n"
        "routes:\n"
        "  - {name: r, match: {headers: {x-token: ['${WAYPOST_TEST_TOKEN}']}}, to: a}\n"
    )
    seen = shown(load_config(file))
    assert seen["clusters"]["a"]["credential"]["value"] == HIDDEN
    assert "hunter2" not in json.dumps(seen)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**40])
def test_numbers_keep_their_digits(number):
    config = {**CONFIG, "routes": [{"name": "r", "match": {"body": {"n": [number, 7, 1.5]}}, "to": "local"}]}
    (route,) = shown(from_dict(config))["routes"]
    assert route["match"] == {"body": {"n": [Decimal(number), 7, 1.5]}}
    text = msgspec.json.Encoder(decimal_format="number").encode(route["match"])
    assert json.loads(text) == {"body": {"n": [number, 7, 1.5]}}
