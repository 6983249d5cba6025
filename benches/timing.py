"""Timing functions against each other."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

__all__ = ["interleaved", "once"]

_BATCH = 0.002
"""Seconds that one batch should take: far above the clock's resolution, and short enough to fall between two
interruptions."""


def interleaved(functions: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, float]:
    """Seconds per call of each function: the least of `rounds` batches, all functions taking turns."""
    calls = {key: max(1, int(_BATCH / max(once(function), 1e-7))) for key, function in functions.items()}
    least = dict.fromkeys(functions, float("inf"))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for key, function in functions.items():
                repeat = range(calls[key])
                began = time.perf_counter()
                for _ in repeat:
                    function()
                least[key] = min(least[key], (time.perf_counter() - began) / calls[key])
    finally:
        if collecting:
            gc.enable()
    return least


def once(function: Callable[[], object]) -> float:
    """Seconds that one call takes, the second of two."""
    function()
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
