"""Mixed traffic: clients that do what clients do, and an endpoint that answers as endpoints do.

As a command, `python -m benches.traffic clients PORT MESSAGES KEY…` sends so many messages through a gateway, prints
`N answered` every 5,000 and at last a line of JSON: by kind, how many were answered as expected, and how many were not.
`python -m benches.traffic endpoint PORT PORT` listens on two ports, of which the first has its bad moments.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import uvloop

from benches.corpus import REPLY, chat

__all__ = ["KINDS", "Kind"]

_VISITORS = 48
"""Connections at a time."""
_VISIT = 100
"""Messages that a connection brings, on average."""
_EVERY = 5_000
_SEED = 20240302

_CHAT = chat(1_000).replace(b'"tenant": "acme"', b'"turn": "%08d"')
_STREAM = _CHAT.replace(b'"temperature": 0.2', b'"stream": true')
_LARGE = chat(64_000).replace(b'"tenant": "acme"', b'"turn": "%08d"')
_ENVELOPE = b'{"id": "soak-%08d", "kind": "model", "model": "llama-3-8b", "content": "Hello!"}'
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" token"}}]}\n\n'
_PIECES = 5


def _post(body: bytes, key: str, path: str = "/v1/chat/completions") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _chunked(body: bytes, key: str) -> bytes:
    head = _post(body, key).partition(b"content-length")[0] + b"transfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@dataclass(frozen=True)
class Kind:
    """What a client sends, given a number and its key, and how that is answered."""

    name: str
    weight: int
    message: Callable[[int, str], bytes]
    status: int = 200
    leaves: bool = False
    """The client goes away in the middle of the response."""
    closes: bool = False
    """The proxy closes the connection behind its answer."""
    halves: bool = False
    """Sent in two parts, one after the other."""


KINDS = (
    Kind("chat", 700, lambda n, key: _post(_CHAT % n, key)),
    Kind("stream of 5 events", 120, lambda n, key: _post(_STREAM % n, key)),
    Kind("stream, the client leaves halfway", 10, lambda n, key: _post(_STREAM % n, key), leaves=True),
    Kind("no route", 40, lambda n, key: _post((_CHAT % n).replace(b"llama", b"other"), key), 404),
    Kind("broken JSON", 30, lambda n, key: _post((_CHAT % n)[:-1] + b",", key), 400),
    Kind("unknown key", 20, lambda n, key: _post(_CHAT % n, f"{key}-{n}"), 401),
    Kind("broken HTTP", 5, lambda n, key: _post(_CHAT % n, key).replace(b"host:", b"ho st:"), 400, closes=True),
    Kind("no such path", 5, lambda n, key: _post(_CHAT % n, key, f"/v2/{n}"), 404),
    Kind("body in chunks", 20, lambda n, key: _chunked(_CHAT % n, key)),
    Kind("envelope, translated", 20, lambda n, key: _post(_ENVELOPE % n, key, "/v1/envelopes")),
    Kind("64 KB", 10, lambda n, key: _post(_LARGE % n, key)),
    Kind("in two parts", 10, lambda n, key: _post(_CHAT % n, key), halves=True),
    Kind("one endpoint answers 503", 10, lambda n, key: _post((_CHAT % n).replace(b"3-8b", b"busy"), key)),
)


class _Clients:
    """All of them together: what is still to be sent, and what came of it."""

    def __init__(self, port: int, messages: int, keys: Sequence[str]) -> None:
        self.port = port
        self.keys = keys
        self.left = messages
        self.sent = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._random = random.Random(_SEED)
        self._finished = 0

    def next(self) -> tuple[Kind, str] | None:
        if not self.left:
            return None
        self.left -= 1
        self.sent += 1
        kind = self._random.choices(KINDS, [kind.weight for kind in KINDS])[0] if self.sent % 2 else KINDS[0]
        return kind, self._random.choice(self.keys)

    def stays(self) -> bool:
        return self._random.randrange(_VISIT) > 0

    def finished(self, kind: Kind, problem: str | None) -> None:
        if problem is None:
            self.answered[kind.name] += 1
        else:
            self.failed[f"{kind.name}: {problem}"] += 1
        self._finished += 1
        if self._finished % _EVERY == 0:
            print(f"{self._finished} answered", flush=True)
        if self._finished == self.sent and not self.left and not self.done.done():
            self.done.set_result(None)

    def visit(self) -> None:
        """One more connection."""
        asyncio.get_running_loop().create_task(self._visit())

    async def _visit(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: _Visitor(self), "127.0.0.1", self.port)


class _Visitor(asyncio.Protocol):
    """One connection, message by message."""

    def __init__(self, clients: _Clients) -> None:
        self._clients = clients
        self._kind: Kind | None = None
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._next()

    def _next(self) -> None:
        found = self._clients.next()
        if found is None:
            self._transport.close()
            return
        self._kind, key = found
        self._seen = b""
        message = self._kind.message(self._clients.sent, key)
        if self._kind.halves:
            middle = len(message) // 2 if self._clients.sent % 2 else 40
            asyncio.get_running_loop().call_later(0.001, self._transport.write, message[middle:])
            message = message[:middle]
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        kind = self._kind
        if kind is None:
            return
        self._seen += data
        head, between, body = self._seen.partition(b"\r\n\r\n")
        if not between:
            return
        if kind.leaves and body:
            self._transport.abort()
            return
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if (len(body) < int(length[1])) if length else not body.endswith(b"0\r\n\r\n"):
            return
        status = int(head[9:12])
        self._kind = None
        self._clients.finished(kind, None if status == kind.status else f"status {status}: {body[:200]!r}")
        if not kind.closes and self._clients.stays():
            self._next()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        kind, self._kind = self._kind, None
        if kind is not None:
            self._clients.finished(kind, None if kind.leaves else f"the connection was lost: {exc!r}")
        if self._clients.left:
            self._clients.visit()


class _Endpoint(asyncio.Protocol):
    """Answers one request after the other."""

    def __init__(self, busy: bool) -> None:
        self._busy = busy
        self._seen = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, between, body = self._seen.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if not between or len(body) < (int(length[1]) if length else 0):
            return
        self._seen = b""
        if b'"stream": true' in body or b'"stream":true' in body:
            begin = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            self._transport.write(begin)
            self._piece(_PIECES)
            return
        status = b"503 Service Unavailable" if self._busy and b'"llama-busy"' in body else b"200 OK"
        fields = b"content-type: application/json\r\ncontent-length: %d" % len(REPLY)
        self._transport.write(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, fields, REPLY))

    def _piece(self, left: int) -> None:
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT))
        asyncio.get_running_loop().call_later(0.001, self._piece, left - 1)


async def _clients(port: int, messages: int, keys: Sequence[str]) -> None:
    clients = _Clients(port, messages, keys)
    for _ in range(_VISITORS):
        clients.visit()
    await clients.done
    print(json.dumps({"answered": clients.answered, "failed": clients.failed}), flush=True)


async def _endpoint(ports: Sequence[int]) -> None:
    loop = asyncio.get_running_loop()
    for place, port in enumerate(ports):
        await loop.create_server(lambda place=place: _Endpoint(place == 0), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "clients":
        uvloop.run(_clients(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
    else:
        uvloop.run(_endpoint([int(port) for port in sys.argv[2:]]))
