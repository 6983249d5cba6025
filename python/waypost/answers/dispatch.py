"""The only way from a decision to its action.

The ways in (`waypost.entry`) give each decided message to the `Dispatcher`. They know none of the actions.
"""

from __future__ import annotations

from waypost._native import Plan, Recorder
from waypost.answers.actions import ACTIONS
from waypost.answers.mirror import Mirrors
from waypost.exchange.carrier import Carrier
from waypost.exchange.runtime import Runtime
from waypost.exchange.upload import Upload
from waypost.loop.budget import Budget
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Dispatcher"]


class Dispatcher:
    """Carries out the decisions of one process."""

    __slots__ = ("_mirrors",)

    def __init__(self, recorder: Recorder, budget: Budget) -> None:
        self._mirrors = Mirrors(recorder, budget)

    def begin(self, carrier: Carrier, settings: UpstreamSettings, plan: Plan, upload: Upload | None = None) -> None:
        """Begin the action of a decided message, and its mirror if the decision has one.

        The response goes to the carrier's sink, even if it is an error. `settings` come from the configuration that
        decided the message. `upload` is the body of a message that was not read whole.
        """
        mirror = plan.mirror
        if mirror is not None:
            streamed = upload is not None or (plan.body_length > 0 and not plan.intake.buffered)
            self._mirrors.begin(carrier.runtime, settings, plan, mirror, streamed=streamed)
        ACTIONS[plan.action].begin(carrier, settings, plan, upload)

    def close(self, runtime: Runtime) -> None:
        """End the mirrors under way in the running event loop."""
        self._mirrors.close(runtime)

    def forget(self, runtime: Runtime) -> None:
        """Release what the mirrors of a closed event loop held."""
        self._mirrors.forget(runtime)
