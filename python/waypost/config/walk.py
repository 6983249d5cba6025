"""Builds the structs of `waypost.config.model` from plain values and reports every problem found."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cache
from pathlib import Path as FilePath
from typing import Any, Final

from msgspec import NODEFAULT, Struct, inspect

from waypost.config.json_value import encode_json
from waypost.config.pattern import read_pattern
from waypost.config.positions import EMPTY, MAX_DEPTH, REPORTED, Path, Reported, ShapeError, UnreadableError
from waypost.config.source import Source, decode, read_bytes
from waypost.config.standin import candidates, is_left_out
from waypost.config.substitute import MissingError, SubstitutionError, substitute
from waypost.config.wording import alternatives, did_you_mean, kind_of, matches, quoted, show
from waypost.config.yaml12 import resolve
from waypost.errors import Problem

__all__ = ["Walker", "near_miss", "struct_type", "takes_scalar"]

MAX_SUBSTITUTED: Final = 2**20
"""Largest file that a value may name, in bytes."""
SCALARS: Final = (inspect.LiteralType, inspect.IntType, inspect.BoolType, inspect.StrType, inspect.FloatType)
_SUGGESTIONS: Final = 200
"""How many suggestions one reading makes, because comparing names is slow."""


def near_miss(word: str, known: Iterable[str]) -> str | None:
    """The name in `known` that `word` was probably meant to be, or `None`."""
    if len(word) > 64:
        return None
    lower = {name.lower().replace("-", "_"): name for name in known}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), lower, 1, 0.6)
    return lower[found[0]] if found else None


@cache
def struct_type(cls: type[Struct]) -> inspect.StructType:
    """msgspec's description of a struct."""
    info = inspect.type_info(cls)
    if not isinstance(info, inspect.StructType):
        raise TypeError(cls)
    return info


def takes_scalar(info: inspect.Type) -> bool:
    """Whether an item of a list may be a scalar. One such scalar may replace the list."""
    if isinstance(info, inspect.Metadata):
        return "shorthand" in (info.extra or {}) or takes_scalar(info.type)
    return not isinstance(info, (inspect.StructType, inspect.DictType, inspect.ListType))


