"""Event streams arrive as they come, byte for byte; whoever leaves, the other side knows."""

from __future__ import annotations

import json
import select
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .support.client import Client
from .support.patience import TIMES, duration, growing
from .support.proxy import wait_until
from .support.site import Launcher, Site
from .support.upstream import Peer
from .support.wire import TIMEOUT, Truncated, chunk, head

MiB = 1024 * 1024
STREAM: dict[str, Any] = {"model": "m", "messages": [], "stream": True}
ENVELOPE = {"id": "e-1", "kind": "model", "model": "m", "content": "x", "stream": True}
EVENTS = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    b": a comment\n\n",
    b'event: x\r\nid: 7\r\ndata: {"b":\r\ndata: 1}\r\n\r\n',
    b"data:no space\r\r",
    b"retry: 10\n",
    b"\xef\xbb\xbfdata: \xe2\x98\x83\n\n",
    b"data: {",
    b'"cut": "in the middle"}\n\n',
    b"data: [DONE]\n\n",
    b": after the end\n\n",
)


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    clusters = {
        "model": {},
        "other": {},
        "backed": {"fallback": ["other"]},
        "silent": {
            "fallback": ["other"],
            "timeout": {"first_byte": "300ms"},
            "retry": {"attempts": 1, "after_timeout": True},
        },
    }
    for seconds in TIMES:
        within = duration(seconds)
        clusters[f"idle-{seconds}"] = {"timeout": {"stream_idle": within}}
        clusters[f"bounded-{seconds}"] = {"timeout": {"stream_total": within}}
        clusters[f"patient-{seconds}"] = {"timeout": {"idle": duration(seconds / 4), "total": within}}
    return Site(shared, clusters)


def _begin(site: Site, cluster: str = "model", **how: Any) -> tuple[Client, Peer]:
    client = site.chat(cluster, STREAM)
    peer, request = site[cluster].request()
    assert request.json == STREAM
    peer.start(**how)
    return client, peer


@pytest.mark.parametrize("chunked", [True, False])
def test_events_arrive_one_by_one_and_byte_for_byte(site: Site, chunked: bool) -> None:
    client, peer = _begin(site, chunked=chunked)
    response = None
    for event in EVENTS:
        peer.send(chunk(event) if chunked else event)
        response = response or client.response()
        assert response.get("content-type") == "text/event-stream"
        assert response.stream.exactly(len(event)) == event  # before the next is sent
    assert response is not None
    if chunked:
        peer.send(chunk(b""))
    else:
        peer.close()
    assert response.stream.rest() == b""


