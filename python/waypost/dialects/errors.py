"""Renders an error as a response in the client's own dialect."""

from __future__ import annotations

import math

import orjson

from waypost.errors import EnvelopeError, UpstreamError, WaypostError

__all__ = ["error_object", "render_error"]

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_RETRY_AFTER = frozenset({429, 503})


def error_object(error: WaypostError) -> dict[str, object]:
    """The `error` member of a native reply: `code`, `message` and, if known, `offset` (bytes), `field`, `upstream`."""
    out: dict[str, object] = {"code": error.code, "message": error.message}
    if isinstance(error, EnvelopeError):
        if error.offset is not None:
            out["offset"] = error.offset
        if error.field is not None:
            out["field"] = error.field
    elif isinstance(error, UpstreamError) and error.upstream is not None:
        out["upstream"] = error.upstream
    return out


def render_error(dialect: str, error: WaypostError, message_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, header fields and body of the response that reports `error` in `dialect`.

    `message_id` is the id of the envelope or request, which a native reply repeats.
    """
    document: dict[str, object]
    if dialect == "openai":
        kind = _OPENAI_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
        field = error.field if isinstance(error, EnvelopeError) else None
        document = {"error": {"message": error.message, "type": kind, "param": field, "code": error.code}}
    else:
        document = {"id": message_id, "error": error_object(error)}
    body = orjson.dumps(document)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if error.allow is not None:
        headers.append((b"allow", error.allow.encode("ascii")))
    if error.code == "unauthorized":
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status in _RETRY_AFTER:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after or 0))))
    if error.code == "bad_framing":
        headers.append((b"connection", b"close"))
    return error.status, headers, body
