"""`waypost explain` says what `waypost serve` would do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from waypost.cli import main

CONFIG = """
limits: {body: 1KiB}
clusters:
  model: {speaks: openai, endpoints: [http://127.0.0.1:9]}
routes:
  - {name: inside, match: {kind: model, client: {address: [{cidr: 10.0.0.0/8}]}}, to: model}
  - {name: hosted, match: {kind: model, headers: {host: [waypost.example]}}, to: model}
  - {name: any, to: model}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "w.yaml"
    path.write_text(CONFIG)
    return path


def explain(config: Path, message: object, *args: str) -> Result:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return CliRunner().invoke(main, ["explain", str(config), "-", *args], input=body)


MODEL = {"id": "a", "kind": "model"}


def test_the_clients_address_is_matched(config: Path) -> None:
    assert "route    inside → model" in explain(config, MODEL, "--client", "10.1.2.3").output
    assert "route    any → model" in explain(config, MODEL, "--client", "11.1.2.3").output
    assert "route    any → model" in explain(config, MODEL).output


def test_fields_that_every_request_has_are_there_and_can_be_given(config: Path) -> None:
    assert "route    hosted → model" in explain(config, MODEL, "--header", "Host: waypost.example").output


def test_a_message_that_matches_but_cannot_be_sent_on_would_be_refused(config: Path) -> None:
    done = explain(config, {"id": "a", "kind": "tool"})
    assert done.exit_code == 1
    assert "route    any → model" in done.output
    assert "would be refused: 404 no_route: " in done.output
    done = explain(config, {"id": "a", "kind": "tool"}, "--json")
    assert done.exit_code == 1
    document = json.loads(done.output)
    assert (document["route"], document["error"]["code"]) == ("any", "no_route")


def test_a_message_that_no_route_matches_is_no_refusal_beyond_that(config: Path) -> None:
    config.write_text(CONFIG.replace("{name: any,", "{name: any, match: {kind: model, tenant: x},"))
    done = explain(config, {"id": "a", "kind": "tool"})
    assert done.exit_code == 1
    assert "none matches" in done.output
    assert "would be refused: " not in done.output


def test_a_body_over_the_limit_is_refused_as_serving_does(config: Path) -> None:
    done = explain(config, {**MODEL, "content": "x" * 1024})
    assert done.exit_code == 1
    assert "refused with 413 body_too_large" in done.output


def test_bad_framing_is_refused_as_serving_does(config: Path) -> None:
    done = explain(config, MODEL, "--header", "content-length: many")
    assert done.exit_code == 1
    assert "bad_framing" in done.output


def test_an_empty_message_is_invalid_json(config: Path) -> None:
    done = explain(config, b"")
    assert done.exit_code == 1
    assert "invalid_json" in done.output


def test_a_path_without_a_body_is_explained(config: Path) -> None:
    done = explain(config, b"", "--path", "/v1/models")
    assert (done.exit_code, done.exception) == (0, None)
    assert "route    any → model" in done.output
