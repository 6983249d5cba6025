"""Whatever an endpoint, a client or the network does to a message: it is sent once, its client can tell what became of
it, and nothing of it is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import pytest

from .support.client import Client
from .support.metrics import Metrics
from .support.proxy import Proxy, wait_until
from .support.site import Launcher, Site
from .support.upstream import Peer, closed_port
from .support.wire import Truncated, chunk, head

TIMES: Final = 4
"""How often each fault happens: what leaks does so each time."""
TOOL: Final = {"id": "t-1", "kind": "tool", "tool": "x"}
SHORT: Final = "300ms"
"""How long a silent endpoint is waited for. Others keep the default: on a busy machine they may take as long."""
HALF: Final = b'{"half":'
COUNTED: Final = head("HTTP/1.1 200 OK", [("content-type", "application/json"), ("content-length", "100")])
CHUNKED: Final = head("HTTP/1.1 200 OK", [("content-type", "application/json"), ("transfer-encoding", "chunked")])


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    clusters: dict[str, dict[str, Any]] = {
        "tools": {"speaks": "envelope", "fallback": ["others"]},
        "silent": {"speaks": "envelope", "timeout": {"first_byte": SHORT}, "fallback": ["others"]},
        "stalling": {"speaks": "envelope", "timeout": {"idle": SHORT}, "fallback": ["others"]},
        "others": {"speaks": "envelope"},
        "refusing": {"speaks": "envelope", "endpoints": [f"http://127.0.0.1:{closed_port()}"]},
        "nameless": {"speaks": "envelope", "endpoints": ["http://nowhere.invalid:1"]},
        "uploads": {},
    }
    plain = {"no-tls": shared.upstream(), "silent-tls": shared.upstream()}
    for name, upstream in plain.items():
        clusters[name] = {"speaks": "envelope", "endpoints": [upstream.url.replace("http:", "https:")]}
    clusters["silent-tls"]["timeout"] = {"connect": SHORT}
    site = Site(shared, clusters)
    site.add(**plain)
    for _ in range(2):  # what is opened once, and stays
        Metrics(site.proxy)
        client, peer = _sent_once(site)
        peer.reply()
        assert client.response().status == 200
    peer.close()
    return site


class State:
    """What a proxy holds at one moment."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._descriptors = proxy.descriptors()

    def comes_back(self) -> None:
        """Wait until there is no more than there was, and nothing under way."""

        def back() -> bool:
            metrics = Metrics(self._proxy)
            under_way = metrics("requests_in_flight") + metrics("buffered_bytes")
            return under_way == 0 and self._proxy.descriptors() <= self._descriptors

        wait_until(back, "nothing is left of what was under way")


Fault = Callable[[Peer], None]


def _drop(peer: Peer) -> None:
    peer.close()


def _reset(peer: Peer) -> None:
    peer.reset()


def _silence(peer: Peer) -> None:
    assert peer.closed()


def _sends(data: bytes, then: Fault = _silence) -> Fault:
    def act(peer: Peer) -> None:
        peer.send(data)
        then(peer)

    return act


def _for_ever(data: bytes) -> Fault:
    """`data` again and again, byte by byte, until the proxy has had enough."""

    def act(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            while peer.silent():
                for byte in data:
                    peer.send(bytes([byte]))

    return act


UNANSWERED: Final[dict[str, tuple[Fault, int]]] = {
    "closed": (_drop, 502),
    "reset": (_reset, 502),
    "silent": (_silence, 504),
    "garbage": (_sends(b"\x00\x01garbage\r\n\r\n"), 502),
    "a cut head": (_sends(COUNTED[:-9], _drop), 502),
    "a reset head": (_sends(COUNTED[:-9], _reset), 502),
    "half a head": (_sends(COUNTED[:-9]), 504),
    "an endless head, byte by byte": (_for_ever(b"HTTP/1.1 200 OK\r\nx-more: y\r\n"), 502),
    "interim responses without end": (_for_ever(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), 502),
}
CUT: Final[dict[str, tuple[bytes, Fault]]] = {
    "a counted body, closed": (COUNTED, _drop),
    "a counted body, reset": (COUNTED, _reset),
    "a counted body, silent": (COUNTED, _silence),
    "chunks, closed": (CHUNKED, _drop),
    "chunks, reset": (CHUNKED, _reset),
    "chunks, silent": (CHUNKED, _silence),
    "chunks, closed within one": (CHUNKED, _sends(b"ff\r\nxx", _drop)),
    "chunks, closed within the end": (CHUNKED, _sends(b"0\r\n", _drop)),
    "a broken chunk": (CHUNKED, _sends(b"zz\r\n")),
    "broken trailers": (CHUNKED, _sends(b"0\r\nno trailer\r\n\r\n")),
}


def _sent_once(site: Site, cluster: str = "tools") -> tuple[Client, Peer]:
    client = site.envelope(cluster, TOOL)
    return client, site[cluster].request()[0]


def _nobody_else(site: Site) -> None:
    for cluster in ("tools", "silent", "stalling"):
        assert site[cluster].untouched(), "it was sent again"
    assert site["others"].untouched(), "it was sent to another endpoint, too"


@pytest.mark.parametrize("name", UNANSWERED)
def test_without_an_answer(site: Site, name: str) -> None:
    act, status = UNANSWERED[name]
    state = State(site.proxy)
    for _ in range(TIMES):
        client, peer = _sent_once(site, "silent" if status == 504 else "tools")
        act(peer)
        response = client.response()
        assert (response.status, response.get("x-waypost-attempts")) == (status, "1"), response.body
        assert response.error["code"] == ("upstream_timeout" if status == 504 else "upstream_protocol")
        peer.close()
        _nobody_else(site)
        client.close()
    state.comes_back()


@pytest.mark.parametrize("name", CUT)
def test_a_response_that_stops_short(site: Site, name: str) -> None:
    begin, act = CUT[name]
    state = State(site.proxy)
    for _ in range(TIMES):
        client, peer = _sent_once(site, "stalling" if act is _silence else "tools")
        peer.send(begin + (HALF if begin == COUNTED else chunk(HALF)))
        response = client.response()
        assert (response.status, response.stream.exactly(len(HALF))) == (200, HALF)
        act(peer)
        with pytest.raises(Truncated):
            response.stream.rest()
        peer.close()
        _nobody_else(site)
        client.close()
    state.comes_back()


@pytest.mark.parametrize("coding", ["counted", "chunked"])
def test_a_response_byte_by_byte(site: Site, coding: str) -> None:
    body = b'{"id": "t-1", "result": "slowly"}'
    if coding == "counted":
        data = head("HTTP/1.1 200 OK", [("content-length", str(len(body)))]) + body
    else:
        data = CHUNKED + b"".join(chunk(bytes([byte])) for byte in body) + chunk(b"")
    state = State(site.proxy)
    client, peer = _sent_once(site)
    for byte in data:
        peer.send(bytes([byte]))
    assert client.response().body == body
    peer.close()
    _nobody_else(site)
    client.close()
    state.comes_back()


@pytest.mark.parametrize("cluster", ["refusing", "nameless"])
def test_an_endpoint_that_cannot_be_reached(site: Site, cluster: str) -> None:
    state = State(site.proxy)
    for _ in range(TIMES):
        client = site.envelope(cluster, TOOL)
        response = client.response()
        assert (response.status, response.error["code"]) == (502, "upstream_unreachable")
        client.close()
    state.comes_back()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 No TLS\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b""])
