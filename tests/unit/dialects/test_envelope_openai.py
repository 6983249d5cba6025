"""Native model envelopes at clusters that speak OpenAI, and errors in each dialect."""

import asyncio

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waypost.dialects.errors import render_error
from waypost.dialects.pairs.envelope_openai import translate_request
from waypost.errors import EnvelopeError, WaypostError
from waypost.exchange import attempt

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
        ({"content": {"messages": [{"role": "user"}], "n": 2}}, "content.n"),
        ({"content": {"messages": [{"role": "user"}], "n": True}}, "content.n"),
        ({"content": {"messages": {}}}, "content"),
        ({"content": "hi", "model": None}, "model"),
    ],
)
def test_what_cannot_be_translated_names_its_field(fields, where):
    with pytest.raises(EnvelopeError) as caught:
        translate(**fields)
    assert (caught.value.code, caught.value.field) == ("invalid_envelope", where)


def test_only_a_missing_model_is_replaced_by_the_clusters():
    class Default(Cluster):
        model = "default"

    assert orjson.loads(translate_request(envelope(content="hi", model=None), Default))["model"] == "default"
    assert orjson.loads(translate_request(envelope(content="hi", model=""), Default))["model"] == ""


def test_one_result_may_be_asked_for():
    user = [{"role": "user"}]
    assert translate(content={"messages": user, "n": 1})["n"] == 1
    assert translate(content={"messages": user, "n": None})["n"] is None


NUMBERS = [b"18446744073709551617", b"-9223372036854775809", b"0.1000000000000000055511151231257827", b"1e400", b"-0.0"]


@pytest.mark.parametrize("number", NUMBERS)
def test_no_number_loses_a_digit(number):
    message = b'{"role":"user","seed":' + number + b"}"
    for content in (b"[" + message + b"]", b'{"messages":[' + message + b'],"seed": ' + number + b"}"):
        made = translate_request(b'{"id":"m1","kind":"model","model":"m","content":' + content + b"}", Cluster)
        assert made.count(number) == content.count(number)
    body = b'{"id":"m1","kind":"model","model":"m","content":"hi","labels":{"n":' + number + b"}}"
    assert orjson.loads(translate_request(body, Cluster))["metadata"] == {"n": number.decode()}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(
    st.builds(lambda role, more: {**more, "role": role}, TEXT, st.dictionaries(TEXT, JSON, max_size=3)), min_size=1
)


@given(MESSAGES, st.dictionaries(TEXT, JSON, max_size=3), st.dictionaries(TEXT, JSON, max_size=3))
def test_what_is_copied_means_the_same(messages, more, labels):
    assert translate(content=messages) == {"messages": messages, "model": "m"}
    for owned in ("n", "model", "stream", "user", "metadata"):
        more.pop(owned, None)
    more["messages"] = messages
    made = translate(content=more, labels=labels)
    metadata = made.pop("metadata", {})
    assert made == {**more, "model": "m"}
    assert set(metadata) == set(labels)
    for name, value in labels.items():
        assert metadata[name] == value if isinstance(value, str) else orjson.loads(metadata[name]) == value


def test_content_too_deep_to_be_copied_is_refused():
    content = b"[" * 2000 + b"]" * 2000
    body = b'{"id":"m1","kind":"model","model":"m","content":{"messages":[{"role":"user"}],"x":' + content + b"}}"
    with pytest.raises(EnvelopeError) as caught:
        translate_request(body, Cluster)
    assert (caught.value.code, caught.value.field) == ("invalid_envelope", "content")


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
    ("status", "reply", "told"),
    [
        (
            400,
            b'{"error":{"message":"too long","type":"invalid_request_error","code":"ctx"}}',
            ("ctx", "invalid_request_error", "too long"),
        ),
        (404, b'{"error":"no such model"}', (None, None, "no such model")),
        (422, b'{"error":{"message":"bad","code":7}}', (7, None, "bad")),
        (429, b'{"error":{"type":"slow_down"}}', (None, "slow_down", None)),
        (
            400,
            b'{"object":"error","message":"bad","type":"BadRequestError","code":400}',
            (400, "BadRequestError", "bad"),
        ),
        (500, b'{"detail":"bad"}', (None, None, "bad")),
        (500, b'{"detail":[{"msg":"bad"}],"message":"worse"}', (None, None, "worse")),
        (500, b'{"detail":[{"msg":"bad"}]}', (None, None, None)),
        (500, b"<html>", (None, None, None)),
    ],
)
def test_an_error_keeps_its_status_and_what_it_says(run, scripts, status, reply, told):
    async def body(world):
        up = await world.upstream(scripts.reply(reply, status))
        answer = await world.client(up, speaks="openai").send(envelope(content="hi"))
        assert (answer.status, answer.json["id"], answer.complete) == (status, "m1", True)
        error = answer.json["error"]
        code, kind, message = told
        assert error["code"] == "upstream_error"
        assert error["upstream"] == {"status": status, "code": code, "type": kind, "message": message}
        assert error["message"] == f"cluster c0 answered {status}" + (f": {message}" if message else "")

    run(body)


