"""Clients that do not read: what they hold is bounded, and their connections end."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from .support.client import Client
from .support.http2 import Http2Client
from .support.proxy import Proxy, wait_until
from .support.site import Launcher, Site
from .support.upstream import Request
from .support.wire import head

CHAT = b'{"model":"m","messages":[]}'
TO = {"x-to": "model"}
LARGE = bytes(16 << 20)
FIELDS = [("content-type", "application/octet-stream"), ("content-length", str(len(LARGE)))]
CLIENTS = 30


def large(_: Request) -> bytes:
    return head("HTTP/1.1 200 OK", FIELDS) + LARGE


def idle(proxy: Proxy) -> bool:
    """Nothing has happened for a second, except what happens in each."""
    before = proxy.cpu()
    time.sleep(1)
    return proxy.cpu() - before <= 0.02


@pytest.mark.parametrize("version", ["1", "2", "2 with many streams"])
def test_what_they_hold_is_bounded(launch: Launcher, version: str) -> None:
    if version != "1" and launch.path != "fast":
        pytest.skip("HTTP/2 has one way in")
    server = launch.server(large)
    site = Site(launch, {"model": {"endpoints": [server.url]}})
    warm = site.chat("model")
    assert len(warm.response().body) == len(LARGE)
    if version != "1":
        with Http2Client(site.proxy.address) as known:
            assert known.response(known.ask("GET", "/healthz")).status == 200
    before = site.proxy.resident()
    clients: list[Client | Http2Client] = []
    calls = 1
    for _ in range(CLIENTS if version != "2 with many streams" else 1):
        if version == "1":
            client = Client(site.proxy.address, window=8192)
            client.ask("POST", "/v1/chat/completions", CHAT, TO)
            clients.append(client)
            calls += 1
            continue
        http2 = Http2Client(site.proxy.address, reads=False)
        http2.h2.increment_flow_control_window(1 << 30)
        for _ in range(1 if version == "2" else 100):
            http2.ask(body=CHAT, headers=TO)
            calls += 1
        clients.append(http2)
    # Of many streams on one connection, some do not begin before the others are read.
    least = calls if version != "2 with many streams" else 2
    wait_until(lambda: len(server.requests) >= least, "all have come")
    wait_until(lambda: idle(site.proxy), "nothing more is sent")
    held = site.proxy.resident() - before
    # Of a hundred calls, tasks and connections take more than their responses.
    limit = len(clients) * (256 << 10) if version != "2 with many streams" else (256 << 10) + calls * (32 << 10)
    assert held < limit, f"{held >> 10} KiB"
    for one in clients:
        one.close()


def test_others_on_its_connection_go_on(launch: Launcher) -> None:
    server = launch.server(large)
    site = Site(launch, {"model": {"endpoints": [server.url]}, "other": {}})
    with Http2Client(site.proxy.address, reads=False) as client:
        client.h2.increment_flow_control_window(1 << 30)
        stalled = client.ask(body=CHAT, headers=TO)
        client.until(lambda: len(stalled.body) == 65535)
        for _ in range(3):
            stream = client.ask(body=CHAT, headers={"x-to": "other"})
            peer, _ = site["other"].request()
            peer.reply(b"x" * 60_000)
            assert client.response(stream).body == b"x" * 60_000
        assert len(stalled.body) == 65535


def test_a_drain_does_not_wait_for_one_whose_response_was_cut_off(launch: Launcher, tmp_path: Path) -> None:
    settings = {"limits": {"drain": "300s"}, "access_log": str(tmp_path / "log")}
    site = Site(launch, {"model": {"timeout": {"total": "3s"}}}, settings)
    client = Client(site.proxy.address, window=8192)
    client.ask("POST", "/v1/chat/completions", CHAT, TO)
    peer, _ = site["model"].request()
    peer.send(head("HTTP/1.1 200 OK", FIELDS))
    peer.sock.settimeout(2)
    with pytest.raises(TimeoutError):  # the proxy takes no more, because its client does not
        peer.sock.sendall(LARGE)
    log = tmp_path / "log"
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 1, "the response is over")
    assert json.loads(log.read_text())["why"] == "aborted"
    begun = time.monotonic()
    site.proxy.signal(signal.SIGTERM)
    assert site.proxy.exit_code() == 0
    assert time.monotonic() - begun < 100
    client.close()


def test_two_signals_leave_no_traceback(launch: Launcher) -> None:
    site = Site(launch, {"model": {}}, {"limits": {"drain": "300s"}})
    client, _, _ = site.begun_stream("model")
    site.proxy.signal(signal.SIGINT)
    wait_until(lambda: not site.proxy.accepts(), "the listener is closed")
    site.proxy.signal(signal.SIGINT)
    assert site.proxy.exit_code() == 0
    assert "Traceback" not in site.proxy.output
    client.close()