def test_an_endpoint_with_which_there_is_no_tls(site: Site, answer: bytes) -> None:
    """It speaks something else, refuses (RFC 8446, section 6.2: `handshake_failure`), or hangs up."""
    state = State(site.proxy)
    for _ in range(TIMES):
        client = site.envelope("no-tls", TOOL)
        peer = site["no-tls"].accept()
        assert peer.exactly(1) == b"\x16", "a handshake began"
        peer.send(answer)
        peer.close()
        response = client.response()
        assert (response.status, response.error["code"]) == (502, "upstream_unreachable")
        client.close()
    state.comes_back()


def test_a_tls_handshake_that_stands_still(site: Site) -> None:
    state = State(site.proxy)
    client = site.envelope("silent-tls", TOOL)
    peer = site["silent-tls"].accept()
    response = client.response()
    assert (response.status, response.error["code"]) == (504, "upstream_timeout")
    peer.rest()
    client.close()
    peer.close()
    state.comes_back()


@pytest.mark.parametrize("how", ["close", "reset", "finish"])
@pytest.mark.parametrize("when", ["before the answer", "in the answer"])
def test_a_client_that_vanishes(site: Site, when: str, how: str) -> None:
    state = State(site.proxy)
    for _ in range(TIMES):
        client, peer = _sent_once(site)
        if when == "in the answer":
            peer.send(CHUNKED + chunk(HALF))
            assert client.response().stream.exactly(len(HALF)) == HALF
        getattr(client, how)()
        assert peer.closed()
        peer.close()
        _nobody_else(site)
        client.close()
    state.comes_back()


@pytest.mark.parametrize("how", ["close", "reset", "finish"])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_a_client_that_vanishes_in_its_upload(site: Site, framing: str, how: str) -> None:
    state = State(site.proxy)
    for _ in range(TIMES):
        client = site.client()
        length = ("Content-Length", "1000") if framing == "counted" else ("Transfer-Encoding", "chunked")
        fields = [("Host", "h"), ("X-To", "uploads"), ("Content-Type", "audio/wav"), length]
        begin = b"begin" if framing == "counted" else chunk(b"begin")
        client.send(head("POST /v1/audio/raw HTTP/1.1", fields) + begin)
        peer, request = site["uploads"].request(whole=False)
        assert request.stream.exactly(5) == b"begin"
        getattr(client, how)()
        with pytest.raises(Truncated):
            request.stream.rest()
        peer.close()
        assert site["uploads"].untouched()
        client.close()
    state.comes_back()


def test_an_endpoint_that_vanishes_in_an_upload(site: Site) -> None:
    state = State(site.proxy)
    for _ in range(TIMES):
        client = site.client()
        fields = [("Host", "h"), ("X-To", "uploads"), ("Content-Type", "audio/wav"), ("Content-Length", "1000")]
        client.send(head("POST /v1/audio/raw HTTP/1.1", fields) + b"begin")
        peer, request = site["uploads"].request(whole=False)
        assert request.stream.exactly(5) == b"begin"
        peer.reset()
        response = client.response()
        assert (response.status, response.error["code"]) == (502, "upstream_protocol")
        assert site["uploads"].untouched()
        client.close()
    state.comes_back()
