"""YAML 1.2.2 with the core schema (section 10.3), as plain values and their marks.

PyYAML's C parser gives the events; it is its resolver and composer that speak YAML 1.1 (`no` is false, `1_000`
and `1:30` are numbers, the last of two equal keys wins), so both are ours. The composer keeps its own stack:
depth, aliases and size are bounded, whatever the file holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import yaml

from waypost.config.positions import EMPTY, MAX_DEPTH, REPORTED, Fault, Path, Position, ShapeError, UnreadableError

__all__ = ["compose", "integer", "real", "resolve"]

MAX_EXPANDED: Final = 1_000_000
"""How many values all aliases of a file together may stand for."""

_INT: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{
        f"{sign}.{word}": float("-inf" if sign == "-" else "inf")
        for sign in ("", "+", "-")
        for word in ("inf", "Inf", "INF")
    },
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMERIC_START: Final = frozenset("0123456789+-.")
_LONG: Final = 4000  # CPython refuses to read longer decimal integers (they take quadratic time)
# What libyaml refuses, or takes for a line break though YAML 1.2 does not (section 5.4).
_UNREADABLE: Final = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TAG: Final = "tag:yaml.org,2002:"


def integer(text: str) -> int | Decimal:
    """A decimal integer, exact. Very long ones come as `Decimal`."""
    return int(text) if len(text) < _LONG else Decimal(text)


def real(text: str) -> Decimal:
    """A decimal fraction, exact. Raises `ShapeError` where the exponent is beyond 18 digits."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ShapeError("the number's exponent is too large") from None