@pytest.mark.parametrize(("status", "reply"), [(200, b"<html>"), (200, b'{"choices":[]}'), (302, b"{}"), (204, b"")])
def test_an_unusable_reply_is_a_502(run, scripts, status, reply):
    async def body(world):
        up = await world.upstream(scripts.reply(reply, status))
        answer = await world.client(up, speaks="openai").send(envelope(content="hi"))
        assert (answer.status, answer.json["error"]["code"], answer.complete) == (502, "upstream_protocol", True)

    run(body)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_credential_is_not_the_clients(run, scripts, caplog, status, stream):
    async def body(world):
        secret = b'{"error":{"message":"Incorrect API key provided: sk-live-1234"}}'
        up = await world.upstream(scripts.reply(secret, status, 'www-authenticate: Bearer realm="x"\r\n'))
        client = world.client(up, speaks="openai")
        answer = await client.send(envelope(content="hi", stream=stream))
        assert answer.status == 502
        assert answer.json["error"] == {
            "code": "upstream_protocol",
            "message": "cluster c0 rejected the credential of its configuration",
        }
        assert "www-authenticate" not in answer.headers
        (record,) = caplog.records
        assert str(status) in record.getMessage()
        assert up.url in record.getMessage()
        assert "sk-live" not in record.getMessage()
        answer = await client.send({"model": "m"}, path="/v1/chat/completions")
        assert (answer.status, answer.body) == (status, secret)

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


STOP = chunk({}, finish_reason="stop")
TEXT_A = chunk({"content": "a"})
DONE = b"data: [DONE]\n\n"


def plain(event):
    """A whole chunk as the one event that it is, however it is written."""
    return event.removeprefix(b"data: ").removesuffix(b"\n\n")


async def streamed(world, script, **fields):
    up = await world.upstream(script)
    return await world.client(up, speaks="openai").send(envelope(content="hi", stream=True, **fields))


@pytest.mark.parametrize(
    "stream",
    [
        TEXT_A + STOP + DONE,
        TEXT_A + STOP,
        TEXT_A + STOP + b"data: [DONE]",
        TEXT_A + STOP + b"data:[DONE]\r\n",
        TEXT_A + STOP.removesuffix(b"\n\n"),
        TEXT_A + STOP.removesuffix(b"\n"),
        b"\xef\xbb\xbf" + (TEXT_A + STOP + DONE).replace(b"\n", b"\r\n"),
        (TEXT_A + STOP + DONE).replace(b"\n", b"\r"),
        (TEXT_A + STOP).replace(b"data: ", b"data:"),
        b": hello\n\n:\n" + TEXT_A + b": OPENROUTER PROCESSING\n\n" + STOP,
        b"event: completion\nid: 7\nretry: 3\n" + TEXT_A + b"id: 8\n\nretry: 3\n\ndata:\n\ndata\n\n" + STOP,
        b"event: ping\ndata: {}\n\n" + TEXT_A + b"event: ping\ndata: now\n\n" + STOP,
        b'data: {"error": null}\n\ndata: {"error": {}}\n\ndata: {}\n\n' + TEXT_A + STOP,
        b"data: " + plain(TEXT_A).replace(b",", b",\ndata: ") + b"\n\n" + STOP,
        chunk({"content": "a"}, finish_reason="") + chunk({}, finish_reason="stop") + chunk({}, finish_reason=None),
        b'data: {"choices":null}\n\ndata: {"choices":[{"delta":null}]}\n\n' + TEXT_A + STOP,
        # What comes after the finish reason and is cut off was not text.
        TEXT_A + STOP + b'data: {"usage": {"total_tok',
    ],
)
def test_whole_text_ends_well_however_the_endpoint_writes_it(run, scripts, stream):
    async def body(world):
        answer = await streamed(world, scripts.send(SSE_HEAD + stream))
        assert events(answer.body) == [
            {"id": "m1", "delta": "a"},
            {"id": "m1", "done": True, "finish_reason": "stop"},
        ]
        assert answer.complete

    run(body)


