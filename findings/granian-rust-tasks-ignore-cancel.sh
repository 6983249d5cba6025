#!/usr/bin/env bash
# granian 2.8.9 with `--task-impl rust` runs an ASGI application in tasks of its own. `task.cancel()` on the task of a request
# returns False and cancels nothing, so `asyncio.timeout` around a wait never fires: a handler that means to give up after
# 0.2 s waits for as long as what it waits for. With `--task-impl asyncio`, the default, the same handler gives up in time.
#
# Seen: with asyncio "cancel: True, gave up after 0.2 s"; with rust "cancel: False, waited 1.0 s".
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check granian==2.8.9
cat > "$work/service.py" << 'PY'
import asyncio
import time


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    began = time.monotonic()
    try:
        async with asyncio.timeout(0.2):
            await asyncio.sleep(1)
        told = f"waited {time.monotonic() - began:.1f} s"
    except TimeoutError:
        told = f"gave up after {time.monotonic() - began:.1f} s"
    # Whether a task may be cancelled is asked last, because the question itself cancels it where it works.
    cancel = asyncio.current_task().cancel()
    if cancel:
        asyncio.current_task().uncancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
    body = f"cancel: {cancel}, {told}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
PY
cat > "$work/ask.py" << 'PY'
import sys
import time
import urllib.request

for _ in range(100):
    try:
        print(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=10).read().decode())
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit("no answer")
PY
answer() {
    local port
    port=$("$work/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    (cd "$work" && exec venv/bin/granian --interface asgi --task-impl "$1" --port "$port" --no-log service:app) &
    local server=$!
    "$work/venv/bin/python" "$work/ask.py" "$port"
    kill "$server"
    wait "$server" || true
}
plain=$(answer asyncio)
rust=$(answer rust)
echo "asyncio: $plain"
echo "rust:    $rust"
[[ $plain == "cancel: True, gave up after 0.2 s" && $rust == "cancel: False, waited 1.0 s" ]]
