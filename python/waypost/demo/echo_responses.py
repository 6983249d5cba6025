"""The echo model's `POST /v1/responses` (OpenAI Responses API): one text message, whole or as streamed events."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from waypost.demo.echo import Echo, count_tokens, last_said, positive, text_of
from waypost.demo.wire import Refusal, event, member, read_object, reply, stream

__all__ = ["responses"]

TEXT_TYPES = ("input_text", "output_text")


async def responses(request: Request) -> Response:
    body = await read_object(request)
    model = member(body, "model", str, "a string", required=True)
    instructions = member(body, "instructions", str, "a string")
    turns = list(_turns(body))
    limit = positive(body, "max_output_tokens")
    streamed = bool(member(body, "stream", bool, "true or false"))
    echo = Echo.of(last_said(turns), model=model, limit=limit)
    read = count_tokens([instructions or "", *(text for _, text in turns)])
    base = {
        "id": f"resp_{secrets.token_hex(12)}",
        "object": "response",
        "created_at": int(time.time()),
        "error": None,
        "incomplete_details": None,
        "instructions": instructions,
        "max_output_tokens": limit,
        "metadata": {},
        "model": model,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }
    if streamed:
        return stream(_events(base, echo, read))
    return reply(_finished(base, echo, read, f"msg_{secrets.token_hex(12)}"))


def _events(base: dict[str, Any], echo: Echo, read: int) -> Iterator[bytes]:
    sequence = 0

    def send(kind: str, **fields: Any) -> bytes:
        nonlocal sequence
        sequence += 1
        return event({"type": kind, "sequence_number": sequence - 1, **fields}, kind)

    item = f"msg_{secrets.token_hex(12)}"
    position = {"item_id": item, "output_index": 0, "content_index": 0}
    begun = base | {"status": "in_progress", "output": [], "usage": None}
    last = _finished(base, echo, read, item)
    yield send("response.created", response=begun)
    yield send("response.in_progress", response=begun)
    empty = {"id": item, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    yield send("response.output_item.added", output_index=0, item=empty)
    yield send("response.content_part.added", **position, part=_part(""))
    for piece in echo.pieces:
        yield send("response.output_text.delta", **position, delta=piece, logprobs=[])
    yield send("response.output_text.done", **position, text=echo.text, logprobs=[])
    yield send("response.content_part.done", **position, part=_part(echo.text))
    yield send("response.output_item.done", output_index=0, item=last["output"][0])
    yield send(f"response.{last['status']}", response=last)


def _finished(base: dict[str, Any], echo: Echo, read: int, item: str) -> dict[str, Any]:
    status = "incomplete" if echo.truncated else "completed"
    message = {"id": item, "type": "message", "status": status, "role": "assistant", "content": [_part(echo.text)]}
    return base | {
        "status": status,
        "incomplete_details": {"reason": "max_output_tokens"} if echo.truncated else None,
        "output": [message],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": echo.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + echo.tokens,
        },
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _turns(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(role, text) of each message in `input`. Items that are not messages (tool calls, their output) are skipped."""
    value = member(body, "input", (str, list), "a string or a list of items", required=True)
    if isinstance(value, str):
        yield "user", value
        return
    if not value:
        raise Refusal("invalid_request", "input must have at least one item", field="input")
    for position, item in enumerate(value):
        within = f"input[{position}]"
        if not isinstance(item, dict):
            raise Refusal("invalid_request", f"{within} must be an object", field=within)
        kind = member(item, "type", str, "a string", within=within) or "message"
        if kind == "message":
            role = member(item, "role", str, "a string", within=within, required=True)
            yield role, text_of(item.get("content"), f"{within}.content", text_types=TEXT_TYPES)
