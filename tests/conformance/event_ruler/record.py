"""Compare Waypost with Event Ruler, and record Event Ruler's verdicts for `test_event_ruler.py`.

    python tests/conformance/event_ruler/record.py record           # writes recorded.jsonl anew (`make record-ruler`)
    python tests/conformance/event_ruler/record.py compare 7 2000   # 2,000 groups of the seed 7, against Waypost

Needs a JDK and Maven; the version of Event Ruler is pinned in `pom.xml`. Recording is deterministic. (With JDK 17:
Event Ruler cannot compare doubles that the JDK does not write in their shortest form, and JDK 19 does for more.)
A line of the recording is one group: the texts of its rules and events, and for every event the rules that match it.
Those are what Event Ruler says of a rule's pieces, see `ruler.py`; how often it says something else of the rule as it
is written, alone or beside the others, is printed.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys

from differences import DIFFERENCES
from generate import groups
from ruler import HERE, EventRuler, Verdicts
from waypost import Matcher

RECORDING = HERE / "recorded.jsonl"
SEED = "waypost"
GROUPS = 150


def contradicted(verdicts: Verdicts) -> int:
    """How many rules as written match otherwise than their pieces. Not the same in every run of Event Ruler."""
    written = zip(verdicts.alone, verdicts.together, verdicts.pieces, strict=True)
    return sum(len(((alone or set()) ^ pieces) | ((together or set()) ^ pieces)) for alone, together, pieces in written)


def record() -> None:
    """Write the recording, and hold the table of differences to what Event Ruler says."""
    lines = []
    pairs = matched = doubtful = 0
    with EventRuler() as ruler:
        for difference in DIFFERENCES:
            said = verdict(ruler.group([difference.rule], [difference.event], pieces=False))
            if said != difference.theirs:
                sys.exit(f"{difference.name}: Event Ruler says {said!r}, the table {difference.theirs!r}")
        for group in groups(SEED, GROUPS):
            verdicts = ruler.group(group.rules, group.events)
            if verdicts.refused:  # It fails on some: the same suffix of any case twice, with a character of many bytes.
                group.rules = [rule for at, rule in enumerate(group.rules) if at not in verdicts.refused]
                verdicts = ruler.group(group.rules, group.events)
            line = {
                "rules": group.rules,
                "events": group.events,
                "matched": [sorted(found) for found in verdicts.pieces],
            }
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
            pairs += len(group.rules) * len(group.events)
            matched += sum(map(len, verdicts.pieces))
            doubtful += contradicted(verdicts)
    RECORDING.write_text("".join(lines), encoding="utf-8")
    print(f"{pairs} pairs, {matched} match, {doubtful} in which Event Ruler contradicts itself")


def verdict(verdicts: Verdicts) -> str:
    """Of one rule and one event, in the words of the table."""
    if verdicts.refused:
        return "bad rule"
    [found] = verdicts.alone
    return "bad event" if found is None else "match" if found else "no match"


def compare(seed: str, count: int) -> None:
    """Print every pair on which the two differ, and what was tried."""
    counts: collections.Counter[str] = collections.Counter()
    tried: collections.Counter[str] = collections.Counter()
    hits: collections.Counter[str] = collections.Counter()
    with EventRuler() as ruler:
        for group in groups(seed, count):
            verdicts = ruler.group(group.rules, group.events)
            for at, message in verdicts.refused.items():
                counts["refused"] += 1
                print("refused", message, group.rules[at], sep="\n  ")
            patterns = {str(at): json.loads(rule) for at, rule in enumerate(group.rules) if at not in verdicts.refused}
            alone = {name: Matcher({name: pattern}) for name, pattern in patterns.items()}
            together = Matcher(patterns)
            for at, event in enumerate(group.events):
                expected = verdicts.pieces[at]
                ours = {int(name) for name in together.matches(event)}
                single = {int(name) for name, matcher in alone.items() if matcher.matches(event)}
                for rule in map(int, patterns):
                    counts["pairs"] += 1
                    counts["matches"] += rule in expected
                    for feature in group.features[rule]:
                        tried[feature] += 1
                        hits[feature] += rule in expected
                counts["by element"] += len(verdicts.combined[at] ^ expected)
                counts["contradicts itself alone"] += len((verdicts.alone[at] or set()) ^ verdicts.combined[at])
                counts["contradicts itself together"] += len(
                    (verdicts.alone[at] or set()) ^ (verdicts.together[at] or set())
                )
                for rule in sorted((ours ^ expected) | (single ^ expected)):
                    counts["DIFFERENT"] += 1
                    print(
                        f"waypost {rule in single}, beside others {rule in ours}, Event Ruler {rule in expected}",
                        group.rules[rule],
                        event,
                        sep="\n  ",
                    )
    for feature, number in sorted(tried.items()):
        print(f"{feature:36}{number:9}{hits[feature] / number:6.0%}")
    print(dict(counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("record")
    comparing = commands.add_parser("compare")
    comparing.add_argument("seed")
    comparing.add_argument("count", type=int)
    args = parser.parse_args()
    if args.command == "record":
        record()
    else:
        compare(args.seed, args.count)


if __name__ == "__main__":
    main()
