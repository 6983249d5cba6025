"""What the exchanges of one event loop share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waypost._native import Endpoint, Recorder, Snapshot
from waypost.config.proxy import Proxy
from waypost.exchange.checks import Checks
from waypost.exchange.line import Line
from waypost.exchange.pool import Key, Pool
from waypost.exchange.tls import Tls
from waypost.exchange.wheel import Wheel

if TYPE_CHECKING:
    from waypost.exchange.direct import Direct

__all__ = ["Runtime", "Settings"]

_RESTING = 256


class Place:
    """How an endpoint is reached, and how long that may take, in seconds: what every attempt asks for."""

    __slots__ = ("connect_timeout", "first_byte_timeout", "hedged", "idle_timeout", "key", "patience", "total_timeout")

    def __init__(self, endpoint: Endpoint, tls: Mapping[str, Tls], proxies: Mapping[tuple[str, str], Proxy]) -> None:
        cluster = endpoint.cluster
        proxy = proxies.get((cluster.name, endpoint.url)) if proxies else None
        self.key: Key = (endpoint.host, endpoint.port, tls[cluster.name] if endpoint.tls else None, proxy)
        self.connect_timeout = cluster.connect_timeout
        self.first_byte_timeout = cluster.first_byte_timeout
        self.idle_timeout = cluster.idle_timeout
        self.total_timeout = cluster.total_timeout
        self.hedged = cluster.hedged
        self.patience = min(self.first_byte_timeout, self.total_timeout)
        """For the first byte of the response to a request that is sent at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What exchanges need of the configuration that they began with."""

    tls: Mapping[str, Tls]
    """By cluster name; clusters without an `https` endpoint are not in it."""
    reply_limit: int
    """How many bytes a reply may have that must be read whole to be translated: `limits.body`."""
    proxies: Mapping[tuple[str, str], Proxy] = field(default_factory=dict)
    """By cluster name and URL, of the endpoints that are reached by one."""
    _places: dict[Endpoint, Place] = field(default_factory=dict)

    def place(self, endpoint: Endpoint) -> Place:
        """The `Place` of an endpoint of this configuration's snapshot."""
        place = self._places.get(endpoint)
        if place is None:
            place = self._places[endpoint] = Place(endpoint, self.tls, self.proxies)
        return place


class Runtime:
    """What belongs to one event loop: timers, connections, who waits, checks. Lives until `close`; survives reloads."""

    __slots__ = ("checks", "line", "loop", "pool", "resting", "wheel")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, recorder: Recorder | None = None, lines: list[Line] | None = None
    ) -> None:
        """`lines` has those of the event loops that share their clusters with this one."""
        self.loop = loop
        self.line = Line(loop, [] if lines is None else lines)
        self.wheel = Wheel(loop)
        self.pool = Pool(loop, self.wheel, recorder)
        self.checks = Checks(self)
        self.resting: list[Direct] = []
        """Some that carry no message, for the next ones."""

    def follow(self, snapshot: Snapshot, settings: Settings) -> None:
        """This configuration is in force from now on: limits may have been raised, and checks come or gone."""
        self.checks.follow(snapshot, settings)
        self.line.call(snapshot.turns())

    def rest(self, direct: Direct) -> None:
        """It carries no message any more."""
        direct.rest()
        if len(self.resting) < _RESTING:
            self.resting.append(direct)
        else:
            self.wheel.cancel(direct)

    def close(self) -> None:
        """Stop checking, and close idle connections. Exchanges under way keep theirs until they are over."""
        self.checks.close()
        for direct in self.resting:
            self.wheel.cancel(direct)
        self.pool.close()
        self.line.close()
