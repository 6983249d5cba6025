"""The configuration that the demo's proxy runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waypost.demo.echo import MODEL

__all__ = ["demo_config"]


def demo_config(urls: Mapping[str, str], port: int) -> dict[str, Any]:
    """A route for each kind of message, and one for urgent messages of two tenants. `urls` is `Upstreams.urls`.

    Both model clusters use the same echo model. In practice `reserved-model` would be a faster machine.
    """
    model = {"speaks": "openai", "endpoints": [urls["model"]], "model": MODEL}
    native = {name: {"speaks": "envelope", "endpoints": [url]} for name, url in urls.items() if name != "model"}
    return {
        "listen": {"host": "127.0.0.1", "port": port},
        "access_log": "off",  # the demo's output is for people
        "clusters": {"local-model": model, "reserved-model": dict(model), **native},
        "routes": [
            {
                "name": "gold",
                "match": {"kind": "model", "tenant": ["acme", "globex"], "priority": [{"numeric": [">=", 7]}]},
                "to": "reserved-model",
                "fallback": ["local-model"],
            },
            {"name": "models", "match": {"kind": "model"}, "to": "local-model"},
            {"name": "questions", "match": {"kind": "query"}, "to": "retriever"},
            {"name": "context", "match": {"kind": "context"}, "to": "memory"},
            {"name": "tools", "match": {"kind": "tool"}, "to": "tools"},
            {"name": "alerts", "match": {"kind": "event", "topic": [{"prefix": "alerts/"}]}, "to": "memory"},
        ],
    }
