"""How many connections this process may have: every one of them is a file descriptor, which the system limits.

Clients are not given the last of them. An endpoint's connection needs one too, and where none is left nobody is served.
"""

from __future__ import annotations

import logging
import math
import resource
from typing import Final

__all__ = ["Descriptors", "raise_limit"]

_MOST: Final = 1 << 20
"""Descriptors that are asked for where the system would give any number."""
_SHARE: Final = 4
"""One in so many descriptors is kept from clients."""
_SILENCE: Final = 60.0
"""Seconds until it is said again that there are too few."""

_logger = logging.getLogger("waypost")


def raise_limit() -> None:
    """Let this process have as many descriptors as it may give itself (`RLIMIT_NOFILE`, soft and hard)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            _logger.debug("the limit of open files stays at %d", soft)


class Descriptors:
    """Says which connections of clients can be had."""

    __slots__ = ("_clients", "_limit", "_quiet_until")

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = soft
        self._clients = math.inf if soft == resource.RLIM_INFINITY else soft - soft // _SHARE
        self._quiet_until = -math.inf

    def room(self, descriptor: int, now: float) -> bool:
        """Whether a client may keep the connection with this descriptor: the lowest that was free, as always.

        Where not, that is logged, once a minute. `now`: event-loop time, in seconds.
        """
        if descriptor < self._clients:
            return True
        if now >= self._quiet_until:
            self._quiet_until = now + _SILENCE
            _logger.warning(
                "too many open files: new connections are refused until others are closed; "
                "this process may have %d: raise its limit (ulimit -n)",
                self._limit,
            )
        return False
