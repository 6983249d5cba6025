"""The one way from a decision to what is done about it.

Ways in (`waypost.entry`) hand each decided message to the `Dispatcher` and know none of the actions.
"""

from __future__ import annotations

from waypost._native import Plan, Recorder
from waypost.answers.actions import ACTIONS
from waypost.answers.mirror import Mirrors
from waypost.exchange.carrier import Carrier
from waypost.exchange.upload import Upload
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Dispatcher"]


class Dispatcher:
    """Carries out the decisions of one process."""

    __slots__ = ("_mirrors",)

    def __init__(self, recorder: Recorder) -> None:
        self._mirrors = Mirrors(recorder)

    def begin(self, carrier: Carrier, settings: UpstreamSettings, plan: Plan, upload: Upload | None = None) -> None:
        """Do what the decision says. The response, an error too, goes to the carrier's sink.

        `settings` come from the configuration that the message was decided by; `upload` brings a body that was not read
        whole.
        """
        mirror = plan.mirror
        if mirror is not None:
            streamed = upload is not None or (plan.body_length > 0 and not plan.intake.buffered)
            self._mirrors.begin(carrier.runtime, settings, plan, mirror, streamed=streamed)
        ACTIONS[plan.action].begin(carrier, settings, plan, upload)
