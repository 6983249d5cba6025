"""The words of messages about values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final

from waypost.config.pattern import scalar_text

__all__ = ["alternatives", "did_you_mean", "kind_of", "matches", "quoted", "show"]

_USERINFO: Final = re.compile(r"//[^/]*@")
_SHOWN: Final = 60
"""How many characters of a text a message quotes."""


def did_you_mean(name: str | None) -> str:
    return f"; did you mean `{name}`?" if name else ""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.removeprefix("^").removesuffix("$"))  # `$` would let a last newline pass


def matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


def alternatives(words: Sequence[str]) -> str:
    *before, last = (f"`{word}`" for word in words)
    return f"{', '.join(before)} or {last}" if before else last


def show(value: Any) -> str:
    """A scalar as written, shortened. A reference is shown as written, never by its value."""
    if isinstance(value, (Mapping, list, tuple)):
        return kind_of(value)
    return quoted(_USERINFO.sub("//…@", scalar_text(value)))


def quoted(text: str) -> str:
    """A text as written, shortened to one line."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"`{''.join(each if each.isprintable() else json.dumps(each)[1:-1] for each in shown)}`"


def kind_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, (float, Decimal)):
        return "a number with a fraction"
    return f"a {type(value).__name__}"
