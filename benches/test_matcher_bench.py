"""The matcher under pytest-benchmark: `pytest benches --benchmark-only`, with its ways to save and compare."""

from __future__ import annotations

import msgspec
import orjson
import pytest
from waypost import Matcher

from benches.corpus import DOCUMENTS, MISS, rules
from benches.mixes import MIXES, REALISTIC, document
from benches.peers import PEERS


@pytest.fixture(scope="module", params=[10, 1_000, 100_000])
def count(request):
    return request.param


@pytest.fixture(scope="module", params=MIXES)
def mix(request):
    return MIXES[request.param]


@pytest.fixture(scope="module")
def matcher(mix, count):
    return Matcher({f"rule-{subject}": mix.pattern(subject) for subject in range(count)})


@pytest.mark.benchmark(group="documents")
class TestDocuments:
    @pytest.fixture(params=DOCUMENTS)
    def body(self, request):
        return DOCUMENTS[request.param](subject=MISS)

    def test_first_of_1000_rules(self, benchmark, body):
        assert benchmark(Matcher(rules(1_000)).first, body) is None

    def test_orjson_loads(self, benchmark, body):
        assert benchmark(orjson.loads, body)["kind"] == "model"

    def test_msgspec_one_field(self, benchmark, body):
        decoder = msgspec.json.Decoder(msgspec.defstruct("Kind", [("kind", str)]))
        assert benchmark(decoder.decode, body).kind == "model"


@pytest.mark.benchmark(group="rules")
class TestRules:
    def test_hit(self, benchmark, matcher, mix, count):
        assert benchmark(matcher.first, document(mix, count // 2)) == f"rule-{count // 2}"

    def test_miss(self, benchmark, matcher, mix, count):
        assert benchmark(matcher.first, document(mix, count)) is None


@pytest.mark.benchmark(group="peers")
@pytest.mark.parametrize("peer", PEERS)
def test_peer_with_100_rules(benchmark, peer):
    assert benchmark(PEERS[peer](100), document(MIXES[REALISTIC], 50)) == "rule-50"


@pytest.mark.benchmark(group="compile")
class TestCompile:
    def test_matcher_of_10000_rules(self, benchmark):
        assert len(benchmark(Matcher, rules(10_000))) == 10_000

    def test_update_of_one_rule(self, benchmark):
        matcher = Matcher(rules(10_000))
        benchmark(matcher.update, "rule-5000", {"tenant": ["acme"]})
        assert matcher.first(b'{"tenant": "acme"}') == "rule-5000"
