"""Clients that offer an upgrade: `curl --http2`, Java's HttpClient, WebSocket. Waypost takes no offer."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .support.client import Client
from .support.proxy import Proxy, environment
from .support.site import Launcher, Site
from .support.upstream import Request, Server
from .support.wire import chunk, head

CHAT = b'{"model":"m","messages":[]}'
H2C = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAoAAA")]
OFFERS = {
    "h2c": H2C,
    "TLS": [("Connection", "upgrade"), ("Upgrade", "TLS/1.3")],
    "several": [("Connection", "keep-alive, Upgrade"), ("Upgrade", "HTTP/3.0, h2c, x-own/1")],
    "not confirmed": [("Upgrade", "h2c")],
    "WebSocket by POST": [("Connection", "upgrade"), ("Upgrade", "websocket")],
}
WEBSOCKET = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "WebSocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
JAVA = """
import java.net.URI;
import java.net.http.*;
import java.io.*;
public class Offers {
    public static void main(String[] args) throws Exception {
        var client = HttpClient.newHttpClient();  // offers h2c with the first request of each connection
        var body = "{\\"model\\":\\"m\\",\\"messages\\":[]}";
        for (int i = 0; i < 2; i++) {
            for (var how : new String[] {"length", "chunked", "none"}) {
                var path = how.equals("none") ? "files" : "chat/completions";
                var request = HttpRequest.newBuilder(URI.create(args[0] + path))
                    .header("content-type", "application/json").header("x-to", "model");
                if (how.equals("length")) {
                    request.POST(HttpRequest.BodyPublishers.ofString(body));
                } else if (how.equals("chunked")) {
                    request.POST(HttpRequest.BodyPublishers.ofInputStream(() ->
                        new ByteArrayInputStream(body.getBytes())));
                } else {
                    request.GET();
                }
                var response = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
                System.out.println(how + " " + response.version() + " " + response.statusCode()
                    + " " + response.body());
            }
        }
    }
}
"""


def told(request: Request) -> bytes:
    """Tells the client what the endpoint got."""
    names = [name for name, _ in request.fields if name in ("upgrade", "http2-settings", "sec-websocket-key")]
    body = json.dumps({"length": len(request.body), "offers": names}).encode()
    return head("HTTP/1.1 200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))]) + body


@pytest.fixture(scope="module")
def endpoint(shared: Launcher) -> Server:
    return shared.server(told)


@pytest.fixture(scope="module")
def site(shared: Launcher, endpoint: Server) -> Site:
    return Site(shared, {"model": {"endpoints": [endpoint.url]}})


def got(client: Client, method: str = "POST") -> object:
    response = client.response(method)
    assert response.status == 200, response.body
    return response.json


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_is_ignored(site: Site, offer: str) -> None:
    client = site.client()
    whole = {"length": len(CHAT), "offers": []}
    fields = [("x-to", "model"), *OFFERS[offer]]
    for _ in range(2):
        client.ask("POST", "/v1/chat/completions", CHAT, fields)
        assert got(client) == whole
        lines = [("Host", "h"), ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked"), *fields]
        client.send(head("POST /v1/chat/completions HTTP/1.1", lines) + chunk(CHAT[:5]) + chunk(CHAT[5:]) + chunk(b""))
        assert got(client) == whole
        client.send(head("POST /v1/chat/completions HTTP/1.1", lines))  # the body comes later
        client.send(chunk(CHAT) + chunk(b""))
        assert got(client) == whole
    # Pipelined.
    client.send(b"".join(head("DELETE /v1/files/a HTTP/1.1", [("Host", "h"), *fields]) for _ in range(3)))
    for _ in range(3):
        assert got(client) == {"length": 0, "offers": []}


def test_an_offer_is_ignored_beside_100_continue(site: Site) -> None:
    client = site.client()
    fields = [("Host", "h"), ("x-to", "model"), ("Content-Type", "application/json"), *H2C]
    lines = [*fields, ("Content-Length", str(len(CHAT))), ("Expect", "100-continue")]
    client.send(head("POST /v1/chat/completions HTTP/1.1", lines))
    client.send(CHAT)
    assert got(client) == {"length": len(CHAT), "offers": []}
    client.ask("GET", "/healthz", None, H2C)
    assert got(client, "GET") == {"status": "ok"}


def test_curl(site: Site) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    url = f"{site.proxy.url}/v1/chat/completions"
    how = [
        "-sS",
        "--http2",
        "-m",
        "60",
        "-H",
        "content-type: application/json",
        "-H",
        "x-to: model",
        "-w",
        " %{num_connects}\n",
    ]
    for extra in ([], ["-H", "transfer-encoding: chunked"]):
        argv = [curl, *how, "-d", CHAT.decode(), *extra, url, url]
        out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert out == f'{{"length": {len(CHAT)}, "offers": []}} 1\n{{"length": {len(CHAT)}, "offers": []}} 0\n'


def test_javas_http_client(site: Site, tmp_path: Path) -> None:
    java = shutil.which("java")
    modules = [] if java is None else [java, "--list-modules"]
    if not modules or "jdk.compiler" not in subprocess.run(modules, capture_output=True, text=True, check=True).stdout:
        pytest.skip("no JDK is installed: `java` of version 11 or later runs this client from its source")
    source = tmp_path / "Offers.java"
    source.write_text(JAVA)
    url = f"{site.proxy.url}/v1/"
    done = subprocess.run([modules[0], str(source), url], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    whole = f'HTTP_1_1 200 {{"length": {len(CHAT)}, "offers": []}}'
    empty = 'none HTTP_1_1 200 {"length": 0, "offers": []}'
    assert done.stdout.splitlines() == [f"length {whole}", f"chunked {whole}", empty] * 2


def test_a_websocket_is_refused(site: Site, endpoint: Server) -> None:
    before = len(endpoint.requests)
    client = site.client()
    for target in ("/v1/realtime?model=m", "/v1/chat/completions"):
        client.ask("GET", target, None, [("x-to", "model"), *WEBSOCKET])
        response = client.response("GET")
        assert (response.status, response.error["code"]) == (501, "not_implemented")
        assert "forwards HTTP messages only" in response.error["message"]
    client.ask("GET", "/nowhere", None, WEBSOCKET)
    assert client.response("GET").error["code"] == "not_found"
    client.ask("GET", "/v1/files", None, [("x-to", "model")])
    assert got(client, "GET") == {"length": 0, "offers": []}
    assert len(endpoint.requests) == before + 1


def test_a_refused_websocket_is_logged(launch: Launcher, tmp_path: Path) -> None:
    site = Site(launch, {"model": {}}, {"access_log": str(tmp_path / "log")})
    client = site.client()
    client.ask("GET", "/v1/realtime", None, [("x-to", "model"), *WEBSOCKET])
    assert client.response("GET").status == 501
    site.proxy.stop()
    (line,) = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (line["status"], line["why"], line["path"]) == (501, "not_implemented", "/v1/realtime")


UVICORN = re.compile(r"(Uvicorn running on) (?:http://(127\.0\.0\.1):(\d+)|unix socket (\S+))")


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_under_uvicorn(path: str, shared: Launcher, endpoint: Server, parser: str) -> None:
    if path != "fast":
        pytest.skip("uvicorn has one way only")
    config = {
        "clusters": {"c": {"speaks": "openai", "endpoints": [endpoint.url]}},
        "routes": [{"name": "r", "match": {"path": [{"prefix": "/"}]}, "to": "c"}],
    }
    (shared.directory / "waypost.yaml").write_text(json.dumps(config))
    argv = [sys.executable, "-m", "uvicorn", "--factory", "waypost.app:from_env", "--http", parser, "--port", "0"]
    proxy = Proxy(argv, cwd=shared.directory, env=environment(), ready=UVICORN, stops_with=-signal.SIGTERM)
    shared.proxies.append(proxy)
    for body in (CHAT, None):
        client = proxy.client()
        client.ask("POST" if body else "GET", "/v1/chat/completions" if body else "/v1/files", body, H2C)
        response = client.response("POST" if body else "GET")
        if parser == "httptools" and body:
            # Its parser drops the body. Nothing is forwarded without it.
            assert (response.status, response.error["code"]) == (400, "bad_framing")
            assert "the server dropped the request's body" in response.error["message"]
        else:
            assert (response.status, response.json["length"]) == (200, len(body or b""))
        assert response.get("connection") == "close"
        assert client.closed()
    # `uvicorn[standard]` would speak WebSocket; without it, the handshake is a request.
    client = proxy.client()
    client.ask("GET", "/v1/realtime", None, WEBSOCKET)
    assert client.response("GET").status == 501
