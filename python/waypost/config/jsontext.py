"""JSON (RFC 8259) as plain values: `loads` is fast, `compose` is slow and reports positions.

The standard library's scanner does not report where a value is. So `loads` reads valid text with it, and `compose`
reads the text again when `loads` rejects it, to report what is wrong and where.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from waypost.config.positions import EMPTY, MAX_DEPTH, Fault, Path, Position, ShapeError, UnreadableError
from waypost.config.yaml12 import integer, real

__all__ = ["compose", "loads"]

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_NUMBER: Final = re.compile(r"(-?(?:0|[1-9][0-9]*+))((?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?)")
_WORD: Final = re.compile(r"[A-Za-z0-9_.+-]{1,40}")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}


class _RefusedError(ValueError):
    """`loads` cannot read this text."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RefusedError
    return value


def _constant(_: str) -> Any:
    raise _RefusedError


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=real, parse_int=integer, parse_constant=_constant
)


def loads(text: str) -> Any:
    """The value of `text`. Raises `ValueError` or `RecursionError` where `compose` has something to report."""
    return _DECODER.decode(text)


@dataclass(slots=True)
class _Container:
    """An object or array whose end has not been read."""

    value: Any
    position: Position
    key: str | None = None
    key_start: tuple[int, int] = (0, 0)
    skip: bool = False
    """The next value belongs to a duplicate key."""


class _Reader:
    def __init__(self, text: str, line: int) -> None:
        self.text = text
        self.offset = 0
        self.line = line
        self.line_start = 0
        self.faults: list[Fault] = []
        self.stack: list[_Container] = []

    def line_and_column(self) -> tuple[int, int]:
        """Line and column of `offset`, which only grows: all calls together count the text once."""
        newlines = self.text.count("\n", self.line_start, self.offset)
        if newlines:
            self.line += newlines
            self.line_start = self.text.rfind("\n", self.line_start, self.offset) + 1
        return self.line, self.offset - self.line_start + 1

    def stop(self, message: str) -> UnreadableError:
        return UnreadableError(f"not JSON: {message}", *self.line_and_column())

    def skip_space(self) -> None:
        found = _SPACE.match(self.text, self.offset)
        self.offset = found.end() if found else self.offset

    def take(self, character: str) -> bool:
        self.skip_space()
        if self.text.startswith(character, self.offset):
            self.offset += 1
            return True
        return False

    def string(self) -> str:
        found = _STRING.match(self.text, self.offset)
        if not found:
            raise self.stop("a string is not closed, or contains a control character or an unknown escape")
        self.offset = found.end()
        value: str = json.loads(found.group())
        return value

    def scalar(self) -> Any:
        text, offset = self.text, self.offset
        if text.startswith('"', offset):
            return self.string()
        found = _NUMBER.match(text, offset)
        if found:
            self.offset = found.end()
            if not text[self.offset : self.offset + 1].strip(" \t\n\r,]}"):
                try:
                    return real(found.group()) if found.group(2) else integer(found.group())
                except ShapeError as error:
                    raise self.stop(str(error)) from None
            self.offset = offset
        word = _WORD.match(text, offset)
        if word is None:
            raise self.stop("a value is missing")
        if word.group() not in _WORDS:
            raise self.stop(f"`{word.group()}` is not a JSON value")
        self.offset = word.end()
        return _WORDS[word.group()]

    def path(self) -> Path:
        return tuple(
            step
            for container in self.stack
            if (step := len(container.value) if isinstance(container.value, list) else container.key) is not None
        )

    def must_go_on(self, close: str) -> None:
        """Called after a comma: raise `UnreadableError` if the container ends here."""
        comma = self.offset - 1
        self.skip_space()
        if self.text.startswith(close, self.offset):
            self.offset = comma
            raise self.stop(f"extra comma before `{close}`; remove it")

    def key(self, container: _Container) -> None:
        self.skip_space()
        container.key_start = self.line_and_column()
        if not self.text.startswith('"', self.offset):
            raise self.stop("a key in double quotes is missing")
        key = self.string()
        if not self.take(":"):
            raise self.stop("`:` is missing after a key")
        if key in container.value:
            first, column = container.position.key(key)
            message = f"duplicate key `{key[:80]}`; first in line {first}, column {column}"
            self.faults.append(Fault(self.path(), *container.key_start, message, key=key))
            container.skip = True
        else:
            container.key = key

    def add(self, value: Any, position: Position) -> None:
        container = self.stack[-1]
        if isinstance(container.value, list):
            container.position.add(len(container.value), position)
            container.value.append(value)
        elif container.skip or container.key is None:
            container.skip = False
        else:
            container.position.add(container.key, position, container.key_start)
            container.value[container.key] = value
            container.key = None

    def read(self) -> tuple[Any, Position]:
        self.skip_space()
        if self.offset == len(self.text):
            return EMPTY, Position(self.line, 1)
        while True:
            self.skip_space()
            position = Position(*self.line_and_column())
            opened = self.text[self.offset : self.offset + 1]
            value: Any
            if opened in ("{", "["):
                self.offset += 1
                value = {} if opened == "{" else []
                if not self.take("}" if opened == "{" else "]"):
                    if len(self.stack) >= MAX_DEPTH:
                        raise UnreadableError(f"nested deeper than {MAX_DEPTH} levels", position.line, position.column)
                    self.stack.append(_Container(value, position))
                    if opened == "{":
                        self.key(self.stack[-1])
                    continue
            else:
                value = self.scalar()
            # The value is complete, and may complete the containers around it.
            while self.stack:
                self.add(value, position)
                container = self.stack[-1]
                close = "}" if isinstance(container.value, dict) else "]"
                if self.take(","):
                    self.must_go_on(close)
                    if isinstance(container.value, dict):
                        self.key(container)
                    break
                if not self.take(close):
                    raise self.stop(f"`,` or `{close}` is missing")
                value, position = container.value, container.position
                self.stack.pop()
            else:
                self.skip_space()
                if self.offset != len(self.text):
                    raise self.stop("unexpected text after the value")
                return value, position


def compose(text: str, line: int = 1) -> tuple[Any, Position, list[Fault]]:
    """The value of `text`, its positions, and a fault for each duplicate key.

    `line` is the number of the text's first line in its file. Numbers are int or `Decimal`, exactly as written. Raises
    `UnreadableError`.
    """
    reader = _Reader(text, line)
    value, position = reader.read()
    return value, position, reader.faults
