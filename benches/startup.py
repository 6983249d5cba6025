"""From nothing to the first routed answer, and what lies around meanwhile."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from benches import answering, gateway, revision
from benches.corpus import REPLY
from benches.load import REQUEST
from benches.proc import Process
from benches.report import Table, verdict
from benches.revision import Revision

NO_WORSE = 1.05
"""Times what another build takes; less cannot be told from chance."""
_ROOT = Path(__file__).parents[1]


@dataclass
class Starts:
    """Of one build, by round."""

    seconds: list[float] = field(default_factory=list)
    """From exec to the first routed answer."""
    resident: list[float] = field(default_factory=list)
    """MB after that answer."""


def run(*, quick: bool, against: Revision | None = None) -> list[Table]:
    table = Table("Figures of the first release", ("what", "measured", "bar", ""))
    number = 2 if quick else 15 if against else 7
    python = [_bare_python() for _ in range(number)]
    kind, begun = starts([sys.executable, *([against.python] if against else [])], number)
    ours = begun[0]
    median, least = statistics.median(ours.seconds), min(ours.seconds)
    memory, packages = max(ours.resident), _packages()
    wheel = _wheel()
    size = wheel.stat().st_size / 1e6
    table.rows += [
        (f"exec to first routed answer, median of {number}", f"{median:.2f} s", "≤ 0.6 s", verdict(median <= 0.6)),
        ("the same, fastest", f"{least:.2f} s", "", ""),
        ("`python -c pass`, fastest, for comparison", f"{min(python):.3f} s", "", ""),
        ("resident after that answer, highest of all", f"{memory:.1f} MB", "< 60 MB", verdict(memory < 60)),
        ("runtime packages, waypost among them", len(packages), "≤ 15", verdict(len(packages) <= 15)),
        ("wheel", f"{size:.2f} MB", "< 5 MB", verdict(size < 5)),
    ]  # fmt: skip
    table.notes += [
        f"Upstream: {kind}, already up. Files are in the page cache, and bytecode is compiled.",
        f"Packages, by requirements/runtime.txt as it applies here: {', '.join(packages)}.",
        f"Wheel: {wheel.name}.",
    ]
    return [table, revision.table(against, compare(*begun))] if against else [table]


def starts(pythons: Sequence[str], number: int) -> tuple[str, list[Starts]]:
    """Start Waypost by each interpreter in turn, so many times: what the upstream is, and how each did.

    A round before them, for the page cache and bytecode, does not count.
    """
    found = [Starts() for _ in pythons]
    with tempfile.TemporaryDirectory() as name, answering.upstream(Path(name)) as (kind, upstream):
        for at in range(number + 1):
            for python, one in zip(pythons, found, strict=True):
                process, port = gateway.serve(Path(name), upstream, python=python)
                with process:
                    seconds = _first_answer(process, port) - process.started
                    resident = process.rss()
                if at:
                    one.seconds.append(seconds)
                    one.resident.append(resident)
    return kind, found


def compare(ours: Starts, theirs: Starts) -> list[Sequence[object]]:
    """Rows of `revision.table`."""
    return [
        revision.compare("exec to first routed answer, s", ours.seconds, theirs.seconds, NO_WORSE),
        revision.compare("resident after that answer, MB", ours.resident, theirs.resident, NO_WORSE),
    ]


def _first_answer(process: Process, port: int) -> float:
    """When the first routed answer was there, on the clock of `time.perf_counter`."""
    while process.running:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            process.pause()
            continue
        with connection:
            connection.sendall(REQUEST)
            answer = b""
            while not answer.endswith(REPLY):
                data = connection.recv(65536)
                answer += data
                if not data:
                    raise RuntimeError(f"the first answer is cut short: {answer!r}")
            now = time.perf_counter()
        if not answer.startswith(b"HTTP/1.1 200 ") or b"x-waypost-route: models" not in answer:
            raise RuntimeError(f"not a routed answer: {answer!r}")
        return now
    raise RuntimeError(f"waypost serve ended:\n{process.output}")


def _bare_python() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def _packages() -> list[str]:
    """What pip would install here for waypost."""
    names = ["waypost"]
    for line in (_ROOT / "requirements" / "runtime.txt").read_text("utf-8").splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                names.append(requirement.name)
    return names


def _wheel() -> Path:
    """The newest wheel in dist/, else one that is built now."""
    dist = _ROOT / "dist"
    if not any(dist.glob("*.whl")):
        print("building the wheel …", flush=True)
        command = ["maturin", "build", "--release", "--locked", "--quiet", "--out", str(dist)]
        subprocess.run([sys.executable, "-m", *command], check=True, cwd=_ROOT)
    return max(dist.glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime)
