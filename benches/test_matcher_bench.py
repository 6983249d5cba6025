"""The matcher under pytest-benchmark: `pytest benches --benchmark-only`, with its ways to save and compare."""

from __future__ import annotations

import orjson
import pytest
from waypost import Matcher

from benches.corpus import DOCUMENTS, envelope, rules


@pytest.fixture(params=DOCUMENTS)
def body(request):
    size, multibyte = DOCUMENTS[request.param]
    return envelope(size, multibyte=multibyte)


@pytest.mark.parametrize("count", [10, 100, 1_000])
def test_first(benchmark, body, count):
    assert benchmark(Matcher(rules(count)).first, body) is None


def test_orjson_loads(benchmark, body):
    assert benchmark(orjson.loads, body)["kind"] == "model"
