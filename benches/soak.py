"""A million messages of all sorts over the fast path: does memory grow?

Most are plain; among them streams, clients that leave, refusals of every kind, broken HTTP, bodies in chunks and
translated envelopes (which take the ASGI path), retries, and connections that come and go. Waypost has 1,000 routes, 64
API keys, metrics, and an access log in a file. Every answer is checked.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benches import gateway
from benches.proc import Process, cores, free_port
from benches.report import Table, verdict
from benches.traffic import KINDS

_MESSAGES = 1_000_000
_BASE = 50_000
"""Messages after which memory is taken as what it should stay at."""
_BAR = 1.10


def run(*, quick: bool) -> list[Table]:
    messages, base = (20_000, 5_000) if quick else (_MESSAGES, _BASE)
    points = [base * step for step in range(1, messages // base + 1)]
    core, other = cores()
    table = Table("Resident memory", ("messages", "seconds", "RSS MB", "÷ the first", "open files"))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = free_port(), free_port()
        endpoint = _traffic("endpoint", *ports, core=other)
        stack.enter_context(endpoint).wait_for_port(ports[1])
        waypost, port = gateway.serve(directory / "fast", *ports, core=core, routes=gateway.LOAD_ROUTES)
        stack.enter_context(waypost).wait_for("listening on")
        table.notes.append(f"Before the first message: {waypost.rss():.1f} MB.")
        keys = [key for key, _ in gateway.callers(gateway.LOAD_ROUTES)]
        clients = stack.enter_context(_traffic("clients", port, messages, *keys, core=other))
        began, first = time.monotonic(), 0.0
        for point in points:
            clients.wait_for(rf"^{point} answered", patience=600)
            memory = waypost.rss()
            first = first or memory
            table.rows.append((point, time.monotonic() - began, memory, memory / first, waypost.files()))
        outcome = json.loads(clients.wait_for(r"^\{.*\}")[0])
    growth = memory / first
    table.notes.append(
        f"Bar: RSS at the end within 10 % of that after the first {base:,}. {growth:.3f}: {verdict(growth <= _BAR)}."
    )
    return [table, _answers(outcome)]


def _traffic(*arguments: object, core: int | None) -> Process:
    return Process([sys.executable, "-m", "benches.traffic", *map(str, arguments)], core=core)


def _answers(outcome: dict[str, dict[str, int]]) -> Table:
    table = Table("Messages", ("what", "status", "answered so"))
    for kind in KINDS:
        table.rows.append((kind.name, kind.status, outcome["answered"].get(kind.name, 0)))
    failed = [f"{number:,} of {what}" for what, number in sorted(outcome["failed"].items())]
    table.notes.append(f"Not as expected: {'; '.join(failed) or 'none'}.")
    return table
