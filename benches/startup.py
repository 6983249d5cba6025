"""From nothing to the first routed answer, and what lies around meanwhile."""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from packaging.requirements import Requirement

from benches import answering, gateway
from benches.corpus import REPLY
from benches.load import REQUEST
from benches.proc import Process
from benches.report import Table, verdict

_ROOT = Path(__file__).parents[1]


def run(*, quick: bool) -> list[Table]:
    table = Table("Figures of the first release", ("what", "measured", "bar", ""))
    seconds, python, resident = [], [], []
    with tempfile.TemporaryDirectory() as name, answering.upstream(Path(name)) as (kind, upstream):
        for _ in range(2 if quick else 7):
            python.append(_bare_python())
            process, port = gateway.serve(Path(name), upstream)
            with process:
                seconds.append(_first_answer(process, port) - process.started)
                resident.append(process.rss())
    runs, median, least = len(seconds), statistics.median(seconds), min(seconds)
    memory, packages = max(resident), _packages()
    wheel = _wheel()
    size = wheel.stat().st_size / 1e6
    table.rows += [
        (f"exec to first routed answer, median of {runs}", f"{median:.2f} s", "≤ 0.6 s", verdict(median <= 0.6)),
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
    return [table]


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
