"""Which attempts are made, seen from the upstreams and from the client."""

import asyncio
import socket

import pytest

QUERY = {"id": "q1", "kind": "query", "content": "x"}
TOOL = {"id": "t1", "kind": "tool", "tool": "pay", "content": {}}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def test_a_message_is_forwarded_as_it_is_and_connections_are_kept(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply(b'{"id":"q1","result":7}', extra="x-waypost-route: forged\r\n"))
        client = world.client(up)
        for _ in range(3):
            answer = await client.send(QUERY)
            assert (answer.status, answer.json, answer.complete) == (200, {"id": "q1", "result": 7}, True)
        assert up.requests[0].json == QUERY
        assert up.connections == 1
        assert answer.headers["x-request-id"] == "q1"
        assert answer.headers["x-waypost-route"] == "all"
        assert answer.headers["x-waypost-cluster"] == "c0"
        assert answer.headers["x-waypost-attempts"] == "1"

    run(body)


@pytest.mark.parametrize("message", [QUERY, TOOL])
def test_a_connect_error_always_moves_on(run, scripts, message):
    async def body(world):
        up = await world.upstream(scripts.reply())
        answer = await world.client(await world.dead(), up).send(message)
        assert (answer.status, answer.headers["x-waypost-cluster"]) == (200, "c1")
        assert answer.headers["x-waypost-attempts"] == "2"

    run(body)


def test_nothing_reachable_is_a_502_that_names_the_cluster_and_a_warning_that_names_the_url(run, scripts, caplog):
    async def body(world):
        url = await world.dead()
        answer = await world.client(url).send(QUERY)
        assert answer.status == 502
        assert answer.json["id"] == "q1"
        assert answer.json["error"]["code"] == "upstream_unreachable"
        message = answer.json["error"]["message"]
        assert message == "cluster c0: connection refused: nothing listens there"
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("waypost", "WARNING")
        assert f"cluster c0: {url}: connection refused" in record.getMessage()
        assert answer.headers["x-waypost-route"] == "all"

    run(body)


def test_a_death_before_the_response_moves_on_only_if_the_message_is_idempotent(run, scripts):
    async def body(world):
        first = await world.upstream(scripts.send(b""))
        second = await world.upstream(scripts.reply())
        client = world.client(first, second)
        assert (await client.send(QUERY)).status == 200
        answer = await client.send(TOOL)
        assert answer.status == 502
        assert answer.json["error"]["code"] == "upstream_protocol"
        assert "before responding" in answer.json["error"]["message"]
        assert len(second.requests) == 1
        assert len(first.requests) == 2

    run(body)


def test_a_pooled_connection_that_dies_under_an_idempotent_message_is_replaced(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply(), scripts.send(b""), scripts.reply())
        client = world.client(up)
        assert (await client.send(QUERY)).status == 200
        answer = await client.send(QUERY)
        assert answer.status == 200
        assert answer.headers["x-waypost-attempts"] == "2"
        assert up.connections == 2

    run(body)


def test_a_pooled_connection_that_dies_under_a_tool_call_is_not_tried_again(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply(), scripts.send(b""), scripts.reply())
        client = world.client(up)
        assert (await client.send(TOOL)).status == 200
        assert (await client.send(TOOL)).status == 502
        assert len(up.requests) == 2

    run(body)


def test_a_connection_closed_while_idle_is_noticed_before_it_is_used(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        client = world.client(up)
        assert (await client.send(TOOL)).status == 200
        up.writers[0].get_extra_info("socket").shutdown(
            socket.SHUT_RDWR
        )  # and the event loop gets no chance to tell the pool
        answer = await client.send(TOOL)
        assert (answer.status, answer.headers["x-waypost-attempts"]) == (200, "1")
        assert up.connections == 2

    run(body)


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529])
def test_a_refusal_moves_on_for_idempotent_messages(run, scripts, status):
    async def body(world):
        first = await world.upstream(scripts.reply(b"busy", status))
        second = await world.upstream(scripts.reply())
        client = world.client(first, second)
        assert (await client.send(QUERY)).status == 200
        tool = await client.send(TOOL)
        assert (tool.status, tool.body, tool.headers["x-waypost-cluster"]) == (status, b"busy", "c0")

    run(body)


