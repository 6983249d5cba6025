"""Settings for reaching endpoints. An attempt uses those of the configuration with which its message began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from waypost._native import Endpoint, Snapshot
from waypost.config.proxy import Proxy
from waypost.upstream.dial import Key
from waypost.upstream.resolver import has_addresses
from waypost.upstream.tls import Tls

__all__ = ["DialSettings", "UpstreamSettings", "names"]

_MAX_ADDRESSES: Final = 4096
"""How many `DialSettings` of addresses are kept before all are dropped, because addresses come and go."""


def names(snapshot: Snapshot, proxies: Mapping[tuple[str, str], Proxy]) -> list[Endpoint]:
    """The endpoints whose host is a name of which each address is an endpoint of its own.

    Behind a proxy, the proxy resolves the name, and its addresses are not known here.
    """
    return [
        endpoint
        for endpoint in snapshot.endpoints
        if has_addresses(endpoint.host) and not (proxies and (endpoint.cluster.name, endpoint.url) in proxies)
    ]


class DialSettings:
    """How to reach one endpoint, and the timeout of each step, in seconds."""

    __slots__ = (
        "connect_timeout", "connection_age", "connection_idle", "first_byte_timeout", "first_read_timeout", "hedged",
        "idle_timeout", "key", "stream_comment", "stream_idle_timeout",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, tls: Mapping[str, Tls], proxies: Mapping[tuple[str, str], Proxy]) -> None:
        cluster = endpoint.cluster
        proxy = proxies.get((cluster.name, endpoint.url)) if proxies else None
        self.key: Key = (
            endpoint.host, endpoint.port, tls[cluster.name] if endpoint.tls else None, proxy, endpoint.address
        )  # fmt: skip
        """Connections with equal keys are interchangeable."""
        self.connect_timeout = cluster.connect_timeout
        self.connection_age = cluster.connection_age
        self.connection_idle = cluster.connection_idle
        self.first_byte_timeout = cluster.first_byte_timeout
        self.idle_timeout = cluster.idle_timeout
        self.stream_idle_timeout = cluster.stream_idle_timeout
        self.stream_comment = cluster.stream_comment
        self.hedged = cluster.hedged
        self.first_read_timeout = min(self.first_byte_timeout, cluster.total_timeout)
        """Timeout for the first byte of the response if the request is sent at once, so that `total` just began."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """The part of one configuration that exchanges use."""

    tls: Mapping[str, Tls]
    """By cluster name; only clusters with an `https` endpoint."""
    reply_limit: int
    """Largest reply that is read in full to be translated, in bytes: `limits.body`."""
    buffered: int
    """Most bytes of request bodies that a process holds at one time: `limits.buffered`."""
    mirrors: int
    """How many mirrors may be under way in a process at one time: `limits.mirrors`."""
    proxies: Mapping[tuple[str, str], Proxy] = field(default_factory=dict)
    """By cluster name and URL; only endpoints behind a proxy."""
    names: list[Endpoint] = field(default_factory=list)
    """The endpoints of which each address is an endpoint of its own; see `names`."""
    dials: dict[Endpoint, DialSettings] = field(default_factory=dict)
    """Those that were asked for, for who cannot afford the call of `dial`."""

    def dial(self, endpoint: Endpoint) -> DialSettings:
        """The `DialSettings` of an endpoint of this configuration's snapshot."""
        found = self.dials.get(endpoint)
        if found is None:
            if endpoint.address is not None and len(self.dials) > _MAX_ADDRESSES:
                self.dials.clear()
            found = self.dials[endpoint] = DialSettings(endpoint, self.tls, self.proxies)
        return found
