"""Compiling rules from Python objects, the memory they take, and changing a few of many.

Each size in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import orjson
from waypost import Matcher, RouteTable

from benches import edits
from benches import memory as kinds
from benches.corpus import rules
from benches.memory import BYTES, resident, settle, trim
from benches.report import Table, verdict
from benches.timing import interleaved, once

_COUNTS = (10, 100, 1_000, 10_000, 100_000)
_SECONDS = 1.0
_FLOOR = 1_000
"""With fewer rules, pages are too coarse a measure of memory."""


def run(*, quick: bool) -> list[Table]:
    columns = (
        "rules",
        "Matcher ms",
        "µs a rule",
        "÷ orjson.loads of their text",
        "replace() ms",
        "beside a busy thread",
        "RouteTable ms",
    )
    build = Table("Compiling", columns)
    columns = ("rules", "resident", "trimmed", "at most", "JSON text", "beyond text and name", "the same, trimmed")
    memory = Table("Memory, bytes a rule", columns)
    for count in _COUNTS[:4] if quick else _COUNTS:
        command = [sys.executable, "-m", "benches.compile", str(count), "1" if quick else "5"]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        build.rows.append((count, *row["build"]))
        if count >= _FLOOR:
            memory.rows.append((count, *row["memory"]))
    build.notes += [
        "replace() swaps all rules of a matcher for as many others.",
        "beside a busy thread: milliseconds on the clock, while another thread never waits for anything.",
    ]
    memory.notes += [
        "resident: what the process grew by. at most: by how much it was larger while it compiled.",
        "trimmed: after malloc_trim, less what the allocator keeps for later.",
        "beyond text and name: resident, less the JSON text. Names are the caller's own objects and in no figure here.",
    ]
    if not quick:
        took, beyond = build.rows[-1][1] / 1e3, memory.rows[-1][-2]
        build.notes.append(f"Bar, from Python objects: ≤ {_SECONDS:g} s. {took:.3g} s: {verdict(took <= _SECONDS)}.")
        memory.notes.append(f"Bar, beyond text and name: ≤ {BYTES}. {beyond:.0f}: {verdict(beyond <= BYTES)}.")
    by_kind = [] if quick else [kinds.run()]
    return [build, memory, *by_kind, *edits.run(quick=quick)]


def _measure(count: int, rounds: int) -> dict[str, list[float]]:
    patterns = rules(count)
    settle()
    before, _ = resident()
    matcher = Matcher(patterns)
    after, peak = resident()
    trim()
    trimmed, _ = resident()

    text = orjson.dumps(patterns)
    written = sum(len(orjson.dumps(pattern)) for pattern in patterns.values())
    routes = [{"name": name, "match": pattern, "to": "local"} for name, pattern in patterns.items()]
    functions = {
        "compile": partial(Matcher, patterns),
        "load": partial(orjson.loads, text),
        "replace": partial(matcher.replace, patterns),
    }
    least = interleaved(functions, rounds if count > _FLOOR else 4 * rounds)
    grown, kept, most = after - before, trimmed - before, max(after, peak) - before
    sizes = [grown, kept, most, written, grown - written, kept - written]
    return {
        "build": [
            least["compile"] * 1e3,
            least["compile"] * 1e6 / count,
            least["compile"] / least["load"],
            least["replace"] * 1e3,
            _beside_a_busy_thread(functions["replace"]) * 1e3,
            once(partial(RouteTable, routes)) * 1e3,
        ],
        "memory": [size / count for size in sizes],
    }


def _beside_a_busy_thread(call: Callable[[], object]) -> float:
    """Seconds on the clock, the least of three calls."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            pass

    thread = threading.Thread(target=work)
    thread.start()
    took = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    done.set()
    thread.join()
    return min(took)


if __name__ == "__main__":  # COUNT ROUNDS: prints one row of each table as JSON
    print(json.dumps(_measure(int(sys.argv[1]), int(sys.argv[2]))))
