"""One file of a configuration: its plain values and their positions."""

from __future__ import annotations

import os
from pathlib import Path as FilePath
from typing import Any, Final

from waypost.config import jsontext, yaml12
from waypost.config.positions import REPORTED, Fault, Path, Position, ShapeError, UnreadableError

__all__ = ["LinesSource", "Source", "TreeSource", "decode", "read_bytes"]

MAX_FILE: Final = 256 * 2**20
"""Largest file that is read, in bytes."""


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_FILE) -> bytes:
    """The content of a file of at most `limit` bytes. Raises `ShapeError` with a message that names the file."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read(limit + 1)
    except OSError as error:
        raise ShapeError(f"cannot read `{os.fspath(path)}`: {error.strerror or error}") from None
    except ValueError:  # a NUL in the name
        raise ShapeError(f"cannot read {os.fspath(path)!r}: not a file name") from None
    if len(data) > limit:
        raise ShapeError(f"cannot read `{os.fspath(path)}`: larger than {limit} bytes")
    return data


def decode(data: bytes) -> str:
    """`data` as UTF-8 text, without a byte order mark. Raises `UnreadableError`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        raise UnreadableError("not UTF-8 text", line, column) from None
    return text.removeprefix("\ufeff")


class Source:
    """A file, or the Python objects given instead. Paths number all routes; those of this file begin at `first_route`.

    Relative paths in the file start at `base`.
    """

    def __init__(self, file: str, base: FilePath, first_route: int = 0) -> None:
        self.file = file
        self.base = base
        self.first_route = first_route
        self.incomplete: set[Path] = set()
        """Paths of the mappings with a key that could not be read."""

    def local_path(self, path: Path) -> Path:
        """`path` with routes numbered within this file."""
        if len(path) > 1 and path[0] == "routes" and isinstance(path[1], int):
            return ("routes", path[1] - self.first_route, *path[2:])
        return path

    def global_path(self, path: Path) -> Path:
        """The inverse of `local_path`: `path` with routes numbered over all files."""
        if len(path) > 1 and path[0] == "routes" and isinstance(path[1], int):
            return ("routes", path[1] + self.first_route, *path[2:])
        return path

    def locate(self, path: Path, *, key: bool = False) -> tuple[int, int]:  # noqa: ARG002 - objects have no positions
        """Line and column (from 1) of the value nearest to `path`, or (0, 0) without positions.

        With `key`, those of the value's key instead.
        """
        return (0, 0)


class TreeSource(Source):
    """A YAML or JSON file."""

    def __init__(self, file: str, base: FilePath, text: str, first_route: int = 0) -> None:
        """Raises `UnreadableError`."""
        super().__init__(file, base, first_route)
        compose = jsontext.compose if file.endswith(".json") else yaml12.compose
        self.value, self._positions, self.faults = compose(text)

    def locate(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        return self._positions.find(self.local_path(path), key=key)


class LinesSource(Source):
    """A file of JSON lines, one route per line. Positions are computed on demand."""

    def __init__(self, file: str, base: FilePath, text: str, first_route: int = 0) -> None:
        super().__init__(file, base, first_route)
        self._text = text
        self._lines: list[tuple[int, int, int]] = []  # number, start, end of each line that is not blank

    def read(self) -> tuple[list[Any], list[Fault]]:
        """The routes, and the faults found. A line that cannot be read gives `REPORTED`."""
        values: list[Any] = []
        faults: list[Fault] = []
        start = 0
        for number, line in enumerate(self._text.split("\n"), 1):
            end = start + len(line)
            if line and not line.isspace():
                self._lines.append((number, start, end))
                try:
                    values.append(jsontext.loads(line))
                except (ValueError, RecursionError):
                    values.append(self._compose_line(line, number, len(values), faults))
            start = end + 1
        return values, faults

    @staticmethod
    def _compose_line(line: str, number: int, index: int, faults: list[Fault]) -> Any:
        try:
            value, _, found = jsontext.compose(line, number)
        except UnreadableError as fault:
            faults.append(Fault(("routes", index), fault.line, fault.column, fault.message))
            return REPORTED
        faults.extend(Fault(("routes", index, *each.path), each.line, each.column, each.message) for each in found)
        return value

    def locate(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        local = self.local_path(path)
        if len(local) < 2 or not isinstance(local[1], int) or not 0 <= local[1] < len(self._lines):
            return (1, 1)
        number, start, end = self._lines[local[1]]
        try:
            positions: Position = jsontext.compose(self._text[start:end], number)[1]
        except UnreadableError:
            return (number, 1)
        return positions.find(local[2:], key=key)
