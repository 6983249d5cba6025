"""The embedded upstreams start together, stop quickly, and leave no task and no socket behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from waypost.demo import upstreams as module
from waypost.demo.server import GRACE, Server, bind
from waypost.demo.upstreams import Upstreams
from waypost.errors import WaypostError


def sockets() -> set[str]:
    """The sockets of this process, where the system lists them."""
    found = set()
    folder = Path("/proc/self/fd")
    for link in folder.iterdir() if folder.exists() else ():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # the listing's own
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


class Left:
    """Compares this loop's tasks and this process's sockets with what they were."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._sockets = sockets()

    async def check(self) -> None:
        async with asyncio.timeout(60):
            while sockets() - self._sockets:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)  # a transport closes its socket in the loop's next turn
        assert asyncio.all_tasks() <= self._tasks


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def chat(said: str, *, path: str = "/v1/chat/completions") -> bytes:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": said}]})
    return b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


def test_each_has_a_port_of_its_own_and_tells_when_it_started() -> None:
    async def main() -> None:
        told: list[tuple[str, str]] = []
        async with Upstreams(lambda name, url: told.append((name, url))) as upstreams:
            assert upstreams.urls.keys() == {"model", "retriever", "memory", "tools"}
            assert len(set(upstreams.urls.values())) == 4
            assert dict(told) == upstreams.urls
            for url in upstreams.urls.values():
                _, writer = await asyncio.open_connection(*address(url))
                writer.close()
                await writer.wait_closed()

    asyncio.run(main())


def test_an_accepted_connection_sends_small_pieces_at_once() -> None:
    async def main() -> None:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with bind() as sock:
            async with await asyncio.start_server(connected, sock=sock):
                reader, writer = await asyncio.open_connection(*sock.getsockname())
                await reader.read()
                writer.close()
                await writer.wait_closed()
        assert await accepted == 1

    asyncio.run(main())


def test_nothing_is_left_although_clients_keep_their_connections() -> None:
    async def main() -> None:
        left = Left()
        began = 0.0
        async with Upstreams() as upstreams:
            urls = upstreams.urls
            reader, writer = await asyncio.open_connection(*address(urls["model"]))
            writer.write(chat("hi"))
            assert b"200 OK" in await reader.readuntil(b"\r\n")
            began = time.monotonic()
        assert time.monotonic() - began < GRACE
        await reader.read()  # to the end: the server closed it
        writer.close()
        await writer.wait_closed()
        await left.check()
        for url in urls.values():
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address(url))

    asyncio.run(main())


def test_a_client_that_does_not_read_cannot_hold_them_up() -> None:
    async def main() -> None:
        client = socket.socket()
        left = Left()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            async with Upstreams() as upstreams:
                await loop.sock_connect(client, address(upstreams.urls["model"]))
                await loop.sock_sendall(client, chat("x" * 15_000_000))
                assert await loop.sock_recv(client, 1) == b"H"
            await left.check()  # the server's end is closed, although the client's is not
            client.close()

    asyncio.run(main())


def test_nothing_is_left_after_a_cancellation_within() -> None:
    async def main() -> None:
        left = Left()
        entered = asyncio.Event()

        async def hold() -> None:
            async with Upstreams():
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.check()

    asyncio.run(main())


def test_nothing_is_left_after_a_second_cancellation_while_they_stop() -> None:
    async def main() -> None:
        left = Left()
        entered, leave = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with Upstreams():
                entered.set()
                await leave.wait()

        task = asyncio.create_task(hold())
        await entered.wait()
        leave.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.check()

    asyncio.run(main())


def test_nothing_is_left_where_one_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        left = Left()
        started: list[str] = []

        def broken(port: int) -> Any:
            if len(started) == 2:
                raise OSError("no ports left")
            return bind(port)

        monkeypatch.setattr(module, "bound", broken)
        with pytest.raises(OSError, match="no ports left"):
            await Upstreams(lambda name, _: started.append(name)).__aenter__()
        assert len(started) == 2
        await left.check()

    asyncio.run(main())


def test_signal_handlers_are_left_alone() -> None:
    async def main() -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        async with Upstreams():
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    asyncio.run(main())


def test_a_lifespan_that_fails_is_an_error_and_leaves_nothing() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    async def main() -> None:
        left = Left()
        server = Server(app, bind(), lifespan="auto")
        with pytest.raises(WaypostError, match="failed to start"):
            await server.start()
        await server.stop()
        await left.check()

    asyncio.run(main())


def test_importing_the_package_costs_nothing() -> None:
    code = "import sys, waypost; had = set(sys.modules); import waypost.demo; print(*(set(sys.modules) - had))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "waypost.demo\n"
