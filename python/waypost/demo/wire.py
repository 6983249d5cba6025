"""JSON over HTTP as the embedded upstreams speak it: bounded bodies in, JSON and server-sent events out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

__all__ = ["BODY_LIMIT", "Refusal", "event", "member", "read_object", "reply", "stream"]

BODY_LIMIT: Final = 16 * 1024 * 1024
"""Largest request body, in bytes. It is the proxy's default, so that an upstream accepts whatever the proxy does."""


class Refusal(Exception):  # noqa: N818 - the client's error, not this server's
    """An upstream refuses a request. Each upstream renders it in its own dialect.

    `field` is the path of the member at fault in the body (`messages[0].content`), or `None`.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.field = field


async def read_object(request: Request) -> dict[str, Any]:
    """The request's body, which must be one JSON object of at most `BODY_LIMIT` bytes. Raises `Refusal`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise Refusal("body_too_large", f"the body is larger than {BODY_LIMIT} bytes", status=413)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal("invalid_json", f"the body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise Refusal("invalid_json", "the body must be a JSON object")
    return document


def member(
    document: dict[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    expected: str,
    *,
    within: str = "",
    required: bool = False,
) -> Any:
    """`document[name]`, which must be of `kind`, or `None` if it is absent or null and not `required`.

    `expected` describes the allowed values for messages; `within` is the path that leads to `document`. A boolean is
    not a number. Raises `Refusal`.
    """
    value = document.get(name)
    field = f"{within}.{name}" if within else name
    if value is None:
        if required:
            raise Refusal("invalid_request", f"{field} is required: {expected}", field=field)
        return None
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise Refusal("invalid_request", f"{field} must be {expected}", field=field)
    return value


def reply(document: Any, status: int = 200) -> Response:
    """`document` as a JSON response."""
    return Response(orjson.dumps(document), status, media_type="application/json")


def event(data: Any, name: str | None = None) -> bytes:
    """One server-sent event (WHATWG HTML, section 9.2): `data` as JSON, or unchanged if it is bytes."""
    payload = data if isinstance(data, bytes) else orjson.dumps(data)
    prefix = b"" if name is None else b"event: " + name.encode() + b"\n"
    return prefix + b"data: " + payload + b"\n\n"


def stream(events: Iterable[bytes]) -> Response:
    """A response that sends each event as a chunk of its own."""

    async def pieces() -> AsyncIterator[bytes]:  # async, because Starlette runs plain iterators in a thread
        for piece in events:
            yield piece

    return _EventStream(pieces(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


class _EventStream(StreamingResponse):
    # Starlette would watch for a disconnect in an anyio task group, the first of which costs 40 ms of imports. That is
    # not needed: the events are few and ready, and uvicorn drops data for a client that left.
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await self.stream_response(send)
