"""What a message costs on its way through the proxy: CPU time of the proxy's processes per request, and its time there.

CPU time per request holds on a busy machine where requests per second do not. A 1 KB OpenAI chat request, a 0.3 KB
reply, 32 keep-alive connections, then one; what is measured has a core of its own where there are two. Waypost has
1,000 routes, checks API keys (64 in turn, each with a route of its own, which its tenant and the body's model decide),
keeps its metrics, and writes its access log to a file. nginx and wrk are Debian's; without them less is measured.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benches import answering, contest, gateway, load
from benches.contest import Contestant
from benches.proc import cores
from benches.report import Table, verdict


def run(*, quick: bool) -> list[Table]:
    number, seconds = (1, 1.0) if quick else (6, 3.0)
    routes = gateway.LOAD_ROUTES
    core, other = cores()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kind, upstream = stack.enter_context(answering.upstream(directory, core=other))
        bare = Contestant(
            "uvicorn answering by itself, raw ASGI", *stack.enter_context(answering.bare_uvicorn(core=core))
        )
        fast = contest.waypost(stack, "`waypost serve`", directory / "fast", upstream, core=core, routes=routes)
        name = "`waypost serve --no-fast-path`"
        asgi = contest.waypost(stack, name, directory / "asgi", upstream, "--no-fast-path", core=core, routes=routes)
        contestants = [bare, asgi, fast]
        nginx: Contestant | None = None
        if shutil.which("nginx"):
            found = stack.enter_context(answering.nginx_proxy(directory, upstream, core=core))
            nginx = Contestant("nginx as a reverse proxy", *found)
            contestants.append(nginx)
        chat = load.Load(directory / "load", keys=[key for key, _ in gateway.callers(routes)])
        contest.rounds(contestants, chat, number, seconds, core=other)
        table = _costs(contestants, bare)
        table.notes += [
            f"Upstream: {kind}. Load: {load.tool()}. {number} interleaved rounds of {seconds:g} s; the least counts.",
            answering.NGINX if nginx else "nginx is not installed here (Debian: nginx): it is left out.",
            f"RSS after the load: waypost {fast.process.rss():.0f} MB, uvicorn {bare.process.rss():.0f} MB.",
            _bar("Bar of the ASGI path: ≤ 2.2 times bare uvicorn", asgi.cost, bare.cost, 2.2),
        ]
    if nginx is not None:
        table.notes.append(_bar("Bar of the fast path: ≤ 1.5 times nginx", fast.cost, nginx.cost, 1.5))
    if not fast.p50:
        table.notes.append("The time at one connection is not measured: wrk is not installed here (Debian: wrk).")
        return [table]
    times = _times(contestants)
    if nginx is not None:
        times.notes.append(_bar("Bar of the fast path: ≤ 1.5 times nginx", fast.p50, nginx.p50, 1.5))
    return [table, times]


def _bar(what: str, ours: list[float], theirs: list[float], bar: float) -> str:
    """The least round of each counts."""
    least, median = min(ours) / min(theirs), statistics.median(ours) / statistics.median(theirs)
    return f"{what}. {least:.2f}: {verdict(least <= bar)}. Of the medians: {median:.2f}."


def _costs(contestants: list[Contestant], bare: Contestant) -> Table:
    columns = ("what", "CPU µs per request", "÷ bare uvicorn", "median round", "slowest", "requests", "failed")
    table = Table("CPU per request", columns)
    for one in contestants:
        row = (one.name, one.least, one.least / bare.least, one.median, max(one.cost), one.answered, one.failed)
        table.rows.append(row)
    return table


def _times(contestants: list[Contestant]) -> Table:
    table = Table("Time of a request at one connection, p50", ("what", "ms", "median round", "slowest"))
    for one in contestants:
        table.rows.append((one.name, min(one.p50), statistics.median(one.p50), max(one.p50)))
    return table
