"""A gateway in this process, real upstreams on loopback, and an ASGI client that sees every message."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from waypost.config import from_dict
from waypost.entry.asgi import DataPath
from waypost.gateway import Gateway

Script = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


class Request:
    """What an upstream was sent."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.line, *fields = head.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        self.body = body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Upstream:
    """Answers each request by the next of its scripts, the last one for ever."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""
        self.closed = asyncio.Event()
        """A connection has ended."""
        self.asked = asyncio.Event()
        """A request has arrived."""
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                request = Request(head, b"")
                if "content-length" in request.headers:
                    request.body = await reader.readexactly(int(request.headers["content-length"]))
                elif "transfer-encoding" in request.headers:
                    while size := int(await reader.readuntil(b"\r\n"), 16):
                        request.body += (await reader.readexactly(size + 2))[:-2]
                    await reader.readexactly(2)
                self.requests.append(request)
                self.asked.set()
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                running = asyncio.ensure_future(script(request, writer))
                gone = asyncio.ensure_future(reader.read(1)) if getattr(script, "watch", False) else None
                await asyncio.wait([running, *([gone] if gone else [])], return_when=asyncio.FIRST_COMPLETED)
                if gone is not None and gone.done():
                    running.cancel()
                    break
                if writer.is_closing():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed.set()
            writer.close()


class Answer:
    """Everything that the application sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        self.complete = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def http_scope(method: str, path: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
    """The scope of a request by HTTP/1.1 (ASGI 3.0)."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 50000),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


class Client:
    """Sends messages through a gateway's data path."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.gateway = Gateway(from_dict(config))
        self._path = DataPath(self.gateway)

    async def send(
        self,
        body: Any = b"",
        *,
        path: str = "/v1/envelopes",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        pieces: list[bytes | asyncio.Event] | None = None,
        leave: asyncio.Event | None = None,
        on_chunk: Callable[[bytes], Awaitable[None]] | None = None,
        scope: dict[str, Any] | None = None,
    ) -> Answer:
        """One message. `leave`: the client is gone once it is set. `on_chunk` may keep the client from reading on.

        `pieces` are what the body comes in; at an event the client waits for it. HTTP/2 declares no length by itself.
        """
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        fields = {"content-type": "application/json", **(headers or {})}
        if (scope or {}).get("http_version") != "2":
            if pieces is None and method != "GET":
                fields.setdefault("content-length", str(len(data)))
            elif pieces is not None and "content-length" not in fields:
                fields["transfer-encoding"] = "chunked"
        waiting = [data] if pieces is None else list(pieces)
        done = asyncio.Event()
        answer = Answer()

        async def receive() -> dict[str, Any]:
            while waiting:
                piece = waiting.pop(0)
                if isinstance(piece, bytes):
                    return {"type": "http.request", "body": piece, "more_body": bool(waiting)}
                await piece.wait()
            ends = [asyncio.ensure_future(event.wait()) for event in (done, leave) if event is not None]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            elif message["type"] == "http.response.body":
                if message["body"]:
                    answer.chunks.append(message["body"])
                    if on_chunk is not None:
                        await on_chunk(message["body"])
                if not message["more_body"]:
                    answer.complete = True
                    done.set()

        full = http_scope(method, path, list({"host": "waypost", **fields}.items())) | (scope or {})
        await self._path(full, receive, send)
        return answer


def counted(gateway: Gateway, name: str, **labels: str) -> float:
    """What the samples of this name and with these labels come to, at `/metrics`."""
    families = text_string_to_metric_families(gateway.recorder.render()[0])
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(each.value for each in samples if labels.items() <= each.labels.items())


@pytest.fixture(name="counted")
def _counted() -> Callable[..., float]:
    return counted


def _ask(app, path, method="GET", headers=()):
    """Status, header fields and JSON, where it is that, of the answer to a request without a body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = http_scope(method, path, [("host", "waypost")])
    scope["headers"] += headers
    asyncio.run(app(scope, receive, send))
    body = b"".join(message["body"] for message in sent[1:])
    fields = dict(sent[0]["headers"])
    is_json = fields.get(b"content-type") == b"application/json"
    return sent[0]["status"], fields, orjson.loads(body) if is_json else None


@pytest.fixture
def ask() -> Callable[..., tuple[int, dict[bytes, bytes], Any]]:
    """Asks an ASGI application, on an event loop of its own."""
    return _ask


class World:
    """Starts upstreams and clients, and closes them."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._upstreams: list[Upstream] = []
        self._sockets: list[socket.socket] = []

    async def upstream(self, *scripts: Script, host: str = "127.0.0.1", port: int = 0) -> Upstream:
        upstream = Upstream(*scripts)
        server = await asyncio.start_server(upstream.serve, host, port)
        port = server.sockets[0].getsockname()[1]
        upstream.url = f"http://127.0.0.1:{port}"
        self._servers.append(server)
        self._upstreams.append(upstream)
        return upstream

    async def raw(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> str:
        """The URL of an upstream that `serve` is all of, but for what happens when its connection is gone."""

        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(guarded, "127.0.0.1", 0)
        self._servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def dead(self) -> str:
        """A URL at which nothing listens."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))  # and it does not listen, nor can anybody else
        self._sockets.append(sock)
        return f"http://127.0.0.1:{sock.getsockname()[1]}"

    def client(
        self,
        *urls: str | Upstream,
        speaks: str = "envelope",
        limits: dict[str, Any] | None = None,
        listen: dict[str, Any] | None = None,
        timeout: dict[str, str] | None = None,
        model: str | None = None,
    ) -> Client:
        """A gateway with one cluster for each URL: the first is the route's, the others its fallback. Each makes one
        attempt."""
        clusters: dict[str, Any] = {}
        for index, url in enumerate(urls):
            where = url.url if isinstance(url, Upstream) else url
            clusters[f"c{index}"] = {"speaks": speaks, "endpoints": [where], "timeout": timeout or {}, "retry": "off"}
            if model is not None:
                clusters[f"c{index}"]["model"] = model
        names = list(clusters)
        route = {"name": "all", "to": names[0], "fallback": names[1:]}
        # Paths of the API that are not listed have to be named.
        named = {**route, "name": "named", "match": {"path": [{"prefix": "/v1/"}]}}
        config = {"clusters": clusters, "routes": [route, named], "access_log": "off"}
        return Client({**config, "limits": limits or {}, "listen": listen or {}})

    async def close(self, *clients: Client) -> None:
        for upstream in self._upstreams:
            for writer in upstream.writers:
                writer.close()
        for server in [*self._servers, *self._sockets]:
            server.close()


@asynccontextmanager
async def _world() -> AsyncIterator[World]:
    world = World()
    try:
        async with asyncio.timeout(60):
            yield world
    finally:
        await world.close()


@pytest.fixture
def run() -> Callable[[Callable[[World], Awaitable[None]]], None]:
    """Runs a test body with a `World` on an event loop of its own."""

    def run(body: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            async with _world() as world:
                await body(world)

        asyncio.run(main())

    return run


class Scripts:
    """What an upstream may do with a request."""

    @staticmethod
    def reply(body: bytes = b'{"ok":true}', status: int = 200, extra: str = "") -> Script:
        async def script(_: Request, writer: asyncio.StreamWriter) -> None:
            head = (
                f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
            )
            writer.write(head.encode() + body)

        return script

    @staticmethod
    def send(data: bytes, *, close: bool = True) -> Script:
        async def script(_: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            if close:
                writer.close()

        return script

    @staticmethod
    def held(until: asyncio.Event) -> Script:
        """Replies once `until` is set."""

        async def script(request: Request, writer: asyncio.StreamWriter) -> None:
            await until.wait()
            await Scripts.reply()(request, writer)

        return script

    @staticmethod
    def hang(data: bytes = b"") -> Script:
        async def script(_: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            await asyncio.Event().wait()

        script.watch = True  # type: ignore[attr-defined]
        return script


@pytest.fixture
def scripts() -> type[Scripts]:
    return Scripts


class Clock:
    """The part of an event loop that a wheel and a resolver use. Its time is the test's."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def time(self):
        return self.now

    def call_at(self, when, callback):
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    def call_soon_threadsafe(self, callback, *args):
        callback(*args)

    def create_future(self):
        return asyncio.get_running_loop().create_future()

    def advance(self, to):
        while due := [timer for timer in self.timers if not timer.cancelled and timer.when <= to]:
            timer = min(due, key=lambda each: each.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback()
        self.now = to

    @property
    def armed(self):
        return sum(not timer.cancelled for timer in self.timers)


class Timer:
    def __init__(self, when, callback):
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def clock():
    """An event loop's clock, at 100 seconds."""
    return Clock()
