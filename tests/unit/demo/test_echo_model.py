"""The echo model answers the official clients in their own shapes, and refuses in the dialect of the path."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anthropic
import openai
import pytest
from waypost.demo.echo import MAX_PIECES, Echo
from waypost.demo.echo_model import create_app
from waypost.demo.server import Server, bind

from .support import in_a_thread


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    @asynccontextmanager
    async def serving() -> AsyncIterator[str]:
        sock = bind()
        server = Server(create_app(), sock)
        await server.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        await server.stop()

    with in_a_thread(serving()) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def strict(answer: Any) -> Any:
    """The clients build their objects unchecked; this checks that nothing is missing or of a wrong type."""
    return type(answer).model_validate(answer.to_dict())


def request(url: str, method: str, path: str, body: bytes | Any) -> tuple[int, dict[str, str], bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, data, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


HI: Any = [{"role": "user", "content": "hi there"}]


class TestChat:
    def test_echoes_the_last_user_message_and_the_model(self, client: openai.OpenAI) -> None:
        messages: Any = [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": "ok"},
        ]
        answer = strict(client.chat.completions.create(model="m-1", messages=messages))
        assert answer.choices[0].message.content == "You said: second [image_url] (echoed by m-1)"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.model == "m-1"
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0

    def test_stops_at_max_tokens(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.create(model="m-1", messages=HI, max_completion_tokens=2)
        assert answer.choices[0].message.content == "You said"
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 2

    def test_streams_the_same_text_in_several_chunks(self, client: openai.OpenAI) -> None:
        with client.chat.completions.create(model="m-1", messages=HI, stream=True) as stream:
            chunks = [strict(chunk) for chunk in stream]
        deltas = [chunk.choices[0].delta.content or "" for chunk in chunks]
        assert "".join(deltas) == "You said: hi there (echoed by m-1)"
        assert sum(map(bool, deltas)) > 1
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
        assert len({chunk.id for chunk in chunks}) == 1
        assert all("usage" not in chunk.to_dict() for chunk in chunks)

    def test_streams_usage_last_where_asked(self, client: openai.OpenAI) -> None:
        options: Any = {"include_usage": True}
        with client.chat.completions.create(model="m", messages=HI, stream=True, stream_options=options) as stream:
            chunks = [strict(chunk) for chunk in stream]
        assert chunks[-1].choices == []
        assert chunks[-1].usage.total_tokens > 0
        assert all(chunk.to_dict()["usage"] is None for chunk in chunks[:-1])

    def test_a_stream_ends_with_done(self, url: str) -> None:
        body = {"model": "m", "messages": HI, "stream": True}
        status, headers, raw = request(url, "POST", "/v1/chat/completions", body)
        assert status == 200
        assert headers["content-type"].startswith("text/event-stream")
        events = raw.split(b"\n\n")
        assert events[-2:] == [b"data: [DONE]", b""]
        assert all(event.startswith(b"data: {") for event in events[:-2])


class TestCompletions:
    def test_answers_each_prompt(self, client: openai.OpenAI) -> None:
        answer = strict(client.completions.create(model="m", prompt=["a", "b"]))
        assert [choice.text for choice in answer.choices] == [
            "You said: a (echoed by m)",
            "You said: b (echoed by m)",
        ]

    def test_streams(self, client: openai.OpenAI) -> None:
        with client.completions.create(model="m", prompt="a b c", stream=True) as stream:
            chunks = list(stream)
        assert "".join(chunk.choices[0].text for chunk in chunks) == "You said: a b c (echoed by m)"
        # The client's type allows no null here, though the API sends it until the last chunk.
        assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]


class TestEmbeddings:
    def test_are_unit_vectors_that_depend_on_the_text_alone(self, client: openai.OpenAI) -> None:
        texts = ["one", "two", "one"]
        answer = strict(client.embeddings.create(model="m", input=texts, dimensions=8))
        first, second, third = [item.embedding for item in answer.data]
        assert first == third != second
        assert [len(first), len(second)] == [8, 8]
        assert sum(number * number for number in first) == pytest.approx(1)

    def test_are_the_same_in_either_encoding(self, client: openai.OpenAI) -> None:
        decoded = client.embeddings.create(model="m", input="one")  # the client asks for base64 by itself
        plain = client.embeddings.create(model="m", input="one", encoding_format="float")
        assert decoded.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)

    def test_take_token_numbers(self, client: openai.OpenAI) -> None:
        answer = client.embeddings.create(model="m", input=[[1, 2], [3]])
        assert len(answer.data) == 2


class TestResponses:
    def test_answers(self, client: openai.OpenAI) -> None:
        answer = strict(client.responses.create(model="m", input="hi", instructions="be kind"))
        assert answer.output_text == "You said: hi (echoed by m)"
        assert answer.status == "completed"

    def test_takes_items(self, client: openai.OpenAI) -> None:
        items: Any = [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call_output", "call_id": "1", "output": "x"},
        ]
        assert client.responses.create(model="m", input=items).output_text == "You said: hi (echoed by m)"

    def test_says_what_cut_it_short(self, client: openai.OpenAI) -> None:
        answer = strict(client.responses.create(model="m", input="hi", max_output_tokens=1))
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")

    def test_streams_events_in_order(self, client: openai.OpenAI) -> None:
        with client.responses.create(model="m", input="hi there", stream=True) as stream:
            events = [strict(event) for event in stream]
        kinds = [event.type for event in events]
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert kinds[:4] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ]
        assert kinds[4 + len(deltas) :] == [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert len(deltas) > 1
        assert "".join(deltas) == events[-1].response.output_text == "You said: hi there (echoed by m)"
        assert [event.sequence_number for event in events] == list(range(len(events)))


def test_lists_its_model(client: openai.OpenAI) -> None:
    assert [strict(model).id for model in client.models.list()] == ["echo-1"]


class TestAnthropic:
    def test_answers(self, claude: anthropic.Anthropic) -> None:
        answer = strict(claude.messages.create(model="m", max_tokens=99, messages=HI, system="be kind"))
        assert answer.content[0].text == "You said: hi there (echoed by m)"
        assert answer.stop_reason == "end_turn"

    def test_streams_the_whole_sequence(self, claude: anthropic.Anthropic, url: str) -> None:
        with claude.messages.stream(model="m", max_tokens=99, messages=HI) as stream:
            assert "".join(stream.text_stream) == "You said: hi there (echoed by m)"
            assert strict(stream.get_final_message()).stop_reason == "end_turn"
        body = {"model": "m", "max_tokens": 99, "messages": HI, "stream": True}
        _, _, raw = request(url, "POST", "/v1/messages", body)
        names = [line.removeprefix(b"event: ").decode() for line in raw.splitlines() if line.startswith(b"event: ")]
        types = [json.loads(line[6:])["type"] for line in raw.splitlines() if line.startswith(b"data: ")]
        assert names == types
        deltas = names.count("content_block_delta")
        assert deltas > 1
        assert names[:3] == ["message_start", "content_block_start", "ping"]
        assert names[3 + deltas :] == ["content_block_stop", "message_delta", "message_stop"]

    def test_stops_at_max_tokens(self, claude: anthropic.Anthropic) -> None:
        answer = claude.messages.create(model="m", max_tokens=1, messages=HI)
        assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 1)

    def test_counts_tokens(self, claude: anthropic.Anthropic) -> None:
        short = claude.messages.count_tokens(model="m", messages=HI).input_tokens
        longer = claude.messages.count_tokens(model="m", messages=HI, system="be kind").input_tokens
        assert 0 < short < longer


CHAT = "/v1/chat/completions"
REJECTED: list[tuple[str, Any, str | None]] = [
    (CHAT, b"", None),
    (CHAT, b"{", None),
    (CHAT, b"[]", None),
    (CHAT, b'{"model": "\xff"}', None),
    (CHAT, b"[" * 5000, None),
    (CHAT, {"messages": HI}, "model"),
    (CHAT, {"model": 1, "messages": HI}, "model"),
    (CHAT, {"model": "m"}, "messages"),
    (CHAT, {"model": "m", "messages": []}, "messages"),
    (CHAT, {"model": "m", "messages": [1]}, "messages[0]"),
    (CHAT, {"model": "m", "messages": [{"content": "x"}]}, "messages[0].role"),
    (CHAT, {"model": "m", "messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    (CHAT, {"model": "m", "messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0]"),
    (CHAT, {"model": "m", "messages": HI, "stream": 1}, "stream"),
    (CHAT, {"model": "m", "messages": HI, "n": 2}, "n"),
    (CHAT, {"model": "m", "messages": HI, "max_tokens": True}, "max_tokens"),
    (CHAT, {"model": "m", "messages": HI, "stream_options": {}}, "stream_options"),
    ("/v1/completions", {"model": "m", "prompt": [1, 2]}, "prompt"),
    ("/v1/embeddings", {"model": "m", "input": []}, "input"),
    ("/v1/embeddings", {"model": "m", "input": ["a", ""]}, "input[1]"),
    ("/v1/embeddings", {"model": "m", "input": "a", "dimensions": 1000000}, "dimensions"),
    ("/v1/embeddings", {"model": "m", "input": "a", "encoding_format": "int8"}, "encoding_format"),
    ("/v1/responses", {"model": "m"}, "input"),
    ("/v1/responses", {"model": "m", "input": [{"role": "user", "content": None}]}, "input[0].content"),
]


@pytest.mark.parametrize(("path", "body", "param"), REJECTED)
def test_refuses_malformed_input_as_openai_does(url: str, path: str, body: Any, param: str | None) -> None:
    status, _, raw = request(url, "POST", path, body)
    error = json.loads(raw)["error"]
    assert status == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert param is None or param in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"nope",
        {"model": "m", "messages": HI},
        {"model": "m", "max_tokens": 0, "messages": HI},
        {"model": "m", "max_tokens": 1, "messages": [{"role": "system", "content": "x"}]},
    ],
)
def test_refuses_malformed_input_as_anthropic_does(url: str, body: Any) -> None:
    status, _, raw = request(url, "POST", "/v1/messages", body)
    answer = json.loads(raw)
    assert status == 400
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["message"]


def test_refuses_a_body_that_is_too_large(url: str) -> None:
    status, _, raw = request(url, "POST", CHAT, b" " * (16 * 1024 * 1024 + 1))
    assert (status, json.loads(raw)["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/v1/nothing", 404), ("GET", CHAT, 405)])
def test_unknown_paths_and_methods_are_openai_errors(url: str, method: str, path: str, status: int) -> None:
    seen, headers, raw = request(url, method, path, {})
    assert seen == status
    assert path in json.loads(raw)["error"]["message"]
    assert ("allow" in headers) == (status == 405)


@pytest.mark.parametrize("said", ["", "x", "word " * 10_000, "x" * 100_000])
def test_pieces_are_few_and_make_the_text(said: str) -> None:
    echo = Echo.of(said, model="m", limit=None)
    pieces = list(echo.pieces)
    assert "".join(pieces) == echo.text
    assert 1 < len(pieces) <= MAX_PIECES
