"""Internal calls: a child exchange with its parent's identity, and its response in memory, whole or streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from waypost.answers.actions import ACTIONS
from waypost.answers.call import call
from waypost.errors import WaypostError
from waypost.loop.wheel import Timer
from waypost.sink import CollectSink, Sink

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = b'{"id":"p-1","kind":"query","tenant":"acme","priority":8,"deadline_ms":60000,"content":"?"}'
CHAT = b'{"model":"m","messages":[]}'


def parent(client: Any, body: bytes = PARENT) -> Any:
    headers = [
        (b"host", b"w"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"authorization", b"Bearer client"),
        (b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode()),
    ]
    snapshot = client.gateway.generation.snapshot
    return snapshot.accept("POST", b"/v1/envelopes", headers, client="192.0.2.9").plan(body)


class Streamed(Sink):
    """Gives each piece to the test as it comes."""

    def __init__(self) -> None:
        self.sent = 0
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    def start(self, status, headers):
        self.events.put_nowait(status)

    def data(self, chunk):
        self.events.put_nowait(chunk)

    def end(self, trailers=()):
        self.events.put_nowait("end")

    def abort(self, error):
        self.events.put_nowait(error)


async def collected(client: Any, child: Any, limit: int = 1000) -> CollectSink:
    done = asyncio.Event()
    sink = CollectSink(limit, lambda _: done.set())
    call(client.gateway.runtime(), client.gateway.generation.settings, child, sink)
    await done.wait()
    return sink


def test_a_call_has_a_request_of_its_own_and_what_its_parent_proves(run, scripts, counted):
    async def body(world):
        up = await world.upstream(scripts.reply(b'{"of":"the call"}'))
        client = world.client(up, speaks="openai")
        child = parent(client, PARENT.replace(b'"query"', b'"model"')).child("c0", "step", body=CHAT, dialect="openai")
        sink = await collected(client, child)
        assert (sink.status, sink.body, sink.error) == (200, b'{"of":"the call"}', None)
        (request,) = up.requests
        assert (request.line, request.body) == ("POST /v1/chat/completions HTTP/1.1", CHAT)
        assert (request.headers["x-request-id"], request.headers["content-type"]) == ("p-1", "application/json")
        assert request.headers["traceparent"] == f"00-{TRACE}-b7ad6b7169203331-01"
        assert 0 < int(request.headers["x-waypost-deadline-ms"]) <= 60_000
        assert request.headers["x-forwarded-for"] == "192.0.2.9"
        assert "authorization" not in request.headers
        assert counted(client.gateway, "waypost_internal_calls_total", call="step", result="succeeded") == 1
        assert counted(client.gateway, "waypost_requests_total") == 0

    run(body)


def test_a_call_may_repeat_the_request(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        client = world.client(up)
        await collected(client, parent(client).child("c0", "step"))
        assert (up.requests[0].line, up.requests[0].body) == ("POST /v1/envelopes HTTP/1.1", PARENT)

    run(body)


def test_a_call_may_be_translated(run, scripts):
    async def body(world):
        completion = (
            b'{"model":"m","choices":[{"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}'
        )
        up = await world.upstream(scripts.reply(completion))
        client = world.client(up, speaks="openai", model="m")
        own = b'{"id":"c-1","kind":"model","content":"hi"}'
        child = parent(client, PARENT.replace(b'"query"', b'"model"')).child("c0", "step", body=own, dialect="envelope")
        assert child.action == "translate"
        sink = await collected(client, child)
        assert b'"content":"yes"' in sink.body
        assert up.requests[0].json["messages"] == [{"role": "user", "content": "hi"}]

    run(body)


def test_a_response_is_streamed_and_a_call_can_be_cancelled(run, scripts, counted):
    async def body(world):
        head = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        up = await world.upstream(scripts.hang(head + b"7\r\ndata: 1\r\n"))
        client = world.client(up)
        sink = Streamed()
        gateway = client.gateway
        under_way = call(gateway.runtime(), gateway.generation.settings, parent(client).child("c0", "step"), sink)
        assert [await sink.events.get(), await sink.events.get()] == [200, b"data: 1"]
        under_way.cancel()
        await up.closed.wait()
        assert sink.events.empty()
        assert counted(gateway, "waypost_internal_calls_total", call="step", result="failed") == 1

    run(body)


def test_a_call_that_fails_gives_its_sink_an_error_response(run):
    async def body(world):
        client = world.client(await world.dead())
        sink = await collected(client, parent(client).child("c0", "step"))
        assert sink.status == 502
        assert b"upstream_unreachable" in sink.body

    run(body)


def test_what_is_left_of_the_parents_deadline_bounds_a_call(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.hang())
        client = world.client(up)
        message = parent(client, PARENT.replace(b"60000", b"100"))
        sink = await collected(client, message.child("c0", "step"))
        assert sink.status == 504
        assert b"deadline_exceeded" in sink.body

    run(body)


@pytest.mark.parametrize(
    ("cluster", "how", "reason"),
    [
        ("none", {}, "cannot take such a message"),
        ("c0", {"body": CHAT, "dialect": "openai"}, "cannot take such a message"),
        ("c0", {"body": CHAT, "dialect": "latin"}, "there is no dialect"),
        ("c0", {"body": CHAT, "kind": "thing"}, "there is no kind"),
    ],
)
def test_a_child_that_cannot_be_is_a_value_error(run, cluster, how, reason):
    async def body(world):
        client = world.client("http://127.0.0.1:9")
        with pytest.raises(ValueError, match=reason):
            parent(client).child(cluster, "step", **how)
        with pytest.raises(ValueError, match="there is no purpose"):
            parent(client).child("c0", "fun")

    run(body)


def test_every_action_that_a_plan_can_name_is_there():
    assert set(ACTIONS) == {"forward", "translate", "reply"}


def test_a_sink_that_keeps_a_response_bounds_it(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply(b"x" * 100))
        client = world.client(up)
        sink = await collected(client, parent(client).child("c0", "step"), limit=10)
        assert isinstance(sink.error, WaypostError)

    run(body)


@pytest.mark.parametrize("answers", [True, False])
def test_the_wheel_keeps_nothing_of_a_call_that_is_over(run, scripts, answers):
    """Its old deadline, two minutes away, would keep the call's body so long."""

    async def body(world):
        up = await world.upstream(scripts.reply(b"{}") if answers else scripts.send(b"junk\r\n\r\n"))
        client = world.client(up)
        child = parent(client).child("c0", "mirror")
        sink = await collected(client, child)
        assert sink.status == (200 if answers else 502)
        wheel = client.gateway.runtime().wheel
        assert not [timed for bucket in wheel._buckets.values() for timed in bucket if isinstance(timed, Timer)]

    run(body)
