"""Timing functions against each other.

What takes long is timed by the CPU time of the calling thread: on a busy machine, hardly any batch of a millisecond or
more is left in peace, and those of the slower function less often, which would flatter the faster one.
"""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

__all__ = ["Calls", "each", "interleaved", "interleaved_calls", "once", "quantile", "uncollected"]

_BATCH = 0.002
"""Seconds that one batch should take: far above the clock's resolution, and short enough to fall between two
interruptions."""


_PASSES = 4
"""How often a case's items are gone through in its turn, after the first time."""


_LONG = 1e-4
"""Seconds from which on a call is a long one."""


def interleaved(functions: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, float]:
    """CPU seconds per call of each function: the least of `rounds` batches, all functions taking turns."""
    calls = {key: max(1, int(_BATCH / max(once(function), 1e-7))) for key, function in functions.items()}
    least = dict.fromkeys(functions, float("inf"))
    with uncollected():
        for _ in range(rounds):
            for key, function in functions.items():
                repeat = range(calls[key])
                began = time.thread_time()
                for _ in repeat:
                    function()
                least[key] = min(least[key], (time.thread_time() - began) / calls[key])
    return least


class Calls(NamedTuple):
    """Seconds of single calls, item by item."""

    far: list[float]
    """After all other cases: what a call needs is where they have left it."""
    rotating: list[float]
    """After all other items of the same case."""
    again: list[float]
    """After the same call."""


def interleaved_calls(
    cases: Mapping[Key, tuple[Callable[[Item], object], Sequence[Item]]], rounds: int, patience: float
) -> dict[Key, Calls]:
    """Seconds of each single call: the least of `rounds` calls, all cases taking turns.

    Each call is timed by itself, less what the clock takes for it. The least of an item's calls leaves out what the
    machine did meanwhile: what remains between items is what they differ in. A case that has taken `patience` seconds
    sits out the other rounds.
    """
    least = {key: Calls(*([math.inf] * len(items) for _ in Calls._fields)) for key, (_, items) in cases.items()}
    twice = {key: [item for item in items for _ in range(2)] for key, (_, items) in cases.items()}
    spent = dict.fromkeys(cases, 0.0)
    clocks = {key: _clock(once(partial(function, items[0]))) for key, (function, items) in cases.items()}
    idle = dict.fromkeys(clocks.values(), math.inf)
    with uncollected():
        for _ in range(rounds):
            for clock, ticks in idle.items():
                idle[clock] = min(ticks, quantile(_single(clock, None, range(1_000)), 0.5))
            for key, (function, items) in cases.items():
                if spent[key] < patience:
                    far = _single(clocks[key], function, items)
                    passes = [_single(clocks[key], function, twice[key]) for _ in range(_PASSES)]
                    near = list(map(min, *passes))
                    took = (far, near[::2], near[1::2])
                    least[key] = Calls(*(list(map(min, *pair)) for pair in zip(least[key], took, strict=True)))
                    spent[key] += sum(map(sum, (far, *passes))) / 1e9
    return {
        key: Calls(*([max(0.0, took - idle[clocks[key]]) / 1e9 for took in kind] for kind in calls))
        for key, calls in least.items()
    }


def _clock(seconds: float) -> Callable[[], int]:
    """Nanoseconds for calls of about that length. That of the CPU takes longer to read than a short call does."""
    return time.perf_counter_ns if seconds < _LONG else time.thread_time_ns


def _single(clock: Callable[[], int], function: Callable[[Item], object] | None, items: Iterable[Item]) -> list[int]:
    """Nanoseconds of each call, those of the clock among them; without a function those alone."""
    took: list[int] = []
    keep = took.append
    if function is None:
        for _ in items:
            began = clock()
            keep(clock() - began)
    else:
        for item in items:
            began = clock()
            function(item)
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
    """CPU seconds that one call takes, the second of two."""
    function()
    began = time.thread_time()
    function()
    return time.thread_time() - began
