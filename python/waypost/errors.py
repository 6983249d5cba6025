"""Every exception that Waypost raises, and the one table that maps a stable code to an HTTP status.

This module imports nothing of Waypost, so that every other module, and the Rust extension, can import it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = [
    "REPLY_CODES",
    "STATUS",
    "ConfigError",
    "EnvelopeError",
    "PatternError",
    "Problem",
    "StoreError",
    "UpstreamError",
    "WaypostError",
]

STATUS: Final[dict[str, int]] = {
    "invalid_json": 400,
    "invalid_utf8": 400,
    "duplicate_key": 400,
    "too_deep": 400,
    "invalid_envelope": 400,
    "bad_framing": 400,
    "unauthorized": 401,
    "identity_conflict": 403,
    "forbidden": 403,
    "foreign_origin": 403,
    "no_route": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "body_too_large": 413,
    "too_costly": 413,
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "header_too_large": 431,
    "not_implemented": 501,
    "upstream_unreachable": 502,
    "upstream_protocol": 502,
    # The endpoint's own status replaces this one if it is known.
    "upstream_error": 502,
    "queue_full": 503,
    "deadline_too_short": 503,
    "draining": 503,
    "overloaded": 503,
    "upstream_timeout": 504,
    "deadline_exceeded": 504,
    # Raised by a store. No message is answered with them yet.
    "store_too_large": 413,
    "store_full": 503,
    "store_unavailable": 503,
    "store_unknown": 504,
    # Never sent to a client: raised while a configuration or a pattern is read.
    "invalid_config": 500,
    "invalid_pattern": 500,
    # A defect of Waypost itself.
    "internal": 500,
}
"""HTTP status of each stable error code (RFC 9110, section 15)."""

_NO_REPLY: Final = (
    "bad_framing",
    "foreign_origin",
    "method_not_allowed",
    "not_implemented",
    "upstream_error",
    "internal",
    "invalid_config",
    "invalid_pattern",
)
REPLY_CODES: Final[tuple[str, ...]] = tuple(code for code in STATUS if code not in _NO_REPLY)
"""The codes that a route's `reply` can answer with: none that ends a connection or needs more than a message."""


class WaypostError(Exception):
    """Base of all errors that Waypost raises.

    `code` is stable and meant for programs. `message` says what is wrong, where, and what to do. `status` is the HTTP
    status that a client gets.
    """

    code: str
    message: str
    status: int
    dialect: str | None = None
    """The dialect to answer in, if it was known when the message was refused."""
    message_id: str | None = None
    """The message's own id, if it was read before the message was refused."""
    allow: str | None = None
    """Value of the Allow field (RFC 9110, section 10.2.1), with `method_not_allowed`."""
    retry_after: float | None = None
    """Seconds after which to try again (RFC 9110, section 10.2.3), if known."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS[code] if status is None else status

    def __reduce__(self) -> tuple[object, ...]:
        # `Exception` would call the class with `args`, which is the message alone. No class here accepts that.
        return _rebuild, (type(self), *self.args), self.__dict__.copy()


class EnvelopeError(WaypostError):
    """The bytes of a message are not valid JSON, or not a valid message of their dialect, or take too long to match.

    `offset` is the byte offset of the fault in the body, or `None` if the fault is elsewhere (in a header, for
    example). `field` is the name of the envelope field at fault, or `None`.
    """

    offset: int | None
    field: str | None

    def __init__(self, code: str, message: str, offset: int | None = None, field: str | None = None) -> None:
        super().__init__(code, message)
        self.offset = offset
        self.field = field


class UpstreamError(WaypostError):
    """An endpoint could not be reached, broke HTTP, took too long, or answered with an error of its own.

    `retryable` is true if no byte of the request can have reached the endpoint, so that another attempt can never
    execute the message twice.
    """

    retryable: bool
    upstream: dict[str, object] | None = None
    """With `upstream_error`, the endpoint's own `status`, `code`, `type` and `message`, each `None` if unknown."""

    def __init__(self, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(code, message)
        self.retryable = retryable


class StoreError(WaypostError):
    """A store refused or failed: `store_too_large`, `store_full`, `store_unavailable`, `store_unknown`.

    After `store_unknown` a write may have happened. After the others it has not.
    """


class PatternError(WaypostError):
    """A pattern given to `Matcher` is invalid.

    `problems` has every fault of every rule; the `path` of each begins with the name of its rule. `message` has a line
    for each of them, up to a hundred lines. `rule` is the name of the first rule with a fault, and `path` has the keys
    and list positions that lead to the fault in its pattern.
    """

    rule: str
    path: tuple[str | int, ...]
    problems: tuple[Problem, ...]

    def __init__(
        self, message: str, rule: str = "", path: tuple[str | int, ...] = (), problems: Iterable[Problem] = ()
    ) -> None:
        super().__init__("invalid_pattern", message)
        self.rule = rule
        self.path = path
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a configuration or of a matcher's rules, at one position.

    `path` has the keys and list positions that lead to it (`("routes", 0, "match", "kind")`). `file` is the name of
    the file as given, or empty for Python objects. `line` and `column` count from 1; 0 means unknown.
    """

    path: tuple[str | int, ...]
    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        position = f"{self.file}:{self.line}:{self.column}: " if self.file else ""
        path = format_path(self.path)
        return f"{position}{path}: {self.message}" if path else f"{position}{self.message}"


class ConfigError(WaypostError):
    """A configuration cannot be used. `problems` has all of its problems, in file order."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("invalid_config", "\n".join(map(str, self.problems)))


def _rebuild(cls: type[WaypostError], *args: object) -> WaypostError:
    """An error of `cls` whose attributes `pickle` or `copy` sets next."""
    return cls.__new__(cls, *args)


def counted(count: int, noun: str) -> str:
    """`1 route`, `2 routes`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_path(path: tuple[str | int, ...]) -> str:
    """`("routes", 0, "match")` as `routes[0].match`."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            out += f".{step}" if out else step
    return out
