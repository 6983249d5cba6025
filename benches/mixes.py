"""Rules of one kind of predicate each, and documents about their subjects: what `scale` measures."""

from __future__ import annotations

import ipaddress
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benches.corpus import envelope, pattern

__all__ = ["MIXES", "POPULARITIES", "REALISTIC", "Mix", "document", "documents"]

_SEED = 20240301
_SIZE = 1_000
_FIRST_NET = int(ipaddress.IPv4Address("10.0.0.0"))

Fields = dict[str, Any]


@dataclass(frozen=True)
class Mix:
    """One rule a subject. A document about a subject matches that rule and no other."""

    pattern: Callable[[int], Fields]
    fields: Callable[[int], Fields]
    """What a document about a subject has, beside what every envelope has."""
    refused: Fields | None = None
    """With these fields it matches no rule. `None`: only a document about a subject without a rule does not."""


def _address(subject: int, host: int) -> str:
    return str(ipaddress.IPv4Address(_FIRST_NET + subject * 256 + host))


REALISTIC = "realistic"

MIXES: dict[str, Mix] = {
    "exact": Mix(
        lambda subject: {"kind": ["model"], "tenant": [f"tenant-{subject}"]},
        lambda _subject: {},
    ),
    "prefix": Mix(
        lambda subject: {"topic": [{"prefix": f"alerts/{subject}/"}]},
        lambda subject: {"topic": f"alerts/{subject}/disk"},
    ),
    "wildcard": Mix(
        lambda subject: {"agent": [{"wildcard": f"team-{subject}/*/prod-*"}]},
        lambda subject: {"agent": f"team-{subject}/eu/prod-7"},
    ),
    "wildcard, all begin alike": Mix(
        lambda subject: {"agent": [{"wildcard": f"org/*/team-{subject}/*"}]},
        lambda subject: {"agent": f"org/eu/team-{subject}/bot-7"},
    ),
    "numeric": Mix(
        lambda subject: {"tokens": [{"numeric": [">=", 10 * subject, "<", 10 * subject + 10]}]},
        lambda subject: {"tokens": 10 * subject + 3},
    ),
    "CIDR": Mix(
        lambda subject: {"address": [{"cidr": f"{_address(subject, 0)}/24"}]},
        lambda subject: {"address": _address(subject, 77)},
    ),
    "anything-but": Mix(
        lambda subject: {"task": [f"task-{subject}"], "model": [{"anything-but": ["internal", "blocked"]}]},
        lambda _subject: {},
        refused={"model": "blocked"},
    ),
    REALISTIC: Mix(pattern, lambda _subject: {}),
}
"""By name. The realistic one has eight shapes in turn, of all predicates but CIDR."""


def _uniform(count: int, number: int, choose: random.Random) -> list[int]:
    return choose.choices(range(count), k=number)


def _zipf(count: int, number: int, choose: random.Random) -> list[int]:
    """The most popular is twice as popular as the second, three times as the third; anywhere among the rules."""
    subjects = list(range(count))
    choose.shuffle(subjects)
    weights = itertools.accumulate(1 / (rank + 1) for rank in range(count))
    return choose.choices(subjects, cum_weights=list(weights), k=number)


POPULARITIES: dict[str, Callable[[int, int, random.Random], list[int]]] = {"uniform": _uniform, "Zipf": _zipf}
"""How often each of `count` subjects occurs in `number` documents."""


def document(mix: Mix, subject: int, *, refused: bool = False) -> bytes:
    """One of 1 KB about a subject; with `refused`, one that the subject's rule refuses."""
    fields = {**mix.fields(subject), **(mix.refused or {})} if refused else mix.fields(subject)
    return envelope(_SIZE, subject=subject, fields=fields)


def documents(mix: Mix, count: int, number: int, *, popularity: str, hit: bool) -> list[tuple[bytes, str | None]]:
    """`number` documents for a matcher of `count` rules, each with the rule that it matches.

    Those of a miss are about subjects without a rule, or as much like a hit as can be (`Mix.refused`).
    """
    subjects = POPULARITIES[popularity](count, number, random.Random(f"{_SEED} {count} {popularity}"))
    if hit:
        return [(document(mix, subject), f"rule-{subject}") for subject in subjects]
    if mix.refused:
        return [(document(mix, subject, refused=True), None) for subject in subjects]
    return [(document(mix, subject + count), None) for subject in subjects]
