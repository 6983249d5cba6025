"""What ASGI leaves to the server: kinds of awaitables, optional keys, tasks, and how a client's leaving shows."""

import asyncio

import orjson
import pytest
from waypost.entry.asgi import DataPath

QUERY = b'{"id":"q1","kind":"query","content":"x"}'
FIELDS = [[b"host", b"waypost"], [b"content-type", b"application/json"]]


class Bare:
    """An awaitable whose iterator has neither `send` nor `throw`: an awaitable needs no more (PEP 492)."""

    def __init__(self, coroutine):
        self._steps = coroutine.__await__()

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._steps)


class Stubborn(asyncio.Task):
    """A task that cannot be cancelled."""

    def cancel(self, msg=None):
        return False


class Server:
    """Serves one request. `late`: the body arrives only when it is waited for."""

    def __init__(self, *, late=False, awaitable=Bare, left=None):
        self.sent = []
        self._late = late
        self._awaitable = awaitable
        self._left = asyncio.Event() if left is None else left
        self._asked = False

    def receive(self):
        return self._awaitable(self._receive())

    async def _receive(self):
        if self._asked:
            await self._left.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        if self._late:
            await asyncio.sleep(0)
        return {"type": "http.request", "body": QUERY}

    def send(self, message):
        return self._awaitable(self._send(message))

    async def _send(self, message):
        self.sent.append(message)

    @property
    def answer(self):
        return self.sent[0]["status"], b"".join(message["body"] for message in self.sent[1:])


def scope(path="/v1/envelopes", **more):
    """Only the keys that ASGI requires, with the fields as lists."""
    required = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path}
    return {**required, "query_string": b"", "headers": FIELDS, **more}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("awaitable", [Bare, asyncio.ensure_future, lambda coroutine: coroutine])
def test_receive_and_send_may_return_any_awaitable(run, scripts, late, awaitable):
    async def body(world):
        up = await world.upstream(scripts.reply())
        server = Server(late=late, awaitable=awaitable)
        await DataPath(world.client(up).gateway)(scope(), server.receive, server.send)
        assert server.answer == (200, b'{"ok":true}')
        assert up.requests[0].body == QUERY

    run(body)


def test_no_key_of_the_scope_is_needed_that_asgi_calls_optional(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = DataPath(world.client(up).gateway)
        for more in ({}, {"client": None, "server": None, "extensions": None, "raw_path": None}):
            server = Server()
            await app(scope(**more), server.receive, server.send)
            assert server.answer == (200, b'{"ok":true}')

    run(body)


def test_a_task_that_cannot_be_cancelled_keeps_no_request_waiting(run):
    """The body of a rejected request may never arrive. The answer does not wait for it."""

    async def body(world):
        app = DataPath(world.client(await world.dead()).gateway)
        server = Server()

        async def receive():
            await asyncio.Event().wait()

        chunked = [*FIELDS, [b"transfer-encoding", b"chunked"]]

        async def serve():
            await app(scope("/nowhere", headers=chunked), receive, server.send)

        task = Stubborn(serve(), loop=asyncio.get_running_loop())
        await asyncio.wait([task])
        status, told = server.answer
        assert (status, orjson.loads(told)["error"]["code"]) == (404, "not_found")

    run(body)


def test_an_application_may_be_called_outside_of_a_task(run, scripts):
    async def body(world):
        up = await world.upstream(scripts.reply())
        app = DataPath(world.client(up).gateway)
        server = Server()
        loop = asyncio.get_running_loop()
        began = loop.create_future()
        loop.call_soon(lambda: began.set_result(app(scope(), server.receive, server.send)))
        await (await began)
        assert server.answer == (200, b'{"ok":true}')

    run(body)


@pytest.mark.parametrize("at", [0, 1])
def test_a_send_that_fails_with_an_os_error_says_that_the_client_has_left(run, scripts, counted, at):
    async def body(world):
        up = await world.upstream(
            scripts.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n", close=False)
        )
        gateway = world.client(up).gateway
        sent = 0

        async def send(message):
            nonlocal sent
            sent += 1
            if sent > at:
                raise ConnectionResetError

        await DataPath(gateway)(scope(), Server().receive, send)
        await up.closed.wait()
        assert counted(gateway, "waypost_clients_gone_total") == 1

    run(body)


def test_a_rejection_may_find_that_the_client_has_left(run):
    async def body(world):
        async def send(message):
            raise BrokenPipeError

        app = DataPath(world.client(await world.dead()).gateway)
        await app(scope("/nowhere"), Server().receive, send)

    run(body)
