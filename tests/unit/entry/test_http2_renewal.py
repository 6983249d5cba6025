"""Connections over HTTP/2 that live longer than zttp lets them."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from hypothesis import given
from hypothesis import strategies as st
from waypost import create_app
from waypost.config import from_dict
from waypost.entry import http2
from waypost.entry.http1 import fast_path
from waypost.entry.http2_renewal import FrameCursor, frame, greeting

from ..support import until  # noqa: TID252
from .support import running

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BODY = b'{"model":"m","x":"' + b"y" * 3000 + b'"}'


class Client:
    """Keeps `width` requests under way on one connection, and writes in pieces of any length."""

    def __init__(self, reader, writer, width, *, cancels=False):
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.reader, self.writer, self.width, self.cancels = reader, writer, width, cancels
        self.statuses, self.open, self.bytes, self.goodbye = {}, set(), 0, None
        self.random = random.Random(7)  # noqa: S311
        self.h2.initiate_connection()

    def begin(self):
        number = self.h2.get_next_available_stream_id()
        self.open.add(number)
        fields = [(":method", "POST"), (":path", "/v1/chat/completions"), (":scheme", "http"), (":authority", "h")]
        self.h2.send_headers(number, [*fields, ("content-type", "application/json"), ("x-n", str(number))])
        self.h2.send_data(number, BODY, end_stream=True)

    async def run(self, count):
        begun = 0
        while len(self.statuses) < count and self.goodbye is None:
            while begun < count and len(self.open) < self.width and self.h2.outbound_flow_control_window > 4000:
                self.begin()
                begun += 1
            data = self.h2.data_to_send()
            while data:
                size = self.random.randrange(1, 4000)
                self.writer.write(data[:size])
                await asyncio.sleep(0)
                data = data[size:]
            got = await asyncio.wait_for(self.reader.read(1 << 16), 20)
            assert got
            for event in self.h2.receive_data(got):
                self.take(event)

    def take(self, event):
        if isinstance(event, ConnectionTerminated):
            self.goodbye = event
        elif isinstance(event, ResponseReceived):
            self.statuses[event.stream_id] = dict(event.headers)[":status"]
            if self.cancels:
                self.open.discard(event.stream_id)
                self.h2.reset_stream(event.stream_id, 8)
        elif isinstance(event, DataReceived):
            self.bytes += len(event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded | StreamReset):
            self.open.discard(event.stream_id)


@contextlib.asynccontextmanager
async def client(url, width, **how):
    clusters = {"one": {"speaks": "openai", "endpoints": [url]}}
    routes = [{"name": "all", "match": {"path": [{"prefix": "/"}]}, "to": "one"}]
    app = create_app(from_dict({"clusters": clusters, "routes": routes, "access_log": "off"}))
    async with running(app, fast_path(app)) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield Client(reader, writer, width, **how), server
        finally:
            writer.close()


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(http2, "_RENEW_AFTER", (20, 10))
    monkeypatch.setattr(http2, "_HOLD_AFTER", (40, 20))
    renewed = []
    renew = http2.renewed

    def counted(*how):
        renewed.append(how)
        return renew(*how)

    monkeypatch.setattr(http2, "renewed", counted)
    return renewed


@pytest.mark.parametrize("width", [1, 3, 20])
def test_no_call_is_lost_and_no_window_leaks(run, scripts, soon, width):
    async def body(world):
        up = await world.upstream(scripts.reply(body=b"\xee" * 2500))
        async with client(up.url, width) as (one, server):
            await one.run(400)
            # More than the windows of a connection in both directions, several times.
            assert set(one.statuses.values()) == {"200"}
            assert (len(one.statuses), one.goodbye, one.open) == (400, None, set())
            assert one.bytes == 400 * 2500
            assert len(server.server_state.connections) == 1
        assert [request.body for request in up.requests] == [BODY] * 400
        assert len(soon) >= 5

    run(body)


def test_a_client_that_cancels_keeps_its_connection(run, scripts, soon):
    async def body(world):
        up = await world.upstream(scripts.reply(body=b"\xee" * 100_000))
        async with client(up.url, 4, cancels=True) as (one, _):
            await one.run(300)
            assert (len(one.statuses), one.goodbye) == (300, None)
        assert len(soon) >= 5

    run(body)


def test_a_connection_that_is_never_without_a_stream_is_retired(run, scripts, soon, monkeypatch):
    monkeypatch.setattr(http2, "_HOLD_TIME", 0.05)

    async def body(world):
        up = await world.upstream(scripts.hang(), scripts.reply())
        async with client(up.url, 3) as (one, server):
            await one.run(1000)
            # The numbers of all streams that were begun: others may be sent again, elsewhere.
            assert one.goodbye.error_code == 0
            begun = {number for number in one.statuses if number <= one.goodbye.last_stream_id}
            assert set(one.statuses) == begun
            assert one.goodbye.last_stream_id < 2 * 45
            assert len(server.server_state.connections) == 1  # the first stream goes on

    run(body)


CALL = b"\x82\x86\x41\x01h\x44\x09/v1/files"  # GET http://h/v1/files (RFC 7541)
GOAWAY = 7


@contextlib.asynccontextmanager
async def held_back(world, scripts):
    """A connection with a stream that goes on, on which new streams wait; and its protocol."""
    up = await world.upstream(scripts.hang())
    async with client(up.url, 1) as (one, server):
        one.writer.write(PREFACE + frame(4, 0, 0) + b"".join(frame(1, 5, 2 * n + 1, CALL) for n in range(60)))
        await until(lambda: any(getattr(each, "_first_waiting", 0) for each in server.server_state.connections))
        (protocol,) = server.server_state.connections
        yield one, protocol


def test_streams_that_wait_do_so_for_a_limited_time_beside_others_that_begin(run, scripts, soon, monkeypatch):
    monkeypatch.setattr(http2, "_HOLD_TIME", 0.05)

    async def body(world):
        # The read that brings the first stream which waits also brings the ones before it.
        async with held_back(world, scripts) as (one, _):
            kind = None
            while kind != GOAWAY:
                head = await asyncio.wait_for(one.reader.readexactly(9), 20)
                await one.reader.readexactly(int.from_bytes(head[:3]))
                kind = head[3]

    run(body)


def test_a_retired_connection_keeps_nothing_of_new_streams(run, scripts, soon, monkeypatch):
    monkeypatch.setattr(http2, "_HOLD_LIMIT", 1 << 16)

    async def body(world):
        async with held_back(world, scripts) as (one, protocol):
            for _ in range(100):
                one.writer.write(frame(0, 0, 119, bytes(1 << 14)))
                await one.writer.drain()
                await asyncio.sleep(0)
            await until(lambda: protocol._frames.between)
            assert protocol._retired
            assert len(protocol._waiting) == 0
            assert len(protocol.cycles) > 0

    run(body)


frames = st.lists(
    st.builds(frame, st.integers(0, 9), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=40)),
    max_size=8,
)


@given(frames, st.lists(st.integers(1, 30), max_size=30))
def test_frames_are_found_however_they_come(sent, sizes):
    data = PREFACE + b"".join(sent)
    cursor = FrameCursor()
    found, at = [], 0
    for size in [*sizes, len(data)]:
        piece = data[at : at + size]
        here = 0
        while here < len(piece):
            end, kind, stream, whole_head = cursor.next(piece, here)
            assert end > here
            if kind >= 0:
                found.append((kind, stream))
            assert not whole_head or piece[here + 3] == kind
            here = end
        at += size
    assert found == [(one[3], int.from_bytes(one[5:9])) for one in sent]
    assert cursor.between


def test_the_greeting_offers_no_websocket_and_no_table():
    settings = bytes.fromhex("000300000080 000800000001 000100001000".replace(" ", ""))
    changed = greeting(frame(4, 0, 0, settings) + b"rest")
    assert changed == frame(4, 0, 0, bytes.fromhex("000300000080 000100000000".replace(" ", ""))) + b"rest"
