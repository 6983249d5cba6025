"""Any JSON: it has no errors of its own, so clients get native ones. Requests to unknown paths count as JSON."""

from __future__ import annotations

from waypost.dialects.envelope import Envelope

__all__ = ["Json"]


class Json(Envelope):
    """Any JSON."""
