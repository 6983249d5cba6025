"""Seeded documents and rules: the same in every run and on every machine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

__all__ = ["CHAT", "DOCUMENTS", "MISS", "REPLY", "chat", "conversation", "envelope", "nested", "pattern", "rules"]

MISS = 10**9
"""As `envelope(subject=…)`: about something that no rule knows."""

_SEED = 20240229
_WORDS = ("route", "model", "edge", "agent", "memory", "tool", "context", "query", "token", "prompt", "reply", "stream")
_WIDE = ("маршрут", "模型", "エッジ", "agente", "contexto", "запрос", "記憶", "ответ")


def envelope(
    size: int, *, subject: int = MISS, multibyte: bool = False, fields: Mapping[str, Any] | None = None
) -> bytes:
    """A native envelope of about `size` bytes, all but a few hundred of them prompt.

    Of `rules`, it matches the one with the number `subject` and no other. The prompt has a line break, which is an
    escape, every 60 characters or so. `multibyte`: hardly any of it is ASCII. `fields` are added, or replace others.
    """
    document = {**_head(subject), **(fields or {}), "content": ""}
    text = json.dumps(document, ensure_ascii=False)
    document["content"] = _prompt(size - len(text.encode()), multibyte=multibyte)
    return json.dumps(document, ensure_ascii=False).encode()


def conversation(size: int, *, subject: int = MISS) -> bytes:
    """An OpenAI chat request of about `size` bytes in 20 messages, every fourth the result of a tool.

    Of `rules` it matches what `envelope` does: beside the request's own fields it has those of an envelope.
    """
    turns = 20
    document: dict[str, Any] = {
        **_head(subject),
        "messages": [{"role": "system", "content": "You are a helpful assistant."}],
        "temperature": 0.2,
        "max_tokens": 1024,
        "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
    }
    roles = ("user", "assistant", "tool", "assistant")
    for turn in range(turns - 1):
        message: dict[str, Any] = {"role": roles[turn % len(roles)], "content": ""}
        if message["role"] == "tool":
            message["tool_call_id"] = f"call_{turn:08d}"
        elif turn % len(roles) == 1:
            call = {"name": "find", "arguments": json.dumps({"query": "edge privacy", "limit": turn})}
            message["tool_calls"] = [{"id": f"call_{turn + 1:08d}", "type": "function", "function": call}]
        document["messages"].append(message)
    share = (size - len(json.dumps(document))) // (turns - 1)
    for message in document["messages"][1:]:
        message["content"] = _prompt(share, multibyte=False)
    return json.dumps(document).encode()


def nested(size: int, *, subject: int = MISS) -> bytes:
    """An envelope of about `size` bytes, nearly all of them metadata: small objects in objects, five deep.

    Of `rules` it matches what `envelope` does.
    """
    document = {**_head(subject), "metadata": {}}
    left, number = size - len(json.dumps(document)), 0
    while left > 0:
        span: dict[str, Any] = {
            "id": number,
            "name": "retrieve",
            "ok": True,
            "cost": {"tokens": {"in": 12 + number, "out": 7}, "ms": 1.5, "at": {"node": {"zone": "b", "rack": 4}}},
            "tags": ["edge", "eu"],
        }
        document["metadata"][f"span-{number}"] = span
        left -= len(json.dumps(span)) + len(f'"span-{number}": , ')
        number += 1
    return json.dumps(document).encode()


def rules(count: int) -> dict[str, dict[str, Any]]:
    """`count` patterns by name: eight shapes in turn, each about a subject of its own."""
    return {f"rule-{subject}": pattern(subject) for subject in range(count)}


def chat(size: int) -> bytes:
    """An OpenAI chat request of about `size` bytes."""
    document = {
        "model": "llama-3-8b",
        "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": ""}],
        "temperature": 0.2,
        "metadata": {"tenant": "acme", "tier": "gold"},
    }
    document["messages"][1]["content"] = _prompt(size - len(json.dumps(document)), multibyte=False)  # type: ignore[index]
    return json.dumps(document).encode()


def pattern(subject: int) -> dict[str, Any]:
    """The rule about one subject."""
    tenant = f"tenant-{subject}"
    shapes: list[dict[str, Any]] = [
        {"kind": ["model"], "tenant": [tenant]},
        {"tenant": [tenant], "model": [{"prefix": "llama-"}]},
        {"tenant": [tenant], "priority": [{"numeric": [">=", 5]}]},
        {"kind": ["model", "query"], "agent": [{"wildcard": f"agent-{subject}-*"}]},
        {"labels": {"region": [{"suffix": "west-1"}], "team": [f"team-{subject}"]}},
        {"task": [f"task-{subject}"], "tenant": [{"anything-but": ["internal", "blocked"]}]},
        {"context": {"type": ["memory"], "ref": [{"prefix": f"mem://{subject}/"}]}},
        {"tenant": [tenant, f"{tenant}-eu"], "$or": [{"priority": [{"numeric": [">", 6]}]}, {"tool": ["find"]}]},
    ]
    return shapes[subject % len(shapes)]


def _head(subject: int) -> dict[str, Any]:
    return {
        "id": f"01JD{subject:010d}",
        "kind": "model",
        "agent": f"agent-{subject}-7",
        "model": "llama-3-8b",
        "tenant": f"tenant-{subject}",
        "task": f"task-{subject}",
        "priority": 7,
        "labels": {"region": "eu-west-1", "team": f"team-{subject}"},
        "context": [{"type": "document", "ref": "doc://kb/7"}, {"type": "memory", "ref": f"mem://{subject}/42"}],
    }


@lru_cache
def _prompt(size: int, *, multibyte: bool) -> str:
    """Words in lines, `size` bytes of JSON text (a line break is two of them)."""
    choose = random.Random(_SEED)
    words = _WIDE if multibyte else _WORDS
    parts: list[str] = []
    left, line = size, 0
    while left > 0:
        word = choose.choice(words)
        line += len(word) + 1
        parts.append(word + ("\n" if line > 60 else " "))
        left -= len(word.encode()) + (2 if line > 60 else 1)
        line = 0 if line > 60 else line
    return "".join(parts)


DOCUMENTS: dict[str, Callable[..., bytes]] = {
    "0.3 KB": partial(envelope, 300),
    "1 KB": partial(envelope, 1_000),
    "8 KB": partial(envelope, 8_000),
    "8 KB chat, 20 messages": partial(conversation, 8_000),
    "8 KB deep metadata": partial(nested, 8_000),
    "1 MB": partial(envelope, 1_000_000),
    "0.9 MB multibyte": partial(envelope, 900_000, multibyte=True),
}
"""By what they are called: functions of `subject`."""

CHAT = chat(1_000)
"""What clients send in the benches of the proxy."""

REPLY = json.dumps({
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "llama-3-8b",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "a short answer"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 200, "completion_tokens": 7, "total_tokens": 207},
}).encode()  # fmt: skip
"""What upstreams answer."""
