"""JSON (RFC 8259) as plain values: quickly without places, or slowly with them.

The standard library's scanner neither says where a value stood nor refuses a key that is there twice. It reads
what is right; what it refuses is read again by `compose`, which knows where and why.
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
    """The quick way does not take this text."""


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
    """The value of `text`. Raises `ValueError` or `RecursionError` where `compose` has something to say."""
    return _DECODER.decode(text)


@dataclass(slots=True)
class _Open:
    value: Any
    mark: Position
    key: str | None = None
    place: tuple[int, int] = (0, 0)
    skip: bool = False


class _Reader:
    def __init__(self, text: str, line: int) -> None:
        self.text = text
        self.position = 0
        self.line = line
        self.line_start = 0
        self.faults: list[Fault] = []
        self.stack: list[_Open] = []

    def place(self) -> tuple[int, int]:
        """Line and column of the position. Positions only grow, so all calls together read the text once."""
        newlines = self.text.count("\n", self.line_start, self.position)
        if newlines:
            self.line += newlines
            self.line_start = self.text.rfind("\n", self.line_start, self.position) + 1
        return self.line, self.position - self.line_start + 1

    def stop(self, message: str) -> UnreadableError:
        return UnreadableError(f"not JSON: {message}", *self.place())

    def skip_space(self) -> None:
        found = _SPACE.match(self.text, self.position)
        self.position = found.end() if found else self.position

    def take(self, character: str) -> bool:
        self.skip_space()
        if self.text.startswith(character, self.position):
            self.position += 1
            return True
        return False

    def string(self) -> str:
        found = _STRING.match(self.text, self.position)
        if not found:
            raise self.stop("a string that is not closed, or holds a control character or an unknown escape")
        self.position = found.end()
        value: str = json.loads(found.group())
        return value

    def scalar(self) -> Any:
        text, position = self.text, self.position
        if text.startswith('"', position):
            return self.string()
        found = _NUMBER.match(text, position)
        if found:
            self.position = found.end()
            if not text[self.position : self.position + 1].strip(" \t\n\r,]}"):
                try:
                    return real(found.group()) if found.group(2) else integer(found.group())
                except ShapeError as error:
                    raise self.stop(str(error)) from None
            self.position = position
        word = _WORD.match(text, position)
        if word is None:
            raise self.stop("a value is missing")
        if word.group() not in _WORDS:
            raise self.stop(f"`{word.group()}` is no JSON value")
        self.position = word.end()
        return _WORDS[word.group()]

    def path(self) -> Path:
        return tuple(
            step
            for open_ in self.stack
            if (step := len(open_.value) if isinstance(open_.value, list) else open_.key) is not None
        )

    def must_go_on(self, close: str) -> None:
        """After a comma: a container that ends here has one too many."""
        comma = self.position - 1
        self.skip_space()
        if self.text.startswith(close, self.position):
            self.position = comma
            raise self.stop(f"a comma before `{close}`: remove it")

    def key(self, open_: _Open) -> None:
        self.skip_space()
        open_.place = self.place()
        if not self.text.startswith('"', self.position):
            raise self.stop("a key in double quotes is missing")
        key = self.string()
        if not self.take(":"):
            raise self.stop("`:` is missing after a key")
        if key in open_.value:
            first, column = open_.mark.key(key)
            message = f"key `{key[:80]}` is there twice; first in line {first}, column {column}"
            self.faults.append(Fault(self.path(), *open_.place, message, key=key))
            open_.skip = True
        else:
            open_.key = key

    def add(self, value: Any, mark: Position) -> None:
        open_ = self.stack[-1]
        if isinstance(open_.value, list):
            open_.mark.add(len(open_.value), mark)
            open_.value.append(value)
        elif open_.skip or open_.key is None:
            open_.skip = False
        else:
            open_.mark.add(open_.key, mark, open_.place)
            open_.value[open_.key] = value
            open_.key = None

    def read(self) -> tuple[Any, Position]:
        self.skip_space()
        if self.position == len(self.text):
            return EMPTY, Position(self.line, 1)
        while True:
            self.skip_space()
            mark = Position(*self.place())
            opened = self.text[self.position : self.position + 1]
            value: Any
            if opened in ("{", "["):
                self.position += 1
                value = {} if opened == "{" else []
                if not self.take("}" if opened == "{" else "]"):
                    if len(self.stack) >= MAX_DEPTH:
                        raise UnreadableError(f"nested deeper than {MAX_DEPTH} levels", mark.line, mark.column)
                    self.stack.append(_Open(value, mark))
                    if opened == "{":
                        self.key(self.stack[-1])
                    continue
            else:
                value = self.scalar()
            # The value is complete; so may be what it stands in.
            while self.stack:
                self.add(value, mark)
                open_ = self.stack[-1]
                close = "}" if isinstance(open_.value, dict) else "]"
                if self.take(","):
                    self.must_go_on(close)
                    if isinstance(open_.value, dict):
                        self.key(open_)
                    break
                if not self.take(close):
                    raise self.stop(f"`,` or `{close}` is missing")
                value, mark = open_.value, open_.mark
                self.stack.pop()
            else:
                self.skip_space()
                if self.position != len(self.text):
                    raise self.stop("something follows the value")
                return value, mark


def compose(text: str, line: int = 1) -> tuple[Any, Position, list[Fault]]:
    """The value of `text`, its marks, and the keys that are there twice. `line` is the text's first line in its file.

    Numbers are int or `Decimal`, by the text as written. Raises `UnreadableError`.
    """
    reader = _Reader(text, line)
    value, mark = reader.read()
    return value, mark, reader.faults
