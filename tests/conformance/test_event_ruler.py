"""Rules and events against the recorded verdicts of Event Ruler, and the table of where the two differ.

`event_ruler/record.py` says how the recording is made, and compares more pairs with a live Event Ruler.
"""

from __future__ import annotations

import decimal
import json
from pathlib import Path
from typing import Any

import pytest
from waypost import EnvelopeError, Matcher, PatternError

from .event_ruler.differences import BAD_EVENT, BAD_RULE, DIFFERENCES, MATCH, NO_MATCH, Difference, Verdict

RECORDING = Path(__file__).parent / "event_ruler" / "recorded.jsonl"
GROUPS: list[dict[str, Any]] = [json.loads(line) for line in RECORDING.read_text(encoding="utf-8").splitlines()]


def pattern_of(rule: str) -> Any:
    return json.loads(rule, parse_float=decimal.Decimal)


def patterns_of(group: dict[str, Any]) -> dict[str, Any]:
    return {str(at): pattern_of(rule) for at, rule in enumerate(group["rules"])}


def test_the_recording_is_large_and_mixed() -> None:
    pairs = sum(len(group["rules"]) * len(group["events"]) for group in GROUPS)
    matched = sum(len(found) for group in GROUPS for found in group["matched"])
    assert pairs >= 9000
    assert 0.2 < matched / pairs < 0.7


@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_each_rule_by_itself(number: int) -> None:
    group = GROUPS[number]
    for name, pattern in patterns_of(group).items():
        matcher = Matcher({name: pattern})
        for event, matched in zip(group["events"], group["matched"], strict=True):
            expected = int(name) in matched
            assert (matcher.matches(event) == [name]) == expected, (group["rules"][int(name)], event)
            assert matcher.explain(event).verdicts[0].matched == expected


@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_the_rules_of_a_group_together(number: int) -> None:
    group = GROUPS[number]
    matcher = Matcher(patterns_of(group))
    for event, matched in zip(group["events"], group["matched"], strict=True):
        assert matcher.matches(event) == [str(at) for at in matched], event
        assert matcher.first(event) == (str(matched[0]) if matched else None)


def test_all_rules_together() -> None:
    """More than a thousand rules in one matcher, so that every part of the index is used."""
    rules = {f"{at}/{name}": rule for at, group in enumerate(GROUPS) for name, rule in patterns_of(group).items()}
    matcher = Matcher(rules)
    assert len(matcher) > 1000
    for at, group in enumerate(GROUPS):
        for event, matched in zip(group["events"], group["matched"], strict=True):
            found = matcher.matches(event)
            assert matcher.first(event) == (found[0] if found else None)
            own = [name.partition("/")[2] for name in found if name.startswith(f"{at}/")]
            assert own == [str(rule) for rule in matched], event


def ours(difference: Difference) -> Verdict:
    try:
        matcher = Matcher({"rule": pattern_of(difference.rule)})
    except PatternError:
        return BAD_RULE
    try:
        return MATCH if matcher.matches(difference.event) else NO_MATCH
    except EnvelopeError:
        return BAD_EVENT


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: f"{each.name}: {each.rule} on {each.event}")
def test_differences(difference: Difference) -> None:
    assert ours(difference) == difference.ours
