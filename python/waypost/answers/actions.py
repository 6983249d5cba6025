"""The actions by name. A new action is a module with one class, and a line in `ACTIONS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from waypost._native import Plan
from waypost.answers.forward import Forward
from waypost.answers.reply import Reply
from waypost.answers.translate import Translate
from waypost.exchange.carrier import Carrier
from waypost.exchange.upload import Upload
from waypost.upstream.settings import UpstreamSettings

__all__ = ["ACTIONS", "Action"]


class Action(Protocol):
    """Answers decided messages. An action has no state."""

    def begin(self, carrier: Carrier, settings: UpstreamSettings, plan: Plan, upload: Upload | None) -> None:
        """Answer the message of `plan` through `carrier`, at once or by callbacks of the event loop.

        `upload` is the body of a message that was not read whole.
        """


ACTIONS: Final[Mapping[str, Action]] = {"forward": Forward(), "translate": Translate(), "reply": Reply()}
"""The actions by their names in `Plan.action`."""
