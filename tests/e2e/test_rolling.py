"""All endpoints restarted one by one under load: nothing is lost, nothing done twice, no cut goes unseen."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self, cast

import httptools
import pytest
import uvloop

from .support.metrics import Metrics
from .support.proxy import Process, Proxy, wait_until
from .support.site import Launcher
from .support.upstream import free_port

PROGRAM: Final = Path(__file__).parent / "support" / "endpoint.py"
FULL: Final = 20_000
"""How many idempotent messages are sent, beside a tenth as many of those that are not: on the fast path of one process.
`make test-rolling` sends as many on the ASGI path and by two workers; else it is a fifth of them there."""
CLIENTS: Final = 24


class Endpoint:
    """One endpoint's place: programs take turns at its port, and share its journal."""

    def __init__(self, directory: Path, name: str) -> None:
        self.port = free_port()
        self._journal = directory / f"{name}.journal"
        self._argv = [sys.executable, str(PROGRAM), str(self.port), str(self._journal)]
        self._process = self._start()

    def _start(self) -> Process:
        process = Process(self._argv)
        process.wait_for("ready")
        return process

    def restart(self, how: signal.Signals) -> None:
        self._process.signal(how)
        assert self._process.exit_code() == (0 if how == signal.SIGTERM else -how)
        self._process.kill()  # what is left of it here
        self._process = self._start()

    def journal(self) -> Iterator[tuple[str, str]]:
        for line in self._journal.read_text().splitlines():
            what, _, message = line.partition(" ")
            yield what, message

    def close(self) -> None:
        self._process.kill()


