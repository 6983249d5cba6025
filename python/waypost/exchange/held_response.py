"""A retryable response that is held while other endpoints are tried. The client gets it if none does better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

from waypost._native import Endpoint, ResponseHead

__all__ = ["HOLD_TIME", "HeldResponse"]

HOLD_TIME: Final = 1.0
"""Time for the body of a held response to arrive, in seconds. Later, the response is dropped."""
_LIMIT: Final = 64 * 1024
"""Longest body that is held, in bytes."""


class HeldResponse:
    """The part of a response of `endpoint` that has arrived."""

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
        """A response that arrived whole."""
        response = cls(endpoint, head)
        response.chunks = [body] if body else []
        response.trailers = trailers
        return response

    def add(self, chunk: bytes) -> bool:
        """Hold another piece of the body. Returns false if the body is too long to be held."""
        self._size += len(chunk)
        self.chunks.append(chunk)
        return self._size <= _LIMIT