def test_if_all_refuse_the_last_response_is_forwarded_as_it_is(run, scripts):
    async def body(world):
        first = await world.upstream(scripts.reply(b"one", 503))
        second = await world.upstream(scripts.reply(b"two", 429, "retry-after: 9\r\n"))
        answer = await world.client(first, second).send(QUERY)
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (429, b"two", "9")
        answer = await world.client(first, await world.dead()).send(QUERY)
        assert (answer.status, answer.body, answer.headers["x-waypost-cluster"]) == (503, b"one", "c0")
        assert answer.headers["x-waypost-attempts"] == "2"

    run(body)


def test_a_model_that_dies_after_its_head_is_replaced_before_the_client_sees_it(run, scripts):
    async def body(world):
        first = await world.upstream(scripts.send(HEAD))
        second = await world.upstream(scripts.send(HEAD + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"))
        client = world.client(first, second, speaks="openai")
        answer = await client.send({"model": "m", "stream": True}, path="/v1/chat/completions")
        assert (answer.status, answer.body, answer.complete) == (200, b"data: 1\n\n", True)
        assert answer.headers["x-waypost-cluster"] == "c1"

    run(body)


@pytest.mark.parametrize("framing", [HEAD + b"3\r\nabc\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"])
def test_a_response_that_stops_short_is_never_completed(run, scripts, framing, counted):
    async def body(world):
        first = await world.upstream(scripts.send(framing))
        second = await world.upstream(scripts.reply())
        client = world.client(first, second)
        answer = await client.send(QUERY)
        assert (answer.status, answer.body, answer.complete) == (200, b"abc", False)
        assert second.requests == []
        assert counted(client.gateway, "waypost_responses_aborted_total") == 1

    run(body)


def test_the_messages_deadline_bounds_the_wait_and_is_sent_on(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.hang())
        answer = await world.client(up).send({**QUERY, "deadline_ms": 80})
        assert answer.status == 504
        assert answer.json["error"]["code"] == "deadline_exceeded"
        assert 1 <= int(up.requests[0].headers["x-waypost-deadline-ms"]) <= 80
        await up.closed.wait()

    run(body)


@pytest.mark.parametrize(("which", "data"), [("first_byte", b""), ("total", b"")])
def test_a_timeout_is_a_504_and_closes_the_connection(run, scripts, which, data):
    async def body(world):
        up = await world.upstream(scripts.hang(data))
        answer = await world.client(up, timeout={which: "60ms"}).send(QUERY)
        assert answer.status == 504
        assert answer.json["error"]["code"] == "upstream_timeout"
        assert "0.06 s" in answer.json["error"]["message"]
        await up.closed.wait()

    run(body)


@pytest.mark.parametrize(("content_type", "key"), [(b"text/event-stream", "stream_idle"), (b"text/plain", "idle")])
def test_an_endpoint_that_goes_silent_in_its_response_is_cut_off(run, scripts, content_type, key):
    async def body(world):
        head = HEAD.replace(b"text/event-stream", content_type)
        up = await world.upstream(scripts.hang(head + b"3\r\nabc\r\n"))
        answer = await world.client(up, timeout={key: "60ms"}).send(QUERY)
        assert (answer.status, answer.body, answer.complete) == (200, b"abc", False)
        await up.closed.wait()

    run(body)


@pytest.mark.parametrize("data", [b"", HEAD + b"3\r\nabc\r\n"])
def test_a_client_that_leaves_closes_the_upstream_connection(run, scripts, data, counted):
    async def body(world):
        up = await world.upstream(scripts.hang(data))
        client = world.client(up)
        leave = asyncio.Event()
        sending = asyncio.ensure_future(client.send(QUERY, leave=leave))
        await up.asked.wait()
        leave.set()
        await up.closed.wait()
        assert not (await sending).complete
        assert counted(client.gateway, "waypost_clients_gone_total") == 1

    run(body)


def test_malformed_responses_are_never_forwarded(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"))
        answer = await world.client(up).send(TOOL)
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_protocol")

    run(body)


def test_nothing_is_left_on_the_timer_wheel(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        client = world.client(up, await world.dead())
        await client.send(QUERY)
        runtime = client.gateway.runtime()
        # The pool, for its idle connection, and what carried the message, until another one or its bucket's turn.
        assert len(runtime.wheel) == 2
        assert (len(runtime.pool), len(runtime.spare)) == (1, 1)
        client.gateway.close()
        assert (len(runtime.wheel), len(runtime.pool)) == (0, 0)

    run(body)
