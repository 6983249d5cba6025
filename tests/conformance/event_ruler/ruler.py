"""Event Ruler's verdicts, asked for in three ways.

Event Ruler compiles all alternatives of all rules into one automaton, and there they sometimes get in each other's
way: a rule may match, or not, because of what else is in the machine (`[{"anything-but": {"wildcard": "*b*"}},
{"equals-ignore-case": "b"}]` takes "bz"; a branch of `$or` that shares a value with an earlier one loses its others).
So each rule is also asked for in pieces that mean the same by the definition of the language:

- a list of alternatives and `$or` match where one of them does: one rule for each combination of them;
- a conjunction with `exists: false` matches where the rest of it does, and there is no such field.

What the pieces say together is what Waypost is held to. Where the rule as written says something else, Event Ruler
contradicts itself (from run to run too: it depends on the order of sets), or means `exists: false` by element (see
`differences.py`).
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

HERE = Path(__file__).parent
BUILT = HERE.parents[2] / "target" / "event-ruler"

Fields: TypeAlias = tuple[tuple[tuple[str, ...], str], ...]
"""A conjunction: paths, each with one predicate as JSON text."""

ABSENT = '{"exists": false}'


class _Number(float):
    """A number that keeps its text."""

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


def _written(value: Any) -> str:
    if isinstance(value, _Number):
        return value.text
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_written(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def _conjunctions(pattern: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[Fields]:
    choices: list[list[Fields]] = []
    for key, value in pattern.items():
        if key == "$or":
            choices.append([fields for branch in value for fields in _conjunctions(branch, path)])
        elif isinstance(value, dict):
            choices.append(list(_conjunctions(value, (*path, key))))
        else:
            choices.append([(((*path, key), _written(predicate)),) for predicate in value])
    for combination in itertools.product(*choices):
        yield tuple(itertools.chain.from_iterable(combination))


def _rule(fields: Fields) -> str:
    tree: dict[str, Any] = {}
    for path, predicate in fields:
        inner = tree
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = [_Raw(predicate)]
    return _unquoted(tree)


class _Raw(str):
    """JSON text."""

    __slots__ = ()


def _unquoted(value: Any) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_unquoted, value)) + "]"
    return "{" + ", ".join(f"{json.dumps(key)}: {_unquoted(item)}" for key, item in value.items()) + "}"


@dataclass
class Pieces:
    """Rules without alternatives that together mean the same as one with them."""

    combinations: list[str]
    """One for each choice of alternatives."""
    parts: list[list[str]]
    """Each of those with its absences apart: all must match."""

    @classmethod
    def of(cls, rule: str) -> Self:
        pattern = json.loads(rule, parse_int=_Number, parse_float=_Number)
        combinations, parts = [], []
        for fields in _conjunctions(pattern):
            absent = [(field,) for field in fields if field[1] == ABSENT]
            present = tuple(field for field in fields if field[1] != ABSENT)
            combinations.append(_rule(fields))
            parts.append([_rule(each) for each in ([present] if present else []) + absent])
        return cls(combinations, parts)


@dataclass
class Verdicts:
    """Of one group: for every event, the positions of the rules that match."""

    refused: dict[int, str]
    """Rules that Event Ruler cannot use, and why."""
    alone: list[set[int] | None]
    """Each rule in a machine of its own; `None` for an event that cannot be read."""
    together: list[set[int] | None]
    combined: list[set[int]]
    """By one rule for each choice of alternatives."""
    pieces: list[set[int]]
    """The same with absence apart: over the whole document."""


class EventRuler:
    """A running Java process."""

    def __init__(self) -> None:
        subprocess.run(["mvn", "--quiet", "--batch-mode", "--file", str(HERE / "pom.xml"), "compile"], check=True)
        libraries = (BUILT / "classpath").read_text(encoding="utf-8").strip()
        self._process = subprocess.Popen(
            ["java", "-XX:+UseSerialGC", "-cp", f"{BUILT / 'classes'}:{libraries}", "Verdicts"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()

    def _ask(self, rules: Iterable[str], events: Iterable[str]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"rules": list(rules), "events": list(events)}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def group(self, rules: list[str], events: list[str], *, pieces: bool = True) -> Verdicts:
        """Ask about every rule and every event, in pieces too unless told otherwise."""
        answer = self._ask(rules, events)
        refused = {at: message for at, message in enumerate(answer["refused"]) if message is not None}
        verdicts = Verdicts(
            refused,
            [None if found is None else set(found) for found in answer["alone"]],
            [None if found is None else set(found) for found in answer["together"]],
            [],
            [],
        )
        if not pieces:
            return verdicts
        made = {at: Pieces.of(rule) for at, rule in enumerate(rules) if at not in refused}
        texts = {text for each in made.values() for text in each.combinations}
        texts |= {text for each in made.values() for parts in each.parts for text in parts}
        numbered = {text: number for number, text in enumerate(sorted(texts))}
        for found in self._ask(numbered, events)["alone"]:
            holds = {text for text, number in numbered.items() if number in found}
            verdicts.combined.append({at for at, each in made.items() if not holds.isdisjoint(each.combinations)})
            verdicts.pieces.append(
                {at for at, each in made.items() if any(holds.issuperset(parts) for parts in each.parts)}
            )
        return verdicts
