"""Keys of the ASGI scope's `extensions` that Waypost's own server and application share."""

from __future__ import annotations

from typing import Final

__all__ = ["BACKLOG", "REJECTED", "SHORTCUT"]

SHORTCUT: Final = "waypost.shortcut"
"""A mapping whose `shortcut` is the server's `AsgiShortcut` for this message."""
BACKLOG: Final = "waypost.backlog"
"""A mapping whose `backlog` is the `Backlog` of the client's connection."""
REJECTED: Final = "waypost.rejected"
"""The error with which the server rejected the rest of the request, once it has. To the application, the client has
then left."""
