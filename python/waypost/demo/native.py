"""The server side of the native envelope, which the retriever, the memory and the tool server share.

The answer to `POST /v1/envelopes` is `{"id", "result": …}`, or `{"id", "error": {"code", "message"}}` with a 4xx
status; `id` is null if the envelope has no valid one. With `stream: true` the result comes as server-sent events:
`data: {"id", "delta": …}`, then `data: {"id", "done": true}`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.demo.wire import Refusal, event, member, read_object, reply, stream

__all__ = ["Envelope", "content_limit", "create_native_app"]

KINDS: Final = ("query", "context", "model", "tool", "event")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields of an envelope that the embedded upstreams use."""

    id: str
    kind: str
    content: Any
    tenant: str | None
    agent: str | None
    tool: str | None
    topic: str | None
    stream: bool


def create_native_app(kinds: tuple[str, ...], answer: Callable[[Envelope], Any]) -> Starlette:
    """An app that answers envelopes of `kinds` with what `answer` returns; `answer` may raise `Refusal`."""

    async def envelopes(request: Request) -> Response:
        document = await read_object(request)
        envelope = _envelope(document, request)
        if envelope.kind not in kinds:
            allowed = " or ".join(kinds)
            message = f"this upstream answers messages of kind {allowed}, not {envelope.kind}"
            raise Refusal("unsupported_kind", message, field="kind")
        result = answer(envelope)
        if envelope.stream:
            return stream((event({"id": envelope.id, "delta": result}), event({"id": envelope.id, "done": True})))
        return reply({"id": envelope.id, "result": result})

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)  # noqa: S101 - as registered below
        return _error(request, error.code, error.message, error.status)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - as registered below
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        message = f"{request.method} {request.url.path}: send envelopes with POST /v1/envelopes"
        response = _error(request, code, message, error.status_code)
        response.headers.update(error.headers or {})
        return response

    return Starlette(
        routes=[Route("/v1/envelopes", envelopes, methods=["POST"])],
        exception_handlers={Refusal: refused, HTTPException: http_error},
    )


def content_limit(content: dict[str, Any], *, default: int, most: int) -> int:
    """The number of results that `content.limit` asks for, from 1 to `most`. Raises `Refusal`."""
    expected = f"an integer from 1 to {most}"
    limit = member(content, "limit", int, expected, within="content")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise Refusal("invalid_request", f"content.limit must be {expected}", field="content.limit")
    return int(limit)


def _envelope(document: dict[str, Any], request: Request) -> Envelope:
    try:
        ident = _one_of(document, "id", "a string of 1 to 128 characters", lambda text: 1 <= len(text) <= 128)
        request.state.envelope_id = ident  # for error replies
        kind = _one_of(document, "kind", f"one of {', '.join(KINDS)}", KINDS.__contains__)
        names = ("tenant", "agent", "tool", "topic")
        strings = {name: member(document, name, str, "a string") for name in names}
        streamed = bool(member(document, "stream", bool, "true or false"))
    except Refusal as error:
        raise Refusal("invalid_envelope", error.message, field=error.field) from None
    return Envelope(id=ident, kind=kind, content=document.get("content"), stream=streamed, **strings)


def _one_of(document: dict[str, Any], name: str, expected: str, allowed: Callable[[str], bool]) -> str:
    value: str = member(document, name, str, expected, required=True)
    if not allowed(value):
        raise Refusal("invalid_request", f"{name} must be {expected}", field=name)
    return value


def _error(request: Request, code: str, message: str, status: int) -> Response:
    ident = getattr(request.state, "envelope_id", None)
    return reply({"id": ident, "error": {"code": code, "message": message}}, status)
