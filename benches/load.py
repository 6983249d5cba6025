"""Load on one URL over keep-alive connections: by wrk where it is installed, else by what is in this file.

As a command, `python -m benches.load PORT CONNECTIONS SECONDS`: prints requests answered and requests failed.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import uvloop

from benches.corpus import CHAT, REPLY

__all__ = ["PATH", "REQUEST", "run", "tool"]

PATH = "/v1/chat/completions"
REQUEST = (
    f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(CHAT)}\r\n\r\n"
).encode() + CHAT


def tool() -> str:
    """What makes the load."""
    return "wrk" if shutil.which("wrk") else "the asyncio client of benches/load.py (no wrk here)"


def run(directory: Path, port: int, connections: int, seconds: float, *, core: int | None = None) -> tuple[int, int]:
    """Send chat requests as fast as they are answered: requests answered, and requests failed."""
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    if shutil.which("wrk") is None:
        command = [*pinned, sys.executable, "-m", "benches.load", str(port), str(connections), str(seconds)]
        answered, failed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        return int(answered), int(failed)
    script = directory / "post.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\nwrk.body = [==[{CHAT.decode()}]==]\n',
        "utf-8",
    )
    command = [*pinned, "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script)]
    command.append(f"http://127.0.0.1:{port}{PATH}")
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    answered_in = re.search(r"(\d+) requests in", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failures = (int(refused[1]) if refused else 0) + (sum(map(int, broken.groups())) if broken else 0)
    return int(answered_in[1]) if answered_in else 0, failures


class _Client(asyncio.Protocol):
    """One connection: a request, its answer, the next request. Knows the reply that has to come."""

    answered = 0
    failed = 0

    def __init__(self) -> None:
        self._seen = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(REQUEST)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if not self._seen.endswith(REPLY):
            return
        if self._seen.startswith(b"HTTP/1.1 200 "):
            _Client.answered += 1
        else:
            _Client.failed += 1
        self._seen.clear()
        self._transport.write(REQUEST)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None or not self._transport.is_closing():
            _Client.failed += 1


async def _main(port: int, connections: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(_Client, "127.0.0.1", port) for _ in range(connections)]
    await asyncio.sleep(seconds)
    print(_Client.answered, _Client.failed)
    for transport, _ in opened:
        transport.abort()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
