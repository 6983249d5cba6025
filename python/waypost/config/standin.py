"""Values that stand for those which are not known offline (`waypost check --offline`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

__all__ = ["candidates", "is_left_out"]


def candidates(info: inspect.Type, number: int) -> Iterator[Any]:
    """Values of which one is valid for each key. Of two with different `number`, no two are the same."""
    if isinstance(info, inspect.LiteralType):
        yield info.values[0]
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    yield f"unknown-{number}"
    yield f"https://unknown-{number}.invalid"
    yield f"sha256:{digest}"
    yield digest
    yield f"DNS:unknown-{number}"
    yield f"CN=unknown-{number}"
    yield "127.0.0.1"
    yield "1s"
    yield 1
    yield True


def is_left_out(field: inspect.Field) -> bool:
    """Whether an unknown value leaves its key at the default. Of a required key, and of a text, something is needed."""
    return not (field.required or _is_text(field.type))


def _is_text(info: inspect.Type) -> bool:
    if isinstance(info, inspect.Metadata):
        return _is_text(info.type)
    if isinstance(info, inspect.UnionType):
        return any(_is_text(each) for each in info.types)
    if isinstance(info, inspect.ListType):
        return True
    return isinstance(info, inspect.StrType)
