"""Changing one rule of many, explaining one, and deciding on many documents in one call. A part of `compile`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from waypost import Matcher

from benches.corpus import envelope, pattern, rules
from benches.report import Table, verdict
from benches.timing import each, interleaved, quantile, uncollected

_RULES = 100_000
_EDITS = 500
_IN_A_ROW = 5_000
"""Enough of them that all rules are compiled anew on the way, by a thread of the matcher's own."""
_MS = 10.0
"""Milliseconds that a small change may take."""


def run(*, quick: bool) -> list[Table]:
    count = _RULES // 10 if quick else _RULES
    matcher = Matcher(rules(count))
    return [_edited(matcher, count, quick=quick), _asked(Matcher(rules(count)), count, quick=quick)]


def _edited(matcher: Matcher, count: int, *, quick: bool) -> Table:
    number = _EDITS // 10 if quick else _EDITS
    table = Table(
        f"One rule among {count:,} changed, ms", ("what", "times", "median", "p99", "worst", f"worst ≤ {_MS:g} ms")
    )
    spread = [place * count // number for place in range(number)]
    news = range(count, count + number)
    # What is updated goes to another subject's pattern.
    edits: list[tuple[str, Iterable[Callable[[], None]]]] = [
        ("add", [partial(matcher.add, f"rule-{new}", pattern(new)) for new in news]),
        ("update", [partial(matcher.update, f"rule-{at}", pattern(at + 3 * count)) for at in spread]),
        ("remove", [partial(matcher.remove, f"rule-{at}") for at in spread]),
    ]
    if not quick:
        row = [partial(matcher.update, f"rule-{at + 1}", pattern(at + 5 * count)) for at in _steps(count)]
        edits.append(("update, on and on", row))
        come_and_go = [
            call
            for new in range(2 * count, 2 * count + _IN_A_ROW)
            for call in (partial(matcher.add, f"rule-{new}", pattern(new)), partial(matcher.remove, f"rule-{new}"))
        ]
        edits.append(("add and remove it, on and on", come_and_go))
    for name, calls in edits:
        took = [seconds * 1e3 for seconds in _singly(calls)]
        figures = (name, len(took), quantile(took, 0.5), quantile(took, 0.99), max(took), verdict(max(took) <= _MS))
        table.rows.append(figures)
    table.notes += [
        "CPU time of each call's thread, each made once.",
        "After some thousands another thread compiles all rules anew meanwhile.",
    ]
    return table


def _steps(count: int) -> list[int]:
    """Rules that the edits before left alone, their neighbours too."""
    step = count // _IN_A_ROW
    return [place * step for place in range(_IN_A_ROW)]


def _singly(calls: Iterable[Callable[[], None]]) -> list[float]:
    took = []
    with uncollected():
        for call in calls:
            began = time.thread_time()
            call()
            took.append(time.thread_time() - began)
    return took


def _asked(matcher: Matcher, count: int, *, quick: bool) -> Table:
    body, rule = envelope(1_000, subject=count // 2), f"rule-{count // 3}"
    bodies = [envelope(1_000, subject=place * count // 1_000) for place in range(1_000)]
    # Apart from each other: what goes through all rules leaves nothing of a few in the caches.
    each_body: dict[str, Callable[[], object]] = {
        "first(body)": partial(each, matcher.first, bodies),
        "first_many(bodies), for each of 1,000": partial(matcher.first_many, bodies),
        "matches(body)": partial(each, matcher.matches, bodies),
        "matches_many(bodies), for each of 1,000": partial(matcher.matches_many, bodies),
    }
    one_body: dict[str, Callable[[], object]] = {
        "explain(body, rule=…)": partial(matcher.explain, body, rule=rule),
        "explain(body)": partial(matcher.explain, body),
        "cost()": matcher.cost,
    }
    rounds = 2 if quick else 15
    took = {name: seconds / len(bodies) for name, seconds in interleaved(each_body, 2 * rounds).items()}
    took |= interleaved(one_body, rounds)
    table = Table(f"Of {count:,} rules, documents of 1 KB that match one", ("what", "µs", "÷ first()"))
    for name, seconds in took.items():
        table.rows.append((name, seconds * 1e6, seconds / took["first(body)"]))
    return table
