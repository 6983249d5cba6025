"""The OpenAI HTTP API: what Waypost itself says to its clients."""

from __future__ import annotations

from typing import Final

from waypost.errors import EnvelopeError, WaypostError

__all__ = ["OpenAi", "error_type"]

_ERROR_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
"""The `type` of an error object, by status."""


class OpenAi:
    """The OpenAI HTTP API."""

    def render_error(self, error: WaypostError, message_id: str) -> dict[str, object]:  # noqa: ARG002 - a dialect's
        """An OpenAI error object. It has no place for `message_id`."""
        field = error.field if isinstance(error, EnvelopeError) else None
        kind = error_type(error.status)
        return {"error": {"message": error.message, "type": kind, "param": field, "code": error.code}}


def error_type(status: int) -> str:
    """The `type` of an error of this status."""
    return _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
