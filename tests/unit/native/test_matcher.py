"""`Matcher`: what it reads, what it answers, and how its rules are changed."""

from __future__ import annotations

import collections
import decimal
import enum
import json
import sys
import threading
import types
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from waypost import EnvelopeError, Matcher, PatternError

RULES: dict[str, dict[str, Any]] = {
    "gold": {"tenant": ["acme"]},
    "big": {"size": [{"numeric": [">", 10]}]},
    "all": {},
}


class Ordered(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = items

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class Text(str):
    """A str subclass with other looks."""

    __slots__ = ()

    def __str__(self) -> str:
        return "other"

    __repr__ = __str__


class Seven(enum.IntEnum):
    SEVEN = 7

    def __str__(self) -> str:
        return "other"

    def __repr__(self) -> str:
        return "other"


class Tier(enum.StrEnum):
    GOLD = "gold"


class Ratio(float):
    def __repr__(self) -> str:
        return "other"


class Table(dict[str, Any]):
    pass


# Answers.


def test_first_and_matches_follow_declaration_order() -> None:
    matcher = Matcher(RULES)
    assert matcher.first(b'{"tenant": "acme", "size": 11}') == "gold"
    assert matcher.matches(b'{"tenant": "acme", "size": 11}') == ["gold", "big", "all"]
    assert matcher.first(b'{"tenant": "globex", "size": 11}') == "big"
    assert matcher.matches(b"{}") == ["all"]
    assert Matcher(dict(reversed(RULES.items()))).first(b'{"tenant": "acme"}') == "all"
    assert Matcher().first(b"{}") is None
    assert Matcher().matches(b"{}") == []


def test_a_name_is_one_object() -> None:
    matcher = Matcher({"a rule, long enough not to be interned by itself": {}})
    first = matcher.first(b"{}")
    assert first is not None
    assert first is matcher.first(b"{}")
    assert first is matcher.matches(b"[]")[0]
    assert first is next(iter(matcher))
    assert first is sys.intern(str(b"a rule, long enough not to be interned by itself", "ascii"))


@pytest.mark.parametrize("document", ["[]", "1", '"tenant"', "null", '[{"tenant": "acme"}]', " [ ] "])
def test_what_is_no_object_has_no_fields(document: str) -> None:
    matcher = Matcher({**RULES, "none": {"tenant": [{"exists": False}]}})
    assert matcher.matches(document) == ["all", "none"]


def test_explain_says_why_not() -> None:
    explanation = Matcher(RULES).explain(b'{"tenant": "globex", "size": 10}')
    assert explanation.route == "all"
    assert explanation.decision is None
    assert explanation.fields == {}
    gold, big, every = explanation.verdicts
    assert (gold.route, gold.matched, gold.path, gold.expected, gold.seen) == (
        "gold",
        False,
        "tenant",
        '"acme"',
        '"globex"',
    )
    assert gold.reason == 'tenant is "globex", wanted "acme"'
    assert (big.path, big.seen) == ("size", "10")
    assert (every.matched, every.path, every.expected, every.seen) == (True, None, None, None)
    missing = Matcher(RULES).explain(b"{}").verdicts[0]
    assert (missing.path, missing.seen, missing.reason) == ("tenant", None, 'tenant is missing, wanted "acme"')


# Documents.


@pytest.mark.parametrize(
    "body",
    [
        b'{"tenant": "acme"}',
        bytearray(b'{"tenant": "acme"}'),
        memoryview(b'{"tenant": "acme"}'),
        memoryview(bytearray(b'{"tenant": "acme"}')),
        memoryview(b'?{?"?t?e?n?a?n?t?"?:?"?a?c?m?e?"?}')[1::2],
        memoryview(b'}"emca":"tnanet"{')[::-1],
        memoryview(b'{"tenant":"acme"}   ').cast("I"),
        '{"tenant": "acme"}',
        '{"tenant": "acme", "é😀": "\u2028"}',
        Text('{"tenant": "acme"}'),
    ],
    ids=lambda body: type(body).__name__,
)
def test_every_type_of_document(body: bytes | bytearray | memoryview | str) -> None:
    matcher = Matcher(RULES)
    assert matcher.first(body) == "gold"
    assert matcher.matches(body) == ["gold", "all"]
    assert matcher.explain(body).route == "gold"


@pytest.mark.parametrize("body", [None, 1, {"tenant": "acme"}, ["x"], object(), [123, 125]])
def test_what_is_no_document_is_a_type_error(body: Any) -> None:
    for method in (Matcher().first, Matcher().matches, Matcher().explain):
        with pytest.raises(TypeError, match=f"bytes, bytearray, memoryview or str, not {type(body).__name__}"):
            method(body)


def test_a_released_memoryview_is_an_error() -> None:
    view = memoryview(b"{}")
    view.release()
    with pytest.raises(ValueError, match="released"):
        Matcher().first(view)


@pytest.mark.parametrize("body", ["\ud800", '{"a": "\udfff"}', "\ud83d\ude00"])
def test_half_a_surrogate_pair_in_a_str_is_no_utf8(body: str) -> None:
    with pytest.raises(EnvelopeError, match="surrogate") as caught:
        Matcher(RULES).first(body)
    assert (caught.value.code, caught.value.status) == ("invalid_utf8", 400)


def test_depth_can_be_set() -> None:
    for depth in (1, 5, 128, 1024):
        matcher = Matcher(depth=depth)
        assert matcher.first("[" * depth + "]" * depth) is None
        with pytest.raises(EnvelopeError) as caught:
            matcher.first("[" * (depth + 1) + "]" * (depth + 1))
        assert (caught.value.code, caught.value.offset) == ("too_deep", depth)
    with pytest.raises(EnvelopeError):
        Matcher().first("[" * 129 + "]" * 129)
    for depth in (0, 1025, -1):
        with pytest.raises(ValueError, match=f"depth must be from 1 to 1024, not {depth}"):
            Matcher(depth=depth)
    with pytest.raises(OverflowError):
        Matcher(depth=10**30)
    with pytest.raises(EnvelopeError, match="more than 128 objects and arrays are nested"):
        Matcher().first("[" * 1_000_000)


def test_the_last_duplicate_can_count() -> None:
    body = '{"tenant": "acme", "x": {"a": 1, "\\u0061": 2}, "tenant": "globex"}'
    with pytest.raises(EnvelopeError) as caught:
        Matcher(RULES).first(body)
    assert caught.value.code == "duplicate_key"
    last = Matcher({"a": {"tenant": ["acme"]}, "b": {"tenant": ["globex"], "x": {"a": [2]}}}, duplicate_keys="last")
    assert last.matches(body) == ["b"]
    with pytest.raises(ValueError, match='"error" or "last"'):
        Matcher(duplicate_keys="first")  # type: ignore[arg-type]


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ({"x": 7}, 7, 8),
        ({"x": [7.0]}, 7, 8),
        ({"x": (7, 9)}, 9, 8),
        ({"x": [Seven.SEVEN]}, 7, 8),
        ({"x": [Ratio(0.1)]}, 0.1, 0.2),
        ({"x": [1e22]}, 10**22, 10**22 + 1),
        ({"x": [2**53 + 1]}, 2**53 + 1, 2**53),
        ({"x": [10**4000]}, 10**4000, 10**4000 + 1),
        ({"x": [decimal.Decimal("7.0")]}, 7, 8),
        ({"x": [decimal.Decimal("1E+3")]}, 1000, 100),
        ({"x": [{"numeric": [">", decimal.Decimal("0.1")]}]}, 0.11, 0.1),
        ({"x": [True]}, True, 1),
        ({"x": [1]}, 1, True),
        ({"x": None}, None, False),
        ({"x": [Text("text")]}, "text", "other"),
        ({"x": [Tier.GOLD]}, "gold", "Tier.GOLD"),
        ({Text("x"): ["a"]}, "a", "b"),
        (Table(x=Table(y=["a"])), {"y": "a"}, {"y": "b"}),
        (Ordered({"x": Ordered({"y": ["a"]})}), {"y": "a"}, {"y": "b"}),
        (types.MappingProxyType({"x": ["a"]}), "a", "b"),
        (collections.OrderedDict(x=["a"]), "a", "b"),
        (collections.ChainMap({"x": ["a"]}, {"x": ["b"]}), "a", "b"),
    ],
)
def test_patterns_of_python_objects(pattern: Mapping[str, Any], yes: Any, no: Any) -> None:
    matcher = Matcher({"r": pattern})
    assert matcher.first(json.dumps({"x": yes})) == "r"
    assert matcher.first(json.dumps({"x": no})) is None


