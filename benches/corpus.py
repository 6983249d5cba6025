"""Seeded documents and rules: the same in every run and on every machine."""

from __future__ import annotations

import json
import random
from typing import Any

__all__ = ["CHAT", "DOCUMENTS", "MISS", "REPLY", "chat", "envelope", "rules"]

MISS = 10**9
"""As `envelope(subject=…)`: about something that no rule knows."""

_SEED = 20240229
_WORDS = ("route", "model", "edge", "agent", "memory", "tool", "context", "query", "token", "prompt", "reply", "stream")
_WIDE = ("маршрут", "模型", "エッジ", "agente", "contexto", "запрос", "記憶", "ответ")

DOCUMENTS = {
    "0.3 KB": (300, False),
    "1 KB": (1_000, False),
    "8 KB": (8_000, False),
    "1 MB": (1_000_000, False),
    "0.9 MB multibyte": (900_000, True),
}
"""By what they are called: `size` and `multibyte` of `envelope`."""


def envelope(size: int, *, subject: int = MISS, multibyte: bool = False) -> bytes:
    """A native envelope of about `size` bytes, all but a few hundred of them prompt.

    Of `rules`, it matches the one with the number `subject` and no other. The prompt has a line break, which is an
    escape, every 60 characters or so. `multibyte`: hardly any of it is ASCII.
    """
    document: dict[str, Any] = {
        "id": f"01JD{subject:010d}",
        "kind": "model",
        "agent": f"agent-{subject}-7",
        "model": "llama-3-8b",
        "tenant": f"tenant-{subject}",
        "task": f"task-{subject}",
        "priority": 7,
        "labels": {"region": "eu-west-1", "team": f"team-{subject}"},
        "context": [{"type": "document", "ref": "doc://kb/7"}, {"type": "memory", "ref": f"mem://{subject}/42"}],
        "content": "",
    }
    text = json.dumps(document, ensure_ascii=False)
    document["content"] = _prompt(size - len(text.encode()), multibyte=multibyte)
    return json.dumps(document, ensure_ascii=False).encode()


def rules(count: int) -> dict[str, dict[str, Any]]:
    """`count` patterns by name: eight shapes in turn, each about a subject of its own."""
    return {f"rule-{subject}": _pattern(subject) for subject in range(count)}


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


def _pattern(subject: int) -> dict[str, Any]:
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
