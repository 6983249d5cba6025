"""What the fast path uses of uvicorn beyond its public interface: all of it, in this one place, checked at import.

uvicorn is pinned to a minor version for these. A release that renames one of them fails here, and not on some message.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

__all__ = ["STATUS_LINE", "HttpToolsProtocol", "RequestResponseCycle"]

_METHODS: Final[dict[type, tuple[str, ...]]] = {
    HttpToolsProtocol: (
        "connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing",
        "on_message_begin", "on_headers_complete", "on_message_complete", "send_400_response", "shutdown",
        "handle_websocket_upgrade", "on_response_complete", "_start_asgi_task", "_unsupported_upgrade_warning",
        "_unset_keepalive_if_required",
    ),
    FlowControl: ("pause_reading", "resume_reading"),
}  # fmt: skip
"""Methods that are called or overridden."""

_ATTRIBUTES: Final[dict[type, tuple[str, ...]]] = {
    HttpToolsProtocol: (
        "client", "config", "connections", "cycle", "flow", "limit_concurrency",
        "loop", "parser", "pipeline", "scheme", "server_state", "tasks", "timeout_keep_alive",
        "timeout_keep_alive_task", "transport",
    ),
    FlowControl: ("read_paused", "write_paused"),
    RequestResponseCycle: (
        "chunked_encoding", "disconnected", "expected_content_length", "message_event", "response_complete",
        "response_started", "scope", "transport",
    ),
    ServerState: ("default_headers", "total_requests"),
}  # fmt: skip
"""Attributes that are read or set; their classes make them in `__init__`."""


def _missing() -> list[str]:
    methods = [f"{cls.__name__}.{name}" for cls, names in _METHODS.items() for name in names if not hasattr(cls, name)]
    attributes = [
        f"{cls.__name__}.{name}"
        for cls, names in _ATTRIBUTES.items()
        for name in names
        if name not in cls.__init__.__code__.co_names  # type: ignore[misc]
    ]
    return methods + attributes


if gone := _missing():
    raise ImportError(f"this version of uvicorn has no {', '.join(gone)}: install the one that Waypost asks for")
