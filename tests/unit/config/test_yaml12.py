from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from waypost.config.positions import EMPTY, MAX_DEPTH, UnreadableError
from waypost.config.yaml12 import compose


def value(text: str) -> Any:
    found, _, faults = compose(text)
    assert not faults
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("y", "y"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("2001-12-14", "2001-12-14"),
        ("0b11", "0b11"),
        ("+0x1F", "+0x1F"),
        ("=", "="),
        ("true", True),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("False", False),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("9007199254740993", 9007199254740993),
        ("'7'", "7"),
        ('"true"', "true"),
        ("''", ""),
        ("!!str 7", "7"),
        ("! 7", "7"),
        ("!!int 7", 7),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_core_schema(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["1.5", "-0.1", ".5", "1.", "1e999999999", "0.10", "+12.5E-3", "7.0"])
def test_fractions_keep_their_digits(text: str) -> None:
    found = value(text)
    assert isinstance(found, Decimal)
    assert str(found) == str(Decimal(text))


def test_infinity_and_nan_are_no_decimals() -> None:
    assert value("-.inf") == -math.inf
    assert math.isnan(value(".NaN"))


def test_long_integers_are_exact_and_quick() -> None:
    assert value("9" * 5000) == Decimal("9" * 5000)


def test_nothing_is_not_null() -> None:
    assert value("a:\nb: null\n") == {"a": EMPTY, "b": None}
    assert value("") is EMPTY
    assert value("# only a comment\n") is EMPTY


def test_marks_count_from_one_in_characters() -> None:
    _, mark, _ = compose("é: [ü, x]\nb:\n  - {k: v}\n")
    assert mark.find(("é", 1)) == (1, 8)
    assert mark.find(("b", 0, "k")) == (3, 9)
    assert mark.find(("b", 0, "k"), key=True) == (3, 6)
    assert mark.find(("b", 0, "nope", 3)) == (3, 5)


@pytest.mark.parametrize(
    ("text", "path", "line", "column", "why"),
    [
        ("a: 1\nb: 2\na: 3\n", (), 3, 1, "duplicate key `a`; first in line 1"),
        ("x: {a: 1, 'a': 2}\n", ("x",), 1, 11, "duplicate key `a`"),
        ("x:\n  <<: 1\n", ("x",), 2, 7, "`<<` takes a mapping or a list of mappings"),
        ("x:\n  <<: [{a: 1}, 2]\n", ("x",), 2, 7, "`<<` takes a mapping or a list of mappings"),
        ("x:\n  <<:\n  b: 1\n", ("x",), 2, 6, "`<<` takes a mapping or a list of mappings"),
        ("x:\n  <<: {a: 1}\n  <<: {b: 1}\n", ("x",), 3, 3, "duplicate key `<<`"),
        ("x: {404: y}\n", ("x",), 1, 5, 'write "404" in quotes'),
        ("true: y\n", (), 1, 1, 'write "true" in quotes'),
        ("? \n: y\n", (), 1, 2, "the key is empty"),
        ("x: [1, !!binary aGk=]\n", ("x", 1), 1, 8, "`!!binary` is not supported"),
        ("x: !me {a: 1}\n", ("x",), 1, 4, "`!me` is not supported"),
        ("x: !!int a\n", ("x",), 1, 4, "does not fit its tag `!!int`"),
        ("x: 1e99999999999999999999\n", ("x",), 1, 4, "exponent is too large"),
    ],
)
def test_faults_that_do_not_stop_the_reading(text: str, path: Any, line: int, column: int, why: str) -> None:
    _, _, faults = compose(text + "last: 1\n")
    assert [(fault.path, fault.line, fault.column) for fault in faults] == [(path, line, column)]
    assert why in faults[0].message


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        ("a: 1\n---\nb: 2\n", 2, 1, "second YAML document"),
        ("%YAML 1.1\n---\na: 1\n", 1, 1, "a YAML version other than 1.2"),
        ("a:\n\tb: 1\n", 2, 1, "spaces, not tabs"),
        ("a: [1, 2\nb: 3\n", 2, 2, "begun in line 1"),
        ("a: {p: ${PORT}}\n", 1, 9, "needs quotes"),
        ("a: *nope\n", 1, 4, "no anchor"),
        ("a: &x [1, *x]\n", 1, 11, "inside the value of its own anchor"),
        ("? [a]\n: b\n", 1, 3, "cannot be a key"),
        ("a: \x07\n", 1, 4, r"\u0007"),
        ("a: 'x\u2028y'\n", 1, 6, r"\u2028"),
        ("a: 1\nb: \udc80\n", 2, 4, "DC80"),
        ("a: " + "[" * 5000, 1, 3 + MAX_DEPTH, "nested deeper than 128"),
        ("a: " + "{a: " * 5000, 1, 4 * MAX_DEPTH, "nested deeper than 128"),
        ("- " * 5000, 1, 2 * MAX_DEPTH + 1, "nested deeper than 128"),
    ],
)
def test_what_stops_the_reading_has_a_place(text: str, line: int, column: int, why: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        compose(text)
    assert why in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


def test_aliases_stand_for_their_values() -> None:
    found, mark, _ = compose("a: &x {k: [1]}\nb: *x\nc: &y z\nd: *y\n")
    assert found == {"a": {"k": [1]}, "b": {"k": [1]}, "c": "z", "d": "z"}
    assert mark.find(("b", "k", 0)) == (1, 12)


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(UnreadableError, match="aliases expand to more than"):
        compose("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &a {p: 1, q: 2}\nb: {<<: *a, q: 3}\n", {"p": 1, "q": 3}),
        ("a: &a {p: 1, q: 2}\nb: {q: 3, <<: *a}\n", {"q": 3, "p": 1}),
        ("a: &a {p: 1}\nc: &c {p: 2, r: 3}\nb: {<<: [*a, *c]}\n", {"p": 1, "r": 3}),
        ("a: &a {p: 1}\nc: &c {<<: *a, q: 2}\nb: {<<: *c, r: 3}\n", {"r": 3, "q": 2, "p": 1}),
        ("b: {<<: {p: {q: 1}}, r: 2}\n", {"r": 2, "p": {"q": 1}}),
        ("b: {<<: [], r: 2}\n", {"r": 2}),
        ('b: {"<<": {p: 1}}\n', {"<<": {"p": 1}}),
        ("a: &a {p: {q: 1}}\nb: {<<: *a, p: {r: 1}}\n", {"p": {"r": 1}}),
    ],
)
def test_merge_keys(text: str, expected: dict[str, Any]) -> None:
    assert value(text)["b"] == expected


def test_what_is_merged_has_the_place_of_its_anchor() -> None:
    _, position, faults = compose("a: &a\n  p: 1\n  q: {r: 2}\nb:\n  <<: *a\n  s: 3\n")
    assert faults == []
    assert position.find(("b", "p")) == (2, 6)
    assert position.find(("b", "q", "r"), key=True) == (3, 7)
    assert position.find(("b", "s")) == (6, 6)


def test_merges_expand_no_further_than_aliases() -> None:
    wide = "a0: &a0 {" + ", ".join(f"k{index}: 1" for index in range(1000)) + "}\n"
    bomb = wide + "".join(
        f"a{n}: &a{n} {{<<: ["
        + ", ".join([f"*a{n - 1}"] * 10)
        + f"], own{n}: ["
        + ", ".join([f"*a{n - 1}"] * 10)
        + "]}\n"
        for n in range(1, 30)
    )
    with pytest.raises(UnreadableError, match="aliases expand to more than"):
        compose(bomb)
