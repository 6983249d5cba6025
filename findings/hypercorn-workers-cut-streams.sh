#!/usr/bin/env bash
# hypercorn 0.18.0 with `--graceful-timeout 20`: on SIGTERM to the process that was started, a response that is under way goes
# on to its end with one worker. With two workers it is cut, whatever the graceful timeout is. A deployment that scales to a
# second worker loses every stream at each restart, though nothing in its settings has changed but the number.
#
# Seen, of a stream of 20 lines, 0.2 s apart, with SIGTERM after the fifth: "--workers 1: 20 lines, whole";
# "--workers 2: fewer lines, cut".
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check hypercorn==0.18.0
cat > "$work/service.py" << 'PY'
import asyncio


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(20):
        await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": True})
        await asyncio.sleep(0.2)
    await send({"type": "http.response.body", "body": b""})
PY
cat > "$work/read.py" << 'PY'
"""Starts the server, reads the stream, sends SIGTERM after the fifth line, and says how it ended."""

import http.client
import signal
import socket
import subprocess
import sys
import time

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
command = [sys.argv[1], "--workers", sys.argv[2], "--graceful-timeout", "20", "--bind", f"127.0.0.1:{port}", "service:app"]
server = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
for _ in range(200):
    try:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        client.request("GET", "/")
        response = client.getresponse()
        break
    except OSError:
        time.sleep(0.1)
lines, end = 0, "whole"
try:
    while response.readline():
        lines += 1
        if lines == 5:
            server.send_signal(signal.SIGTERM)
except (http.client.IncompleteRead, OSError):
    end = "cut"
if lines < 20:
    end = "cut"
try:
    server.wait(30)
except subprocess.TimeoutExpired:
    server.kill()
print("20 lines, whole" if (lines, end) == (20, "whole") else "fewer lines, cut")
PY
cd "$work"
one=$("$work/venv/bin/python" read.py venv/bin/hypercorn 1)
two=$("$work/venv/bin/python" read.py venv/bin/hypercorn 2)
echo "--workers 1: $one"
echo "--workers 2: $two"
[[ $one == "20 lines, whole" && $two == "fewer lines, cut" ]]
