"""Where Waypost and Event Ruler differ: each a rule and an event, and what both say.

Ours is held by `test_event_ruler.py`, theirs whenever `record.py` records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["match", "no match", "bad rule", "bad event"]

MATCH: Verdict = "match"
NO_MATCH: Verdict = "no match"
BAD_RULE: Verdict = "bad rule"
BAD_EVENT: Verdict = "bad event"


@dataclass(frozen=True)
class Difference:
    name: str
    rule: str
    event: str
    ours: Verdict
    theirs: Verdict


def _of(name: str, *cases: tuple[str, str, Verdict, Verdict]) -> list[Difference]:
    return [Difference(name, *case) for case in cases]


MEANT = [
    *_of(
        "anything-but takes null, booleans and mixed lists too",
        ('{"a": [{"anything-but": null}]}', '{"a": 1}', MATCH, BAD_RULE),
        ('{"a": [{"anything-but": null}]}', '{"a": null}', NO_MATCH, BAD_RULE),
        ('{"a": [{"anything-but": true}]}', '{"a": "true"}', MATCH, BAD_RULE),
        ('{"a": [{"anything-but": [1, "x", null]}]}', '{"a": 2}', MATCH, BAD_RULE),
        ('{"a": [{"anything-but": [1, "x", null]}]}', '{"a": ["x", 1.0]}', NO_MATCH, BAD_RULE),
    ),
    *_of(
        "a path beside $or and inside it must hold twice: Event Ruler lets the later one win",
        ('{"a": [{"prefix": "x"}], "$or": [{"a": [{"suffix": "y"}]}, {"b": [1]}]}', '{"a": "zy"}', NO_MATCH, MATCH),
        ('{"$or": [{"a": [{"suffix": "y"}]}, {"b": [1]}], "a": [{"prefix": "x"}]}', '{"a": "xz"}', NO_MATCH, MATCH),
        ('{"a": [{"prefix": "x"}], "$or": [{"a": [{"suffix": "y"}]}, {"b": [1]}]}', '{"a": "xy"}', MATCH, MATCH),
    ),
    *_of(
        "$or is always the operator: where it is malformed, Event Ruler takes it for a field",
        ('{"$or": ["x"]}', '{"$or": "x"}', BAD_RULE, MATCH),
        ('{"$or": [1, 2]}', '{"$or": 1}', BAD_RULE, MATCH),
        ('{"$or": {"a": [1]}}', '{"$or": {"a": 1}}', BAD_RULE, MATCH),
    ),
    *_of(
        "$or may have one branch, and fields named like predicates",
        ('{"$or": [{"a": [1]}]}', '{"a": 1}', MATCH, BAD_RULE),
        ('{"$or": [{"prefix": ["x"]}, {"b": [1]}]}', '{"prefix": "x"}', MATCH, BAD_RULE),
    ),
    *_of(
        "numbers compare exactly, also those that a double cannot hold",
        ('{"a": [{"numeric": [">", 9007199254740992]}]}', '{"a": 9007199254740993}', MATCH, NO_MATCH),
        ('{"a": [9007199254740993]}', '{"a": 9007199254740993.0}', MATCH, NO_MATCH),
        ('{"a": [{"numeric": [">", 1]}]}', '{"a": 1e400}', MATCH, NO_MATCH),
        ('{"a": [{"numeric": [">", 1]}]}', '{"a": 1e999999999}', MATCH, NO_MATCH),
        ('{"a": [{"numeric": ["<", 1e400]}]}', '{"a": 1}', MATCH, BAD_RULE),
        ('{"a": [{"numeric": [">", 0.1]}]}', '{"a": 0.1000000000000000055511151231257827}', MATCH, NO_MATCH),
        ('{"a": [{"anything-but": 9007199254740993}]}', '{"a": 9007199254740993}', NO_MATCH, BAD_RULE),
        ('{"a": [{"numeric": [">=", 1.7976931348623157e308]}]}', '{"a": 1.7976931348623157e308}', MATCH, BAD_RULE),
    ),
    *_of(
        "case folds as Unicode does, one character to one; Event Ruler takes upper and lower case of a UTF-16 unit",
        ('{"a": [{"equals-ignore-case": "ΣΊΣΥΦΟΣ"}]}', '{"a": "σίσυφος"}', MATCH, NO_MATCH),
        ('{"a": [{"equals-ignore-case": "k"}]}', '{"a": "\\u212a"}', MATCH, NO_MATCH),
        ('{"a": [{"equals-ignore-case": "straße"}]}', '{"a": "STRASSE"}', NO_MATCH, MATCH),
        ('{"a": [{"equals-ignore-case": "İ"}]}', '{"a": "i\\u0307"}', NO_MATCH, MATCH),
        ('{"a": [{"equals-ignore-case": "\\u0131"}]}', '{"a": "I"}', NO_MATCH, MATCH),
        ('{"a": [{"equals-ignore-case": "𐐀"}]}', '{"a": "𐐨"}', MATCH, NO_MATCH),
        ('{"a": [{"equals-ignore-case": "😀"}]}', '{"a": "😀"}', MATCH, NO_MATCH),
        ('{"a": [{"suffix": {"equals-ignore-case": "😀"}}]}', '{"a": "x😀"}', MATCH, NO_MATCH),
    ),
    *_of(
        "IPv4 and IPv6 never mix: Event Ruler compares the digits that they begin with",
        ('{"a": [{"cidr": "165.180.175.15/8"}]}', '{"a": "a573:b294::1"}', NO_MATCH, MATCH),
        ('{"a": [{"cidr": "a44f:895f::/5"}]}', '{"a": "165.137.130.162"}', NO_MATCH, MATCH),
        ('{"a": [{"cidr": "10.0.0.0/8"}]}', '{"a": "::ffff:a00:1"}', NO_MATCH, MATCH),
        ('{"a": [{"cidr": "::ffff:0:0/96"}]}', '{"a": "::ffff:a00:1"}', MATCH, BAD_RULE),
        ('{"a": [{"cidr": "::ffff:0:0/96"}]}', '{"a": "10.0.0.1"}', NO_MATCH, BAD_RULE),
    ),
    *_of(
        "addresses are strict",
        ('{"a": [{"cidr": "10.0.0.0/8"}]}', '{"a": "010.0.0.1"}', NO_MATCH, MATCH),
        ('{"a": [{"cidr": "10.0.0.0/8"}]}', '{"a": "10.0.0.001"}', NO_MATCH, MATCH),
        ('{"a": [{"cidr": "2001:db8::/32"}]}', '{"a": "2001:db8:0:0:0:0:0:00001"}', NO_MATCH, MATCH),
        ('{"a": [{"cidr": "010.0.0.0/8"}]}', '{"a": "10.0.0.1"}', BAD_RULE, MATCH),
        ('{"a": [{"cidr": "10.0.0.0/08"}]}', '{"a": "10.0.0.1"}', BAD_RULE, MATCH),
        ('{"a": [{"cidr": "10.0.0.0/+8"}]}', '{"a": "10.0.0.1"}', BAD_RULE, MATCH),
    ),
    *_of(
        "blocks of one address, and IPv6 that ends like IPv4",
        ('{"a": [{"cidr": "10.0.0.1/32"}]}', '{"a": "10.0.0.1"}', MATCH, BAD_RULE),
        ('{"a": [{"cidr": "::1/128"}]}', '{"a": "::1"}', MATCH, BAD_RULE),
        ('{"a": [{"cidr": "2001:db8::/32"}]}', '{"a": "2001:db8::1.2.3.4"}', MATCH, NO_MATCH),
        ('{"a": [{"cidr": "2001:db8::1.2.3.4/64"}]}', '{"a": "2001:db8::1"}', MATCH, BAD_RULE),
    ),
    *_of(
        "a string equals itself only: Event Ruler compares what looks like an address as an address",
        ('{"a": ["10.0.0.1"]}', '{"a": "010.0.0.1"}', NO_MATCH, MATCH),
        ('{"a": ["::1"]}', '{"a": "0:0:0:0:0:0:0:1"}', NO_MATCH, MATCH),
        ('{"a": ["2001:DB8::1"]}', '{"a": "2001:db8::1"}', NO_MATCH, MATCH),
        ('{"a": ["::ffff:a00:1"]}', '{"a": "10.0.0.1"}', NO_MATCH, MATCH),
    ),
    *_of(
        "a key with a dot in it is that key; an empty key is one too",
        ('{"a.b": [1]}', '{"a": {"b": 1}}', NO_MATCH, MATCH),
        ('{"a": {"b": [1]}}', '{"a.b": 1}', NO_MATCH, MATCH),
        ('{"a.b": [{"exists": false}]}', '{"a": {"b": 1}}', MATCH, NO_MATCH),
        ('{"a": {"": [1]}}', '{"a": {"": 1}}', MATCH, NO_MATCH),
    ),
    *_of(
        "a document is checked whole: Event Ruler stops at the end of the object, and takes either copy of a key",
        ('{"a": [1]}', '{"a": 1, "a": 2}', BAD_EVENT, MATCH),
        ('{"a": [1]}', '{"a": 2, "a": 1}', BAD_EVENT, MATCH),
        ('{"a": [1]}', '{"a": 1, "b": {"c": 1, "\\u0063": 2}}', BAD_EVENT, MATCH),
        ('{"a": [1]}', '{"a": 1} x', BAD_EVENT, MATCH),
        ('{"a": [1]}', '{"a": 1}}', BAD_EVENT, MATCH),
        ('{"a": [1]}', '{"a": 1, "b": "\\ud800"}', BAD_EVENT, MATCH),
        ('{"a": ["\\ud83d"]}', '{"a": "x"}', BAD_RULE, NO_MATCH),
    ),
    *_of(
        "a document that is no object has no fields",
        ('{"a": [1]}', '[{"a": 1}]', NO_MATCH, BAD_EVENT),
        ('{"a": [{"exists": false}]}', "1", MATCH, BAD_EVENT),
    ),
    *_of(
        "exists: false looks at the whole document: Event Ruler does so for the path that sorts first only",
        (
            '{"c": {"t": ["m"], "r": [{"exists": false}]}}',
            '{"c": [{"t": "m"}, {"t": "d", "r": 1}]}',
            NO_MATCH,
            NO_MATCH,
        ),
        ('{"c": {"a": ["m"], "r": [{"exists": false}]}}', '{"c": [{"a": "m"}, {"a": "d", "r": 1}]}', NO_MATCH, MATCH),
    ),
    *_of(
        "what rules may look like",
        ('{"a": 1}', '{"a": 1}', MATCH, BAD_RULE),
        ("{}", '{"a": 1}', MATCH, BAD_RULE),
        ('{"a": [{"regex": "x+"}]}', '{"a": "xx"}', MATCH, BAD_RULE),
        ('{"a": [{"exactly": "x"}]}', '{"a": "x"}', BAD_RULE, MATCH),
        ('{"a": [{"anything-but": {"wildcard": []}}]}', '{"a": "x"}', BAD_RULE, BAD_RULE),
        ('{"a": {"anything-but": ["x"]}}', '{"a": {"anything-but": "x"}}', BAD_RULE, MATCH),
        ('{"a": {"numeric": [">", 1]}}', '{"a": {"numeric": ">"}}', BAD_RULE, MATCH),
        (
            '{"a": {"prefix": {"equals-ignore-case": ["x"]}}}',
            '{"a": {"prefix": {"equals-ignore-case": "x"}}}',
            BAD_RULE,
            MATCH,
        ),
    ),
]
"""Where Waypost is meant to be otherwise."""

DEFECTS = [
    *_of(
        "a quote at the open end of an affix is taken for the one that ends the string",
        ('{"a": [{"prefix": "x\\""}]}', '{"a": "x"}', NO_MATCH, MATCH),
        ('{"a": [{"suffix": "\\"x"}]}', '{"a": "x"}', NO_MATCH, MATCH),
        ('{"a": [{"anything-but": {"suffix": "\\"x"}}]}', '{"a": "x"}', MATCH, NO_MATCH),
    ),
    *_of(
        "a wide block takes numbers, whose digits look like those of an address",
        ('{"a": [{"cidr": "0.0.0.0/0"}]}', '{"a": 2}', NO_MATCH, MATCH),
        ('{"a": [{"cidr": "::/1"}]}', '{"a": 2.5}', NO_MATCH, MATCH),
    ),
    *_of(
        "the largest double is no bound",
        ('{"a": [{"numeric": [">", 1.7976931348623157e308]}]}', '{"a": 1}', NO_MATCH, BAD_RULE),
        ('{"a": [{"numeric": ["<", -1.7976931348623157e308]}]}', '{"a": 1}', NO_MATCH, BAD_RULE),
    ),
    *_of(
        "alternatives get in each other's way",
        ('{"a": [{"anything-but": {"wildcard": "*b*"}}, {"equals-ignore-case": "b"}]}', '{"a": "bz"}', NO_MATCH, MATCH),
        (
            '{"a": [{"wildcard": "*\\\\\\\\*\\\\\\\\"}, {"equals-ignore-case": "a\\\\b"}]}',
            '{"a": "\\\\A"}',
            NO_MATCH,
            MATCH,
        ),
    ),
    *_of(
        "a branch of $or that shares an alternative with an earlier one loses its others",
        ('{"$or": [{"b": ["x"]}, {"b": ["x", {"equals-ignore-case": "b"}]}]}', '{"b": "b"}', MATCH, NO_MATCH),
        ('{"$or": [{"b": ["x"]}, {"b": [{"equals-ignore-case": "b"}]}]}', '{"b": "b"}', MATCH, MATCH),
    ),
]
"""Where Event Ruler does not do what it says."""

DIFFERENCES = MEANT + DEFECTS
