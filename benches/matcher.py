"""`Matcher.first` with 1,000 rules, called from Python, beside parsers given the same bytes.

`first` decides as well as reads, and like `orjson` and `json`, but unlike
`msgspec`, it validates the document to its last byte. Last, `RouteTable.decide` on messages of two dialects in turn.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import orjson
from waypost import Matcher, RouteTable

from benches.corpus import DOCUMENTS, MISS, chat, envelope, rules
from benches.report import Table, verdict
from benches.timing import each, interleaved, once

_COUNT = 1_000
_BARS = {"1 KB": 3, "8 KB": 4, "1 MB": 4, "0.9 MB multibyte": 5}
"""How many times as fast as `orjson.loads` it has to be, by document."""
_ROTATING = 4
"""How many times the level 2 cache, documents that rotate take together."""
_IN_TURN = 1.15
"""How many times as long as by itself a message of one dialect may take, where those of another come between."""


class _Fields(msgspec.Struct):
    kind: str
    tenant: str
    priority: int


def run(*, quick: bool) -> list[Table]:
    columns = ("document", "cache", "bytes", "first() µs", "json.loads", "orjson.loads", "msgspec, 3 fields", "bar", "")
    tables = {
        False: Table("No rule matches: how many times as fast as …", columns),
        True: Table("A rule matches: how many times as fast as …", columns),
    }
    matcher = Matcher(rules(_COUNT))
    cache = _level_2()
    amount = cache // 8 if quick else _ROTATING * cache
    for hit, table in tables.items():
        for name, make in DOCUMENTS.items():
            for rotating in (False, True):
                bodies = _bodies(make, hit=hit, amount=amount if rotating else 0)
                _check(matcher, bodies, hit=hit)
                rounds = 2 if quick else 25 if rotating else 60
                least = _measure(matcher, bodies, rounds)
                own, *others = least.values()
                ratios = [other / own for other in others]
                bar = _BARS.get(name)
                held = ("", "") if bar is None else (f"orjson ≥ {bar}", verdict(ratios[1] >= bar))
                cached = "rotating" if rotating else "hot"
                table.rows.append((name, cached, len(bodies[0]), own * 1e6, *ratios, *held))
    tables[False].notes += [
        "hot: one document again and again.",
        f"rotating: different documents in turn, {_ROTATING} level 2 caches full of them ({cache >> 10:,} KiB a core).",
        "Bars are for 1,000 rules, as here, and hold for hot and rotating documents.",
    ]
    return [*tables.values(), _dialects(quick=quick)]


def _dialects(*, quick: bool) -> Table:
    """Envelopes and chat requests of about 1 KB, each by themselves and in turn."""
    table = Table("RouteTable.decide, two dialects", ("messages", "decide() µs", "÷ mean of each by itself", "bar", ""))
    patterns = {**rules(_COUNT), "chats": {"dialect": "openai", "labels": {"tier": "gold"}}}
    routes = [{"name": name, "match": match, "to": "c"} for name, match in patterns.items()]
    decide = RouteTable(routes=routes).decide
    number = 50 if quick else 400
    envelopes = [partial(decide, envelope(1_000, subject=subject), dialect="envelope") for subject in range(number)]
    chats = [partial(decide, chat(900 + subject), dialect="openai") for subject in range(number)]
    if any(call() is None for call in envelopes + chats):
        raise RuntimeError("a route should match each message")
    in_turn = [call for pair in zip(envelopes, chats, strict=True) for call in pair]
    by_ten = [call for at in range(0, number, 10) for call in envelopes[at : at + 10] + chats[at : at + 10]]
    cases = {"envelope": envelopes, "openai": chats, "in turn": in_turn, "ten of each in turn": by_ten}
    passes = {name: partial(each, operator.call, calls) for name, calls in cases.items()}
    least = {name: took / len(cases[name]) for name, took in interleaved(passes, 2 if quick else 100).items()}
    mean = (least["envelope"] + least["openai"]) / 2
    for name, own in least.items():
        held = (f"≤ {_IN_TURN}", verdict(own / mean <= _IN_TURN)) if name not in ("envelope", "openai") else ("", "")
        table.rows.append((name, own * 1e6, own / mean, *held))
    return table


def _bodies(make: Callable[..., bytes], *, hit: bool, amount: int) -> list[bytes]:
    """Different documents of `amount` bytes together; one at least."""
    first = make(subject=_COUNT // 2 if hit else MISS)
    number = math.ceil(amount / len(first))
    if number < 2:
        return [first]
    return [make(subject=subject % _COUNT if hit else MISS + subject) for subject in range(number)]


def _check(matcher: Matcher, bodies: list[bytes], *, hit: bool) -> None:
    if any((matcher.first(body) is not None) != hit for body in bodies):
        raise RuntimeError(f"{'a' if hit else 'no'} rule should match each document")


def _measure(matcher: Matcher, bodies: list[bytes], rounds: int) -> dict[str, float]:
    """Seconds per document, ours first."""
    functions: dict[str, Callable[[bytes], object]] = {
        "first": matcher.first,
        "json": json.loads,
        "orjson": orjson.loads,
        "msgspec": msgspec.json.Decoder(_Fields).decode,
    }
    if len(bodies) == 1:  # repeated, so that a pass takes as long as one over a set does, and costs as little by itself
        bodies *= max(1, int(0.001 / once(partial(orjson.loads, bodies[0]))))
    passes = {name: partial(each, function, bodies) for name, function in functions.items()}
    return {name: least / len(bodies) for name, least in interleaved(passes, rounds).items()}


def _level_2() -> int:
    """Bytes of the level 2 cache of a core; 1 MiB where the system does not say."""
    for level in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if (level / "level").read_text("ascii").strip() == "2":
            size = (level / "size").read_text("ascii").strip()
            return int(size.removesuffix("K")) << 10
    return 1 << 20
