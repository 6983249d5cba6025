"""The Starlette application around the data path."""

import os

import orjson
import pytest
from waypost.app import create_app, from_env
from waypost.config import from_dict
from waypost.errors import ConfigError

from . import asgi

CONFIG = {
    "clusters": {"c": {"speaks": "envelope", "endpoints": ["http://127.0.0.1:9"]}},
    "routes": [{"name": "r", "to": "c"}],
}


def ask(app, path, method="GET"):
    """Status, headers and JSON of a request without a body."""
    status, headers, body = asgi.ask(app, path, method, client=None)
    return status, headers, orjson.loads(body) if body else None


def test_health_and_readiness_until_the_drain_begins():
    app = create_app(from_dict(CONFIG))
    assert ask(app, "/healthz")[0] == 200
    assert ask(app, "/readyz")[0] == 200
    assert ask(app, "/readyz", "HEAD")[0] == 200
    app.state.gateway.drain()
    status, headers, document = ask(app, "/readyz")
    assert (status, document["error"]["code"]) == (503, "draining")
    assert b"retry-after" in headers
    assert ask(app, "/healthz")[0] == 200


def test_unknown_paths_are_native_errors():
    app = create_app(from_dict(CONFIG))
    for path in ("/", "/nowhere", "/v2/x"):
        status, _, document = ask(app, path)
        assert (status, document["error"]["code"]) == (404, "not_found")


def test_middleware_that_a_user_adds_sees_messages_too():
    seen = []

    class Watch:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            seen.append(scope["path"])
            await self.app(scope, receive, send)

    app = create_app(from_dict(CONFIG))
    app.add_middleware(Watch)
    assert ask(app, "/v1/envelopes")[0] == 405
    assert ask(app, "/healthz")[0] == 200
    assert seen == ["/v1/envelopes", "/healthz"]


def test_a_bad_configuration_never_replaces_a_good_one():
    gateway = create_app(from_dict(CONFIG)).state.gateway
    before = gateway.generation
    cluster = {"speaks": "envelope", "endpoints": ["https://127.0.0.1:9"], "tls": {"ca": os.devnull}}
    with pytest.raises(ConfigError) as caught:
        gateway.replace(from_dict({**CONFIG, "clusters": {"c": cluster}}))
    assert caught.value.problems[0].path == ("clusters", "c", "tls", "ca")
    assert gateway.generation is before


def test_tls_contexts_survive_a_reload_that_does_not_touch_them():
    config = {**CONFIG, "clusters": {"c": {"speaks": "envelope", "endpoints": ["https://127.0.0.1:9"]}}}
    gateway = create_app(from_dict(config)).state.gateway
    before = gateway.generation.settings.tls["c"]
    gateway.replace(from_dict(config))
    assert gateway.generation.settings.tls["c"] is before


def test_the_factory_prints_every_problem_and_stops(tmp_path, monkeypatch, capsys):
    file = tmp_path / "w.yaml"
    file.write_text("nonsense: 1\nroutes: []\nmore: 2\n")
    monkeypatch.setenv("WAYPOST_CONFIG", str(file))
    with pytest.raises(SystemExit):
        from_env()
    said = capsys.readouterr().err
    assert "nonsense" in said
    assert "more" in said
