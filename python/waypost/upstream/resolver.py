"""Resolves names: threads look them up, answers are kept, and names in use are looked up again.

This file implements all of the rules:

- A new connection uses the current answer. It waits only if there is none; then all that need the name wait for one
  lookup.
- A name in use (a connection to it is open, or one was requested within `KEEP`) is looked up every `REFRESH` seconds,
  because the system's resolver does not report how long an answer is valid. Other names are forgotten.
- If a lookup fails, the last answer is used for up to `STALE` seconds, and the log says so once.
- All addresses of a name, IPv6 and IPv4, belong to one endpoint. Each call starts with another one. For `AVOID`
  seconds, an address that failed is tried after all others.
- A connection to an address that is no longer in the answer is not reused once the address has been missing for
  `LEAVE` seconds. Without this delay, resolvers that return a different part of many addresses each time would empty
  the pool.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from waypost.loop.wheel import Timed, Wheel

__all__ = ["Address", "Resolver", "is_address"]

REFRESH: Final = 10.0
KEEP: Final = 60.0
STALE: Final = 300.0
AVOID: Final = 30.0
LEAVE: Final = 30.0
RETRY: Final = 1.0
"""Seconds after a failed lookup in which callers get the same error without another lookup."""
MAX_LOOKUPS: Final = 32
"""Lookups, and threads, at a time. Others queue up: those that a connection waits for come first."""
MAX_ADDRESSES: Final = 64
"""Addresses of one answer that are used."""

_logger = logging.getLogger("waypost")

Answer = list[str] | OSError
"""The addresses in the system's order (RFC 6724), or the error of the lookup."""


def is_address(host: str) -> bool:
    """Whether the host of an endpoint's URL is an IP address and not a name (`waypost.config.url.check_host`)."""
    return ":" in host or host.replace(".", "").isdigit()


class Address:
    """One address of a name, or an address that a URL gives instead of a name."""

    __slots__ = ("_name", "avoid", "ip", "retire_at")

    def __init__(self, name: Name | None, ip: str) -> None:
        self._name = name
        self.ip = ip
        self.avoid = -math.inf
        """Event-loop time until which other addresses are tried first."""
        self.retire_at = math.inf
        """Event-loop time from which connections to the address are not reused."""

    def failed(self, now: float) -> None:
        """Record that the address refused a connection, or did not answer in time."""
        self.avoid = now + AVOID

    def opened(self) -> None:
        """Count an open connection."""
        if self._name is not None:
            self._name.connections += 1

    def closed(self) -> None:
        """Count the end of a connection."""
        if self._name is not None:
            self._name.connections -= 1


class Name(Timed):
    """The state of one name."""

    __slots__ = ("_resolver", "addresses", "asked", "connections", "error", "failed", "good_until", "host", "known",
                 "looking", "retry", "turn", "waiting")  # fmt: skip

    def __init__(self, resolver: Resolver, host: str) -> None:
        super().__init__()
        self._resolver = resolver
        self.host = host
        self.addresses: list[Address] = []
        """The last answer, with the address families interleaved (RFC 8305, section 4)."""
        self.known: dict[str, Address] = {}
        """These addresses, and those that recently left the answer."""
        self.good_until = -math.inf
        self.asked = -math.inf
        self.connections = 0
        """How many connections are open."""
        self.looking = False
        self.waiting: dict[asyncio.Future[None], None] = {}
        self.error: OSError | None = None
        """Why the last lookup failed."""
        self.retry = -math.inf
        self.turn = os.getpid()  # workers begin with different addresses

    def expired(self, now: float) -> None:
        self._resolver.due(self, now)

    def take(self, now: float) -> list[Address]:
        """The addresses in the order to try them: each call starts with another one, failed ones come last."""
        good = [address for address in self.addresses if address.avoid <= now]
        bad = [address for address in self.addresses if address.avoid > now]
        if good:
            first = self.turn % len(good)
            self.turn += 1
            good = good[first:] + good[:first]
        bad.sort(key=lambda address: address.avoid)
        return good + bad

    def learn(self, found: list[str], now: float) -> None:
        """Replace the answer with `found`."""
        for ip, address in list(self.known.items()):
            if address.retire_at <= now:
                del self.known[ip]
        self.addresses = []
        for ip in _interleaved(found):
            address = self.known.get(ip) or Address(self, ip)
            address.retire_at = math.inf
            self.known[ip] = address
            self.addresses.append(address)
        for address in self.known.values():
            if address.retire_at == math.inf and address not in self.addresses:
                address.retire_at = now + LEAVE


