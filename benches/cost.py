"""What a message costs by the size of its body and by the number of routes: the proxy's CPU time per request.

OpenAI chat requests over 32 keep-alive connections, 64 API keys in turn, metrics and access log on. Waypost reads each
body to its last byte, checks it, and decides by what is in it; nginx, beside it, hands on what it does not look at.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benches import answering, contest, gateway, load
from benches.contest import Contestant
from benches.corpus import chat
from benches.plot import Line, log_log
from benches.proc import cores
from benches.report import Table

_SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
_ROUTES = (10, 100, 1_000, 10_000, 100_000)
_PLOTS = Path(__file__).with_name("plots")
_FAST, _ASGI, _NGINX = "`waypost serve`", "`waypost serve --no-fast-path`", "nginx as a reverse proxy"
_LOOKS = {_FAST: 0, _ASGI: 5, _NGINX: 3}


Cases = dict[tuple[str, int], tuple[Contestant, load.Load]]
"""By name, and by size or number."""


def run(*, quick: bool) -> list[Table]:
    _, other = cores()
    with tempfile.TemporaryDirectory() as name, answering.upstream(Path(name), core=other) as (kind, upstream):
        tables = [_by_size(Path(name), upstream, quick=quick), _by_routes(Path(name), upstream, quick=quick)]
    tables[0].notes.append(f"Upstream: {kind}. Load: {load.tool()}. {gateway.LOAD_ROUTES:,} routes.")
    tables[0].notes.append(answering.NGINX if shutil.which("nginx") else "nginx is not installed here: it is left out.")
    return tables


def _by_size(directory: Path, upstream: int, *, quick: bool) -> Table:
    core, _ = cores()
    routes = gateway.LOAD_ROUTES
    with ExitStack() as stack:
        fast = contest.waypost(stack, _FAST, directory / "fast", upstream, core=core, routes=routes)
        asgi = contest.waypost(stack, _ASGI, directory / "asgi", upstream, "--no-fast-path", core=core, routes=routes)
        ways = [(one.name, one.process, one.port) for one in (fast, asgi)]
        if shutil.which("nginx"):
            ways.append((_NGINX, *stack.enter_context(answering.nginx_proxy(directory, upstream, core=core))))
        cases: Cases = {}
        for size in _SIZES[:5:4] if quick else _SIZES:
            # wrk holds each request whole.
            keys = [key for key, _ in gateway.callers(routes)][: 4 if size > 10_000 else None]
            chats = load.Load(directory / f"load-{size}", chat(size), keys)
            cases |= {(way[0], size): (Contestant(*way), chats) for way in ways}
        _measure(cases, quick=quick)
    table = _table("CPU µs per request by size of its body", "bytes", cases)
    if not quick:
        table.picture = _draw("CPU time per request by size of its body", "bytes", "cost-by-size.svg", cases)
    return table


def _by_routes(directory: Path, upstream: int, *, quick: bool) -> Table:
    core, _ = cores()
    resident: dict[int, float] = {}
    with ExitStack() as stack:
        cases: Cases = {}
        for routes in _ROUTES[:2] if quick else _ROUTES:
            chats = load.Load(directory / f"load-of-{routes}", keys=[key for key, _ in gateway.callers(routes)])
            for name, arguments in ((_FAST, ()), (_ASGI, ("--no-fast-path",))):
                place = directory / f"{routes}{''.join(arguments)}"
                one = contest.waypost(stack, name, place, upstream, *arguments, core=core, routes=routes)
                cases[name, routes] = one, chats
            resident[routes] = cases[_FAST, routes][0].process.rss()
        _measure(cases, quick=quick)
    table = _table("CPU µs per request by number of routes", "routes", cases)
    table.columns = [*table.columns, "RSS MB at first"]
    table.rows = [(*row, value) for row, value in zip(table.rows, resident.values(), strict=True)]
    table.notes.append("1 KB; the requests of each key are another route's, evenly spread among all of them.")
    if not quick:
        table.picture = _draw("CPU time per request by number of routes", "routes", "cost-by-routes.svg", cases)
    return table


def _measure(cases: Cases, *, quick: bool) -> None:
    """In interleaved rounds."""
    _, other = cores()
    if not quick:
        for one, chats in cases.values():
            chats.run(one.port, 8, 1, core=other)
    for _ in range(1 if quick else 4):
        for one, chats in cases.values():
            one.spend(chats, 1 if quick else 2, other)


def _table(title: str, x_name: str, cases: Cases) -> Table:
    names = list(dict.fromkeys(name for name, _ in cases))
    table = Table(title, (x_name, *names, *(["fast path ÷ nginx"] if _NGINX in names else []), "failed"))
    for x in dict.fromkeys(x for _, x in cases):
        least = [cases[name, x][0].least for name in names]
        ratio = [least[0] / least[-1]] if _NGINX in names else []
        table.rows.append((x, *least, *ratio, sum(cases[name, x][0].failed for name in names)))
    table.notes.append("The least of the rounds, which are interleaved.")
    return table


def _draw(title: str, x_name: str, file: str, cases: Cases) -> str:
    lines = []
    for name in dict.fromkeys(name for name, _ in cases):
        points = [(x, one.least / 1e6) for (whose, x), (one, _) in cases.items() if whose == name]
        lines.append(Line(name.replace("`", ""), points, emphasis=name == _FAST, look=_LOOKS[name]))
    about = "32 connections, API keys, metrics and access log on; the least of interleaved rounds."
    _PLOTS.joinpath(file).write_text(log_log(title, x_name, lines, about), "utf-8")
    return f"plots/{file}"
