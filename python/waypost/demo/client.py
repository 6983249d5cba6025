"""Sends the demo's messages, each over its own connection, and reads the answers."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import time
from dataclasses import dataclass
from typing import Any, Final

import orjson

from waypost.demo.messages import Message

__all__ = ["Answer", "send", "summary"]

TIMEOUT: Final = 10.0
"""Timeout of one message, in seconds."""

ANSWER_LIMIT: Final = 1024 * 1024
"""Largest response, in bytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. Names in `headers` are in lower case. `seconds` count from before connecting to the last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


async def send(message: Message, port: int) -> Answer:
    """The answer to `message` from loopback `port`.

    Raises `OSError` (or `TimeoutError`) if there is none, and `ValueError` if it is cut short, too long or not HTTP.
    """
    began = time.perf_counter()
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(_head(message, port) + message.body)
            raw = bytearray()
            while data := await reader.read(65536):
                raw += data
                if len(raw) > ANSWER_LIMIT:
                    raise ValueError(f"the answer is longer than {ANSWER_LIMIT} bytes")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return _answer(bytes(raw), message.method, time.perf_counter() - began)


def summary(answer: Answer) -> str:
    """The answer as one line of text. Raises `ValueError` if it is empty or an error."""
    try:
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return _streamed(answer.body)
        return _whole(answer.body)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the answer has an unknown shape: {error!r}") from None


def _whole(body: bytes) -> str:
    document = orjson.loads(body)
    if "error" in document:
        raise ValueError(_error(document["error"]))
    if "choices" in document:
        return _line(document["choices"][0]["message"]["content"])
    if "result" in document:
        return _line(document["result"])
    raise ValueError("the answer has no result")


def _head(message: Message, port: int) -> bytes:
    lines = [f"{message.method} {message.path} HTTP/1.1", f"host: 127.0.0.1:{port}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in message.headers]
    lines += [f"content-length: {len(message.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1")


class _Recorded:
    """Bytes that `http.client` can read a response from."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _answer(raw: bytes, method: str, seconds: float) -> Answer:
    response = http.client.HTTPResponse(_Recorded(raw), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except http.client.HTTPException as error:
        raise ValueError(f"the answer is cut short or not HTTP: {error}") from None
    finally:
        response.close()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body, seconds)


def _streamed(body: bytes) -> str:
    """The text of a streamed reply, native or OpenAI. Raises `ValueError` if the stream has no end."""
    text = ""
    chunks = 0
    for line in body.splitlines():
        if not line.startswith(b"data: "):
            continue
        data = line[len(b"data: ") :]
        if data == b"[DONE]":
            return f"{_line(text)} ({chunks} chunks)"
        document = orjson.loads(data)
        if "error" in document:
            raise ValueError(_error(document["error"]))
        if document.get("done"):
            return f"{_line(text)} ({chunks} chunks)"
        chunks += 1
        if "delta" in document:
            text += _line(document["delta"])
        for choice in document.get("choices", ()):
            text += choice["delta"].get("content") or ""
    raise ValueError("the stream ended before its last event")


def _error(error: Any) -> str:
    if isinstance(error, dict):
        return f"{error.get('code') or error.get('type')}: {error.get('message')}"
    return str(error)


def _line(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("content"), str):  # a model's message
        value = value["content"]
    return value if isinstance(value, str) else orjson.dumps(value).decode()
