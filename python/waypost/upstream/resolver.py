"""Resolves names: threads look them up, answers are kept, and names in use are looked up again.

This file implements all of the rules:

- A new connection uses the current answer. It waits only if there is none; then all that need the name wait for one
  lookup.
- A name in use (a connection to it is open, or one was requested within `KEEP`) is looked up every `REFRESH` seconds,
  because the system's resolver does not report how long an answer is valid. A name of the configuration that is not in
  use is looked up every `REST` seconds once it was used. Other names are forgotten.
- If a lookup fails, the last answer is used for up to `STALE` seconds, and the log says so once.
- Each answer is told to the core (`told`), for which each address is an endpoint of its own: it chooses among them.
  Addresses of a family that this host has no route for are not told.
- Without an endpoint for each address (before the first answer, for a proxy, for `localhost`), each call starts with
  another one. For `AVOID` seconds, an address that failed is tried after all others.
- Of more than `MAX_ADDRESSES` addresses, so many are used: first those that the last answer had, too.
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
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from waypost.loop.wheel import Timed, Wheel

__all__ = ["Address", "Resolver", "has_addresses", "is_address"]

REFRESH: Final = 10.0
REST: Final = 60.0
KEEP: Final = 60.0
STALE: Final = 300.0
AVOID: Final = 30.0
RETRY: Final = 1.0
"""Seconds after a failed lookup in which callers get the same error without another lookup."""
MAX_LOOKUPS: Final = 32
"""Lookups, and threads, at a time. Others queue up: those that a connection waits for come first."""
MAX_ADDRESSES: Final = 64
"""Addresses of one name that are used."""
_MAX_ANSWER: Final = 4096
"""Addresses of one answer that are looked at."""

_logger = logging.getLogger("waypost")

Answer = tuple[list[str], list[str]] | OSError
"""The addresses in the system's order (RFC 6724), and those of them that this host has a route for; or the error."""


def is_address(host: str) -> bool:
    """Whether the host of an endpoint's URL is an IP address and not a name (`waypost.config.url.check_host`)."""
    return ":" in host or host.replace(".", "").isdigit()


def has_addresses(host: str) -> bool:
    """Whether `host` is a name of which each address is an endpoint of its own.

    Those of `localhost` (RFC 6761, section 6.3) are one host: a server often listens at one of its addresses only.
    """
    label = host.removesuffix(".").rpartition(".")[2]
    return label.lower() != "localhost" and not is_address(host)


class Address:
    """One address of a name, or an address that a URL gives instead of a name."""

    __slots__ = ("_name", "avoid", "ip")

    def __init__(self, name: Name | None, ip: str) -> None:
        self._name = name
        self.ip = ip
        self.avoid = -math.inf
        """Event-loop time until which other addresses are tried first."""

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

    __slots__ = ("_resolver", "addresses", "answered", "asked", "connections", "crowded", "error", "good_until", "host",
                 "known", "looking", "retry", "turn", "waiting")  # fmt: skip

    def __init__(self, resolver: Resolver, host: str) -> None:
        super().__init__()
        self._resolver = resolver
        self.host = host
        self.addresses: list[Address] = []
        """The last answer, with the address families interleaved (RFC 8305, section 4)."""
        self.known: dict[str, Address] = {}
        """These addresses by their text, and others that were used lately."""
        self.good_until = -math.inf
        self.asked = -math.inf
        self.answered = -math.inf
        self.crowded = False
        """The last answer had more addresses than are used."""
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

    def address(self, ip: str) -> Address:
        """The address with this text, which may have left the answer."""
        found = self.known.get(ip)
        if found is None:
            found = self.known[ip] = Address(self, ip)
        return found

    def learn(self, found: list[str]) -> None:
        """Replace the answer with `found`."""
        self.crowded = len(found) > MAX_ADDRESSES
        if self.crowded:
            before = {address.ip for address in self.addresses}
            found = sorted(found, key=lambda ip: ip not in before)[:MAX_ADDRESSES]
        self.addresses = [self.address(ip) for ip in _interleaved(found)]
        self.known = {address.ip: address for address in self.addresses}


