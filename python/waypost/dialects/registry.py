"""The translations that exist, by the client's dialect and the cluster's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from waypost._native import Cluster, Endpoint, Plan
from waypost.dialects.pairs.envelope_openai import EnvelopeOpenAi
from waypost.sink import Sink

__all__ = ["PAIRS", "Pair", "find_pair"]


class Pair(Protocol):
    """Translates requests of one dialect into another, and the responses back."""

    def request(self, body: bytes, cluster: Cluster) -> bytes:
        """The request body for `cluster`.

        Raises `EnvelopeError` with `invalid_envelope`, naming the field that cannot be translated.
        """

    def response(self, inner: Sink, plan: Plan, endpoint: Endpoint, limit: int, complete: Callable[[], None]) -> Sink:
        """A sink that takes the response of `endpoint` and gives `inner` the client's dialect.

        `limit` bounds, in bytes, a reply that is read whole. The sink calls `complete` once it has given `inner`
        everything, although the response has not ended.
        """


PAIRS: Final[Mapping[tuple[str, str], Pair]] = {("envelope", "openai"): EnvelopeOpenAi()}
"""By the client's dialect, then the cluster's. The core knows the same pairs: it refuses routes that need another."""


def find_pair(client: str, cluster: str) -> Pair | None:
    """The translation for a client of one dialect and a cluster of another; `None` where both are the same."""
    return None if client == cluster else PAIRS[client, cluster]
