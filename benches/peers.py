"""What one would take instead of an index: the rules of `corpus.rules`, tried one after the other.

Each peer is a function of the number of rules that returns the name of the first rule that matches a document. They ask
the same of the documents of the benches, not of every document: none of them looks into arrays where a scalar is
usual, or notices a key that is there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import orjson
from waypost import Matcher

from benches.corpus import rules

try:
    import cel
    import rule_engine
except ImportError as error:  # requirements/dev.txt has both, but not every platform may
    MISSING: str | None = f"{error}: neither common-expression-language nor rule-engine was measured"
else:
    MISSING = None

__all__ = ["MISSING", "PEERS", "Peer", "versions"]

First = Callable[[bytes], str | None]
Peer = Callable[[int], First]
Test = Callable[[dict[str, Any]], bool]

# The shapes of `corpus.pattern`, in the same order.

_PYTHON: tuple[Callable[[int], Test], ...] = (
    lambda n: lambda m, tenant=f"tenant-{n}": m.get("kind") == "model" and m.get("tenant") == tenant,
    lambda n: lambda m, tenant=f"tenant-{n}": m.get("tenant") == tenant and m.get("model", "").startswith("llama-"),
    lambda n: lambda m, tenant=f"tenant-{n}": m.get("tenant") == tenant and m.get("priority", -1) >= 5,
    lambda n: (
        lambda m, agent=f"agent-{n}-": m.get("kind") in ("model", "query") and m.get("agent", "").startswith(agent)
    ),
    lambda n: (
        lambda m, team=f"team-{n}": m["labels"].get("region", "").endswith("west-1") and m["labels"].get("team") == team
    ),
    lambda n: lambda m, task=f"task-{n}": m.get("task") == task and m.get("tenant") not in ("internal", "blocked"),
    lambda n: (
        lambda m, ref=f"mem://{n}/": any(c["type"] == "memory" and c["ref"].startswith(ref) for c in m["context"])
    ),
    lambda n: (
        lambda m, tenants=(f"tenant-{n}", f"tenant-{n}-eu"): (
            m.get("tenant") in tenants and (m.get("priority", -1) > 6 or m.get("tool") == "find")
        )
    ),
)

_CEL = (
    'm.kind == "model" && m.tenant == "tenant-{n}"',
    'm.tenant == "tenant-{n}" && m.model.startsWith("llama-")',
    'm.tenant == "tenant-{n}" && m.priority >= 5',
    'm.kind in ["model", "query"] && m.agent.startsWith("agent-{n}-")',
    'm.labels.region.endsWith("west-1") && m.labels.team == "team-{n}"',
    'm.task == "task-{n}" && !(m.tenant in ["internal", "blocked"])',
    'm.context.exists(c, c.type == "memory" && c.ref.startsWith("mem://{n}/"))',
    'm.tenant in ["tenant-{n}", "tenant-{n}-eu"] && (m.priority > 6 || (has(m.tool) && m.tool == "find"))',
)

_RULE_ENGINE = (
    'kind == "model" and tenant == "tenant-{n}"',
    'tenant == "tenant-{n}" and model.starts_with("llama-")',
    'tenant == "tenant-{n}" and priority >= 5',
    'kind in ["model", "query"] and agent.starts_with("agent-{n}-")',
    'labels["region"].ends_with("west-1") and labels["team"] == "team-{n}"',
    'task == "task-{n}" and not (tenant in ["internal", "blocked"])',
    '$any([c["type"] == "memory" and c["ref"].starts_with("mem://{n}/") for c in context])',
    'tenant in ["tenant-{n}", "tenant-{n}-eu"] and (priority > 6 or tool == "find")',
)


def _matchers(count: int) -> First:
    alone = [Matcher({name: pattern}).first for name, pattern in rules(count).items()]

    def first(body: bytes) -> str | None:
        for one in alone:
            name = one(body)
            if name is not None:
                return name
        return None

    return first


def _in_turn(tests: Sequence[tuple[str, Callable[[Any], Any]]], read: Callable[[bytes], Any]) -> First:
    """Tries one test after the other on what `read` makes of a body."""

    def first(body: bytes) -> str | None:
        document = read(body)
        for name, test in tests:
            if test(document):
                return name
        return None

    return first


def _loop(count: int) -> First:
    tests = [(f"rule-{n}", _PYTHON[n % len(_PYTHON)](n)) for n in range(count)]

    return _in_turn(tests, orjson.loads)


def _cel(count: int) -> First:
    programs = [(f"rule-{n}", cel.compile(_CEL[n % len(_CEL)].replace("{n}", str(n))).execute) for n in range(count)]

    return _in_turn(programs, lambda body: cel.Context({"m": orjson.loads(body)}))


def _rule_engine(count: int) -> First:
    context = rule_engine.Context(default_value=None, mapping_attribute_lookup=False)
    texts = [_RULE_ENGINE[n % len(_RULE_ENGINE)].replace("{n}", str(n)) for n in range(count)]
    tests = [(f"rule-{n}", rule_engine.Rule(text, context=context).matches) for n, text in enumerate(texts)]

    return _in_turn(tests, orjson.loads)


PEERS: dict[str, Peer] = {
    "a Matcher for each rule": _matchers,
    "orjson and a loop in Python": _loop,
}
if MISSING is None:
    PEERS |= {"common-expression-language": _cel, "rule-engine": _rule_engine}


def versions() -> str:
    """Of the peers that are packages."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("common-expression-language", "rule-engine"))
