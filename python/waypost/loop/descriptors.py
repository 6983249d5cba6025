"""File descriptors: each connection takes one, and the system limits how many this process has.

Clients do not get the last of them. An endpoint's connection takes one too, and where none is left for that nobody is
served.
"""

from __future__ import annotations

import errno
import logging
import math
import resource
import time
from typing import Final

__all__ = ["Descriptors", "raise_limit", "shortage", "tell_shortage"]

_MOST: Final = 1 << 20
"""Descriptors that are asked for where the system would give any number."""
_SHARE: Final = 4
"""One in so many descriptors is kept from clients."""
_SILENCE: Final = 60.0
"""Seconds until it is said again that there are too few."""
_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_logger = logging.getLogger("waypost")
_told = -math.inf


def raise_limit() -> None:
    """Let this process have as many descriptors as it may give itself (`RLIMIT_NOFILE`: soft up to hard)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shortage(exc: BaseException) -> bool:
    """Whether `exc` says that this host or this process lacks something, and nothing of whom it talked to."""
    return isinstance(exc, OSError) and exc.errno in _SHORTAGE


def tell_shortage(what: str) -> None:
    """Log that for lack of descriptors, or the like, `what` happens; once a minute, however often it does."""
    global _told  # noqa: PLW0603 - one voice for the process
    now = time.monotonic()
    if now >= _told + _SILENCE:
        _told = now
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        _logger.warning("%s: this process may have %d open files: raise that (ulimit -n)", what, soft)


class Descriptors:
    """Says which connections of clients can be had."""

    __slots__ = ("_clients", "_last")

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        endless = soft == resource.RLIM_INFINITY
        self._clients = math.inf if endless else soft - soft // _SHARE
        self._last = math.inf if endless else soft - soft // (2 * _SHARE)

    def room(self, descriptor: int) -> bool:
        """Whether a client may keep the connection with this descriptor: the lowest that was free, as always."""
        if descriptor < self._clients:
            return True
        tell_shortage("too many open files: new connections are refused until others are closed")
        return False

    def hurry(self, descriptor: int) -> bool:
        """There are so few left that a refused connection is closed without waiting for its client."""
        return descriptor >= self._last
