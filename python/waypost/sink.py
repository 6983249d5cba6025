"""Where a response goes.

A sink is called from the event loop, in this order: `start` or `forward` once, `data` any number of times, then exactly
one of `end` and `abort`. `abort` only comes after the first: an error before it is answered as a response of its own.
Sinks compose: one that rewrites a response holds the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from waypost._native import Endpoint, Plan, ResponseHead
from waypost.config.units import format_size
from waypost.errors import UpstreamError, WaypostError

__all__ = ["CollectSink", "Headers", "Sink"]

Headers = list[tuple[bytes, bytes]]
"""Header fields in wire order, names in lower case."""


class Sink(Protocol):
    """Takes one response."""

    __slots__ = ()

    sent: int
    """Bytes of the body that it was given, as the client gets them."""

    def start(self, status: int, headers: Headers) -> None:
        """The head. May raise `UpstreamError`, as `data` may."""

    def data(self, chunk: bytes) -> None:
        """A piece of the body, never empty.

        May raise `UpstreamError` where the response cannot be used; the upstream connection is then closed and
        `abort` follows with that error.
        """

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """The whole response was given. May raise `UpstreamError`, as `data` may."""

    def abort(self, error: WaypostError) -> None:
        """The response stops short: the client must be able to tell that it is not whole."""

    # What a sink that writes bytes can do better.

    def forward(self, head: ResponseHead, plan: Plan, endpoint: Endpoint, attempts: int) -> None:
        """Instead of `start`, the head of the response of `endpoint` as it came."""
        self.start(head.status, head.fields(plan, endpoint, attempts))

    def flush(self) -> None:
        """Nothing came with the head."""
        return


class CollectSink(Sink):
    """Keeps a whole response in memory, up to `limit` bytes of body, and calls `done` once it is there.

    `error` says why there is none: the response was cut short, or longer than `limit`.
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
