"""What operators see: metrics that add up, a line for every message however it ended, and neither ever in the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .support.metrics import Metrics
from .support.proxy import Proxy, command, environment, wait_until
from .support.site import Launcher, Site
from .support.upstream import closed_port
from .support.wire import Truncated, chunk, head

CHAT = b'{"model":"m","messages":[]}'
STREAM = {"model": "m", "messages": [], "stream": True}
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Log:
    """An access log in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def line(self, **members: Any) -> dict[str, Any]:
        """The one line with these members, once it is there."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [each for each in self.lines() if members.items() <= each.items()]
            return bool(found)

        wait_until(there, f"a line with {members} is in the log")
        assert len(found) == 1, found
        return found[0]


Place = tuple[Site, Log]


@pytest.fixture
def place(launch: Launcher) -> Place:
    file = launch.directory / "access.log"
    clusters: dict[str, dict[str, Any]] = {
        "model": {},
        "native": {"speaks": "envelope"},
        "dead": {"endpoints": [f"http://127.0.0.1:{closed_port()}"]},
        "backed": {"endpoints": [f"http://127.0.0.1:{closed_port()}"], "fallback": ["model"]},
    }
    return Site(launch, clusters, {"access_log": str(file), "limits": {"body": "1KiB"}}), Log(file)


def test_a_message_that_went_well(place: Place) -> None:
    site, log = place
    parent = f"00-{TRACE}-b7ad6b7169203331-01"
    body = json.dumps({"model": 'm "\n☃', "messages": []}).encode()
    client = site.chat("model", body, x_request_id="r-1", traceparent=parent)
    peer, request = site["model"].request()
    assert request.fields.all("traceparent") == [parent]
    peer.reply(b"0123456789")
    assert client.response().body == b"0123456789"
    line = log.line(id="r-1")
    times = {name: line.pop(name) for name in ("queue_ms", "first_byte_ms", "total_ms")}
    assert 0 <= times["first_byte_ms"] <= times["total_ms"]
    assert times["queue_ms"] == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "id": "r-1", "client": "127.0.0.1", "method": "POST", "path": "/v1/chat/completions", "kind": "model",
        "model": 'm "\n☃', "route": "to-model", "cluster": "model", "endpoint": site["model"].url, "attempts": 1,
        "status": 200, "bytes_in": len(body), "bytes_out": 10, "why": "ok", "trace": TRACE,
    }  # fmt: skip
    metrics = Metrics(site.proxy)
    way = {"route": "to-model", "cluster": "model"}
    assert metrics("requests_total", status="2xx", **way) == metrics("requests_total") == 1
    assert metrics("request_duration_seconds_count", **way) == metrics("first_byte_seconds_count", cluster="model") == 1
    assert metrics("request_duration_seconds_sum") == pytest.approx(times["total_ms"] / 1000, abs=1e-6)
    assert metrics("request_body_bytes_total", **way) == len(body)
    assert metrics("response_body_bytes_total", **way) == 10
    assert metrics("requests_in_flight") == 0
    assert (metrics("workers"), metrics("client_connections")) == (1, 2)
    assert metrics("upstream_connections_opened_total") == metrics("upstream_connections_idle") == 1


def test_a_message_that_took_several_attempts(place: Place) -> None:
    site, log = place
    client = site.chat("backed", x_request_id="r-1")
    site["model"].request()[0].reply()
    assert client.response().status == 200
    line = log.line(id="r-1")
    assert (line["route"], line["cluster"], line["attempts"], line["why"]) == ("to-backed", "model", 2, "ok")
    first, second = line["tried"]
    assert (first["cluster"], first["failure"]) == ("backed", "connect")
    assert (second["cluster"], second["endpoint"], second["status"]) == ("model", site["model"].url, 200)
    assert 0 <= second["ms"] <= line["total_ms"]
    (decision,) = site.proxy.ask("GET", "/-/decisions").json["decisions"]
    told = [(each["endpoint"], each["status"], each["failure"]) for each in decision["tried"]]
    assert told == [(first["endpoint"], None, "connect"), (site["model"].url, 200, None)]
    metrics = Metrics(site.proxy)
    assert (metrics("attempts_total"), metrics("retries_total", route="to-backed", cluster="model")) == (2, 1)


def test_streams_and_uploads_are_measured_to_their_end(place: Place) -> None:
    site, log = place
    client = site.chat("model", STREAM, x_request_id="stream")
    peer, _ = site["model"].request()
    peer.start()
    peer.send(chunk(b"data: 1\n\n"))
    response = client.response()
    assert response.stream.exactly(9) == b"data: 1\n\n"
    assert Metrics(site.proxy)("requests_in_flight") == 1
    assert log.lines() == []
    peer.send(chunk(b"data: [DONE]\n\n") + chunk(b""))
    assert response.stream.rest() == b"data: [DONE]\n\n"
    assert log.line(id="stream")["bytes_out"] == 23

    client = site.client()
    fields = [("Host", "h"), ("X-To", "model"), ("X-Request-Id", "upload"), ("Content-Type", "audio/wav")]
    client.send(head("POST /v1/audio/transcriptions HTTP/1.1", [*fields, ("Content-Length", "5000")]) + b"x" * 1000)
    peer, request = site["model"].request(whole=False)
    client.send(b"x" * 4000)
    assert len(request.body) == 5000
    peer.reply(b"ok")
    assert client.response().body == b"ok"
    line = log.line(id="upload")
    assert (line["bytes_in"], line["bytes_out"], line.get("kind")) == (5000, 2, None)


def _chat(site: Site, cluster: str, **headers: str) -> None:
    site.chat(cluster, **headers).response()


def _raw(site: Site, data: bytes) -> None:
    client = site.client()
    client.send(data)
    client.response()


def _late(site: Site) -> None:
    client = site.chat("model", x_waypost_deadline_ms="5000")  # long enough to get there on a busy machine
    site["model"].request()
    assert client.response().status == 504


ENDINGS: dict[str, tuple[Callable[[Site], Any], dict[str, Any]]] = {
    "no_route": (lambda site: _chat(site, "nobody"), {"status": 404}),
    "invalid_json": (lambda site: site.chat("model", b"{").response(), {"status": 400, "bytes_in": 1}),
    "invalid_envelope": (
        lambda site: site.envelope("native", {"id": "own", "kind": "query", "task": 5}).response(),
        {"status": 400, "path": "/v1/envelopes"},
    ),
    "not_found": (lambda site: site.proxy.ask("GET", "/nowhere?secret"), {"status": 404, "path": "/nowhere"}),
    "method_not_allowed": (lambda site: site.proxy.ask("GET", "/v1/envelopes"), {"status": 405, "method": "GET"}),
    "body_too_large": (lambda site: site.chat("model", b" " * 2000).response(), {"status": 413}),
    "bad_framing": (lambda site: _raw(site, b"GET / HTTP/9.9\r\n\r\n"), {"status": 400, "client": "127.0.0.1"}),
    "upstream_unreachable": (lambda site: _chat(site, "dead"), {"status": 502, "cluster": "dead", "attempts": 1}),
    "deadline_exceeded": (_late, {"status": 504, "cluster": "model", "attempts": 1}),
}


@pytest.mark.parametrize("code", ENDINGS)
def test_an_error_has_its_line_and_is_counted(place: Place, code: str) -> None:
    site, log = place
    provoke, members = ENDINGS[code]
    provoke(site)
    line = log.line(why=code)
    assert members.items() <= line.items()
    assert line["bytes_out"] > 0
    assert "secret" not in log.file.read_text()
    metrics = Metrics(site.proxy)
    assert metrics("errors_total", code=code) == metrics("errors_total") == 1
    assert metrics("requests_total", status=f"{line['status'] // 100}xx") == metrics("requests_total") == 1
    assert len(log.lines()) == 1


def test_who_has_no_key_is_counted(launch: Launcher) -> None:
    file = launch.directory / "access.log"
    keys = [
        {"name": name, "hash": f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}", **rest}
        for name, secret, rest in (("planner", "k", {"tenant": "acme"}), ("root", "admin", {"admin": True}))
    ]
    site, log = Site(launch, {"model": {}}, {"access_log": str(file), "keys": keys}), Log(file)
    assert site.chat("model").response().status == 401
    assert log.line(why="unauthorized")["status"] == 401
    client = site.chat("model", authorization="Bearer k")
    site["model"].request()[0].reply()
    assert client.response().status == 200
    line = log.line(why="ok")
    assert (line["key"], line["tenant"]) == ("planner", "acme")
    assert Metrics(site.proxy, headers={"x-api-key": "admin"})("errors_total", code="unauthorized") == 1


def test_a_client_that_leaves_mid_stream(place: Place) -> None:
    site, log = place
    client, peer, _ = site.begun_stream("model")
    client.close()
    assert peer.closed()
    line = log.line(why="client_gone")
    assert (line["status"], line["bytes_out"], line["cluster"]) == (200, 9, "model")
    assert Metrics(site.proxy)("clients_gone_total") == 1


def test_a_client_that_leaves_before_its_body_is_complete(place: Place) -> None:
    site, log = place
    client = site.client()
    fields = [("Host", "h"), ("X-Request-Id", "r-1"), ("Content-Length", "100")]
    client.send(head("POST /v1/envelopes HTTP/1.1", fields) + b'{"id"')
    wait_until(lambda: Metrics(site.proxy)("buffered_bytes") == 5, "a part of the body is held")
    client.close()
    line = log.line(id="r-1")
    assert (line["why"], line["bytes_in"], "status" in line) == ("client_gone", 5, False)
    assert Metrics(site.proxy)("requests_total", status="none") == 1


@pytest.mark.parametrize("target", ["/v1/envelopes", "/v1/files"])
def test_a_body_that_cannot_be_read_on(place: Place, target: str) -> None:
    site, log = place
    client = site.client()
    fields = [
        ("Host", "h"),
        ("X-To", "model"),
        ("Content-Type", "text/plain" if "files" in target else "application/json"),
    ]
    client.send(head(f"POST {target} HTTP/1.1", [*fields, ("Transfer-Encoding", "chunked")]) + chunk(b"{"))
    if "files" in target:
        site["model"].request(whole=False)
    client.send(b"no chunk\r\n")
    assert client.response().status == 400
    line = log.line(why="bad_framing")
    assert (line["status"], line["path"]) == (400, target)
    metrics = Metrics(site.proxy)
    assert metrics("errors_total", code="bad_framing") == metrics("requests_total") == 1
    assert metrics("requests_in_flight") == 0


def test_an_endpoint_that_dies_mid_stream(place: Place) -> None:
    site, log = place
    _, peer, response = site.begun_stream("model")
    peer.close()
    with pytest.raises(Truncated):
        response.stream.rest()
    line = log.line(why="aborted")
    assert (line["error"], line["status"], line["bytes_out"]) == ("upstream_protocol", 200, 9)
    metrics = Metrics(site.proxy)
    assert (metrics("responses_aborted_total"), metrics("errors_total", code="upstream_protocol")) == (1, 1)
    assert metrics("requests_total", status="2xx") == 1


def test_metrics_add_up_to_what_was_sent(launch: Launcher) -> None:
    file = launch.directory / "access.log"
    clusters = {name: {"endpoints": [launch.server().url]} for name in ("one", "two")}
    site, log = Site(launch, clusters, {"access_log": str(file)}), Log(file)
    client = site.client()
    sent = ["one"] * 70 + ["two"] * 30 + ["nobody"] * 7
    for number, cluster in enumerate(sent):
        client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": cluster, "x-request-id": f"r-{number}"})
        response = client.response()
        assert (response.status, bool(response.body)) == (404 if cluster == "nobody" else 200, True)
    metrics = Metrics(site.proxy)
    for cluster in ("one", "two"):
        count = sent.count(cluster)
        way = {"route": f"to-{cluster}", "cluster": cluster}
        assert metrics("requests_total", status="2xx", **way) == count
        assert metrics("attempts_total", **way) == count
        assert metrics("request_body_bytes_total", **way) == count * len(CHAT)
        assert metrics("request_duration_seconds_bucket", le="+Inf", **way) == count
        assert metrics("first_byte_seconds_count", cluster=cluster) == count
    assert metrics("requests_total", route="(none)", status="4xx") == 7
    wait_until(lambda: len(log.lines()) == len(sent), "all lines are written")
    assert [line["id"] for line in log.lines()] == [f"r-{number}" for number in range(len(sent))]
    wait_until(lambda: Metrics(site.proxy)("access_log_lines_total", result="written") == len(sent), "they are counted")


def test_a_log_that_nobody_reads_stops_nothing(launch: Launcher) -> None:
    """Standard output is a pipe that is full."""
    fifo = launch.directory / "stdout"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = launch.directory / "blocked.yaml"
    file.write_text(json.dumps({"access_log": "stdout", "clusters": {}, "routes": []}))
    serve = [sys.executable, "-m", "waypost", "serve", str(file), "--port", "0"]
    if launch.path == "asgi":
        serve.append("--no-fast-path")
    proxy = Proxy(["sh", "-c", f'exec "$@" > {fifo}', "sh", *serve], env=environment())
    launch.proxies.append(proxy)
    client = proxy.client()
    # Each has a line of more than a kilobyte; more than 8 MiB of them cannot wait anywhere.
    request = head(f"GET /v1/{'x' * 2000}? HTTP/1.1", [("Host", "h"), ("X-Request-Id", "r" * 128)])
    sent = 0
    while Metrics(proxy)("access_log_lines_total", result="dropped") == 0:
        assert sent < 20_000
        for _ in range(20):
            client.send(request * 25)
            for _ in range(25):
                assert client.response("GET").body
        sent += 500
    assert Metrics(proxy)("errors_total") == sent
    # Once somebody reads, lines are whole again.
    lines: list[bytes] = []

    def read() -> None:
        os.set_blocking(reader, True)
        with os.fdopen(reader, "rb") as stream:
            lines.extend(stream)

    thread = threading.Thread(target=read)
    thread.start()
    client.ask("GET", "/v1/last", headers={"x-request-id": "last"})
    assert client.response("GET").status == 404
    proxy.stop()
    thread.join(10)
    found = [json.loads(line) for line in lines]
    assert found[-1]["id"] == "last"
    assert 1000 < len(found) <= sent


def test_sighup_opens_the_log_anew(place: Place) -> None:
    site, log = place
    site.proxy.ask("GET", "/nowhere", headers={"x-request-id": "before"})
    log.line(id="before")
    moved = log.file.rename(log.file.with_suffix(".1"))
    site.proxy.signal(signal.SIGHUP)
    site.proxy.wait_for("reloaded")
    wait_until(log.file.exists, "there is a new file")

    def lands() -> bool:
        site.proxy.ask("GET", "/nowhere", headers={"x-request-id": "after"})
        return bool(log.lines())

    wait_until(lands, "lines go to the new file")  # those that waited before go to the old one
    assert {line["id"] for line in log.lines()} == {"after"}
    assert next(line["id"] for line in Log(moved).lines()) == "before"
    assert Metrics(site.proxy)("config_reloads_total", result="good") == 1


def test_a_reload_moves_the_log_and_what_fails_changes_nothing(launch: Launcher) -> None:
    first, second = launch.directory / "first.log", launch.directory / "second.log"
    document: dict[str, Any] = {"access_log": str(first), "clusters": {}, "routes": []}
    proxy = launch.serve(document)
    assert proxy.config is not None
    proxy.ask("GET", "/nowhere", headers={"x-request-id": "one"})
    Log(first).line(id="one")
    proxy.config.write_text(json.dumps({**document, "access_log": str(launch.directory / "none" / "x.log")}))
    proxy.wait_for(r"access_log: .*cannot be opened.*\n.*not reloaded")
    metrics = Metrics(proxy)
    assert (metrics("config_reloads_total", result="bad"), metrics("config_last_reload_successful")) == (1, 0)
    proxy.config.write_text(json.dumps({**document, "access_log": str(second)}))
    proxy.wait_for("waypost: reloaded")
    proxy.ask("GET", "/nowhere", headers={"x-request-id": "two"})
    Log(second).line(id="two")
    assert [line["id"] for line in Log(first).lines()] == ["one"]
    assert Metrics(proxy)("config_last_reload_successful") == 1
    assert Metrics(proxy)("errors_total", code="not_found") == 2, "what was counted stays"


def test_a_log_that_cannot_be_opened_is_an_error_of_the_configuration(launch: Launcher) -> None:
    file = launch.directory / "unopened.yaml"
    file.write_text(f"access_log: {launch.directory}/none/access.log\nclusters: {{}}\nroutes: []\n")
    done = command("serve", str(file), "--port", "0")
    assert done.returncode == 1
    assert f"{file}:1:13: access_log: ".encode() in done.stderr


def test_what_waits_is_written_at_the_end(place: Place) -> None:
    site, log = place
    _, peer, response = site.begun_stream("model")
    site.proxy.signal(signal.SIGTERM)
    peer.send(chunk(b""))
    assert response.stream.rest() == b""
    assert site.proxy.exit_code() == 0
    assert [line["why"] for line in log.lines()] == ["ok"]


def test_a_stream_that_outlasts_the_drain(launch: Launcher) -> None:
    file = launch.directory / "access.log"
    site = Site(launch, {"model": {}}, {"access_log": str(file), "limits": {"drain": "100ms"}})
    client, _, _ = site.begun_stream("model")
    site.proxy.signal(signal.SIGTERM)
    assert site.proxy.exit_code() == 0
    assert not client.silent()
    (line,) = Log(file).lines()
    assert (line["why"], line["error"], line["status"]) == ("aborted", "draining", 200)


def test_any_worker_speaks_for_all(launch: Launcher) -> None:
    file = launch.directory / "access.log"
    site = Site(
        launch, {"one": {"endpoints": [launch.server().url]}}, {"access_log": str(file)}, args=("--workers", "2")
    )
    log = Log(file)
    workers = [pid for pid in site.proxy.alive() if pid != site.proxy.pid]
    before = [_sockets(pid) for pid in workers]
    kept = []
    while any(now == then for now, then in zip(map(_sockets, workers), before, strict=True)):
        assert len(kept) < 200, "the kernel chooses who gets a connection"
        client = site.client()
        client.ask("POST", "/v1/chat/completions", CHAT, {"x-to": "one"})
        assert client.response().body
        kept.append(client)
    sent = len(kept)

    # Another worker can be asked before the one that answered last has counted.
    wait_until(lambda: Metrics(site.proxy)("requests_total") == sent, "all are counted")
    assert {Metrics(site.proxy)("requests_total") for _ in range(8)} == {sent}
    wait_until(lambda: len(log.lines()) == sent, "all lines are written, each whole")
    wait_until(lambda: Metrics(site.proxy)("client_connections") > sent, "the connections of both are counted")
    assert Metrics(site.proxy)("workers") == 2
    # Its place is taken by one that was started from before the log was moved.
    moved = file.rename(file.with_suffix(".1"))
    site.proxy.signal(signal.SIGHUP)
    wait_until(file.exists, "there is a new file")
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    site.proxy.wait_for(r"was killed by SIGKILL: starting another", count=2)
    site.proxy.hang_up()
    wait_until(lambda: Metrics(site.proxy)("workers") == 2, "others serve")
    site.proxy.ask("GET", "/nowhere", headers={"x-request-id": "later"})
    log.line(id="later")
    assert len(Log(moved).lines()) == sent
    assert Metrics(site.proxy)("requests_total") == sent + 1, "what the dead ones counted stays"
    wait_until(lambda: Metrics(site.proxy)("client_connections") <= 2, "their connections are not counted any more")


def _sockets(pid: int) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count