def test_the_mapping_of_rules_can_be_any() -> None:
    for rules in (Table(RULES), Ordered(RULES), types.MappingProxyType(RULES)):
        assert list(Matcher(rules)) == ["gold", "big", "all"]


def test_a_pattern_is_copied() -> None:
    pattern = {"tenant": ["acme"]}
    matcher = Matcher({"r": pattern})
    pattern["tenant"].append("globex")
    assert matcher.first('{"tenant": "globex"}') is None


class Editor(Ordered):
    """Changes another mapping while it is read."""

    def __init__(self, victim: dict[str, Any]) -> None:
        super().__init__({"y": ["a"]})
        self._victim = victim

    def items(self) -> Any:
        for index in range(100):
            self._victim[f"new{index}"] = ["a"]
        return super().items()


def test_a_dict_that_changes_while_it_is_read_does_no_harm() -> None:
    pattern: dict[str, Any] = {}
    pattern |= {"x": Editor(pattern), "z": ["a"]}
    assert Matcher({"r": pattern}).first('{"x": {"y": "a"}, "z": "a"}') == "r"


# Changing rules.


def test_rules_are_added_updated_and_removed() -> None:
    matcher = Matcher({"a": {"x": [1]}, "b": {"x": [1, 2]}})
    matcher.add("c", {"x": [1]})
    assert matcher.matches('{"x": 1}') == ["a", "b", "c"]
    matcher.update("a", {"x": [2]})
    assert list(matcher) == ["a", "b", "c"], "an update keeps the position"
    assert matcher.matches('{"x": 2}') == ["a", "b"]
    matcher.remove("a")
    assert matcher.matches('{"x": 2}') == ["b"]
    matcher.add("a", {"x": [2]})
    assert matcher.matches('{"x": 2}') == ["b", "a"]
    assert (len(matcher), "a" in matcher, "A" in matcher, 1 in matcher, None in matcher) == (
        3,
        True,
        False,
        False,
        False,
    )
    matcher.replace({"z": {}})
    assert (list(matcher), len(matcher), "a" in matcher) == (["z"], 1, False)
    matcher.replace({})
    assert matcher.first("{}") is None


