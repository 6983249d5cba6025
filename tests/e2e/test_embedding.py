"""The application in other hands: mounted, under another server's command, behind a user's middleware."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path

import pytest

from .support.proxy import Proxy, environment
from .support.site import Launcher
from .support.upstream import Upstream
from .support.wire import chunk

CHAT = b'{"model":"m","messages":[]}'
UVICORN = re.compile(r"(Uvicorn running on) (?:http://(127\.0\.0\.1):(\d+)|unix socket (\S+))")
PROGRAM = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from waypost import create_app, load_config

waypost = create_app(load_config("waypost.yaml"))


class Stamp:
    def __init__(self, app, name):
        self.app, self.name = app, name

    async def __call__(self, scope, receive, send):
        async def stamp(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", self.name)]
            await send(message)

        await self.app(scope, receive, stamp)


waypost.add_middleware(Stamp, name=b"inner")
waypost.add_middleware(Stamp, name=b"outer")


async def own(request):
    return PlainTextResponse("mine")


app = Starlette(routes=[Route("/v1/own", own), Mount("/ai/gate", waypost)])
"""


@pytest.fixture
def upstream(launch: Launcher) -> Upstream:
    return launch.upstream()


def _uvicorn(launch: Launcher, upstream: Upstream, *args: str, **env: str) -> Proxy:
    config = {
        "clusters": {"c": {"speaks": "openai", "endpoints": [upstream.url]}},
        "routes": [{"name": "r", "match": {"kind": "model", "dialect": "openai"}, "to": "c"}],
    }
    (launch.directory / "waypost.yaml").write_text(json.dumps(config))
    (launch.directory / "program.py").write_text(PROGRAM)
    argv = [sys.executable, "-m", "uvicorn", *args, "--port", "0"]
    # uvicorn ends by the signal that stopped it.
    proxy = Proxy(argv, cwd=launch.directory, env=environment(**env), ready=UVICORN, stops_with=-signal.SIGTERM)
    launch.proxies.append(proxy)
    return proxy


def _answered(proxy: Proxy, upstream: Upstream, prefix: str = "") -> list[str]:
    """Send a message, streamed; gives the stamps that it came back with."""
    client = proxy.client()
    client.ask("POST", f"{prefix}/v1/chat/completions?a=b", CHAT)
    peer, request = upstream.request()
    assert (request.target, request.body) == ("/v1/chat/completions?a=b", CHAT)
    peer.start()
    peer.send(chunk(b"data: 1\n\n"))
    response = client.response()
    assert response.stream.exactly(9) == b"data: 1\n\n"
    peer.send(chunk(b""))
    assert response.stream.rest() == b""
    assert response.get("x-waypost-route") == "r"
    return response.fields.all("x-stamp")


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_under_uvicorns_own_command(launch: Launcher, upstream: Upstream, http: str) -> None:
    proxy = _uvicorn(launch, upstream, "--factory", "waypost.app:from_env", "--http", http)
    _answered(proxy, upstream)
    response = proxy.ask("POST", "/v1/envelopes", b"{}")
    assert (response.status, response.error["code"]) == (400, "invalid_envelope")
    assert proxy.ask("GET", "/readyz").json == {"status": "ready"}
    client = proxy.client()
    client.ask("POST", "/v1/chat/completions", CHAT)
    peer, _ = upstream.request()
    client.close()
    assert peer.closed()


def test_the_environment_names_the_file(launch: Launcher, upstream: Upstream, tmp_path: Path) -> None:
    proxy = _uvicorn(
        launch, upstream, "--factory", "waypost.app:from_env", WAYPOST_CONFIG=str(launch.directory / "waypost.yaml")
    )
    _answered(proxy, upstream)


def test_the_factory_says_what_is_wrong_with_the_file(launch: Launcher, upstream: Upstream, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("nonsense: 1\n")
    with pytest.raises(AssertionError, match=rf"{bad}:1:1: unknown key `nonsense`"):
        _uvicorn(launch, upstream, "--factory", "waypost.app:from_env", WAYPOST_CONFIG=str(bad))


def test_mounted_under_a_prefix_with_middleware(launch: Launcher, upstream: Upstream) -> None:
    proxy = _uvicorn(launch, upstream, "program:app")
    assert _answered(proxy, upstream, "/ai/gate") == ["inner", "outer"]
    assert proxy.ask("GET", "/v1/own").body == b"mine"
    assert proxy.ask("GET", "/ai/gate/healthz").json == {"status": "ok"}
    assert proxy.ask("GET", "/ai/gate/healthz").fields.all("x-stamp") == ["inner", "outer"]
    response = proxy.ask("GET", "/ai/gate/v1/envelopes")
    assert (response.status, response.error["code"], response.get("allow")) == (405, "method_not_allowed", "POST")
    response = proxy.ask("GET", "/ai/gate/nothing")
    assert (response.status, response.error["code"]) == (404, "not_found")
    assert "`/ai/gate/nothing`" in response.error["message"]
    assert "go to /ai/gate/v1/envelopes, " in response.error["message"]


def test_errors_name_paths_with_the_mount(launch: Launcher, upstream: Upstream) -> None:
    proxy = _uvicorn(launch, upstream, "program:app")
    message = proxy.ask("GET", "/ai/gate/v1/envelopes").error["message"]
    assert message == "/ai/gate/v1/envelopes takes POST, not GET"
    message = proxy.ask("GET", "/ai/gate/envelopes").error["message"]
    assert message == "there is nothing at `/ai/gate/envelopes`: did you mean `/ai/gate/v1/envelopes`?"
    message = proxy.ask("GET", "/ai/gate/v1/envelope").error["message"]
    assert message.endswith('path "/v1/envelope", method "GET". Did you mean `/ai/gate/v1/envelopes`?')


def test_behind_a_proxy_that_strips_a_prefix(launch: Launcher, upstream: Upstream) -> None:
    """`--root-path` says what was stripped; uvicorn then prepends it to the path, though not to the raw one."""
    proxy = _uvicorn(launch, upstream, "--factory", "waypost.app:from_env", "--root-path", "/stripped")
    _answered(proxy, upstream)


def test_middleware_alone(launch: Launcher, upstream: Upstream) -> None:
    proxy = _uvicorn(launch, upstream, "program:waypost")
    assert _answered(proxy, upstream) == ["inner", "outer"]
