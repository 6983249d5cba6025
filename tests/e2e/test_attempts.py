"""Several endpoints and clusters: who is tried when, and what the client hears when nobody answers."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from .support.client import Client, Response
from .support.patience import TIMES, duration, growing
from .support.site import Launcher, Site
from .support.upstream import OK, Upstream, closed_port
from .support.wire import chunk, head

SHORT = "300ms"
"""How long a silent endpoint is waited for. Others keep the default: on a busy machine they may take as long."""
TWICE = {"attempts": 2}
AGAIN = {"attempts": 1, "after_timeout": True}


@pytest.fixture(scope="module")
def dead() -> str:
    """A URL at which nothing listens."""
    return f"http://127.0.0.1:{closed_port()}"


@pytest.fixture(scope="module")
def deaf() -> Iterator[str]:
    """A URL whose host never completes a connection: its queue of new connections is full."""
    with socket.socket() as listener, socket.socket() as filler, socket.socket() as more:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in (filler, more):
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def site(shared: Launcher, dead: str, deaf: str) -> Site:
    dead2 = f"http://127.0.0.1:{closed_port()}"
    clusters: dict[str, dict[str, Any]] = {
        "one": {},
        "native": {"speaks": "envelope"},
        "backed": {"fallback": ["one"]},
        "native-backed": {"speaks": "envelope", "fallback": ["native"]},
        "silent": {"timeout": {"first_byte": SHORT}},
        "silent-native": {"speaks": "envelope", "timeout": {"first_byte": SHORT}},
        "silent-backed": {"fallback": ["one"], "timeout": {"first_byte": SHORT}, "retry": AGAIN},
        "silent-native-backed": {
            "speaks": "envelope",
            "fallback": ["native"],
            "timeout": {"first_byte": SHORT},
            "retry": AGAIN,
        },
        "dead": {"endpoints": [dead, dead2], "retry": TWICE},
        "native-dead": {"speaks": "envelope", "endpoints": [dead]},
        "dead-backed": {"endpoints": [dead, dead2], "retry": TWICE, "fallback": ["one"]},
        "native-dead-backed": {"speaks": "envelope", "endpoints": [dead], "fallback": ["native"]},
        "mixed-fallback": {"speaks": "envelope", "endpoints": [dead], "fallback": ["one"]},
        "deaf": {"endpoints": [deaf], "timeout": {"connect": SHORT}},
        "nameless": {"endpoints": ["http://nowhere.invalid:1"]},
        "patient": {},
        "patient-native": {"speaks": "envelope"},
    }
    for seconds in TIMES:
        clusters[f"within-{seconds}"] = {"timeout": {"first_byte": "60s", "total": duration(seconds)}}
    return Site(shared, clusters)


def _refused(response: Response, status: int, code: str) -> str:
    assert (response.status, response.error["code"]) == (status, code)
    message: str = response.error["message"]
    return message


def test_an_endpoint_that_refuses_is_passed_over(shared: Launcher, dead: str) -> None:
    """Whichever of the two is tried first."""
    upstream = shared.upstream()
    site = Site(shared, {"half": {"endpoints": [dead, upstream.url], "retry": TWICE}})
    seen = set()
    for _ in range(64):
        client = site.chat("half")
        peer, _ = upstream.request()
        peer.reply()
        response = client.response()
        assert response.status == 200
        seen.add(response.get("x-waypost-attempts"))
        if seen == {"1", "2"}:
            break
    assert seen == {"1", "2"}


@pytest.mark.parametrize("send", ["chat", "envelope"])
def test_a_fallback_cluster_answers_for_one_that_refuses(site: Site, send: str) -> None:
    cluster, answers = ("dead-backed", "one") if send == "chat" else ("native-dead-backed", "native")
    client = getattr(site, send)(cluster)
    peer, _ = site[answers].request()
    peer.reply()
    response = client.response()
    assert response.get("x-waypost-attempts") == ("3" if send == "chat" else "2")
    assert (response.get("x-waypost-cluster"), response.get("x-waypost-route")) == (answers, f"to-{cluster}")


def test_a_fallback_may_speak_another_dialect(site: Site) -> None:
    envelope = {"id": "e-1", "kind": "model", "model": "m", "content": "x"}
    client = site.envelope("mixed-fallback", envelope)
    peer, request = site["one"].request()
    assert request.json["messages"] == [{"role": "user", "content": "x"}]
    peer.reply(json.dumps({"choices": [{"message": {"role": "assistant", "content": "y"}}]}).encode())
    response = client.response()
    assert (response.json["cluster"], response.json["result"]["content"]) == ("one", "y")
    client = site.envelope("mixed-fallback", {"id": "e-2", "kind": "query"})  # which cannot be translated
    assert client.response().status == 502
    assert site["one"].untouched()


def test_nobody_there(site: Site) -> None:
    response = site.chat("dead").response()
    message = _refused(response, 502, "upstream_unreachable")
    assert message == (
        "none of 2 endpoints of `dead` could be reached; last: cluster dead: connection refused: nothing listens there"
    )
    site.proxy.wait_for(r"cluster dead: http://127\.0\.0\.1:\d+: connection refused")
    assert response.error["type"] == "server_error"
    assert response.get("x-waypost-attempts") == "2"
    assert response.get("x-waypost-route") == "to-dead"
    response = site.envelope("native-dead").response()
    _refused(response, 502, "upstream_unreachable")
    assert response.json["id"] == "e-1"


def test_all_that_were_tried_are_named(shared: Launcher, dead: str) -> None:
    upstream = shared.upstream()
    site = Site(
        shared,
        {
            "gone": {"endpoints": [dead], "fallback": ["lost", "hasty"]},
            "lost": {"endpoints": [dead.replace("127.0.0.1", "localhost"), f"{dead}/x"], "retry": TWICE},
            "hasty": {"endpoints": [upstream.url]},
        },
    )
    client = site.chat("gone")
    peer, _ = upstream.request()
    peer.close()
    message = _refused(client.response(), 502, "upstream_protocol")
    assert message.startswith(
        "none of 4 endpoints of `gone`, `lost`, `hasty` answered as it should; last: cluster hasty: "
    )
    message = _refused(site.chat("lost").response(), 502, "upstream_unreachable")
    assert message.startswith("none of 2 endpoints of `lost` could be reached; last: cluster lost: ")


def test_a_name_that_does_not_resolve(site: Site) -> None:
    message = _refused(site.chat("nameless").response(), 502, "upstream_unreachable")
    assert message == "cluster nameless: its host's name cannot be resolved"
    site.proxy.wait_for(r"cluster nameless: http://nowhere\.invalid:1: ")


def test_a_host_that_does_not_complete_the_connection(site: Site) -> None:
    message = _refused(site.chat("deaf").response(), 504, "upstream_timeout")
    assert "no connection within 0.3 s" in message


@pytest.mark.parametrize("send", ["chat", "envelope"])
def test_an_endpoint_that_never_answers(site: Site, send: str) -> None:
    cluster = "silent" if send == "chat" else "silent-native"
    client = getattr(site, send)(cluster)
    peer, _ = site[cluster].request()
    message = _refused(client.response(), 504, "upstream_timeout")
    assert "no response within 0.3 s" in message
    assert peer.closed()


def test_total_bounds_everything(shared: Launcher, site: Site) -> None:
    def within(seconds: float) -> None:
        client = site.chat(f"within-{seconds}")
        peer, _ = site[f"within-{seconds}"].request()
        message = _refused(client.response(), 504, "upstream_timeout")
        assert f"no complete response within {seconds:g} s" in message
        assert peer.closed()

    growing(shared.clear, within)


GARBAGE = {
    "no HTTP": b"garbage\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "another version": b"HTTP/2.0 200 OK\r\n\r\n",
    "status": b"HTTP/1.1 999 X\r\n\r\n",
    "differing lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
    "bare line feed in a value": b"HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\na: b\x00c\r\n\r\n",
    "control in a value": b"HTTP/1.1 200 OK\r\na: b\x01c\r\n\r\n",
    "space in a name": b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
    "delimiter in a name": b"HTTP/1.1 200 OK\r\na(b: c\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"a: " + b"x" * 100_000,
    "cut head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "closed": b"",
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("send", ["chat", "envelope"])
def test_an_endpoint_that_does_not_speak_http(site: Site, send: str, name: str) -> None:
    cluster = "patient" if send == "chat" else "patient-native"
    client = getattr(site, send)(cluster, {"id": "e-1", "kind": "tool", "model": "m"})
    peer, _ = site[cluster].request()
    peer.send(GARBAGE[name])
    if name in ("cut head", "closed"):
        peer.close()
    response = client.response()
    _refused(response, 502, "upstream_protocol")
    if name not in ("cut head", "closed"):
        assert peer.closed()
    # The client's own connection is fine.
    client.ask("GET", "/v1/files/1", headers={"x-to": "patient"})
    peer, _ = site["patient"].request()
    peer.reply()
    assert client.response("GET").status == 200


ODD_BUT_FINE = {
    "bytes above ASCII": b"HTTP/1.1 200 OK\r\nx-odd: caf\xe9 \xff\r\ncontent-length: 2\r\n\r\n{}",
    "no reason": b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}",
    "tab in a value": b"HTTP/1.1 200 OK\r\nx-odd: a\tb\r\ncontent-length: 2\r\n\r\n{}",
    "empty value": b"HTTP/1.1 200 OK\r\nx-odd:\r\ncontent-length: 2\r\n\r\n{}",
    "odd name": b"HTTP/1.1 200 OK\r\nx!#$%&'*+-.^_`|~: v\r\ncontent-length: 2\r\n\r\n{}",
    "leading zeros": b"HTTP/1.1 200 OK\r\ncontent-length: 002\r\n\r\n{}",
    "unknown status": b"HTTP/1.1 299 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "last status": b"HTTP/1.1 599 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "100 fields": b"HTTP/1.1 200 OK\r\n" + b"x-many: v\r\n" * 90 + b"content-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("name", ODD_BUT_FINE)
def test_legal_oddities_pass(site: Site, name: str) -> None:
    client = site.chat("patient")
    peer, _ = site["patient"].request()
    peer.send(ODD_BUT_FINE[name])
    response = client.response()
    assert (response.status, response.body) == (int(ODD_BUT_FINE[name][9:12]), b"{}")


def test_a_response_head_byte_by_byte(site: Site) -> None:
    client = site.chat("patient")
    peer, _ = site["patient"].request()
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in head("HTTP/1.1 200 OK", [("transfer-encoding", "chunked")]) + chunk(b"{}") + chunk(b""):
        peer.send(bytes([byte]))
    assert client.response().body == b"{}"


def _idempotent(site: Site, kind: str, cluster: str = "native-backed") -> Client:
    return site.envelope(cluster, {"id": "e-1", "kind": kind, "tool": "t"})


@pytest.mark.parametrize("kind", ["query", "context", "model"])
def test_idempotent_messages_go_on_when_the_connection_dies(site: Site, kind: str) -> None:
    client = _idempotent(site, kind)
    peer, sent = site["native-backed"].request()
    peer.close()
    peer, again = site["native"].request()
    assert again.body == sent.body
    peer.reply()
    response = client.response()
    assert (response.status, response.get("x-waypost-attempts")) == (200, "2")


@pytest.mark.parametrize("kind", ["tool", "event"])
@pytest.mark.parametrize("how", ["close", "reset", "silent", "garbage"])
def test_others_are_never_sent_twice(site: Site, kind: str, how: str) -> None:
    cluster = "silent-native-backed" if how == "silent" else "native-backed"
    client = _idempotent(site, kind, cluster)
    peer, _ = site[cluster].request()
    if how == "garbage":
        peer.send(b"garbage\r\n\r\n")
    elif how != "silent":
        getattr(peer, how)()
    response = client.response()
    assert response.status == (504 if how == "silent" else 502)
    assert response.get("x-waypost-attempts") == "1"
    assert site["native"].untouched()


def test_an_endpoint_that_is_silent_is_passed_over(site: Site) -> None:
    client = site.chat("silent-backed")
    first, _ = site["silent-backed"].request()
    peer, _ = site["one"].request()
    assert first.closed()
    peer.reply()
    assert client.response().get("x-waypost-attempts") == "2"


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529])
def test_busy_endpoints_are_passed_over(site: Site, status: int) -> None:
    client = site.chat("backed")
    peer, _ = site["backed"].request()
    peer.reply(b'{"error":{"message":"busy"}}', status)
    peer, _ = site["one"].request()
    peer.reply(b'{"fine":1}')
    response = client.response()
    assert (response.status, response.json) == (200, {"fine": 1})
    assert response.get("x-waypost-cluster") == "one"


def test_if_all_are_busy_the_last_one_that_said_so_is_heard(site: Site) -> None:
    client = site.chat("backed")
    peer, _ = site["backed"].request()
    peer.reply(b'{"n":1}', 429, [("retry-after", "9")])
    peer, _ = site["one"].request()
    peer.close()
    response = client.response()
    assert (response.status, response.json, response.get("retry-after")) == (429, {"n": 1}, "9")
    assert (response.get("x-waypost-cluster"), response.get("x-waypost-attempts")) == ("backed", "2")


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_other_errors_are_answers(site: Site, status: int) -> None:
    client = site.chat("backed")
    peer, _ = site["backed"].request()
    peer.reply(b"{}", status)
    assert client.response().status == status
    assert site["one"].untouched()


# Deadlines.


def test_a_deadline_is_kept_and_passed_on(shared: Launcher, site: Site) -> None:
    def within(seconds: float) -> None:
        milliseconds = int(seconds * 1000)
        client = site.envelope("patient-native", {"id": "e-1", "kind": "query", "deadline_ms": milliseconds})
        peer, request = site["patient-native"].request()
        assert 1 <= int(request.get("x-waypost-deadline-ms") or 0) <= milliseconds
        response = client.response()
        assert f"{milliseconds} ms" in _refused(response, 504, "deadline_exceeded")
        assert response.json["id"] == "e-1"
        assert peer.closed()

    growing(shared.clear, within)


def test_a_deadline_in_a_header(shared: Launcher, site: Site) -> None:
    def within(seconds: float) -> None:
        milliseconds = int(seconds * 1000)
        client = site.chat("patient", x_waypost_deadline_ms=str(milliseconds))
        peer, request = site["patient"].request()
        assert 1 <= int(request.get("x-waypost-deadline-ms") or 0) <= milliseconds
        _refused(client.response(), 504, "deadline_exceeded")
        assert peer.closed()

    growing(shared.clear, within)


def test_a_deadline_that_is_met_does_no_harm(site: Site) -> None:
    client = site.envelope("patient-native", {"id": "e-1", "kind": "query", "deadline_ms": 60_000})
    peer, request = site["patient-native"].request()
    assert 50_000 < int(request.get("x-waypost-deadline-ms") or 0) <= 60_000
    peer.reply()
    assert client.response().status == 200


def test_a_deadline_bounds_all_attempts_together(shared: Launcher, site: Site) -> None:
    def within(seconds: float) -> None:
        milliseconds = int(seconds * 1500)
        envelope = {"id": "e-1", "kind": "query", "deadline_ms": milliseconds}
        client = site.envelope("silent-native-backed", envelope)
        first, request = site["silent-native-backed"].request()
        earlier = int(request.get("x-waypost-deadline-ms") or 0)
        second, request = site["native"].request()
        assert int(request.get("x-waypost-deadline-ms") or 0) < earlier
        assert first.closed()
        response = client.response()
        _refused(response, 504, "deadline_exceeded")
        assert response.get("x-waypost-attempts") == "2"
        assert second.closed()

    growing(shared.clear, within)


def test_a_deadline_cuts_a_stream_so_that_the_client_can_tell(shared: Launcher, site: Site) -> None:
    def within(seconds: float) -> None:
        client = site.chat("patient", x_waypost_deadline_ms=str(int(seconds * 1000)))
        peer, _ = site["patient"].request()
        peer.start()
        peer.send(chunk(b"data: 1\n\n"))
        response = client.response()
        assert response.stream.exactly(9) == b"data: 1\n\n"
        assert client.rest().strip() == b""  # no last chunk
        assert peer.closed()

    growing(shared.clear, within)


# Connections that are kept.


def _roundtrip(site: Site, kind: str = "tool") -> Upstream:
    upstream = site["patient-native"]
    client = site.envelope("patient-native", {"id": "e-1", "kind": kind})
    peer, _ = upstream.request()
    peer.reply()
    assert client.response().status == 200
    return upstream


def test_one_upstream_connection_serves_many_clients_in_turn(site: Site) -> None:
    for _ in range(20):
        upstream = _roundtrip(site)
    assert upstream.accepted == 1


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("kind", ["query", "tool"])
def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(site: Site, kind: str, how: str) -> None:
    for _ in range(5):
        upstream = _roundtrip(site, kind)
        getattr(upstream.peer_that_idles(), how)()
    assert upstream.accepted == 5


def test_a_kept_connection_that_was_closed_a_moment_ago_is_not_used(site: Site) -> None:
    """The proxy learns of the close and of the next message at once, in whatever order its event loop tells."""
    upstream = site["patient-native"]
    client = site.envelope("patient-native", {"id": "e-1", "kind": "tool"})
    for _ in range(5):
        peer, _ = upstream.request()
        peer.reply()
        assert client.response().body == OK
        site.proxy.signal(signal.SIGSTOP)
        try:
            client.ask("POST", "/v1/envelopes", b'{"id":"e-1","kind":"tool"}', {"x-to": "patient-native"})
            peer.close()
        finally:
            site.proxy.signal(signal.SIGCONT)
    peer, _ = upstream.request()
    peer.reply()
    assert client.response().status == 200


def test_a_kept_connection_that_dies_under_an_idempotent_message_is_replaced(site: Site) -> None:
    upstream = _roundtrip(site)
    client = site.envelope("patient-native", {"id": "e-1", "kind": "query"})
    peer, _ = upstream.request()
    assert upstream.accepted == 1
    peer.close()
    peer, _ = upstream.request()
    peer.reply()
    assert client.response().status == 200
    assert upstream.accepted == 2


def test_a_kept_connection_that_dies_under_another_message_is_an_error(site: Site) -> None:
    upstream = _roundtrip(site)
    client = site.envelope("patient-native", {"id": "e-1", "kind": "tool"})
    peer, _ = upstream.request()
    peer.close()
    _refused(client.response(), 502, "upstream_protocol")
    assert upstream.untouched()


def test_bytes_that_nobody_asked_for_condemn_a_kept_connection(site: Site) -> None:
    """They would be taken for the next message's answer."""
    upstream = _roundtrip(site)
    peer = upstream.peer_that_idles()
    peer.send(head("HTTP/1.1 200 OK", [("content-length", "6")]) + b"poison")
    assert peer.closed()
    _roundtrip(site)
    assert upstream.accepted == 2


def test_a_response_with_bytes_behind_its_end_is_delivered_and_its_connection_closed(site: Site) -> None:
    client = site.envelope("patient-native")
    peer, _ = site["patient-native"].request()
    peer.send(head("HTTP/1.1 200 OK", [("content-length", "2")]) + b"{}HTTP/1.1 200 OK\r\n\r\n")
    assert client.response().body == b"{}"
    assert peer.closed()


@pytest.mark.parametrize("fields", [[("connection", "close")], [("connection", "Keep-Alive, Close")]])
def test_an_endpoint_that_wants_to_close_is_left_alone(site: Site, fields: list[tuple[str, str]]) -> None:
    client = site.envelope("patient-native")
    peer, _ = site["patient-native"].request()
    peer.reply(headers=fields)
    assert client.response().status == 200
    assert peer.closed()
