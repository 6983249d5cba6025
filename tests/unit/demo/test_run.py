"""The demo's run: what it prints, its exit codes, and that Ctrl-C leaves nothing behind.

The proxy here is a stand-in with the same surface; the end-to-end tests run the demo with the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from waypost.demo.client import Answer, summary
from waypost.demo.config import demo_config
from waypost.demo.messages import messages
from waypost.demo.report import Report, shorten
from waypost.demo.run import run, run_upstreams
from waypost.demo.server import bind

URLS = {"model": "http://m", "retriever": "http://r", "memory": "http://y", "tools": "http://t"}


class Proxy:
    """Enough of a proxy for the demo: a route for each kind, and the answers of its native upstreams."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.app = Starlette(routes=[Route("/{path:path}", self.forward, methods=["POST"])])
        snapshot = SimpleNamespace(table=self)
        self.app.state.gateway = SimpleNamespace(generation=SimpleNamespace(snapshot=snapshot))

    def route(self, body: bytes) -> dict[str, Any]:
        kind = orjson.loads(body).get("kind", "model")
        return next(
            route
            for route in self.config["routes"]
            if route["match"]["kind"] == kind and "tenant" not in route["match"]
        )

    def explain(self, body: bytes, *, dialect: str, headers: Any, path: str, method: str) -> Any:
        name = self.route(body)["name"]
        verdicts = [SimpleNamespace(matched=False), SimpleNamespace(matched=True, reason=f"because it is for {name}")]
        return SimpleNamespace(route=name, verdicts=verdicts)

    async def forward(self, request: Request) -> Response:
        body = await request.body()
        route = self.route(body)
        url, path = self.config["clusters"][route["to"]]["endpoints"][0], request.url.path
        document = orjson.loads(body)
        if document.get("kind") == "model":
            path = "/v1/chat/completions"
            chat = {"model": "echo-1", "messages": [{"role": "user", "content": document["content"]}]}
            body = orjson.dumps(chat | {"stream": document.get("stream", False)})
        status, kind, answer = await asyncio.to_thread(post, url, path, body)
        headers = {"content-type": kind, "x-waypost-route": route["name"], "x-waypost-cluster": route["to"]}
        return Response(answer, status, headers)


def post(url: str, path: str, body: bytes) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, response.getheader("content-type", ""), response.read()
    finally:
        connection.close()


class Out(io.StringIO):
    """Calls `when` once `text` was printed."""

    def __init__(self, text: str = "\0", when: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._text = text
        self._when = when

    def write(self, text: str) -> int:
        if self._text in text:
            self._when()
        return super().write(text)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> type[Proxy]:
    class Instance(Proxy):
        pass

    app, config = ModuleType("waypost.app"), ModuleType("waypost.config")
    app.create_app = lambda config: Instance(config).app  # type: ignore[attr-defined]
    config.from_dict = lambda document: document  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "waypost.app", app)
    monkeypatch.setitem(sys.modules, "waypost.config", config)
    monkeypatch.setenv("COLUMNS", "100")
    return Instance


def go(out: io.StringIO, *, once: bool = True, port: int | None = None) -> int:
    """Run the demo, and see that no task of the loop is left."""

    async def main() -> int:
        before = asyncio.all_tasks()
        code = await run(once=once, port=port, out=out)
        assert asyncio.all_tasks() == before
        return code

    return asyncio.run(main())


def test_once_prints_where_each_message_went_and_ends(proxy: type[Proxy]) -> None:
    out = Out()
    assert go(out) == 0
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["model", "retriever", "memory", "tools", "proxy"]
    head = next(line for line in lines if line.startswith("message"))
    assert head.split() == ["message", "route", "cluster", "time", "why"]
    row = next(line for line in lines if line.startswith("query"))
    assert row[head.index("route") :].startswith("questions ")
    assert row[head.index("cluster") :].startswith("retriever ")
    assert row[head.index("why") :] == "because it is for questions"
    for message in messages():
        assert any(line.startswith(f"{message.label}  ") for line in lines)
    answers = [line for line in lines if line.startswith("  -> ")]
    assert len(answers) == len(messages())
    assert '  -> {"value":42}' in answers
    assert any(line.startswith("  -> You said: Count to three. (echoed by echo-1) (") for line in answers)
    assert max(map(len, lines)) <= 100
    assert out.getvalue().isascii()


