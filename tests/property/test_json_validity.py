"""What is a document: `Matcher` against two independent readers, orjson and the standard library's json.

They differ on purpose in what MATCHING calls ours: duplicate keys and the depth limit. Of the others,
- orjson refuses numbers that a double cannot hold, such as 1e999; RFC 8259 (section 6) does not;
- json reads NaN and Infinity, and halves of surrogate pairs in escapes, unless told otherwise.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st
from waypost import EnvelopeError, Matcher

LAST = Matcher({"none": {"a": [{"exists": False}]}}, duplicate_keys="last", depth=1024)
STRICT = Matcher(depth=1024)


def verdict(matcher: Matcher, body: bytes) -> str:
    """The code with which a document is refused, or an empty string."""
    try:
        matcher.first(body)
    except EnvelopeError as error:
        refused = error
    else:
        return ""
    assert refused.offset is not None
    assert 0 <= refused.offset <= len(body)
    return refused.code


class _ConstantError(ValueError):
    pass


def _refuse(constant: str) -> Any:
    raise _ConstantError(constant)


def stdlib_accepts(body: bytes) -> bool:
    """RFC 8259 by the standard library: strict UTF-8, no constants, no half surrogate pairs, any number."""
    try:
        text = body.decode()
        json.loads(text, parse_constant=_refuse, parse_int=len, parse_float=len)
    except ValueError:
        return False
    return not _has_lone_surrogate(text)


_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\.", re.DOTALL)


def _has_lone_surrogate(text: str) -> bool:
    """Of a document that is valid but for that: escapes occur in strings only."""
    high_ends = -1
    for match in _ESCAPE.finditer(text):
        unit = int(match[1], 16) if match[1] else 0
        low = 0xDC00 <= unit < 0xE000
        if (high_ends >= 0) != low or (low and match.start() != high_ends):
            return True
        high_ends = match.end() if 0xD800 <= unit < 0xDC00 else -1
    return high_ends >= 0


def orjson_accepts(body: bytes) -> bool | None:
    """`None` where orjson refuses for a number's size, which says nothing of the rest."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return None if "infinity" in str(error) else False
    return True


