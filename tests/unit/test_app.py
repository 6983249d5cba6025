"""The Starlette application around the data path."""

import asyncio
import os
import threading
from types import MappingProxyType

import orjson
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from waypost.app import create_app, from_env
from waypost.config import from_dict
from waypost.errors import ConfigError
from waypost.table import load_config

CONFIG = {
    "clusters": {"c": {"speaks": "envelope", "endpoints": ["http://127.0.0.1:9"]}},
    "routes": [{"name": "r", "to": "c"}],
}


def test_health_and_readiness_until_the_drain_begins(ask):
    app = create_app(from_dict(CONFIG))
    assert ask(app, "/healthz")[0] == 200
    assert ask(app, "/readyz")[0] == 200
    assert ask(app, "/readyz", "HEAD")[0] == 200
    app.state.gateway.drain()
    status, headers, document = ask(app, "/readyz")
    assert (status, document["error"]["code"]) == (503, "draining")
    assert b"retry-after" in headers
    assert ask(app, "/healthz")[0] == 200


def test_unknown_paths_are_native_errors(ask):
    app = create_app(from_dict(CONFIG))
    for path in ("/", "/nowhere", "/v2/x"):
        status, _, document = ask(app, path)
        assert (status, document["error"]["code"]) == (404, "not_found")


def test_middleware_that_a_user_adds_sees_messages_too(ask):
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


def reply(text):
    """A configuration whose only route answers with `text`."""
    return {"routes": [{"name": "r", "reply": {"text": text}}], "access_log": "off"}


def message(app, root=""):
    """Send an envelope to `app`, on an event loop of its own; gives the text of the response."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b'{"id":"1","kind":"query"}', "more_body": False}

    async def send(piece):
        sent.append(piece)

    fields = [(b"host", b"waypost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "headers": fields}
    asyncio.run(app({**scope, "path": f"{root}/v1/envelopes", "query_string": b""}, receive, send))
    return b"".join(piece["body"] for piece in sent[1:]).decode()


def test_an_application_is_made_from_a_mapping_a_path_or_what_load_config_gives(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text("routes: [{name: r, reply: {text: file}}]\naccess_log: 'off'\n")
    assert message(create_app(reply("mapping"))) == "mapping"
    assert message(create_app(MappingProxyType(reply("proxy")))) == "proxy"
    assert (
        message(create_app(file)) == message(create_app(str(file))) == message(create_app(load_config(file))) == "file"
    )
    assert message(create_app(load_config(reply("loaded")))) == "loaded"
    with pytest.raises(TypeError, match="a Config, the path of a file or a mapping, not list"):
        create_app([])  # type: ignore[arg-type]


def test_a_mapping_is_checked_as_a_file_is():
    with pytest.raises(ConfigError) as caught:
        load_config({"routes": [{"name": "r", "to": "nowhere"}], "limit": {}, 7: 1})
    assert [problem.path for problem in caught.value.problems] == [(), (), ("routes", 0, "to")]
    assert str(caught.value.problems[2]).startswith("routes[0].to: unknown cluster `nowhere`")
    with pytest.raises(ConfigError, match="numeric"):
        create_app({"routes": [{"name": "r", "match": {"priority": [{"numeric": ["<", "x"]}]}, "reply": {}}]})


def test_references_in_a_mapping_are_replaced_only_on_request(monkeypatch):
    """Routes from a database do not read the environment."""
    monkeypatch.setenv("WAYPOST_SECRET", "s3cret")
    config = reply("${WAYPOST_SECRET}")
    assert message(create_app(config)) == "${WAYPOST_SECRET}"
    assert message(create_app(load_config(config, environ=os.environ))) == "s3cret"


def test_a_literal_that_looks_like_a_reference_is_warned_of():
    cluster = {"speaks": "openai", "endpoints": ["http://127.0.0.1:9"]}
    credential = {"header": "authorization", "value": "Bearer ${KEY}"}
    config = load_config({"clusters": {"c": {**cluster, "credential": credential}}, "routes": []})
    (warning,) = [each for each in config.warnings if "${" in each.message]
    assert warning.path == ("clusters", "c", "credential", "value")
    assert "environ" in warning.message
    assert "Bearer" not in warning.message


def test_a_reload_changes_the_routes(tmp_path):
    app = create_app(reply("one"))
    asyncio.run(app.reload(reply("two")))
    assert message(app) == "two"
    file = tmp_path / "w.json"
    file.write_text(orjson.dumps(reply("three")).decode())
    asyncio.run(app.reload(file))
    assert message(app) == "three"
    asyncio.run(app.reload(load_config(reply("four"))))
    assert message(app) == "four"


def test_a_failed_reload_keeps_the_configuration_in_force(tmp_path, counted):
    app = create_app(reply("one"))
    gateway = app.state.gateway
    before = gateway.generation
    for bad in (tmp_path / "absent.yaml", {"nonsense": 1}, {"routes": [{"name": "r", "to": "no"}]}):
        with pytest.raises(ConfigError):
            asyncio.run(app.reload(bad))
    with pytest.raises(TypeError, match="not NoneType"):
        asyncio.run(app.reload(None))
    assert gateway.generation is before
    assert message(app) == "one"
    assert counted(gateway, "waypost_config_reloads_total", result="bad") == 3


def test_reloads_are_carried_out_in_the_order_of_their_calls():
    app = create_app(reply("start"))

    async def many():
        await asyncio.gather(*(app.reload(reply(str(at))) for at in range(20)))

    asyncio.run(many())
    assert message(app) == "19"


def test_reloads_come_from_any_thread_and_messages_go_on_meanwhile():
    app = create_app(reply("0"))
    big = {"routes": [*({"name": f"x{at}", "match": {"tenant": [f"t{at}"]}, "reply": {}} for at in range(2000))]}
    answers = []

    def reload(at):
        asyncio.run(app.reload({**big, "routes": [*big["routes"], *reply(str(at))["routes"]], "access_log": "off"}))

    threads = [threading.Thread(target=reload, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        answers.append(message(app))
    for thread in threads:
        thread.join()
    assert set(answers) <= set("0123")
    assert message(app) in set("0123")


def test_a_mounted_application_reloads():
    inner = create_app(reply("one"))
    app = Starlette(routes=[Mount("/ai", inner)])
    assert message(app, "/ai") == "one"
    asyncio.run(inner.reload(reply("two")))
    assert message(app, "/ai") == "two"


def test_without_asyncio_the_lifespan_says_what_is_missing():
    sent = []
    app = create_app(reply("one"))

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(piece):
        sent.append(piece)

    serving = app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    with pytest.raises(RuntimeError, match="event loop of asyncio"):
        serving.send(None)
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "event loop of asyncio" in sent[0]["message"]
