"""The demo's output: progress, and a table that fits the terminal."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterable
from typing import TextIO

__all__ = ["Report", "shorten"]

BOLD, DIM, RED, GREEN = "1", "2", "31", "32"


class Report:
    """Writes to `out`, as wide as the terminal. Uses colour only on a terminal, and only if NO_COLOR is not set."""

    def __init__(self, out: TextIO, *, width: int | None = None) -> None:
        self._out = out
        self._width = width or shutil.get_terminal_size((100, 24)).columns
        self._colour = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._columns: tuple[int, ...] = ()

    def line(self, text: str = "") -> None:
        """Write one line and flush it, because the next one may take a while."""
        self._out.write(text + "\n")
        self._out.flush()

    def step(self, what: str, detail: str) -> None:
        """Write a line of progress."""
        self.line(f"  {what:<10} {self._styled(detail, DIM)}")

    def failure(self, text: str) -> None:
        self.line(self._styled(shorten(text, 4 * self._width), RED))

    def heading(self, labels: Iterable[str], routes: Iterable[str], clusters: Iterable[str]) -> None:
        """Write the table's head. The widths of its columns come from the cells that the rows will have."""
        columns = (("message", labels), ("route", routes), ("cluster", clusters), ("time", ["1000.0 ms"]))
        self._columns = tuple(max(map(len, [head, *cells])) for head, cells in columns)
        cells = [head.ljust(size) for (head, _), size in zip(columns, self._columns, strict=True)]
        text = "  ".join([*cells[:3], "time".rjust(self._columns[3])])
        self.line()
        self.line(self._styled(text + ("  why" if self._beside else ""), BOLD))

    def row(self, label: str, route: str, cluster: str, seconds: float, why: str, answer: str) -> None:
        """Write the row of a message that was answered."""
        self._cells((label, route, cluster, f"{1000 * seconds:.1f} ms"), why)
        self.line("  " + self._styled(shorten(f"-> {answer}", self._width - 2), GREEN))

    def failed_row(self, label: str, route: str, cluster: str, error: str) -> None:
        """Write the row of a message that failed."""
        self._cells((label, route, cluster, "-"), "")
        for part in textwrap.wrap(shorten(f"failed: {error}", 1000), max(20, self._width - 2)):
            self.line("  " + self._styled(part, RED))

    @property
    def _beside(self) -> int:
        """Width of the last column, or 0 if that column needs lines of its own."""
        width = self._width - sum(self._columns) - 2 * len(self._columns)
        return width if width >= 24 else 0

    def _cells(self, cells: tuple[str, str, str, str], why: str) -> None:
        padded = [shorten(cell, 40).ljust(size) for cell, size in zip(cells, self._columns, strict=True)]
        padded[3] = padded[3].strip().rjust(self._columns[3])
        text = "  ".join(padded)
        beside = self._beside
        indent = len(text) + 2 if beside else 2
        wrapped = textwrap.wrap(shorten(why, 400), beside or max(20, self._width - indent))
        if beside and wrapped:
            text += "  " + wrapped.pop(0)
        self.line(text)
        for part in wrapped:
            self.line(" " * indent + part)

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text


def shorten(text: str, width: int) -> str:
    """`text` on one line of at most `width` characters, safe to print on a terminal."""
    kept = text[: width + 1]
    clean = "".join(char if char.isprintable() else " " for char in kept)
    return clean if len(clean) <= width else clean[: max(0, width - 3)] + "..."
