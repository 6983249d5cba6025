"""Native model envelopes at clusters that speak OpenAI, and errors in each dialect."""

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waypost.dialects.envelope_openai import translate_request
from waypost.dialects.errors import render_error
from waypost.dialects.sse import SseReader
from waypost.errors import EnvelopeError, UpstreamError, WaypostError

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class Cluster:
    """Stands in for the extension's `Cluster`, which only a whole configuration can make."""

    name = "local"
    model = None


def envelope(**fields):
    return orjson.dumps({"id": "m1", "kind": "model", "model": "m", **fields})


def translate(**fields):
    return orjson.loads(translate_request(envelope(**fields), Cluster))


def test_what_content_becomes():
    user = [{"role": "user", "content": "hi"}]
    assert translate(content="hi") == {"messages": user, "model": "m"}
    assert translate(content=user) == {"messages": user, "model": "m"}
    assert translate(content={"messages": user, "temperature": 0.5})["temperature"] == 0.5
    made = translate(content="hi", agent="a", labels={"tier": "gold", "n": 7, "on": True}, stream=True)
    assert (made["user"], made["stream"]) == ("a", True)
    assert made["metadata"] == {"tier": "gold", "n": "7", "on": "true"}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"content": 7}, "content"),
        ({}, "content"),
        ({"content": {}}, "content"),
        ({"content": []}, "content"),
        ({"content": ["hi"]}, "content[0]"),
        ({"content": {"messages": [{"role": "user"}, {}]}}, "content.messages[1]"),
        ({"content": {"messages": [{"role": "user"}], "model": "other"}}, "content.model"),
        ({"content": "hi", "model": None}, "model"),
    ],
)
def test_what_cannot_be_translated_names_its_field(fields, where):
    with pytest.raises(EnvelopeError) as caught:
        translate(**fields)
    assert (caught.value.code, caught.value.field) == ("invalid_envelope", where)


def test_a_reply_becomes_a_native_reply(run, scripts):
    async def body(world):
        reply = {
            "model": "m-2",
            "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
            "usage": {"total_tokens": 3},
        }
        up = await world.upstream(scripts.reply(orjson.dumps(reply)))
        answer = await world.client(up, speaks="openai", model="default").send(
            {"id": "m1", "kind": "model", "content": "hi"}
        )
        assert up.requests[0].line == "POST /v1/chat/completions HTTP/1.1"
        assert up.requests[0].json["model"] == "default"
        assert answer.json == {
            "id": "m1",
            "route": "all",
            "cluster": "c0",
            "result": {
                "role": "assistant",
                "content": "yes",
                "finish_reason": "stop",
                "model": "m-2",
                "usage": {"total_tokens": 3},
            },
        }
        assert answer.headers["content-length"] == str(len(answer.body))

    run(body)


@pytest.mark.parametrize(
    ("status", "reply", "expected"),
    [
        (
            400,
            b'{"error":{"message":"too long","type":"invalid_request_error","code":"ctx"}}',
            (400, "ctx", "too long"),
        ),
        (404, b'{"error":"no such model"}', (404, "upstream_protocol", "no such model")),
        (500, b"<html>", (500, "upstream_protocol", None)),
        (200, b"<html>", (502, "upstream_protocol", None)),
        (200, b'{"choices":[]}', (502, "upstream_protocol", None)),
    ],
)
def test_errors_and_unusable_replies_become_native_errors(run, scripts, status, reply, expected):
    async def body(world):
        up = await world.upstream(scripts.reply(reply, status))
        answer = await world.client(up, speaks="openai").send(envelope(content="hi"))
        error = answer.json["error"]
        assert (answer.status, error["code"], answer.complete) == (expected[0], expected[1], True)
        assert expected[2] in (None, error["message"])

    run(body)


def events(body):
    return [orjson.loads(line.removeprefix(b"data: ")) for line in body.split(b"\n\n") if line]


def chunk(delta=None, **more):
    return b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta or {}, **more}]}) + b"\n\n"


