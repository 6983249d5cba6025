"""The ASGI side: bodies and their limits, refusals, streaming both ways, mounting."""

import asyncio

import pytest

QUERY = {"id": "q1", "kind": "query", "content": "x"}


def test_a_body_over_the_limit_is_refused_by_what_it_declares(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        client = world.client(up, limits={"body": 100})
        answer = await client.send(b"x" * 101)
        assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")
        assert "limits.body" in answer.json["error"]["message"]
        assert answer.complete

    run(body)


def test_a_body_over_the_limit_is_refused_by_what_arrives(run, scripts):
    async def body(world):
        client = world.client(await world.dead(), limits={"body": 100})
        answer = await client.send(pieces=[b"x" * 60, b"x" * 60, b"never looked at"])
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert client.gateway.budget.held == 0

    run(body)


def test_the_answer_to_an_openai_client_is_an_openai_error(run, scripts):
    async def body(world):
        client = world.client(await world.dead(), limits={"body": 100})
        for path in ("/v1/chat/completions", "/v1/messages-of-no-dialect"):
            error = (await client.send(b"x" * 101, path=path)).json["error"]
            assert set(error) == {"message", "type", "param", "code"}
        answer = await client.send(method="GET", path="/nowhere")
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")

    run(body)


def test_bodies_held_at_once_are_bounded(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.hang())
        client = world.client(up, limits={"body": 100, "buffered": 150})
        leave = asyncio.Event()
        message = b'{"id":"a","kind":"query","content":"' + b"x" * 60 + b'"}'
        first = asyncio.ensure_future(client.send(message, leave=leave))
        await up.asked.wait()
        answer = await client.send(message)
        assert (answer.status, answer.json["error"]["code"], answer.headers["retry-after"]) == (503, "overloaded", "1")
        leave.set()
        await first
        assert client.gateway.budget.held == 0

    run(body)


def test_invalid_bodies_name_the_place_and_the_method_its_alternatives(run, scripts):
    async def body(world):
        client = world.client(await world.dead())
        answer = await client.send(b'{"id": "a", "kind": }')
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_json")
        assert answer.json["error"]["offset"] == 20
        answer = await client.send({"id": "a"})
        assert (answer.json["error"]["code"], answer.json["error"]["field"]) == ("invalid_envelope", "kind")
        answer = await client.send(method="GET")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")

    run(body)


def test_a_response_is_relayed_piece_by_piece(run, scripts):
    async def body(world):
        step = asyncio.Event()

        async def script(_, writer):
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for index in range(3):
                writer.write(b"9\r\ndata: %d\n\n\r\n" % index)
                await step.wait()
                step.clear()
            writer.write(b"0\r\n\r\n")

        async def on_chunk(_):
            step.set()

        up = await world.upstream(script)
        answer = await world.client(up).send(QUERY, on_chunk=on_chunk)
        assert answer.chunks == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]
        assert answer.complete

    run(body)


def test_a_client_that_does_not_read_stops_the_upstream(run, scripts):
    async def body(world):
        size = 64 * 1024 * 1024
        read_on = asyncio.Event()
        stuck = asyncio.Event()
        written = 0

        async def script(_, writer):
            nonlocal written
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(64):
                writer.write(b"x" * (size // 64))
                waiting = asyncio.ensure_future(writer.drain())
                done, _ = await asyncio.wait([waiting], timeout=0.5)
                if not done:
                    stuck.set()
                await waiting
                written += size // 64

        async def on_chunk(_):
            await read_on.wait()

        up = await world.upstream(script)
        sending = asyncio.ensure_future(world.client(up).send(QUERY, on_chunk=on_chunk))
        await stuck.wait()
        assert written < size // 2
        read_on.set()
        answer = await sending
        assert (len(answer.body), answer.complete) == (size, True)

    run(body)


@pytest.mark.parametrize("declared", [True, False])
def test_other_bodies_are_streamed_to_the_endpoint(run, scripts, declared):
    async def body(world):
        up = await world.upstream(scripts.reply(b"heard"))
        client = world.client(up, speaks="openai")
        headers = {"content-type": "multipart/form-data; boundary=b"}
        if declared:
            headers["content-length"] = "9"
        answer = await client.send(path="/v1/audio/transcriptions", pieces=[b"abc", b"def", b"ghi"], headers=headers)
        assert (answer.status, answer.body) == (200, b"heard")
        assert up.requests[0].body == b"abcdefghi"
        assert ("content-length" in up.requests[0].headers) is declared

    run(body)


def test_a_get_reaches_the_endpoint_without_a_body(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply(b"[]"))
        answer = await world.client(up, speaks="openai").send(method="GET", path="/v1/models")
        assert (answer.status, answer.body) == (200, b"[]")
        assert "transfer-encoding" not in up.requests[0].headers
        assert "content-length" not in up.requests[0].headers

    run(body)


def test_a_mounted_application_routes_relative_to_its_mount(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        answer = await world.client(up).send(QUERY, path="/ai/v1/envelopes", scope={"root_path": "/ai"})
        assert answer.status == 200
        assert up.requests[0].line == "POST /v1/envelopes HTTP/1.1"

    run(body)


def test_messages_in_flight_end_with_the_configuration_they_began_with(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.hang())
        client = world.client(up)
        other = world.client(await world.upstream(scripts.reply(b'"new"')))
        leave = asyncio.Event()
        first = asyncio.ensure_future(client.send(QUERY, leave=leave))
        await up.asked.wait()
        client.gateway.replace(other.gateway.generation.config)
        assert (await client.send(QUERY)).body == b'"new"'
        assert not up.closed.is_set()
        leave.set()
        await first

    run(body)
