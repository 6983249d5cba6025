"""Requests to ASGI applications."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


def http_scope(path: str, method: str, headers: Iterable[tuple[bytes, bytes]], **other: Any) -> dict[str, Any]:
    """The scope of an HTTP/1.1 request; `other` keys go over it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        **other,
    }


def ask(
    app: Any, path: str, method: str = "GET", headers: Iterable[tuple[bytes, bytes]] = (), **other: Any
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the answer to a request without a body."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(http_scope(path, method, [(b"host", b"waypost"), *headers], **other), receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])
