"""Makes connections: tries the addresses of a name (RFC 8305), opens a proxy's tunnel, and starts TLS."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from waypost.config.proxy import Proxy
from waypost.loop.descriptors import shortage
from waypost.upstream.resolver import Address, Resolver, is_address
from waypost.upstream.tunnel import TunnelError, open_tunnel

if TYPE_CHECKING:
    from waypost.upstream.tls import Tls

__all__ = ["Key", "Tries", "dial"]

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)

Key: TypeAlias = "tuple[str, int, Tls | None, Proxy | None, str | None]"
"""Host, port, TLS settings, proxy, and the address of the host if it is chosen already.

Connections with equal keys are interchangeable.
"""

STAGGER: Final = 0.25
"""Seconds until the next address is tried beside those that have not answered yet (RFC 8305, section 8)."""
_MIN_STAGGER: Final = 0.01
"""Lower bound of the time between two addresses, in seconds (RFC 8305, section 5)."""

_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""Errors that mostly mean that this host lacks an address family. Another address's error says more."""


class Tries:
    """The addresses of one host at which a connection is tried."""

    __slots__ = ("_pending", "refused")

    def __init__(self) -> None:
        self.refused: list[str] = []
        """The addresses that took no connection: they refused it, or did not answer in time."""
        self._pending: dict[Address, float] = {}  # by the event-loop time until which it is too early to blame it

    def begin(self, address: Address, patience_until: float) -> None:
        """A connection to `address` is tried. Before `patience_until`, silence says nothing about the address."""
        self._pending[address] = patience_until

    def end(self, address: Address) -> None:
        """The try is over, and says nothing against `address`."""
        self._pending.pop(address, None)

    def fail(self, address: Address, now: float) -> None:
        """`address` took no connection."""
        self.end(address)
        address.failed(now)
        self.refused.append(address.ip)

    def give_up(self, now: float) -> None:
        """End all tries under way. Those that had time enough have failed."""
        for address, patience_until in list(self._pending.items()):
            if now >= patience_until:
                self.fail(address, now)
        self._pending.clear()


async def dial(
    loop: asyncio.AbstractEventLoop,
    resolver: Resolver,
    key: Key,
    make: Callable[[Address | None], _Protocol],
    within: float,
    others: Sequence[str],
    tries: Tries,
) -> _Protocol:
    """Make a connection for `key`. `make` creates its protocol for the address that it goes to.

    If the address of `key` takes no connection, the `others` of its host are tried. `tries` gets the addresses of the
    endpoint's host that are tried. The caller waits for `within` seconds, so all addresses are tried within that time.
    Raises `OSError` (`ssl.SSLError` is one), or `TunnelError` if the proxy is at fault.
    """
    host, port, tls, proxy, ip = key
    context, name = (None, None) if tls is None else (tls.context, tls.server_name or host)
    if proxy is None and is_address(host):
        _, connection = await loop.create_connection(lambda: make(None), host, port, ssl=context, server_hostname=name)
        return connection
    deadline = loop.time() + within
    if proxy is None:
        addresses = await resolver.resolve(host) if ip is None else resolver.addresses(host, [ip, *others])
        sock, address = await _connect(loop, addresses, port, deadline, tries)
    else:
        try:
            sock, address = await _connect(loop, await resolver.resolve(proxy.host), proxy.port, deadline, Tries())
        except OSError as exc:
            raise TunnelError.unreachable(proxy, exc) from exc
        try:
            await open_tunnel(loop, sock, host, port, proxy)
        except BaseException:
            sock.close()
            raise
    if proxy is None:
        tries.begin(address, loop.time() + _patience(deadline - loop.time(), 1))
    try:
        # The transport owns the socket from here on, and closes it if this fails or is cancelled.
        _, connection = await loop.create_connection(
            lambda: make(address), sock=sock, ssl=context, server_hostname=name
        )
        tries.end(address)
    except OSError:
        if proxy is None:
            tries.fail(address, loop.time())
        raise
    finally:
        tries.give_up(loop.time())
    return connection


async def _connect(
    loop: asyncio.AbstractEventLoop, addresses: Sequence[Address], port: int, deadline: float, tries: Tries
) -> tuple[socket.socket, Address]:
    """Connect a socket to the first of `addresses` that answers (RFC 8305, section 5).

    The next address is tried once the one before has failed, or if none answers for a while. All are tried before
    `deadline` (event-loop time).
    """
    stagger = _patience(deadline - loop.time(), len(addresses))
    if len(addresses) == 1:  # the cheap case: no tasks
        address = addresses[0]
        tries.begin(address, loop.time() + stagger)
        try:
            sock = await _open(loop, address.ip, port)
        except OSError as exc:
            if not shortage(exc):
                tries.fail(address, loop.time())
            raise
        tries.end(address)
        return sock, address
    untried = list(reversed(addresses))
    trying: dict[asyncio.Task[socket.socket], Address] = {}
    errors: list[tuple[Address, OSError]] = []
    try:
        while untried or trying:
            if untried:
                address = untried.pop()
                trying[loop.create_task(_open(loop, address.ip, port))] = address
                tries.begin(address, loop.time() + stagger)
            timeout = stagger if untried else None
            done, _ = await asyncio.wait(trying, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for task in [each for each in trying if each in done]:  # in the order in which they began
                address = trying.pop(task)
                error = task.exception()
                if error is None:
                    tries.end(address)
                    return task.result(), address
                if not isinstance(error, OSError) or shortage(error):
                    tries.end(address)
                    raise error
                tries.fail(address, loop.time())
                errors.append((address, error))
    finally:
        for task, address in trying.items():
            if _abandon(task):
                tries.end(address)
        tries.give_up(loop.time())
    raise _combined(errors)


def _patience(remaining: float, addresses: int) -> float:
    """Seconds until the next of so many addresses is tried, all of which are tried within the `remaining` seconds."""
    return max(_MIN_STAGGER, min(STAGGER, remaining / (addresses + 1)))


async def _open(loop: asyncio.AbstractEventLoop, ip: str, port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets whose protocol is named.
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, (ip, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _abandon(task: asyncio.Task[socket.socket]) -> bool:
    """Give up a try that another one overtook. Returns whether it had a connection, too."""
    if not task.done():
        task.cancel()
    elif not task.cancelled() and task.exception() is None:
        task.result().close()
        return True
    return False


def _combined(errors: Sequence[tuple[Address, OSError]]) -> OSError:
    """Combine the errors of all addresses into one."""
    if len(errors) == 1:
        return errors[0][1]
    main = next((error for _, error in errors if error.errno not in _NO_ROUTE), errors[0][1])
    text = "; ".join(f"{address.ip}: {os.strerror(error.errno or 0)}" for address, error in errors)
    return OSError(main.errno, text)