def test_a_failed_message_is_shown_and_is_exit_code_1(proxy: type[Proxy]) -> None:
    route = proxy.route

    def astray(self: Proxy, body: bytes) -> dict[str, Any]:
        chosen = route(self, body)
        return chosen | {"to": "retriever"} if chosen["name"] == "tools" else chosen

    proxy.route = astray  # type: ignore[method-assign]
    out = Out()
    assert go(out) == 1
    text = out.getvalue()
    assert "failed: HTTP 400: unsupported_kind" in text
    assert f"1 of {len(messages())} messages failed." in text


def test_an_explanation_that_disagrees_is_a_failure(proxy: type[Proxy]) -> None:
    def wrong(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(route="elsewhere", verdicts=[])

    proxy.explain = wrong  # type: ignore[method-assign]
    out = Out()
    assert go(out) == 1
    assert "the message went to route questions, but its explanation names elsewhere" in out.getvalue()


def test_serves_on_until_ctrl_c(proxy: type[Proxy]) -> None:
    with bind() as free:
        port = free.getsockname()[1]
    asked: list[str] = []
    out = Out("until you press Ctrl-C", interrupt)
    assert go(out, once=False, port=port) == 0
    text = out.getvalue()
    asked = [line for line in text.splitlines() if line.startswith("  curl ")]
    assert len(asked) == 3
    assert all(f"http://127.0.0.1:{port}/v1/" in line for line in asked)
    assert "Traceback" not in text
    with bind(port):  # nothing listens there any more
        pass


def four_ports() -> int:
    """A free port with three more, each 100 above."""
    for port in range(20_000, 60_000):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for number in range(4):
                stack.enter_context(bind(port + 100 * number))
            return port
    raise AssertionError("no free ports")


def test_the_upstreams_alone_listen_where_they_are_told_to() -> None:
    port = four_ports()
    answers: list[int] = []

    def ask() -> None:
        for number in range(4):
            with socket.create_connection(("127.0.0.1", port + 100 * number), 5):
                answers.append(number)
        interrupt()

    out = Out("until you press Ctrl-C", ask)
    assert asyncio.run(run_upstreams(port, out=out)) == 0
    assert answers == [0, 1, 2, 3]
    for number, name in enumerate(("model", "retriever", "memory", "tools")):
        assert f"  {name:<10} http://127.0.0.1:{port + 100 * number}\n" in out.getvalue()
    with bind(port + 300):
        pass


def test_the_upstreams_alone_say_which_port_is_taken() -> None:
    port = four_ports()
    with bind(port + 200) as taken:
        taken.listen()
        out = Out()
        assert asyncio.run(run_upstreams(port, out=out)) == 1
    assert f"port {port + 200} on 127.0.0.1 cannot be used" in out.getvalue()


@pytest.mark.parametrize("moment", ["  memory ", "  proxy ", "query "])
def test_ctrl_c_before_it_is_known_whether_all_is_well(proxy: type[Proxy], moment: str) -> None:
    assert go(Out(moment, interrupt), once=False) == 128 + signal.SIGINT


def test_a_second_ctrl_c_does_not_cut_the_stopping_short(proxy: type[Proxy]) -> None:
    def twice() -> None:
        interrupt()
        asyncio.get_running_loop().call_later(0.05, interrupt)

    assert go(Out("until you press Ctrl-C", twice), once=False) == 0


def test_a_cancellation_is_passed_on_when_all_is_stopped(proxy: type[Proxy]) -> None:
    async def main() -> None:
        before = asyncio.all_tasks()
        ready = asyncio.Event()
        task = asyncio.create_task(run(once=False, port=None, out=Out("until you press Ctrl-C", ready.set)))
        await ready.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == before

    asyncio.run(main())


def test_a_port_that_is_taken_is_said_plainly(proxy: type[Proxy]) -> None:
    with bind() as taken:
        taken.listen()
        port = taken.getsockname()[1]
        out = Out()
        assert go(out, port=port) == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in out.getvalue()


def test_routes_and_clusters_of_the_configuration_fit_together() -> None:
    config = demo_config(URLS, 8080)
    assert config["listen"] == {"host": "127.0.0.1", "port": 8080}
    used = {route["to"] for route in config["routes"]} | {
        cluster for route in config["routes"] for cluster in route.get("fallback", ())
    }
    assert used == config["clusters"].keys()
    assert {url for cluster in config["clusters"].values() for url in cluster["endpoints"]} == set(URLS.values())


def test_there_is_a_message_of_each_kind() -> None:
    sent = messages()
    assert len({message.label for message in sent}) == len(sent)
    native = [orjson.loads(message.body) for message in sent if message.dialect == "envelope"]
    assert {envelope["kind"] for envelope in native} == {"query", "context", "model", "tool", "event"}
    assert any(envelope.get("stream") for envelope in native)
    chats = [orjson.loads(message.body) for message in sent if message.dialect == "openai"]
    assert {chat.get("stream", False) for chat in chats} == {False, True}


class TestSummary:
    @staticmethod
    def of(body: bytes, kind: str = "application/json") -> str:
        return summary(Answer(200, {"content-type": kind}, body, 0.0))

    def test_joins_a_native_stream(self) -> None:
        body = b'data: {"id":"1","delta":"a "}\n\ndata: {"id":"1","delta":"b"}\n\ndata: {"id":"1","done":true}\n\n'
        assert self.of(body, "text/event-stream; charset=utf-8") == "a b (2 chunks)"

    @pytest.mark.parametrize(
        ("result", "said"),
        [('"hi"', "hi"), ('{"role":"assistant","content":"hi"}', "hi"), ('{"value":1}', '{"value":1}')],
    )
    def test_says_what_a_native_reply_holds(self, result: str, said: str) -> None:
        assert self.of(b'{"id":"1","result":%s}' % result.encode()) == said

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b'data: {"id":"1","delta":"a"}\n\n', "text/event-stream"),
            (b'data: {"error":{"code":"x","message":"y"}}\n\ndata: [DONE]\n\n', "text/event-stream"),
            (b"data: 1\n\n", "text/event-stream"),
            (b'{"error":{"code":"x","message":"y"}}', "application/json"),
            (b'{"choices":[]}', "application/json"),
            (b'{"id":"1"}', "application/json"),
            (b"[]", "application/json"),
            (b"", "application/json"),
        ],
    )
    def test_anything_but_a_whole_answer_is_an_error(self, body: bytes, kind: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            self.of(body, kind)


class TestReport:
    @pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
    def test_keeps_to_the_width_where_it_can(self, width: int) -> None:
        out = io.StringIO()
        report = Report(out, width=width)
        report.heading(["query"], ["gold"], ["local"])
        report.row("query", "gold", "local", 0.0123, "tenant is acme and priority is 8, " * 4, "answer " * 60)
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= max(width, len("message  route  cluster  1000.0 ms"))
        assert "12.3 ms" in out.getvalue()
        assert out.getvalue().count("priority") == 4
        assert lines[-1].endswith("...")

    @pytest.mark.parametrize(
        ("tty", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
    )
    def test_is_in_colour_on_a_terminal_only(
        self, monkeypatch: pytest.MonkeyPatch, tty: bool, no_color: str, coloured: bool
    ) -> None:
        monkeypatch.setenv("NO_COLOR", no_color)
        monkeypatch.setenv("TERM", "xterm")
        out = io.StringIO()
        monkeypatch.setattr(out, "isatty", lambda: tty)
        Report(out, width=80).failure("no")
        assert ("\x1b[" in out.getvalue()) == coloured

    def test_an_answer_cannot_control_the_terminal(self) -> None:
        assert shorten("a\x1b[2J\nb", 80) == "a [2J b"
        assert shorten("abcdef", 5) == "ab..."
