"""What a message costs on its way through the proxy: CPU time of the proxy's processes, per request.

CPU time per request holds on a busy machine where requests per second do not. A 1 KB OpenAI chat request, a 0.3 KB
reply, 32 keep-alive connections; what is measured has a core of its own where there are two.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benches import answering, gateway, load
from benches.proc import Process, cores
from benches.report import Table, verdict

_CONNECTIONS = 32


@dataclass
class _Contestant:
    name: str
    process: Process
    port: int
    cost: list[float] = field(default_factory=list)
    """CPU microseconds per request, by round."""
    answered: int = 0
    failed: int = 0

    @property
    def least(self) -> float:
        return min(self.cost)


def run(*, quick: bool) -> list[Table]:
    rounds, seconds = (1, 1.0) if quick else (4, 3.0)
    core, other = cores()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kind, upstream = stack.enter_context(answering.upstream(directory, core=other))
        bare = _Contestant(
            "uvicorn answering by itself, raw ASGI", *stack.enter_context(answering.bare_uvicorn(core=core))
        )
        fast = _serve(stack, "`waypost serve`", directory, upstream, core=core)
        asgi = _serve(stack, "`waypost serve --no-fast-path`", directory, upstream, "--no-fast-path", core=core)
        contestants = [bare, asgi, fast]
        nginx: _Contestant | None = None
        if shutil.which("nginx"):
            found = stack.enter_context(answering.nginx_proxy(directory, upstream, core=core))
            nginx = _Contestant("nginx as a reverse proxy", *found)
            contestants.append(nginx)
        for contestant in contestants:
            load.run(directory, contestant.port, 8, 1, core=other)
        for _ in range(rounds):
            for contestant in contestants:
                before = contestant.process.cpu()
                answered, failed = load.run(directory, contestant.port, _CONNECTIONS, seconds, core=other)
                contestant.cost.append((contestant.process.cpu() - before) / max(answered, 1) * 1e6)
                contestant.answered += answered
                contestant.failed += failed
        table = _table(contestants, bare)
        table.notes += [
            f"Upstream: {kind}. Load: {load.tool()}. {rounds} interleaved rounds of {seconds:g} s; the least counts.",
            f"RSS after the load: waypost {fast.process.rss():.0f} MB, uvicorn {bare.process.rss():.0f} MB.",
        ]
    ratio = asgi.least / bare.least
    table.notes.append(f"Bar of the ASGI path: ≤ 2.2 times bare uvicorn. {ratio:.2f}: {verdict(ratio <= 2.2)}.")
    if nginx is not None:
        ratio = fast.least / nginx.least
        table.notes.append(f"Bar of the fast path: ≤ 1.5 times nginx. {ratio:.2f}: {verdict(ratio <= 1.5)}.")
    return [table]


def _serve(
    stack: ExitStack, name: str, directory: Path, upstream: int, *arguments: str, core: int | None
) -> _Contestant:
    process, port = gateway.serve(directory, upstream, *arguments, core=core)
    stack.enter_context(process).wait_for("listening on")
    return _Contestant(name, process, port)


def _table(contestants: list[_Contestant], bare: _Contestant) -> Table:
    columns = ("what", "CPU µs per request", "÷ bare uvicorn", "slowest round", "requests", "failed")
    table = Table("CPU per request", columns)
    for one in contestants:
        table.rows.append((one.name, one.least, one.least / bare.least, max(one.cost), one.answered, one.failed))
    return table
