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


class _AdminHttp1(Http1):
    """`Http1` for requests that are no messages: uvicorn and the application get all bytes."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        if self._state == "boundary":
            self._give_to_uvicorn(data)
        else:
            super().data_received(data)

    def _offer(self, data: bytes) -> None:
        self._give_to_uvicorn(data)


def admin_protocol(app: Starlette, gateway: Gateway) -> type[Http1]:
    """The HTTP protocol class for `app`, the application of administration, for `uvicorn.Config(app, http=…)`."""
    listener = ListenerState(app, gateway, Descriptors(), fast=False)
    return type("AdminHttp1", (_AdminHttp1,), {"listener": listener, **OFFERED})
