"""What went wrong with an attempt, in words: the cluster, the endpoint, what happened; never a credential."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from waypost._native import Endpoint
from waypost.errors import UpstreamError

__all__ = ["closed", "malformed", "timed_out", "unreachable"]

_REASONS: Final = {
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "the network cannot be reached",
    errno.ETIMEDOUT: "the connection timed out",
    errno.ECONNRESET: "the connection was reset",
    errno.EMFILE: "this process has too many open files: raise its limit (ulimit -n)",
    errno.ENFILE: "this host has too many open files",
}


def _where(endpoint: Endpoint) -> str:
    url = endpoint.url
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        url = scheme + separator + authority.rpartition("@")[2] + slash + path
    return f"cluster {endpoint.cluster.name}: {url.partition('?')[0]}"


def unreachable(endpoint: Endpoint, exc: BaseException) -> UpstreamError:
    """No connection came about. Always retryable: nothing was sent."""
    if isinstance(exc, socket.gaierror):
        reason = f"the name {endpoint.host} cannot be resolved: {exc.strerror or exc}"
    elif isinstance(exc, ssl.SSLCertVerificationError):
        reason = f"TLS certificate not accepted: {exc.verify_message}; see the cluster's tls.ca and tls.server_name"
    elif isinstance(exc, ssl.SSLError):
        reason = f"TLS handshake failed: {exc.reason or exc}"
    elif isinstance(exc, OSError):
        reason = _REASONS.get(exc.errno or 0) or (os.strerror(exc.errno) if exc.errno else str(exc))
        if not exc.errno and isinstance(exc, ConnectionError):
            reason = "the connection was closed during the handshake"
    else:
        reason = str(exc) or type(exc).__name__
    return UpstreamError("upstream_unreachable", f"{_where(endpoint)}: {reason}", retryable=True)


def closed(endpoint: Endpoint, exc: BaseException | None, answered: bool) -> UpstreamError:
    """The connection ended before the response did."""
    how = "was reset" if isinstance(exc, ConnectionResetError) else "closed"
    when = "in the middle of its response" if answered else "before responding"
    return UpstreamError("upstream_protocol", f"{_where(endpoint)}: connection {how} {when}")


def malformed(endpoint: Endpoint, error: UpstreamError) -> UpstreamError:
    """The response broke HTTP, or cannot be used."""
    out = UpstreamError("upstream_protocol", f"{_where(endpoint)}: {error.message}")
    out.code = error.code  # an endpoint's own, where it told of an error inside a stream
    return out


def timed_out(endpoint: Endpoint, what: str, seconds: float, retryable: bool = False) -> UpstreamError:
    """`what` did not happen within `seconds`."""
    return UpstreamError("upstream_timeout", f"{_where(endpoint)}: {what} within {seconds:g} s", retryable)
