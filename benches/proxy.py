"""What a message costs on its way through the proxy: CPU time of the proxy's processes per request, and its time there.

CPU time per request holds on a busy machine where requests per second do not. A 1 KB OpenAI chat request, a 0.3 KB
reply, 32 keep-alive connections, then one; what is measured has a core of its own where there are two. Waypost has
1,000 routes, checks API keys (64 in turn, each with a route of its own, which its tenant and the body's model decide),
keeps its metrics, and writes its access log to a file. nginx and wrk are Debian's; without them less is measured.
With `--against`, both builds take turns in one run.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benches import answering, contest, gateway, load, revision, startup
from benches.contest import Contestant
from benches.proc import cores
from benches.report import Table, processor, verdict
from benches.revision import Revision

_BARS = (0.75, 0.9)
"""Of `--against`: what the fast path and the ASGI path may cost, times what they cost in the other revision."""


def run(*, quick: bool, against: Revision | None = None) -> list[Table]:
    number, seconds = (1, 1.0) if quick else (18, 1.0) if against else (6, 3.0)
    core, other = cores()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kind, upstream = stack.enter_context(answering.upstream(directory, core=other))
        bare = Contestant(
            "uvicorn answering by itself, raw ASGI", *stack.enter_context(answering.bare_uvicorn(core=core))
        )
        fast, asgi = _both_paths(stack, directory / "this", upstream, core)
        contestants = [bare, asgi, fast]
        if against:
            their_fast, their_asgi = _both_paths(stack, directory / against.name, upstream, core, against)
            contestants = [bare, asgi, their_asgi, fast, their_fast]
        nginx: Contestant | None = None
        if shutil.which("nginx"):
            found = stack.enter_context(answering.nginx_proxy(directory, upstream, core=core))
            nginx = Contestant("nginx as a reverse proxy", *found)
            contestants.append(nginx)
        chat = load.Load(directory / "load", keys=[key for key, _ in gateway.callers(gateway.LOAD_ROUTES)])
        contest.rounds(contestants, chat, number, seconds, core=other)
        for one in contestants:
            one.resident = one.process.rss()
    table = _costs(contestants, bare, nginx)
    table.notes += [
        f"Upstream: {kind}. Load: {load.tool()}. {number} interleaved rounds of {seconds:g} s; the least counts.",
        answering.NGINX if nginx else "nginx is not installed here (Debian: nginx): it is left out.",
        f"RSS after the load: waypost {fast.resident:.0f} MB, uvicorn {bare.resident:.0f} MB.",
        _bar("Bar of the ASGI path: ≤ 2.2 times bare uvicorn", asgi.cost, bare.cost, 2.2),
    ]
    if nginx is not None:
        table.notes.append(_bar("Bar of the fast path: ≤ 1.5 times nginx", fast.cost, nginx.cost, 1.5))
    tables = [table]
    if fast.p50:
        times = _times(contestants)
        if nginx is not None:
            times.notes.append(_bar("Bar of the fast path: ≤ 1.5 times nginx", fast.p50, nginx.p50, 1.5))
        tables.append(times)
    else:
        table.notes.append("The time at one connection is not measured: wrk is not installed here (Debian: wrk).")
    if against:
        beside = _beside(against, (fast, asgi), (their_fast, their_asgi), 1 if quick else 15)
        if nginx is not None:
            multiples = ", ".join(f"{one.name} {one.least / nginx.least:.2f}" for one in (bare, fast, their_fast))
            beside.notes.append(f"Times nginx: {multiples}. Processor: {processor()}.")
        tables.append(beside)
    return tables


def _both_paths(
    stack: ExitStack, directory: Path, upstream: int, core: int | None, of: Revision | None = None
) -> tuple[Contestant, Contestant]:
    """`waypost serve` of this build, or of another one: the fast path and the ASGI path."""
    directory.mkdir()
    python, name = (of.python, f" of {of.name}") if of else (sys.executable, "")
    routes = gateway.LOAD_ROUTES

    def start(*arguments: str) -> Contestant:
        what = f"`{' '.join(['waypost serve', *arguments])}`{name}"
        place = directory / "-".join(["paths", *arguments])
        return contest.waypost(stack, what, place, upstream, *arguments, core=core, routes=routes, python=python)

    return start(), start("--no-fast-path")


def _beside(against: Revision, ours: Sequence[Contestant], theirs: Sequence[Contestant], number: int) -> Table:
    """Both paths after the load; then both builds are started, `number` times."""
    rows = []
    for path, bar, one, other in zip(("fast path", "ASGI path"), _BARS, ours, theirs, strict=True):
        rows.append(revision.compare(f"{path}: CPU µs per request", one.cost, other.cost, bar))
        if one.p50:
            rows.append(revision.compare(f"{path}: ms at one connection, p50", one.p50, other.p50))
        rows.append(revision.compare(f"{path}: resident after the load, MB", [one.resident], [other.resident]))
    begun = startup.starts([sys.executable, against.python], number)[1]
    return revision.table(against, [*rows, *startup.compare(*begun)])


def _bar(what: str, ours: list[float], theirs: list[float], bar: float) -> str:
    """The least round of each counts."""
    least, median = min(ours) / min(theirs), statistics.median(ours) / statistics.median(theirs)
    return f"{what}. {least:.2f}: {verdict(least <= bar)}. Of the medians: {median:.2f}."


def _costs(contestants: list[Contestant], bare: Contestant, nginx: Contestant | None) -> Table:
    yardsticks = {"÷ bare uvicorn": bare} | ({"÷ nginx": nginx} if nginx else {})
    columns = ("what", "CPU µs per request", *yardsticks, "median round", "slowest", "requests", "failed")
    table = Table("CPU per request", columns)
    for one in contestants:
        times = (one.least / yardstick.least for yardstick in yardsticks.values())
        table.rows.append((one.name, one.least, *times, one.median, max(one.cost), one.answered, one.failed))
    return table


def _times(contestants: list[Contestant]) -> Table:
    table = Table("Time of a request at one connection, p50", ("what", "ms", "median round", "slowest"))
    for one in contestants:
        table.rows.append((one.name, min(one.p50), statistics.median(one.p50), max(one.p50)))
    return table
