"""What pages of other sites send to a listener on loopback without keys: refused, on both ways in and over HTTP/2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .support.client import Response
from .support.http2 import Http2Client
from .support.proxy import Proxy
from .support.site import Launcher
from .support.wire import head

CHAT = b'{"model":"m","messages":[]}'
KEY = "wp-planner-example"
KEYS = [{"name": "planner", "hash": "sha256:dcfab436142ac5a855bd663557c89eeea5f2e7252addfc0532c5be59e0cbadc0"}]


def config(launcher: Launcher, **more: object) -> dict[str, object]:
    upstream = launcher.server()
    clusters = {"one": {"speaks": "openai", "endpoints": [upstream.url]}}
    routes = [{"name": "all", "match": {"path": [{"prefix": "/"}]}, "to": "one"}]
    return {"clusters": clusters, "routes": routes, **more}


@pytest.fixture(scope="module")
def proxy(shared: Launcher) -> Proxy:
    return shared.serve(config(shared, listen={"hosts": ["app.internal", "2001:db8::1"]}))


def ask(proxy: Proxy, *fields: tuple[str, str], target: str = "/v1/chat/completions") -> Response:
    """Ask as a browser does that has the listener at `Host`."""
    posts = target.startswith("/v1/")
    framing = [("Content-Length", str(len(CHAT)))] if posts else []
    client = proxy.client()
    named = () if any(name == "Host" for name, _ in fields) else (("Host", f"127.0.0.1:{proxy.port}"),)
    line = f"{'POST' if posts else 'GET'} {target} HTTP/1.1"
    client.send(head(line, [*named, *fields, *framing]) + (CHAT if posts else b""))
    response = client.response()
    _ = response.body
    return response


FOREIGN = [
    [("Origin", "https://evil.example")],
    [("Origin", "null")],
    [("Origin", "")],
    [("Origin", "http://127.0.0.1:1")],
    [("Origin", "http://localhost")],
    [("Origin", "https://127.0.0.1:PORT")],
    [("Origin", "http://127.0.0.1:PORT"), ("Origin", "https://evil.example")],
    [("Origin", "http://evil.example:PORT"), ("Host", "evil.example:PORT")],
    [("Origin", "http://localhost:PORT"), ("Host", "evil.example:PORT")],
    [("Sec-Fetch-Site", "same-origin"), ("Host", "evil.example:PORT")],
    [("Sec-Fetch-Site", "none"), ("Host", "localhost.evil.example")],
    [("Sec-Fetch-Site", "none"), ("Host", "127.1:PORT")],
    # A GET of a page's own origin, which is a name without TLS: browsers send neither Origin nor Sec-Fetch-Site.
    [("User-Agent", "Mozilla/5.0 (X11)"), ("Accept-Language", "en"), ("Host", "evil.example:PORT")],
    [("Accept-Language", "*"), ("Host", "evil.example:PORT")],
    [("User-Agent", "Mozilla/5.0"), ("Host", "evil.example")],
    [("Origin", "http://notapp.internal")],
]
OWN = [
    [],
    [("Host", "evil.example")],
    [("Host", "evil.example"), ("User-Agent", "curl/8 (not Mozilla/5.0)")],
    [("User-Agent", "Mozilla/5.0"), ("Accept-Language", "en")],
    [("User-Agent", "Mozilla/5.0"), ("Accept-Language", "en"), ("Host", "app.internal:PORT")],
    [("Origin", "http://127.0.0.1:PORT")],
    [("Origin", "http://localhost:PORT"), ("Host", "LOCALHOST:PORT")],
    [("Origin", "http://localhost:PORT")],
    [("Origin", "http://localhost"), ("Host", "localhost:80")],
    [("Origin", "http://[::1]:9"), ("Host", "[::1]:9")],
    [("Origin", "http://192.0.2.7:9"), ("Host", "192.0.2.7:9")],
    [("Sec-Fetch-Site", "cross-site")],
    [("Origin", "https://APP.internal:3000")],
    [("Origin", "http://[2001:db8::1]")],
    [("Sec-Fetch-Site", "same-origin"), ("Host", "app.internal:PORT")],
]


def at(proxy: Proxy, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value.replace("PORT", str(proxy.port))) for name, value in fields]


@pytest.mark.parametrize("fields", FOREIGN)
def test_a_page_of_another_site_is_refused(proxy: Proxy, fields: list[tuple[str, str]]) -> None:
    for target in ("/v1/chat/completions", "/metrics", "/-/config"):
        response = ask(proxy, *at(proxy, fields), target=target)
        assert (response.status, response.error["code"]) == (403, "foreign_origin"), target
        assert response.get("connection") == "close"
        assert "listen.hosts" in response.error["message"]
    for probe in ("/healthz", "/readyz"):
        assert ask(proxy, *at(proxy, fields), target=probe).status == 200


@pytest.mark.parametrize("fields", OWN)
def test_a_page_of_its_own_and_programs_are_served(proxy: Proxy, fields: list[tuple[str, str]]) -> None:
    for target in ("/v1/chat/completions", "/metrics"):
        assert ask(proxy, *at(proxy, fields), target=target).status == 200


def test_what_is_chunked_or_behind_another_message_is_refused_alike(proxy: Proxy) -> None:
    client = proxy.client()
    good = head("GET /readyz HTTP/1.1", [("Host", "h")])
    fields = [("Host", "h"), ("Origin", "null"), ("Transfer-Encoding", "chunked")]
    client.send(good + head("POST /v1/chat/completions HTTP/1.1", fields) + b"0\r\n\r\n" + good)
    assert client.response("GET").json == {"status": "ready"}
    assert client.response().error["code"] == "foreign_origin"
    assert client.closed()


def test_http2(proxy: Proxy) -> None:
    own = f"127.0.0.1:{proxy.port}"
    with Http2Client(proxy.address) as client:
        for authority, origin, status in [
            (own, f"http://{own}", 200),
            (own, "https://evil.example", 403),
            ("evil.example", "http://evil.example", 403),
            ("app.internal", "https://app.internal", 200),
        ]:
            stream = client.ask("GET", "/metrics", headers={"origin": origin}, authority=authority)
            answer = client.response(stream)
            assert answer.status == status, (authority, origin)
            if status == 403:
                assert json.loads(answer.body)["error"]["code"] == "foreign_origin"
        assert client.response(client.ask("GET", "/healthz", headers={"origin": "null"})).status == 200


def test_with_keys_a_page_has_to_know_one(launch: Launcher) -> None:
    proxy = launch.serve(config(launch, keys=KEYS))
    foreign = ("Origin", "https://evil.example")
    assert ask(proxy, foreign).status == 401
    assert ask(proxy, foreign, ("x-api-key", KEY)).status == 200


def test_no_browser_reaches_a_unix_socket(launch: Launcher, tmp_path: Path) -> None:
    proxy = launch.serve(config(launch), "--uds", str(tmp_path / "socket"))
    client = proxy.client()
    client.send(head("GET /metrics HTTP/1.1", [("Host", "site.example"), ("Origin", "https://site.example")]))
    assert client.response().status == 200


def test_a_reload_admits_names(launch: Launcher) -> None:
    plain = config(launch)
    proxy = launch.serve(plain)
    assert ask(proxy, ("Origin", "https://app.example")).status == 403
    assert proxy.config is not None
    proxy.config.write_text(json.dumps({**plain, "listen": {"hosts": ["app.example"]}}))
    proxy.wait_for("reloaded")
    assert ask(proxy, ("Origin", "https://app.example")).status == 200
