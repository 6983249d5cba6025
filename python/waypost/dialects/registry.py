"""The dialects, by name, and the translations between them, by the client's dialect and the cluster's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from waypost._native import Cluster, Endpoint, Plan
from waypost.dialects.anthropic import Anthropic
from waypost.dialects.envelope import Envelope
from waypost.dialects.json import Json
from waypost.dialects.openai import OpenAi
from waypost.dialects.pairs.envelope_openai import EnvelopeOpenAi
from waypost.dialects.pairs.models import ModelPair
from waypost.errors import WaypostError
from waypost.sink import Sink

__all__ = ["DIALECTS", "PAIRS", "Dialect", "Pair", "find_pair"]


class Dialect(Protocol):
    """What Waypost itself says to clients of a dialect."""

    def render_error(self, error: WaypostError, message_id: str) -> Mapping[str, object]:
        """The JSON document that tells a client about `error`. `message_id` is the envelope's or request's id."""


DIALECTS: Final[Mapping[str, Dialect]] = {
    "envelope": Envelope(),
    "json": Json(),
    "openai": OpenAi(),
    "anthropic": Anthropic(),
}
"""By name. The core has a spec of each: what the dialect's messages look like, and where they are sent."""


class Pair(Protocol):
    """Translates requests of one dialect into another, and the responses back."""

    def request(self, body: bytes, cluster: Cluster) -> tuple[bytes, list[str]]:
        """The request body for `cluster`, and the paths of what was left out.

        Raises `EnvelopeError` with `invalid_envelope`, naming the field that cannot be translated.
        """

    def response(
        self,
        inner: Sink,
        plan: Plan,
        endpoint: Endpoint,
        limit: int,
        complete: Callable[[], None],
        dropped: Sequence[str],
    ) -> Sink:
        """A sink that takes the response of `endpoint` and gives `inner` the client's dialect.

        `limit` bounds, in bytes, a reply that is read whole. The sink calls `complete` once it has given `inner`
        everything, although the response has not ended. `dropped` is what the request has lost.
        """


PAIRS: Final[Mapping[tuple[str, str], Pair]] = {
    ("envelope", "openai"): EnvelopeOpenAi(),
    ("openai", "anthropic"): ModelPair("chat completions", "messages"),
    ("anthropic", "openai"): ModelPair("messages", "chat completions"),
}
"""By the client's dialect, then the cluster's. The core has the same (`translations`): it refuses routes that need
another."""


def find_pair(client: str, cluster: str) -> Pair | None:
    """The translation for a client of one dialect and a cluster of another; `None` where both are the same."""
    return None if client == cluster else PAIRS[client, cluster]
