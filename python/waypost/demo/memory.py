"""A memory for agents in an in-memory SQLite database.

It accepts envelopes of two kinds.

An envelope of kind `context` has one of these as its content:
- `{"remember": text}` keeps the text for the envelope's tenant and agent. The result is
  `{"remembered": {"ref": "mem://acme/42"}}`.
- `{"recall": text, "limit": 1 to 50, "topic": …}`, or just a text, finds the entries that contain a word of the text,
  best first, at most `limit` (default 5). The result is `{"memories": [{"ref", "text", "topic", "score"}]}`. `score`
  is BM25: higher is better. A text without words finds the newest entries, whose `score` is null. `topic` is null for
  a remembered text; with `topic` in the request, only events of that topic are found.

An envelope of kind `event` needs a `topic`. Its content, a text or any JSON, is appended to that topic. The result is
`{"appended": {"ref", "topic"}}`.

A caller sees the texts of its own tenant and agent, and the events of its tenant from any agent. Messages without a
tenant (or an agent) share one. Beyond `capacity`, the oldest entry of all callers is dropped.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.applications import Starlette

from waypost.demo import fts
from waypost.demo.native import Envelope, content_limit, create_native_app
from waypost.demo.wire import Refusal, member

__all__ = ["TEXT_LIMIT", "Memory", "create_app"]

TEXT_LIMIT: Final = 16 * 1024
"""Largest entry, in characters."""


class Memory(fts.Table):
    """Entries by tenant, agent and topic. For one thread; a context manager that closes itself."""

    def __init__(self, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._last = 0
        super().__init__("entries", "text, tenant UNINDEXED, agent UNINDEXED, topic UNINDEXED")

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM entries").fetchone()[0])

    def remember(self, text: str, *, tenant: str | None, agent: str | None, topic: str | None = None) -> str:
        """Keep `text` for `agent` of `tenant`, or, with a `topic`, for all agents of `tenant`. Returns a reference."""
        self._last += 1
        # A column of an FTS5 table may be NULL, but `=` never finds NULL: `IS` below does.
        self._database.execute(
            "INSERT INTO entries (rowid, text, tenant, agent, topic) VALUES (?, ?, ?, ?, ?)",
            (self._last, text, tenant, agent, topic),
        )
        self._database.execute("DELETE FROM entries WHERE rowid <= ?", (self._last - self._capacity,))
        return _reference(tenant, self._last)

    def recall(
        self, text: str, limit: int, *, tenant: str | None, agent: str | None, topic: str | None = None
    ) -> list[dict[str, Any]]:
        """At most `limit` entries that `agent` of `tenant` may see and that contain a word of `text`, best first.

        If `text` has no words, the newest entries. With `topic`, only entries of that topic.
        """
        expression = fts.expression(text)
        rank, where, order = "NULL", "", "rowid DESC"
        if expression is not None:
            rank, where, order = "-bm25(entries)", "entries MATCH :expression AND", "score DESC, rowid DESC"
        rows = self._database.execute(
            f"SELECT rowid, text, topic, {rank} AS score FROM entries WHERE {where} tenant IS :tenant "  # noqa: S608 - ours
            "AND (topic IS NOT NULL OR agent IS :agent) AND (:topic IS NULL OR topic IS :topic) "
            f"ORDER BY {order} LIMIT :limit",
            {"expression": expression, "tenant": tenant, "agent": agent, "topic": topic, "limit": limit},
        )
        return [
            {
                "ref": _reference(tenant, row),
                "text": entry,
                "topic": entry_topic,
                "score": None if score is None else round(score, 4),
            }
            for row, entry, entry_topic, score in rows
        ]


def create_app(memory: Memory) -> Starlette:
    """The memory's app. `memory` belongs to the caller, and to the thread that serves the app."""

    def answer(envelope: Envelope) -> Any:
        if envelope.kind == "event":
            return _append(memory, envelope)
        return _context(memory, envelope)

    return create_native_app(("context", "event"), answer)


def _append(memory: Memory, envelope: Envelope) -> Any:
    if not envelope.topic:
        raise Refusal("invalid_envelope", "topic is required for kind event: a string", field="topic")
    content = envelope.content
    text = _bounded(content if isinstance(content, str) else orjson.dumps(content).decode(), "content")
    ref = memory.remember(text, tenant=envelope.tenant, agent=envelope.agent, topic=envelope.topic)
    return {"appended": {"ref": ref, "topic": envelope.topic}}


def _context(memory: Memory, envelope: Envelope) -> Any:
    content = {"recall": envelope.content} if isinstance(envelope.content, str) else envelope.content
    if not isinstance(content, dict) or ("remember" in content) == ("recall" in content):
        message = 'content must be a text, {"remember": text} or {"recall": text, "limit": …, "topic": …}'
        raise Refusal("invalid_request", message, field="content")
    allowed = {"remember"} if "remember" in content else {"recall", "limit", "topic"}
    for name in content.keys() - allowed:
        message = f"content.{name} is not allowed here; allowed: {', '.join(sorted(allowed))}"
        raise Refusal("invalid_request", message, field=f"content.{name}")
    if "remember" in content:
        text = member(content, "remember", str, "a string", within="content", required=True)
        ref = memory.remember(_bounded(text, "content.remember"), tenant=envelope.tenant, agent=envelope.agent)
        return {"remembered": {"ref": ref}}
    text = member(content, "recall", str, "a string", within="content", required=True)
    topic = member(content, "topic", str, "a string", within="content")
    limit = content_limit(content, default=5, most=50)
    return {"memories": memory.recall(text, limit, tenant=envelope.tenant, agent=envelope.agent, topic=topic)}


def _bounded(text: str, field: str) -> str:
    if not text or len(text) > TEXT_LIMIT:
        raise Refusal("invalid_request", f"{field} must have 1 to {TEXT_LIMIT} characters", field=field)
    return text


def _reference(tenant: str | None, row: int) -> str:
    return f"mem://{quote(tenant, safe='') if tenant else '-'}/{row}"
