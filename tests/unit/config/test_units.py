from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import pytest
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

SIZES = [
    (1, 1),
    (16777216, 16777216),
    ("512B", 512),
    ("3KB", 3000),
    ("3KiB", 3072),
    ("16MiB", 16 * 2**20),
    ("1.5MiB", 1572864),
    ("2 GiB", 2 * 2**30),
    ("1.5GB", 1_500_000_000),
]
DURATIONS = [
    ("2s", 2.0),
    ("1500ms", 1.5),
    ("1.5s", 1.5),
    ("1m30s", 90.0),
    ("2h", 7200.0),
    ("1h1m1s1ms", 3661.001),
    ("0s", 0.0),
    ("0.1ms", 0.0001),
    ("5 s", 5.0),
    ("1 m30 s", 90.0),
]


@pytest.mark.parametrize(("written", "size"), SIZES)
def test_size_is_in_bytes(written: object, size: int) -> None:
    assert parse_size(written) == size
    if isinstance(written, str):
        assert re.search(SIZE_PATTERN, written)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("16", "needs a unit"),
        ("16mb", "unknown unit; did you mean `16MB`?"),
        ("1kb", "unknown unit; did you mean `1KB`?"),
        ("4k", "unknown unit; did you mean `4KB` or `4KiB`?"),
        ("4 mib", "did you mean `4MiB`?"),
        ("4tb", "unknown unit. Allowed: B, KB"),
        ("1.5B", "whole number"),
        (0, "greater than zero"),
        (-5, "greater than zero"),
        ("-5MiB", "not a size"),
        ("9999999GiB", "at most"),
        (True, "not a size"),
        (Decimal("1.5"), "not a size"),
        (None, "not a size"),
        ("1_000KB", "not a size"),
        ("", "not a size"),
        ("16MiB\n", "not a size"),
        ("\u0661\u0666MiB", "not a size"),
    ],
)
def test_what_is_no_size_says_why(written: object, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_size(written)


@pytest.mark.parametrize(("written", "seconds"), DURATIONS)
def test_duration_is_in_seconds(written: str, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)
    assert re.search(DURATION_PATTERN, written)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (2, "needs a unit"),
        (Decimal("2.5"), "needs a unit"),
        ("2", "needs a unit"),
        ("-2s", "negative"),
        ("2d", "not a duration"),
        ("5  s", "not a duration"),
        ("5 s ", "not a duration"),
        ("2sec", "not a duration"),
        ("30s1m", "not a duration"),
        ("1s1s", "not a duration"),
        ("", "not a duration"),
        ("2s\n", "not a duration"),
        ("200h", "at most"),
        (True, "not a duration"),
        ([], "not a duration"),
    ],
)
def test_what_is_no_duration_says_why(written: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_duration(written)


@pytest.mark.parametrize("size", [1, 1000, 1024, 1536, 16 * 2**20, 3 * 2**30])
def test_a_written_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.0, 90.0, 600.0])
def test_a_written_duration_reads_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("parse", "written", "meant"),
    [
        (parse_count, 0, 0),
        (parse_count, COUNT_MAX, COUNT_MAX),
        (parse_percentage, "0%", 0),
        (parse_percentage, "20 %", 20),
        (parse_percentage, format_percentage(1000), 1000),
        (parse_percentile, "p5", 5),
        (parse_percentile, format_percentile(95), 95),
        (parse_factor, 2, 2.0),
        (parse_factor, Decimal("1.5"), 1.5),
        (parse_factor, 0.1, 0.1),
    ],
)
def test_a_number_is_what_is_written(parse: Callable[[object], float], written: object, meant: float) -> None:
    assert parse(written) == meant


@pytest.mark.parametrize(
    ("parse", "written", "why"),
    [
        (parse_count, -1, "negative"),
        (parse_count, COUNT_MAX + 1, "at most"),
        (parse_count, True, "whole number"),
        (parse_count, Decimal("2.0"), "whole number"),
        (parse_count, "3", "whole number"),
        (parse_percentage, 20, "such as 20%"),
        (parse_percentage, "20", "such as 20%"),
        (parse_percentage, "2.5%", "whole"),
        (parse_percentage, "-5%", "not a percentage"),
        (parse_percentage, "20%\n", "not a percentage"),
        (parse_percentage, "1000000000%", "not a percentage"),
        (parse_percentile, 95, "such as p95"),
        (parse_percentile, "95", "such as p95"),
        (parse_percentile, "p999", "such as p95"),
        (parse_percentile, "P95", "such as p95"),
        (parse_factor, "1.5", "not a number"),
        (parse_factor, True, "not a number"),
        (parse_factor, float("nan"), "from 0"),
        (parse_factor, float("inf"), "from 0"),
        (parse_factor, Decimal(-1), "from 0"),
        (parse_factor, Decimal("1e400"), "from 0"),
    ],
)
def test_what_is_no_such_number_says_why(parse: Callable[[object], object], written: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(written)


@pytest.mark.parametrize("written", ["0%", "20 %", "1000%"])
def test_the_schema_knows_percentages(written: str) -> None:
    assert re.search(PERCENTAGE_PATTERN, written)
    assert not re.search(PERCENTAGE_PATTERN, written[:-1])


@pytest.mark.parametrize("written", ["p5", "p95"])
def test_the_schema_knows_percentiles(written: str) -> None:
    assert re.search(PERCENTILE_PATTERN, written)
    assert not re.search(PERCENTILE_PATTERN, written[1:])
