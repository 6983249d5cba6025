"""The positions of the values in a file, and the problems found while reading it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

__all__ = [
    "EMPTY",
    "MAX_DEPTH",
    "REPORTED",
    "Fault",
    "Path",
    "Position",
    "Reported",
    "Sentinel",
    "ShapeError",
    "UnreadableError",
]

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions that lead to a value."""

MAX_DEPTH: Final = 128
"""Maximum nesting of mappings and lists: more than anyone writes, and well below Python's recursion limit."""


@final
class Sentinel:
    """A value that no configuration can hold."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


EMPTY: Final = Sentinel("EMPTY")
"""The value of a key without a value, such as `to:` at the end of a line."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Reported:
    """Stands for a value whose problem has been reported.

    `known` holds the valid parts of the value, which may contain `Reported` again, or `None` if there are none.
    """

    known: Any = None


REPORTED: Final = Reported()
"""A reported value without valid parts."""


@dataclass(slots=True)
class Position:
    """The position of a value and of the values inside it. Lines and columns (in characters) count from 1."""

    line: int
    column: int
    children: dict[str | int, Position] | None = None
    """The values inside a mapping or list, by key or index."""
    keys: dict[str, tuple[int, int]] | None = None
    """Line and column of each key of a mapping."""

    def add(self, step: str | int, child: Position, key: tuple[int, int] | None = None) -> None:
        """Record the position of a value inside this one and, in a mapping, of its key."""
        if self.children is None:  # created late: most values are scalars
            self.children = {}
        self.children[step] = child
        if key is not None and isinstance(step, str):
            if self.keys is None:
                self.keys = {}
            self.keys[step] = key

    def key(self, step: str) -> tuple[int, int]:
        """Line and column of a key of this mapping."""
        return (self.keys or {}).get(step, (self.line, self.column))

    def find(self, path: Iterable[str | int], *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value at `path`, or of the nearest value around it.

        With `key`, those of the last step's key instead. Index 0 of a value that is not a list is the value itself,
        because a single mapping may replace a list of one.
        """
        position = self
        key_start = (self.line, self.column)
        for step in path:
            child = position.children.get(step) if position.children is not None else None
            if child is None:
                if step == 0:
                    continue
                return (position.line, position.column)
            key_start = position.key(step) if isinstance(step, str) else (child.line, child.column)
            position = child
        return key_start if key else (position.line, position.column)


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem at one position of a file that did not stop the reading."""

    path: Path
    line: int
    column: int
    message: str
    key: str | None = None
    """The duplicate key, if that is the problem; `path` leads to its mapping."""
    loses_key: bool = False
    """The mapping at `path` has a key that could not be read."""


class ShapeError(ValueError):
    """A key does not accept this value. The message addresses the file's author."""


class UnreadableError(Exception):
    """A problem that stops the reading of a file."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
