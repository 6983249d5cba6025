"""What answers requests, side by side: CPU time per request, and time that a request takes, in interleaved rounds."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benches import gateway
from benches.load import Load
from benches.proc import Process

__all__ = ["CONNECTIONS", "Contestant", "rounds", "waypost"]

CONNECTIONS = 32


@dataclass
class Contestant:
    name: str
    process: Process
    port: int
    cost: list[float] = field(default_factory=list)
    """CPU microseconds per request at `CONNECTIONS`, by round."""
    p50: list[float] = field(default_factory=list)
    """Milliseconds that half of the requests take at one connection, by round; nothing where wrk is missing."""
    resident: float = 0.0
    """MB after the load; nothing where it is not looked at."""
    answered: int = 0
    failed: int = 0

    def spend(self, load: Load, seconds: float, core: int | None) -> None:
        """One round for `cost`."""
        before = self.process.cpu()
        outcome = load.run(self.port, CONNECTIONS, seconds, core=core)
        self.cost.append((self.process.cpu() - before) / max(outcome.answered, 1) * 1e6)
        self.answered += outcome.answered
        self.failed += outcome.failed

    def wait(self, load: Load, seconds: float, core: int | None) -> None:
        """One round for `p50`."""
        outcome = load.run(self.port, 1, seconds, core=core)
        if outcome.p50 is not None:
            self.p50.append(outcome.p50 * 1e3)
        self.failed += outcome.failed

    @property
    def least(self) -> float:
        return min(self.cost)

    @property
    def median(self) -> float:
        return statistics.median(self.cost)


def waypost(
    stack: ExitStack,
    name: str,
    directory: Path,
    upstream: int,
    *arguments: str,
    core: int | None,
    routes: int,
    python: str = sys.executable,
) -> Contestant:
    """`waypost serve` of that interpreter with so many routes, and with keys, an access log and metrics."""
    process, port = gateway.serve(directory, upstream, *arguments, core=core, routes=routes, python=python)
    stack.enter_context(process).wait_for("listening on", patience=120)
    return Contestant(name, process, port)


def rounds(
    contestants: Sequence[Contestant], load: Load, number: int, seconds: float, *, core: int | None, single: bool = True
) -> None:
    """Each contestant in turn, `number` times: so long at `CONNECTIONS`, and, with `single`, half as long at one.

    Where there is more than one round, there is a little load before the first.
    """
    if number > 1:
        for one in contestants:
            load.run(one.port, 8, 1, core=core)
    for _ in range(number):
        for one in contestants:
            one.spend(load, seconds, core)
        if single:
            for one in contestants:
                one.wait(load, seconds / 2, core)
