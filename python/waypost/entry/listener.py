"""The state that all client connections of one application share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from waypost.loop.descriptors import Descriptors

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from waypost.gateway import Gateway

__all__ = ["Guard", "ListenerState"]

Guard: TypeAlias = Literal["open", "keyless", "always"]
"""What a listener asks of pages of other sites, as `Snapshot.check_origin` has it."""


@dataclass(slots=True)
class ListenerState:
    """The state that all client connections of one application share."""

    application: Starlette
    gateway: Gateway
    descriptors: Descriptors
    fast: bool
    """Whether the fast path is on. If not, heads are still checked, but every message goes to the application."""
    guard: Guard = "open"

    def serves_directly(self, app: Any) -> bool:
        """Whether `app` is the application itself, without middleware inside or around it."""
        return app is self.application and not self.application.user_middleware
