"""The application under other ASGI servers: one server of each kind, with two workers, for all tests."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .support.client import Client, Response
from .support.http2 import Http2Client
from .support.proxy import START, Process, environment, wait_until
from .support.upstream import Peer, Upstream, free_port
from .support.wire import TIMEOUT, Truncated, chunk

CHAT = b'{"model":"m","messages":[]}'
MiB = 1024 * 1024
PROGRAM = """
import os
from waypost import create_app, load_config

app = create_app(load_config("waypost.yaml"))


class Stamp:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def stamp(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-pid", b"%d" % os.getpid())]
            await send(message)

        await self.app(scope, receive, stamp)


app.add_middleware(Stamp)
"""
BIN = Path(sys.executable).parent


def _gunicorn(*worker: str) -> Callable[[int], list[str]]:
    return lambda port: [str(BIN / "gunicorn"), *worker, "--workers", "2", "--bind", f"127.0.0.1:{port}", "service:app"]


def _granian(*more: str) -> Callable[[int], list[str]]:
    def argv(port: int) -> list[str]:
        return [
            str(BIN / "granian"),
            "--interface",
            "asgi",
            "--workers",
            "2",
            "--port",
            str(port),
            *more,
            "service:app",
        ]

    return argv


SERVERS: dict[str, Callable[[int], list[str]]] = {
    "uvicorn": lambda port: [str(BIN / "uvicorn"), "--workers", "2", "--port", str(port), "service:app"],
    "gunicorn": _gunicorn("--worker-class", "uvicorn_worker.UvicornWorker"),
    "gunicorn-asgi": _gunicorn("--worker-class", "asgi"),
    "hypercorn": lambda port: [str(BIN / "hypercorn"), "--workers", "2", "--bind", f"127.0.0.1:{port}", "service:app"],
    "granian": _granian("--no-ws"),
    "granian-rust": _granian("--task-impl", "rust"),
}
HTTP2 = ("hypercorn", "granian")


class Server(Process):
    """A running server, and the endpoint behind it."""

    def __init__(self, name: str, directory: Path, argv: Callable[[int], list[str]]) -> None:
        self.name = name
        self.upstream = Upstream()
        cluster = {"speaks": "openai", "endpoints": [self.upstream.url], "retry": "off", "breaker": "off"}
        rate = {"per": "tenant", "messages": 1, "every": "1h"}
        config = {
            "clusters": {"c": cluster, "few": {**cluster, "rate": rate}},
            "routes": [
                {"name": "few", "match": {"path": [{"prefix": "/v1/"}], "tenant": [{"prefix": "few-"}]}, "to": "few"},
                {"name": "r", "match": {"path": [{"prefix": "/v1/"}]}, "to": "c"},
            ],
            "limits": {"body": "64KiB"},
            "access_log": "off",
        }
        (directory / "waypost.yaml").write_text(json.dumps(config))
        (directory / "service.py").write_text(PROGRAM)
        port = free_port()
        self.address = ("127.0.0.1", port)
        super().__init__(argv(port), cwd=directory, env=environment())
        try:
            wait_until(self._serves, f"{name} serves", START)
        except BaseException:
            self.close()
            raise

    def _serves(self) -> bool:
        assert self.popen.poll() is None, self.output
        return self.accepts()

    def client(self, **how: Any) -> Client:
        return self._keep(Client(self.address, **how))

    def chat(self, **headers: str) -> tuple[Client, Peer]:
        """A chat completion under way: its client, and its endpoint."""
        client = self.client()
        client.ask("POST", "/v1/chat/completions?a=b", CHAT, {k.replace("_", "-"): v for k, v in headers.items()})
        peer, request = self.upstream.request()
        assert (request.target, request.body) == ("/v1/chat/completions?a=b", CHAT)
        return client, peer

    def accepts(self) -> bool:
        """Whether it takes a new connection."""
        try:
            Client(self.address).close()
        except OSError:
            return False
        return True

    def stream(self) -> tuple[Client, Peer, Response]:
        """A stream of which the client has the first event."""
        client, peer = self.chat()
        peer.start()
        peer.send(chunk(b"data: 1\n\n"))
        response = client.response()
        assert response.stream.exactly(9) == b"data: 1\n\n"
        return client, peer, response

    def refused(self, method: str, target: str, body: bytes | None = None, *fields: tuple[str, str]) -> tuple[int, str]:
        """Status and error code of the answer to a request that reaches no endpoint."""
        client = self.client()
        client.ask(method, target, body, list(fields))
        response = client.response(method)
        assert self.upstream.untouched()
        return response.status, response.error["code"]

    def close(self) -> None:
        self.upstream.close()
        self.popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.exit_code()
        self.kill()


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(request.param, tmp_path_factory.mktemp(request.param), SERVERS[request.param])
    try:
        yield server
        assert "Traceback" not in server.output, server.output
        assert "a defect ended" not in server.output, server.output
    finally:
        server.close()


@pytest.fixture(autouse=True)
def _clear(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        server.hang_up()
        server.upstream.clear()


def test_a_message_and_its_reply(server: Server) -> None:
    client, peer = server.chat()
    peer.reply()
    response = client.response()
    assert (response.status, response.json, response.get("x-waypost-route")) == (200, {"ok": True}, "r")


def test_a_stream_arrives_piece_by_piece(server: Server) -> None:
    _, peer, response = server.stream()
    peer.send(chunk(b"data: 2\n\n"))
    assert response.stream.exactly(9) == b"data: 2\n\n"
    peer.send(chunk(b""))
    assert response.stream.rest() == b""


def test_a_response_that_stops_short_has_no_good_end(server: Server) -> None:
    _, peer, response = server.stream()
    peer.close()
    with pytest.raises((Truncated, ConnectionError)):
        response.stream.rest()


def test_a_client_that_leaves_frees_the_endpoint(server: Server) -> None:
    client, peer = server.chat()
    client.close()
    assert peer.closed()
    client, peer, _ = server.stream()
    client.close()
    assert peer.closed()


def test_an_upload_arrives_piece_by_piece(server: Server) -> None:
    client = server.client()
    fields = "content-type: multipart/form-data; boundary=b\r\ntransfer-encoding: chunked\r\n"
    client.send(f"POST /v1/audio/x HTTP/1.1\r\nhost: x\r\n{fields}\r\n".encode() + chunk(b"abc"))
    peer, request = server.upstream.request(whole=False)
    assert request.stream.exactly(3) == b"abc"
    client.send(chunk(b"def") + chunk(b""))
    assert request.stream.rest() == b"def"
    peer.reply()
    assert client.response().status == 200


def test_a_client_that_does_not_read_holds_its_endpoint_back(server: Server) -> None:
    client = server.client(window=4096)
    client.ask("POST", "/v1/chat/completions", CHAT)
    peer, _ = server.upstream.request()
    peer.start()
    piece, total, sent = chunk(b"x" * 65_000), 64 * MiB, 0
    peer.sock.setblocking(False)
    # Nobody reads, so that soon nothing can be written any more: no matter how long one waits.
    while sent < total and select.select([], [peer.sock], [], 0.5)[1]:
        sent += peer.sock.send(piece)
    assert sent < total / 2


def test_what_is_refused(server: Server) -> None:
    assert server.refused("POST", "/v1/envelopes", b"{}") == (400, "invalid_envelope")
    assert server.refused("GET", "/v1/envelopes") == (405, "method_not_allowed")
    assert server.refused("GET", "/nothing") == (404, "not_found")
    assert server.refused("POST", "/v1/chat/completions", b" " * 70_000) == (413, "body_too_large")
    # Nobody knows where another server listens.
    assert server.refused("GET", "/metrics") == (401, "unauthorized")


def test_a_rejection_does_not_wait_for_the_body(server: Server) -> None:
    client = server.client()
    fields = "content-type: application/json\r\ntransfer-encoding: chunked\r\n"
    client.send(f"POST /nothing HTTP/1.1\r\nhost: x\r\n{fields}\r\n".encode())
    assert client.response().status == 404


def test_other_kinds_of_responses(server: Server) -> None:
    """Each is followed by another over the same connection, if the server keeps it."""
    for method, head in (("HEAD", b"200 Y\r\ncontent-length: 12"), ("GET", b"304 N\r\netag: x"), ("GET", b"204 N")):
        client = server.client()
        client.ask(method, "/v1/models")
        peer, _ = server.upstream.request()
        peer.send(b"HTTP/1.1 " + head + b"\r\n\r\n")
        assert client.response(method).status == int(head[:3])
        client.ask("GET", "/v1/models")
        peer, _ = server.upstream.request()
        peer.reply()
        assert client.response("GET").json == {"ok": True}


def test_http_2(server: Server) -> None:
    if server.name not in HTTP2:
        pytest.skip("HTTP/1.1 alone without TLS")
    with Http2Client(server.address) as client:
        stream = client.ask(body=CHAT)
        peer, _ = server.upstream.request()
        peer.start()
        peer.send(chunk(b"data: 1\n\n"))
        client.until(lambda: stream.body == b"data: 1\n\n")
        peer.send(chunk(b""))
        client.until(lambda: stream.ended)
        left = client.ask(body=CHAT)
        peer, _ = server.upstream.request()
        client.reset(left)
        assert peer.closed()


def _limited(server: Server) -> Response:
    """The answer to a message of a tenant that may send one to each worker."""
    client = server.client()
    client.ask("POST", "/v1/chat/completions", CHAT, {"x-waypost-tenant": "few-1"})
    if select.select([client.sock, *server.upstream.sockets()], [], [], TIMEOUT)[0] != [client.sock]:
        peer, _ = server.upstream.request()
        peer.reply()
    response = client.response()
    _ = response.body
    client.close()
    return response


def _others(server: Server, pid: str) -> list[Response]:
    """The first two such answers of another worker than `pid`."""
    if server.name.startswith("granian"):
        # The kernel deals connections out to granian's workers, each of which listens by itself.
        answers = [_limited(server) for _ in range(40)]
        return [answer for answer in answers if answer.get("x-pid") != pid][:2]
    os.kill(int(pid), signal.SIGSTOP)
    try:
        return [_limited(server), _limited(server)]
    finally:
        os.kill(int(pid), signal.SIGCONT)


def test_workers_share_nothing_and_say_so(server: Server) -> None:
    server.wait_for("breakers and metrics are those of this process alone: if the server has other workers", count=2)
    first = _limited(server)
    second, third = _others(server, first.get("x-pid") or "")
    assert (first.status, second.status, third.status) == (200, 200, 429)
    assert third.error["code"] == "rate_limited"
    assert first.get("x-pid") != second.get("x-pid") == third.get("x-pid")
    assert first.get("x-request-id") != second.get("x-request-id")


def test_a_stop_lets_streams_end(server: Server) -> None:
    """The last test: the server is gone."""
    if server.name == "hypercorn":
        pytest.skip("hypercorn cuts the streams of several workers")
    _, peer, response = server.stream()
    server.signal(signal.SIGTERM)
    for _ in range(10):
        select.select([], [], [], 0.2)  # so that the signal has come to the worker
        peer.send(chunk(b"data: 2\n\n"))
        assert response.stream.exactly(9) == b"data: 2\n\n"
    peer.send(chunk(b""))
    assert response.stream.rest() == b""


def test_workers_that_are_forked_from_an_application_have_ids_of_their_own(tmp_path: Path) -> None:
    """With `--preload`, gunicorn's workers share rates, and no id is made twice."""
    argv = _gunicorn("--preload", "--worker-class", "uvicorn_worker.UvicornWorker")
    server = Server("gunicorn", tmp_path, argv)
    try:
        server.wait_for("queues, breakers and gauges are those of this process alone; rates and counters are shared")
        first = _limited(server)
        second, third = _others(server, first.get("x-pid") or "")
        assert (first.status, second.status, third.status) == (200, 429, 429)
        assert second.error["code"] == "rate_limited"
        assert first.get("x-pid") != second.get("x-pid")
        assert len({answer.get("x-request-id") for answer in (first, second, third)}) == 3
    finally:
        server.close()