def has_duplicates(body: bytes) -> bool:
    found = False

    def pairs(items: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len(items) != len(dict(items))

    json.loads(body.decode(), object_pairs_hook=pairs, parse_int=len, parse_float=len)
    return found


def check(body: bytes) -> None:
    found = verdict(LAST, body)
    accepted = stdlib_accepts(body)
    assert (found == "") == accepted, (found, body)
    other = orjson_accepts(body)
    if other is not None:
        assert other == accepted, body
    strict = verdict(STRICT, body)
    if accepted:
        assert strict == ("duplicate_key" if has_duplicates(body) else "")
    else:
        assert strict != ""
        # Bytes that are no UTF-8 are told as that, wherever they are.
        try:
            body.decode()
        except UnicodeDecodeError:
            assert found == strict == "invalid_utf8"
        else:
            assert found == "invalid_json"


NUMBERS = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "-1.5",
        "1e5",
        "1E+5",
        "1e-5",
        "0.10",
        "1e999",
        "-1E999",
        "1e-9999",
        "9007199254740993",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "--1",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "٣",
        "-",
    ]
) | st.just("9" * 400)
ESCAPES = st.sampled_from(
    [
        r"\n",
        r"\"",
        r"\\",
        r"\/",
        r"\u0041",
        r"\u00e9",
        r"\ud83d\ude00",
        r"\uD83D\uDE00",
        r"\u0000",
        r"\ud83d",
        r"\ude00",
        r"\ude00\ud83d",
        r"\ud83d\u0041",
        r"\ud83d\n",
        r"\x41",
        r"\u12",
        r"\u12g4",
        r"\U0041",
    ]
) | st.sampled_from(["\\", "\n", "\x00", "\x1f", "\x7f", "\x80", "\u2028", "é", "😀", '"', "\ufeff"])
STRINGS = st.lists(st.one_of(ESCAPES, st.text(max_size=3)), max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
KEYS = st.one_of(st.sampled_from(['"a"', r'"\u0061"', '"b"', '""', "a", "1"]), STRINGS)
SPACE = st.sampled_from(["", " ", "\n", "\t", "\r\n", "\x0c", "\xa0", "\ufeff", "//x\n"])
SCALARS = st.one_of(NUMBERS, STRINGS, st.sampled_from(["true", "false", "null", "True", "nul", "", "undefined"]))


def _list(items: list[str], space: str, end: str) -> str:
    return "[" + f",{space}".join(items) + end + "]"


def _object(items: list[tuple[str, str]], space: str, end: str) -> str:
    return "{" + f",{space}".join(f"{key}:{space}{value}" for key, value in items) + end + "}"


# Mostly valid: of each two choices one is the plain one.
ENDS = st.one_of(st.just(""), st.sampled_from(["", ",", ";", "]"]))
SPACES = st.one_of(st.just(""), SPACE)
DOCUMENTS = st.recursive(
    st.one_of(st.integers().map(str), SCALARS),
    lambda inner: st.one_of(
        st.builds(_list, st.lists(inner, max_size=4), SPACES, ENDS),
        st.builds(_object, st.lists(st.tuples(KEYS, inner), max_size=4), SPACES, ENDS),
    ),
    max_leaves=12,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@given(DOCUMENTS.map(lambda text: text.encode(errors="surrogatepass")))
@settings(max_examples=800, deadline=None)
@example(b"")
@example(b"\xef\xbb\xbf1")
@example("1".encode("utf-16"))
@example(b'{"a":1,"\\u0061":2}')
@example(b'["\\ud83d\\\\ude00"]')
@example(b"[1e999,]")
def test_generated_documents(body: bytes) -> None:
    check(body)


EDITS = st.binary(max_size=2) | st.sampled_from([b"[", b"]", b"{", b"}", b",", b'"', b"\\", b"e", b"."])


@given(VALUES, st.booleans(), st.data())
@settings(max_examples=500, deadline=None)
def test_mutated_documents(value: Any, ascii_only: bool, data: st.DataObject) -> None:
    body = bytearray(json.dumps(value, ensure_ascii=ascii_only, allow_nan=False).encode(errors="surrogatepass"))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        new = data.draw(EDITS)
        body[at : at + data.draw(st.integers(0, 2))] = new
    check(bytes(body))


@given(st.binary(max_size=40))
@settings(max_examples=1000, deadline=None)
def test_any_bytes(body: bytes) -> None:
    check(body)


@given(VALUES)
@settings(max_examples=500, deadline=None)
def test_what_orjson_writes_is_valid(value: Any) -> None:
    try:
        body = orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits, half surrogate pairs
        return
    assert verdict(STRICT, body) == ""
    assert verdict(STRICT, orjson.dumps(value, option=orjson.OPT_INDENT_2)) == ""
    assert STRICT.first(body.decode()) is None


@given(st.integers(1, 1024), st.integers(1, 1030), st.sampled_from([("[", "]"), ('{"a":', "}"), ('[{"a":[', "]}]")]))
@settings(max_examples=200, deadline=None)
def test_depth_is_a_number_of_containers(depth: int, nested: int, brackets: tuple[str, str]) -> None:
    begin, end = brackets
    inside = "1" if begin.endswith(":") else ""
    body = (begin * nested + inside + end * nested).encode()
    containers = nested * (begin.count("[") + begin.count("{"))
    assert verdict(Matcher(depth=depth), body) == ("too_deep" if containers > depth else "")
    if containers <= 1000:
        assert orjson_accepts(body) is True


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**30), 10**30))
@settings(max_examples=300, deadline=None)
def test_numbers_of_patterns_and_documents_are_the_same(number: float, whole: int) -> None:
    for value in (number, whole):
        matcher = Matcher({"same": {"x": [value]}, "above": {"x": [{"numeric": [">", value]}]}})
        assert matcher.matches(json.dumps({"x": value})) == ["same"]
        above = math.nextafter(value, math.inf) if isinstance(value, float) else value + 1
        if above != math.inf:
            assert matcher.matches(json.dumps({"x": above})) == ["above"]
