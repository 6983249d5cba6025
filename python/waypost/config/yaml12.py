"""YAML 1.2.2 with the core schema (section 10.3), as plain values and their positions.

PyYAML's C parser supplies the events. PyYAML's resolver and composer implement YAML 1.1 (`no` is false, `1_000` and
`1:30` are numbers, the last of two equal keys wins), so this module has its own. The composer keeps an explicit stack
and bounds depth, aliases and size for any input. Of YAML 1.1 it has the merge key `<<`, which goes with anchors.
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
"""Maximum number of values that all aliases of a file together may expand to."""

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
# Characters that libyaml rejects, or takes for a line break although YAML 1.2 does not (section 5.4).
_UNREADABLE: Final = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TAG: Final = "tag:yaml.org,2002:"


def integer(text: str) -> int | Decimal:
    """A decimal integer, exact. A very long one is a `Decimal`."""
    return int(text) if len(text) < _LONG else Decimal(text)


def real(text: str) -> Decimal:
    """A decimal fraction, exact. Raises `ShapeError` if the exponent has more than 18 digits."""
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
class _Container:
    """A mapping or list whose end has not been read."""

    value: Any
    position: Position
    anchor: str | None
    key: str | None = None
    """The key whose value comes next; `None` in a list, and while a key comes next."""
    key_start: tuple[int, int] = (0, 0)
    skip: bool = False
    """The next value belongs to a key that was rejected."""
    merging: bool = False
    """The next value belongs to `<<`."""
    merged: list[tuple[dict[str, Any], Position]] | None = None
    """The mappings of `<<`, once it was read."""
    size: int = 1


class _Composer:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.stack: list[_Container] = []
        self.anchors: dict[str, tuple[Any, Position, int] | None] = {}
        self.expanded = 0
        self.root: tuple[Any, Position] | None = None

    def path(self) -> Path:
        """The path of the next value."""
        steps: list[str | int] = []
        for container in self.stack:
            if isinstance(container.value, list):
                steps.append(len(container.value))
            elif container.key is not None:
                steps.append(container.key)
        return tuple(steps)

    def fault(self, message: str, line: int, column: int, *, key: str | None = None, loses_key: bool = False) -> None:
        self.faults.append(Fault(self.path(), line, column, message, key, loses_key))

    def push(self, value: Any, event: Any, position: Position) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise UnreadableError(f"nested deeper than {MAX_DEPTH} levels", position.line, position.column)
        if event.tag not in (None, "!", _TAG + ("map" if isinstance(value, dict) else "seq")):
            self.fault(f"tag `{_short_tag(event.tag)}` is not supported", position.line, position.column)
        if self.expects_key():
            raise UnreadableError("a mapping or list cannot be a key", position.line, position.column)
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # open: an alias to it would be a cycle
        self.stack.append(_Container(value, position, event.anchor))

    def pop(self) -> None:
        done = self.stack.pop()
        for mapping, position in done.merged or ():
            for key, value in mapping.items():
                if key not in done.value:
                    done.value[key] = value
                    done.position.add(key, (position.children or {}).get(key, position), position.key(key))
        if done.anchor is not None:
            self.anchors[done.anchor] = (done.value, done.position, done.size)
        self.add(done.value, done.position, done.size)

    def expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and not self._has_key()

    def _has_key(self) -> bool:
        return self.stack[-1].key is not None or self.stack[-1].skip or self.stack[-1].merging

    def scalar(self, event: Any, position: Position) -> None:
        value = self.scalar_value(event, position)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, position, 1)
        if self.expects_key():
            self.key(value, event, position)
        else:
            self.add(value, position, 1)

    def scalar_value(self, event: Any, position: Position) -> Any:
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
                self.fault(f"tag `{_short_tag(event.tag)}` is not supported", position.line, position.column)
                return REPORTED
            value = resolve(text)
            if name == "float" and isinstance(value, int) and not isinstance(value, bool):
                value = Decimal(value)
            if not isinstance(value, kinds[name]) or (name == "int" and isinstance(value, bool)):
                self.fault(f"the value does not fit its tag `!!{name}`", position.line, position.column)
                return REPORTED
        except ShapeError as error:
            self.fault(str(error), position.line, position.column)
            return REPORTED
        return value

    def key(self, value: Any, event: Any, position: Position) -> None:
        container = self.stack[-1]
        start = (position.line, position.column)
        if event.implicit[0] and event.value == "<<":
            if container.merged is None:
                container.merging, container.merged = True, []
                return
            self.fault("duplicate key `<<`; write one with a list: `<<: [*a, *b]`", *start)
        elif value is EMPTY:
            self.fault("the key is empty", *start, loses_key=True)
        elif not isinstance(value, str):
            if value is not REPORTED:
                self.fault(f'a key must be a string; write "{event.value[:80]}" in quotes', *start, loses_key=True)
        elif value in container.value:
            first = container.position.key(value)[0]
            self.fault(f"duplicate key `{value[:80]}`; first in line {first}", *start, key=value)
        else:
            container.key, container.key_start = value, start
            return
        container.skip = True

    def alias(self, event: Any, position: Position) -> None:
        if event.anchor not in self.anchors:
            raise UnreadableError(f"alias `*{event.anchor}` has no anchor before it", position.line, position.column)
        target = self.anchors[event.anchor]
        if target is None:
            raise UnreadableError(
                f"alias `*{event.anchor}` is inside the value of its own anchor", position.line, position.column
            )
        value, _, size = target
        if self.expects_key():
            raise UnreadableError("an alias cannot be a key", position.line, position.column)
        self.expanded += size
        if self.expanded > MAX_EXPANDED:
            raise UnreadableError(f"aliases expand to more than {MAX_EXPANDED} values", position.line, position.column)
        # Positions inside an alias are those of its anchor, where a problem is to be fixed.
        self.add(value, target[1] if isinstance(value, (dict, list)) else position, size)

    def add(self, value: Any, position: Position, size: int) -> None:
        if not self.stack:
            self.root = (value, position)
            return
        container = self.stack[-1]
        container.size += size
        if isinstance(container.value, list):
            container.position.add(len(container.value), position)
            container.value.append(value)
        elif container.merging:
            container.merging = False
            self.merge(container, value, position)
        elif container.key is None:
            container.skip = False
        else:
            container.position.add(container.key, position, container.key_start)
            container.value[container.key] = value
            container.key = None

    def merge(self, container: _Container, value: Any, position: Position) -> None:
        """Note the mappings of `<<`. A key that the container has itself wins, then the first mapping that has it."""
        items = [value] if isinstance(value, dict) else value
        if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
            if value is not REPORTED:
                message = "`<<` takes a mapping or a list of mappings, such as `<<: *defaults`"
                self.fault(message, position.line, position.column, loses_key=True)
            return
        places = [position] if isinstance(value, dict) else [(position.children or {})[at] for at in range(len(items))]
        container.merged = list(zip(items, places, strict=True))


def _short_tag(tag: str) -> str:
    return ("!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag)[:80]


def compose(text: str) -> tuple[Any, Position, list[Fault]]:
    """The one document of `text`: its plain values, their positions, and the faults that did not stop the reading.

    Mappings are dicts with string keys; numbers are int or `Decimal`, exactly as written. Raises `UnreadableError`.
    """
    text = text.removeprefix("\ufeff")
    found = _UNREADABLE.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        code = f"{ord(found.group()):04X}"
        raise UnreadableError(
            f'character U+{code} is not allowed here; write it as an escape in quotes: "\\u{code}"', line, column
        )
    composer = _Composer()
    documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            start: Any = event.start_mark
            position = Position(start.line + 1, start.column + 1)
            if isinstance(event, yaml.ScalarEvent):
                composer.scalar(event, position)
            elif isinstance(event, yaml.MappingStartEvent):
                composer.push({}, event, position)
            elif isinstance(event, yaml.SequenceStartEvent):
                composer.push([], event, position)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                composer.pop()
            elif isinstance(event, yaml.AliasEvent):
                composer.alias(event, position)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise UnreadableError(
                        "a second YAML document begins here; a file may contain only one",
                        position.line,
                        position.column,
                    )
                if event.version is not None and tuple(event.version) != (1, 2):
                    raise UnreadableError(
                        "the file asks for a YAML version other than 1.2", position.line, position.column
                    )
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
        message += "; inside { } and [ ], a value with ${…} needs quotes"
    return UnreadableError(message, mark.line + 1, mark.column + 1)
