"""The echo model's Anthropic endpoints, in the shapes of Anthropic's API reference."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.demo.echo import Echo, count_tokens, last_said, positive, text_of
from waypost.demo.wire import Refusal, event, member, read_object, reply, stream

__all__ = ["anthropic_error", "routes"]

_ERROR_TYPES: Final = {404: "not_found_error", 413: "request_too_large"}


def anthropic_error(status: int, message: str) -> Response:
    """An Anthropic error object."""
    kind = _ERROR_TYPES.get(status, "invalid_request_error")
    return reply({"type": "error", "error": {"type": kind, "message": message}}, status)


async def messages(request: Request) -> Response:
    body = await read_object(request)
    model, said, read = _read(body)
    limit = positive(body, "max_tokens", required=True)
    streamed = bool(member(body, "stream", bool, "true or false"))
    echo = Echo.of(said, model=model, limit=limit)
    base = {"id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant", "model": model}
    if streamed:
        return stream(_events(base, echo, read))
    return reply(
        base
        | {
            "content": [{"type": "text", "text": echo.text}],
            "stop_reason": _stop_reason(echo),
            "stop_sequence": None,
            "usage": {"input_tokens": read, "output_tokens": echo.tokens},
        }
    )


def _events(base: dict[str, Any], echo: Echo, read: int) -> Iterator[bytes]:
    def send(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}, kind)

    usage = {"input_tokens": read, "output_tokens": 1}
    begun = base | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield send("message_start", message=begun)
    yield send("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield send("ping")
    for piece in echo.pieces:
        yield send("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    yield send("content_block_stop", index=0)
    delta = {"stop_reason": _stop_reason(echo), "stop_sequence": None}
    yield send("message_delta", delta=delta, usage={"output_tokens": echo.tokens})
    yield send("message_stop")


async def count(request: Request) -> Response:
    _, _, read = _read(await read_object(request))
    return reply({"input_tokens": read})


routes: Final = (
    Route("/v1/messages", messages, methods=["POST"]),
    Route("/v1/messages/count_tokens", count, methods=["POST"]),
)


def _read(body: dict[str, Any]) -> tuple[str, str, int]:
    """(model, last text, number of tokens in all texts)."""
    model = member(body, "model", str, "a string", required=True)
    turns = list(_turns(body))
    system = body.get("system")
    texts = [] if system is None else [text_of(system, "system")]
    return model, last_said(turns), count_tokens([*texts, *(text for _, text in turns)])


def _turns(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(role, text) of each message."""
    turns = member(body, "messages", list, "a list of messages", required=True)
    if not turns:
        raise Refusal("invalid_request", "messages must have at least one message", field="messages")
    for position, turn in enumerate(turns):
        within = f"messages[{position}]"
        if not isinstance(turn, dict):
            raise Refusal("invalid_request", f"{within} must be an object with role and content", field=within)
        role = member(turn, "role", str, "user or assistant", within=within, required=True)
        if role not in {"user", "assistant"}:
            field = f"{within}.role"
            raise Refusal("invalid_request", f"{field} must be user or assistant", field=field)
        yield role, text_of(turn.get("content"), f"{within}.content")


def _stop_reason(echo: Echo) -> str:
    return "max_tokens" if echo.truncated else "end_turn"
