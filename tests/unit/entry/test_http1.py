"""The fast path within uvicorn: what goes over it and what does not, its timeouts, and what it is refused with."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from starlette.applications import Starlette
from waypost import create_app
from waypost.config import from_dict
from waypost.entry import http1, uvicorn_internals
from waypost.entry.asgi import DataPath
from waypost.entry.http1 import fast_path

from ..support import until  # noqa: TID252
from .support import running

PLAIN = b'POST /v1/envelopes HTTP/1.1\r\nhost: h\r\ncontent-length: 27\r\n\r\n{"id":"q1","kind":"query" }'
SLOW = PLAIN.replace(b"host: h", b"host: h\r\nexpect: 100-continue")
TRAILERS = (
    b"POST /v1/envelopes HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    b'1a\r\n{"id":"q1","kind":"query"}\r\n0\r\nx: y\r\n'
)


def config(url, speaks="envelope", **more):
    clusters = {"one": {"speaks": speaks, "endpoints": [url]}}
    routes = [{"name": "all", "match": {"path": [{"prefix": "/"}]}, "to": "one"}]
    return from_dict({"clusters": clusters, "routes": routes, "access_log": "off", **more})


@contextlib.asynccontextmanager
async def serving(app, *, fast=True, **settings):
    """A running uvicorn; gives its port."""
    async with running(app, fast_path(app, fast=fast), **settings) as (_, port):
        yield port


async def exchange(port, *pieces):
    """Send `pieces`, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.fixture
def asgi_messages(monkeypatch):
    """Paths of the messages that reach the ASGI application."""
    seen = []
    call = DataPath.__call__

    async def counted(self, scope, receive, send):
        seen.append(scope["path"])
        await call(self, scope, receive, send)

    monkeypatch.setattr(DataPath, "__call__", counted)
    return seen


CLOSE = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"


def test_plain_messages_pass_by_the_application(run, scripts, asgi_messages):
    async def body(world):
        up = await world.upstream(scripts.reply())
        async with serving(create_app(config(up.url))) as port:
            assert (await exchange(port, PLAIN, PLAIN, CLOSE)).count(b"HTTP/1.1 200 OK") == 3
            assert (len(up.requests), asgi_messages) == (2, [])
            assert b"HTTP/1.1 200 OK" in await exchange(port, SLOW, CLOSE)
            assert (len(up.requests), asgi_messages) == (3, ["/v1/envelopes"])
        async with serving(create_app(config(up.url)), fast=False) as port:
            await exchange(port, PLAIN, CLOSE)
            assert (len(up.requests), len(asgi_messages)) == (4, 2)

    run(body)


def test_there_is_none_where_uvicorn_believes_forwarded_addresses(run, scripts, asgi_messages, caplog):
    async def body(world):
        up = await world.upstream(scripts.reply())
        async with serving(create_app(config(up.url)), proxy_headers=True) as port:
            await exchange(port, PLAIN, CLOSE)
            await exchange(port, PLAIN, CLOSE)
        assert len(asgi_messages) == 2
        assert [record.message for record in caplog.records if "fast path is off" in record.message] != []

    run(body)


def test_uvicorns_limit_of_concurrency_is_kept(run, scripts, asgi_messages):
    async def body(world):
        up = await world.upstream(scripts.reply())
        async with serving(create_app(config(up.url)), limit_concurrency=1) as port:
            assert b"HTTP/1.1 503 " in await exchange(port, PLAIN)
        assert up.requests == []

    run(body)


def test_uvicorns_own_fields(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = create_app(config(up.url))
        async with serving(app, headers=[("x-own", "1")], server_header=False) as port:
            fast = await exchange(port, PLAIN.replace(b"host: h", b"host: h\r\nconnection: close"))
            slow = await exchange(port, SLOW.replace(b"host: h", b"host: h\r\nconnection: close"))
        assert slow.startswith(b"HTTP/1.1 100 ")
        for answer in (fast, slow.partition(b"\r\n\r\n")[2]):
            assert answer.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
            assert b"\r\nx-own: 1\r\n" in answer

    run(body)


class Recorded:
    """A transport that remembers what was written at once."""

    def __init__(self, transport, writes):
        self._transport = transport
        self._writes = writes

    def write(self, data):
        self._writes.append(bytes(data))
        self._transport.write(data)

    def writelines(self, pieces):
        self._writes.append(b"".join(pieces))
        self._transport.writelines(pieces)

    def __getattr__(self, name):
        return getattr(self._transport, name)


@pytest.fixture
def writes(monkeypatch):
    """What the servers of the test write to clients, call by call."""
    seen = []
    made = http1.Http1.connection_made
    monkeypatch.setattr(http1.Http1, "connection_made", lambda self, transport: made(self, Recorded(transport, seen)))
    return seen


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("size", [20, 100_000])
def test_a_response_that_is_there_leaves_in_one_piece(run, scripts, writes, fast, size):
    reply = b'{"ok":"%b"}' % (b"x" * size)

    async def body(world):
        up = await world.upstream(scripts.send(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(reply), reply), close=False
        ))  # fmt: skip
        async with serving(create_app(config(up.url)), fast=fast) as port:
            await exchange(port, PLAIN.replace(b"host: h", b"host: h\r\nconnection: close"))
        head, _, first = writes[0].partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert first[:20] == reply[:20]

    run(body)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_response_is_written_before_it_counts_as_complete(run, scripts, writes, monkeypatch, method):
    written = []
    complete = http1.Http1.on_response_complete

    def completed(self):
        complete(self)
        written.append(len(writes))

    monkeypatch.setattr(http1.Http1, "on_response_complete", completed)

    async def body(world):
        up = await world.upstream(scripts.reply())
        async with serving(create_app(config(up.url))) as port:
            health = b"%b /healthz HTTP/1.1\r\nhost: h\r\n\r\n" % method
            assert (await exchange(port, health, CLOSE)).count(b"HTTP/1.1 200 OK") == 2
        assert written == [1, 2]

    run(body)