def test_what_fails_changes_nothing() -> None:
    matcher = Matcher(RULES)
    wrong: Any
    for wrong in ({"x": []}, {"x": [object()]}, {1: ["a"]}, ["x"], None, "x", {"$or": []}):
        with pytest.raises(PatternError):
            matcher.add("new", wrong)
        with pytest.raises(PatternError):
            matcher.update("gold", wrong)
        with pytest.raises(PatternError):
            matcher.replace({"new": {}, "wrong": wrong})
    with pytest.raises(ValueError, match='rule "gold" already exists: use update'):
        matcher.add("gold", {})
    with pytest.raises(KeyError, match='there is no rule "new"'):
        matcher.update("new", {})
    with pytest.raises(KeyError, match='there is no rule "new"'):
        matcher.remove("new")
    with pytest.raises(KeyError, match='there is no rule "new"'):
        matcher.explain(b"{}", rule="new")
    for name in (1, None, b"x"):
        with pytest.raises(TypeError):
            matcher.add(name, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="patterns is a mapping of rule name to pattern, not list"):
        matcher.replace([("a", {})])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="patterns is a mapping of rule name to pattern, not list"):
        Matcher([])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a rule name is a str"):
        Matcher({1: {}})  # type: ignore[dict-item]
    assert list(matcher) == ["gold", "big", "all"]
    assert matcher.matches(b'{"tenant": "acme", "size": 11}') == ["gold", "big", "all"]


def test_an_exception_in_a_mapping_passes_through() -> None:
    class Broken(Ordered):
        def __getitem__(self, key: str) -> Any:
            raise RuntimeError("broken")

    matcher = Matcher(RULES)
    with pytest.raises(RuntimeError, match="broken"):
        matcher.add("new", Broken({"x": 1}))
    assert "new" not in matcher


def test_iteration_sees_one_state() -> None:
    matcher = Matcher(RULES)
    names = iter(matcher)
    matcher.replace({})
    assert list(names) == ["gold", "big", "all"]


def test_readers_see_the_old_rules_or_the_new_ones() -> None:
    sizes = (3, 40)
    states = [{f"{size}-{index}": {"x": [1]} for index in range(size)} for size in sizes]
    allowed = [list(state) for state in states]
    matcher = Matcher(states[0])
    stop = threading.Event()
    faults: list[object] = []
    counts = [0] * 4

    def read(reader: int) -> None:
        try:
            while not stop.is_set():
                explained = matcher.explain(b'{"x": 1}')
                seen = [matcher.matches(b'{"x": 1}'), list(matcher), [each.route for each in explained.verdicts]]
                faults.extend(names for names in seen if names not in allowed)
                if matcher.first(b'{"x": 1}') not in ("3-0", "40-0"):
                    faults.append("first")
                counts[reader] += 1
        except Exception as error:  # noqa: BLE001 - reported below
            faults.append(error)

    readers = [threading.Thread(target=read, args=(reader,)) for reader in range(len(counts))]
    for reader in readers:
        reader.start()
    turn = 0
    while min(counts) < 20 and not faults:
        turn += 1
        matcher.replace(states[turn % 2])
    stop.set()
    for reader in readers:
        reader.join()
    assert faults == []


def test_no_change_of_concurrent_writers_is_lost() -> None:
    matcher = Matcher()
    faults: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            for index in range(50):
                matcher.add(f"{writer}-{index}", {"x": [index]})
        except BaseException as error:  # noqa: BLE001 - reported below
            faults.append(error)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert faults == []
    assert set(matcher) == {f"{writer}-{index}" for writer in range(4) for index in range(50)}


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ('{"a": NaN}', "`NaN` is not a JSON value: write null or leave it out"),
        ("[Infinity]", "`Infinity` is not a JSON value"),
        ('{"a": None}', "`None` is not a JSON value: write null (at byte 6)"),
        ('{"a": True}', "write true"),
        ("[1, False]", "write false"),
        ("{\"a\": 'x'}", "`'` is not a JSON value: write strings in double quotes"),
        ('{"a": x}', "a JSON value is expected here"),
    ],
)
def test_values_of_other_languages_are_known(document: str, hint: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        Matcher().first(document)
    assert hint in caught.value.message


def test_what_was_to_be_a_document_is_one_after_dumps() -> None:
    with pytest.raises(TypeError, match=r"not dict; convert it with json\.dumps"):
        Matcher().first({"a": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not int$"):
        Matcher().first(1)  # type: ignore[arg-type]
