"""One reading of each request: what decides its route is exactly what the endpoint gets, and both ways in agree.

Real bytes go in, cut anywhere, and the bytes that the endpoint saw come out. `RouteTable` then decides those again.
"""

from __future__ import annotations

import json
import queue
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waypost import RouteTable

from .support.client import Client
from .support.proxy import Proxy
from .support.site import PATHS, Launcher

ROUTES = [
    {"name": "both", "match": {"headers": {"x-a": ["a"], "x-b": [{"exists": True}]}, "path": [{"prefix": "/"}]}},
    {"name": "a", "match": {"headers": {"x-a": ["a"]}, "path": [{"prefix": "/"}]}},
    {"name": "a-b", "match": {"headers": {"x-a": ["a b", "a\tb"]}, "path": [{"prefix": "/"}]}},
    {"name": "latin", "match": {"headers": {"x-a": [{"wildcard": "*é*"}]}, "path": [{"prefix": "/"}]}},
    {"name": "ends", "match": {"headers": {"x-b": [{"suffix": "z"}]}, "path": [{"prefix": "/"}]}},
    {"name": "empty", "match": {"headers": {"x-b": [""]}, "path": [{"prefix": "/"}]}},
    {"name": "underscore", "match": {"headers": {"x_a": ["a"]}, "path": [{"prefix": "/"}]}},
    {"name": "trailer", "match": {"headers": {"trailer": [{"exists": True}]}, "path": [{"prefix": "/"}]}},
    {"name": "settings", "match": {"headers": {"http2-settings": [{"exists": True}]}, "path": [{"prefix": "/"}]}},
    {"name": "path", "match": {"path": ["/v1/files/x"]}},
    {"name": "below", "match": {"path": [{"prefix": "/v1/files/"}]}},
    {"name": "all", "match": {"path": [{"prefix": "/"}]}},
]
REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@dataclass
class Seen:
    """A request as the endpoint saw it."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes


class Endpoint:
    """Keeps the bytes of each request, and answers it."""

    def __init__(self) -> None:
        self.seen: queue.SimpleQueue[Seen] = queue.SimpleQueue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        socket.create_connection(self._listener.getsockname()).close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if not sock.recv(1, socket.MSG_PEEK):
                sock.close()
                return
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        data = b""

        def more() -> bytes:
            found = sock.recv(65536)
            if not found:
                raise EOFError
            return found

        def until(mark: bytes) -> bytes:
            nonlocal data
            while mark not in data:
                data += more()
            found, _, data = data.partition(mark)
            return found

        def exactly(size: int) -> bytes:
            nonlocal data
            while len(data) < size:
                data += more()
            found, data = data[:size], data[size:]
            return found

        with sock:
            try:
                while True:
                    line, *lines = until(b"\r\n\r\n").split(b"\r\n")
                    fields = [(name, value) for name, _, value in (each.partition(b": ") for each in lines)]
                    body = b""
                    if (b"transfer-encoding", b"chunked") in fields:
                        while size := int(until(b"\r\n"), 16):
                            body += exactly(size)
                            assert until(b"\r\n") == b""
                        until(b"\r\n")
                    else:
                        length = int(dict(fields).get(b"content-length", b"0"))
                        body = exactly(length)
                    self.seen.put(Seen(line, fields, body))
                    sock.sendall(REPLY)
            except (EOFError, ConnectionError):
                return


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    try:
        yield endpoint
    finally:
        endpoint.close()


@pytest.fixture(scope="module")
def proxies(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Proxy]]:
    launchers = [Launcher(path, tmp_path_factory.mktemp(path)) for path in PATHS]
    config = {
        "clusters": {"one": {"speaks": "openai", "endpoints": [endpoint.url], "retry": "off"}},
        "routes": [{**route, "to": "one"} for route in ROUTES],
    }
    try:
        yield [launcher.serve(config) for launcher in launchers]
    finally:
        for launcher in reversed(launchers):
            launcher.close()


blank = st.sampled_from(["", "", " ", "\t", " \t "])
text = st.sampled_from(["a", "a b", "a\tb", "A", "caf\xe9", "z", "xz", "", "a,a"])
value = st.tuples(blank, text, blank).map("".join)
name = st.sampled_from(["x-a", "X-A", "x-b", "X_a", "x-c"])
option = st.sampled_from(["x-a", "X-B", "keep-alive", "trailer", "x_a", "http2-settings", "Upgrade"])
field = st.one_of(
    st.tuples(name, value),
    st.tuples(name, value),
    st.tuples(st.just("Connection"), st.lists(option, max_size=3).map(", ".join)),
    st.sampled_from([("Trailer", "x-a"), ("HTTP2-Settings", "AAMAAABk"), ("Upgrade", "h2c"), ("Expect", "x")]),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A good request to a path of the OpenAI dialect."""
    target = draw(
        st.sampled_from(["/v1/files/x", "/v1/files", "http://other/v1/files/x", "/v1/files/x?x-a=a", "/v1/files/x#y"])
    )
    fields = draw(st.lists(field, max_size=6))
    body = draw(st.sampled_from([b"", b"hello", b"\r\n\r\n", b"x-a: a\r\n"]))
    framing = draw(st.sampled_from(["length", "chunked"]))
    lines = [f"POST {target} HTTP/1.1", "host: h", "content-type: audio/wav"]
    lines += [f"{name}:{value}" for name, value in fields]
    if framing == "length":
        lines.append(f"content-length: {len(body)}")
    else:
        trailers = draw(st.lists(st.tuples(name, value), max_size=3))
        cut = draw(st.integers(0, len(body)))
        lines.append("transfer-encoding: chunked")
        pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
        last = "".join(f"{name}:{value}\r\n" for name, value in trailers).encode("latin-1")
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + last + b"\r\n"
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def carried(proxy: Proxy, endpoint: Endpoint, sent: bytes, cuts: list[int]) -> tuple[list[str], list[Seen]]:
    """Send bytes in pieces; the routes that took the requests in them, and the requests as the endpoint saw them."""
    last = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    with Client(proxy.address) as client:
        places = sorted({cut % (len(sent) + 1) for cut in cuts})
        for begin, end in zip([0, *places], [*places, len(sent)], strict=True):
            client.send(sent[begin:end])
        client.send(last)
        answers = client.rest()
    assert set(re.findall(rb"HTTP/1.1 (\d+)", answers)) == {b"200"}, answers
    routes = [route.decode() for route in re.findall(rb"\r\nx-waypost-route: (\S+)", answers)]
    seen = [endpoint.seen.get(timeout=10) for _ in routes]
    assert endpoint.seen.empty()
    return routes, seen


