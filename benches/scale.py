"""What a message costs by the number of rules, by kind of predicate, and beside what else one could take.

Each call is timed by itself, less what the clock takes. Of a document's calls
in several rounds the least counts, all numbers of rules taking turns: in each
turn all documents once, which only `far` counts, and then four times. So p50 and
p99 are over documents: they tell dear documents from cheap ones, and leave out
what else the machine did. Each kind of predicate is measured in several
processes, and the median of their ratios counts: in which places of the caches
a process's pages end up is chance.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import NamedTuple

import orjson
from waypost import Matcher

from benches.corpus import rules
from benches.mixes import MIXES, POPULARITIES, REALISTIC, Mix, document, documents
from benches.peers import MISSING, PEERS, versions
from benches.plot import Line, log_log
from benches.report import Table, verdict
from benches.timing import Calls, interleaved_calls, once, quantile

PLOT = Path(__file__).with_name("plots") / "matcher-scale.svg"

_COUNTS = (10, 100, 1_000, 10_000, 100_000)
_BARS = {0.5: 1.5, 0.99: 2.0}
"""By quantile, how many times what 10 rules cost 100,000 may."""
_PROCESSES = 5
"""How many of them measure each kind of predicate."""
_SLOWEST = 1.0
"""Seconds that a message may take; what would take longer is left out."""
_PATIENCE = 4.0
"""Seconds of calls after which one case is left at what was measured."""
_PLACES = 9
"""How many documents peers get. They try the rules in turn, so that where the rule stands is what matters."""

_NOTES = (
    (
        "Envelopes of 1 KB, 2,048 of them in turn (fewer where a call takes long): twice what a level 2 cache "
        "holds, so that what only one document needs of many rules comes from further away. again: the same document "
        "once more, right after that, when all that it needs is near. far: the first time after all other numbers of "
        "rules and all their documents, some 50 MB, when it comes from memory."
    ),
    "runs: the ratio with the most rules in each process. All other figures are medians of the processes.",
    (
        "In a miss, no rule knows the subject; with anything-but, one does, and refuses another field. Zipf: the most "
        "popular subject is twice as popular as the second, three times as the third, and so on, anywhere among the "
        "rules."
    ),
)

First = Callable[[bytes], str | None]


def run(*, quick: bool) -> list[Table]:
    counts = _COUNTS[:3] if quick else _COUNTS
    fewest, *more = counts
    ratios = [f"{count:,} ÷ {fewest}" for count in more]
    last = ratios[-1]
    columns = ("rules of", "documents", f"{fewest} rules, µs", *ratios, "bar", "", "runs", f"{last}, again", "far")
    title = f"of `first()`, with {fewest} rules and with more"
    tables = {share: Table(f"p{share * 100:.0f} {title}", columns) for share in _BARS}
    lines: dict[str, list[tuple[int, float]]] = {}
    runs = [{name: _apart(name, counts, quick=quick) for name in MIXES} for _ in range(1 if quick else _PROCESSES)]
    for name in MIXES:
        for parts in zip(*(run[name] for run in runs), strict=True):
            popularity, hit, share, *_ = parts[0]
            took = list(map(median, zip(*(part.rotating for part in parts), strict=True)))
            times = [[seconds / part.rotating[0] for seconds in part.rotating[1:]] for part in parts]
            middle = list(map(median, zip(*times, strict=True)))
            tables[share].rows.append(
                (
                    name,
                    f"{'hit' if hit else 'miss'}, {popularity}",
                    took[0] * 1e6,
                    *middle,
                    f"≤ {_BARS[share]}",
                    verdict(middle[-1] <= _BARS[share]),
                    " ".join(f"{each[-1]:.2f}" for each in sorted(times, key=itemgetter(-1))),
                    median(part.again for part in parts),
                    median(part.far for part in parts),
                )
            )
            if (name, popularity, hit) == (REALISTIC, "uniform", True):
                lines[f"Matcher.first, p{share * 100:.0f}"] = list(zip(counts, took, strict=True))
    table, beside = _beside_peers(counts, quick=quick)
    if not quick:
        PLOT.parent.mkdir(exist_ok=True)
        PLOT.write_text(_plot({**lines, **beside}), "utf-8")
    table.picture = f"{PLOT.parent.name}/{PLOT.name}"
    tables[0.5].notes += _NOTES
    return [*tables.values(), table]


class _Part(NamedTuple):
    """What one process measured of one kind of documents."""

    popularity: str
    hit: bool
    share: float
    rotating: list[float]
    """Seconds, for each number of rules."""
    again: float
    far: float
    """Of the most rules, times what the fewest take."""


def _apart(name: str, counts: tuple[int, ...], *, quick: bool) -> list[_Part]:
    """Measured in a process of its own."""
    sizes = (64, 3) if quick else (2_048, 10)
    command = [sys.executable, "-m", "benches.scale", json.dumps([name, counts, *sizes])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return [_Part(*part) for part in json.loads(done.stdout)]


def _parts(name: str, counts: list[int], number: int, rounds: int) -> list[_Part]:
    parts = []
    for (popularity, hit), cases in _measure(MIXES[name], counts, number, rounds).items():
        for share in _BARS:
            rotating = [quantile(cases[count].rotating, share) for count in counts]
            fewest, most = cases[counts[0]], cases[counts[-1]]
            again = quantile(most.again, share) / quantile(fewest.again, share)
            far = quantile(most.far, share) / quantile(fewest.far, share)
            parts.append(_Part(popularity, hit, share, rotating, again, far))
    return parts


def _measure(mix: Mix, counts: list[int], number: int, rounds: int) -> dict[tuple[str, bool], dict[int, Calls]]:
    """By popularity and hit, by number of rules: the calls for each document."""
    kinds = [(popularity, hit) for hit in (True, False) for popularity in POPULARITIES]
    cases: dict[tuple[int, str, bool], tuple[First, list[bytes]]] = {}
    for count in counts:
        first = Matcher({f"rule-{subject}": mix.pattern(subject) for subject in range(count)}).first
        seconds = once(partial(first, document(mix, count)))
        fitting = max(_PLACES, min(number, int(_PATIENCE / (2 * 9 * seconds))))  # for two rounds of nine calls
        for popularity, hit in kinds:
            drawn = documents(mix, count, fitting, popularity=popularity, hit=hit)
            for body, expected in drawn:
                if first(body) != expected:
                    raise RuntimeError(f"of {count} rules, {expected} should match {body[:400]!r}, and no other")
            cases[count, popularity, hit] = first, [body for body, _ in drawn]
    least = interleaved_calls(cases, rounds, _PATIENCE)
    return {kind: {count: least[count, *kind] for count in counts} for kind in kinds}


def _beside_peers(counts: tuple[int, ...], *, quick: bool) -> tuple[Table, dict[str, list[tuple[int, float]]]]:
    """The table, and for each function how long a message took by number of rules."""
    ours, parse = "Matcher.first", "orjson.loads alone"
    table = Table(
        "Realistic rules, a document that matches one: `first()`, and how many times as long it takes with …",
        ("rules", "first() µs", *PEERS, parse),
    )
    lines: dict[str, list[tuple[int, float]]] = {}
    for count in counts:
        slow = {name for name, points in lines.items() if points[-1][1] * count / points[-1][0] > _SLOWEST}
        functions: dict[str, Callable[[bytes], object]] = {ours: Matcher(rules(count)).first, parse: orjson.loads}
        functions |= {name: make(count) for name, make in PEERS.items() if name not in slow}
        took = _medians(functions, count, quick=quick)
        for name, seconds in took.items():
            lines.setdefault(name, []).append((count, seconds))
        times = [took[name] / took[ours] if name in took else f"> {_SLOWEST:g} s" for name in (*PEERS, parse)]
        table.rows.append((count, took[ours] * 1e6, *times))
        del functions
        gc.collect()
    table.notes += [
        f"The median of {_PLACES} documents whose rules stand evenly among the others, as peers try rules in turn.",
        "A Matcher for each rule reads the document again for each; the others have orjson.loads read it once.",
        f"> {_SLOWEST:g} s: not tried, as with ten times fewer rules it took more than a tenth of that.",
        MISSING or versions(),
    ]
    lines = {f"{ours}, again": lines.pop(ours), **lines}
    return table, lines


def _medians(functions: dict[str, Callable[[bytes], object]], count: int, *, quick: bool) -> dict[str, float]:
    subjects = [(2 * place + 1) * count // (2 * _PLACES) for place in range(_PLACES)]
    bodies = [document(MIXES[REALISTIC], subject) for subject in subjects]
    for name, function in functions.items():
        found = [function(body) for body in bodies]
        if function is not orjson.loads and found != [f"rule-{subject}" for subject in subjects]:
            raise RuntimeError(f"{name} finds {found}, not {subjects}")
    # Again: the first call finds in the caches what another function left there.
    cases = {name: (function, bodies) for name, function in functions.items()}
    least = interleaved_calls(cases, 2 if quick else 50, _PATIENCE)
    return {name: quantile(calls.again, 0.5) for name, calls in least.items()}


def _plot(lines: dict[str, list[tuple[int, float]]]) -> str:
    return log_log(
        "Time for one message by number of rules",
        "rules",
        [Line(name, points, emphasis=", p" in name) for name, points in lines.items()],
        "1 KB envelopes, realistic rules, each matches one. p50, p99: different ones in turn; the others: one again.",
    )


if __name__ == "__main__":  # [MIX, COUNTS, DOCUMENTS, ROUNDS]: prints the parts as JSON
    print(json.dumps(_parts(*json.loads(sys.argv[1]))))
