"""The sink interface: a sink takes one response.

A sink is called from the event loop, in this order: `start` or `forward` once, `data` any number of times, then exactly
one of `end` and `abort`. `abort` never comes first, because an earlier error is a response of its own. Sinks compose: a
sink that rewrites a response holds the next sink.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from waypost._native import Endpoint, Plan, ResponseHead
from waypost.config.units import format_size
from waypost.errors import UpstreamError, WaypostError

__all__ = ["COMMENT", "CollectSink", "Headers", "Sink"]

COMMENT: Final = b":\n\n"
"""An empty comment of a stream of events (HTML Living Standard, section 9.2.6)."""

Headers = list[tuple[bytes, bytes]]
"""Header fields in wire order, names in lower case."""


class Sink(Protocol):
    """Takes one response."""

    __slots__ = ()

    sent: int
    """Bytes of the body so far, as the client gets them."""
    reads_limited: bool = False
    """All reads from the endpoint are limited, because the client's connection carries many responses at once."""
    read_limit: int | None = None
    """Bytes that are read at a time of a response that does not arrive whole. `None`: what a limited read takes."""

    def start(self, status: int, headers: Headers) -> None:
        """Take the head of the response. Raises `UpstreamError` as `data` does."""

    def data(self, chunk: bytes) -> None:
        """Take a piece of the body, which is never empty.

        Raises `UpstreamError` if the response cannot be used. The upstream connection is then closed, and `abort`
        follows with that error.
        """

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """End the response, which is whole. Raises `UpstreamError` as `data` does."""

    def abort(self, error: WaypostError) -> None:
        """End the response, which stops short, so that the client can tell that it is not whole."""

    # A sink that writes bytes overrides these.

    def forward(self, head: ResponseHead, plan: Plan, endpoint: Endpoint, attempts: int) -> None:
        """Take the head of the response of `endpoint` as it arrived, instead of `start`."""
        self.start(head.status, head.fields(plan, endpoint, attempts))

    def flush(self) -> None:
        """No body arrived together with the head."""
        return

    def comment(self) -> None:
        """The stream of events is silent, between two events: a comment keeps the client's connection alive."""
        return


class CollectSink(Sink):
    """Collects a whole response in memory, and calls `done` at its end.

    `error` is set if the response stopped short, or its body is longer than `limit` bytes.
    """

    __slots__ = ("_chunks", "_done", "_limit", "error", "headers", "sent", "status")

    def __init__(self, limit: int, done: Callable[[CollectSink], None]) -> None:
        self.status = 0
        self.headers: Headers = []
        self.error: WaypostError | None = None
        self._chunks: list[bytes] = []
        self.sent = 0
        self._limit = limit
        self._done = done

    @property
    def body(self) -> bytes:
        """The body so far."""
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0] if self._chunks else b""

    def start(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers

    def data(self, chunk: bytes) -> None:
        self.sent += len(chunk)
        if self.sent > self._limit:
            self._chunks.clear()
            raise UpstreamError(
                "upstream_protocol", f"the reply is longer than limits.body, which is {format_size(self._limit)}"
            )
        self._chunks.append(chunk)

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:  # noqa: ARG002 - part of Sink
        self._done(self)

    def abort(self, error: WaypostError) -> None:
        self._chunks.clear()
        self.error = error
        self._done(self)
