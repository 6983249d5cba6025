"""The carrier interface: a carrier takes a decided message to endpoints and its response to a sink."""

from __future__ import annotations

from typing import Protocol

from waypost._native import Plan
from waypost.exchange.runtime import Runtime
from waypost.exchange.translator import Translator
from waypost.exchange.upload import Upload
from waypost.sink import Sink
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Carrier"]


class Carrier(Protocol):
    """Carries one message at a time."""

    @property
    def runtime(self) -> Runtime:
        """The runtime of the event loop that the message belongs to."""

    @property
    def sink(self) -> Sink:
        """Takes the response."""

    def begin(
        self,
        settings: UpstreamSettings,
        plan: Plan,
        upload: Upload | None = None,
        translator: Translator | None = None,
    ) -> None:
        """Send the message to the clusters of its plan.

        `plan` has the whole body, or the body arrives as `upload`. `translator` is needed if an endpoint speaks another
        dialect than the client.
        """