def resolve(text: str) -> Any:
    """The value of a plain scalar under the core schema: null, bool, int, `Decimal`, inf and nan as float, or str."""
    if not text:
        return EMPTY
    if text[0] in _NUMERIC_START:
        if _INT.fullmatch(text):
            return integer(text)
        if _FLOAT.fullmatch(text):
            return real(text)
        if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
            if len(text) > _LONG // 2:
                raise ShapeError("the number is too long")
            return int(text[2:], 8 if text[1] == "o" else 16)
    return _WORDS.get(text, text)


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been seen."""

    value: Any
    mark: Position
    anchor: str | None
    key: str | None = None
    """The key whose value comes next; `None` where a key comes next, and in lists."""
    key_place: tuple[int, int] = (0, 0)
    skip: bool = False
    """The next value belongs to a key that was refused."""
    size: int = 1


class _Composer:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, Position, int] | None] = {}
        self.expanded = 0
        self.root: tuple[Any, Position] | None = None

    def path(self) -> Path:
        """Path of the value that comes next."""
        steps: list[str | int] = []
        for open_ in self.stack:
            if isinstance(open_.value, list):
                steps.append(len(open_.value))
            elif open_.key is not None:
                steps.append(open_.key)
        return tuple(steps)

    def fault(self, message: str, line: int, column: int, *, key: str | None = None, loses_key: bool = False) -> None:
        self.faults.append(Fault(self.path(), line, column, message, key, loses_key))

    def push(self, value: Any, event: Any, mark: Position) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise UnreadableError(f"nested deeper than {MAX_DEPTH} levels", mark.line, mark.column)
        if event.tag not in (None, "!", _TAG + ("map" if isinstance(value, dict) else "seq")):
            self.fault(f"tag `{_short_tag(event.tag)}` is not supported", mark.line, mark.column)
        if self.expects_key():
            raise UnreadableError("a mapping or list cannot be a key", mark.line, mark.column)
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # open: an alias to it would be a cycle
        self.stack.append(_Open(value, mark, event.anchor))

    def pop(self) -> None:
        done = self.stack.pop()
        if done.anchor is not None:
            self.anchors[done.anchor] = (done.value, done.mark, done.size)
        self.add(done.value, done.mark, done.size)

    def expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and not self._has_key()

    def _has_key(self) -> bool:
        return self.stack[-1].key is not None or self.stack[-1].skip

    def scalar(self, event: Any, mark: Position) -> None:
        value = self.scalar_value(event, mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, mark, 1)
        if self.expects_key():
            self.key(value, event, mark)
        else:
            self.add(value, mark, 1)

    def scalar_value(self, event: Any, mark: Position) -> Any:
        text: str = event.value
        try:
            if event.implicit[0] and event.tag != "!":
                return resolve(text)
            if event.tag in (None, "!", _TAG + "str"):
                return text
            kinds: dict[str, type | tuple[type, ...]] = {
                "null": type(None),
                "bool": bool,
                "int": int,
                "float": (Decimal, float),
            }
            name = event.tag.removeprefix(_TAG)
            if name not in kinds:
                self.fault(f"tag `{_short_tag(event.tag)}` is not supported", mark.line, mark.column)
                return REPORTED
            value = resolve(text)
            if name == "float" and isinstance(value, int) and not isinstance(value, bool):
                value = Decimal(value)
            if not isinstance(value, kinds[name]) or (name == "int" and isinstance(value, bool)):
                self.fault(f"tag `!!{name}` on what is none", mark.line, mark.column)
                return REPORTED
        except ShapeError as error:
            self.fault(str(error), mark.line, mark.column)
            return REPORTED
        return value

    def key(self, value: Any, event: Any, mark: Position) -> None:
        open_ = self.stack[-1]
        place = (mark.line, mark.column)
        if event.implicit[0] and event.value == "<<":
            self.fault("`<<` merges mappings in YAML 1.1 only; write the keys out", *place, loses_key=True)
        elif value is EMPTY:
            self.fault("an empty key", *place, loses_key=True)
        elif not isinstance(value, str):
            if value is not REPORTED:
                self.fault(f'a key must be a string: write "{event.value[:80]}" in quotes', *place, loses_key=True)
        elif value in open_.value:
            first = open_.mark.key(value)[0]
            self.fault(f"key `{value[:80]}` is there twice; first in line {first}", *place, key=value)
        else:
            open_.key, open_.key_place = value, place
            return
        open_.skip = True

    def alias(self, event: Any, mark: Position) -> None:
        if event.anchor not in self.anchors:
            raise UnreadableError(f"alias `*{event.anchor}` has no anchor before it", mark.line, mark.column)
        target = self.anchors[event.anchor]
        if target is None:
            raise UnreadableError(f"alias `*{event.anchor}` is inside of what it stands for", mark.line, mark.column)
        value, _, size = target
        if self.expects_key():
            raise UnreadableError("an alias cannot be a key", mark.line, mark.column)
        self.expanded += size
        if self.expanded > MAX_EXPANDED:
            raise UnreadableError(f"aliases stand for more than {MAX_EXPANDED} values", mark.line, mark.column)
        # Sources inside an alias are those of its anchor: that is where one would mend them.
        self.add(value, target[1] if isinstance(value, (dict, list)) else mark, size)

    def add(self, value: Any, mark: Position, size: int) -> None:
        if not self.stack:
            self.root = (value, mark)
            return
        open_ = self.stack[-1]
        open_.size += size
        if isinstance(open_.value, list):
            open_.mark.add(len(open_.value), mark)
            open_.value.append(value)
        elif open_.key is None:
            open_.skip = False
        else:
            open_.mark.add(open_.key, mark, open_.key_place)
            open_.value[open_.key] = value
            open_.key = None


def _short_tag(tag: str) -> str:
    return ("!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag)[:80]


def compose(text: str) -> tuple[Any, Position, list[Fault]]:
    """The one document of `text`: plain values, their marks, and what was wrong but did not stop the reading.

    Mappings are dicts with string keys; numbers are int or `Decimal`, by the text as written. Raises `UnreadableError`.
    """
    text = text.removeprefix("\ufeff")
    found = _UNREADABLE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        code = f"{ord(found.group()):04X}"
        raise UnreadableError(
            f'character U+{code} cannot stand here; write it as an escape in quotes: "\\u{code}"', line, column
        )
    composer = _Composer()
    documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            start: Any = event.start_mark
            mark = Position(start.line + 1, start.column + 1)
            if isinstance(event, yaml.ScalarEvent):
                composer.scalar(event, mark)
            elif isinstance(event, yaml.MappingStartEvent):
                composer.push({}, event, mark)
            elif isinstance(event, yaml.SequenceStartEvent):
                composer.push([], event, mark)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                composer.pop()
            elif isinstance(event, yaml.AliasEvent):
                composer.alias(event, mark)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise UnreadableError("a second YAML document; a file holds one", mark.line, mark.column)
                if event.version is not None and tuple(event.version) != (1, 2):
                    raise UnreadableError("the file asks for another YAML than 1.2", mark.line, mark.column)
    except yaml.YAMLError as error:
        raise _unreadable(error, text) from None
    if composer.root is None:
        return EMPTY, Position(1, 1), composer.faults
    return (*composer.root, composer.faults)


def _unreadable(error: yaml.YAMLError, text: str) -> UnreadableError:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return UnreadableError(f"not YAML: {error}", 1, 1)
    mark = error.problem_mark
    message = f"not YAML: {error.problem}"
    if error.context:
        message += f" {error.context}"
        if error.context_mark is not None and error.context_mark.line != mark.line:
            message += f" begun in line {error.context_mark.line + 1}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if r"'\t'" in message or line[: mark.column + 1].lstrip(" ").startswith("\t"):
        message += "; YAML is indented with spaces, not tabs"
    elif "${" in line:
        message += "; inside { } and [ ] a value with ${…} needs quotes"
    return UnreadableError(message, mark.line + 1, mark.column + 1)
