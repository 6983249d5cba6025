"""The shape of `match`: fields with lists of alternatives. The extension checks their meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Protocol

from waypost.config.positions import EMPTY, MAX_DEPTH, Path, Reported
from waypost.config.source import Source

__all__ = ["PREDICATES", "UNKNOWN", "read_pattern", "scalar_text"]

PREDICATES: Final = {
    "prefix": "a string that begins with this one",
    "suffix": "a string that ends with this one",
    "equals-ignore-case": "a string that equals this one, ignoring the case of letters",
    "wildcard": "a string that equals this one, where each * stands for any run of characters",
    "anything-but": "any value except these; the field must be present",
    "numeric": "a number that satisfies [op, n], or [op, n, op, n]",
    "cidr": "an IP address in this block",
    "exists": "a field that is present (true) or absent (false)",
    "regex": "a string that matches this expression from end to end (RE2 syntax)",
}
"""The predicates by name, and what each matches."""

UNKNOWN: Final = ...
"""Stands for a part of a pattern whose problem has been reported."""

_NO_GLOBS: Final = frozenset(("*/*",))
"""Literals that have a `*` of their own: the media range of `accept`."""
_OPERATORS: Final = frozenset(("=", "<", "<=", ">", ">="))


class PatternWalker(Protocol):
    """The part of `Walker` that reads scalars and collects problems."""

    source: Source

    def problem(self, path: Path, message: str) -> None: ...
    def warn(self, path: Path, message: str) -> None: ...
    def is_text(self, key: Any, path: Path) -> bool: ...
    def text(self, value: str, path: Path) -> str | None: ...


def read_pattern(walker: PatternWalker, value: Mapping[Any, Any], path: Path) -> Any:
    """`value` with references replaced and each scalar turned into a list of one; `Reported` if it has problems."""
    reader = _Reader(walker)
    predicate = _misplaced(value)
    if predicate is not None:
        walker.problem(
            path,
            f"`{predicate}` is a predicate and must be in the list of a field; "
            f"write `FIELD: {_as_alternative(value)}`{_as_field(value, predicate)}",
        )
        reader.failed = True
        value = {key: item for key, item in value.items() if key not in PREDICATES}
    pattern = reader.fields(value, path, 0)
    return Reported(pattern) if reader.failed else pattern


class _Reader:
    def __init__(self, walker: PatternWalker) -> None:
        self.walker = walker
        self.failed = False

    def fail(self, path: Path, message: str) -> Any:
        self.walker.problem(path, message)
        self.failed = True
        return UNKNOWN

    def unless_lost(self, out: dict[str, Any], value: Mapping[Any, Any], path: Path) -> Any:
        """`out`, or `UNKNOWN` if it is empty only because no key of `value` could be read."""
        return UNKNOWN if not out and (value or path in self.walker.source.incomplete) else out

    def fields(self, value: Mapping[Any, Any], path: Path, depth: int) -> Any:
        """Read a mapping of fields: a pattern, or the fields below a field."""
        if depth > MAX_DEPTH:
            return self.fail(path, f"nested deeper than {MAX_DEPTH} levels")
        out: dict[str, Any] = {}
        for key, item in value.items():
            if not self.walker.is_text(key, path):
                self.failed = True
                continue
            here = (*path, key)
            if isinstance(item, Mapping):
                predicate = _misplaced(item)
                if predicate is not None:
                    wrong = self.fail(
                        here,
                        f"`{predicate}` is a predicate and must be in a list; "
                        f"write `{key}: {_as_alternative(item)}`{_as_field(item, predicate)}",
                    )
                    out[key] = [wrong]
                else:
                    out[key] = self.fields(item, here, depth + 1)
            elif item is EMPTY:
                out[key] = self.value(item, here, depth + 1)
            elif not isinstance(item, (list, tuple)):
                self.literal(item, here)
                out[key] = [self.value(item, here, depth + 1)]
            elif key == "$or":
                out[key] = [
                    self.fields(each, (*here, index), depth + 2)
                    if isinstance(each, Mapping)
                    else self.value(each, (*here, index), depth + 2)
                    for index, each in enumerate(item)
                ]
            else:
                for index, each in enumerate(item):
                    self.literal(each, (*here, index))
                out[key] = self.value(item, here, depth + 1)
        return self.unless_lost(out, value, path)

    def literal(self, value: Any, path: Path) -> None:
        """Warn of a literal that looks like a glob."""
        if not isinstance(value, str) or "*" not in value or value in _NO_GLOBS:
            return
        # Header values may be credentials.
        shown = "…" if "headers" in path else _flow(value, 40)
        meant = "{exists: true}" if value == "*" else f"{{wildcard: {shown}}}"
        self.walker.warn(path, f"a literal, in which `*` stands for itself; for a glob, write `[{meant}]`")

    def value(self, value: Any, path: Path, depth: int) -> Any:
        """Read a value in a list of alternatives: only its references are replaced."""
        if isinstance(value, str):
            text = self.walker.text(value, path)
            if not isinstance(text, Reported):
                return text
            self.failed = True
            return UNKNOWN
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            if value - value != 0:
                return self.fail(path, "infinity and not-a-number cannot be matched; JSON has neither")
            return Decimal(repr(value))
        if isinstance(value, Decimal):
            return value if value.is_finite() else self.fail(path, "only finite numbers can be matched")
        if depth > MAX_DEPTH:
            return self.fail(path, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, (list, tuple)):
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(value)]
        if isinstance(value, Mapping):
            out: dict[str, Any] = {}
            for key, item in value.items():
                if self.walker.is_text(key, path):
                    out[key] = self.value(item, (*path, key), depth + 1)
                else:
                    self.failed = True
            return self.unless_lost(out, value, path)
        if isinstance(value, Reported):
            self.failed = True
            return UNKNOWN
        if value is EMPTY:
            return self.fail(path, "has no value; write what to match (`null` for the value null), or remove the key")
        return self.fail(path, f"a {type(value).__name__} cannot be matched; JSON has no such value")


def _misplaced(value: Mapping[Any, Any]) -> str | None:
    """The predicate that `value`, a mapping of fields, was probably meant to be, or `None`."""
    for key, item in value.items():
        if key not in PREDICATES:
            continue
        if isinstance(item, (list, tuple)):
            found = key == "anything-but" or (
                key == "numeric" and bool(item) and isinstance(item[0], str) and item[0] in _OPERATORS
            )
        elif isinstance(item, Mapping):
            found = key in ("anything-but", "prefix", "suffix") and bool(item) and all(k in PREDICATES for k in item)
        else:
            found = item is not EMPTY and not isinstance(item, Reported)
        if found:
            return str(key)
    return None


def _as_alternative(value: Mapping[Any, Any]) -> str:
    """`value` in a list of alternatives, for a message. A wrong operand is replaced by an example."""
    item = value.get("numeric")
    numbers = item[1::2] if isinstance(item, (list, tuple)) else ()
    if any(isinstance(each, bool) or not isinstance(each, (int, float, Decimal)) for each in numbers):
        return '[{numeric: [">=", 7]}]'
    return f"[{_flow(value, 60)}]"


def _as_field(value: Mapping[Any, Any], predicate: str) -> str:
    """How to write a field with the name of `predicate`, for a message, or an empty string."""
    item = value[predicate]
    if isinstance(item, (list, tuple, Mapping)):
        return ""
    return f" (or, to match a field named `{predicate}`, write `{predicate}: [{_flow(item, 40)}]`)"


def _flow(value: Any, room: int) -> str:
    """`value` as one line of YAML, shortened for a message. A mapping keeps its braces."""
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{str(k)[:40]}: {_flow(v, room)}" for k, v in list(value.items())[:4]) + "}"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(_flow(item, room) for item in value[:6]) + "]"
    elif isinstance(value, str):
        shown = value if len(value) <= room else value[:room] + "…"
        plain = shown.replace("-", "").replace("_", "").replace(".", "").isalnum() and not shown[:1].isdigit()
        text = shown if plain else json.dumps(shown, ensure_ascii=False)
    elif value is None or isinstance(value, bool):
        text = json.dumps(value)
    else:
        text = scalar_text(value)[:room]
    return text


def scalar_text(value: object) -> str:
    """`str(value)`, or hexadecimal for integers that are too long for Python to write in decimal."""
    return hex(value) if isinstance(value, int) and value.bit_length() > 12_000 else str(value)
