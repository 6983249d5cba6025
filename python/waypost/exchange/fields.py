"""The header fields that every routed response carries."""

from __future__ import annotations

from typing import Final

from waypost._native import Endpoint, Plan
from waypost.exchange.sink import Headers

__all__ = ["OWN_FIELDS", "own_fields"]

OWN_FIELDS: Final = frozenset({b"x-request-id", b"x-waypost-route", b"x-waypost-cluster", b"x-waypost-attempts"})


def own_fields(plan: Plan, endpoint: Endpoint | None, attempts: int) -> Headers:
    """Whose message it is and where it went: `endpoint` answered, or was tried last."""
    cluster = plan.decision.cluster if endpoint is None else endpoint.cluster.name
    own = [
        (b"x-request-id", plan.request_id),
        (b"x-waypost-route", _value(plan.decision.route)),
        (b"x-waypost-attempts", b"%d" % attempts),
    ]
    if cluster is not None:
        own.append((b"x-waypost-cluster", _value(cluster)))
    return own


def _value(name: str) -> bytes:
    """A name from the configuration as a header field's value."""
    if name.isascii() and name.isprintable():
        return name.encode("ascii")
    return name.encode("ascii", "backslashreplace").translate(None, bytes(range(32)) + b"\x7f")
