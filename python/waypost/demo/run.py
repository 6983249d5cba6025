"""`waypost demo`: starts everything, sends the messages, and prints where each went and why."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol, TextIO

from waypost.demo.client import Answer, send, summary
from waypost.demo.config import demo_config
from waypost.demo.messages import Message, messages
from waypost.demo.report import Report
from waypost.demo.server import Server, bound
from waypost.demo.upstreams import Upstreams
from waypost.errors import WaypostError

__all__ = ["Serve", "run", "run_upstreams"]


class Serving(Protocol):
    """A server for one app on one bound socket, which it owns; see `waypost.demo.server.Server`."""

    async def start(self) -> None:
        """Serve. Returns once connections are accepted."""

    async def stop(self) -> None:
        """Stop, and close the socket. Also called if `start` raised or was cancelled."""


Serve = Callable[..., Serving]
"""Called as `serve(app, sock, lifespan="auto")`."""


async def run(*, once: bool, port: int | None, serve: Serve = Server, out: TextIO | None = None) -> int:
    """Run the demo in the running event loop and return the exit code of the command.

    The proxy listens on `port` of loopback; `None` or 0 picks a free one. With `once` the demo ends after the messages.
    Otherwise the proxy keeps serving until SIGINT or SIGTERM, which the demo handles if the loop can (main thread).

    The exit code is 0 if all messages were answered, 1 if one was not or the demo could not start, and 128 + N if
    signal N came before the last message was answered.
    """
    demo = _Demo(Report(out or sys.stdout), serve)
    return await _until_stopped(demo, demo.run(once=once, port=port or 0))


async def run_upstreams(port: int, *, out: TextIO | None = None) -> int:
    """Run the upstreams alone, the first on `port`, until SIGINT or SIGTERM. Returns as `run` does."""
    demo = _Demo(Report(out or sys.stdout), Server)
    return await _until_stopped(demo, demo.run_upstreams(port))


async def _until_stopped(demo: _Demo, running: Coroutine[Any, Any, int]) -> int:
    work = asyncio.create_task(running)
    stopped: list[int] = []

    def stop(number: int) -> None:
        if not stopped:  # a second signal does not hurry the shutdown, which takes a second at most
            stopped.append(number)
            work.cancel()

    with _signals(stop):
        try:
            return await work
        except asyncio.CancelledError:
            if not stopped:
                raise
            return 0 if demo.serving else 128 + stopped[0]
        except (WaypostError, OSError) as error:
            demo.report.failure(f"the demo could not start: {error}")
            return 1


class _Demo:
    def __init__(self, report: Report, serve: Serve) -> None:
        self.report = report
        self.serving = False
        self._serve = serve

    async def run(self, *, once: bool, port: int) -> int:
        report = self.report
        report.line("Starting the upstreams and the proxy:")
        with contextlib.closing(bound(port)) as sock:
            port = sock.getsockname()[1]
            async with Upstreams(report.step) as upstreams:
                config = demo_config(upstreams.urls, port)
                app = _proxy(config)
                server = self._serve(app, sock, lifespan="auto")
                try:
                    await server.start()
                    report.step("proxy", f"http://127.0.0.1:{port}")
                    failures = await self._send_all(app, config, port)
                    report.line()
                    if failures:
                        report.failure(f"{failures} of {len(messages())} messages failed.")
                        return 1
                    report.line("All messages were answered.")
                    if not once:
                        await self._keep_serving(port)
                    return 0
                finally:
                    await server.stop()

    async def run_upstreams(self, port: int) -> int:
        report = self.report
        report.line("Starting the upstreams:")
        async with Upstreams(report.step, port):
            report.line()
            report.line("They answer until you press Ctrl-C. The model speaks openai, the others speak envelope.")
            self.serving = True
            await asyncio.Event().wait()
        return 0

    async def _send_all(self, app: Any, config: dict[str, Any], port: int) -> int:
        """Send every message and print its row. Returns how many failed."""
        sent = messages()
        routes = [route["name"] for route in config["routes"]]
        self.report.heading([message.label for message in sent], routes, config["clusters"])
        failures = 0
        for message in sent:
            route = cluster = "-"
            try:
                answer = await send(message, port)
                route = answer.headers.get("x-waypost-route", "-")
                cluster = answer.headers.get("x-waypost-cluster", "-")
                said = _said(answer)
                why = _why(app, message, route)
            except TimeoutError:
                error = "no answer in time"
            except (ValueError, OSError, WaypostError) as raised:
                error = str(raised)
            else:
                self.report.row(message.label, route, cluster, answer.seconds, why, said)
                continue
            failures += 1
            self.report.failed_row(message.label, route, cluster, error)
        return failures

    async def _keep_serving(self, port: int) -> None:
        self.report.line()
        self.report.line(f"The proxy is at http://127.0.0.1:{port} until you press Ctrl-C. Try:")
        for message in messages():
            if message.label in {"query", "tool", "OpenAI chat, streamed"}:
                self.report.line()
                self.report.line(_curl(message, port))
        self.serving = True
        await asyncio.Event().wait()


def _proxy(config: dict[str, Any]) -> Any:
    # Imported here, so that `--upstreams` does not load the proxy.
    from waypost.app import create_app  # noqa: PLC0415
    from waypost.config import from_dict  # noqa: PLC0415

    return create_app(from_dict(config))


def _said(answer: Answer) -> str:
    """The answer as text. Raises `ValueError` if the message failed."""
    if answer.status != 200:
        try:
            detail = summary(answer)
        except ValueError as error:
            detail = str(error)
        raise ValueError(f"HTTP {answer.status}: {detail}")
    return summary(answer)


def _why(app: Any, message: Message, route: str) -> str:
    """Why `route` took the message. Raises `ValueError` if the explanation names another route."""
    explanation = app.state.gateway.generation.snapshot.table.explain(
        message.body, dialect=message.dialect, headers=message.headers, path=message.path, method=message.method
    )
    if explanation.route != route:
        raise ValueError(f"the message went to route {route}, but its explanation names {explanation.route}")
    return str(next(verdict.reason for verdict in explanation.verdicts if verdict.matched))


def _curl(message: Message, port: int) -> str:
    lines = [f"curl -sN http://127.0.0.1:{port}{message.path}"]
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in message.headers]
    lines.append(f"-d {shlex.quote(message.body.decode())}")
    return "  " + " \\\n    ".join(lines)


@contextlib.contextmanager
def _signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Call `stop` with the number of a SIGINT or SIGTERM, if this loop can handle signals."""
    loop = asyncio.get_running_loop()
    handled = []
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, stop, number)
                handled.append(number)
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
