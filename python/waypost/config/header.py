"""The shape of header fields that a configuration adds to requests and replies (RFC 9110, section 5)."""

from __future__ import annotations

import re
from typing import Final

from waypost.config.positions import ShapeError

__all__ = [
    "HEADER_PATTERN",
    "check_header_name",
    "check_header_value",
    "check_response_header_name",
    "check_response_header_value",
]

HEADER_PATTERN: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"

_NAME: Final = re.compile(HEADER_PATTERN.removeprefix("^").removesuffix("$"))
# These fields rule the framing and the routing of a message. A credential in one of them would break the request.
_FRAMING: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def check_header_name(value: object) -> str:
    """Return `value` if it is a field name (RFC 9110, section 5.1) that can carry a credential.

    Raises `ShapeError` if not.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ShapeError("not a header field name; write one such as authorization or x-api-key")
    if value.lower() in _FRAMING:
        raise ShapeError("this header field cannot carry a credential")
    return value


def check_header_value(value: object) -> str:
    """Return `value` if it is a field value (RFC 9110, section 5.5).

    Raises `ShapeError` if not, and never quotes the value, which is secret.
    """
    if not isinstance(value, str):
        raise ShapeError("a credential's value must be a string")
    if not value:
        raise ShapeError("a credential's value is empty")
    if not value.isascii() or not value.replace("\t", " ").isprintable():
        raise ShapeError("a header field's value may contain only visible ASCII characters and spaces (no line breaks)")
    if value != value.strip():
        raise ShapeError("a header field's value cannot begin or end with a space; is a reference in it empty?")
    return value


def check_response_header_name(name: str) -> None:
    """Raise `ShapeError` where a reply cannot set this field: it frames the response, or Waypost sets it."""
    lower = name.lower()
    if lower in _FRAMING:
        raise ShapeError("this header field frames the response, so a reply cannot set it")
    if lower in ("x-request-id", "x-upstream-request-id") or lower.startswith("x-waypost-"):
        raise ShapeError("Waypost sets this header field itself, so a reply cannot")


def check_response_header_value(value: object) -> str:
    """`value` where it is a field value (RFC 9110, section 5.5), maybe empty. Raises `ShapeError`."""
    if not isinstance(value, str):
        raise ShapeError("must be a string; write it in quotes")
    if not value.isascii() or not value.replace("\t", " ").isprintable():
        raise ShapeError("may hold visible ASCII characters and spaces only (no line breaks)")
    if value != value.strip():
        raise ShapeError("cannot begin or end with a space")
    return value
