"""Every private name of uvicorn and zttp that Waypost uses, checked at import.

uvicorn and zttp are pinned to minor versions because of these names. A release that renames one of them fails here, not
in the middle of a message.
"""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl, service_unavailable
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

try:
    import zttp
except ImportError:
    HTTP2 = False
else:
    from uvicorn.protocols.http.zttp_h2_impl import RequestResponseCycle as StreamCycle
    from uvicorn.protocols.http.zttp_h2_impl import ZttpH2Protocol

    HTTP2 = True
    """Whether the extra `http2` is installed, which `StreamCycle` and `ZttpH2Protocol` need."""

__all__ = [
    "HIGH_WATER_LIMIT",
    "HTTP2",
    "STATUS_LINE",
    "FlowControl",
    "HttpToolsProtocol",
    "RequestResponseCycle",
    "ServerState",
    "service_unavailable",
]

_METHODS: dict[type, tuple[str, ...]] = {
    HttpToolsProtocol: (
        "connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing",
        "on_message_begin", "on_response_complete", "shutdown", "_start_asgi_task",
    ),
    FlowControl: ("pause_reading", "resume_reading"),
    RequestResponseCycle: ("receive", "send"),
}  # fmt: skip
"""Methods that Waypost calls or overrides."""

_ATTRIBUTES: dict[type, tuple[str, ...]] = {
    HttpToolsProtocol: (
        "access_log", "access_logger", "app", "app_state", "client", "config", "connections", "cycle", "flow",
        "limit_concurrency", "logger", "loop", "root_path", "scheme", "scope", "server_state", "tasks",
        "timeout_keep_alive", "transport",
    ),
    FlowControl: ("read_paused", "write_paused"),
    RequestResponseCycle: (
        "access_log", "body", "chunked_encoding", "default_headers", "disconnected", "expected_content_length",
        "keep_alive", "message_event", "more_body", "on_response", "response_complete", "response_started", "scope",
        "transport", "waiting_for_100_continue",
    ),
    ServerState: ("default_headers", "total_requests"),
}  # fmt: skip
"""Attributes that Waypost reads or sets. Their classes create them in `__init__`."""

_PARAMETERS: dict[type, tuple[str, ...]] = {
    RequestResponseCycle: (
        "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event",
        "expect_100_continue", "keep_alive", "on_response",
    ),
}  # fmt: skip
"""Parameters of classes that Waypost calls."""

if HTTP2:
    __all__ += ["StreamCycle", "ZttpH2Protocol"]
    _METHODS |= {
        ZttpH2Protocol: (
            "connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing",
            "events", "handle_events", "handle_request", "on_response_complete", "on_stream_closed",
            "resume_reading_if_idle", "flush", "shutdown", "_close_connection", "_unset_keepalive_if_required",
        ),
        StreamCycle: ("abort_stream", "send"),
        zttp.H2Connection: (
            "close", "data_to_send", "initiate_connection", "next_event", "receive_data", "send_window", "stream",
        ),
        zttp.Request: ("end_stream", "headers", "method", "stream_id", "target"),
        zttp.Stream: ("end_message", "pending_bytes", "reset", "send_data", "send_response", "send_window"),
    }  # fmt: skip
    _ATTRIBUTES |= {
        ZttpH2Protocol: ("app", "client", "conn", "cycles", "flow", "loop", "shutdown_requested", "transport"),
        StreamCycle: (
            "bodyless", "default_headers", "disconnected", "message_event", "more_body", "response_complete", "scope",
            "stream",
        ),
    }  # fmt: skip


def _missing() -> list[str]:
    methods = [f"{cls.__name__}.{name}" for cls, names in _METHODS.items() for name in names if not hasattr(cls, name)]
    attributes = [
        f"{cls.__name__}.{name}"
        for cls, names in _ATTRIBUTES.items()
        for name in names
        if name not in cls.__init__.__code__.co_names  # type: ignore[misc]
    ]
    parameters = [
        f"{cls.__name__}({name}=)"
        for cls, names in _PARAMETERS.items()
        for name in names
        if name not in cls.__init__.__code__.co_varnames  # type: ignore[misc]
    ]
    return methods + attributes + parameters


if missing := _missing():
    raise ImportError(
        f"this version of uvicorn or zttp has no {', '.join(missing)}: install the version that Waypost requires"
    )