def unalike(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without what differs from message to message, and without the framing: a body may go on as it arrives."""
    ignored = (b"x-request-id", b"traceparent", b"content-length", b"transfer-encoding")
    return [each for each in fields if each[0] not in ignored]


@settings(max_examples=60, deadline=None)
@given(
    sent=st.lists(requests(), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 2000), max_size=4),
)
def test_what_is_decided_on_is_what_is_forwarded(
    proxies: list[Proxy], endpoint: Endpoint, sent: list[bytes], cuts: list[int]
) -> None:
    table = RouteTable(ROUTES)
    forwarded = []
    for proxy in proxies:
        routes, seen = carried(proxy, endpoint, b"".join(sent), cuts)
        assert len(routes) == len(sent)
        for route, request in zip(routes, seen, strict=True):
            method, target, version = request.line.decode("ascii").split(" ")
            assert (method, version) == ("POST", "HTTP/1.1")
            assert all(name == name.lower() and value == value.strip(b" \t") for name, value in request.fields)
            decided = table.decide(
                None, dialect="openai", headers=request.fields, path=target.partition("?")[0], method=method
            )
            assert decided is not None
            assert decided.route == route
        forwarded.append([(each.line, unalike(each.fields), each.body) for each in seen])
    assert forwarded[0] == forwarded[1]


@pytest.mark.parametrize("fields", ["x-waypost-tenant: acme", "x-waypost-tenant: acme \t", "X-Waypost-Tenant:acme"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_rate_is_not_evaded_by_blanks(shared: Launcher, fields: str, chunked: bool) -> None:
    upstream = shared.server()
    cluster = {"speaks": "openai", "endpoints": [upstream.url], "rate": {"per": "tenant", "messages": 1, "every": "1h"}}
    config = {"clusters": {"one": cluster}, "routes": [{"name": "all", "match": {"kind": "model"}, "to": "one"}]}
    proxy = shared.serve(config)
    body = json.dumps({"model": "m", "messages": []}).encode()
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(body)}"
    data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    client = proxy.client()
    codes = []
    for each in ("x-waypost-tenant: acme", fields):
        client.send(f"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n{each}\r\n{framing}\r\n\r\n".encode() + data)
        response = client.response()
        _ = response.body
        codes.append(response.status)
    assert codes == [200, 429]
