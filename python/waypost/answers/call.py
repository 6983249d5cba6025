"""Internal calls: exchanges that Waypost begins itself, for a message that it carries.

The called message has its parent's identity, trace, deadline and priority. The access log and the metrics show it as
an internal call, never as a client's message. Its response goes to a sink: whole to a `CollectSink`, or streamed to any
other.
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
    """An internal call under way: carries one message. Used from its event loop only."""

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
        """The response is not needed any more: end the exchange. The sink hears nothing more."""
        if self._exchange is not None:
            self._exchange.cancel()


def call(runtime: Runtime, settings: UpstreamSettings, plan: Plan, sink: Sink) -> Call:
    """Begin an internal call; `sink` gets its response, an error too.

    `plan` comes from `Plan.child` of the message that the call is for, and `settings` from the same configuration.
    """
    out = Call(runtime, sink)
    ACTIONS[plan.action].begin(out, settings, plan, None)
    return out
