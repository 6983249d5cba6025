"""Another revision of Waypost, built like this one, to be measured beside it."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.report import Table, verdict

__all__ = ["Revision", "build", "compare", "table"]

_ROOT = Path(__file__).parents[1]
_BUILDS = _ROOT / ".venv-bench"
_NOT_INHERITED = ("CARGO_PROFILE_", "MAKE", "MFLAGS", "VIRTUAL_ENV")
"""Variables that begin like this would make the build another one than `make build` gives."""


@dataclass(frozen=True)
class Revision:
    name: str
    """The commit, abbreviated."""
    python: str
    """The interpreter that has it installed."""


def build(revision: str) -> Revision:
    """The revision, built by its own `make build` in a directory of its own: once, then it is there.

    Raises `RuntimeError` with the reason where there is no such revision, or it does not build.
    """
    name = _run(["git", "rev-parse", "--short", "--verify", f"{revision}^{{commit}}"], _ROOT).decode().strip()
    checkout = _BUILDS / f"against-{name}"
    if not (checkout / ".venv" / ".built").exists():
        print(f"building {name} in {checkout.relative_to(_ROOT)} …", flush=True)
        shutil.rmtree(checkout, ignore_errors=True)
        checkout.mkdir(parents=True)
        files = _run(["git", "archive", name], _ROOT)
        subprocess.run(["tar", "-x"], input=files, cwd=checkout, check=True)
        _run(["make", "build", f"PYTHON={sys.executable}"], checkout)
    return Revision(name, str(checkout / ".venv" / "bin" / "python"))


def table(other: Revision, rows: Sequence[Sequence[object]]) -> Table:
    """What `compare` gave of both builds."""
    this = _run(["git", "describe", "--always", "--dirty"], _ROOT).decode().strip()
    columns = ("what", f"this ({this})", other.name, "ratio", "median ratio", "bar", "")
    about = (
        "Least rounds and their ratio, then the median of the ratios round by round. The median counts: one quiet round"
        " decides the other."
    )
    return Table(f"This build beside {other.name}", columns, list(rows), [about])


def compare(what: str, ours: Sequence[float], theirs: Sequence[float], bar: float | None = None) -> Sequence[object]:
    """A row of `table`: figures of both builds by round, of which less is better, and the median ratio allowed."""
    ratio = min(ours) / min(theirs)
    median = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    bars = ("", "") if bar is None else (f"≤ {bar:g}", verdict(median <= bar))
    return (what, min(ours), min(theirs), ratio, median, *bars)


def _run(command: Sequence[str], directory: Path) -> bytes:
    """Its output. Raises `RuntimeError` with what it says where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    try:
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, check=False)
    except FileNotFoundError:
        raise RuntimeError(f"{command[0]} is not installed here") from None
    if done.returncode:
        said = (done.stdout[-2000:] + done.stderr[-2000:]).decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(command)}: {said}")
    return done.stdout