class Walker:
    """Builds values from one source after another and collects `problems`, `names`, `references` and `files`.

    A method that builds a value does not stop at a problem: it returns `Reported` with the valid parts.
    """

    def __init__(self, source: Source, environ: Mapping[str, str] | None, *, offline: bool = False) -> None:
        """With `offline`, variables that are not set and files that cannot be read are no problems of values."""
        self.source = source
        self.environ = environ
        self.offline = offline
        self.unknown: dict[Path, None] = {}
        """With `offline`: the paths of the values that are not known."""
        self.warnings: list[tuple[Source, Path, str]] = []
        """Legal but probably unintended values."""
        self.problems: list[tuple[Source, Problem]] = []
        self.names: list[tuple[str, str, Source, Path]] = []
        """For each route: its name, the name as written, its source and its path."""
        self.references: list[tuple[str, str, Source, Path]] = []
        """The same for each reference to a cluster."""
        self.files: list[FilePath] = []
        """Absolute paths of the files that values refer to."""
        self._suggestions = _SUGGESTIONS

    def problem(self, path: Path, message: str, *, key: str | None = None) -> Any:
        """Report a problem at `path`, or at `key` of the mapping there."""
        line, column = self.source.locate(path if key is None else (*path, key), key=key is not None)
        self.problems.append((self.source, Problem(path, message, self.source.file, line, column)))
        return REPORTED

    def warn(self, path: Path, message: str) -> None:
        """Note that the value at `path` is legal, but probably not what its author means."""
        self.warnings.append((self.source, path, message))

    def meant(self, word: str, known: Iterable[str]) -> str | None:
        """`near_miss`, as long as there are suggestions left."""
        self._suggestions -= 1
        return near_miss(word, known) if self._suggestions >= 0 else None

    def suggest(self, word: str, known: Iterable[str]) -> str:
        """`; did you mean …?`, or an empty string."""
        return did_you_mean(self.meant(word, known))

    # ── strings ──

    def text(self, value: str, path: Path) -> Any:
        """`value` with its references replaced, or `REPORTED`."""
        if self.environ is not None and "${" in value:
            try:
                value = substitute(value, self.environ, self._read)
            except SubstitutionError as error:
                if self.offline and error.only_missing:
                    self.unknown[path] = None
                    return value
                for message in error.messages:
                    self.problem(path, message)
                return REPORTED
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return self.problem(path, "a string contains an unpaired surrogate (\\ud800 to \\udfff)")
        return value

    def is_text(self, key: object, path: Path) -> bool:
        """Whether a key is a string that can be encoded. Reports a problem if it is not."""
        if not isinstance(key, str):
            self.problem(path, f"a key must be a string, not {key!r:.80}")
            return False
        if not key.isascii() and any("\ud800" <= character <= "\udfff" for character in key):
            self.problem(path, "a key contains an unpaired surrogate (\\ud800 to \\udfff)")
            return False
        return True

    def file(self, name: str) -> FilePath:
        """The path of the file `name`, relative to the current source. Adds it to `files`."""
        path = self.source.base / name
        self.files.append(FilePath(os.path.abspath(path)))  # noqa: PTH100 - links must stay links
        return path

    def _read(self, name: str) -> str:
        path = self.file(name)
        try:
            text = decode(read_bytes(path, MAX_SUBSTITUTED))
        except ShapeError as error:
            raise error if os.access(path, os.R_OK) else MissingError(str(error)) from None
        except UnreadableError:
            raise ShapeError(f"`{name}` is not UTF-8 text") from None
        return text.removesuffix("\n").removesuffix("\r") if text.endswith("\r\n") else text.removesuffix("\n")

    # ── values ──

    def build(self, info: inspect.Type, value: Any, path: Path) -> Any:
        """Build the value that `info` describes."""
        extra: Mapping[str, Any] = {}
        if isinstance(info, inspect.Metadata):
            extra = info.extra or {}
            info = info.type
        if isinstance(value, Reported):
            return value
        if "json" in _extra_of(info, extra):
            return self._json(value, path)
        if value is EMPTY:
            return self.problem(path, "has no value; write one, or remove the key")
        if value is None:
            return self.problem(path, "null is not allowed here; write a value, or remove the key")
        if self.offline and isinstance(value, str) and isinstance(info, SCALARS) and self._is_missing(value):
            return self._stand_in(info, value, path, extra)
        if isinstance(info, inspect.UnionType):
            return self._union(info, value, path)
        if isinstance(info, inspect.StructType):
            if "shorthand" in extra and isinstance(value, str):
                field = next(each for each in info.fields if each.name == extra["shorthand"])
                built = self.build(field.type, value, path)
                return built if isinstance(built, Reported) else info.cls(**{field.name: built})
            if "short" in extra and not isinstance(value, (Mapping, list, tuple)):
                return self._short(info, value, path, extra["short"])
            return self._struct(info, value, path, or_string=bool({"shorthand", "short"} & extra.keys()))
        if isinstance(info, inspect.DictType):
            if not isinstance(value, Mapping):
                return self._wrong(path, "a mapping", value)
            return read_pattern(self, value, path) if "pattern" in extra else self._dict(info, value, path)
        if isinstance(info, inspect.ListType):
            if "single" in extra and isinstance(value, Mapping):
                if path in self.source.incomplete:
                    self.source.incomplete.add((*path, 0))
                value = [value]
            elif takes_scalar(info.item_type) and not isinstance(value, (Mapping, list, tuple)):
                value = [value]
            return self.items(info, value, path, or_mapping="single" in extra)
        if isinstance(info, inspect.LiteralType):
            return self._literal([str(each) for each in info.values], value, path)
        return self._scalar(info, value, path, extra)

    def fields(self, cls: type[Struct], value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
        """Build the fields of `cls` that are in `value`: each is built or `Reported`. Reports unknown and missing keys.

        If an unknown key is probably a misspelt field, that field is `Reported`, and not missing.
        """
        fields = {field.encode_name: field for field in struct_type(cls).fields}
        built = {}
        for key, item in value.items():
            if not self.is_text(key, path):
                built["?"] = REPORTED
            elif key.startswith("x-"):
                continue  # for anchors, and for other programs
            elif key in fields:
                field = fields[key]
                if self.offline and isinstance(item, str) and is_left_out(field) and self._is_missing(item):
                    self.unknown[*path, key] = None
                    continue
                built[field.name] = self.build(field.type, item, (*path, key))
            else:
                meant = self.meant(key, fields)
                hint = did_you_mean(meant) or "."
                self.problem(path, f"unknown key {quoted(key)}{hint} Allowed: {', '.join(fields)}", key=key)
                built["?" if meant is None or meant in value else fields[meant].name] = REPORTED
        for name, field in fields.items():
            if field.required and field.name not in built:
                lost = path in self.source.incomplete
                built[field.name] = REPORTED if lost else self.problem(path, f"key `{name}` is missing")
        return built

    def _struct(self, info: inspect.StructType, value: Any, path: Path, *, or_string: bool) -> Any:
        if not isinstance(value, Mapping):
            return self._wrong(path, "a string or a mapping" if or_string else "a mapping", value)
        built = self.fields(info.cls, value, path)
        conflicts: Callable[[Any], Iterable[tuple[Path, str]]] | None = getattr(info.cls, "conflicts", None)
        if not any(isinstance(each, Reported) for each in built.values()):
            struct = info.cls(**built)
            found = [] if conflicts is None else list(conflicts(struct))
            if not found:
                cautions: Callable[[Any], Iterable[tuple[Path, str]]] | None = getattr(info.cls, "cautions", None)
                for below, message in () if cautions is None else cautions(struct):
                    self.warn((*path, *below), message)
                return struct
        else:
            found = [] if conflicts is None else list(_until_unknown(conflicts(_ValidFields(info, built))))
        for below, message in found:
            self.problem((*path, *below), message)
        return Reported(built)

    def _short(self, info: inspect.StructType, value: Any, path: Path, read: Callable[[Any], Mapping[str, Any]]) -> Any:
        """Build a struct from the scalar that may replace its mapping."""
        raw = value
        if isinstance(value, str):
            value = self.text(value, path)
            if isinstance(value, Reported):
                return value
            with suppress(ShapeError):
                value = value if value == raw else resolve(value)
        try:
            return self._struct(info, read(value), path, or_string=True)
        except ShapeError as error:
            return self.problem(path, f"{show(raw)}: {error}")

    def _dict(self, info: inspect.DictType, value: Mapping[Any, Any], path: Path) -> Any:
        built = {}
        failed = False
        for key, item in value.items():
            if not self.is_text(key, path):
                failed = True
                continue
            if self._name(info.key_type, key, path) is REPORTED:
                failed = True
            built[key] = self.build(info.value_type, item, (*path, key))
            if isinstance(built[key], Reported):
                failed = True
        return Reported(built) if failed else built

    def _name(self, info: inspect.Type, key: str, path: Path) -> Any:
        if isinstance(info, inspect.Metadata) and isinstance(info.type, inspect.StrType):
            pattern = info.type.pattern
            if pattern is not None and not matches(pattern, key):
                expects = (info.extra or {}).get("expects", pattern)
                return self.problem(path, f"{quoted(key)} is not a valid name; use {expects}", key=key)
        return key

    def items(self, info: inspect.ListType, value: Any, path: Path, first: int = 0, *, or_mapping: bool = False) -> Any:
        """Build a list whose items count from `first` in paths."""
        if not isinstance(value, (list, tuple)):
            return self._wrong(path, "a mapping or a list of mappings" if or_mapping else "a list", value)
        if len(value) < (info.min_length or 0):
            return self.problem(path, "the list is empty; write at least one item")
        built = [self.build(info.item_type, item, (*path, index)) for index, item in enumerate(value, first)]
        return Reported(built) if any(isinstance(each, Reported) for each in built) else built

    def _union(self, info: inspect.UnionType, value: Any, path: Path) -> Any:
        """Build the member of a union that fits the value's kind.

        There is at most one struct, one literal and one scalar, which is a boolean or a number.
        """
        members = [each for each in info.types if not isinstance(each, inspect.NoneType)]
        if len(members) == 1:
            return self.build(members[0], value, path)
        words = [str(word) for each in members if isinstance(each, inspect.LiteralType) for word in each.values]
        struct = next((each for each in members if isinstance(each, inspect.StructType)), None)
        scalar = next(
            (each for each in members if not isinstance(each, (inspect.StructType, inspect.LiteralType))), None
        )
        if isinstance(scalar, inspect.BoolType):
            return value if isinstance(value, bool) else self._literal(words, value, path, "true or false", scalar)
        if isinstance(value, Mapping) and struct is not None:
            return self.build(struct, value, path)
        if scalar is not None and not isinstance(value, (str, list, tuple)):
            return self.build(scalar, value, path)
        if isinstance(value, str):
            return self._literal(words, value, path, "a mapping" if scalar is None else "a number or a mapping", scalar)
        return self._wrong(path, f"a mapping, or {alternatives(words)}", value)

    def _is_missing(self, value: str) -> bool:
        """Whether a string has references, of which some have no value here."""
        if self.environ is None or "${" not in value:
            return False
        try:
            substitute(value, self.environ, self._read)
        except SubstitutionError as error:
            return error.only_missing
        return False

    def _stand_in(self, info: inspect.Type, value: str, path: Path, extra: Mapping[str, Any]) -> Any:
        """A valid value that stands for one which is not known offline."""
        self.unknown[path] = None
        problems = len(self.problems)
        for candidate in candidates(info, len(self.unknown)):
            if isinstance(info, inspect.LiteralType):
                return candidate
            built = self._scalar(info, candidate, path, extra)
            if not isinstance(built, Reported):
                return built
            del self.problems[problems:]
        return self.problem(path, f"{quoted(value)} cannot be checked offline")

    def _literal(
        self, words: list[str], value: Any, path: Path, otherwise: str = "", scalar: inspect.Type | None = None
    ) -> Any:
        """Build one of `words`, or `scalar`, if a reference stands for something other than a word."""
        allowed = alternatives(words) + (f", or {otherwise}" if otherwise else "")
        if not isinstance(value, str):
            return self._wrong(path, allowed, value)
        text = self.text(value, path)
        if isinstance(text, Reported) or text in words:
            return text
        if scalar is not None and text != value:
            return self.build(scalar, value, path)
        if otherwise and not near_miss(text, words):
            return self._wrong(path, allowed, value)  # may be a secret in the wrong place: not quoted
        return self.problem(
            path, f"unknown value {quoted(value)}{self.suggest(value, words) or '.'} Allowed: {allowed}"
        )

    def _scalar(self, info: inspect.Type, value: Any, path: Path, extra: Mapping[str, Any]) -> Any:
        raw = value
        if isinstance(value, str):
            value = self.text(value, path)
            if isinstance(value, Reported):
                return value
            if value != raw and not isinstance(info, inspect.StrType):
                try:
                    value = resolve(value)
                except ShapeError as error:
                    return self.problem(path, str(error))
                if value is EMPTY:
                    return self.problem(path, f"the value of {quoted(raw)} is empty")
        if "parse" in extra:
            try:
                return extra["parse"](value)
            except ShapeError as error:
                return self.problem(path, str(error) if "secret" in extra else f"{show(raw)}: {error}")
        if isinstance(info, inspect.IntType):
            return self._integer(info, value, raw, path)
        if isinstance(info, inspect.BoolType):
            return value if isinstance(value, bool) else self._wrong(path, "true or false", raw)
        if not isinstance(info, inspect.StrType):
            raise TypeError(info)
        if not isinstance(value, str):
            hint = "; write it in quotes" if isinstance(value, (bool, int, float, Decimal)) else ""
            return self._wrong(path, "a string", raw, hint)
        if info.min_length and len(value) < info.min_length:
            return self.problem(path, f"the value of {show(raw)} is empty" if raw else "must not be empty")
        if info.pattern is not None and not matches(info.pattern, value):
            return self.problem(path, f"{show(raw)}: must be {extra.get('expects', info.pattern)}")
        if "path" in extra:
            return self._path(value, path)
        if "socket" in extra:
            return os.path.abspath(self.source.base / value)  # noqa: PTH100 - links must stay links
        if "output" in extra:
            return self._output(extra["output"], value, path)
        if "declares" in extra:
            self.names.append((value, raw, self.source, path))
        if "refers" in extra:
            self.references.append((value, raw, self.source, path))
        return value

    def _json(self, value: Any, path: Path) -> Any:
        """Any JSON value as text, with the references in its strings replaced."""
        failed = False

        def replaced(item: Any, at: Path, depth: int) -> Any:
            nonlocal failed
            if isinstance(item, Reported):
                failed = True
            elif isinstance(item, str):
                item = self.text(item, at)
                failed = failed or isinstance(item, Reported)
            elif isinstance(item, Mapping) and depth <= MAX_DEPTH:
                return {key: replaced(each, (*at, str(key)), depth + 1) for key, each in item.items()}
            elif isinstance(item, (list, tuple)) and depth <= MAX_DEPTH:
                return [replaced(each, (*at, index), depth + 1) for index, each in enumerate(item)]
            return item

        plain = replaced(value, path, 0)
        if failed:
            return REPORTED
        try:
            return encode_json(plain)
        except ShapeError as error:
            return self.problem(path, str(error))

    def _integer(self, info: inspect.IntType, value: Any, raw: Any, path: Path) -> Any:
        bounds = "" if info.ge is None else f" from {info.ge} to {info.le}"
        if isinstance(value, bool) or not isinstance(value, int):
            return self._wrong(path, f"an integer{bounds}", raw)
        if (info.ge is not None and value < info.ge) or (info.le is not None and value > info.le):
            return self.problem(path, f"{show(raw)}: must be an integer{bounds}")
        return value

    def _path(self, value: str, path: Path) -> Any:
        name = self.file(value)
        try:
            read_bytes(name, MAX_SUBSTITUTED)
        except ShapeError as error:
            if not self.offline:
                return self.problem(path, str(error))
            self.unknown[path] = None
        return os.path.abspath(name)  # noqa: PTH100 - links must stay links

    def _output(self, words: Sequence[str], value: str, path: Path) -> Any:
        if value in words:
            return value
        if "/" not in value and "." not in value:
            hint = self.suggest(value, words) or "."
            return self.problem(
                path, f"unknown value {quoted(value)}{hint} Allowed: {alternatives(words)}, or a file: ./{value}"
            )
        # Not added to `files`, which are watched: the log changes with every message.
        return os.path.abspath(self.source.base / value)  # noqa: PTH100 - links must stay links

    def _wrong(self, path: Path, wanted: str, value: Any, hint: str = "") -> Any:
        return self.problem(path, f"must be {wanted}, not {kind_of(value)}{hint}")


class _UnknownFieldError(Exception):
    """`conflicts` read a field that has a problem of its own."""


class _ValidFields:
    """Stands for a struct that has problems, to find `conflicts` between its valid fields."""

    def __init__(self, info: inspect.StructType, built: Mapping[str, Any]) -> None:
        self._info = info
        self._built = built

    def __getattr__(self, name: str) -> Any:
        field = next(field for field in self._info.fields if field.name == name)
        if name in self._built:
            value = self._built[name]
        elif field.required:
            value = REPORTED
        else:
            value = field.default_factory() if field.default is NODEFAULT else field.default
        if isinstance(value, Reported):
            raise _UnknownFieldError
        return value


def _until_unknown(found: Iterable[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    with suppress(_UnknownFieldError):
        yield from found


def _extra_of(info: inspect.Type, extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the fields's type says beside its type, also where it may be left out."""
    if isinstance(info, inspect.UnionType):
        for each in info.types:
            if isinstance(each, inspect.Metadata) and each.extra:
                return each.extra
    return extra
