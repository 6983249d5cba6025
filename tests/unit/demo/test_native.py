"""The retriever, the memory and the tool server answer envelopes over real sockets."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waypost.demo.memory import TEXT_LIMIT, Memory
from waypost.demo.retriever import Corpus, bundled_documents
from waypost.demo.upstreams import Upstreams

from .support import in_a_thread

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with in_a_thread(Upstreams()) as upstreams:
        yield upstreams.urls


def post(url: str, body: bytes, path: str = "/v1/envelopes", method: str = "POST") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture
def ask(urls: dict[str, str]) -> Ask:
    def ask(upstream: str, **envelope: Any) -> tuple[int, Any]:
        status, raw = post(urls[upstream], json.dumps({"id": "m-1", **envelope}).encode())
        answer = json.loads(raw)
        assert answer["id"] == "m-1"
        return status, answer["result"] if status == 200 else answer["error"]

    return ask


class TestRetriever:
    @pytest.mark.parametrize("content", ["inverted index BM25", {"text": "inverted index BM25"}, {"query": "BM25"}])
    def test_finds_the_best_document_first(self, ask: Ask, content: Any) -> None:
        status, result = ask("retriever", kind="query", content=content)
        assert status == 200
        best = result["documents"][0]
        assert best.keys() == {"ref", "title", "snippet", "score"}
        assert best["ref"] == "doc://retrieval/fts"
        assert best["score"] > 0
        scores = [document["score"] for document in result["documents"]]
        assert scores == sorted(scores, reverse=True)

    def test_keeps_to_the_limit(self, ask: Ask) -> None:
        _, result = ask("retriever", kind="query", content={"text": "a message and the model", "limit": 2})
        assert len(result["documents"]) == 2

    def test_finds_inflected_words(self, ask: Ask) -> None:
        _, result = ask("retriever", kind="query", content="streamed")
        assert "doc://streaming/sse" in [document["ref"] for document in result["documents"]]

    @pytest.mark.parametrize("text", ["", "?!", "zzzyx"])
    def test_finds_nothing_without_an_error(self, ask: Ask, text: str) -> None:
        assert ask("retriever", kind="query", content=text) == (200, {"documents": []})

    @pytest.mark.parametrize(
        "text", ['"', "edge AND", "NEAR(edge, 2)", "title: edge", "ed*", "^edge", "-edge", "a\x00b"]
    )
    def test_its_query_language_is_out_of_reach(self, ask: Ask, text: str) -> None:
        assert ask("retriever", kind="query", content=text)[0] == 200

    @pytest.mark.parametrize(
        ("content", "field"),
        [
            (None, "content"),
            (7, "content"),
            ({}, "content"),
            ({"text": "a", "query": "b"}, "content"),
            ({"text": 1}, "content.text"),
            ({"text": "a", "limit": 0}, "content.limit"),
            ({"text": "a", "limit": 21}, "content.limit"),
            ({"text": "a", "limit": True}, "content.limit"),
        ],
    )
    def test_refuses_other_content(self, ask: Ask, content: Any, field: str) -> None:
        status, error = ask("retriever", kind="query", content=content)
        assert (status, error["code"]) == (400, "invalid_request")
        assert field in error["message"]

    def test_every_bundled_document_is_found_by_its_title(self) -> None:
        documents = bundled_documents()
        assert len(documents) >= 25
        assert len({document["ref"] for document in documents}) == len(documents)
        with Corpus(documents) as corpus:
            for document in documents:
                assert document["ref"] in [found["ref"] for found in corpus.search(document["title"], 3)]

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_no_text_breaks_the_search(self, text: str) -> None:
        with Corpus([{"ref": "doc://1", "title": "needle", "text": "in a haystack"}]) as corpus:
            corpus.search(text, 3)
            assert [found["ref"] for found in corpus.search("needle " + text, 3)] == ["doc://1"]


class TestMemory:
    def test_recalls_what_its_agent_remembered(self, ask: Ask) -> None:
        mine = {"kind": "context", "tenant": "t1", "agent": "a"}
        _, kept = ask("memory", **mine, content={"remember": "The boiler was serviced in May."})
        assert kept["remembered"]["ref"].startswith("mem://t1/")
        for content in ("when was the boiler serviced?", {"recall": "boiler", "limit": 1}):
            _, found = ask("memory", **mine, content=content)
            (entry,) = found["memories"]
            assert entry["ref"] == kept["remembered"]["ref"]
            assert entry["text"] == "The boiler was serviced in May."
            assert entry["topic"] is None

    @pytest.mark.parametrize(("tenant", "agent"), [("t2", "b"), ("other", "a"), (None, "a"), ("t2", None)])
    def test_tells_nobody_else(self, ask: Ask, tenant: str | None, agent: str | None) -> None:
        ask("memory", kind="context", tenant="t2", agent="a", content={"remember": "secret boiler"})
        _, found = ask("memory", kind="context", tenant=tenant, agent=agent, content="secret boiler")
        assert found == {"memories": []}

    def test_recalls_the_newest_where_no_word_is_given(self, ask: Ask) -> None:
        mine = {"kind": "context", "tenant": "t3"}
        for text in ("one", "two", "three"):
            ask("memory", **mine, content={"remember": text})
        _, found = ask("memory", **mine, content={"recall": "", "limit": 2})
        assert [(entry["text"], entry["score"]) for entry in found["memories"]] == [("three", None), ("two", None)]

    def test_shows_events_to_all_agents_of_the_tenant(self, ask: Ask) -> None:
        _, kept = ask("memory", kind="event", tenant="t4", agent="a", topic="alerts/eu", content={"door": "open"})
        ask("memory", kind="event", tenant="t4", agent="a", topic="alerts/us", content="door shut")
        assert kept["appended"]["topic"] == "alerts/eu"
        _, found = ask("memory", kind="context", tenant="t4", agent="b", content={"recall": "door"})
        assert {entry["topic"] for entry in found["memories"]} == {"alerts/eu", "alerts/us"}
        _, found = ask("memory", kind="context", tenant="t4", content={"recall": "door", "topic": "alerts/eu"})
        assert [entry["text"] for entry in found["memories"]] == ['{"door":"open"}']
        assert ask("memory", kind="context", tenant="t5", content="door")[1] == {"memories": []}

    @pytest.mark.parametrize(
        ("envelope", "named"),
        [
            ({"kind": "event", "content": "x"}, "topic"),
            ({"kind": "event", "topic": "t", "content": ""}, "content"),
            ({"kind": "context"}, "content"),
            ({"kind": "context", "content": {"remember": "a", "recall": "b"}}, "content"),
            ({"kind": "context", "content": {"remember": "a", "limit": 3}}, "content.limit"),
            ({"kind": "context", "content": {"remember": None}}, "content.remember"),
            ({"kind": "context", "content": {"remember": "x" * (TEXT_LIMIT + 1)}}, "content.remember"),
            ({"kind": "context", "content": {"recall": "a", "limit": 51}}, "content.limit"),
        ],
    )
    def test_refuses_other_content(self, ask: Ask, envelope: dict[str, Any], named: str) -> None:
        status, error = ask("memory", **envelope)
        assert status == 400
        assert named in error["message"]

    def test_drops_the_oldest(self) -> None:
        with Memory(capacity=3) as memory:
            for number in range(10):
                memory.remember(f"entry {number}", tenant=None, agent=None)
            assert len(memory) == 3
            found = memory.recall("entry", 50, tenant=None, agent=None)
            assert {entry["text"] for entry in found} == {"entry 7", "entry 8", "entry 9"}


class TestTools:
    @pytest.mark.parametrize(
        ("tool", "arguments", "value"),
        [
            ("add", {"a": 2, "b": 3}, 5),
            ("add", {"a": 0.5, "b": 1}, 1.5),
            ("word_count", {"text": " to be  or\nnot "}, 4),
            ("uppercase", {"text": "straße"}, "STRASSE"),
        ],
    )
    def test_answers(self, ask: Ask, tool: str, arguments: Any, value: Any) -> None:
        assert ask("tools", kind="tool", tool=tool, content=arguments) == (200, {"value": value})

    def test_lists_its_tools(self, ask: Ask) -> None:
        _, result = ask("tools", kind="tool", tool="list")
        tools = {tool["name"]: tool["parameters"] for tool in result["value"]}
        assert tools.keys() == {"add", "uppercase", "word_count"}
        assert tools["add"]["required"] == ["a", "b"]

    def test_an_unknown_tool_is_404(self, ask: Ask) -> None:
        status, error = ask("tools", kind="tool", tool="rm", content={})
        assert (status, error["code"]) == (404, "unknown_tool")
        assert "'rm'" in error["message"]

    @pytest.mark.parametrize(
        "arguments",
        [
            None,
            {"a": 1},
            {"a": 1, "b": "2"},
            {"a": True, "b": 1},
            {"a": 1, "b": 2, "c": 3},
            {"a": 1.7e308, "b": 1.7e308},
            {"a": 2**63 - 1, "b": 1},
        ],
    )
    def test_refuses_arguments_that_do_not_fit(self, ask: Ask, arguments: Any) -> None:
        status, error = ask("tools", kind="tool", tool="add", content=arguments)
        assert (status, error["code"]) == (400, "invalid_arguments")


@pytest.mark.parametrize("upstream", ["retriever", "memory", "tools"])
class TestEnvelopes:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "invalid_json"),
            (b"{", "invalid_json"),
            (b"[]", "invalid_json"),
            (b'{"id": "\xff"}', "invalid_json"),
            (b"[" * 100_000, "invalid_json"),
            (b"{}", "invalid_envelope"),
            (b'{"id": "", "kind": "query"}', "invalid_envelope"),
            (b'{"id": 7, "kind": "query"}', "invalid_envelope"),
        ],
    )
    def test_bad_ones_without_an_id_are_400(self, urls: dict[str, str], upstream: str, body: bytes, code: str) -> None:
        status, raw = post(urls[upstream], body)
        answer = json.loads(raw)
        assert (status, answer["id"], answer["error"]["code"]) == (400, None, code)
        assert answer["error"]["message"]

    @pytest.mark.parametrize(
        "fields", [{}, {"kind": "poem"}, {"kind": 1}, {"kind": "tool", "tool": 1}, {"kind": "tool", "stream": "yes"}]
    )
    def test_bad_ones_with_an_id_name_it(self, ask: Ask, upstream: str, fields: dict[str, Any]) -> None:
        status, error = ask(upstream, **fields)
        assert (status, error["code"]) == (400, "invalid_envelope")

    def test_other_kinds_are_refused(self, ask: Ask, upstream: str) -> None:
        status, error = ask(upstream, kind="model", content="hi")
        assert (status, error["code"]) == (400, "unsupported_kind")

    @pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/envelopes", 405), ("POST", "/v1/nope", 404)])
    def test_other_paths_and_methods_are_errors(
        self, urls: dict[str, str], upstream: str, method: str, path: str, status: int
    ) -> None:
        seen, raw = post(urls[upstream], b"{}", path, method)
        assert (seen, "POST /v1/envelopes" in json.loads(raw)["error"]["message"]) == (status, True)


def test_a_streamed_reply_is_events(urls: dict[str, str]) -> None:
    envelope = {"id": "m-1", "kind": "tool", "tool": "add", "content": {"a": 1, "b": 2}, "stream": True}
    status, raw = post(urls["tools"], json.dumps(envelope).encode())
    assert status == 200
    assert raw == b'data: {"id":"m-1","delta":{"value":3}}\n\ndata: {"id":"m-1","done":true}\n\n'
