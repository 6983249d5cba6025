"""An endpoint as a program of its own, which can be killed: `python endpoint.py PORT JOURNAL`.

It answers envelopes and keeps a journal of what it did, one line each, which outlives it: `begun ID` where it has a
whole request and executes it, `answered ID` once it has given away the last byte of a response. `slow` and `parts`
in an envelope's `content` say after how many milliseconds it answers, and in how many pieces, each of them a
millisecond after the other. SIGTERM drains: it stops listening, closes what idles, and ends when everything is
answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from typing import Any, Final, cast

_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


class _Endpoint:
    def __init__(self, sock: socket.socket, journal: int) -> None:
        self._sock = sock
        self._journal = journal
        self.connections: set[_Connection] = set()
        self._idle = asyncio.Event()
        self.draining = asyncio.Event()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.draining.set)
        server = await loop.create_server(lambda: _Connection(self), sock=self._sock, backlog=1024)
        print("ready", flush=True)
        await self.draining.wait()
        server.close()
        for connection in list(self.connections):
            connection.close_if_idle()
        while self.connections:
            self._idle.clear()
            await self._idle.wait()

    def gone(self, connection: _Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._idle.set()

    def note(self, what: str, message: str) -> None:
        os.write(self._journal, f"{what} {message}\n".encode())


class _Connection(asyncio.Protocol):
    def __init__(self, endpoint: _Endpoint) -> None:
        self._endpoint = endpoint
        self._came = bytearray()
        self._busy = False
        self._transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._endpoint.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._endpoint.gone(self)

    def close_if_idle(self) -> None:
        if not self._busy and not self._came:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, end, _ = bytes(self._came).partition(b"\r\n\r\n")
        if not end or self._busy:
            return
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        size = len(head) + 4 + length
        if len(self._came) < size:
            return
        envelope = json.loads(self._came[len(head) + 4 : size])
        del self._came[:size]
        self._busy = True
        self._endpoint.note("begun", envelope["id"])
        slow = envelope["content"].get("slow", 0)
        if slow:
            asyncio.get_running_loop().call_later(slow / 1000, self._answer, envelope)
        else:
            self._answer(envelope)

    def _answer(self, envelope: dict[str, Any]) -> None:
        if self._transport.is_closing():
            return
        body = json.dumps({"id": envelope["id"], "result": "x" * 100}).encode()
        parts = envelope["content"].get("parts", 1)
        closing = b"connection: close\r\n" if self._endpoint.draining.is_set() else b""
        if parts == 1:
            self._transport.write(b"%scontent-length: %d\r\n%s\r\n%s" % (_HEAD, len(body), closing, body))
            self._answered(envelope["id"], close=bool(closing))
            return
        self._transport.write(b"%stransfer-encoding: chunked\r\n%s\r\n" % (_HEAD, closing))
        step = -(-len(body) // parts)
        pieces = [
            b"%x\r\n%s\r\n" % (len(body[at : at + step]), body[at : at + step]) for at in range(0, len(body), step)
        ]
        self._send([*pieces, b"0\r\n\r\n"], envelope["id"], close=bool(closing))

    def _send(self, pieces: list[bytes], message: str, *, close: bool) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(pieces[0])
        if len(pieces) > 1:
            asyncio.get_running_loop().call_later(0.001, lambda: self._send(pieces[1:], message, close=close))
        else:
            self._answered(message, close=close)

    def _answered(self, message: str, *, close: bool) -> None:
        self._endpoint.note("answered", message)
        self._busy = False
        if close or (self._endpoint.draining.is_set() and not self._came):
            self._transport.close()


def main() -> None:
    port, journal = sys.argv[1:]
    sock = socket.create_server(("127.0.0.1", int(port)), backlog=1024)
    asyncio.run(_Endpoint(sock, os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)).serve())


if __name__ == "__main__":
    main()
