"""What reading a file gives beside plain values: where each stood, and what was wrong."""

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
"""How many mappings and lists may be nested in a configuration. Far beyond what anybody writes, far below
Python's own limit on recursion."""


@final
class Sentinel:
    """A value that no configuration can hold."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


EMPTY: Final = Sentinel("EMPTY")
"""Nothing was written: `to:` and the end of the line."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Reported:
    """In place of a value: what was written is wrong, and has been reported.

    `known` is what is known of it all the same, in which `Reported` may stand again; `None` where that is nothing.
    """

    known: Any = None


REPORTED: Final = Reported()
"""Nothing is known of it."""


@dataclass(slots=True)
class Position:
    """Where a value stands. Lines and columns (in characters) count from 1."""

    line: int
    column: int
    children: dict[str | int, Position] | None = None
    """By key or position, where it is a mapping or a list."""
    keys: dict[str, tuple[int, int]] | None = None
    """Line and column of each key of a mapping."""

    def add(self, step: str | int, child: Position, key: tuple[int, int] | None = None) -> None:
        """Note where a value below this one stands, and its key where it has one."""
        if self.children is None:  # most values are scalars, and there are many: they get no dicts
            self.children = {}
        self.children[step] = child
        if key is not None and isinstance(step, str):
            if self.keys is None:
                self.keys = {}
            self.keys[step] = key

    def key(self, step: str) -> tuple[int, int]:
        """Line and column of a key that is there."""
        return (self.keys or {}).get(step, (self.line, self.column))

    def find(self, path: Iterable[str | int], *, key: bool = False) -> tuple[int, int]:
        """Line and column of what `path` leads to, or of the nearest value around it.

        `key`: of the last step's key rather than its value. What is no list is the first item of one: a single mapping
        may stand for a list of one.
        """
        mark = self
        place = (self.line, self.column)
        for step in path:
            child = mark.children.get(step) if mark.children is not None else None
            if child is None:
                if step == 0:
                    continue
                return (mark.line, mark.column)
            place = mark.key(step) if isinstance(step, str) else (child.line, child.column)
            mark = child
        return place if key else (mark.line, mark.column)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at one place of one file, after which reading went on."""

    path: Path
    line: int
    column: int
    message: str
    key: str | None = None
    """The key of the mapping at `path` that is there twice."""
    loses_key: bool = False
    """The mapping at `path` has a key that is not known."""


class ShapeError(ValueError):
    """A value is not what its key takes. The message is for the person who wrote it."""


class UnreadableError(Exception):
    """Something wrong after which a file cannot be read on."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