class Load(threading.Thread):
    """Clients that send messages all the time, over kept connections, and note what became of each."""

    def __init__(self, proxy: Proxy, count: int) -> None:
        super().__init__()
        self._count = count
        self._address = proxy.address
        self._numbers = itertools.count()
        self._problem: BaseException | None = None
        self.enough = threading.Event()
        self.outcomes: dict[str, str] = {}
        """By the message's id: `whole`, `cut` (visibly, after its response had begun), or the status of a refusal."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.join()
        if self._problem is not None:
            raise self._problem

    def reaches(self, count: int) -> None:
        """Wait until so many have their outcome."""
        wait_until(lambda: len(self.outcomes) >= count or not self.is_alive(), "messages go on")

    def run(self) -> None:
        try:
            uvloop.run(self._all())
        except BaseException as problem:  # noqa: BLE001 - raised again in `__exit__`
            self._problem = problem

    async def _all(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def _client(self) -> None:
        loop = asyncio.get_running_loop()
        connection = None
        while not (self.enough.is_set() and len(self.outcomes) >= self._count):
            message = _message(next(self._numbers))
            if connection is None:
                _, connection = await loop.create_connection(_Connection, *self._address)
            outcome = self.outcomes[message["id"]] = await connection.send(message)
            if outcome == "cut":
                connection = None
        if connection is not None:
            connection.close()


class _Connection(asyncio.Protocol):
    """A client's connection, on which one message is sent after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._outcome: asyncio.Future[str] | None = None
        self._body = bytearray()
        self._message = ""
        self._begun = False
        self._transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, message: dict[str, Any]) -> asyncio.Future[str]:
        body = json.dumps(message).encode()
        self._message = message["id"]
        self._begun = False
        self._body.clear()
        self._outcome = asyncio.get_running_loop().create_future()
        self._transport.write(
            b"POST /v1/envelopes HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        return self._outcome

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as problem:
            self._fail(problem.__context__ or problem)

    def on_message_begin(self) -> None:
        assert not self._begun, "more than one answer"

    def on_headers_complete(self) -> None:
        self._begun = True

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        assert self._outcome is not None, "an answer that nobody asked for"
        document = json.loads(self._body)
        assert document["id"] == self._message, "the answer of another message"
        status = self._parser.get_status_code()
        outcome, self._outcome = self._outcome, None
        outcome.set_result(
            "whole" if status == 200 else f"{status} {document['error']['code']}: {document['error']['message']}"
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if self._outcome is not None and not self._begun:
            self._fail(AssertionError(f"{self._message}: the connection ended without any answer"))
        elif self._outcome is not None:
            self._outcome.set_result("cut")
            self._outcome = None

    def _fail(self, problem: BaseException) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is None:
            raise problem
        outcome.set_exception(problem)


def _message(number: int) -> dict[str, Any]:
    """Each eleventh is a tool call. Some of either are answered late, and some piece by piece."""
    kind = "tool" if number % 11 == 0 else "query"
    content = {"slow": 5} if number % 7 == 0 else {"parts": 4} if number % 7 == 1 else {}
    return {"id": f"{kind}-{number}", "kind": kind, "content": content}


class Rolled:
    """What was seen: outcomes by message, and what the endpoints did for each."""

    def __init__(self, load: Load, endpoints: list[Endpoint], restarts: int, wanted: int) -> None:
        done = [entry for endpoint in endpoints for entry in endpoint.journal()]
        self.begun = Counter(message for what, message in done if what == "begun")
        self.answered = Counter(message for what, message in done if what == "answered")
        assert set(self.answered) <= set(self.begun) <= set(load.outcomes)
        self.queries = {key: outcome for key, outcome in load.outcomes.items() if key.startswith("query")}
        self.tools = {key: outcome for key, outcome in load.outcomes.items() if key.startswith("tool")}
        self.restarts = restarts
        self.wanted = wanted
        print(
            f"{len(self.queries)} idempotent: {dict(Counter(self.queries.values()))}; {len(self.tools)} tool calls: "
            f"{dict(Counter(self.tools.values()))}; {restarts} restarts"
        )


BREAKER: Final = {"open": "200ms", "open_max": "200ms"}


def _roll(launch: Launcher, how: signal.Signals, workers: str) -> Rolled:
    everywhere = "WAYPOST_TEST_ROLLING" in os.environ
    idempotent = FULL if everywhere or (launch.path, workers) == ("fast", "1") else FULL // 5
    count = -(-idempotent * 11 // 10)
    endpoints = [Endpoint(launch.directory, f"endpoint-{number}") for number in range(5)]
    try:
        urls = [f"http://127.0.0.1:{endpoint.port}" for endpoint in endpoints]
        proxy = launch.serve(
            {
                "access_log": "off",
                "clusters": {
                    # Who is back is soon seen to be: the restarts follow each other within the usual time of a breaker.
                    "primary": {"speaks": "envelope", "endpoints": urls[:3], "breaker": BREAKER},
                    "reserve": {"speaks": "envelope", "endpoints": urls[3:], "breaker": BREAKER},
                },
                "routes": [
                    {"name": "by-turns", "match": {"id": [{"suffix": "3"}]}, "to": "reserve", "fallback": ["primary"]},
                    {"name": "others", "to": "primary", "fallback": ["reserve"]},
                ],
            },
            "--workers",
            workers,
        )
        restarts = 0
        with Load(proxy, count) as load:
            while restarts < 2 * len(endpoints) or len(load.outcomes) < count:
                load.reaches((restarts + 1) * count // (2 * len(endpoints) + 1))
                if not load.is_alive():
                    break
                endpoints[restarts % len(endpoints)].restart(how)
                restarts += 1
        wait_until(lambda: Metrics(proxy)("requests_in_flight") == 0, "no exchange is left")
        return Rolled(load, endpoints, restarts, idempotent)
    finally:
        for endpoint in endpoints:
            endpoint.close()


WORKERS: Final = pytest.mark.parametrize("workers", ["1", "2"])


@WORKERS
def test_by_sigterm_nothing_fails_and_nothing_is_done_twice(launch: Launcher, workers: str) -> None:
    rolled = _roll(launch, signal.SIGTERM, workers)
    assert len(rolled.queries) >= rolled.wanted
    assert {key: outcome for key, outcome in rolled.queries.items() if outcome != "whole"} == {}
    assert {key: count for key, count in rolled.begun.items() if count != 1} == {}
    assert {key: count for key, count in rolled.answered.items() if count != 1} == {}
    _tools_were_safe(rolled)


@WORKERS
def test_by_sigkill_only_what_had_begun_fails_and_visibly(launch: Launcher, workers: str) -> None:
    rolled = _roll(launch, signal.SIGKILL, workers)
    assert len(rolled.queries) >= rolled.wanted
    assert {key: outcome for key, outcome in rolled.queries.items() if outcome not in ("whole", "cut")} == {}
    assert {key for key, outcome in rolled.queries.items() if outcome == "whole"} <= set(rolled.begun)
    assert Counter(rolled.queries.values())["cut"] <= rolled.restarts * CLIENTS
    _tools_were_safe(rolled)


def _tools_were_safe(rolled: Rolled) -> None:
    twice = {key: rolled.begun[key] for key in rolled.tools if rolled.begun[key] > 1}
    assert twice == {}, "a tool was called twice"
    for key, outcome in rolled.tools.items():
        assert outcome in ("whole", "cut") or outcome.startswith("502 upstream_protocol:"), (key, outcome)
        assert outcome != "whole" or rolled.begun[key] == 1
