"""Numbers in a configuration: sizes (`16MiB`), durations (`1500ms`, `1m30s`), counts, percentages (`20%`), percentiles
(`p95`) and factors (`1.5`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from waypost.config.positions import ShapeError

__all__ = [
    "COUNT_MAX",
    "DURATION_PATTERN",
    "PERCENTAGE_PATTERN",
    "PERCENTILE_PATTERN",
    "SIZE_PATTERN",
    "format_duration",
    "format_percentage",
    "format_percentile",
    "format_size",
    "parse_count",
    "parse_duration",
    "parse_factor",
    "parse_percentage",
    "parse_percentile",
    "parse_size",
]

_SIZES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_DURATIONS: Final = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}

_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
SIZE_PATTERN: Final = rf"^{_NUMBER} ?(?:[KMG]i?)?B$"
"""Sizes as strings, for the JSON Schema (ECMA-262 syntax)."""
DURATION_PATTERN: Final = rf"^(?=.)(?:{_NUMBER} ?h)?(?:{_NUMBER} ?m)?(?:{_NUMBER} ?s)?(?:{_NUMBER} ?ms)?$"
"""Durations, for the JSON Schema: each unit at most once, the longest first."""

PERCENTAGE_PATTERN: Final = "^[0-9]{1,6} ?%$"
PERCENTILE_PATTERN: Final = "^p[0-9]{1,2}$"
COUNT_MAX: Final = 1_000_000

_SIZE: Final = re.compile(rf"({_NUMBER}) ?([A-Za-z]+)")
_DURATION: Final = re.compile(DURATION_PATTERN)
_DURATION_PART: Final = re.compile(rf"({_NUMBER}) ?(ms|[hms])")

_SIZE_HELP: Final = "write a number of bytes, or a string such as 512KiB, 16MiB or 1.5GB"
_DURATION_HELP: Final = "write a string with a unit, such as 1500ms, 2s, 1.5m or 1m30s"


def parse_size(value: object) -> int:
    """A size in bytes: an integer, or a string in B, KB, MB, GB (powers of 1000) or KiB, MiB, GiB (powers of 1024).

    Raises `ShapeError`.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if not found:
            if re.fullmatch(_NUMBER, value):
                raise ShapeError(f"a size in a string needs a unit; {_SIZE_HELP}")
            raise ShapeError(f"not a size; {_SIZE_HELP}")
        number, unit = found.groups()
        if unit not in _SIZES:
            meant = [
                known for known in _SIZES if known.lower() in (unit.lower(), f"{unit.lower()}b", f"{unit.lower()}ib")
            ]
            hint = f"; did you mean {' or '.join(f'`{number}{known}`' for known in meant)}?" if meant else "."
            raise ShapeError(f"unknown unit{hint} Allowed: {', '.join(_SIZES)}")
        exact = Decimal(number) * _SIZES[unit]
        size = int(exact)
        if size != exact:
            raise ShapeError("not a whole number of bytes")
    else:
        raise ShapeError(f"not a size; {_SIZE_HELP}")
    if size <= 0:
        raise ShapeError("a size must be greater than zero")
    if size > 2**50:
        raise ShapeError("a size can be at most 1048576GiB")
    return size


def parse_duration(value: object) -> float:
    """A duration in seconds: a string in `h`, `m`, `s` and `ms`, each at most once and in this order.

    Raises `ShapeError`.
    """
    if isinstance(value, (int, Decimal, float)) and not isinstance(value, bool):
        raise ShapeError(f"a duration needs a unit; {_DURATION_HELP}")
    if not isinstance(value, str):
        raise ShapeError(f"not a duration; {_DURATION_HELP}")
    if not _DURATION.fullmatch(value):
        if re.fullmatch(_NUMBER, value):
            raise ShapeError(f"a duration needs a unit; {_DURATION_HELP}")
        if value.startswith("-"):
            raise ShapeError("a duration cannot be negative")
        raise ShapeError(f"not a duration; {_DURATION_HELP}")
    seconds = sum(
        (Decimal(number) * _DURATIONS[unit] for number, unit in _DURATION_PART.findall(value)),
        Decimal(0),
    )
    if seconds > 7 * 24 * 3600:
        raise ShapeError("a duration can be at most 168h")
    return float(seconds)


def format_size(size: int) -> str:
    """`size` in the largest power of 1024 that gives a whole number: 16777216 is `16MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return f"{size}B"


def format_duration(seconds: float) -> str:
    """`seconds` as a duration: 120.0 is `120s`, 0.5 is `500ms`."""
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{round(seconds * 1000)}ms"


def parse_count(value: object) -> int:
    """An integer from 0 to `COUNT_MAX`. Raises `ShapeError`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ShapeError("not a count; write a whole number, such as 3")
    if value < 0:
        raise ShapeError("a count cannot be negative")
    if value > COUNT_MAX:
        raise ShapeError(f"a count can be at most {COUNT_MAX}")
    return value


def parse_percentage(value: object) -> int:
    """An integer with a percent sign: `20%` gives 20. Raises `ShapeError`."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,6} ?%", value):
        return int(value[:-1])
    raise ShapeError("not a percentage; write a whole number with a percent sign, such as 20%")


def format_percentage(percent: int) -> str:
    return f"{percent}%"


def parse_percentile(value: object) -> int:
    """A percentile: `p95` gives 95. Raises `ShapeError`."""
    if isinstance(value, str) and re.fullmatch("p[0-9]{1,2}", value):
        return int(value[1:])
    raise ShapeError("not a percentile; write one such as p95")


def format_percentile(percentile: int) -> str:
    return f"p{percentile}"


def parse_factor(value: object) -> float:
    """A number from 0 to `COUNT_MAX`. Raises `ShapeError`."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, float)):
        raise ShapeError("not a number; write one such as 1.5")
    if not 0 <= value < COUNT_MAX:  # false for NaN, too
        raise ShapeError(f"must be from 0 to {COUNT_MAX}")
    return float(value)
