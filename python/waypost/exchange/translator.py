"""The translator interface: how an exchange talks to endpoints that speak another dialect than its client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from waypost._native import Endpoint
from waypost.sink import Sink

__all__ = ["Translator"]


class Translator(Protocol):
    """Translates one message, in both directions, for the endpoints that need it."""

    def request(self, endpoint: Endpoint) -> bytes | None:
        """The request body for `endpoint`, or `None` if the message's own bytes are right.

        Raises `EnvelopeError` (`invalid_envelope`) if the endpoint's dialect cannot express the message.
        """

    def response(self, inner: Sink, endpoint: Endpoint, complete: Callable[[], None]) -> Sink:
        """A sink that takes the response of `endpoint` and gives it to `inner` in the client's dialect.

        Returns `inner` itself if the endpoint speaks the client's dialect. The sink calls `complete` if it has given
        `inner` everything before the response ends.
        """
