"""The `openai` package works through the proxy as it does without, and understands the errors that Waypost answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import openai
import pytest

from ..e2e.support.proxy import Proxy  # noqa: TID252
from .conftest import KEY

MESSAGES = [{"role": "user", "content": "Say it ☃"}]


@pytest.fixture(scope="module")
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=KEY, max_retries=0, timeout=60) as client:
        yield client


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo-1", messages=MESSAGES)  # type: ignore[arg-type]
    content = answer.choices[0].message.content
    assert content is not None
    assert "Say it ☃" in content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0


def test_chat_with_its_response(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="echo-1",
        messages=MESSAGES,
        extra_headers={"x-request-id": "mine-1"},  # type: ignore[arg-type]
    )
    assert raw.headers["x-waypost-cluster"] == "echo"
    assert raw.request_id == "mine-1"
    assert raw.parse().choices[0].message.content


def test_chat_streamed(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="echo-1",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},  # type: ignore[call-overload]
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Say it ☃" in text
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 1
    assert chunks[-1].usage.total_tokens > 0


def test_a_stream_that_is_left_early(client: openai.OpenAI) -> None:
    for _ in range(3):
        with client.chat.completions.create(model="echo-1", messages=MESSAGES, stream=True) as stream:  # type: ignore[call-overload]
            next(iter(stream))


def test_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="echo-1", input=["one", "two"])
    assert [item.index for item in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == 16
    assert answer.data[0].embedding != answer.data[1].embedding


def test_completions(client: openai.OpenAI) -> None:
    assert "once" in client.completions.create(model="echo-1", prompt="once").choices[0].text


def test_responses(client: openai.OpenAI) -> None:
    assert "Say it" in client.responses.create(model="echo-1", input="Say it").output_text
    kinds = [event.type for event in client.responses.create(model="echo-1", input="Say it", stream=True)]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["echo-1"]


def test_many_messages_over_the_clients_own_connections(client: openai.OpenAI) -> None:
    for number in range(20):
        answer = client.chat.completions.create(model="echo-1", messages=[{"role": "user", "content": f"n {number}"}])
        assert f"n {number}" in (answer.choices[0].message.content or "")


async def _concurrently(url: str) -> list[str]:
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=60) as client:

        async def one(number: int) -> str:
            stream = await client.chat.completions.create(
                model="echo-1", messages=[{"role": "user", "content": f"n {number}."}], stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        return list(await asyncio.gather(*(one(number) for number in range(50))))


def test_50_streams_at_once(proxy: Proxy) -> None:
    texts = asyncio.run(_concurrently(f"{proxy.url}/v1"))
    assert all(f"n {number}." in text for number, text in enumerate(texts))


# What Waypost itself answers.


def test_no_route_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=MESSAGES)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.type) == ("no_route", "not_found_error")
    assert "no-such-model" in caught.value.message
    assert caught.value.request_id


def test_a_wrong_type_is_a_bad_request_that_names_its_parameter(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=7, messages=MESSAGES)  # type: ignore[arg-type, call-overload]
    assert (caught.value.code, caught.value.param) == ("invalid_envelope", "model")


def test_the_models_own_errors_pass(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="echo-1", messages=[])
    assert caught.value.param == "messages"


def test_a_body_beyond_the_limit(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(model="echo-1", input="x" * 100_000)
    assert (caught.value.status_code, caught.value.code) == (413, "body_too_large")


def test_nobody_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="dead", messages=MESSAGES)  # type: ignore[arg-type]
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_unreachable")


@pytest.mark.parametrize("key", ["sk-other", KEY.upper(), f"{KEY}x"])
def test_a_key_that_is_not_known(proxy: Proxy, key: str) -> None:
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=key, max_retries=0, timeout=60) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.chat.completions.create(model="echo-1", messages=MESSAGES)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.type) == ("unauthorized", "authentication_error")
    assert caught.value.response.headers["www-authenticate"] == "Bearer"


def test_a_user_that_is_not_the_keys(client: openai.OpenAI) -> None:
    client.chat.completions.create(model="echo-1", messages=MESSAGES, user="me")  # type: ignore[arg-type]
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="echo-1", messages=MESSAGES, user="you")  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.type) == ("identity_conflict", "permission_error")
