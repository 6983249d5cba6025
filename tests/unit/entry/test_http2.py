"""HTTP/2 within uvicorn: its timeouts, and what a client that takes nothing costs."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from waypost import create_app
from waypost.config import from_dict
from waypost.entry import http2, negotiation, uvicorn_internals
from waypost.entry.http1 import fast_path

from ..support import until  # noqa: TID252
from .support import running

OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
GOAWAY = 7
# GET http://h/v1/files, by indexed and literal fields (RFC 7541).
HEAD = b"\x82\x86\x41\x01h\x44\x09/v1/files"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def frames(data):
    """Types of the frames."""
    out = []
    while data:
        out.append(data[3])
        data = data[9 + int.from_bytes(data[:3]) :]
    return out


@contextlib.asynccontextmanager
async def serving(url, listen=None, **settings):
    """A running uvicorn; gives a connection to it."""
    clusters = {"one": {"speaks": "openai", "endpoints": [url]}}
    routes = [{"name": "all", "match": {"path": [{"prefix": "/"}]}, "to": "one"}]
    app = create_app(from_dict({"clusters": clusters, "routes": routes, "access_log": "off", "listen": listen or {}}))
    async with running(app, fast_path(app), **settings) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield server, reader, writer
        finally:
            writer.close()


@pytest.mark.parametrize("rest", [b"", b"\0\0\xff\1"], ids=["nothing", "half a head"])
@pytest.mark.parametrize("limit", ["ours", "uvicorn's"])
def test_a_connection_without_a_stream_is_closed(run, scripts, rest, limit):
    listen = {"header_timeout": "50ms"} if limit == "ours" else {}

    async def body(world):
        up = await world.upstream(scripts.reply())
        async with serving(up.url, listen, timeout_keep_alive=0 if limit != "ours" else 100) as (_, reader, writer):
            writer.write(OPENING + rest)
            assert GOAWAY in frames(await asyncio.wait_for(reader.read(), 10))

    run(body)


def test_that_bytes_keep_coming_keeps_no_connection(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        async with serving(up.url, {"header_timeout": "100ms"}) as (_, reader, writer):
            writer.write(OPENING)

            async def drip():
                while True:
                    writer.write(frame(6, 0, 0, b"12345678"))  # PING
                    await asyncio.sleep(0.01)

            task = asyncio.ensure_future(drip())
            with contextlib.suppress(ConnectionResetError):
                assert GOAWAY in frames(await asyncio.wait_for(reader.read(), 10))
            task.cancel()

    run(body)


def test_a_client_that_takes_no_answer_loses_its_stream(run, scripts, monkeypatch):
    monkeypatch.setattr(http2, "_CLOSE_TIME", 0.05)

    async def body(world):
        # The response has been read to its end, and its last bytes exceed the window.
        up = await world.upstream(scripts.reply(body=b"\xee" * 65_600))
        async with serving(up.url) as (_, reader, writer):
            writer.write(OPENING + frame(1, 5, 1, HEAD))
            data = b""
            while b"\0\0\4\3\0\0\0\0\1" not in data:  # RST_STREAM
                piece = await asyncio.wait_for(reader.read(1 << 16), 10)
                assert piece
                data += piece
            assert data.count(b"\xee") == 65535

    run(body)


def test_nothing_is_read_while_the_client_takes_nothing(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        async with serving(up.url) as (server, reader, writer):
            writer.write(OPENING)
            await asyncio.wait_for(reader.readexactly(9), 10)
            (protocol,) = server.server_state.connections
            # What the event loop calls where 64 KiB wait to be sent.
            protocol.pause_writing()
            assert protocol.flow.read_paused
            protocol.resume_reading_if_idle()
            assert protocol.flow.read_paused
            protocol.resume_writing()
            assert not protocol.flow.read_paused

    run(body)


def test_what_is_used_of_zttp_is_looked_for(monkeypatch):
    assert uvicorn_internals._missing() == []
    monkeypatch.delattr(uvicorn_internals.ZttpH2Protocol, "handle_events")
    assert uvicorn_internals._missing() == ["ZttpH2Protocol.handle_events"]


@pytest.mark.parametrize("length", range(25))
def test_the_preface_is_recognized_however_it_comes(length):
    preface = OPENING[:24]
    assert negotiation.begins_http2(preface[:length]) is (True if length == 24 else None)
    assert negotiation.begins_http2(preface[:length] + b"?") is (length == 24)


def test_a_client_that_is_refused_http2_does_not_keep_the_connection(run, scripts, monkeypatch):
    monkeypatch.setattr(negotiation, "HTTP2", False)

    async def body(world):
        up = await world.upstream(scripts.reply())
        async with serving(up.url) as (server, reader, writer):
            writer.write(OPENING)
            assert b"400 Bad Request" in await asyncio.wait_for(reader.read(), 10)
            # The client has the answer, and leaves the connection open.
            await until(lambda: not server.server_state.connections)

    run(body)
