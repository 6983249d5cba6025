"""Tables, the environment they were made in, and the file that keeps them."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import waypost

__all__ = ["Table", "environment", "processor", "render", "store", "verdict"]

_PACKAGES = ("uvicorn", "uvloop", "httptools", "starlette", "orjson", "msgspec")
_HEAD = """\
# Results

What `make bench` measured last, one section a bench. **Only ratios within one run mean anything**: these figures come
from a shared machine on which other work was going on, so that seconds and microseconds are indicative, and two
sections (or two dates) must not be compared with each other. What is compared is always run interleaved, and the
fastest of several batches counts, which other work disturbs least; of functions, the CPU time of the calling thread, of
calls below 100 µs timed one by one, the time on the clock. Nothing here is asserted by a test.
"""


@dataclass
class Table:
    """Rows under named columns. Numbers are shown to three figures, aligned right."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    picture: str = ""
    """Where a plot of it is, relative to the results file."""

    def __str__(self) -> str:
        cells = [list(self.columns), *([_cell(value) for value in row] for row in self.rows)]
        numeric = [all(isinstance(row[at], int | float) for row in self.rows) for at in range(len(self.columns))]
        widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
        rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
        lines = [f"### {self.title}", ""]
        for row in (cells[0], rule, *cells[1:]):
            padded = (_pad(cell, width, right) for cell, width, right in zip(row, widths, numeric, strict=True))
            lines.append(f"| {' | '.join(padded)} |")
        if self.picture:
            lines += ["", f"![{self.title}]({self.picture})"]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines)


def verdict(held: bool) -> str:
    """How a figure stands to its bar."""
    return "ok" if held else "MISSED"


def environment() -> str:
    """Machine, kernel and versions, on one line."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    today = dt.datetime.now(dt.UTC).date()
    return (
        f"{today}: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}, waypost {waypost.__version__}; {packages}"
    )


def processor() -> str:
    """Its name, and whether it has AVX-512, on which the speed of the JSON scanner depends."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return f"{model[1] if model else platform.machine()}{' with AVX-512' if ' avx512' in text else ''}"


def render(about: str, tables: Iterable[Table], made_in: str) -> str:
    """A section's text without its heading."""
    return "\n\n".join([about.strip(), made_in, *map(str, tables)]) + "\n"


def store(path: Path, name: str, section: str, order: Sequence[str]) -> None:
    """Replace the section `name` of a results file; the others stay, in `order`."""
    sections: dict[str, str] = {}
    if path.exists():
        parts = re.split(r"^## (.+)\n", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
        sections = dict(zip(parts[::2], parts[1::2], strict=True))
    sections[name] = section
    known = [name for name in order if name in sections]
    path.write_text("\n".join([_HEAD, *(f"## {name}\n\n{sections[name].strip()}\n" for name in known)]), "utf-8")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
