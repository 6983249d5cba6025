"""Server-sent events relayed: how much later each one arrives because a proxy is in between.

500 streams of 40 events (tokens) a second each, 20,000 events a second in all, through a proxy on one core. The
endpoint that sends them and the client that reads them are one compiled program (generator/, one thread, on the other
core), so that one clock dates both. Connected to itself it has a delay of its own: that is taken off. Then the same
with more streams, until the bar is missed.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benches import answering, contest, gateway
from benches.contest import Contestant
from benches.proc import cores, free_port
from benches.report import Table, verdict

_ROOT = Path(__file__).parents[1]
_STREAMS = 500
_RATE = 40
_BAR = 5.0
"""Milliseconds that the p99 may be later."""
_FURTHER = (1.25, 1.5, 1.75, 2, 3, 4, 6, 8)
"""Times as many streams as the bar asks for."""


@dataclass
class _Way:
    """The generator connected to itself, or through something."""

    name: str
    through: Contestant | None = None
    p50: list[float] = field(default_factory=list)
    """Milliseconds, by round; so is what follows."""
    p99: list[float] = field(default_factory=list)
    worst: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """p99 of how late the generator sent: it has to write and read everything on one core."""
    busy: list[float] = field(default_factory=list)
    """Share of its core that what is in between used, by round."""


def run(*, quick: bool) -> list[Table]:
    generator = _build()
    if generator is None:
        return [Table("Not measured", ("what is missing",), [("cargo, to build the generator",)])]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    number, seconds, warm_up = (1, 0.6, 0.1) if quick else (3, 6.0, 1.0)
    core, other = cores()
    port = free_port()  # of the generator's endpoint
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fast = contest.waypost(
            stack, "`waypost serve`", directory / "fast", port, core=core, routes=gateway.LOAD_ROUTES
        )  # fmt: skip
        proxies = [fast]
        if shutil.which("nginx"):
            found = stack.enter_context(answering.nginx_proxy(directory, port, core=core, streaming=True))
            proxies.append(Contestant("nginx, `proxy_buffering off`", *found))

        def measured(streams: int, number: int, *arguments: str, proxies: Sequence[Contestant] = proxies) -> list[_Way]:
            ways = [_Way("the generator itself"), *(_Way(proxy.name, proxy) for proxy in proxies)]
            for _ in range(number):
                for way in ways:
                    _once(generator, port, way, streams, seconds, other, "--warm-up", str(warm_up), *arguments)
            return ways

        spread = measured(_STREAMS, number)
        table = _table(f"{_STREAMS} streams of {_RATE} events/s, each at its own moment", spread)
        added, median = _added(spread[1], spread[0])
        table.notes += [
            f"{number} interleaved rounds of {seconds:g} s, of which {warm_up:g} s are not counted; the least counts.",
            "CPU: share of the proxy's core. late: how much later than due the generator sent, p99.",
            f"Bar: added p99 ≤ {_BAR:g} ms. {added:.2f} ms: {verdict(added <= _BAR)}. Of the medians: {median:.2f} ms.",
        ]
        together = _table("The same, all streams at the same instant", measured(_STREAMS, number, "--lockstep"))
        together.notes.append("As from an engine that decodes all in one batch: 500 events at once, 40 times a second.")
        further = Table("More streams", ("streams", "events/s", "added p99 ms", "CPU", "late", "p99 ≤ 5 ms"))
        for factor in _FURTHER[:1] if quick else _FURTHER:
            streams = round(factor * _STREAMS)
            itself, way = measured(streams, 1 if quick else 2, proxies=[fast])
            added, _ = _added(way, itself)
            busy, held = _percent(min(way.busy)), verdict(added <= _BAR)
            further.rows.append((streams, streams * _RATE, added, busy, min(way.late), held))
            if added > _BAR:
                break
        further.notes.append("Where the generator is late by many ms, its own core is full.")
    return [table, together, further]


def _build() -> Path | None:
    if shutil.which("cargo") is None:
        return None
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--package", "waypost-generator"]
    subprocess.run(command, check=True, cwd=_ROOT)
    shown = ["cargo", "metadata", "--format-version=1", "--no-deps", "--locked"]
    described = subprocess.run(shown, check=True, cwd=_ROOT, capture_output=True, text=True).stdout
    return Path(json.loads(described)["target_directory"]) / "release" / "waypost-generator"


def _once(
    generator: Path, port: int, way: _Way, streams: int, seconds: float, core: int | None, *arguments: str
) -> None:
    command = [] if core is None else ["taskset", "-c", str(core)]
    command += [str(generator), "--listen", str(port), "--streams", str(streams), "--rate", str(_RATE)]
    command += ["--seconds", str(seconds), *arguments]
    before = 0.0
    if way.through is not None:
        key, _ = gateway.callers(gateway.LOAD_ROUTES)[0]
        command += ["--target", str(way.through.port), "--header", f"authorization: Bearer {key}"]
        before = way.through.process.cpu()
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if found["received"] != found["sent"] or found["ended"] != streams:
        raise RuntimeError(f"{way.name}: events are missing: {found}")
    for kept, name in ((way.p50, "p50"), (way.p99, "p99"), (way.worst, "max"), (way.late, "late_p99")):
        kept.append(found[name] / 1e3)
    if way.through is not None:
        way.busy.append((way.through.process.cpu() - before) / found["seconds"])


def _added(way: _Way, itself: _Way) -> tuple[float, float]:
    """Milliseconds at p99 that the generator by itself does not have: of the least rounds, of the medians."""
    least = min(way.p99) - min(itself.p99)
    return least, statistics.median(way.p99) - statistics.median(itself.p99)


def _table(title: str, ways: list[_Way]) -> Table:
    table = Table(title, ("ms through", "p50", "p99", "added p99", "median added", "worst", "CPU", "late"))
    for way in ways:
        added = _added(way, ways[0])
        busy = _percent(min(way.busy)) if way.busy else ""
        table.rows.append((way.name, min(way.p50), min(way.p99), *added, min(way.worst), busy, min(way.late)))
    return table


def _percent(share: float) -> str:
    return f"{share:.0%}"
