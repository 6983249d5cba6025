"""One file of a configuration: its text, its plain values, and the place of each."""

from __future__ import annotations

import os
from pathlib import Path as FilePath
from typing import Any, Final

from waypost.config import jsontext, yaml12
from waypost.config.positions import REPORTED, Fault, Path, Position, ShapeError, UnreadableError

__all__ = ["LinesSource", "Source", "TreeSource", "decode", "read_bytes"]

MAX_FILE: Final = 256 * 2**20
"""Bytes of the largest file that is read."""


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_FILE) -> bytes:
    """The content of a file. Raises `ShapeError` with a message that names the file."""
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
    """A file, or what stands in for one. In paths, its routes count from `first_route`."""

    def __init__(self, file: str, base: FilePath, first_route: int = 0) -> None:
        self.file = file
        self.base = base
        self.first_route = first_route
        self.incomplete: set[Path] = set()
        """Mappings with keys that could not be read."""

    def own(self, path: Path) -> Path:
        """`path` with its routes counted as in this file alone."""
        if len(path) > 1 and path[0] == "routes" and isinstance(path[1], int):
            return ("routes", path[1] - self.first_route, *path[2:])
        return path

    def combined(self, path: Path) -> Path:
        """The reverse of `own`."""
        if len(path) > 1 and path[0] == "routes" and isinstance(path[1], int):
            return ("routes", path[1] + self.first_route, *path[2:])
        return path

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:  # noqa: ARG002 - there are none here
        """Line and column, from 1, nearest to `path`; 0 where there are none. `key`: of the key, not the value."""
        return (0, 0)


class TreeSource(Source):
    """A YAML or JSON file."""

    def __init__(self, file: str, base: FilePath, text: str, first_route: int = 0) -> None:
        """Raises `UnreadableError`."""
        super().__init__(file, base, first_route)
        compose = jsontext.compose if file.endswith(".json") else yaml12.compose
        self.value, self._mark, self.faults = compose(text)

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        return self._mark.find(self.own(path), key=key)


class LinesSource(Source):
    """A file of JSON lines, one route a line. Columns are worked out when they are asked for."""

    def __init__(self, file: str, base: FilePath, text: str, first_route: int = 0) -> None:
        super().__init__(file, base, first_route)
        self._text = text
        self._lines: list[tuple[int, int, int]] = []  # number, start, end of each line that is not blank

    def read(self) -> tuple[list[Any], list[Fault]]:
        """The routes, and what was wrong with lines; a line that could not be read gives `REPORTED`."""
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
                    values.append(self._slowly(line, number, len(values), faults))
            start = end + 1
        return values, faults

    @staticmethod
    def _slowly(line: str, number: int, index: int, faults: list[Fault]) -> Any:
        try:
            value, _, found = jsontext.compose(line, number)
        except UnreadableError as fault:
            faults.append(Fault(("routes", index), fault.line, fault.column, fault.message))
            return REPORTED
        faults.extend(Fault(("routes", index, *each.path), each.line, each.column, each.message) for each in found)
        return value

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        own = self.own(path)
        if len(own) < 2 or not isinstance(own[1], int) or not 0 <= own[1] < len(self._lines):
            return (1, 1)
        number, start, end = self._lines[own[1]]
        try:
            mark: Position = jsontext.compose(self._text[start:end], number)[1]
        except UnreadableError:
            return (number, 1)
        return mark.find(own[2:], key=key)
