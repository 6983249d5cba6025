"""A response that is kept while other endpoints are asked: if none does better, the client gets it after all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

from waypost._native import Endpoint, ResponseHead

__all__ = ["HOLD_TIME", "HeldResponse"]

HOLD_TIME: Final = 1.0
"""Seconds that the body of such a response may take before the next endpoint is tried without keeping it."""
_LIMIT: Final = 64 * 1024
"""Bytes of a body that are kept."""


class HeldResponse:
    """A response of `endpoint`, as far as it has come."""

    __slots__ = ("_size", "chunks", "endpoint", "head", "trailers")

    def __init__(self, endpoint: Endpoint, head: ResponseHead) -> None:
        self.endpoint = endpoint
        self.head = head
        self.chunks: list[bytes] = []
        self.trailers: Sequence[tuple[bytes, bytes]] = ()
        self._size = 0

    @classmethod
    def whole(
        cls, endpoint: Endpoint, head: ResponseHead, body: bytes, trailers: Sequence[tuple[bytes, bytes]]
    ) -> Self:
        """A response that came all at once."""
        out = cls(endpoint, head)
        out.chunks = [body] if body else []
        out.trailers = trailers
        return out

    def take(self, chunk: bytes) -> bool:
        """Keep a piece of the body. False: it is more than is kept."""
        self._size += len(chunk)
        self.chunks.append(chunk)
        return self._size <= _LIMIT
