"""`Matcher.first` called from Python, beside parsers given the same bytes.

`first` decides as well as reads, and like `orjson` and `json`, but unlike
`msgspec`, it validates the document to its last byte.
"""

from __future__ import annotations

import json
from functools import partial

import msgspec
import orjson
from waypost import Matcher

from benches.corpus import DOCUMENTS, MISS, envelope, rules
from benches.report import Table
from benches.timing import interleaved

_COUNTS = (10, 100, 1_000)


class _Fields(msgspec.Struct):
    kind: str
    tenant: str
    priority: int


def run(*, quick: bool) -> list[Table]:
    columns = ("document", "bytes", "rules", "first() µs", "json.loads", "orjson.loads", "msgspec, 3 fields")
    miss = Table("No rule matches, so that every one is tried: how many times as fast as …", columns)
    hit = Table("The rule in the middle matches: how many times as fast as …", columns)
    matchers = {count: Matcher(rules(count)) for count in _COUNTS}
    decode = msgspec.json.Decoder(_Fields).decode
    for name, (size, multibyte) in DOCUMENTS.items():
        for table in (miss, hit):
            body = envelope(size, multibyte=multibyte)
            functions = {
                "json": partial(json.loads, body),
                "orjson": partial(orjson.loads, body),
                "msgspec": partial(decode, body),
            }
            for count, matcher in matchers.items():
                subject = MISS if table is miss else count // 2
                own = envelope(size, subject=subject, multibyte=multibyte)
                expected = None if table is miss else f"rule-{subject}"
                if matcher.first(own) != expected:
                    raise RuntimeError(f"{name} should match {expected}")
                functions[count] = partial(matcher.first, own)
            least = interleaved(functions, 3 if quick else 40)
            for count in _COUNTS:
                ratios = (least[parser] / least[count] for parser in ("json", "orjson", "msgspec"))
                table.rows.append((name, len(body), count, least[count] * 1e6, *ratios))
    miss.notes.append(
        "Bars: with 1,000 rules at least 3 times as fast as orjson.loads at 1 KB, and 4 times at 8 KB and 1 MB."
    )
    return [miss, hit]
