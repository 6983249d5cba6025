"""What an exchange needs to talk to endpoints that speak another dialect than its client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from waypost._native import Endpoint
from waypost.sink import Sink

__all__ = ["Translator"]


class Translator(Protocol):
    """Translates one message for the endpoints that need that."""

    def request(self, endpoint: Endpoint) -> bytes | None:
        """The request body for `endpoint`; `None` where the message's own bytes are right.

        Raises `EnvelopeError` with `invalid_envelope` where the message cannot be said in the endpoint's dialect.
        """

    def response(self, inner: Sink, endpoint: Endpoint, complete: Callable[[], None]) -> Sink:
        """The sink for the response of `endpoint`, which gives `inner` the client's dialect; or `inner` itself.

        The sink calls `complete` once it has given `inner` everything, although the response has not ended.
        """
