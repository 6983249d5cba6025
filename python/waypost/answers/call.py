"""Internal calls: messages that Waypost sends itself, for a message that it carries.

An internal call has the identity, trace, deadline and priority of its parent. The access log and the metrics show it as
an internal call, never as a client's message. Its response goes to a sink: a `CollectSink` collects the response, any
other sink gets it as it arrives.
"""

from __future__ import annotations

from waypost._native import Plan
from waypost.answers.actions import ACTIONS
from waypost.exchange.exchange import Exchange
from waypost.exchange.runtime import Runtime
from waypost.exchange.translator import Translator
from waypost.exchange.upload import Upload
from waypost.loop.wheel import Timer
from waypost.sink import Sink
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Call", "call"]


class Call:
    """An internal call under way: the carrier of one message. Used from its event loop only."""

    __slots__ = ("_exchange", "runtime", "sink")

    def __init__(self, runtime: Runtime, sink: Sink) -> None:
        self.runtime = runtime
        self.sink = sink
        self._exchange: Exchange | None = None

    def begin(
        self,
        settings: UpstreamSettings,
        plan: Plan,
        upload: Upload | None = None,
        translator: Translator | None = None,
    ) -> None:
        timer = Timer()
        timer.owner = exchange = self._exchange = Exchange(
            self.runtime, settings, plan, self.sink, timer, upload=upload, translator=translator
        )
        exchange.begin(plan.begin())

    def cancel(self) -> None:
        """End the call, because its response is no longer needed. The sink gets no further call."""
        if self._exchange is not None:
            self._exchange.cancel()


def call(runtime: Runtime, settings: UpstreamSettings, plan: Plan, sink: Sink) -> Call:
    """Begin an internal call. `sink` gets its response, even if that is an error.

    `plan` comes from the parent's `Plan.child`, and `settings` from the parent's configuration.
    """
    carrier = Call(runtime, sink)
    ACTIONS[plan.action].begin(carrier, settings, plan, None)
    return carrier
