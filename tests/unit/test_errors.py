"""What errors of the extension carry: codes, statuses, offsets, fields, rules and paths."""

from __future__ import annotations

import copy
import decimal
import math
import pickle
from typing import Any

import pytest
from waypost import (
    ConfigError,
    EnvelopeError,
    Matcher,
    PatternError,
    Problem,
    UpstreamError,
    WaypostError,
    _native,
)
from waypost.errors import STATUS, StoreError

# Documents.


@pytest.mark.parametrize(
    ("body", "code", "offset"),
    [
        (b"", "invalid_json", 0),
        (b"   ", "invalid_json", 3),
        (b"{", "invalid_json", 1),
        (b'{"a": 1,}', "invalid_json", 8),
        (b"{'a': 1}", "invalid_json", 1),
        (b"[1 2]", "invalid_json", 3),
        (b"01", "invalid_json", 1),
        (b"NaN", "invalid_json", 0),
        (b"Infinity", "invalid_json", 0),
        (b"[-Infinity]", "invalid_json", 2),
        (b'"\\x"', "invalid_json", 1),
        (b'"\\ud800"', "invalid_json", 1),
        (b'"\n"', "invalid_json", 1),
        (b"\xef\xbb\xbf{}", "invalid_json", 0),
        (b"{} {}", "invalid_json", 3),
        (b"\x00", "invalid_json", 0),
        (b'"\xff"', "invalid_utf8", 1),
        (b'"\xc0\x80"', "invalid_utf8", 1),
        (b'"\xed\xa0\x80"', "invalid_utf8", 1),
        (b'{"a": 1, "a": 2}', "duplicate_key", 9),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "duplicate_key", 15),
        (b"[" * 129, "too_deep", 128),
    ],
)
def test_a_document_is_refused_with_code_and_offset(body: bytes, code: str, offset: int) -> None:
    with pytest.raises(EnvelopeError) as caught:
        Matcher().first(body)
    error = caught.value
    assert (error.code, error.offset, error.field, error.status) == (code, offset, None, 400)
    assert f"(at byte {offset})" in error.message
    assert str(error) == error.message
    assert isinstance(error, WaypostError)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"tenant": 1, "tenant": 2}', 'the key "tenant" twice'),
        (b'{"a": {"b\\"c": 1, "b\\"c": 2}}', 'the key "b\\"c" twice'),
        (b'{"%b": 1, "%b": 2}' % (b"k" * 99, b"k" * 99), f'the key "{"k" * 64}…" twice'),
        (b"[[[[1]]]]", "more than 3 objects and arrays are nested"),
    ],
)
def test_the_key_or_the_depth_at_fault_is_named(body: bytes, says: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        Matcher(depth=3).first(body)
    assert says in caught.value.message


def test_offsets_count_bytes_of_a_str_as_utf8() -> None:
    with pytest.raises(EnvelopeError) as caught:
        Matcher().first('"é" x')
    assert caught.value.offset == 5


# Patterns.


def pattern_error(pattern: Any) -> PatternError:
    with pytest.raises(PatternError) as caught:
        Matcher({"fine": {}, "rule": pattern})
    error = caught.value
    assert (error.code, error.status, error.rule) == ("invalid_pattern", STATUS["invalid_pattern"], "rule")
    assert 'rule "rule": ' in error.message
    return error


@pytest.mark.parametrize(
    ("pattern", "path", "says"),
    [
        ([], (), "a pattern is a mapping of fields, not a list"),
        (None, (), "not null"),
        ({"a": []}, ("a",), "an empty list matches nothing"),
        ({"a": {}}, ("a",), "an empty mapping tests nothing"),
        ({"a": [[1]]}, ("a", 0), "a list inside a list"),
        ({"a": {"prefix": "x"}}, ("a", "prefix"), "write a: [{prefix: …}]; to test a field `prefix` inside `a`,"),
        ({"a": {"anything-but": ["x"]}}, ("a", "anything-but"), "write a: [{anything-but: …}]"),
        ({"a": {"exists": True}}, ("a", "exists"), "write a: [{exists: …}]"),
        ({"a": ["x", {"prefx": "y"}]}, ("a", 1, "prefx"), "`prefx`; did you mean `prefix`? Allowed: prefix,"),
        ({"a": [{"nothing": "y"}]}, ("a", 0, "nothing"), "unknown predicate `nothing`; allowed: prefix,"),
        ({"a": [{"suffix": ["x", "y"]}]}, ("a", 0, "suffix"), "for each, [{suffix: …}, {suffix: …}]"),
        ({"a": [{"prefix": "x", "suffix": "y"}]}, ("a", 0), "exactly one key"),
        ({"a": [{"prefix": 1}]}, ("a", 0, "prefix"), "takes a string, not a number"),
        ({"a": {"b": {"c": [{"wildcard": "a**"}]}}}, ("a", "b", "c", 0, "wildcard"), "`**` is not allowed"),
        ({"$or": {}}, ("$or",), "takes a list"),
        ({"$or": [{"a": [1]}, {"b": [{"cidr": "10.0.0.0"}]}]}, ("$or", 1, "b", 0, "cidr"), "10.0.0.0/8"),
        ({"a": [{"regex": "("}]}, ("a", 0, "regex"), "cannot be used"),
        ({"a": [{"regex": "(a{1000}){1000}"}]}, ("a", 0, "regex"), "cannot be used"),
        (
            {"a": [{"numeric": [">", 5, "<", 5]}]},
            ("a", 0, "numeric"),
            "the lower bound 5 must be less than the upper bound 5",
        ),
        ({"a": [{"numeric": [">", "5"]}]}, ("a", 0, "numeric", 1), "expected a number, not a string"),
        ({"a": [{"numeric": [">", math.inf]}]}, ("a", 0, "numeric", 1), "not a number that JSON can hold"),
        ({"a": [{"anything-but": []}]}, ("a", 0, "anything-but"), "excludes nothing"),
        ({"a": [math.nan]}, ("a", 0), "not a number that JSON can hold"),
        ({"a": -math.inf}, ("a",), "not a number that JSON can hold"),
        ({"a": [decimal.Decimal("NaN")]}, ("a", 0), "NaN is not a number"),
        ({"a": [decimal.Decimal("-Infinity")]}, ("a", 0), "not a number"),
        ({"a": [10**4300]}, ("a", 0), "more digits than Python writes"),
        ({"a": [b"x"]}, ("a", 0), "not of bytes"),
        ({"a": [{1, 2}]}, ("a", 0), "not of set"),
        ({"a": [1j]}, ("a", 0), "not of complex"),
        ({"a": ["\ud800"]}, ("a", 0), "surrogate"),
        ({"a": {"\ud800": [1]}}, ("a",), "surrogate"),
        ({"a": {1: [1]}}, ("a",), "the key 1 is not a string"),
    ],
)
def test_a_pattern_is_refused_with_rule_and_path(pattern: Any, path: tuple[str | int, ...], says: str) -> None:
    error = pattern_error(pattern)
    assert error.path == path
    assert says in error.message


def test_every_problem_of_a_pattern_is_told() -> None:
    error = pattern_error({"a": [], "b": [{"nope": 1}], "$or": [{}, {"c": {}}]})
    assert error.message.count('rule "rule": ') == 4
    assert error.path == ("a",)
    assert [problem.path[:2] for problem in error.problems] == [
        ("rule", "a"),
        ("rule", "b"),
        ("rule", "$or"),
        ("rule", "$or"),
    ]


def test_a_pattern_error_has_every_problem_of_every_rule() -> None:
    with pytest.raises(PatternError) as caught:
        Matcher({f"r{at}": {"a": [], "b": [1], "c": [{"nope": 1}]} for at in range(60)})
    error = caught.value
    assert len(error.problems) == 120
    assert (error.rule, error.path) == ("r0", ("a",))
    assert (error.problems[0].path, error.problems[119].path) == (("r0", "a"), ("r59", "c", 0, "nope"))
    assert str(error.problems[0]).startswith("r0.a: an empty list matches nothing")
    assert error.message.endswith("and 20 more problems")
    for change in (lambda: Matcher().add("x", {"a": []}), lambda: Matcher({"x": {}}).update("x", {"a": []})):
        with pytest.raises(PatternError) as caught:
            change()
        assert [problem.path for problem in caught.value.problems] == [("x", "a")]


def test_endless_patterns_are_errors() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "too deep" in pattern_error({"a": endless}).message
    both: list[Any] = []
    both += [both, both]
    assert "too deep" in pattern_error({"a": both}).message
    loop: dict[str, Any] = {}
    loop["a"] = loop
    assert "deep" in pattern_error(loop).message
    deep: dict[str, Any] = {"a": [1]}
    for _ in range(100_000):
        deep = {"a": deep}
    assert "deep" in pattern_error(deep).message
    while deep["a"] != [1]:  # Deeper than the interpreter likes to free at once.
        deep = deep["a"]


def test_one_object_in_many_places_is_bounded() -> None:
    shared: dict[str, Any] = {"x": [1]}
    for _ in range(60):
        shared = {"a": shared, "b": shared}
    assert "at most" in pattern_error(shared).message
    tests: list[Any] = [1]
    for _ in range(60):
        tests = [tests, tests]
    assert "at most" in pattern_error({"a": tests}).message


# The classes.


def test_every_code_has_a_status() -> None:
    for code, status in STATUS.items():
        assert WaypostError(code, "m").status == status
        assert 400 <= status <= 599
    assert WaypostError("no_route", "m", 418).status == 418
    with pytest.raises(KeyError):
        WaypostError("nonsense", "m")


def one_of_each() -> list[WaypostError]:
    refused = WaypostError("method_not_allowed", "POST only", 418)
    refused.allow, refused.dialect, refused.message_id = "POST", "openai", "m1"
    return [
        refused,
        EnvelopeError("invalid_envelope", "bad", 3, "kind"),
        UpstreamError("upstream_timeout", "late", retryable=True),
        PatternError("bad", "rule", ("a", 0), [Problem(("rule", "a", 0), "bad")]),
        StoreError("store_full", "no room"),
        ConfigError([Problem(("routes", 0), "bad", "w.yaml", 3, 4)]),
    ]


@pytest.mark.parametrize("error", one_of_each(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickle_and_copy_with_all_that_they_carry(error: WaypostError, protocol: int) -> None:
    for other in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301
        assert type(other) is type(error)
        assert (vars(other), other.args, str(other)) == (vars(error), error.args, str(error))


def test_errors_of_the_extension_survive_pickle() -> None:
    with pytest.raises(EnvelopeError) as caught:
        Matcher().first(b"{")
    other = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (other.code, other.offset, other.status) == ("invalid_json", 1, 400)


def test_the_reader_blames_the_endpoint() -> None:
    reader = _native.ResponseReader("GET")
    with pytest.raises(UpstreamError) as caught:
        reader.feed(b"SSH-2.0-x\r\n")
    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("upstream_protocol", 502, False)


def test_a_config_error_has_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        _native.RouteTable(routes=[{"name": "a", "match": {"x": ["1"]}}, {"nam": "b"}, 5])  # type: ignore[list-item]
    error = caught.value
    assert (error.code, error.status) == ("invalid_config", 500)
    assert [problem.path for problem in error.problems] == [
        ("routes", 0, "match", "x"),
        ("routes", 1, "nam"),
        ("routes", 1, "name"),
        ("routes", 2),
    ]
    assert all(problem.message and not problem.file and problem.line == 0 for problem in error.problems)
    assert "routes[1].nam: unknown key `nam`" in str(error)


def test_problems_of_routes_come_in_the_order_of_their_places() -> None:
    routes = [{"match": {"kind": "x"}, "to": 5, "name": "a"}, {"to": 5, "match": {"kind": "x"}, "name": "a"}]
    with pytest.raises(ConfigError) as caught:
        _native.RouteTable(iter(routes))
    assert [problem.path for problem in caught.value.problems] == [
        ("routes", 0, "match", "kind"),
        ("routes", 0, "to"),
        ("routes", 1, "to"),
        ("routes", 1, "match", "kind"),
        ("routes", 1, "name"),
    ]
