"""The action `forward`: every endpoint speaks the client's dialect, so the body passes byte for byte."""

from __future__ import annotations

from waypost._native import Plan
from waypost.exchange.carrier import Carrier
from waypost.exchange.upload import Upload
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Forward"]


class Forward:
    """Forwards messages without a change to their bodies."""

    __slots__ = ()

    def begin(self, carrier: Carrier, settings: UpstreamSettings, plan: Plan, upload: Upload | None) -> None:
        carrier.begin(settings, plan, upload)