def test_a_stream_becomes_native_events(run, scripts):
    async def body(world):
        tool = {"tool_calls": [{"index": 0, "function": {"name": "f"}}]}
        stream = (
            chunk({"role": "assistant", "content": ""})
            + b": ping\n\n"
            + chunk({"content": "a"})
            + chunk(tool)
            + chunk({}, finish_reason="stop")
            + b'data: {"choices":[],"usage":{"total_tokens":5}}\n\ndata: [DONE]\n\n'
        )
        up = await world.upstream(scripts.send(SSE_HEAD + stream))
        answer = await world.client(up, speaks="openai").send(envelope(content="hi", stream=True))
        assert events(answer.body) == [
            {"id": "m1", "delta": "a"},
            {"id": "m1", "delta": tool},
            {"id": "m1", "done": True, "finish_reason": "stop", "usage": {"total_tokens": 5}},
        ]
        assert answer.complete
        assert answer.headers["content-type"].startswith("text/event-stream")

    run(body)


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (b"", "upstream_protocol"),
        (b"data: not json\n\n", "upstream_protocol"),
        (b'data: {"error":{"message":"out of memory","code":"oom"}}\n\n', "oom"),
    ],
)
def test_a_stream_that_breaks_says_so_and_is_not_completed(run, scripts, rest, code):
    async def body(world):
        up = await world.upstream(scripts.send(SSE_HEAD + chunk({"content": "a"}) + rest))
        answer = await world.client(up, speaks="openai").send(envelope(content="hi", stream=True))
        first, last = events(answer.body)
        assert (first["delta"], last["error"]["code"], answer.complete) == ("a", code, False)

    run(body)


def test_an_endpoint_that_does_not_stream_is_streamed_for(run, scripts):
    async def body(world):
        reply = b'{"choices":[{"message":{"role":"assistant","content":"all"},"finish_reason":"stop"}]}'
        up = await world.upstream(scripts.reply(reply))
        answer = await world.client(up, speaks="openai").send(envelope(content="hi", stream=True))
        assert [event.get("delta", "done") for event in events(answer.body)] == ["all", "done"]

    run(body)


LINES = st.lists(
    st.sampled_from([b"data: a", b"data:b", b"data", b"data:  c", b": comment", b"event: x", b"", b"", b"dat", b"d:a"]),
    max_size=12,
)


@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 80), max_size=6))
def test_sse_gives_the_same_events_for_any_split_and_line_ending(lines, ending, cuts):
    def read(pieces):
        reader = SseReader(1000)
        return [event for piece in pieces for event in reader.feed(piece)]

    stream = b"".join(line + ending for line in lines)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    expected = []
    data = []
    for line in lines:
        name, _, value = line.partition(b":")
        if not line:
            expected += [b"\n".join(data)] if data else []
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    assert read(pieces) == read([stream]) == expected


def test_an_endless_event_is_an_error():
    reader = SseReader(100)
    for _ in range(12):
        assert reader.feed(b"data: x\n") == []
    with pytest.raises(UpstreamError):
        reader.feed(b"data: x\n")


def test_errors_in_each_dialect():
    error = EnvelopeError("invalid_envelope", "bad", 3, "kind")
    status, headers, body = render_error("envelope", error, "m1")
    assert (status, orjson.loads(body)) == (
        400,
        {"id": "m1", "error": {"code": "invalid_envelope", "message": "bad", "offset": 3, "field": "kind"}},
    )
    assert (b"content-length", b"%d" % len(body)) in headers
    _, _, body = render_error("openai", error, "m1")
    assert orjson.loads(body) == {
        "error": {"message": "bad", "type": "invalid_request_error", "param": "kind", "code": "invalid_envelope"}
    }
    assert (b"retry-after", b"1") in render_error("json", WaypostError("overloaded", "x"), "i")[1]
    assert (b"connection", b"close") in render_error("json", WaypostError("bad_framing", "x"), "i")[1]
