"""What the server does beside serving: reload, watch, and how long it drains."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import watchfiles
from waypost import server, watch
from waypost.app import create_app
from waypost.config import load_config

from .support import until

CLUSTER = "clusters:\n  c: {speaks: envelope, endpoints: [http://127.0.0.1:9]}\n"
ROUTE = "routes: [{name: %s, match: {tenant: %s}, to: c}]\n"


class Running:
    """A server of a configuration, which does not listen."""

    def __init__(self, path: Path) -> None:
        app = create_app(load_config(path))
        self.gateway = app.state.gateway
        self.said: list[str] = []
        self.reloader = watch.Reloader(self.gateway, path, self.said.append, self.gateway.generation.config.listen)
        self.server = server._Server(uvicorn.Config(app), self.gateway, self.reloader, lambda: None)

    @property
    def routes(self) -> int:
        return len(self.gateway.generation.snapshot.table)


@asynccontextmanager
async def watching(running: Running) -> AsyncIterator[None]:
    task = asyncio.ensure_future(running.reloader.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def main(tmp_path: Path) -> Path:
    return write(tmp_path / "w.yaml", CLUSTER + ROUTE % ("main", "m") + "include: [conf/routes.d/*.yaml]\n")


def test_an_include_directory_may_come_and_go(tmp_path: Path, main: Path) -> None:
    running = Running(main)
    extra = tmp_path / "conf" / "routes.d" / "a.yaml"

    async def body() -> None:
        async with watching(running):
            for _ in range(2):
                write(extra, ROUTE % ("extra", "x"))
                await until(lambda: running.routes == 2, 0.01)
                extra.unlink()
                extra.parent.rmdir()
                extra.parent.parent.rmdir()
                await until(lambda: running.routes == 1, 0.01)

    asyncio.run(body())


def test_what_is_missing_is_awaited_where_it_would_appear(tmp_path: Path, main: Path) -> None:
    running = Running(main)
    places = watch.WatchedPaths.of(running.gateway.generation.config, main)
    assert places.directories == {tmp_path}
    assert places.concerns(None, str(tmp_path / "conf"))
    assert not places.concerns(None, str(tmp_path / "other"))
    (tmp_path / "conf").mkdir()
    places = watch.WatchedPaths.of(running.gateway.generation.config, main)
    assert places.directories == {tmp_path, tmp_path / "conf"}
    assert places.concerns(None, str(tmp_path / "conf" / "routes.d"))


def test_files_that_cannot_be_watched_are_looked_at_and_it_is_said_once(
    main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL_INTERVAL", 10)
    tries = 0

    async def refuse(*_: Any, **__: Any) -> AsyncIterator[Any]:
        nonlocal tries
        tries += 1
        raise OSError("no more watches")
        yield

    monkeypatch.setattr(watchfiles, "awatch", refuse)
    running = Running(main)

    async def body() -> None:
        async with watching(running):
            await until(lambda: tries > 3, 0.01)
            write(main, CLUSTER + "routes: [{name: a, to: c}, {name: b, match: {tenant: x}, to: c}]\n")
            await until(lambda: running.routes == 2, 0.01)

    asyncio.run(body())
    assert sum("cannot be watched (no more watches)" in text for text in running.said) == 1


@pytest.mark.parametrize("form", ["yaml", "jsonl"])
def test_the_event_loop_goes_on_while_very_many_routes_are_reloaded(tmp_path: Path, main: Path, form: str) -> None:
    running = Running(main)
    count = 30_000
    routes = [{"name": f"r{i}", "match": {"tenant": f"t{i}", "kind": "query"}, "to": "c"} for i in range(count)]
    if form == "yaml":
        write(main, CLUSTER + "routes:\n" + "".join(f"  - {json.dumps(route)}\n" for route in routes))
    else:
        write(tmp_path / "routes.jsonl", "".join(f"{json.dumps(route)}\n" for route in routes))
        write(main, CLUSTER + "include: [routes.jsonl]\n")

    async def body() -> tuple[int, float]:
        beats, longest, last = 0, 0.0, time.monotonic()
        for _ in range(2):
            reload = asyncio.create_task(running.reloader.reload())
            while not reload.done():
                await asyncio.sleep(0.001)
                now = time.monotonic()
                beats, longest, last = beats + 1, max(longest, now - last), now
            await reload
        return beats, longest

    beats, longest = asyncio.run(body())
    assert running.routes == count
    # Some milliseconds; 50 ms are the bar of a quiet machine (benches/edits.py).
    assert longest < 5
    assert beats > 10
    table = running.gateway.generation.snapshot.table
    decision = table.decide(b'{"id": "1", "kind": "query", "tenant": "t29999"}')
    assert decision is not None
    assert (decision.route, decision.cluster) == ("r29999", "c")
    assert table.decide(b'{"id": "1", "kind": "query", "tenant": "t29999"}') is decision


def test_a_reload_says_what_to_mind(main: Path) -> None:
    running = Running(main)
    config = CLUSTER + "routes: [{name: a, to: c}, {name: b, match: {tenant: x}, to: c}]\nlisten: {port: 9999}\n"
    write(main, config)
    asyncio.run(running.reloader.reload())
    said = "\n".join(running.said)
    assert "waypost: reloaded: 2 routes, 1 cluster" in said
    assert "w.yaml:3:" in said
    assert "warning: never reached" in said
    assert "the address in `listen` has changed" in said


def test_a_bad_file_is_reported_and_the_same_one_not_again(main: Path) -> None:
    running = Running(main)
    write(main, "nonsense: 1\n")

    async def body() -> None:
        await running.reloader._check(changed=False)
        await running.reloader._check(changed=False)

    asyncio.run(body())
    assert sum("not reloaded" in text for text in running.said) == 1
    assert running.routes == 1


def test_the_time_for_draining_is_that_of_the_last_reload(main: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(main)
    drained = []

    async def shutdown(self: uvicorn.Server, sockets: Any = None) -> None:
        drained.append(self.config.timeout_graceful_shutdown)

    monkeypatch.setattr(uvicorn.Server, "shutdown", shutdown)
    write(main, CLUSTER + ROUTE % ("main", "m") + "limits: {drain: 1500ms}\n")

    async def body() -> None:
        await running.reloader.reload()
        await running.server.shutdown()

    asyncio.run(body())
    assert drained == [2]


def test_a_task_that_breaks_is_reported(main: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = Running(main)

    async def broken() -> None:
        raise ValueError("broken")

    async def body() -> None:
        running.server._spawn(broken())
        await until(lambda: not running.server._tasks, 0.01)

    asyncio.run(body())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("waypost", logging.ERROR)
    assert record.exc_info is not None
    assert "broken" in str(record.exc_info[1])


def test_a_reload_that_breaks_leaves_what_ran_before(
    main: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = Running(main)

    def broken(_: Path) -> Any:
        raise ValueError("broken")

    monkeypatch.setattr(watch, "read_config", broken)
    asyncio.run(running.reloader.reload())
    assert running.routes == 1
    assert "the old configuration stays in force" in caplog.text


def test_that_the_last_key_is_gone_is_told(main: Path) -> None:
    keys = f"keys: [{{name: k, hash: 'sha256:{'ab' * 32}'}}]\n"
    text = main.read_text()
    write(main, text + keys)
    running = Running(main)

    def reload(keys: str) -> bool:
        running.said.clear()
        write(main, text + keys)
        asyncio.run(running.reloader.reload())
        assert any("waypost: reloaded" in line for line in running.said)
        return "waypost: warning: `keys` are gone: everyone who can connect may now send messages" in running.said

    assert not reload(keys.replace("name: k", "name: l"))
    assert reload("")
    assert not reload("")
    assert not reload(keys)


def test_times_of_clients_follow_a_reload(main: Path) -> None:
    running = Running(main)
    settings = running.server.config
    settings.load()
    running.server.lifespan = settings.lifespan_class(settings)
    text = main.read_text()

    async def of_administration() -> float:
        """The time of a new connection to the listener of administration."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            listener = await running.server._listen_for_administration(asyncio.get_running_loop(), sock)
            write(main, text + "listen: {keep_alive: 2m}\n")
            await running.reloader.reload()
            _, writer = await asyncio.open_connection(*sock.getsockname())
            connections: set[Any] = running.server.server_state.connections
            await until(lambda: connections)
            (connection,) = connections
            seconds = float(connection.timeout_keep_alive)
            listener.close()
            writer.close()
            await writer.wait_closed()
            await until(lambda: not connections)
            return seconds

    assert asyncio.run(of_administration()) == 120.0
    assert settings.timeout_keep_alive == 120.0


def test_a_change_of_listen_is_told_as_long_as_it_waits(main: Path) -> None:
    running = Running(main)
    text = main.read_text()

    def reload(listen: str) -> bool:
        running.said.clear()
        write(main, text + listen)
        asyncio.run(running.reloader.reload())
        return any("the address in `listen` has changed" in line for line in running.said)

    assert reload("listen: {port: 9999}\n")
    assert reload("listen: {port: 9999}\nlimits: {body: 1MiB}\n"), "it still waits"
    assert not reload(""), "it is what it was at the start"


def test_a_bad_reload_says_how_many_problems_there_are(main: Path) -> None:
    running = Running(main)
    write(main, "nonsense: 1\n")
    asyncio.run(running.reloader.reload())
    assert running.said[-1] == "waypost: not reloaded: 1 problem; the old configuration stays in force"
