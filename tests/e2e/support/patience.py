"""For tests whose subject is a time that passes: short where the machine keeps up, long where it is busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

TIMES: Final = (0.3, 2.0, 12.0)
"""Seconds, one try each. What must happen within a time has at least 5 s in the end."""


def growing(clear: Callable[[], None], test: Callable[[float], None]) -> None:
    """Run `test` with the first time of `TIMES`; where it fails, `clear` and run it with the next."""
    *shorter, longest = TIMES
    for seconds in shorter:
        try:
            return test(seconds)
        except (AssertionError, TimeoutError):
            clear()
    return test(longest)


def duration(seconds: float) -> str:
    """`seconds` as the configuration writes it, in milliseconds."""
    return f"{seconds * 1000:.0f}ms"
