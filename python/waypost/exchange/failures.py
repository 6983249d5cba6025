"""The errors of attempts that failed, and their log lines.

A client's error names the cluster and what happened. The log also has the URL and the system's own words, because
hosts, addresses and URLs concern only the operator. Neither names a credential.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Final, Literal, Protocol, TypeAlias

from waypost._native import Endpoint
from waypost.config.url import endpoint_text
from waypost.errors import UpstreamError, WaypostError
from waypost.loop.descriptors import tell_shortage
from waypost.upstream.settings import DialSettings
from waypost.upstream.tunnel import TunnelError

__all__ = [
    "Failure",
    "all_failed",
    "bad_response",
    "check_failed",
    "connection_lost",
    "no_event",
    "no_resources",
    "phase_expired",
    "timed_out",
    "unreachable",
]

Failure: TypeAlias = Literal["connect", "stale", "timeout", "reset", "protocol"]
"""The kind of a failure, as the core counts it; see `Plan.failed`."""


class FailedAttempt(Protocol):
    """An attempt that failed."""

    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def sent(self) -> bool: ...


_REASONS: Final = {
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "the network cannot be reached",
    errno.ETIMEDOUT: "the connection timed out",
    errno.ECONNRESET: "the connection was reset",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this host has too many open files",
}

_logger = logging.getLogger("waypost")


def unreachable(endpoint: Endpoint, exc: BaseException) -> UpstreamError:
    """No connection could be made. Always retryable, because nothing was sent."""
    # Only fixed texts, because those of the exceptions hold names and addresses.
    if isinstance(exc, TunnelError):
        return _failed(endpoint, "upstream_unreachable", str(exc), retryable=True, detail=exc.detail)
    if isinstance(exc, socket.gaierror):
        reason = "its host's name cannot be resolved"
    elif isinstance(exc, ssl.SSLCertVerificationError):
        reason = "TLS certificate not accepted; see the cluster's tls.ca and tls.server_name"
    elif isinstance(exc, ssl.SSLError):
        reason = _certificate_reason(exc) or "TLS handshake failed"
    elif isinstance(exc, OSError) and exc.errno:
        reason = _REASONS.get(exc.errno) or os.strerror(exc.errno)
    elif isinstance(exc, ConnectionError):
        reason = "the connection was closed before anything was sent"
    else:
        reason = "no connection could be made"
    return _failed(endpoint, "upstream_unreachable", reason, retryable=True, detail=str(exc) or type(exc).__name__)


def no_resources(exc: BaseException) -> WaypostError:
    """No connection could be made because this process or its host lacks resources."""
    reason = (_REASONS.get(exc.errno or 0) if isinstance(exc, OSError) else None) or "this host is short of memory"
    tell_shortage(f"no connection can be made to endpoints ({exc})")
    return WaypostError("overloaded", f"no connection can be made to an endpoint: {reason}")


def connection_lost(endpoint: Endpoint, exc: BaseException | None, answered: bool) -> UpstreamError:
    """The connection was lost before the response was complete."""
    how = "was reset" if isinstance(exc, ConnectionResetError) else "closed"
    when = "in the middle of its response" if answered else "before responding"
    # With TLS 1.3, an endpoint rejects a client's certificate only after the client has finished the handshake.
    why = _certificate_reason(exc) if isinstance(exc, ssl.SSLError) else ""
    reason = f"connection {how} {when}" + (f": {why}" if why else "")
    return _failed(endpoint, "upstream_protocol", reason, detail=str(exc or ""))


def bad_response(endpoint: Endpoint, error: UpstreamError) -> UpstreamError:
    """The response violates HTTP, or cannot be used."""
    wrapped = _failed(endpoint, error.code, error.message)
    wrapped.upstream = error.upstream
    return wrapped


def no_event(endpoint: Endpoint) -> UpstreamError:
    """A model's stream of events ended without an event."""
    return _failed(endpoint, "upstream_protocol", "its stream of events ended without an event")


def timed_out(endpoint: Endpoint, what: str, seconds: float, retryable: bool = False) -> UpstreamError:
    """`what` did not happen within `seconds`."""
    return _failed(endpoint, "upstream_timeout", f"{what} within {seconds:g} s", retryable=retryable)


def phase_expired(endpoint: Endpoint, dial: DialSettings, phase: str, silence: float) -> tuple[Failure, UpstreamError]:
    """The attempt took too long in `phase` of its exchange. A response may be silent for `silence` seconds."""
    if phase == "connect":
        return "connect", timed_out(endpoint, "no connection", dial.connect_timeout, retryable=True)
    if phase == "wait":
        return "timeout", timed_out(endpoint, "no response", dial.first_byte_timeout)
    if phase == "hold_head":
        return "timeout", timed_out(endpoint, "no body after the response's head", dial.first_byte_timeout)
    if phase == "deliver":
        return "timeout", timed_out(endpoint, "nothing more of the response", silence)
    return "timeout", timed_out(endpoint, "nothing of the request was read", dial.idle_timeout)


def check_failed(endpoint: Endpoint) -> UpstreamError:
    """The endpoint's active check failed while the attempt waited for a response."""
    return _failed(endpoint, "upstream_timeout", "its check failed while a message waited for a response")


def all_failed(error: UpstreamError, attempts: Sequence[FailedAttempt]) -> UpstreamError:
    """The error of an exchange whose attempts all failed. `error` ended the last one."""
    if len(attempts) < 2:
        return error
    endpoints = dict.fromkeys(attempt.endpoint for attempt in attempts)
    if len(endpoints) == 1:
        message = f"{error.message} ({len(attempts)} attempts)"
    else:
        clusters = ", ".join(f"`{name}`" for name in dict.fromkeys(endpoint.cluster.name for endpoint in endpoints))
        what = "answered as it should" if any(attempt.sent for attempt in attempts) else "could be reached"
        message = f"none of {len(endpoints)} endpoints of {clusters} {what}; last: {error.message}"
    summary = UpstreamError(error.code, message, error.retryable)
    summary.upstream = error.upstream
    return summary


def _certificate_reason(exc: ssl.SSLError) -> str:
    """What to do if the endpoint's alert rejected our certificate (RFC 8446, section 6.2); empty for other alerts."""
    alert = getattr(exc, "reason", None) or ""
    if "CERTIFICATE_REQUIRED" in alert:
        return "the endpoint asks for a certificate; see the cluster's tls.client_certificate"
    if "ALERT" in alert and ("CERTIFICATE" in alert or "UNKNOWN_CA" in alert):
        return "the endpoint does not accept the cluster's tls.client_certificate"
    return ""


def _failed(endpoint: Endpoint, code: str, reason: str, *, retryable: bool = False, detail: str = "") -> UpstreamError:
    cluster = endpoint.cluster.name
    line = f"{reason} ({detail})" if detail else reason
    where = endpoint_text(endpoint.url, endpoint.address)
    _logger.warning("cluster %s: %s: %s", cluster, where, line)
    return UpstreamError(code, f"cluster {cluster}: {reason}", retryable)