@pytest.mark.parametrize("translated", [False, True])
@pytest.mark.parametrize("body", [b"", b": PROCESSING\n\n", b"retry: 10\n\nevent: ping\n\n"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_stream_without_an_event_is_no_answer(site: Site, framing: str, body: bytes, translated: bool) -> None:
    client = site.envelope("backed", ENVELOPE) if translated else site.chat("backed", STREAM)
    peer, _ = site["backed"].request()
    fields = {
        "length": [("content-length", str(len(body)))],
        "chunked": [("transfer-encoding", "chunked")],
        "close": [],
    }
    begin = head("HTTP/1.1 200 Fine", [("content-type", "text/event-stream"), *fields[framing]])
    pieces = (chunk(body) + chunk(b"") if body else chunk(b"")) if framing == "chunked" else body
    peer.send(begin + pieces)
    if framing == "close":
        peer.close()
    peer, _ = site["other"].request()
    peer.start()
    peer.send(chunk(b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n') + chunk(b""))
    response = client.response()
    assert (response.status, response.get("x-waypost-cluster")) == (200, "other")
    assert b'"done":true' in response.body if translated else response.body.startswith(b"data:")


@pytest.mark.parametrize("translated", [False, True])
def test_a_stream_without_an_event_and_without_a_fallback_is_a_failure(site: Site, translated: bool) -> None:
    client = site.envelope("model", ENVELOPE) if translated else site.chat("model", STREAM)
    peer, _ = site["model"].request()
    peer.start()
    peer.send(chunk(b": PROCESSING\n\n"))
    peer.send(chunk(b""))
    response = client.response()
    assert (response.status, response.error["code"]) == (502, "upstream_protocol")
    assert "ended without an event" in response.error["message"]


def test_comments_before_the_first_event_reach_the_client_in_time(site: Site) -> None:
    client, peer = _begin(site, "silent")
    peer.send(chunk(b": PROCESSING\n\n"))
    response = client.response()  # after `timeout.first_byte`, in which the endpoint was not silent
    assert response.stream.exactly(14) == b": PROCESSING\n\n"
    peer.send(chunk(EVENTS[0]) + chunk(b""))
    assert response.stream.rest() == EVENTS[0]


def test_a_stream_that_is_cut_has_no_clean_end(site: Site) -> None:
    client, peer = _begin(site)
    peer.send(chunk(EVENTS[0]))
    response = client.response()
    assert response.stream.exactly(len(EVENTS[0])) == EVENTS[0]
    peer.close()
    with pytest.raises(Truncated):
        response.stream.rest()
    assert site.chat("model", STREAM)  # the proxy is fine
    peer, _ = site["model"].request()
    peer.reply()


def test_a_stream_that_is_reset_has_no_clean_end(site: Site) -> None:
    client, peer = _begin(site)
    peer.send(chunk(EVENTS[0]))
    response = client.response()
    assert response.stream.exactly(len(EVENTS[0])) == EVENTS[0]
    peer.reset()
    with pytest.raises(Truncated):
        response.stream.rest()


def test_a_counted_response_that_is_cut_has_no_clean_end(site: Site) -> None:
    client = site.chat("model")
    peer, _ = site["model"].request()
    peer.send(head("HTTP/1.1 200 OK", [("content-length", "100")]) + b'{"half":')
    response = client.response()
    assert response.stream.exactly(8) == b'{"half":'
    peer.close()
    with pytest.raises(Truncated):
        response.stream.rest()


def test_bad_chunks_in_a_stream_end_it(site: Site) -> None:
    client, peer = _begin(site)
    peer.send(chunk(EVENTS[0]))
    response = client.response()
    assert response.stream.exactly(len(EVENTS[0])) == EVENTS[0]
    peer.send(b"zz\r\nno chunk\r\n")
    with pytest.raises(Truncated):
        response.stream.rest()
    assert peer.closed()


@pytest.mark.parametrize("limit", ["idle", "bounded"])
def test_a_stream_that_falls_silent_or_takes_longer_than_it_may_is_ended(
    shared: Launcher, site: Site, limit: str
) -> None:
    def within(seconds: float) -> None:
        client, peer = _begin(site, f"{limit}-{seconds}")
        peer.send(chunk(EVENTS[0]))
        response = client.response()
        assert response.stream.exactly(len(EVENTS[0])) == EVENTS[0]
        with pytest.raises(Truncated):
            response.stream.rest()
        assert peer.closed()

    growing(shared.clear, within)


def test_a_stream_outlives_the_timeouts_of_other_responses(shared: Launcher, site: Site) -> None:
    """A stream that flows is cut by nothing but its own limits; `idle` and `total` are for other responses."""

    def within(seconds: float) -> None:
        client, peer = _begin(site, f"patient-{seconds}")
        peer.send(chunk(EVENTS[0]))
        response = client.response()
        assert response.stream.exactly(len(EVENTS[0])) == EVENTS[0]
        # Silence longer than `idle`, and until `total` has passed: the connection stays open.
        assert select.select([client.sock, peer.sock], [], [], seconds * 1.5)[0] == []
        peer.send(chunk(EVENTS[1]) + chunk(b""))
        assert response.stream.rest() == EVENTS[1]

    growing(shared.clear, within)


def test_a_model_that_dies_before_its_first_event_is_replaced(site: Site) -> None:
    """The head of a model's 200 waits for the first byte of the body."""
    client = site.chat("backed", STREAM)
    peer, _ = site["backed"].request()
    peer.start()
    peer.close()
    peer, _ = site["other"].request()
    peer.start()
    peer.send(chunk(EVENTS[0]) + chunk(b""))
    response = client.response()
    assert response.body == EVENTS[0]
    assert (response.get("x-waypost-cluster"), response.get("x-waypost-attempts")) == ("other", "2")


def test_a_model_without_a_first_event_in_time_is_replaced(site: Site) -> None:
    client = site.chat("silent", STREAM)
    first, _ = site["silent"].request()
    first.start()
    peer, _ = site["other"].request()
    assert first.closed()
    peer.reply()
    assert client.response().get("x-waypost-attempts") == "2"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_mid_stream_frees_the_upstream_at_once(site: Site, how: str) -> None:
    client, peer = _begin(site)
    peer.send(chunk(EVENTS[0]))
    assert client.response().stream.exactly(1)
    getattr(client, how)()
    assert peer.closed()


def test_a_client_that_leaves_before_the_answer_frees_the_upstream_at_once(site: Site) -> None:
    client = site.chat("model", STREAM)
    peer, _ = site["model"].request()
    client.close()
    assert peer.closed()


def test_a_client_that_leaves_while_nothing_is_connected_yet_costs_nothing(site: Site) -> None:
    client = site.chat("backed", STREAM)
    first, _ = site["backed"].request()
    client.close()
    assert first.closed()
    assert site["other"].untouched()


def test_a_slow_client_pauses_the_upstream(shared: Launcher) -> None:
    """What the proxy holds for a client that does not read is bounded, and nothing is lost."""
    site = Site(shared, {"model": {}})
    before = site.proxy.resident()
    client = site.client(window=4096)
    client.ask("POST", "/v1/chat/completions", json.dumps(STREAM).encode(), {"x-to": "model"})
    peer, _ = site["model"].request()
    peer.start()
    event = b"data: " + b"x" * 65_500 + b"\n\n"
    total = 32 * MiB // len(event)
    sent = 0
    peer.sock.setblocking(False)
    left = b""
    while sent < total:
        # Nobody reads, so that soon nothing can be written any more: no matter how long one waits.
        if not select.select([], [peer.sock], [], 0.5)[1]:
            break
        left = left or chunk(event)
        left = left[peer.sock.send(left) :]
        sent += not left
    assert sent < total, "32 MiB went into a response that nobody read"
    assert site.proxy.resident() - before < 8 * MiB
    peer.sock.settimeout(TIMEOUT)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: peer.send(left + chunk(b"data: end\n\n") + chunk(b"")))
        response = client.response()
        for _ in range(sent + bool(left)):
            assert response.stream.exactly(len(event)) == event
        assert response.stream.rest() == b"data: end\n\n"
        writing.result()


def test_a_slow_upstream_pauses_the_client(shared: Launcher) -> None:
    """The other way round: an upload into an upstream that does not read."""
    site = Site(shared, {"model": {}})
    before = site.proxy.resident()
    client = site.client()
    total = 64 * MiB
    fields = [("Host", "h"), ("X-To", "model"), ("Content-Type", "audio/wav"), ("Content-Length", str(total))]
    piece = b"x" * MiB
    client.send(head("POST /v1/audio/raw HTTP/1.1", fields) + piece[:1])
    peer = site["model"].accept()
    client.sock.setblocking(False)
    sent = 1
    while sent < total and select.select([], [client.sock], [], 0.5)[1]:
        sent += client.sock.send(piece[: total - sent])
    assert sent < total, "64 MiB went into a request that nobody read"
    assert site.proxy.resident() - before < 8 * MiB
    client.close()
    assert len(peer.rest()) < total


def test_many_streams_at_once_do_not_mix(site: Site) -> None:
    streams = []
    for number in range(30):
        client = site.chat("model", {**STREAM, "seed": number})
        peer, request = site["model"].request()
        assert request.json["seed"] == number
        peer.start()
        streams.append((number, client, peer))
    for _ in range(3):
        for number, _, peer in reversed(streams):
            peer.send(chunk(b"data: %d\n\n" % number))
    for number, client, peer in streams:
        peer.send(chunk(b""))
        assert client.response().body == b"data: %d\n\n" % number * 3


def test_nothing_is_left_of_streams_that_were_left(shared: Launcher) -> None:
    site = Site(shared, {"model": {}})

    idle = site.proxy.sockets()
    for _ in range(20):
        client = site.chat("model", STREAM)
        peer, _ = site["model"].request()
        peer.start()
        peer.send(chunk(EVENTS[0]))
        assert client.response().stream.exactly(1)
        client.close()
        assert peer.closed()
        peer.close()
    wait_until(lambda: site.proxy.sockets() <= idle, "all sockets of the proxy are closed")
