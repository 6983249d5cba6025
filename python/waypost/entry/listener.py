"""The state that all client connections of one application share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waypost.loop.descriptors import Descriptors

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from waypost.gateway import Gateway

__all__ = ["ListenerState"]


@dataclass(slots=True)
class ListenerState:
    """Shared by the connections of an application."""

    application: Starlette
    gateway: Gateway
    descriptors: Descriptors
    fast: bool
    """Carry plain messages. False: only judge heads, and give all messages to the application."""

    def serves_directly(self, app: Any) -> bool:
        """Whether the server calls this application itself, so that no middleware stands between."""
        return app is self.application and not self.application.user_middleware
