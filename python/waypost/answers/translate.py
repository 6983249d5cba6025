"""The action `translate`: an endpoint that the message may go to speaks another dialect than the client."""

from __future__ import annotations

from collections.abc import Callable

from waypost._native import Endpoint, Plan
from waypost.dialects.registry import find_pair
from waypost.exchange.carrier import Carrier
from waypost.exchange.upload import Upload
from waypost.sink import Sink
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Translate"]


class Translate:
    """Sends messages to endpoints in their own dialects, and translates the responses back."""

    __slots__ = ()

    def begin(self, carrier: Carrier, settings: UpstreamSettings, plan: Plan, upload: Upload | None) -> None:
        carrier.begin(settings, plan, upload, _PairTranslator(plan, settings.reply_limit))


class _PairTranslator:
    """The translator of one message. Translates the request once for each cluster, whatever the number of attempts."""

    __slots__ = ("_body", "_cluster", "_dropped", "_limit", "_plan")

    def __init__(self, plan: Plan, limit: int) -> None:
        self._plan = plan
        self._limit = limit
        self._cluster = ""
        self._body = b""
        self._dropped: list[str] = []

    def request(self, endpoint: Endpoint) -> bytes | None:
        cluster = endpoint.cluster
        pair = find_pair(self._plan.dialect, cluster.speaks)
        if pair is None:
            return None
        if self._cluster != cluster.name:
            self._body, self._dropped = pair.request(self._plan.body, cluster)
            self._cluster = cluster.name
        return self._body

    def response(self, inner: Sink, endpoint: Endpoint, complete: Callable[[], None]) -> Sink:
        pair = find_pair(self._plan.dialect, endpoint.cluster.speaks)
        if pair is None:
            return inner
        return pair.response(inner, self._plan, endpoint, self._limit, complete, self._dropped)
