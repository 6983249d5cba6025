"""A configuration as plain values that may be shown: everything in it but its secrets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, get_args

from msgspec import Struct, structs

from waypost.config.answer import Reply
from waypost.config.jsontext import loads
from waypost.config.model import Document, Route
from waypost.config.packed import Routes
from waypost.config.proxy import Proxy

__all__ = ["HIDDEN", "shown"]

HIDDEN: Final = "<secret>"
"""Stands for what is not shown."""
_PLAIN_INTEGERS: Final = 1 << 63


def shown(document: Document) -> dict[str, Any]:
    """`document` as mappings, lists and scalars, by the keys of a configuration file; sizes in bytes, times in seconds.

    `HIDDEN` stands for the hashes of keys, the values of credentials and whatever patterns compare header fields with.
    A proxy has neither user nor password. A whole number beyond 64 bits is a `Decimal`.
    """
    return _members(document, Document)


def _members(struct: Struct, cls: type[Struct]) -> dict[str, Any]:
    """The fields of `struct` that `cls` has."""
    return {name: show(getattr(struct, name)) for name, show in _fields(cls)}


def _value(value: Any) -> Any:
    kind = type(value)
    if kind is str:  # most are; there may be 100,000 routes
        return value
    if kind is dict:
        return {key: _value(item) for key, item in value.items()}
    if kind is list or kind is Routes:
        return [_value(item) for item in value]
    if isinstance(value, Struct):
        return _members(value, kind)
    if kind is int and not -_PLAIN_INTEGERS <= value < _PLAIN_INTEGERS:
        return Decimal(value)
    return value


@functools.cache
def _fields(cls: type[Struct]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """Each field of `cls`, and the function that shows its value."""
    special: dict[str, Callable[[Any], Any]] = {}
    if cls is Route:
        special = {"match": _pattern}
    elif cls is Reply:
        special = {"json": _json}
    return tuple(
        (field.name, special.get(field.name) or (_secret if _is_secret(field.type) else _value))
        for field in structs.fields(cls)
    )


def _is_secret(annotation: Any) -> bool:
    """Whether `Meta.extra` says so of a type, or of a part of it that is no struct of its own."""
    metas = getattr(annotation, "__metadata__", ())
    return any((meta.extra or {}).get("secret") for meta in metas) or any(map(_is_secret, get_args(annotation)))


def _json(text: bytes | None) -> Any:
    return None if text is None else _value(loads(text.decode()))


def _secret(value: Any) -> Any:
    if isinstance(value, Proxy):
        return str(value)  # without its user and password
    return None if value is None else HIDDEN


def _pattern(pattern: dict[str, Any]) -> dict[str, Any]:
    """A pattern, in which header values may be credentials."""
    out: dict[str, Any] = {}
    for key, item in pattern.items():
        if key == "headers":
            out[key] = _hidden(item)
        elif key == "$or":
            out[key] = [_pattern(each) for each in item]
        else:
            out[key] = _value(item)
    return out


def _hidden(value: Any) -> Any:
    """The names in a pattern, without what they are compared with."""
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    return value if isinstance(value, bool) else HIDDEN
