"""The echo model's OpenAI endpoints, in the shapes of OpenAI's API reference.

Sampling parameters are accepted and ignored. Unsupported parameters that would change the shape of an answer (several
choices, prompts of token numbers) are refused.
"""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
import struct
import time
from collections.abc import Iterator
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.demo.echo import MODEL, Echo, count_tokens, last_said, positive, text_of
from waypost.demo.echo_responses import responses
from waypost.demo.wire import Refusal, event, member, read_object, reply, stream

__all__ = ["openai_error", "routes"]

DIMENSIONS: Final = 16
MAX_DIMENSIONS: Final = 256
MAX_INPUTS: Final = 2048


def openai_error(status: int, code: str | None, message: str, param: str | None = None) -> Response:
    """An OpenAI error object."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return reply({"error": error}, status)


async def chat_completions(request: Request) -> Response:
    body = await read_object(request)
    model = member(body, "model", str, "a string", required=True)
    turns = list(_turns(body))
    _one_choice(body)
    limit = positive(body, "max_completion_tokens") or positive(body, "max_tokens")
    streamed, with_usage = _streaming(body)
    echo = Echo.of(last_said(turns), model=model, limit=limit)
    usage = _usage(count_tokens(text for _, text in turns), echo.tokens)
    common = {"id": _ident("chatcmpl"), "created": int(time.time()), "model": model, "system_fingerprint": None}
    if streamed:
        return stream(_chat_chunks(common, echo, usage if with_usage else None))
    message: dict[str, Any] = {"role": "assistant", "content": echo.text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(echo)}
    return reply(common | {"object": "chat.completion", "choices": [choice], "usage": usage})


def _chat_chunks(common: dict[str, Any], echo: Echo, usage: dict[str, int] | None) -> Iterator[bytes]:
    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(base | {"choices": [choice]})

    base = common | {"object": "chat.completion.chunk"}
    if usage is not None:
        base["usage"] = None  # in every chunk except the one with the usage
    yield chunk({"role": "assistant", "content": ""})
    for piece in echo.pieces:
        yield chunk({"content": piece})
    yield chunk({}, _finish(echo))
    if usage is not None:
        yield event(base | {"choices": [], "usage": usage})
    yield event(b"[DONE]")


async def completions(request: Request) -> Response:
    body = await read_object(request)
    model = member(body, "model", str, "a string", required=True)
    prompts = _prompts(body)
    _one_choice(body)
    limit = positive(body, "max_tokens")
    streamed, with_usage = _streaming(body)
    echoes = [Echo.of(prompt, model=model, limit=limit) for prompt in prompts]
    usage = _usage(count_tokens(prompts), sum(echo.tokens for echo in echoes))
    common = {"id": _ident("cmpl"), "object": "text_completion", "created": int(time.time()), "model": model}
    if streamed:
        return stream(_completion_chunks(common, echoes, usage if with_usage else None))
    choices = [_completion_choice(index, echo.text, _finish(echo)) for index, echo in enumerate(echoes)]
    return reply(common | {"choices": choices, "usage": usage})


def _completion_chunks(common: dict[str, Any], echoes: list[Echo], usage: dict[str, int] | None) -> Iterator[bytes]:
    base = common if usage is None else common | {"usage": None}
    for index, echo in enumerate(echoes):
        for piece in echo.pieces:
            yield event(base | {"choices": [_completion_choice(index, piece, None)]})
        yield event(base | {"choices": [_completion_choice(index, "", _finish(echo))]})
    if usage is not None:
        yield event(base | {"choices": [], "usage": usage})
    yield event(b"[DONE]")


def _completion_choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


async def embeddings(request: Request) -> Response:
    body = await read_object(request)
    model = member(body, "model", str, "a string", required=True)
    inputs = _inputs(body)
    dimensions = positive(body, "dimensions") or DIMENSIONS
    if dimensions > MAX_DIMENSIONS:
        raise Refusal("invalid_request", f"dimensions must be at most {MAX_DIMENSIONS}", field="dimensions")
    encoding = member(body, "encoding_format", str, "float or base64") or "float"
    if encoding not in {"float", "base64"}:
        raise Refusal("invalid_request", "encoding_format must be float or base64", field="encoding_format")
    data = []
    for index, text in enumerate(inputs):
        vector: Any = embedding(text, dimensions)
        if encoding == "base64":
            vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = count_tokens(inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return reply({"object": "list", "data": data, "model": model, "usage": usage})


def embedding(text: str, dimensions: int) -> list[float]:
    """A vector of length 1 that is a hash of `text`: similar texts have no similar vectors."""
    words = struct.unpack(f"<{dimensions}I", hashlib.shake_256(text.encode()).digest(4 * dimensions))
    vector = [word / 2**31 - 1 for word in words]
    length = math.hypot(*vector) or 1.0
    return [number / length for number in vector]


async def models(_request: Request) -> Response:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "waypost"}
    return reply({"object": "list", "data": [model]})


routes: Final = (
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/responses", responses, methods=["POST"]),
    Route("/v1/models", models, methods=["GET"]),
)


def _turns(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(role, text) of each message."""
    messages = member(body, "messages", list, "a list of messages", required=True)
    if not messages:
        raise Refusal("invalid_request", "messages must have at least one message", field="messages")
    for position, message in enumerate(messages):
        within = f"messages[{position}]"
        if not isinstance(message, dict):
            raise Refusal("invalid_request", f"{within} must be an object with role and content", field=within)
        role = member(message, "role", str, "a string", within=within, required=True)
        content = message.get("content")
        if content is None and role == "assistant":  # a turn that only calls tools
            content = ""
        yield role, text_of(content, f"{within}.content")


def _prompts(body: dict[str, Any]) -> list[str]:
    prompt = body.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not prompts or not all(isinstance(item, str) for item in prompts):
        message = "prompt must be a string or a list of strings; this model does not support token numbers"
        raise Refusal("invalid_request", message, field="prompt")
    return prompts


def _inputs(body: dict[str, Any]) -> list[str]:
    """The texts to embed. A list of token numbers is embedded as its JSON text."""
    value = body.get("input")
    inputs = [value] if isinstance(value, str) or _is_tokens(value) else value
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= MAX_INPUTS:
        message = f"input must be a text, a list of token numbers, or a list of 1 to {MAX_INPUTS} of either"
        raise Refusal("invalid_request", message, field="input")
    texts = []
    for position, item in enumerate(inputs):
        if not (isinstance(item, str) or _is_tokens(item)) or item == "":
            field = f"input[{position}]"
            raise Refusal(
                "invalid_request", f"{field} must be a text or a list of token numbers, not empty", field=field
            )
        texts.append(item if isinstance(item, str) else orjson.dumps(item).decode())
    return texts


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _one_choice(body: dict[str, Any]) -> None:
    if positive(body, "n") not in {None, 1}:
        raise Refusal("invalid_request", "n must be 1: this model gives one choice", field="n")


def _streaming(body: dict[str, Any]) -> tuple[bool, bool]:
    """(whether to stream the reply, whether the stream includes the usage)."""
    streamed = bool(member(body, "stream", bool, "true or false"))
    options = member(body, "stream_options", dict, "an object")
    if options is None:
        return streamed, False
    if not streamed:
        raise Refusal("invalid_request", "stream_options is allowed only with stream: true", field="stream_options")
    return True, bool(member(options, "include_usage", bool, "true or false", within="stream_options"))


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _finish(echo: Echo) -> str:
    return "length" if echo.truncated else "stop"


def _ident(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(12)}"
