"""Compiling rules from Python objects, the memory they take, and what one message then costs.

Each size in a process of its own. `first` uses the index; `explain` looks at every rule.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import orjson
from waypost import Matcher, RouteTable

from benches.corpus import envelope, rules
from benches.report import Table
from benches.timing import interleaved

_COUNTS = (1_000, 10_000, 100_000)


def run(*, quick: bool) -> list[Table]:
    build = Table(
        "Compile",
        (
            "rules",
            "Matcher ms",
            "÷ orjson.loads of the rules' text",
            "RouteTable ms",
            "bytes a rule (RSS)",
            "JSON text and name, bytes",
        ),
    )
    match = Table(
        "One message of 1 KB", ("rules", "first(), none matches, µs", "first(), the middle one, µs", "explain() ms")
    )
    for count in _COUNTS[:2] if quick else _COUNTS:
        command = [sys.executable, "-m", "benches.compile", str(count), "1" if quick else "3"]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        build.rows.append((count, *row["build"]))
        match.rows.append((count, *row["match"]))
    build.notes.append(
        "Bars of the index: 100,000 rules in 1 s from Python objects, and at most 200 bytes a rule "
        "beyond its JSON text and name."
    )
    match.notes.append("Bar of the index: 100,000 rules cost at most 1.5 times what 10 cost.")
    return [build, match]


def _measure(count: int, rounds: int) -> dict[str, list[float]]:
    patterns = rules(count)
    text = orjson.dumps(patterns)
    before = _rss()
    matcher = Matcher(patterns)
    size = (_rss() - before) / count
    compiling = interleaved({"compile": partial(Matcher, patterns), "load": partial(orjson.loads, text)}, rounds)
    routes = [{"name": name, "match": pattern, "to": "local"} for name, pattern in patterns.items()]
    began = time.perf_counter()
    RouteTable(routes)
    table = time.perf_counter() - began
    miss, hit = envelope(1_000), envelope(1_000, subject=count // 2)
    functions = {
        "miss": partial(matcher.first, miss),
        "hit": partial(matcher.first, hit),
        "explain": partial(matcher.explain, miss),
    }
    least = interleaved(functions, 5 * rounds)
    return {
        "build": [
            compiling["compile"] * 1e3,
            compiling["compile"] / compiling["load"],
            table * 1e3,
            size,
            len(text) / count,
        ],
        "match": [least["miss"] * 1e6, least["hit"] * 1e6, least["explain"] * 1e3],
    }


def _rss() -> int:
    """Resident bytes of this process, less what the allocator keeps for later."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # not glibc: the figure is a little higher
        ctypes.CDLL(None).malloc_trim(0)
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":  # COUNT ROUNDS: prints one row of each table as JSON
    print(json.dumps(_measure(int(sys.argv[1]), int(sys.argv[2]))))