def test_a_head_does_not_wait_for_a_body_that_does_not_come(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.hang(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"))
        async with serving(create_app(config(up.url)), fast=False) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PLAIN)
            assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 200 OK\r\n"
            writer.close()

    run(body)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("sent", "limit", "what"),
    [
        (b"POST /v1/envelopes HTTP/1.1\r\nhost: ", "header_timeout", b"head stopped arriving"),
        (PLAIN[:-1], "body_timeout", b"body stopped arriving"),
        (
            PLAIN[:-1].replace(b"host", b"content-type: audio/wav\r\nhost").replace(b"envelopes", b"x"),
            "body_timeout",
            b"",
        ),
        (TRAILERS, "header_timeout", b"trailers stopped arriving"),
        (
            TRAILERS.replace(b"envelopes", b"x").replace(b"host", b"content-type: audio/wav\r\nhost"),
            "header_timeout",
            b"",
        ),
    ],
    ids=["head", "body", "upload", "trailers", "trailers of an upload"],
)
def test_slow_clients_are_answered_and_disconnected(run, scripts, fast, sent, limit, what):
    if not fast and limit == "body_timeout":
        pytest.skip("the ASGI application's own matter, tested there")

    async def body(world):
        up = await world.upstream(scripts.reply())
        app = create_app(config(up.url, "openai" if b"audio" in sent else "envelope", listen={limit: "50ms"}))
        async with serving(app, fast=fast) as port:
            answer = await exchange(port, sent)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert what in answer
            assert b"bad_framing" in answer
        assert app.state.gateway.budget.held == 0
        assert up.requests == []

    run(body)


def test_connections_that_wait_are_closed_in_silence(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = create_app(config(up.url, listen={"header_timeout": "50ms"}))
        async with serving(app, timeout_keep_alive=0) as port:
            assert await exchange(port) == b""
            assert (await exchange(port, PLAIN)).count(b"HTTP/1.1 ") == 1

    run(body)


@pytest.mark.parametrize("state", ["linger", "skip"])
def test_a_stop_loses_no_answer_whose_client_still_sends(run, state):
    upload = (
        b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-type: audio/wav\r\ncontent-length: 100000\r\n\r\nRIFF"
        if state == "skip"
        else b"nonsense\r\n\r\n"
    )

    async def answer_at_once(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        while await reader.read(1 << 16):
            pass
        writer.close()

    async def body(world):
        up = await asyncio.start_server(answer_at_once, "127.0.0.1", 0)
        app = create_app(config(f"http://127.0.0.1:{up.sockets[0].getsockname()[1]}", "openai"))
        async with up, running(app, fast_path(app)) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(upload)
            await until(lambda: [each for each in server.server_state.connections if each._state == state])
            (connection,) = server.server_state.connections
            connection.shutdown()
            # A connection that is closed while bytes come is reset, and the client may never see the answer.
            for _ in range(5):
                writer.write(b"x" * 1000)
                await asyncio.sleep(0)
            assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 ")
            writer.close()
            await until(lambda: not server.server_state.connections)

    run(body)


def test_a_client_that_leaves_gives_back_what_it_held(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = create_app(config(up.url))
        async with serving(app) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PLAIN[:-3])
            await until(lambda: app.state.gateway.budget.held > 0)
            writer.close()
            await until(lambda: app.state.gateway.budget.held == 0)

    run(body)


def test_a_full_budget_sends_a_message_the_long_way_where_it_can_wait(run, scripts, asgi_messages):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = create_app(config(up.url))
        budget = app.state.gateway.budget
        async with serving(app) as port:
            held = app.state.gateway.generation.buffered_limit
            assert budget.take(held, held)
            waiting = asyncio.ensure_future(exchange(port, PLAIN[:-1], PLAIN[-1:], CLOSE))
            await until(lambda: asgi_messages)
            budget.give(held)
            assert (await waiting).count(b"HTTP/1.1 200 ") == 2
        assert budget.held == 0

    run(body)


def test_only_an_application_that_nothing_stands_around_has_a_fast_path():
    app = create_app(config("http://127.0.0.1:1"))
    app.add_middleware(lambda app: app)
    with pytest.raises(ValueError, match="middleware"):
        fast_path(app)
    with pytest.raises(ValueError, match="create_app"):
        fast_path(Starlette())


def test_what_is_used_of_uvicorn_is_looked_for(monkeypatch):
    assert uvicorn_internals._missing() == []
    monkeypatch.delattr(uvicorn_internals.HttpToolsProtocol, "on_message_begin")
    monkeypatch.setitem(uvicorn_internals._ATTRIBUTES, uvicorn_internals.RequestResponseCycle, ("renamed",))
    monkeypatch.setitem(uvicorn_internals._PARAMETERS, uvicorn_internals.RequestResponseCycle, ("scope", "gone"))
    assert uvicorn_internals._missing() == [
        "HttpToolsProtocol.on_message_begin", "RequestResponseCycle.renamed", "RequestResponseCycle(gone=)"
    ]  # fmt: skip
