"""What one caller can do to another: what answers teach, and what becomes of the message."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from .support.client import Response
from .support.proxy import wait_until
from .support.site import Launcher, Site
from .support.upstream import OK, Request, Server, plain
from .support.wire import Truncated, chunk, head

MODEL_PATHS = (
    "/v1/rerank",
    "/v1/score",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/embeddings",
)
HOUR = 3600


def _answer(status: int, *fields: tuple[str, str]) -> bytes:
    framed = [("content-type", "application/json"), *fields, ("content-length", str(len(OK)))]
    return head(f"HTTP/1.1 {status} So", framed) + OK


def _alice_is_limited(request: Request) -> bytes:
    limited = request.get("authorization") == "Bearer alice"
    return _answer(429, ("retry-after", str(HOUR))) if limited else plain(request)


def _poisoned(request: Request) -> bytes:
    return _answer(500) if request.json["model"] == "poison" else plain(request)


def _in_a_while(request: Request) -> bytes:
    time.sleep(0.02)
    return plain(request)


def _in_an_hour(request: Request) -> bytes:
    fields = [("retry-after", email.utils.formatdate(time.time() + HOUR, usegmt=True))]
    if request.get("x-to") == "busy-dated":
        fields.append(("date", email.utils.formatdate(usegmt=True)))
    return _answer(429, *fields)


class Stalling:
    """Answers nobody until it is told to go on."""

    def __init__(self) -> None:
        self.going = threading.Event()
        self.ill = threading.Event()

    def __call__(self, request: Request) -> bytes:
        if request.target == "/health":
            return _answer(503) if self.ill.is_set() else plain(request)
        self.going.wait(60)
        return plain(request)


class World:
    """One proxy with a cluster for each test, and the servers behind it."""

    def __init__(self, shared: Launcher) -> None:
        self.stalling = Stalling()
        self.servers: dict[str, list[Server]] = {}
        clusters: dict[str, dict[str, Any]] = {
            "cloud": self._cluster("cloud", shared.server()),
            "passing": self._cluster(
                "passing", shared.server(_alice_is_limited), credential="pass", retry={"attempts": 3}
            ),
            "house": self._cluster("house", shared.server(_poisoned), breaker={}, fallback=["cloud"]),
            "busy-dated": self._cluster("busy-dated", shared.server(_in_an_hour), health={"rest_max": "1h"}),
            "busy": self._cluster("busy", shared.server(_in_an_hour), health={"rest_max": "1h"}),
            "fails-0": {"endpoints": ["http://127.0.0.1:1"], "fallback": ["cloud"]},
            "model": {"timeout": {"stream_comment": "100ms"}},
            "quiet": {"timeout": {"stream_comment": "0s"}},
            "hasty": {"timeout": {"idle": "50ms", "total": "200ms"}},
            "narrow": self._cluster("narrow", shared.server(), concurrency=1, queue={"wait": "60s"}),
        }
        for status in (401, 404, 500):
            name = f"one-answers-{status}"
            bad = shared.server(lambda _, status=status: _answer(status))  # type: ignore[misc]
            clusters[name] = self._cluster(name, bad, shared.server(_in_a_while), shared.server(_in_a_while))
        for status in (429, 503):
            server = shared.server(lambda _, status=status: _answer(status))  # type: ignore[misc]
            clusters[f"fails-{status}"] = self._cluster(f"fails-{status}", server, fallback=["cloud"])
        for again in (False, True):
            name = f"slow-{again}"
            retry = {"attempts": 2, "after_timeout": again}
            servers = [shared.server(self.stalling), shared.server(self.stalling)]
            clusters[name] = self._cluster(name, *servers, retry=retry, timeout={"first_byte": "300ms"})
        check = {"path": "/health", "interval": "100ms", "unhealthy": 1, "healthy": 1}
        clusters["checked"] = self._cluster(
            "checked", shared.server(self.stalling), health={"check": check}, retry={"attempts": 2}, fallback=["cloud"]
        )
        self.site = Site(shared, clusters)

    def _cluster(self, name: str, *servers: Server, **policy: Any) -> dict[str, Any]:
        self.servers[name] = list(servers)
        return {"endpoints": [server.url for server in servers], **policy}

    def ask(self, cluster: str, path: str = "/v1/chat/completions", model: str = "m", **headers: str) -> Response:
        """The whole answer to a message of its own connection."""
        client = self.site.client()
        fields = {"x-to": cluster, "content-type": "application/json", **headers}
        client.ask("POST", path, json.dumps({"model": model, "messages": []}).encode(), fields)
        response = client.response()
        _ = response.body
        client.close()
        return response

    def messages(self, cluster: str) -> int:
        """How many messages the servers of a cluster got."""
        return sum(request.method == "POST" for server in self.servers[cluster] for request in server.requests)


@pytest.fixture(scope="module")
def world(shared: Launcher) -> Iterator[World]:
    world = World(shared)
    yield world
    world.stalling.going.set()


def test_a_limit_of_the_callers_own_key_is_the_callers_alone(world: World) -> None:
    for _ in range(10):
        alice = world.ask("passing", authorization="Bearer alice")
        assert (alice.status, alice.get("retry-after"), alice.get("x-waypost-attempts")) == (429, str(HOUR), "1")
        assert world.ask("passing", authorization="Bearer bob").status == 200


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_endpoint_that_fares_worse_than_its_peers_gets_less(world: World, status: int) -> None:
    seen: Counter[int] = Counter()
    lock = threading.Lock()

    def work() -> None:
        for _ in range(50):
            answered = world.ask(f"one-answers-{status}").status
            with lock:
                seen[answered] += 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen.total() == 300
    # An even share would be 100. If a failure looked fast, the endpoint would get most of the messages.
    assert seen[status] < 75, seen


def test_poison_of_one_caller_sends_nobody_to_the_fallback(world: World) -> None:
    for _ in range(40):
        response = world.ask("house", model="poison")
        assert (response.status, response.get("x-waypost-cluster")) == (500, "house")
    assert world.ask("house").get("x-waypost-cluster") == "house"


@pytest.mark.parametrize("cluster", ["busy-dated", "busy"])
def test_an_endpoint_rests_until_the_date_of_its_retry_after(world: World, cluster: str) -> None:
    assert world.ask(cluster).status == 429
    refused = world.ask(cluster)
    assert (refused.status, refused.error["code"]) == (503, "overloaded")
    assert HOUR - 200 < int(refused.get("retry-after") or "0") <= HOUR
    assert world.messages(cluster) == 1


@pytest.mark.parametrize("target", MODEL_PATHS)
@pytest.mark.parametrize("status", [0, 429, 503])
def test_every_call_of_a_model_goes_to_the_fallback(world: World, target: str, status: int) -> None:
    response = world.ask(f"fails-{status}", target)
    assert (response.status, response.get("x-waypost-cluster")) == (200, "cloud")


@pytest.mark.parametrize("target", ["/v1/files", "/v1/batches", "/v1/threads/t/runs"])
def test_what_may_not_be_sent_twice_is_answered_as_it_is(world: World, target: str) -> None:
    response = world.ask("fails-503", target)
    assert (response.status, response.get("x-waypost-cluster")) == (503, "fails-503")


@pytest.mark.parametrize("again", [False, True])
def test_a_long_answer_is_begun_once_unless_it_may_be_begun_again(world: World, again: bool) -> None:
    response = world.ask(f"slow-{again}")
    assert (response.status, response.error["code"]) == (504, "upstream_timeout")
    wait_until(lambda: world.messages(f"slow-{again}") == (2 if again else 1), "the servers have read all")


def test_what_waits_at_an_endpoint_whose_check_fails_goes_elsewhere(world: World) -> None:
    waiting = [world.site.chat("checked") for _ in range(3)]
    wait_until(lambda: world.messages("checked") == 3, "all wait at the endpoint")
    world.stalling.ill.set()
    answers = [client.response() for client in waiting]
    assert [(answer.status, answer.get("x-waypost-cluster")) for answer in answers] == [(200, "cloud")] * 3


def test_a_silent_stream_keeps_its_client_alive_by_comments(world: World) -> None:
    _, peer, response = world.site.begun_stream("model")
    assert response.stream.exactly(6) == b":\n\n:\n\n"
    # No comment cuts an event in two.
    peer.send(chunk(b"data: "))
    while (piece := response.stream.exactly(1)) == b":":
        assert response.stream.exactly(2) == b"\n\n"
    assert piece + response.stream.exactly(5) == b"data: "
    _, quiet, silent = world.site.begun_stream("quiet")
    time.sleep(0.5)
    peer.send(chunk(b"2\n\n") + chunk(b""))
    assert response.stream.rest().startswith(b"2\n\n")
    quiet.send(chunk(b"data: 2\n\n") + chunk(b""))
    assert silent.stream.rest() == b"data: 2\n\n"


def test_a_model_that_thinks_before_its_first_event_keeps_its_client_alive(world: World) -> None:
    client = world.site.chat("model", {"model": "m", "messages": [], "stream": True})
    peer, _ = world.site["model"].request()
    peer.start()
    response = client.response()
    assert response.get("content-type") == "text/event-stream"
    assert response.stream.exactly(3) == b":\n\n"
    peer.send(chunk(b"data: 1\n\n") + chunk(b""))
    assert response.stream.rest().endswith(b"data: 1\n\n")


def test_a_stream_that_ends_without_an_event_after_a_comment_has_no_clean_end(world: World) -> None:
    client = world.site.chat("model", {"model": "m", "messages": [], "stream": True})
    peer, _ = world.site["model"].request()
    peer.start()
    response = client.response()
    assert response.stream.exactly(3) == b":\n\n"
    peer.send(chunk(b""))
    with pytest.raises(Truncated):
        response.stream.rest()


def test_a_translated_stream_gets_comments_too(world: World) -> None:
    envelope = {"id": "e-1", "kind": "model", "model": "m", "content": "x", "stream": True}
    client = world.site.envelope("model", envelope)
    peer, _ = world.site["model"].request()
    peer.start()
    response = client.response()
    assert response.stream.exactly(6) == b":\n\n:\n\n"
    peer.send(
        chunk(b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n') + chunk(b"")
    )
    assert b'"done":true' in response.stream.rest()


@pytest.mark.parametrize("coding", [("content-encoding", "gzip"), ("content-length", "11")])
def test_a_stream_that_a_comment_would_spoil_gets_none(world: World, coding: tuple[str, str]) -> None:
    client = world.site.chat("model", {"model": "m", "messages": [], "stream": True})
    peer, _ = world.site["model"].request()
    framing = [] if coding[0] == "content-length" else [("transfer-encoding", "chunked")]
    send = (lambda data: data) if coding[0] == "content-length" else chunk
    peer.send(
        head("HTTP/1.1 200 Fine", [("content-type", "text/event-stream"), coding, *framing]) + send(b"data: 1\n\n")
    )
    response = client.response()
    assert response.stream.exactly(9) == b"data: 1\n\n"
    time.sleep(0.5)
    peer.send(send(b"\n\n") + (b"" if coding[0] == "content-length" else chunk(b"")))
    assert response.stream.rest() == b"\n\n"


@pytest.mark.parametrize("kind", ["application/x-ndjson", "audio/mpeg"])
def test_a_stream_of_any_kind_is_not_cut_by_the_timeouts_of_answers(world: World, kind: str) -> None:
    client = world.site.client()
    client.ask("POST", "/v1/audio/speech", b'{"model": "m"}', {"x-to": "hasty", "content-type": "application/json"})
    peer, _ = world.site["hasty"].request()
    fields = [("content-type", kind), ("transfer-encoding", "chunked")]
    peer.send(head("HTTP/1.1 200 Fine", fields) + chunk(b"1\n"))
    response = client.response()
    assert response.stream.exactly(2) == b"1\n"
    time.sleep(0.5)
    peer.send(chunk(b"2\n") + chunk(b""))
    assert response.stream.rest() == b"2\n"


def test_a_lower_priority_has_its_turn_beside_an_endless_stream_of_urgent_ones(world: World) -> None:
    over = threading.Event()

    def urgent() -> None:
        while not over.is_set():
            assert world.ask("narrow", **{"x-waypost-priority": "9"}).status == 200

    threads = [threading.Thread(target=urgent) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert world.ask("narrow", **{"x-waypost-priority": "5"}).status == 200
    finally:
        over.set()
        for thread in threads:
            thread.join()
