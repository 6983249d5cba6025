"""Load on one URL over keep-alive connections: by wrk where it is installed, else by what is in this file.

As a command, `python -m benches.load PORT CONNECTIONS SECONDS FILE`: prints requests answered and requests failed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benches.corpus import CHAT, REPLY

__all__ = ["PATH", "REQUEST", "Load", "Outcome", "post", "tool"]

PATH = "/v1/chat/completions"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Outcome:
    answered: int
    failed: int
    p50: float | None
    """Seconds from request to answer, median. `None` where nothing here measures it."""


def post(body: bytes, key: str = "") -> bytes:
    """A chat request of HTTP/1.1."""
    proof = f"authorization: Bearer {key}\r\n" if key else ""
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{proof}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


REQUEST = post(CHAT)


def tool() -> str:
    """What makes the load."""
    return "wrk" if shutil.which("wrk") else "the asyncio client of benches/load.py (no wrk here)"


class Load:
    """Chat requests with `body`, by the holders of `keys` in turn."""

    def __init__(self, directory: Path, body: bytes = CHAT, keys: Sequence[str] = ("",)) -> None:
        """`directory` is its own: it keeps there what its tools read."""
        directory.mkdir(exist_ok=True)
        self._requests = directory / "requests.json"
        self._requests.write_text(json.dumps([post(body, key).decode() for key in keys]), "utf-8")
        self._script = directory / "post.lua"
        self._script.write_text(_LUA % (", ".join(f'"{key}"' for key in keys), PATH, body.decode()), "utf-8")

    def run(self, port: int, connections: int, seconds: float, *, core: int | None = None) -> Outcome:
        """Send as fast as there are answers, for so long (in whole seconds, at least one)."""
        seconds = math.ceil(seconds)
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        if shutil.which("wrk") is None:
            command = [*pinned, sys.executable, "-m", "benches.load"]
            command += [str(port), str(connections), str(seconds), str(self._requests)]
            answered, failed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            return Outcome(int(answered), int(failed), None)
        command = [*pinned, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
        command += ["-s", str(self._script), f"http://127.0.0.1:{port}{PATH}"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        made = re.search(r"(\d+) requests in", text)
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        median = re.search(r"^ +50% +([\d.]+)(us|ms|s)$", text, re.MULTILINE)
        failures = (int(refused[1]) if refused else 0) + (sum(map(int, broken.groups())) if broken else 0)
        p50 = float(median[1]) * _UNITS[median[2]] if median else None
        return Outcome(int(made[1]) if made else 0, failures, p50)


_LUA = """\
local keys, requests, at = {%s}, {}, 0
init = function()
  for place, key in ipairs(keys) do
    local headers = {["content-type"] = "application/json"}
    if key ~= "" then headers["authorization"] = "Bearer " .. key end
    requests[place] = wrk.format("POST", "%s", headers, [==[%s]==])
  end
end
request = function()
  at = at %% #requests + 1
  return requests[at]
end
"""


class _Client(asyncio.Protocol):
    """One connection: a request, its answer, the next request. Knows the reply that has to come."""

    answered = 0
    failed = 0

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = itertools.cycle(requests)
        self._seen = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(next(self._requests))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if not self._seen.endswith(REPLY):
            return
        if self._seen.startswith(b"HTTP/1.1 200 "):
            _Client.answered += 1
        else:
            _Client.failed += 1
        self._seen.clear()
        self._transport.write(next(self._requests))  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None or not self._transport.is_closing():
            _Client.failed += 1


async def _main(port: int, connections: int, seconds: float, requests: Sequence[bytes]) -> None:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Client(requests), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.sleep(seconds)
    print(_Client.answered, _Client.failed)
    for transport, _ in opened:
        transport.abort()


if __name__ == "__main__":
    messages = [text.encode() for text in json.loads(Path(sys.argv[4]).read_text("utf-8"))]
    uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), messages))
