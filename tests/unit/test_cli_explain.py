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


def test_one_route_can_be_asked_for(config: Path) -> None:
    output = explain(config, MODEL, "--route", "hosted").output
    assert "route    any → model" in output
    assert "hosted  " in output
    assert "inside" not in output
    assert "other routes" not in explain(config, MODEL, "--route", "any").output
    document = json.loads(explain(config, MODEL, "--route", "hosted", "--json").output)
    assert document["route"] == "any"
    assert [(verdict["route"], verdict["matched"]) for verdict in document["verdicts"]] == [("hosted", False)]
    done = explain(config, MODEL, "--route", "hostd")
    assert (done.exit_code, "has no route 'hostd'" in done.output) == (2, True)


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


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n"])
def test_nothing_is_no_body(config: Path, body: bytes) -> None:
    assert "route    any → model" in explain(config, body, "--path", "/v1/models").output
    assert "invalid_json" in explain(config, body).output


def test_a_method_can_be_given(config: Path) -> None:
    config.write_text(
        CONFIG + "  - {name: gone, match: {method: DELETE, path: /v1/files/1}, to: model, precedence: 1}\n"
    )
    at = ("--path", "/v1/files/1")
    runner = CliRunner()
    # Without a FILE, standard input is not read where there need be no body.
    for method in ("DELETE", "delete"):
        done = runner.invoke(main, ["explain", str(config), *at, "--method", method], input="nonsense")
        assert "route    gone → model" in done.output
    assert "invalid_json" in explain(config, b"nonsense", *at, "--method", "DELETE").output
    done = explain(config, MODEL, "--method", "PUT")
    assert (done.exit_code, "refused with 405 method_not_allowed" in done.output) == (1, True)
    done = explain(config, b"", "--path", "/v1/models", "--method", "POST")
    assert "405 method_not_allowed: /v1/models takes GET, HEAD, not POST" in done.output
    assert "route    any → model" in explain(config, b"", "--path", "/v1/models", "--method", "HEAD").output


def test_a_route_without_a_path_does_not_take_what_is_sent_to_an_unlisted_one(config: Path) -> None:
    done = explain(config, b"", "--path", "/v1/files")
    assert done.exit_code == 1
    assert done.output.count("Requests to this path only go to routes that test `path`") == 3


@pytest.mark.parametrize("address", ["localhost", "10.0.0", "10.0.0.0/8", ""])
def test_the_client_is_an_ip_address(config: Path, address: str) -> None:
    done = explain(config, MODEL, "--client", address)
    assert (done.exit_code, "is not an IP address" in done.output) == (2, True)


def test_the_configuration_is_waypost_yaml_where_none_is_named(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    for name in ("check", "explain", "serve"):
        done = runner.invoke(main, [name], input=json.dumps(MODEL))
        assert done.exit_code == 1
        assert done.stderr == f"waypost.yaml: there is no such file; name one: waypost {name} FILE\n"
    config.rename("waypost.yml")
    for name in ("check", "explain", "serve"):
        done = runner.invoke(main, [name], input=json.dumps(MODEL))
        assert "did you mean `waypost.yml`? Run: waypost" in done.stderr
    Path("waypost.yml").rename("waypost.yaml")
    assert runner.invoke(main, ["check", "--running"]).output.endswith("waypost.yaml: ok (3 routes, 1 cluster)\n")
    assert "route    any → model" in runner.invoke(main, ["explain"], input=json.dumps(MODEL)).output
    for name in ("check", "explain", "serve"):
        done = runner.invoke(main, [name, "-"])
        assert (done.exit_code, "must be a file" in done.output) == (2, True)


@pytest.mark.parametrize(
    "args",
    [
        ("--header", "x-waypost-tenant: caf\udce9"),
        ("--header", "x-caf\udce9: a"),
        ("--path", "/v1/caf\udce9"),
        ("--method", "caf\udce9"),
        ("--key", "caf\udce9"),
        ("--route", "caf\udce9"),
        ("--client", "caf\udce9"),
    ],
)
def test_bytes_that_are_no_text_get_a_sentence(tmp_path: Path, args: tuple[str, ...]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("clusters: {}\nroutes: []\n")
    done = CliRunner().invoke(main, ["explain", str(file), *args], input=b'{"model": "m"}', catch_exceptions=False)
    assert done.exit_code in (1, 2)
    assert done.output