class Resolver:
    """Resolves the names that one event loop connects to, in threads that a stop does not wait for."""

    __slots__ = ("_closed", "_loop", "_names", "_run", "_running", "_waiting", "_wheel")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wheel: Wheel,
        run: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """`run` runs a lookup, which blocks. The default is a new thread for each."""
        self._loop = loop
        self._wheel = wheel
        self._run = _in_thread if run is None else run
        self._names: dict[str, Name] = {}
        self._running = 0
        self._waiting: deque[Name] = deque()
        self._closed = False

    async def resolve(self, host: str) -> list[Address]:
        """The addresses of `host` in the order to try them. Raises `OSError` (`socket.gaierror` is one) if unknown."""
        if is_address(host):
            return [Address(None, host)]
        now = self._loop.time()
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = Name(self, host)
        name.asked = now
        if name.good_until <= now:
            if name.retry <= now:
                waiter = self._loop.create_future()
                name.waiting[waiter] = None
                self._look_up(name)
                try:
                    await waiter
                finally:
                    name.waiting.pop(waiter, None)
                now = self._loop.time()
            if name.error is not None and name.good_until <= now:
                raise type(name.error)(*name.error.args)  # a new object: each caller gets its own traceback
        return name.take(now)

    def due(self, name: Name, now: float) -> None:
        """Look `name` up again, or forget it if it is not in use."""
        if name.connections or name.asked + KEEP > now:
            self._look_up(name)
        elif self._names.get(name.host) is name and not name.looking:
            del self._names[name.host]

    def close(self) -> None:
        """Refresh no name any more. Lookups that a connection waits for still run."""
        self._closed = True
        for name in self._names.values():
            self._wheel.cancel(name)

    def __len__(self) -> int:
        """How many names are known."""
        return len(self._names)

    def _look_up(self, name: Name) -> None:
        if name.looking:
            return
        name.looking = True
        if self._running < MAX_LOOKUPS:
            self._start(name)
        elif name.waiting:
            self._waiting.appendleft(name)
        else:
            self._waiting.append(name)

    def _start(self, name: Name) -> None:
        self._running += 1
        host = name.host

        def look_up() -> None:
            answer = _ask(host)
            with suppress(RuntimeError):  # the event loop is closed
                self._loop.call_soon_threadsafe(self._answered, name, answer)

        try:
            self._run(look_up)
        except RuntimeError as exc:  # no thread can be started
            self._loop.call_soon_threadsafe(self._answered, name, OSError(f"the name cannot be looked up: {exc}"))

    def _answered(self, name: Name, answer: Answer) -> None:
        self._running -= 1
        name.looking = False
        now = self._loop.time()
        if isinstance(answer, OSError):
            if name.error is None and name.addresses:
                _logger.warning(
                    "%s cannot be resolved (%s): its last addresses are used for up to %g s", name.host, answer, STALE
                )
            name.error = answer
            name.retry = now + RETRY
        else:
            if name.error is not None and name.addresses:
                _logger.info("%s can be resolved again", name.host)
            name.error = None
            name.learn(answer, now)
            name.good_until = now + STALE
        waiting, name.waiting = name.waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
        if not self._closed:
            self._wheel.schedule(name, now + REFRESH)
        if self._waiting:
            self._start(self._waiting.popleft())


def _ask(host: str) -> Answer:
    """One lookup. Blocks as long as the system's resolver takes."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as exc:
        return exc
    except UnicodeError:
        return socket.gaierror(socket.EAI_NONAME, "not a name that can be looked up")
    ips = dict.fromkeys(str(address[0]) for family, _, _, _, address in found if family in _FAMILIES)
    if not ips:
        return socket.gaierror(socket.EAI_NONAME, "the name has no address")
    return list(ips)[:MAX_ADDRESSES]


_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def _interleaved(ips: list[str]) -> list[str]:
    """`ips` with the two families alternating, each in its order, beginning with the family of the first address."""
    first = [ip for ip in ips if (":" in ip) == (":" in ips[0])]
    other = [ip for ip in ips if (":" in ip) != (":" in ips[0])]
    return [ip for pair in itertools.zip_longest(first, other) for ip in pair if ip is not None]


def _in_thread(lookup: Callable[[], None]) -> None:
    # A daemon thread: the system's resolver can take half a minute, and a stop must not wait for it.
    threading.Thread(target=lookup, name="waypost-lookup", daemon=True).start()
