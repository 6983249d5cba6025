"""What administration may see, as data."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest
from waypost.admin.read_model import ReadModel
from waypost.config import from_dict
from waypost.errors import ConfigError
from waypost.gateway import Gateway
from waypost.table import load_config

CONFIG = {
    "clusters": {
        "b": {"speaks": "envelope", "endpoints": ["http://127.0.0.1:9"]},
        "a": {"speaks": "openai", "endpoints": ["http://127.0.0.1:8"]},
    },
    "routes": [
        {"name": "all", "match": {"dialect": ["envelope"]}, "to": "b"},
        {"name": "never", "match": {"dialect": ["envelope"]}, "to": "b"},
    ],
    "access_log": "off",
}


def seconds(text: str) -> float:
    assert text.endswith("Z")
    return datetime.fromisoformat(text).timestamp()


def test_clusters_are_those_of_the_registry():
    model = ReadModel(Gateway(from_dict(CONFIG)))
    assert [cluster["name"] for cluster in model.clusters()] == ["a", "b"]
    json.dumps(model.clusters())


def test_the_configuration_in_force_is_told_with_its_warnings():
    before = time.time()
    gateway = Gateway(from_dict(CONFIG))
    model = ReadModel(gateway)
    first = model.configuration()
    assert before - 0.001 <= seconds(first["loaded"]) <= time.time()
    assert (first["summary"], first["files"], first["worker"], first["workers"]) == ("2 routes, 2 clusters", [], 0, 1)
    assert {warning["path"] for warning in first["warnings"]} == {"clusters.a", "routes[1].match"}
    assert not any(warning["message"].startswith("warning") for warning in first["warnings"])
    assert [route["name"] for route in first["configuration"]["routes"]] == ["all", "never"]
    gateway.replace(from_dict({"clusters": {"b": CONFIG["clusters"]["b"]}, "routes": CONFIG["routes"][:1]}))
    second = model.configuration()
    assert (second["summary"], second["warnings"]) == ("1 route, 1 cluster", [])
    assert seconds(second["loaded"]) >= seconds(first["loaded"])


def test_what_could_not_be_loaded_is_not_told():
    gateway = Gateway(from_dict(CONFIG))
    before = ReadModel(gateway).configuration()
    with pytest.raises(ConfigError):
        gateway.replace(from_dict({**CONFIG, "routes": [{"name": "bad", "match": {"a": [{"regex": "("}]}, "to": "b"}]}))
    assert ReadModel(gateway).configuration() == before


def test_files_and_places_are_told(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(
        "clusters: {c: {speaks: envelope, endpoints: [http://127.0.0.1:9]}}\n"
        "routes:\n  - {name: all, match: {dialect: envelope}, to: c}\n"
        "include: [more.yaml]\n"
    )
    more = tmp_path / "more.yaml"
    more.write_text("routes:\n  - {name: never, match: {dialect: envelope}, to: c}\n")
    told = ReadModel(Gateway(load_config(file))).configuration()
    assert told["files"] == [str(file), str(more)]
    (warning,) = told["warnings"]
    assert (warning["file"], warning["line"], warning["path"]) == (str(more), 2, "routes[1].match")
    assert warning["column"] > 1


def test_a_worker_says_which_it_is():
    gateway = Gateway(from_dict(CONFIG))
    gateway.divide(3)
    gateway.become_worker(2, 3)
    model = ReadModel(gateway)
    for told in (model.configuration(), model.decisions()):
        assert (told["worker"], told["workers"]) == (2, 3)


def test_decisions_are_told_of_all_generations_newest_first():
    gateway = Gateway(from_dict(CONFIG))
    model = ReadModel(gateway)
    assert model.decisions()["decisions"] == []
    gateway.recorder.record_rejection("bad_framing", 400, method="GET", target=b"/1?secret")
    gateway.replace(from_dict(CONFIG))
    gateway.recorder.record_rejection("bad_framing", 400, method="GET", target=b"/2")
    decisions = model.decisions()["decisions"]
    assert [decision["path"] for decision in decisions] == ["/2", "/1"]
    assert time.time() - 60 < seconds(decisions[0]["time"]) <= time.time()
    json.dumps(decisions)
