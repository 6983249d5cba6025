"""Requests that two parsers could read in two ways: refused, or forwarded in one normal form, as a second parser says.

The upstream is h11, which shares no code with what Waypost reads requests with.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import h11
import pytest

from .support.proxy import Proxy
from .support.site import Launcher
from .support.wire import TIMEOUT

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
SMUGGLED = b"GET /v1/files/smuggled HTTP/1.1\r\nhost: h\r\n\r\n"


class Judge:
    """Reads what the proxy sends by h11, and answers it."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, dict[bytes, bytes], bytes]] = []
        self.errors: list[str] = []
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
            sock.settimeout(TIMEOUT)
            if not sock.recv(1, socket.MSG_PEEK):
                sock.close()
                return
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        connection = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        body = b""
        with sock:
            try:
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        connection.receive_data(sock.recv(65536))
                    elif isinstance(event, h11.Request):
                        request, body = event, b""
                    elif isinstance(event, h11.Data):
                        body += bytes(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        assert request is not None
                        assert connection.trailing_data == (b"", False)
                        self.seen.append((request.method, request.target, dict(request.headers), body))
                        connection.send(h11.Response(status_code=200, headers=[("content-length", "2")]))
                        connection.send(h11.Data(b"{}"))
                        connection.send(h11.EndOfMessage())
                        sock.sendall(REPLY)
                        connection.start_next_cycle()
                    else:
                        return
            except TimeoutError:
                return
            except Exception as exc:  # noqa: BLE001 - reported by the test
                self.errors.append(repr(exc))


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    judge = Judge()
    try:
        yield judge
    finally:
        judge.close()


@pytest.fixture(scope="module")
def proxy(shared: Launcher, judge: Judge) -> Proxy:
    clusters = {"one": {"speaks": "openai", "endpoints": [judge.url]}}
    return shared.serve(
        {"clusters": clusters, "routes": [{"name": "all", "match": {"path": [{"prefix": "/"}]}, "to": "one"}]}
    )


def request(*fields: str, line: str = "POST /v1/files HTTP/1.1", body: bytes = b"", end: str = "\r\n") -> bytes:
    lines = [line, "Host: h", "Content-Type: audio/wav", *fields]
    return (end.join(lines) + end + end).encode("latin-1") + body


CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
LENGTH = "Content-Length: 5"
CHUNKED = "Transfer-Encoding: chunked"
REJECTED: dict[str, bytes] = {
    "CL.TE": request("Content-Length: 6", CHUNKED, body=b"0\r\n\r\nG"),
    "TE.CL": request(CHUNKED, "Content-Length: 4", body=b"5c\r\nhello"),
    "TE.TE": request(CHUNKED, "Transfer-Encoding: identity", body=CHUNKS),
    "TE.TE in another case": request(CHUNKED, "transfer-encoding: CHUNKED", body=CHUNKS),
    "TE with a parameter": request("Transfer-Encoding: chunked;q=1", body=CHUNKS),
    "TE list": request("Transfer-Encoding: chunked, identity", body=CHUNKS),
    "TE in quotes": request('Transfer-Encoding: "chunked"', body=CHUNKS),
    "TE misspelt": request("Transfer-Encoding: xchunked", body=CHUNKS),
    "TE with a vertical tab": request("Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "TE with a space before the colon": request("Transfer-Encoding : chunked", body=CHUNKS),
    "TE folded": request("Transfer-Encoding:\r\n chunked", body=CHUNKS),
    "TE in HTTP/1.0": request(CHUNKED, line="POST /v1/files HTTP/1.0", body=CHUNKS),
    "TE.CL by a bare LF": request("X: y\nTransfer-Encoding: chunked", LENGTH, body=CHUNKS),
    "same CL twice": request(LENGTH, LENGTH, body=b"hello"),
    "two CL": request(LENGTH, "Content-Length: 6", body=b"hello!"),
    "CL list": request("Content-Length: 5, 5", body=b"hello"),
    "CL with a sign": request("Content-Length: +5", body=b"hello"),
    "negative CL": request("Content-Length: -5", body=b"hello"),
    "CL in hex": request("Content-Length: 0x5", body=b"hello"),
    "CL with an underscore": request("Content-Length: 1_0", body=b"hellohello"),
    "empty CL": request("Content-Length:", body=b""),
    "CL that overflows": request(f"Content-Length: {2**64 + 5}", body=b"hello"),
    "bare LF": request(LENGTH, body=b"hello", end="\n"),
    "bare CR": request("X: a\rContent-Length: 7", LENGTH, body=b"hello"),
    "folded field": request("X: a\r\n b", LENGTH, body=b"hello"),
    "folded first field": b"GET /v1/files HTTP/1.1\r\n Host: h\r\n\r\n",
    "NUL in a value": request("X: a\0b", LENGTH, body=b"hello"),
    "NUL in a name": request("X\0: a", LENGTH, body=b"hello"),
    "no name": request(": a", LENGTH, body=b"hello"),
    "no colon": request("nonsense", LENGTH, body=b"hello"),
    "huge chunk size": request(CHUNKED, body=b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    "negative chunk size": request(CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk size with 0x": request(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"),
    "chunk longer than it says": request(CHUNKED, body=b"4\r\nhello\r\n0\r\n\r\n"),
    "chunk that ends with LF": request(CHUNKED, body=b"5\r\nhello\n0\r\n\r\n"),
    "length in the trailers": request(CHUNKED, body=b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"),
    "line injected into the target": request(LENGTH, line="POST /v1/files\r\nX: y HTTP/1.1", body=b"hello"),
    "tab in the request line": request(LENGTH, line="POST\t/v1/files\tHTTP/1.1", body=b"hello"),
    "two spaces in the request line": request(LENGTH, line="POST  /v1/files HTTP/1.1", body=b"hello"),
    "HTTP/1.2": request(LENGTH, line="POST /v1/files HTTP/1.2", body=b"hello"),
    "HTTP/0.9": b"GET /v1/files\r\n",
    "two hosts": request("Host: other", LENGTH, body=b"hello"),
    "host with a user": request(LENGTH, body=b"hello").replace(b"Host: h", b"Host: a@b"),
}
FORWARDED: dict[str, bytes] = {
    "length": request(LENGTH, body=b"hello"),
    "chunks": request(CHUNKED, body=CHUNKS),
    "coding in capitals": request("Transfer-Encoding: CHUNKED", body=CHUNKS),
    "space around a length": request("Content-Length:   5", body=b"hello"),
    "zeros before a length": request("Content-Length: 005", body=b"hello"),
    "chunk extension": request(CHUNKED, body=b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'),
    "chunk size with zeros": request(CHUNKED, body=b"0005\r\nhello\r\n000\r\n\r\n"),
    "trailers": request(CHUNKED, body=b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    "underscores in a framing field": request("Content_Length: 9", "Transfer_Encoding: chunked", LENGTH, body=b"hello"),
    "nominated framing field": request("Connection: content-length, host", LENGTH, body=b"hello"),
}


BEFORE: dict[str, bytes] = {
    "a chunked one": request(CHUNKED, "X-Request-Id: before", body=CHUNKS),
    "one with trailers": request(CHUNKED, "X-Request-Id: before", body=b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    "a plain one": request(LENGTH, "X-Request-Id: before", body=b"hello"),
    "an offer to upgrade": request(LENGTH, "Connection: Upgrade", "Upgrade: h2c", body=b"hello"),
}
"""Good requests to `/v1/files`."""


def dealt_with(proxy: Proxy, judge: Judge) -> list[bytes]:
    """The targets that reached the endpoint."""
    # The proxy has dealt with all others by the time it has answered another.
    assert proxy.ask("GET", "/v1/files/next").status == 200
    assert judge.errors == []
    *before, last = [target for _, target, _, _ in judge.seen]
    assert last == b"/v1/files/next"
    return before


@pytest.mark.parametrize("name", REJECTED)
def test_what_could_be_read_in_two_ways_reaches_nobody(proxy: Proxy, judge: Judge, name: str) -> None:
    judge.seen.clear()
    client = proxy.client()
    client.send(REJECTED[name] + SMUGGLED)
    if name == "HTTP/0.9":
        client.finish()
    answers = client.rest()
    # One answer, then the end: what stands behind is not taken for a request.
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert b'"bad_framing"' in answers
    assert dealt_with(proxy, judge) == []


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", REJECTED)
def test_what_stands_behind_another_request_is_read_as_strictly(
    proxy: Proxy, judge: Judge, name: str, before: str
) -> None:
    judge.seen.clear()
    client = proxy.client()
    client.send(BEFORE[before] + REJECTED[name] + SMUGGLED)
    if name == "HTTP/0.9":
        client.finish()
    # The good one is answered before the bad one is refused.
    assert client.response().body == b"{}"
    answers = client.rest()
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert b'"bad_framing"' in answers
    assert dealt_with(proxy, judge) == [b"/v1/files"]


@pytest.mark.parametrize("name", FORWARDED)
def test_what_is_forwarded_is_one_request_in_one_form(proxy: Proxy, judge: Judge, name: str) -> None:
    judge.seen.clear()
    client = proxy.client()
    client.send(FORWARDED[name])
    assert client.response().body == b"{}"
    client.send(FORWARDED["length"])
    assert client.response().body == b"{}"
    assert len(judge.seen) == 2
    for _, target, headers, body in judge.seen:
        assert (target, body) == (b"/v1/files", b"hello")
        framing = {each: headers[each] for each in (b"content-length", b"transfer-encoding") if each in headers}
        assert framing in ({b"content-length": b"5"}, {b"transfer-encoding": b"chunked"})
        assert not {b"content_length", b"transfer_encoding"} & set(headers)
        assert b"trailer" not in headers
    assert judge.errors == []
