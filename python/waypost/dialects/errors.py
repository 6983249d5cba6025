"""Renders an error as a response in the client's own dialect."""

from __future__ import annotations

import math

import orjson

from waypost._native import encode_id
from waypost.dialects.envelope import error_object
from waypost.dialects.registry import DIALECTS
from waypost.errors import WaypostError

__all__ = ["error_object", "render_error", "render_rejection"]

_RETRY_AFTER = frozenset({429, 503})


def render_error(dialect: str, error: WaypostError, message_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, header fields and body of the response that reports `error` in `dialect`.

    `message_id` is the id of the envelope or request, which a native reply repeats.
    """
    body = orjson.dumps(DIALECTS[dialect].render_error(error, message_id))
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


def render_rejection(
    dialect: str, error: WaypostError, message_id: str
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """The same for a message that no sink carries: with `x-request-id`, unless `message_id` is empty."""
    status, headers, body = render_error(dialect, error, message_id)
    if message_id:
        headers.append((b"x-request-id", encode_id(message_id)))
    return status, headers, body
