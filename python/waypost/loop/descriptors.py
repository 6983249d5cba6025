"""File descriptors: each connection takes one, and the system limits how many this process may have.

Clients do not get the last of them: connections to endpoints need descriptors too, and without those nobody is served.
"""

from __future__ import annotations

import errno
import logging
import math
import resource
import time
from typing import Final

__all__ = ["Descriptors", "raise_limit", "shortage", "tell_shortage"]

_MAX: Final = 1 << 20
"""Descriptors to ask for if the system has no limit."""
_RESERVED_SHARE: Final = 4
"""One in this many descriptors is reserved for other uses than client connections."""
_WARNING_INTERVAL: Final = 60.0
"""Seconds between two warnings of a shortage."""
_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_logger = logging.getLogger("waypost")
_warned_at = -math.inf


def raise_limit() -> None:
    """Raise this process's limit of descriptors as far as it may (`RLIMIT_NOFILE`: the soft limit up to the hard)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX if hard == resource.RLIM_INFINITY else min(hard, _MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shortage(exc: BaseException) -> bool:
    """Whether `exc` reports that this host or this process lacks resources, rather than a fault of the peer."""
    return isinstance(exc, OSError) and exc.errno in _SHORTAGE


def tell_shortage(what: str) -> None:
    """Log `what` happens for lack of descriptors or other resources, at most once a minute."""
    global _warned_at  # noqa: PLW0603 - once a minute for the whole process
    now = time.monotonic()
    if now >= _warned_at + _WARNING_INTERVAL:
        _warned_at = now
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        _logger.warning("%s; this process may have %d open files: raise that limit (ulimit -n)", what, soft)


class Descriptors:
    """Decides which client connections to accept."""

    __slots__ = ("_reserved_from", "_scarce_from")

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        endless = soft == resource.RLIM_INFINITY
        self._reserved_from = math.inf if endless else soft - soft // _RESERVED_SHARE
        self._scarce_from = math.inf if endless else soft - soft // (2 * _RESERVED_SHARE)

    def room(self, descriptor: int) -> bool:
        """Whether to keep the client connection with this descriptor.

        The system always assigns the lowest free descriptor, so a high one means that few are free.
        """
        if descriptor < self._reserved_from:
            return True
        tell_shortage("too many open files: new connections are refused until others are closed")
        return False

    def hurry(self, descriptor: int) -> bool:
        """Whether so few are free that a refused connection must be closed without waiting for its client."""
        return descriptor >= self._scarce_from
