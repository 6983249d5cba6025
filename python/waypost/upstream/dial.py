"""Making a connection: addresses, one after the other but not waiting for each, a proxy's tunnel, TLS."""

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

__all__ = ["Key", "dial"]

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)

Key: TypeAlias = "tuple[str, int, Tls | None, Proxy | None]"
"""Host, port, TLS settings, and the proxy between: connections of one key are interchangeable."""

STAGGER: Final = 0.25
"""Seconds until the next address is tried beside the ones that have not answered (RFC 8305, section 8)."""
_LEAST_STAGGER: Final = 0.01
"""RFC 8305, section 5."""

_NO_WAY: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What is mostly the lack of one family on this host, and so says less than another address's error."""


async def dial(
    loop: asyncio.AbstractEventLoop,
    resolver: Resolver,
    key: Key,
    make: Callable[[Address | None], _Protocol],
    within: float,
) -> _Protocol:
    """A connection of `key`, with TLS where it says so. `make` gives its protocol for the address that it is made to.

    `within` is how many seconds the caller is going to wait: all addresses have their turn in that time. Raises
    `OSError` (`ssl.SSLError` is one), or `TunnelError` for what is the proxy's fault.
    """
    host, port, tls, proxy = key
    context, name = (None, None) if tls is None else (tls.context, tls.server_name or host)
    if proxy is None and is_address(host):
        _, connection = await loop.create_connection(lambda: make(None), host, port, ssl=context, server_hostname=name)
        return connection
    until = loop.time() + within
    if proxy is None:
        sock, address = await _connect(loop, await resolver.resolve(host), port, until)
    else:
        try:
            sock, address = await _connect(loop, await resolver.resolve(proxy.host), proxy.port, until)
        except OSError as exc:
            raise TunnelError.unreachable(proxy, exc) from exc
        try:
            await open_tunnel(loop, sock, host, port, proxy)
        except BaseException:
            sock.close()
            raise
    began = loop.time()
    try:
        # From here on the socket is the transport's, which closes it also where this fails or is cancelled.
        _, connection = await loop.create_connection(
            lambda: make(address), sock=sock, ssl=context, server_hostname=name
        )
    except (OSError, asyncio.CancelledError) as exc:
        if proxy is None and (isinstance(exc, OSError) or loop.time() - began >= STAGGER):
            address.failed(loop.time())
        raise
    return connection


async def _connect(
    loop: asyncio.AbstractEventLoop, addresses: Sequence[Address], port: int, until: float
) -> tuple[socket.socket, Address]:
    """A socket that is connected to the first of `addresses` that answers (RFC 8305, section 5).

    The next one is tried once the one before failed, or after a while, in which none answered. All are to have been
    tried before `until` (event-loop time).
    """
    if len(addresses) == 1:
        return await _open(loop, addresses[0].ip, port), addresses[0]  # no race, and none of its cost
    stagger = max(_LEAST_STAGGER, min(STAGGER, (until - loop.time()) / (len(addresses) + 1)))
    left = list(reversed(addresses))
    trying: dict[asyncio.Task[socket.socket], tuple[Address, float]] = {}
    errors: list[tuple[Address, OSError]] = []
    try:
        while left or trying:
            if left:
                address = left.pop()
                trying[loop.create_task(_open(loop, address.ip, port))] = (address, loop.time())
            done, _ = await asyncio.wait(trying, timeout=stagger if left else None, return_when=asyncio.FIRST_COMPLETED)
            for task in [each for each in trying if each in done]:  # in the order in which they began
                address, _ = trying.pop(task)
                error = task.exception()
                if error is None:
                    return task.result(), address
                if not isinstance(error, OSError) or shortage(error):
                    raise error
                address.failed(loop.time())
                errors.append((address, error))
    finally:
        now = loop.time()
        for task, (address, began) in trying.items():
            if now - began >= stagger:
                address.failed(now)
            _abandon(task)
    raise _combined(errors)


async def _open(loop: asyncio.AbstractEventLoop, ip: str, port: int) -> socket.socket:
    # With the protocol named: asyncio sets TCP_NODELAY on no other sockets.
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, (ip, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _abandon(task: asyncio.Task[socket.socket]) -> None:
    """Give up an attempt that another one overtook."""
    if not task.done():
        task.cancel()
    elif not task.cancelled() and task.exception() is None:
        task.result().close()


def _combined(errors: Sequence[tuple[Address, OSError]]) -> OSError:
    """One error for those of all addresses."""
    if len(errors) == 1:
        return errors[0][1]
    telling = next((error for _, error in errors if error.errno not in _NO_WAY), errors[0][1])
    text = "; ".join(f"{address.ip}: {os.strerror(error.errno or 0)}" for address, error in errors)
    return OSError(telling.errno, text)