def test_an_event_may_be_as_long_as_a_reply(run, scripts, counted):
    """2.4 MB in one event: over any buffer, under `limits.body`."""
    text = "x" * 1_200_000 + "\u00e9" * 600_000

    async def body(world):
        answer = await streamed(world, scripts.send(SSE_HEAD + chunk({"content": text}) + STOP + DONE))
        first, last = events(answer.body)
        assert (first["delta"] == text, last["done"], answer.complete) == (True, True, True)

    run(body)


def test_an_event_over_the_limit_is_an_error_that_names_it(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.hang(CHUNKED + framed(TEXT_A) + framed(b"data: " + b"x" * 5000)))
        client = world.client(up, speaks="openai", limits={"body": "4KiB"})
        answer = await client.send(envelope(content="hi", stream=True))
        first, last = events(answer.body)
        assert (first["delta"], answer.complete) == ("a", False)
        assert last["error"]["code"] == "upstream_protocol"
        assert last["error"]["message"].endswith("an event of the stream is longer than limits.body, which is 4KiB")

    run(body)


@pytest.mark.parametrize("usage", [b"", b'data: {"choices":[],"usage":{"total_tokens":5}}\n\n'])
def test_text_is_whole_after_its_finish_reason_whatever_happens_to_the_connection(run, scripts, counted, usage):
    async def body(world):
        up = await world.upstream(scripts.send(CHUNKED + framed(TEXT_A + STOP + usage)))
        client = world.client(up, speaks="openai")
        answer = await client.send(envelope(content="hi", stream=True))
        last = {"id": "m1", "done": True, "finish_reason": "stop", **({"usage": {"total_tokens": 5}} if usage else {})}
        assert events(answer.body) == [{"id": "m1", "delta": "a"}, last]
        assert answer.complete
        totals = ("waypost_requests_total", "waypost_clients_gone_total", "waypost_responses_aborted_total")
        assert [counted(client.gateway, name) for name in totals] == [1, 0, 0]

    run(body)


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (b"", "upstream_protocol"),
        (b"data: not json\n\n", "upstream_protocol"),
        (b"data: null\n\n", "upstream_protocol"),
        (b'data: {"choices":[{"delta":{"content":"b"', "upstream_protocol"),
        (b'data: {"error":{"message":"out of memory","code":"oom"}}\n\n', "upstream_error"),
        (b'data: {"error":"out of memory"}\n\n', "upstream_error"),
        (b'data: {"error":"out of memory"}', "upstream_error"),
        (b'event: error\ndata: {"type":"oom","message":"out of memory"}\n\n', "upstream_error"),
        (b'event: error\ndata: {"error":{"message":"out of memory"}}\n\n', "upstream_error"),
        (b"event: error\ndata: out of memory\n\n", "upstream_error"),
        (STOP + b'data: {"error":"out of memory"}\n\n', "upstream_error"),
        (b'data: {"object":"error","message":"out of memory","code":500}\n\ndata: [DONE]\n\n', "upstream_error"),
    ],
)
def test_a_stream_that_breaks_says_so_and_is_not_completed(run, scripts, rest, code):
    async def body(world):
        answer = await streamed(world, scripts.send(SSE_HEAD + TEXT_A + rest))
        first, last = events(answer.body)
        assert (first["delta"], last["error"]["code"], answer.complete) == ("a", code, False)
        if code == "upstream_error":
            assert last["error"]["upstream"]["message"] == "out of memory"
            assert last["error"]["message"].startswith("cluster c0: ")

    run(body)


@pytest.mark.parametrize(
    ("stream", "code", "said"),
    [
        (b"", "upstream_protocol", "without an event"),
        (b"event: x\n\n", "upstream_protocol", "without an event"),
        (b"event: x\ndata: {}\n\n", "upstream_protocol", "without a finish_reason"),
        (b"data: <html>\n\n", "upstream_protocol", "not JSON"),
        (b'data: {"error":{"message":"too long","code":"ctx"}}\n\n', "upstream_error", "too long"),
        (b'data: {"object":"error","message":"too long"}\n\ndata: [DONE]\n\n', "upstream_error", "too long"),
    ],
)
def test_a_stream_that_fails_before_its_text_is_an_error_of_its_own(run, scripts, stream, code, said):
    async def body(world):
        answer = await streamed(world, scripts.send(SSE_HEAD + stream))
        assert (answer.status, answer.json["error"]["code"], answer.complete) == (502, code, True)
        assert answer.json["error"]["message"].startswith("cluster c0: ")
        assert said in answer.json["error"]["message"]
        assert answer.headers["content-type"] == "application/json"

    run(body)


