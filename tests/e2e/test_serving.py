"""`waypost serve` from its start to its end: configuration, reload, drain, workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .support.client import Client
from .support.proxy import Proxy, command, wait_until
from .support.site import Launcher, Site
from .support.upstream import Server
from .support.wire import Truncated, chunk

CHAT = b'{"model":"m","messages":[]}'
STREAM = b'{"model":"m","messages":[],"stream":true}'


def _config(*urls: str, route: str = "first", limits: dict[str, Any] | None = None) -> str:
    document = {
        "clusters": {"c": {"speaks": "openai", "endpoints": list(urls)}},
        "routes": [{"name": route, "match": {"kind": "model", "dialect": "openai"}, "to": "c"}],
        "limits": limits or {},
    }
    return json.dumps(document, indent=1)


def _write(proxy: Proxy, text: str) -> None:
    """Replace the file as editors and tools do: at once."""
    assert proxy.config is not None
    new = proxy.config.with_suffix(".new")
    new.write_text(text)
    new.replace(proxy.config)


# Starting.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bad_configuration_never_starts(tmp_path: Path, workers: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "clusters:\n  c: {speaks: klingon, endpoints: [x]}\nroutes:\n  - {name: r, to: d}\nlimits: {body: 1XB}\n"
    )
    done = command("serve", str(path), "--port", "0", "--workers", workers)
    error = done.stderr.decode()
    assert done.returncode == 1
    for place in (
        ":2:15: clusters.c.speaks: ",
        ":2:36: clusters.c.endpoints[0]: ",
        ":4:19: routes[0].to: ",
        ":5:16: limits.body: ",
    ):
        assert f"{path}{place}" in error
    assert "listening" not in error
    assert "Traceback" not in error


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = command("serve", str(tmp_path / "nothing.yaml"))
    assert done.returncode == 1
    assert b"nothing.yaml" in done.stderr
    assert b"Traceback" not in done.stderr


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "clusters: {c: {speaks: openai, endpoints: ['http://x'], credential: {header: a, value: '${E2E_SECRET}'}}}\n"
        "routes: [{name: r, to: c, match: {kind: model, dialect: openai}}]\n"
    )
    done = command("serve", str(path), E2E_SECRET="line\nbreak-s3cret")
    assert done.returncode == 1
    assert b"credential.value" in done.stderr
    assert b"s3cret" not in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_hosts_are_not_served_without_keys(tmp_path: Path, host: str) -> None:
    path = tmp_path / "waypost.yaml"
    path.write_text(_config("http://127.0.0.1:1"))
    done = command("serve", str(path), "--port", "0", "--host", host)
    assert done.returncode == 2
    assert b"--insecure-no-auth" in done.stderr
    path.write_text(path.read_text().replace('"limits"', f'"listen": {{"host": "{host}", "port": 0}}, "limits"'))
    assert command("serve", str(path)).returncode == 2


def test_other_hosts_are_served_where_that_is_said(launch: Launcher) -> None:
    server = launch.server()
    proxy = launch.serve(_config(server.url), "--host", "0.0.0.0", "--insecure-no-auth")
    assert "listening on http://0.0.0.0:" in proxy.output
    assert proxy.ask("POST", "/v1/chat/completions", CHAT).status == 200


def test_a_port_in_use(tmp_path: Path) -> None:
    path = tmp_path / "waypost.yaml"
    path.write_text(_config("http://127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", str(path), "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_hosts_that_are_none_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "waypost.yaml"
    path.write_text(_config("http://127.0.0.1:1"))
    done = command("serve", str(path), "--host", "192.0.2.1", "--port", "0", "--insecure-no-auth")
    assert (done.returncode, b"not an address of this machine" in done.stderr) == (1, True)
    done = command("serve", str(path), "--host", "nowhere.invalid", "--port", "0", "--insecure-no-auth")
    assert (done.returncode, b"cannot be resolved" in done.stderr) == (1, True)


def test_listen_says_where_unless_the_command_does(launch: Launcher) -> None:
    server = launch.server()
    document = json.loads(_config(server.url))
    document["listen"] = {"host": "localhost", "port": 1}  # --port 0 overrides
    proxy = launch.serve(document)
    assert proxy.port != 1
    assert proxy.ask("GET", "/healthz").json == {"status": "ok"}
    assert proxy.ask("GET", "/readyz").json == {"status": "ready"}


# Reloading.


@contextmanager
def _load(proxy: Proxy) -> Iterator[list[str | None]]:
    """A client that asks all the time, over kept and new connections; gives the routes that answered."""
    routes: list[str | None] = []
    problems: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                with Client(proxy.address) as client:
                    for _ in range(5):
                        client.ask("POST", "/v1/chat/completions", CHAT)
                        response = client.response()
                        assert (response.status, response.body) == (200, b'{"ok": true}')
                        routes.append(response.get("x-waypost-route"))
        except BaseException as problem:  # noqa: BLE001 - raised again below
            problems.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield routes
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if problems:
        raise problems[0]


@pytest.mark.parametrize("how", ["file", "SIGHUP"])
def test_reload_under_load(launch: Launcher, how: str) -> None:
    server = launch.server()
    proxy = launch.serve(_config(server.url))
    with _load(proxy) as routes:
        wait_until(lambda: "first" in routes, "the old route answers")
        if how == "SIGHUP":
            # Written in place and quietly: the change as such is not what reloads.
            other = launch.directory / "elsewhere.yaml"
            other.write_text(_config(server.url, route="second"))
            assert proxy.config is not None
            os.utime(other)
            proxy.config.write_text(other.read_text())
            proxy.signal(signal.SIGHUP)
        else:
            _write(proxy, _config(server.url, route="second"))
        wait_until(lambda: "second" in routes, "the new route answers")
        proxy.wait_for(r"reloaded: 1 route, 1 cluster")
        seen = len(routes)
        wait_until(lambda: len(routes) > seen + 20, "messages go on")
        assert set(routes[seen + 4 :]) == {"second"}
        count = len(routes)
        _write(proxy, "routes: [{name: broken, to: nowhere}]\n")
        if how == "SIGHUP":
            proxy.signal(signal.SIGHUP)
        proxy.wait_for(r"not reloaded: .*the old configuration stays in force")
        assert f"{proxy.config}:1:" in proxy.output
        wait_until(lambda: len(routes) > count + 20, "messages go on")
    assert set(routes) == {"first", "second"}


def test_a_file_that_is_mended_is_taken(launch: Launcher) -> None:
    server = launch.server()
    proxy = launch.serve(_config(server.url))
    proxy.ask("GET", "/healthz")
    _write(proxy, "nonsense: true\n")
    proxy.signal(signal.SIGHUP)
    proxy.wait_for("not reloaded")
    _write(proxy, _config(server.url, route="mended"))
    proxy.signal(signal.SIGHUP)
    proxy.wait_for("reloaded: 1 route")
    assert proxy.ask("POST", "/v1/chat/completions", CHAT).get("x-waypost-route") == "mended"


def test_included_files_are_watched_and_new_ones_are_found(launch: Launcher) -> None:
    server = launch.server()
    more = launch.directory / "routes.d"
    more.mkdir()
    document = json.loads(_config(server.url))
    document["include"] = ["routes.d/*.yaml"]
    proxy = launch.serve(document)
    (more / "a.yaml").write_text(
        "routes: [{name: added, precedence: 5, match: {kind: model, dialect: openai}, to: c}]\n"
    )
    proxy.wait_for("reloaded: 2 routes,")
    assert proxy.ask("POST", "/v1/chat/completions", CHAT).get("x-waypost-route") == "added"
    (more / "a.yaml").unlink()
    proxy.wait_for("reloaded: 1 route,")
    assert proxy.ask("POST", "/v1/chat/completions", CHAT).get("x-waypost-route") == "first"


def test_messages_under_way_end_on_the_configuration_that_they_began_with(launch: Launcher) -> None:
    site = Site(launch, {"model": {}})
    other = launch.server()
    client = site.chat("model", STREAM)
    peer, _ = site["model"].request()
    peer.start()
    peer.send(chunk(b"data: 1\n\n"))
    response = client.response()
    _write(site.proxy, _config(other.url, route="new"))
    site.proxy.signal(signal.SIGHUP)
    site.proxy.wait_for("reloaded")
    assert site.proxy.ask("POST", "/v1/chat/completions", CHAT).get("x-waypost-route") == "new"
    peer.send(chunk(b"data: 2\n\n") + chunk(b""))
    assert response.body == b"data: 1\n\ndata: 2\n\n"
    assert response.get("x-waypost-route") == "to-model"


def test_a_change_of_listen_is_reported_and_waits_for_a_restart(launch: Launcher) -> None:
    server = launch.server()
    proxy = launch.serve(_config(server.url))
    document = json.loads(_config(server.url))
    document["listen"] = {"port": 1}
    _write(proxy, json.dumps(document))
    proxy.signal(signal.SIGHUP)
    proxy.wait_for("warning: the address in `listen` has changed")
    assert proxy.ask("POST", "/v1/chat/completions", CHAT).status == 200


# Stopping.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_drains(launch: Launcher, workers: str) -> None:
    """A stream in flight is finished, a kept connection hears that this process is not ready, nobody new is let in."""
    site = Site(launch, {"model": {}}, args=("--workers", workers))
    proxy = site.proxy
    client, peer, response = site.begun_stream("model")
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: not proxy.accepts(), "no new connection is accepted")
    assert proxy.popen.poll() is None
    peer.send(chunk(b"data: 2\n\n"))
    assert response.stream.exactly(9) == b"data: 2\n\n"
    peer.send(chunk(b"data: [DONE]\n\n") + chunk(b""))
    assert response.stream.rest() == b"data: [DONE]\n\n"
    assert client.closed()
    assert proxy.exit_code() == 0


def test_readyz_says_that_it_drains(launch: Launcher) -> None:
    """Nobody new is let in then, but a request may be waiting behind the one under way."""
    site = Site(launch, {"model": {}})
    client = site.chat("model", CHAT)
    peer, _ = site["model"].request()
    client.ask("GET", "/readyz")
    site.proxy.signal(signal.SIGTERM)
    wait_until(lambda: not site.proxy.accepts(), "no new connection is accepted")
    peer.reply()
    assert client.response().body == b'{"ok": true}'
    response = client.response("GET")
    assert (response.status, response.json["error"]["code"]) == (503, "draining")


def test_a_drain_is_bounded(launch: Launcher) -> None:
    site = Site(launch, {"model": {}}, {"limits": {"drain": "1s"}})
    _, peer, response = site.begun_stream("model")
    site.proxy.signal(signal.SIGTERM)
    assert site.proxy.exit_code() == 0
    with pytest.raises(Truncated):
        response.stream.rest()
    assert peer.closed()


def test_a_message_without_an_answer_at_the_end_of_a_drain_is_refused(launch: Launcher) -> None:
    site = Site(launch, {"model": {}}, {"limits": {"drain": "1s"}})
    client = site.chat("model", CHAT)
    peer, _ = site["model"].request()
    site.proxy.signal(signal.SIGTERM)
    response = client.response()
    assert (response.status, response.error["code"], response.get("retry-after")) == (503, "draining", "1")
    assert site.proxy.exit_code() == 0
    assert peer.closed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_proxy_stops_at_once(launch: Launcher, number: signal.Signals) -> None:
    server = launch.server()
    proxy = launch.serve(_config(server.url))
    client = proxy.client()
    client.ask("POST", "/v1/chat/completions", CHAT)
    assert client.response().body
    proxy.signal(number)
    assert proxy.exit_code(5) == 0
    assert client.closed()


# Workers.


@pytest.fixture
def two(launch: Launcher) -> tuple[Proxy, Server]:
    server = launch.server()
    return launch.serve(_config(server.url), "--workers", "2"), server


def _workers(proxy: Proxy) -> list[int]:
    return [pid for pid in proxy.alive() if pid != proxy.pid]


def _route(proxy: Proxy) -> str | None:
    response = proxy.ask("POST", "/v1/chat/completions", CHAT)
    assert response.status == 200
    return response.get("x-waypost-route")


def test_all_workers_answer(two: tuple[Proxy, Server]) -> None:
    proxy, _ = two
    assert "2 workers" in proxy.output
    workers = _workers(proxy)
    assert len(workers) == 2
    for stopped in workers:  # whoever is left has to answer
        os.kill(stopped, signal.SIGSTOP)
        try:
            answered = sum(_answers(proxy) for _ in range(4))
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert answered == 4


def _answers(proxy: Proxy) -> bool:
    return _route(proxy) == "first"


def test_a_worker_that_is_killed_is_replaced(two: tuple[Proxy, Server]) -> None:
    proxy, server = two
    before = _workers(proxy)
    _write(proxy, _config(server.url, route="second"))
    proxy.wait_for("reloaded")  # one of them says so
    wait_until(lambda: {_route(proxy) for _ in range(5)} == {"second"}, "all have reloaded")
    os.kill(before[0], signal.SIGKILL)
    proxy.wait_for(rf"worker {before[0]} was killed by SIGKILL: starting another")
    wait_until(lambda: len(_workers(proxy)) == 2 and before[0] not in _workers(proxy), "there are two workers again")
    # The new one serves the file as it is now, and alone.
    os.kill(before[1], signal.SIGSTOP)
    try:
        assert {_route(proxy) for _ in range(3)} == {"second"}
    finally:
        os.kill(before[1], signal.SIGCONT)


def test_sighup_reloads_all_workers(two: tuple[Proxy, Server]) -> None:
    proxy, server = two
    with _load(proxy) as routes:
        wait_until(lambda: bool(routes), "messages are answered")
        _write(proxy, _config(server.url, route="second"))
        proxy.signal(signal.SIGHUP)
        proxy.wait_for("reloaded: 1 route", count=2)
        seen = len(routes)
        wait_until(lambda: len(routes) > seen + 30, "messages go on")
    assert set(routes[seen + 10 :]) == {"second"}


def test_sigterm_stops_all_workers(two: tuple[Proxy, Server]) -> None:
    proxy, _ = two
    assert _route(proxy) == "first"
    proxy.signal(signal.SIGTERM)
    assert proxy.exit_code(10) == 0
    assert proxy.alive() == []


def test_workers_end_when_their_supervisor_is_killed(two: tuple[Proxy, Server], launch: Launcher) -> None:
    proxy, _ = two
    assert len(_workers(proxy)) == 2
    proxy.signal(signal.SIGKILL)
    assert proxy.exit_code() == -signal.SIGKILL
    wait_until(lambda: not proxy.alive(), "no worker is left")
    assert not proxy.accepts()
    proxy.stop(expected=None)
    launch.proxies.remove(proxy)
