"""Messages over connections that are kept: those that go directly, and those to which something happens on the way.

Each over the fast path, over ASGI with the server's hand, and over ASGI alone: it must make no difference.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from waypost import create_app
from waypost.asgi_sink import AsgiSink
from waypost.config import from_dict
from waypost.exchange.exchange import Exchange
from waypost.fastpath import fast_path
from waypost.fastpath.carrier import Carrier
from waypost.fastpath.hand import Hand

BODY = b'{"id":"q1","kind":"query"}'
HEAD = b"HTTP/1.1 200 OK\r\n"
WAYS = ["fast", "hand", "asgi"]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


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

    async def send(self, method: str = "POST") -> None:
        head = f"{method} /v1/envelopes HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
        self.writer.write(f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY)
        await self.writer.drain()

    async def receive(self) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head[:-4].split("\r\n")
        headers = {name: value for name, _, value in (field.partition(": ") for field in fields)}
        body, whole = b"", True
        try:
            if "content-length" in headers:
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

    async def connect() -> Client:
        clients.append(Client(*await asyncio.open_connection(*server.servers[0].sockets[0].getsockname()[:2])))
        return clients[-1]

    try:
        yield app.state.gateway, connect
    finally:
        for client in clients:
            client.writer.close()
        await server.shutdown()


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
@pytest.mark.parametrize(("method", "status"), [("POST", 204), ("POST", 304), ("POST", 404), ("POST", 299)])
def test_statuses_that_are_answers(run, scripts, exchanges, way, method, status):
    length = b"" if status == 204 else b"content-length: 4\r\n"
    wire = b"HTTP/1.1 %d X\r\n%b\r\n%b" % (status, length, b"" if status in (204, 304) else b"body")

    async def main(world):
        up = await world.upstream(scripts.reply(), scripts.send(wire, close=False))
        async with gateway(way, up) as (_, connect):
            client = await connect()
            await client.ask()
            for _ in range(2):
                await client.send(method)
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
def test_a_defect_is_answered(run, scripts, monkeypatch, counted, way):
    def defect(*_: Any) -> None:
        raise ValueError("a defect")

    async def main(world):
        up = await world.upstream(scripts.reply())
        async with gateway(way, up) as (gate, connect):
            client = await connect()
            await client.ask()
            with monkeypatch.context() as patch:
                patch.setattr(Carrier if way == "fast" else AsgiSink, "answer", defect)
                reply = await client.ask()
            assert (reply.status, b'"internal"' in reply.body) == (500, True)
            assert len(gate.runtime().pool) == 0
            assert (await client.ask()).status == 200
            assert counted(gate, "waypost_errors_total", code="internal") == 1

    run(main)


def test_middleware_sees_what_it_would_see(run, scripts, monkeypatch):
    """The hand is for an application that the server calls itself."""
    asked = []
    monkeypatch.setattr(Hand, "answer", lambda *_: asked.append(_))

    async def main(world):
        up = await world.upstream(scripts.reply())
        async with gateway("hand", up) as (gate, connect):
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
    import gc  # noqa: PLC0415 - nothing else knows them

    return [
        each
        for each in gc.get_objects()
        if type(each).__name__ == "Protocol" and getattr(each, "gateway", None) is gate
    ]