class Resolver:
    """Resolves the names that one event loop connects to, in threads that a stop does not wait for."""

    __slots__ = ("_closed", "_configured", "_loop", "_names", "_run", "_running", "_waiting", "_wheel", "told")

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
        self.told: Callable[[str, list[str]], None] | None = None
        """Called with a name of the configuration and its addresses at each answer; without addresses once the last
        answer is too old."""
        self._names: dict[str, Name] = {}
        self._configured: frozenset[str] = frozenset()
        self._running = 0
        self._waiting: deque[Name] = deque()
        self._closed = False

    def follow(self, hosts: Iterable[str]) -> None:
        """These are the names of the configuration in force."""
        self._configured = frozenset(hosts)
        for name in self._names.values():
            if name.host in self._configured and not name.looking and name.deadline == math.inf and not self._closed:
                self._look_up(name)

    def addresses(self, host: str, ips: Sequence[str]) -> list[Address]:
        """These addresses of `host`, which the core knows, in this order."""
        now = self._loop.time()
        name = self._name(host, now)
        if name.answered + REFRESH <= now and name.retry <= now and not self._closed:
            self._look_up(name)
        return [name.address(ip) for ip in ips]

    def _name(self, host: str, now: float) -> Name:
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = Name(self, host)
        name.asked = now
        return name

    async def resolve(self, host: str) -> list[Address]:
        """The addresses of `host` in the order to try them. Raises `OSError` (`socket.gaierror` is one) if unknown."""
        if is_address(host):
            return [Address(None, host)]
        now = self._loop.time()
        name = self._name(host, now)
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
        """Look `name` up again if it is time, or forget it if it is not in use."""
        configured = name.host in self._configured
        if name.connections or name.asked + KEEP > now or (configured and name.answered + REST <= now):
            self._look_up(name)
        elif configured:
            self._wheel.schedule(name, name.answered + REST)
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
        now = name.answered = self._loop.time()
        if isinstance(answer, OSError):
            if name.error is None and name.addresses:
                _logger.warning(
                    "%s cannot be resolved (%s): its last addresses are used for up to %g s", name.host, answer, STALE
                )
            name.error = answer
            name.retry = now + RETRY
            if now >= name.good_until:
                self._tell(name, [])
        else:
            if name.error is not None and name.addresses:
                _logger.info("%s can be resolved again", name.host)
            name.error = None
            found, routed = answer
            crowded = name.crowded
            name.learn(found)
            if name.crowded and not crowded:
                _logger.warning("%s has %d addresses: %d of them are used", name.host, len(found), MAX_ADDRESSES)
            name.good_until = now + STALE
            self._tell(name, [ip for address in name.addresses if (ip := address.ip) in routed])
        waiting, name.waiting = name.waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
        if not self._closed:
            self._wheel.schedule(name, now + REFRESH)
        if self._waiting:
            self._start(self._waiting.popleft())

    def _tell(self, name: Name, ips: list[str]) -> None:
        if self.told is not None and name.host in self._configured:
            self.told(name.host, sorted(ips))


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
    answer = list(ips)[:_MAX_ANSWER]
    if len({":" in ip for ip in answer}) == 1:
        return answer, answer
    return answer, [ip for ip in answer if _has_route(ip)] or answer


_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def _has_route(ip: str) -> bool:
    """Whether this host has a route to an address: many names have IPv6 addresses, and many hosts no IPv6."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((ip, 9))  # sends nothing
    except OSError:
        return False
    return True


def _interleaved(ips: list[str]) -> list[str]:
    """`ips` with the two families alternating, each in its order, beginning with the family of the first address."""
    first = [ip for ip in ips if (":" in ip) == (":" in ips[0])]
    other = [ip for ip in ips if (":" in ip) != (":" in ips[0])]
    return [ip for pair in itertools.zip_longest(first, other) for ip in pair if ip is not None]


def _in_thread(lookup: Callable[[], None]) -> None:
    # A daemon thread: the system's resolver can take half a minute, and a stop must not wait for it.
    threading.Thread(target=lookup, name="waypost-lookup", daemon=True).start()
