#!/usr/bin/env bash
# uvicorn 0.54.0 speaks HTTP/2 through zttp 0.0.35, which counts the streams that a client cancels over the whole life of a
# connection, however slowly they come. The 257th cancelled stream ends the connection with GOAWAY ENHANCE_YOUR_CALM, and with
# it every other call on it. A client that gives up one call in ten (a race of two models, a user who leaves) loses the
# connection, and what else runs on it, every 2,570 calls or so. Limits against rapid resets usually let a budget grow again.
#
# Seen, with one call at a time, of which every second is cancelled before its answer and the others are answered: the
# connection is ended after 257 cancelled streams, with ENHANCE_YOUR_CALM.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 zttp==0.0.35 h2==4.3.0
cat > "$work/service.py" << 'PY'
import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(30)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
PY
cat > "$work/ask.py" << 'PY'
import socket
import sys
import time

import h2.config
import h2.connection
import h2.errors
import h2.events

port = int(sys.argv[1])
for _ in range(100):
    try:
        wire = socket.create_connection(("127.0.0.1", port), timeout=20)
        break
    except OSError:
        time.sleep(0.1)
http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
http.initiate_connection()


def send(path):
    stream = http.get_next_available_stream_id()
    head = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "localhost")]
    http.send_headers(stream, head, end_stream=True)
    return stream


def answered(stream):
    """Wait for an answer; returns the error code of a GOAWAY that comes instead."""
    while True:
        wire.sendall(http.data_to_send())
        data = wire.recv(65536)
        if not data:
            return "closed"
        for event in http.receive_data(data):
            if isinstance(event, h2.events.ConnectionTerminated):
                return event.error_code
            if isinstance(event, h2.events.StreamEnded) and event.stream_id == stream:
                return None


for cancelled in range(1000):
    code = answered(send("/"))
    if code is not None:
        print(f"ended after {cancelled} cancelled streams with {h2.errors.ErrorCodes(code).name}")
        break
    slow = send("/slow")
    wire.sendall(http.data_to_send())
    http.reset_stream(slow, h2.errors.ErrorCodes.CANCEL)
else:
    print("not ended")
PY
cd "$work"
port=$(venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/uvicorn --http zttp --http2 --port "$port" --log-level critical service:app &
venv/bin/python ask.py "$port" | tee seen
grep -qx "ended after 257 cancelled streams with ENHANCE_YOUR_CALM" seen
