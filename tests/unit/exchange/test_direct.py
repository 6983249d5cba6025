"""Messages over connections that are kept: those that go directly, and those to which something happens on the way.

Each over the fast path, over ASGI with the server's shortcut, and over ASGI alone: it must make no difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import types
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
import waypost
from starlette.applications import Starlette
from waypost import create_app
from waypost.config import from_dict
from waypost.entry import http1_sink
from waypost.entry.asgi_shortcut import AsgiShortcut
from waypost.entry.asgi_sink import AsgiSink
from waypost.entry.http1 import Http1, fast_path
from waypost.exchange.exchange import Exchange
from waypost.loop import outbox
from waypost.loop.outbox import Outbox
from waypost.upstream.connection import Connection
from waypost.upstream.settings import UpstreamSettings

from ..support import until  # noqa: TID252

BODY = b'{"id":"q1","kind":"query"}'
HEAD = b"HTTP/1.1 200 OK\r\n"
WAYS = ["fast", "shortcut", "asgi"]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class Client:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *, body: bytes = BODY, version: str = "1.1", times: int = 1) -> None:
        head = f"POST /v1/envelopes HTTP/{version}\r\nhost: h\r\ncontent-type: application/json\r\n"
        self.writer.write((f"{head}content-length: {len(body)}\r\n\r\n".encode() + body) * times)
        await self.writer.drain()

    async def receive(self, *, headless: bool = False) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head[:-4].split("\r\n")
        headers = {name: value for name, _, value in (field.partition(": ") for field in fields)}
        body, whole = b"", True
        try:
            if headless:
                pass
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            elif "transfer-encoding" in headers:
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                while (await self.reader.readuntil(b"\r\n")) != b"\r\n":
                    pass
            elif headers.get("connection") == "close":
                body = await self.reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            whole = False
        return Reply(int(line.split()[1]), headers, body, whole)

    async def ask(self) -> Reply:
        await self.send()
        return await self.receive()


@contextlib.asynccontextmanager
async def gateway(way: str, *upstreams: Any, **cluster: Any):
    """A gateway before these upstreams, each the fallback of the one before, and the way to connect to it."""
    clusters = {
        f"c{at}": {"speaks": "envelope", "endpoints": [up.url], "retry": "off", **cluster}
        for at, up in enumerate(upstreams)
    }
    first, *rest = clusters
    config = {"clusters": clusters, "routes": [{"name": "all", "to": first, "fallback": rest}], "access_log": "off"}
    app = create_app(from_dict(config))
    http: Any = "httptools" if way == "asgi" else fast_path(app, fast=way == "fast")
    settings: dict[str, Any] = {"log_config": None, "ws": "none", "lifespan": "off", "access_log": False}
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=http, proxy_headers=False, **settings))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    clients: list[Client] = []

    address = server.servers[0].sockets[0].getsockname()

    async def connect(*, stop: bool = False) -> Client:
        if stop:
            await server.shutdown()
            return clients[-1]
        clients.append(Client(*await asyncio.open_connection(*address)))
        return clients[-1]

    try:
        yield app.state.gateway, connect
    finally:
        for client in clients:
            client.writer.close()
        await server.shutdown()


@pytest.fixture(autouse=True, params=["at once", "collected"])
def writes(request, monkeypatch) -> str:
    """Whether writes are made at once, or at the end of each turn, as while there are many."""
    if request.param == "collected":
        create = Outbox.__init__

        def collecting(self: Outbox, loop: asyncio.AbstractEventLoop) -> None:
            create(self, loop)
            self.collecting = True

        monkeypatch.setattr(Outbox, "__init__", collecting)
        monkeypatch.setattr(outbox, "_ENOUGH", 0)
    return request.param


@pytest.fixture
def exchanges(monkeypatch) -> list[Exchange]:
    """Those that were made."""
    made: list[Exchange] = []
    create = Exchange.__init__

    def counted(self: Exchange, *rest: Any, **more: Any) -> None:
        made.append(self)
        create(self, *rest, **more)

    monkeypatch.setattr(Exchange, "__init__", counted)
    return made


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("wire", "body", "kept"),
    [
        (b"content-length: 2\r\n\r\nok", b"ok", True),
        (b"transfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nx-sum: 1\r\n\r\n", b"ok", True),
        (b"content-length: 0\r\n\r\n", b"", True),
        (b"connection: close\r\ncontent-length: 2\r\n\r\nok", b"ok", False),
        (b"content-length: 2\r\n\r\nok and more", b"ok", False),
    ],
    ids=["length", "chunks", "empty", "close", "more"],
)
def test_a_whole_response_needs_no_exchange(run, scripts, exchanges, counted, way, wire, body, kept):
    async def main(world):
        up = await world.upstream(scripts.reply(), scripts.send(HEAD + wire, close=False), scripts.reply(b"next"))
        async with gateway(way, up) as (gate, connect):
            client = await connect()
            assert (await client.ask()).body == b'{"ok":true}'
            assert len(exchanges) == 1  # there was no connection
            reply = await client.ask()
            assert (reply.status, reply.body, reply.headers["x-waypost-attempts"]) == (200, body, "1")
            assert len(exchanges) == 1
            assert (await client.ask()).body == b"next"
            assert (up.connections, len(exchanges)) == ((1, 1) if kept else (2, 2))
            assert counted(gate, "waypost_requests_total", status="2xx") == 3
            assert counted(gate, "waypost_requests_in_flight") == gate.budget.held == 0

    run(main)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [204, 304, 404, 299])
def test_statuses_that_are_answers(run, scripts, exchanges, way, status):
    length = b"" if status == 204 else b"content-length: 4\r\n"
    wire = b"HTTP/1.1 %d X\r\n%b\r\n%b" % (status, length, b"" if status in (204, 304) else b"body")

    async def main(world):
        up = await world.upstream(scripts.reply(), scripts.send(wire, close=False))
        async with gateway(way, up) as (_, connect):
            client = await connect()
            await client.ask()
            for _ in range(2):
                await client.send()
                reply = await client.receive()
                assert (reply.status, reply.body) == (status, b"" if status in (204, 304) else b"body")
            assert (up.connections, len(exchanges)) == (1, 1)

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_a_response_in_pieces_becomes_an_exchange(run, exchanges, scripts, way):
    async def main(world):
        more = asyncio.Event()

        async def pieces(_, writer):
            writer.write(HEAD + b"content-length: 4\r\n\r\n")
            await more.wait()
            writer.write(b"text")

        up = await world.upstream(scripts.reply(), pieces, scripts.reply(b"next"))
        async with gateway(way, up) as (gate, connect):
            client = await connect()
            await client.ask()
            await client.send()
            await until(lambda: len(exchanges) == 2)
            assert gate.budget.held == 0  # given back with the head
            more.set()
            assert (await client.receive()).body == b"text"
            assert (await client.ask()).body == b"next"
            assert (up.connections, len(exchanges)) == (1, 2)

    run(main)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("wire", "close", "status", "code"),
    [
        (b"", True, 200, None),  # a kept connection that the endpoint was about to close: once more over a new one
        (b"nonsense\r\n\r\n", True, 502, "upstream_protocol"),
        (HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", False, 502, "upstream_protocol"),
        (HEAD + b"content-le", True, 502, "upstream_protocol"),
        (b"", False, 504, "upstream_timeout"),
    ],
    ids=["stale", "nonsense", "two lengths", "half a head", "silence"],
)
def test_what_fails_on_a_kept_connection_fails_as_on_any(run, scripts, counted, way, wire, close, status, code):
    async def main(world):
        script = scripts.send(wire, close=True) if close else scripts.hang(wire)
        up = await world.upstream(scripts.reply(), script, scripts.reply(b"again"))
        async with gateway(way, up, timeout={"first_byte": "100ms"}) as (gate, connect):
            client = await connect()
            await client.ask()
            reply = await client.ask()
            assert reply.status == status
            assert (reply.body == b"again") == (code is None)
            if code is not None:
                assert f'"{code}"'.encode() in reply.body
                assert counted(gate, "waypost_errors_total", code=code) == 1
            assert (await client.ask()).body == b"again"
            assert counted(gate, "waypost_requests_in_flight") == gate.budget.held == 0

    run(main)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [429, 503])
def test_a_status_that_is_no_answer_goes_on_to_the_fallback(run, scripts, way, status):
    async def main(world):
        first = await world.upstream(scripts.reply(), scripts.reply(b"no", status))
        second = await world.upstream(scripts.reply(b"yes"))
        async with gateway(way, first, second) as (_, connect):
            client = await connect()
            await client.ask()
            reply = await client.ask()
            assert (reply.status, reply.body, reply.headers["x-waypost-attempts"]) == (200, b"yes", "2")

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_leaves_ends_its_message(run, scripts, counted, way):
    async def main(world):
        up = await world.upstream(scripts.reply(), scripts.hang())
        async with gateway(way, up) as (gate, connect):
            client = await connect()
            await client.ask()
            await client.send()
            await until(lambda: len(up.requests) == 2)
            client.writer.close()
            await up.closed.wait()
            await until(lambda: not counted(gate, "waypost_requests_in_flight"))
            assert counted(gate, "waypost_clients_gone_total") == 1
            assert gate.budget.held == 0

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_a_response_that_stops_short_is_no_whole_one(run, scripts, way):
    async def main(world):
        up = await world.upstream(scripts.reply(), scripts.send(HEAD + b"content-length: 9\r\n\r\nhalf"))
        async with gateway(way, up) as (_, connect):
            client = await connect()
            await client.ask()
            assert not (await client.ask()).whole

    run(main)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["query", "tool"])
def test_what_comes_unasked_is_nobodys_answer(run, scripts, way, kind, writes):
    """Not even if the event loop has yet to see it: each later message would get the answer to the one before."""

    async def main(world):
        up = await world.upstream(scripts.reply(b"first"), scripts.reply(b"second"), scripts.reply(b"third"))
        body = BODY.replace(b"query", kind.encode())
        async with gateway(way, up) as (gate, connect):
            client = await connect()
            await client.send(body=body)
            assert (await client.receive()).body == b"first"
            assert len(gate.runtime().pool) == 1
            # The last moment before the request is written.
            owner, name = (Connection, "alive") if writes == "at once" else (Outbox, "flush")
            last = getattr(owner, name)

            def late(self):
                setattr(owner, name, last)
                up.writers[0].write(HEAD + b"content-length: 5\r\n\r\nextra")
                return last(self)

            setattr(owner, name, late)
            await client.send(body=body)
            assert (await client.receive()).body == b"second"
            await client.send(body=body)
            assert (await client.receive()).body == b"third"
            assert up.connections == 2

    run(main)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("before", [True, False], ids=["before the write", "behind it"])
def test_a_defect_is_answered_unless_there_was_an_answer(run, scripts, monkeypatch, counted, way, before):
    def defect(*_: Any) -> None:
        raise ValueError("a defect")

    def broken_behind_the_write(protocol: Http1, response: bytes) -> None:
        protocol.transport.write(response)
        defect()

    async def main(world):
        up = await world.upstream(scripts.reply())
        async with gateway(way, up) as (gate, connect):
            client = await connect()
            await client.ask()
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # says what is behind the write
            with monkeypatch.context() as patch:
                if way == "fast" and before:
                    patch.setattr(http1_sink, "STATUS_LINE", {500: http1_sink.STATUS_LINE[500]})
                elif way == "fast":
                    patch.setattr(Http1, "message_done", broken_behind_the_write)
                else:
                    sink = AsgiShortcut if way == "shortcut" and not before else AsgiSink
                    patch.setattr(sink, "answer" if before else "done", defect)
                reply = await client.ask()
            if before:
                assert (reply.status, b'"internal"' in reply.body) == (500, True)
                assert (await client.ask()).status == 200
                assert counted(gate, "waypost_errors_total", code="internal") == 1
            else:
                assert reply.status == 200
                client.writer.close()
                assert await client.reader.read() == b""

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_requests_sent_at_once_are_answered_in_order(run, scripts, way):
    async def main(world):
        up = await world.upstream(*[scripts.reply(b"%d" % at) for at in range(6)])
        async with gateway(way, up) as (_, connect):
            client = await connect()
            await client.ask()
            await client.send(times=5)
            assert [(await client.receive()).body for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]

    run(main)


@pytest.mark.parametrize("way", ["fast", "shortcut"])  # alone, uvicorn sends them
def test_a_client_of_http_1_0_gets_no_chunks(run, scripts, way):
    async def main(world):
        chunks = HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        up = await world.upstream(scripts.reply(), scripts.send(chunks, close=False))
        async with gateway(way, up) as (_, connect):
            await (await connect()).ask()
            client = await connect()
            await client.send(version="1.0")
            reply = await client.receive()
            assert (reply.status, reply.body, reply.headers["connection"]) == (200, b"ok", "close")
            assert "transfer-encoding" not in reply.headers

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_a_stop_waits_for_the_answer(run, scripts, way):
    async def main(world):
        more = asyncio.Event()

        async def slow(_, writer):
            await more.wait()
            writer.write(HEAD + b"content-length: 4\r\n\r\nlate")

        up = await world.upstream(scripts.reply(), slow)
        async with gateway(way, up) as (_, connect):
            client = await connect()
            await client.ask()
            await client.send()
            await until(lambda: len(up.requests) == 2)
            stopping = asyncio.ensure_future(connect(stop=True))
            await asyncio.sleep(0)
            more.set()
            reply = await client.receive()
            await stopping
        assert (reply.body, reply.headers.get("connection")) == (b"late", "close")

    run(main)


@pytest.mark.parametrize("way", WAYS)
def test_what_carries_no_message_keeps_nothing_of_the_last(run, scripts, way):
    async def main(world):
        more = asyncio.Event()

        async def begins(_, writer):
            writer.write(HEAD + b"content-length: 4\r\n\r\n")
            await more.wait()
            writer.write(b"text")

        up = await world.upstream(scripts.reply(), scripts.reply(), begins)
        async with gateway(way, up) as (gate, connect):
            client = await connect()
            await client.ask()
            await client.ask()
            old = id(gate.generation.settings)
            gate.replace(gate.generation.config)
            await client.send(body=BODY.replace(b"}", b',"content":"%b"}' % (b"q" * 100)))
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert b"200" in head
            gc.collect()
            assert old not in [id(each) for each in gc.get_objects() if isinstance(each, UpstreamSettings)]
            # Neither is a body whose response has begun: its room was given back.
            plans = [each for each in gc.get_objects() if type(each).__name__ == "Exchange"]
            assert [len(each.plan.body) for each in plans if not each.done] == [0]
            held = [each for each in gc.get_objects() if isinstance(each, types.CoroutineType) and each.cr_frame]
            held = [each for each in held if f"{os.sep}waypost{os.sep}" in each.cr_code.co_filename]
            assert not [each for each in held if b"q" * 100 in str(list(each.cr_frame.f_locals.values())).encode()]
            more.set()
            assert await client.reader.readexactly(4) == b"text"

    run(main)


@pytest.mark.parametrize("swallows", [True, False])
def test_a_listener_that_outlives_its_message_ends_no_other(run, scripts, swallows):
    """As middleware may make of `receive`: cancelled, it cleans up, and says that the client has left."""

    async def main(world):
        up = await world.upstream(scripts.reply(b"one"), scripts.reply(b"two"), scripts.reply(b"three"))
        async with gateway("asgi", up) as (gate, connect):
            app = _applications(gate)[0]
            client = await connect()
            await client.ask()
            served = app.middleware_stack
            released = asyncio.Event()

            async def around(scope, receive, send):
                async def stubborn():
                    try:
                        return await receive()
                    except asyncio.CancelledError:
                        if not swallows:
                            raise
                        await released.wait()
                        return {"type": "http.disconnect"}

                await served(scope, stubborn, send)

            app.middleware_stack = around
            assert (await client.ask()).body == b"two"
            await client.send()
            await until(lambda: len(up.requests) == 3)
            released.set()
            assert (await asyncio.wait_for(client.receive(), 5)).body == b"three"

    run(main)


def test_middleware_sees_what_it_would_see(run, scripts, monkeypatch):
    """The shortcut is for an application that the server calls itself."""
    asked = []
    monkeypatch.setattr(AsgiShortcut, "answer", lambda *_: asked.append(_))

    async def main(world):
        up = await world.upstream(scripts.reply())
        async with gateway("shortcut", up) as (gate, connect):
            client = await connect()
            await client.ask()
            await client.ask()
            assert len(asked) == 1
            protocol = next(iter(_protocols(gate)))
            app, seen = protocol.app, []

            async def around(scope, receive, send):
                async def watched(message):
                    seen.append(message["type"])
                    await send(message)

                await app(scope, receive, watched)

            protocol.app = around
            assert (await client.ask()).body == b'{"ok":true}'
            assert seen == ["http.response.start", "http.response.body"]
            assert len(asked) == 1

    run(main)


def _protocols(gate: Any) -> list[Any]:
    """Nothing else knows them."""
    found = [each for each in gc.get_objects() if type(each).__name__ == "Http1"]
    return [each for each in found if getattr(each, "gateway", None) is gate]


def _applications(gate: Any) -> list[Any]:
    found = [each for each in gc.get_objects() if isinstance(each, Starlette)]
    return [each for each in found if getattr(each.state, "gateway", None) is gate]


def test_a_plain_message_takes_few_functions_and_two_native_calls(run, scripts, writes):
    """From the read of its request to the write of its response, connections kept: what its cost comes from."""

    async def main(world):
        up = await world.upstream(scripts.reply())
        async with gateway("fast", up) as (_, connect):
            client = await connect()
            await client.ask()
            await client.ask()
            called: list[str] = []
            package = os.path.dirname(waypost.__file__)  # noqa: PTH120

            def profile(frame: types.FrameType, event: str, arg: Any) -> None:
                if event == "call" and frame.f_code.co_filename.startswith(package):
                    called.append(frame.f_code.co_qualname)
                elif event == "c_call" and type(getattr(arg, "__self__", None)).__module__ == "waypost._native":
                    called.append(f"native {arg.__name__}")

            sys.setprofile(profile)
            try:
                await client.ask()
            finally:
                sys.setprofile(None)
            # The outbox is called once a turn, however many messages there are.
            of_message = [name for name in called if not name.startswith("Outbox.")]
            assert of_message == [
                "Http1.data_received",
                "native feed",
                "Direct.send",
                "Pool.take",
                *(["Connection.alive"] if writes == "at once" else []),
                "Connection.data_received",
                "Http1Sink.received",
                "native answer",
                "Pool.give",
                "Http1.message_done",
            ]

    run(main)
