"""Request bodies: what arrives counts, whatever the head says; and what is done about clients that stop sending."""

import asyncio

import pytest
from waypost.entry import asgi
from waypost.errors import WaypostError
from waypost.exchange.direct import Direct
from waypost.exchange.exchange import Exchange
from waypost.loop import stall

QUERY = {"id": "q1", "kind": "query", "content": "x"}
H2 = {"http_version": "2"}
UPLOAD = {"path": "/v1/audio/transcriptions", "headers": {"content-type": "multipart/form-data; boundary=b"}}


def upload(**fields):
    return {**UPLOAD, "headers": {**UPLOAD["headers"], **fields}}


def test_a_body_without_a_length_is_routed_and_framed(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        answer = await world.client(up).send(QUERY, scope=H2)
        assert answer.status == 200
        assert up.requests[0].json == QUERY
        assert up.requests[0].headers["content-length"] == str(len(up.requests[0].body))

    run(body)


def test_a_streamed_body_without_a_length_is_chunked(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        answer = await world.client(up, speaks="openai").send(pieces=[b"abc", b"def"], scope=H2, **UPLOAD)
        assert answer.status == 200
        assert (up.requests[0].body, up.requests[0].headers["transfer-encoding"]) == (b"abcdef", "chunked")

    run(body)


def test_a_body_in_one_piece_without_a_length_is_given_one(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        assert (await world.client(up, speaks="openai").send(b"abc", scope=H2, **UPLOAD)).status == 200
        assert (up.requests[0].body, up.requests[0].headers["content-length"]) == (b"abc", "3")

    run(body)


@pytest.mark.parametrize("scope", [H2, {}])
def test_a_get_without_a_body_is_sent_on_without_one(run, scripts, scope):
    async def body(world):
        up = await world.upstream(scripts.reply())
        answer = await world.client(up, speaks="openai").send(method="GET", path="/v1/models", scope=scope)
        assert answer.status == 200
        assert "transfer-encoding" not in up.requests[0].headers
        assert up.requests[0].headers.get("content-length", "0") == "0"

    run(body)


@pytest.mark.parametrize("length", ["3", "300"])
def test_a_body_that_is_not_as_long_as_declared_is_refused(run, scripts, length):
    async def body(world):
        up = await world.upstream(scripts.reply())
        answer = await world.client(up).send(QUERY, headers={"content-length": length})
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad_framing")
        assert answer.headers["connection"] == "close"
        answer = await world.client(up, speaks="openai").send(b"abcd", **upload(**{"content-length": length}))
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad_framing")
        assert up.connections == 0

    run(body)


@pytest.mark.parametrize(("pieces", "seen"), [([b"abc", b"defghi"], b"abc"), ([b"abc", b""], b"abc")])
def test_a_streamed_body_never_goes_beyond_what_was_declared(run, scripts, pieces, seen):
    async def body(world):
        got = b""
        gone = asyncio.Event()

        async def serve(reader, writer):
            nonlocal got
            await reader.readuntil(b"\r\n\r\n")
            try:
                while data := await reader.read(100):
                    got += data
            finally:
                gone.set()

        client = world.client(await world.raw(serve), speaks="openai")
        answer = await client.send(pieces=pieces, **upload(**{"content-length": "5"}))
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad_framing")
        await gone.wait()
        assert got in (b"", seen)  # closing at once may outrun what was written

    run(body)


def test_a_streamed_body_that_runs_over_cuts_a_response_that_has_begun(run, scripts):
    async def body(world):
        more = asyncio.Event()

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
            await reader.read(100)
            await reader.read()

        async def on_chunk(_):
            more.set()

        client = world.client(await world.raw(serve), speaks="openai")
        request = upload(**{"content-length": "5"})
        answer = await client.send(pieces=[b"abc", more, b"defghi"], on_chunk=on_chunk, **request)
        assert (answer.status, answer.body, answer.complete) == (200, b"abc", False)

    run(body)


@pytest.mark.parametrize("unbuffered", [True, False])
def test_a_body_that_stops_arriving_is_refused_and_released(run, scripts, monkeypatch, unbuffered):
    async def body(world):
        monkeypatch.setattr(asgi, "_DISCARD_TIME", 0.05)
        client = world.client(await world.dead(), speaks="openai", listen={"body_timeout": "50ms"})
        never = asyncio.Event()
        if unbuffered:
            answer = await client.send(pieces=[never, b"x"], **UPLOAD)
        else:
            answer = await client.send(pieces=[b'{"model":', never, b'"m"}'], path="/v1/chat/completions")
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad_framing")
        assert "stopped arriving" in answer.json["error"]["message"]
        assert (answer.headers["connection"], answer.complete) == ("close", True)
        assert client.gateway.budget.held == 0
        assert len(client.gateway.runtime().wheel) == 0

    run(body)


def test_bytes_now_and_then_are_no_stall(run, scripts, monkeypatch):
    begun = []
    restart = stall.Stall.restart
    monkeypatch.setattr(stall.Stall, "restart", lambda self: (begun.append(self), restart(self)))

    async def body(world):
        up = await world.upstream(scripts.reply())
        pieces = []
        for byte in b'{"id":"a","kind":"query"}':
            ready = asyncio.Event()
            asyncio.get_running_loop().call_later(0.02 * len(pieces) / 2, ready.set)
            pieces += [ready, bytes([byte])]
        assert (await world.client(up).send(pieces=pieces)).status == 200
        assert len(begun) > len(pieces) / 2, "the time starts again with each byte"

    run(body)


def test_being_cancelled_while_reading_is_no_stall(run, scripts):
    async def body(world):
        client = world.client(await world.dead())
        reading = asyncio.Event()

        class Reading(asyncio.Event):
            async def wait(self):
                reading.set()
                return await super().wait()

        task = asyncio.ensure_future(client.send(pieces=[b"{", Reading(), b"}"]))
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.gateway.budget.held == 0

    run(body)


def test_a_message_waits_for_others_to_release_their_bodies(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.hang(), scripts.reply())
        client = world.client(up, limits={"body": 100, "buffered": 150})
        leave = asyncio.Event()
        message = b'{"id":"a","kind":"query","content":"' + b"x" * 60 + b'"}'
        first = asyncio.ensure_future(client.send(message, leave=leave))
        await up.asked.wait()
        others = [asyncio.ensure_future(client.send(message)) for _ in range(3)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(other.done() for other in others)
        assert client.gateway.budget.held == len(message)
        leave.set()
        assert [(await other).status for other in others] == [200, 200, 200]
        await first
        assert client.gateway.budget.held == 0

    run(body)


def test_a_refused_request_keeps_its_id(run, scripts):
    async def body(world):
        client = world.client(await world.dead())
        answer = await client.send(QUERY, path="/nowhere", headers={"x-request-id": "mine"})
        assert (answer.status, answer.headers["x-request-id"], answer.json["id"]) == (404, "mine", "mine")
        answer = await client.send(QUERY, path="/nowhere")
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.headers["x-request-id"] == answer.json["id"]

    run(body)


def test_a_refused_request_closes_the_connection_only_if_much_of_its_body_is_to_come(run, scripts, monkeypatch):
    monkeypatch.setattr(asgi, "_DISCARD_TIME", 0.05)

    async def body(world):
        client = world.client(await world.dead())
        never = asyncio.Event()
        for kept in ({"method": "GET"}, {"body": b"{}"}, {"pieces": [b"{}"]}):
            assert "connection" not in (await client.send(path="/nowhere", **kept)).headers
        answer = await client.send(path="/nowhere", pieces=[b"{", never, b"}"])
        assert (answer.headers["connection"], answer.complete) == ("close", True)
        answer = await client.send(path="/nowhere", pieces=[b"{", never, b"}"], scope=H2)
        assert "connection" not in answer.headers

    run(body)


class Headless:
    """A plan whose heads cannot be written."""

    def __init__(self, plan, error):
        self._plan = plan
        self._error = error

    def __getattr__(self, name):
        return getattr(self._plan, name)

    def head(self, *_, **__):
        raise self._error

    request = head

    def depart(self):
        return self._plan.begin(), None


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (WaypostError("bad_framing", "a field that cannot be sent"), 400, "bad_framing"),
        (ValueError("a defect"), 500, "internal"),
    ],
    ids=["bad_framing", "defect"],
)
@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_head_that_cannot_be_written_is_answered_at_once(
    run, scripts, monkeypatch, error, status, code, reused, streamed, counted
):
    async def body(world):
        up = await world.upstream(scripts.reply())
        client = world.client(up, speaks="openai")
        if reused:
            assert (await client.send(method="GET", path="/v1/models")).status == 200

        def begin(self, settings, plan, *rest, **more):
            carry(self, settings, Headless(plan, error), *rest, **more)

        carry = Direct.begin
        monkeypatch.setattr(Direct, "begin", begin)
        pieces = [b"abc", b"def"] if streamed else [b"abc"]
        answer = await client.send(pieces=pieces, **UPLOAD)
        assert (answer.status, answer.json["error"]["code"], answer.complete) == (status, code, True)
        await up.closed.wait()
        runtime = client.gateway.runtime()
        assert len(runtime.pool) == 0
        assert counted(client.gateway, "waypost_errors_total", code=code) == 1
        assert len(up.requests) == reused

    run(body)


def test_an_exchange_that_cannot_begin_is_answered_and_released(run, scripts, monkeypatch):
    async def body(world):
        client = world.client(await world.dead())

        def begin(*_):
            raise ValueError("a defect")

        monkeypatch.setattr(Exchange, "begin", begin)
        answer = await client.send(QUERY)
        assert (answer.status, answer.json["error"]["code"]) == (500, "internal")
        assert client.gateway.budget.held == 0

    run(body)


def test_a_deadline_may_be_a_day(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        assert (await world.client(up).send(QUERY | {"deadline_ms": 86_400_000})).status == 200
        assert 86_000_000 < int(up.requests[0].headers["x-waypost-deadline-ms"]) <= 86_400_000

    run(body)
