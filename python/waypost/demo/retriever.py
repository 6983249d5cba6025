"""A full-text retriever over a small corpus, in an in-memory SQLite database.

It accepts envelopes of kind `query` whose content is a text, or `{"text" or "query": text, "limit": 1 to 20}`. The
result is `{"documents": [{"ref": "doc://…", "title", "snippet", "score"}]}`: at most `limit` documents (default 3) that
contain a word of the text, best first. `score` is BM25: a higher score is better, and compares within one answer only.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import orjson
from starlette.applications import Starlette

from waypost.demo import fts
from waypost.demo.native import Envelope, content_limit, create_native_app
from waypost.demo.wire import Refusal, member

__all__ = ["Corpus", "bundled_documents", "create_app"]


class Corpus(fts.Table):
    """Searchable documents (`ref`, `title`, `text`). For one thread; a context manager that closes itself."""

    def __init__(self, documents: Iterable[dict[str, str]]) -> None:
        super().__init__("corpus", "ref UNINDEXED, title, text")
        try:
            self._database.executemany("INSERT INTO corpus VALUES (:ref, :title, :text)", documents)
        except BaseException:
            self.close()
            raise

    def search(self, text: str, limit: int) -> list[dict[str, Any]]:
        """At most `limit` documents that contain a word of `text`, best first. A word in a title counts double."""
        expression = fts.expression(text)
        if expression is None:
            return []
        rows = self._database.execute(
            "SELECT ref, title, snippet(corpus, 2, '', '', '...', 24), -bm25(corpus, 0.0, 2.0, 1.0) AS score "
            "FROM corpus WHERE corpus MATCH ? ORDER BY score DESC, ref LIMIT ?",
            (expression, limit),
        )
        names = ("ref", "title", "snippet")
        return [dict(zip(names, row[:3], strict=True)) | {"score": round(row[3], 4)} for row in rows]


def bundled_documents() -> list[dict[str, str]]:
    """The corpus that comes with the package."""
    lines = files("waypost.demo").joinpath("corpus.jsonl").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines]


def create_app(corpus: Corpus) -> Starlette:
    """The retriever's app. `corpus` belongs to the caller, and to the thread that serves the app."""

    def answer(envelope: Envelope) -> Any:
        text, limit = _query(envelope.content)
        return {"documents": corpus.search(text, limit)}

    return create_native_app(("query",), answer)


def _query(content: Any) -> tuple[str, int]:
    if isinstance(content, str):
        return content, 3
    if not isinstance(content, dict):
        raise Refusal("invalid_request", 'content must be a text or {"text": …, "limit": …}', field="content")
    text = member(content, "text", str, "a string", within="content")
    query = member(content, "query", str, "a string", within="content")
    if (text is None) == (query is None):
        raise Refusal("invalid_request", "content must have either text or query", field="content")
    return (query if text is None else text), content_limit(content, default=3, most=20)
