"""The HTTP/1 protocol of the listener that administration has of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost.entry.http1 import Http1
from waypost.entry.listener import ListenerState
from waypost.entry.negotiation import OFFERED
from waypost.loop.descriptors import Descriptors

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from waypost.gateway import Gateway

__all__ = ["admin_protocol"]


def admin_protocol(app: Starlette, gateway: Gateway) -> type[Http1]:
    """The HTTP protocol class for `app`, the application of administration, for `uvicorn.Config(app, http=…)`."""
    listener = ListenerState(app, gateway, Descriptors(), fast=False)
    return type("AdminHttp1", (Http1,), {"listener": listener, **OFFERED})
