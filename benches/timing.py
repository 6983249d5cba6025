"""Timing functions against each other."""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

__all__ = ["each", "interleaved", "interleaved_calls", "once", "quantile", "uncollected"]

_BATCH = 0.002
"""Seconds that one batch should take: far above the clock's resolution, and short enough to fall between two
interruptions."""


def interleaved(functions: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, float]:
    """Seconds per call of each function: the least of `rounds` batches, all functions taking turns."""
    calls = {key: max(1, int(_BATCH / max(once(function), 1e-7))) for key, function in functions.items()}
    least = dict.fromkeys(functions, float("inf"))
    with uncollected():
        for _ in range(rounds):
            for key, function in functions.items():
                repeat = range(calls[key])
                began = time.perf_counter()
                for _ in repeat:
                    function()
                least[key] = min(least[key], (time.perf_counter() - began) / calls[key])
    return least


def interleaved_calls(
    cases: Mapping[Key, tuple[Callable[[Item], object], Sequence[Item]]], rounds: int
) -> dict[Key, list[float]]:
    """Seconds of each single call, item by item: the least of `rounds` calls, all cases taking turns.

    Each call is timed by itself, less what the clock takes for it. The least of an item's calls leaves out what the
    machine did meanwhile: what remains between items is what they differ in.
    """
    least = {key: [math.inf] * len(items) for key, (_, items) in cases.items()}
    idle = math.inf
    with uncollected():
        for _ in range(rounds):
            idle = min(idle, quantile(_single(lambda _item: None, range(1_000), call=False), 0.5))
            for key, (function, items) in cases.items():
                least[key] = list(map(min, least[key], _single(function, items)))
    return {key: [max(0.0, took - idle) / 1e9 for took in calls] for key, calls in least.items()}


def _single(function: Callable[[Item], object], items: Iterable[Item], *, call: bool = True) -> list[int]:
    """Nanoseconds of each call, those of the clock among them; with `call=False` those alone."""
    clock = time.perf_counter_ns
    took: list[int] = []
    keep = took.append
    for item in items:
        if call:
            began = clock()
            function(item)
            keep(clock() - began)
        else:
            began = clock()
            keep(clock() - began)
    return took


def each(function: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Call it with each item, with next to nothing of Python between two calls."""
    deque(map(function, items), maxlen=0)


def quantile(values: Iterable[float], share: float) -> float:
    """The value that `share` of the values do not exceed: one of them (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector, whose work would be counted to whoever is at work when it comes."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def once(function: Callable[[], object]) -> float:
    """Seconds that one call takes, the second of two."""
    function()
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
