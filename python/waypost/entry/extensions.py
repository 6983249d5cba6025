"""Keys of the ASGI scope's `extensions`, by which Waypost's own server and application know each other."""

from __future__ import annotations

from typing import Final

__all__ = ["REJECTED", "SHORTCUT"]

SHORTCUT: Final = "waypost.shortcut"
"""Its `shortcut` is the server's `AsgiShortcut` for this message."""
REJECTED: Final = "waypost.rejected"
"""Present once the server has rejected the rest of the request: the error that it answered. The application then
sees a client that has left."""