def test_comments_keep_the_client_alive_too(run, scripts):
    async def body(world):
        heard = asyncio.Event()

        async def script(_, writer):
            writer.write(SSE_HEAD + b": processing\n\n")
            await heard.wait()
            writer.write(TEXT_A + STOP)
            writer.close()

        async def on_chunk(piece):
            if piece == b":\n\n":
                heard.set()

        up = await world.upstream(script)
        client = world.client(up, speaks="openai", timeout={"stream_comment": "100ms"})
        answer = await client.send(envelope(content="hi", stream=True), on_chunk=on_chunk)
        assert (answer.chunks[0], answer.complete) == (b":\n\n", True)

    run(body)


PARTS = [{"type": "thinking", "thinking": "a"}]


@pytest.mark.parametrize(
    ("stream", "delta"),
    [
        (chunk({"role": "assistant", "content": PARTS}), {"role": "assistant", "content": PARTS}),
        (b'data: {"choices":[{"message":{"role":"assistant","content":"a"},"finish_reason":null}]}\n\n', "a"),
    ],
    ids=["parts", "a message instead of a delta"],
)
def test_no_form_of_content_is_lost(run, scripts, stream, delta):
    async def body(world):
        answer = await streamed(world, scripts.send(SSE_HEAD + stream + STOP + DONE))
        assert [event.get("delta") for event in events(answer.body)] == [delta, None]
        assert answer.complete

    run(body)


def test_a_silence_that_is_too_long_is_told_as_it_was(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.hang(SSE_HEAD + TEXT_A))
        client = world.client(up, speaks="openai", timeout={"stream_idle": "60ms", "idle": "50s"})
        answer = await client.send(envelope(content="hi", stream=True))
        error = events(answer.body)[-1]["error"]
        assert (error["code"], error["message"]) == (
            "upstream_timeout",
            "cluster c0: nothing more of the response within 0.06 s",
        )

    run(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_200_that_reports_an_error_is_an_error(run, scripts, stream):
    async def body(world):
        up = await world.upstream(scripts.reply(b'{"error":{"message":"out of memory","type":"server_error"}}'))
        answer = await world.client(up, speaks="openai").send(envelope(content="hi", stream=stream))
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_error")
        assert answer.json["error"]["message"] == "cluster c0 answered with an error: out of memory"
        assert answer.json["error"]["upstream"]["status"] == 200

    run(body)


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def framed(data):
    return b"%x\r\n" % len(data) + data + b"\r\n"


def test_the_last_event_ends_the_reply_although_the_endpoint_does_not(run, scripts, monkeypatch, counted):
    async def body(world):
        monkeypatch.setattr(attempt, "_LINGER", 0.05)
        last = chunk({"content": "a"}) + b"data: [DONE]\n\ndata: more\n\n"
        up = await world.upstream(scripts.hang(CHUNKED + framed(last)))
        client = world.client(up, speaks="openai")
        answer = await client.send(envelope(content="hi", stream=True))
        assert [event.get("delta", "done") for event in events(answer.body)] == ["a", "done"]
        assert answer.complete
        await up.closed.wait()
        totals = ("waypost_requests_total", "waypost_clients_gone_total", "waypost_responses_aborted_total")
        assert [counted(client.gateway, name) for name in totals] == [1, 0, 0]

    run(body)


def test_a_connection_whose_response_ends_after_the_last_event_is_kept(run, scripts):
    async def body(world):
        on = asyncio.Event()

        async def script(_, writer):
            writer.write(CHUNKED + framed(b"data: [DONE]\n\n"))
            await on.wait()
            writer.write(framed(b": bye\n\n") + b"0\r\n\r\n")

        up = await world.upstream(script)
        client = world.client(up, speaks="openai")
        assert (await client.send(envelope(content="hi", stream=True))).complete
        pool = client.gateway.runtime().pool
        assert len(pool) == 0
        on.set()
        while len(pool) == 0:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        assert (await client.send(envelope(content="hi", stream=True))).complete
        assert up.connections == 1

    run(body)


def test_an_endpoint_that_does_not_stream_is_streamed_for(run, scripts):
    async def body(world):
        reply = b'{"choices":[{"message":{"role":"assistant","content":"all"},"finish_reason":"stop"}]}'
        up = await world.upstream(scripts.reply(reply))
        answer = await world.client(up, speaks="openai").send(envelope(content="hi", stream=True))
        assert [event.get("delta", "done") for event in events(answer.body)] == ["all", "done"]

    run(body)


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
