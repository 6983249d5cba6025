"""A value of a configuration as JSON text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from waypost.config.positions import EMPTY, MAX_DEPTH, ShapeError

__all__ = ["encode_json"]


def encode_json(value: Any, depth: int = 0) -> bytes:
    """`value` as JSON text; numbers keep every digit. Raises `ShapeError`."""
    if depth > MAX_DEPTH:
        raise ShapeError(f"nested deeper than {MAX_DEPTH} levels")
    if value is EMPTY:
        raise ShapeError("a value is empty; write null where that is meant")
    if isinstance(value, Mapping):
        members = []
        for key, item in value.items():
            if not isinstance(key, str):
                raise ShapeError("the keys of a JSON object are strings; write them in quotes")
            members.append(orjson.dumps(key) + b":" + encode_json(item, depth + 1))
        return b"{" + b",".join(members) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join([encode_json(item, depth + 1) for item in value]) + b"]"
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise ShapeError(f"{value} is not a JSON value; write null or leave it out")
    if isinstance(value, Decimal):
        return str(value).encode()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value).encode()
    try:
        return orjson.dumps(value)
    except TypeError:
        raise ShapeError("a value that JSON has no form for") from None
