"""What runs of a wheel in an emulator: the matcher, a configuration, and messages through the application."""

import asyncio
import platform

from waypost import Matcher, create_app

matcher = Matcher({f"r{at}": {"tenant": [f"t{at}"], "n": [{"numeric": [">", at]}]} for at in range(1000)})
assert matcher.matches('{"tenant": "t7", "n": 8, "text": "%s"}' % ("\u00e9\\n" * 1000)) == ["r7"]

app = create_app({"routes": [{"name": "r", "reply": {"text": "fine"}}], "access_log": "off"})
sent = []


async def receive():
    return {"type": "http.request", "body": b'{"id": "1", "kind": "query"}'}


async def send(message):
    sent.append(message)


fields = [(b"host", b"waypost"), (b"content-type", b"application/json")]
scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/envelopes", "query_string": b""}
asyncio.run(app({**scope, "headers": fields}, receive, send))
assert (sent[0]["status"], sent[1]["body"]) == (200, b"fine")
print(f"Python {platform.python_version()} on {platform.machine()}: fine")
