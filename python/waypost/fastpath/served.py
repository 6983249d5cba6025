"""What the fast path serves: the protocol class of one application, and what its connections share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waypost.descriptors import Descriptors
from waypost.fastpath.opening import OFFERED
from waypost.fastpath.protocol import Protocol

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from waypost.app import Gateway

__all__ = ["Served", "fast_path"]


@dataclass(slots=True)
class Served:
    """What the connections of an application share."""

    application: Starlette
    gateway: Gateway
    descriptors: Descriptors
    fast: bool
    """Carry plain messages. False: only judge heads, all messages are the application's."""

    def by(self, app: Any) -> bool:
        """Whether `app`, which the server calls, is this application: nothing stands between."""
        return app is self.application and not self.application.user_middleware


def fast_path(app: Starlette, *, fast: bool = True) -> type[Protocol]:
    """The HTTP protocol class of an application that `create_app` made, for `uvicorn.Config(app, http=…)`.

    Plain messages then pass by the application: it may have no middleware of its own and not stand within another
    one, and uvicorn's `proxy_headers` has to be off. `fast=False` gives them to the application all the same; what is
    left is how broken requests are refused and slow clients disconnected.

    Raises `ValueError` where `app` is something else, or has middleware.
    """
    gateway: Gateway | None = getattr(app.state, "gateway", None)
    if gateway is None:
        raise ValueError("the fast path is for the application that waypost.create_app makes, not for one around it")
    if app.user_middleware:
        raise ValueError("the fast path would pass by the application's middleware: serve it without one of them")
    served = Served(app, gateway, Descriptors(), fast)
    return type("Protocol", (Protocol,), {"served": served, **OFFERED})
