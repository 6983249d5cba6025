"""Memory that rules take, by what kind they are of.

Each kind in a process of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import re
import subprocess
import sys
from pathlib import Path

import orjson
from waypost import Matcher

from benches.corpus import rules
from benches.mixes import MIXES
from benches.report import Table, verdict

_COUNT = 100_000
BYTES = 200
"""How many a rule may take, beyond its JSON text and its name."""


def run() -> Table:
    columns = ("rules", "resident", "JSON text", "beyond text and name", f"≤ {BYTES}")
    table = Table(f"Memory by kind of rules, {_COUNT:,} of them, bytes a rule", columns)
    for kind in MIXES:
        command = [sys.executable, "-m", "benches.memory", kind]
        grown, written = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        table.rows.append((kind, grown, written, grown - written, verdict(grown - written <= BYTES)))
    table.notes += [
        "resident: what the process grew by.",
        "Strings of up to 23 bytes, and bounds of up to 15 digits in plain writing, take no memory of their own.",
    ]
    return table


def _measure(kind: str) -> list[float]:
    patterns = {f"rule-{subject}": MIXES[kind].pattern(subject) for subject in range(_COUNT)}
    settle()
    before, _ = resident()
    matcher = Matcher(patterns)
    after, _ = resident()
    written = sum(len(orjson.dumps(pattern)) for pattern in patterns.values())
    return [(after - before) / len(matcher), written / len(matcher)]


def settle() -> None:
    """Loads and sets up what is loaded once, and gives back what was freed, as that would hide what is taken next."""
    Matcher(rules(10))
    resident()
    gc.collect()
    trim()


def trim() -> None:
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> tuple[int, int]:
    """Resident bytes of this process: now, and the most so far."""
    text = Path("/proc/self/status").read_text("utf-8")
    found = {name: int(size) * 1024 for name, size in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", text, re.MULTILINE)}
    return found["VmRSS"], found["VmHWM"]


if __name__ == "__main__":  # KIND: prints one row as JSON
    print(json.dumps(_measure(sys.argv[1])))
