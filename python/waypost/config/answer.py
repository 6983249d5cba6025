"""The keys of a route that say how it answers beside or instead of forwarding: `reply` and `mirror`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from waypost.config.header import HEADER_PATTERN, check_response_header_name, check_response_header_value
from waypost.config.positions import Path, ShapeError
from waypost.config.units import format_percentage
from waypost.config.values import ClusterName, Percentage
from waypost.errors import REPLY_CODES

__all__ = ["Mirror", "Reply"]

_BODILESS: Final = (204, 205, 304)
"""Statuses of responses without content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5)."""


def _check_code(value: object) -> str:
    if not isinstance(value, str) or value not in REPLY_CODES:
        raise ShapeError(f"not an error code that a reply can have; codes: {', '.join(REPLY_CODES)}")
    return value


class Reply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A route's own answer, which needs no cluster."""

    status: Annotated[int, Meta(ge=200, le=599, description="HTTP status of the answer.")] = 200
    json: Annotated[
        bytes | None,
        Meta(
            description="Any JSON value: the body of the answer.",
            extra={"json": True},
            extra_json_schema={"type": ["object", "array", "string", "number", "boolean", "null"]},
        ),
    ] = None
    text: Annotated[str | None, Meta(description="Plain text in UTF-8: the body of the answer.")] = None
    headers: Annotated[
        dict[
            Annotated[
                str,
                Meta(
                    pattern=HEADER_PATTERN,
                    extra={"expects": "a header field name (RFC 9110, section 5.1)"},
                ),
            ],
            Annotated[str, Meta(extra={"parse": check_response_header_value})],
        ],
        Meta(description="Header fields of the answer, by name. A `content-type` here replaces the usual one."),
    ] = field(default_factory=dict)
    error: Annotated[
        Annotated[str, Meta(extra={"parse": _check_code}, extra_json_schema={"enum": list(REPLY_CODES)})] | None,
        Meta(description="An error code: the answer has its status, and the shape of errors in the client's dialect."),
    ] = None

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        given = [key for key, value in (("json", self.json), ("text", self.text)) if value is not None]
        for name in self.headers:
            try:
                check_response_header_name(name)
            except ShapeError as error:
                yield ("headers", name), str(error)
        if self.error is not None:
            for key in [*given, *(["headers"] if self.headers else []), *(["status"] if self.status != 200 else [])]:
                yield (key,), "contradicts `error`, which decides the whole answer; remove one of them"
        elif len(given) == 2:
            yield ("text",), "contradicts `json`: an answer has one body; remove one of them"
        elif given and self.status in _BODILESS:
            yield (given[0],), f"an answer of status {self.status} has no body; remove the body, or change `status`"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header fields of the answer in wire order, names in lower case, `content-type` and length included."""
        fields = {name.lower(): value for name, value in self.headers.items()}
        if self.json is not None:
            fields.setdefault("content-type", "application/json")
        elif self.text is not None:
            fields.setdefault("content-type", "text/plain; charset=utf-8")
        if fields.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream":
            fields["x-accel-buffering"] = "no"  # as every stream of events
        if self.status not in _BODILESS:
            fields["content-length"] = str(len(self.body))
        return list(fields.items())

    @property
    def body(self) -> bytes:
        """The body of the answer; empty where there is none."""
        if self.json is not None:
            return self.json
        return b"" if self.text is None else self.text.encode()


class Mirror(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second cluster that gets copies of a route's messages. Its responses are thrown away."""

    to: Annotated[ClusterName, Meta(description="The cluster that gets the copies.")]
    share: Annotated[Percentage, Meta(description="The share of the route's messages that is copied; 1% to 100%.")] = (
        100
    )

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        if not 1 <= self.share <= 100:
            yield ("share",), f"{format_percentage(self.share)} is out of range; write 1% to 100%"
