"""Anthropic's HTTP API: what Waypost itself says to its clients."""

from __future__ import annotations

from typing import Final

from waypost.errors import WaypostError

__all__ = ["Anthropic", "error_type"]

_ERROR_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The `type` of an error, by status."""


class Anthropic:
    """Anthropic's HTTP API."""

    def render_error(self, error: WaypostError, message_id: str) -> dict[str, object]:
        """An error of this API. Its clients skip the `code`, which it has all the same."""
        told = {"type": error_type(error.status), "message": error.message, "code": error.code}
        return {"type": "error", "error": told, "request_id": message_id}


def error_type(status: int) -> str:
    """The `type` of an error of this status."""
    return _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
