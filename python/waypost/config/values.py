"""The types of a configuration's values. `waypost.config.model` explains their `Meta.extra`."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from waypost.config.positions import ShapeError
from waypost.config.units import (
    COUNT_MAX,
    DURATION_PATTERN,
    PERCENTAGE_PATTERN,
    PERCENTILE_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_percentage,
    format_percentile,
    format_size,
    parse_count,
    parse_duration,
    parse_factor,
    parse_percentage,
    parse_percentile,
    parse_size,
)
from waypost.config.url import check_host

__all__ = [
    "ClusterName",
    "Count",
    "Duration",
    "Factor",
    "FileName",
    "Host",
    "Name",
    "Output",
    "Percentage",
    "Percentile",
    "RouteName",
    "Size",
    "SocketName",
    "Text",
]


def _host(value: object) -> str:
    if not isinstance(value, str):
        raise ShapeError("must be a host name or an IP address")
    return check_host(value)


_DURATION_SCHEMA: Final = {"type": "string", "pattern": DURATION_PATTERN, "examples": ["2s", "1500ms", "1m30s"]}

Size: TypeAlias = Annotated[
    int,
    Meta(
        extra={"parse": parse_size, "format": format_size},
        extra_json_schema={
            "type": ["integer", "string"],
            "minimum": 1,
            "pattern": SIZE_PATTERN,
            "examples": ["512KiB", "16MiB"],
        },
    ),
]
Duration: TypeAlias = Annotated[
    float, Meta(extra={"parse": parse_duration, "format": format_duration}, extra_json_schema=_DURATION_SCHEMA)
]
Name: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._-]{1,128}$",
        extra={"expects": "1 to 128 characters of A-Z a-z 0-9 . _ -"},
    ),
]
RouteName: TypeAlias = Annotated[Name, Meta(extra={"declares": "route"})]
ClusterName: TypeAlias = Annotated[Name, Meta(extra={"refers": "cluster"})]
Host: TypeAlias = Annotated[str, Meta(extra={"parse": _host}, extra_json_schema={"minLength": 1})]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Count: TypeAlias = Annotated[
    int, Meta(extra={"parse": parse_count}, extra_json_schema={"minimum": 0, "maximum": COUNT_MAX})
]
Percentage: TypeAlias = Annotated[
    int,
    Meta(
        extra={"parse": parse_percentage, "format": format_percentage},
        extra_json_schema={"type": "string", "pattern": PERCENTAGE_PATTERN, "examples": ["20%"]},
    ),
]
Percentile: TypeAlias = Annotated[
    int,
    Meta(
        extra={"parse": parse_percentile, "format": format_percentile},
        extra_json_schema={"type": "string", "pattern": PERCENTILE_PATTERN, "examples": ["p95"]},
    ),
]
Factor: TypeAlias = Annotated[
    float, Meta(extra={"parse": parse_factor}, extra_json_schema={"type": "number", "minimum": 0})
]
FileName: TypeAlias = Annotated[str, Meta(min_length=1, extra={"path": True})]
Output: TypeAlias = Annotated[str, Meta(min_length=1, extra={"output": ("stdout", "stderr", "off")})]
SocketName: TypeAlias = Annotated[str, Meta(min_length=1, extra={"socket": True})]
