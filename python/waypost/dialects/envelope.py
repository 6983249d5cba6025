"""The native dialect: what Waypost itself says to a client that sends envelopes."""

from __future__ import annotations

from waypost.errors import EnvelopeError, UpstreamError, WaypostError

__all__ = ["Envelope", "error_object"]


class Envelope:
    """The native dialect."""

    def render_error(self, error: WaypostError, message_id: str) -> dict[str, object]:
        return {"id": message_id, "error": error_object(error)}


def error_object(error: WaypostError) -> dict[str, object]:
    """The `error` member of a native reply: `code`, `message` and, if known, `offset` (bytes), `field`, `upstream`."""
    out: dict[str, object] = {"code": error.code, "message": error.message}
    if isinstance(error, EnvelopeError):
        if error.offset is not None:
            out["offset"] = error.offset
        if error.field is not None:
            out["field"] = error.field
    elif isinstance(error, UpstreamError) and error.upstream is not None:
        out["upstream"] = error.upstream
    return out
