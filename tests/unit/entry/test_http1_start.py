"""Messages that Waypost's own listener gives to an application: what it is given, and by what it decides."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from waypost import create_app
from waypost.config import from_dict
from waypost.entry import http1, uvicorn_http1
from waypost.entry.http1 import fast_path

from .support import running

BODY = b'{"id":"q1","kind":"query"}'


def config(clusters, routes, **more):
    named = {name: {"speaks": "envelope", "endpoints": [url]} for name, url in clusters.items()}
    listed = [{"name": to, "match": match, "to": to} for to, match in routes]
    return from_dict({"clusters": named, "routes": listed, "access_log": "off", **more})


ALL = {"path": [{"prefix": "/"}]}


@contextlib.asynccontextmanager
async def serving(app, http, **settings):
    """A running uvicorn; gives its port."""
    async with running(app, http, **settings) as (_, port):
        yield port


async def ask(port, *requests):
    """Send all at once; the answers, once the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"".join(requests))
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def request(target=b"/v1/envelopes", *fields, body=BODY, method=b"POST"):
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: h", *fields]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CLOSE = request(b"/healthz", b"connection: close", body=b"", method=b"GET")


class Around:
    """An application around another one: keeps scopes and bodies, and may change the scope."""

    def __init__(self, app, change=None):
        self.app = app
        self.seen = []
        self.change = change

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and "/v1/" in scope["path"]:
            kept = {name: value for name, value in scope.items() if name not in ("extensions", "client", "server")}
            kept["headers"] = list(scope["headers"])
            body = []

            async def received():
                message = await receive()
                body.append(message)
                return message

            self.seen.append((kept, body))
            if self.change is not None:
                self.change(scope)
            return await self.app(scope, received, send)
        return await self.app(scope, receive, send)


@pytest.fixture
def started(monkeypatch):
    """Targets of the dialects' messages that the application got, and whether each was accepted by its reader."""
    seen = []
    begin = uvicorn_http1.StrictHttp1.begin_message

    def counted(self, head, body, accepted):
        if head.target.startswith("/v1/"):
            seen.append((head.target, accepted is not None))
        begin(self, head, body, accepted)

    monkeypatch.setattr(uvicorn_http1.StrictHttp1, "begin_message", counted)
    return seen


PLAIN = [
    request(),
    request(b"/v1/envelopes?a=1&b=%20"),
    request(b"/v1/a%20b%C3%A9?", b"X-Mixed-Case:  padded", b"x-twice: 1", b"x-twice: 2"),
    request(b"/v1/models", body=b"", method=b"GET"),
    request(b"/v1/\x7e", b"X-Latin: caf\xe9"),
]


NOT_PLAIN = [
    request(b"/v1/envelopes", b"Transfer-Encoding: chunked", body=b"").replace(
        b"\r\n\r\n", b"\r\n\r\n1a\r\n%b\r\n0\r\n\r\n" % BODY
    ),
    request(b"/v1/envelopes", b"Expect: 100-continue"),
    request(b"/v1/envelopes", method=b"TRACE"),
]


@pytest.mark.parametrize("root_path", ["", "/base"])
@pytest.mark.parametrize("raw", [*PLAIN, *NOT_PLAIN, request().replace(b"HTTP/1.1", b"HTTP/1.0")])
def test_the_application_is_given_what_uvicorns_parser_would_give(run, scripts, started, raw, root_path):
    async def body(world):
        up = await world.upstream(scripts.reply())
        seen = []
        for own in (True, False):
            app = create_app(config({"one": up.url}, [("one", ALL)]))
            around = Around(app)
            async with serving(around, fast_path(app, fast=False) if own else "httptools", root_path=root_path) as port:
                await ask(port, raw, CLOSE)
            seen += around.seen
        assert len(started) == 1
        assert seen[0] == seen[1]
        assert seen[0][1] or raw.startswith(b"TRACE")
        assert seen[0][0]["raw_path"].startswith(root_path.encode() + b"/v1/")

    run(body)


def test_who_changes_the_scope_is_heard(run, scripts, started):
    """What was read off the wire does not count, where an application stands around ours."""

    def change(scope):
        scope["headers"].append((b"x-tier", b"gold"))

    async def body(world):
        up = await world.upstream(scripts.reply())
        other = await world.upstream(scripts.reply())
        routes = [("gold", {"headers": {"x-tier": ["gold"]}}), ("one", ALL)]
        app = create_app(config({"one": up.url, "gold": other.url}, routes))
        async with serving(Around(app, change), fast_path(app, fast=False)) as port:
            assert (await ask(port, request(), CLOSE)).count(b"HTTP/1.1 200 OK") == 2
        async with serving(app, fast_path(app, fast=False)) as port:
            await ask(port, request(), CLOSE)
        assert (len(other.requests), len(up.requests)) == (1, 1)
        assert started == [("/v1/envelopes", False), ("/v1/envelopes", True)]

    run(body)


def test_a_message_ends_with_the_configuration_by_which_its_head_was_read(run, scripts, monkeypatch):
    async def body(world):
        old, new = await world.upstream(scripts.reply()), await world.upstream(scripts.reply())
        app = create_app(config({"old": old.url}, [("old", ALL)]))
        begin = http1.Http1.begin_message

        def reload(self, head, body, accepted):
            begin(self, head, body, accepted)  # the application's task runs later
            app.state.gateway.replace(config({"new": new.url}, [("new", ALL)], limits={"body": len(BODY) - 1}))

        monkeypatch.setattr(http1.Http1, "begin_message", reload)
        async with serving(app, fast_path(app, fast=False)) as port:
            answers = await ask(port, request(), CLOSE)
            assert b"\r\nx-waypost-route: old\r\n" in answers
            assert b"body_too_large" in await ask(port, request(), CLOSE)
        assert (len(old.requests), len(new.requests)) == (1, 0)

    run(body)


@pytest.mark.parametrize("raw", NOT_PLAIN)
def test_the_application_accepts_what_is_not_plain(run, scripts, started, raw):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = create_app(config({"one": up.url}, [("one", ALL)]))
        async with serving(app, fast_path(app, fast=False)) as port:
            assert b" 200 OK\r\n" in await ask(port, raw, CLOSE)
        assert started == [("/v1/envelopes", False)]

    run(body)


def test_requests_that_come_together_are_answered_in_order(run, scripts, started):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = create_app(config({"one": up.url}, [("one", ALL)]))
        async with serving(app, fast_path(app, fast=False)) as port:
            ids = [b"r%d" % at for at in range(4)]
            answers = await ask(port, *(request(body=BODY.replace(b"q1", one)) for one in ids), CLOSE)
        lines = [line for line in answers.split(b"\r\n") if line.startswith(b"x-request-id: ")]
        assert lines == [b"x-request-id: " + one for one in ids]
        assert started == [("/v1/envelopes", True)] * 4

    run(body)


def test_a_connection_that_rests_is_closed_in_time(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = create_app(config({"one": up.url}, [("one", ALL)]))
        async with serving(app, fast_path(app, fast=False), timeout_keep_alive=0) as port:
            assert b"HTTP/1.1 200 OK" in await ask(port, request())

    run(body)
