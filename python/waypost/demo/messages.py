"""The messages that the demo sends: one of each kind, and requests of an OpenAI client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

__all__ = ["Message", "messages"]


@dataclass(frozen=True, slots=True)
class Message:
    """One HTTP request. `headers` has no `host` and no `content-length`, which `send` adds."""

    label: str
    dialect: Literal["envelope", "openai"]
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def messages() -> tuple[Message, ...]:
    """Messages for the routes of `waypost.demo.config`, in the order in which they are sent."""
    return (
        _envelope("query", kind="query", content={"text": "How does an edge host keep data private?", "limit": 2}),
        _envelope(
            "context",
            kind="context",
            tenant="acme",
            agent="planner",
            content={"remember": "Acme prefers short answers."},
        ),
        _envelope(
            "model",
            kind="model",
            tenant="acme",
            agent="planner",
            task="summarize",
            priority=8,
            content="Hello from acme!",
        ),
        _envelope("tool", kind="tool", tool="add", content={"a": 19, "b": 23}),
        _envelope("event", kind="event", tenant="acme", topic="alerts/eu", content={"sensor": "door-3", "open": True}),
        _chat("OpenAI chat", "What does Waypost do?"),
        _chat(
            "OpenAI chat, streamed",
            "Count to three.",
            headers=(("x-waypost-tenant", "acme"), ("x-waypost-priority", "9")),
            stream=True,
        ),
        _envelope("model, streamed", kind="model", content="Tell me a story.", stream=True),
    )


def _envelope(label: str, **fields: Any) -> Message:
    ident = "demo-" + label.replace(", ", "-")
    return _message(label, "envelope", "/v1/envelopes", {"id": ident, **fields})


def _chat(label: str, text: str, *, headers: tuple[tuple[str, str], ...] = (), **fields: Any) -> Message:
    body = {"model": "echo-1", "messages": [{"role": "user", "content": text}], **fields}
    return _message(label, "openai", "/v1/chat/completions", body, headers)


def _message(
    label: str,
    dialect: Literal["envelope", "openai"],
    path: str,
    body: dict[str, Any],
    headers: tuple[tuple[str, str], ...] = (),
) -> Message:
    return Message(label, dialect, "POST", path, (("content-type", "application/json"), *headers), orjson.dumps(body))
