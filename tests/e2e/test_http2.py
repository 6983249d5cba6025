"""HTTP/2 on both ways in: by ALPN and by preface, with the rules that hold for HTTP/1.1."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from .support.certificates import Authority
from .support.http2 import Http2Client, Stream
from .support.proxy import wait_until
from .support.site import Launcher, Site
from .support.wire import TIMEOUT, Truncated, chunk

CHAT = b'{"model":"m","messages":[]}'
TO = {"x-to": "model"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    return Site(shared, {"model": {}}, {"limits": {"header": "8KiB", "body": "1MiB"}})


@pytest.fixture
def client(site: Site) -> Iterator[Http2Client]:
    with Http2Client(site.proxy.address) as client:
        yield client


def lines(file: Path, count: int) -> list[dict[str, Any]]:
    """The lines of an access log, once there are `count`."""
    wait_until(lambda: file.exists() and file.read_bytes().count(b"\n") >= count, f"{count} lines are there")
    return [json.loads(line) for line in file.read_text().splitlines()]


def code(stream: Stream) -> tuple[int, str]:
    return stream.status, json.loads(stream.body)["error"]["code"]


# What is the same as over HTTP/1.1.


def test_a_message_and_its_answer(site: Site, client: Http2Client) -> None:
    stream = client.ask(
        body=CHAT, headers={**TO, "x-request-id": "mine", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    )
    peer, request = site["model"].request()
    assert (request.method, request.target, request.body) == ("POST", "/v1/chat/completions", CHAT)
    assert request.get("content-length") == str(len(CHAT))
    assert request.get("x-request-id") == "mine"
    assert "a" * 32 in (request.get("traceparent") or "")
    assert not [name for name, _ in request.fields if name.startswith(":")]
    peer.reply(b'{"a":1}', headers=[("x-tab", "a\tb"), ("connection", "x-tab-not"), ("keep-alive", "5")])
    client.response(stream)
    assert (stream.status, stream.body, stream.get("x-request-id")) == (200, b'{"a":1}', "mine")
    assert stream.get("x-tab") == "a b"
    assert stream.get("connection") is stream.get("keep-alive") is None


REQUESTS: dict[str, tuple[str, str, bytes | None, dict[str, str]]] = {
    "probe": ("GET", "/readyz", None, {}),
    "head of a probe": ("HEAD", "/healthz", None, {}),
    "nothing there": ("GET", "/nowhere", None, {"x-to": "nobody"}),
    "no route": ("POST", "/v1/chat/completions", CHAT, {"x-to": "nobody"}),
    "no JSON": ("POST", "/v1/chat/completions", b"{", TO),
    "another media type": ("POST", "/v1/chat/completions", CHAT, {**TO, "content-type": "text/plain"}),
    "too long a body": ("POST", "/v1/chat/completions", b'"' + b"x" * (1 << 20) + b'"', TO),
    "another method": ("DELETE", "/v1/chat/completions", None, TO),
    "a path with dots": ("GET", "/v1/files/../x", None, TO),
    "OPTIONS": ("OPTIONS", "*", None, TO),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_waypost_answers_itself_is_the_same(site: Site, client: Http2Client, name: str) -> None:
    method, target, body, headers = REQUESTS[name]
    headers = {**headers, "x-request-id": "id-1"}
    stream = client.ask(method, target, body, headers)
    before = site.client()
    before.ask(method, target, body, headers)
    response = before.response(method)
    client.response(stream)
    assert (stream.status, stream.body) == (response.status, response.body)
    fields = [field for field in response.fields if field[0] not in ("connection", "date")]
    assert sorted(field for field in stream.fields if field[0] != "date") == sorted(fields)
    # Only its stream is over, not the connection.
    assert client.response(client.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("fields", [{"x-long": "y" * 9000}, {f"x-{n}": "y" for n in range(200)}], ids=["long", "many"])
def test_too_large_a_head_is_answered(site: Site, client: Http2Client, fields: dict[str, str]) -> None:
    stream = client.response(client.ask(body=CHAT, headers={**TO, **fields}))
    assert code(stream) == (431, "header_too_large")
    assert client.response(client.ask("GET", "/healthz")).status == 200
    assert site["model"].untouched()


def test_an_event_stream_comes_piece_by_piece(site: Site, client: Http2Client) -> None:
    stream = client.ask(body=CHAT, headers=TO)
    peer, _ = site["model"].request()
    peer.start()
    for number in range(3):
        event = b"data: %d\n\n" % number
        peer.send(chunk(event))
        client.until(lambda end=event: stream.body.endswith(end))
        assert not stream.over
    peer.send(chunk(b""))
    client.response(stream)
    assert stream.get("content-type") == "text/event-stream"
    assert stream.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_many_streams_at_once(site: Site, client: Http2Client) -> None:
    streams = [client.ask("GET", f"/v1/files/{number}", headers=TO) for number in range(100)]
    peers = [site["model"].request() for _ in streams]
    for peer, request in reversed(peers):
        peer.reply(request.target.encode())
    for number, stream in enumerate(streams):
        assert client.response(stream).body == b"/v1/files/%d" % number


def test_a_large_message_both_ways(site: Site, client: Http2Client) -> None:
    body = b'{"model":"m","messages":[],"x":"' + b"y" * 900_000 + b'"}'
    stream = client.ask(body=body, headers=TO)
    peer, request = site["model"].request()
    assert request.body == body
    peer.reply(body)
    assert client.response(stream).body == body


def test_a_body_without_a_length_is_streamed_upstream(site: Site, client: Http2Client) -> None:
    stream = client.ask("POST", "/v1/audio/raw", b"begin", {**TO, "content-type": "audio/wav"}, whole=False)
    peer, request = site["model"].request(whole=False)
    assert request.stream.exactly(5) == b"begin"
    client.send(stream, b"end", end=True)
    assert request.stream.rest() == b"end"
    peer.reply()
    assert client.response(stream).status == 200


def test_a_body_of_another_length_than_was_said_reaches_no_endpoint(site: Site, client: Http2Client) -> None:
    for length in ("5", "100"):
        stream = client.ask(body=CHAT, headers={**TO, "content-length": length})
        client.response(stream)
        assert stream.reset is not None or code(stream) == (400, "bad_framing")
    assert site["model"].untouched()


def test_the_rest_of_a_refused_body_is_not_wanted(site: Site, client: Http2Client) -> None:
    stream = client.ask(body=b"{", headers={**TO, "content-length": str(2 << 20)}, whole=False)
    client.until(lambda: stream.reset is not None)
    assert (code(stream), stream.ended, stream.reset) == ((413, "body_too_large"), True, ErrorCodes.NO_ERROR)
    assert client.response(client.ask("GET", "/healthz")).status == 200
    assert site["model"].untouched()


def test_cookies_are_one_field_upstream(launch: Launcher) -> None:
    site = Site(launch, {"model": {"credential": "pass"}})
    with Http2Client(site.proxy.address) as client:
        headers = [*TO.items(), ("cookie", "a=1"), ("cookie", "b=2")]
        stream = client.ask("GET", "/v1/files", headers=headers)
        peer, request = site["model"].request()
        assert [value for name, value in request.fields if name == "cookie"] == ["a=1; b=2"]
        peer.reply()
        assert client.response(stream).status == 200


def test_trailers_of_a_response_are_passed_on(site: Site, client: Http2Client) -> None:
    stream = client.ask(body=CHAT, headers={**TO, "te": "trailers"})
    peer, _ = site["model"].request()
    peer.start([("trailer", "x-sum")])
    peer.send(chunk(b"data: 1\n\n") + b"0\r\nx-sum: 1\r\n\r\n")
    client.response(stream)
    assert (stream.body, stream.trailers) == (b"data: 1\n\n", [("x-sum", "1")])


@pytest.mark.parametrize(
    "fields",
    [
        [(":path", "/v1/caf\xe9")],
        [(":path", "/v1/a b")],
        [(":path", "http://other/v1/files")],
        [(":path", "/v1/caf\xe9"), (":method", "CONNECT"), (":protocol", "websocket")],
        [(":path", "/v1/a"), ("connection", "close")],
        [(":path", "/v1/a"), ("transfer-encoding", "chunked")],
        [(":path", "/v1/a"), ("host", "other")],
        [(":path", "/v1/a"), ("x-a", "b\r\nx-to: model")],
        [(":path", "/v1/a"), ("X-A", "b")],
    ],
    ids=str,
)
def test_malformed_requests_cost_their_stream_only(
    site: Site, client: Http2Client, fields: list[tuple[str, str]]
) -> None:
    number = client.h2.get_next_available_stream_id()
    stream = client.streams[number] = Stream(number)
    head = [(":scheme", "https"), (":authority", "h"), *fields, ("x-to", "model")]
    if not any(name == ":method" for name, _ in fields):
        head.insert(0, (":method", "GET"))
    client.h2.send_headers(number, [(n.encode("latin-1"), v.encode("latin-1")) for n, v in head], end_stream=True)
    client.flush()
    assert client.response(stream).reset == ErrorCodes.PROTOCOL_ERROR
    assert client.response(client.ask("GET", "/healthz")).status == 200
    assert site["model"].untouched()


@pytest.mark.parametrize("target", ["/v1/a", "/v1/realtime?model=m", "/healthz", "/nowhere"])
def test_connect_is_not_forwarded(site: Site, client: Http2Client, target: str) -> None:
    changed: dict[int, int] = dict(client.h2.remote_settings)
    assert changed.get(SettingCodes.ENABLE_CONNECT_PROTOCOL, 0) == 0  # so that a browser opens WebSockets elsewhere
    number = client.h2.get_next_available_stream_id()
    stream = client.streams[number] = Stream(number)
    head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "h")]
    client.h2.send_headers(number, [*head, (":path", target), ("x-to", "model")])
    client.flush()
    client.until(lambda: stream.ended)
    assert code(stream) == (501, "not_implemented")
    assert client.response(client.ask("GET", "/healthz")).status == 200
    assert site["model"].untouched()


def test_more_fields_than_can_be_decoded_end_the_connection(client: Http2Client) -> None:
    client.ask("GET", "/v1/files", headers={f"x-{n}": "y" * 1000 for n in range(70)})
    assert client.closed()


def test_keys_are_asked_for(launch: Launcher) -> None:
    key = {"name": "k", "hash": "sha256:" + hashlib.sha256(b"secret").hexdigest()}
    site = Site(launch, {"model": {}}, {"keys": [key]})
    with Http2Client(site.proxy.address) as client:
        assert code(client.response(client.ask(body=CHAT, headers=TO))) == (401, "unauthorized")
        stream = client.ask(body=CHAT, headers={**TO, "authorization": "Bearer secret"})
        peer, _ = site["model"].request()
        peer.reply()
        assert client.response(stream).status == 200


def test_what_is_counted_and_logged(launch: Launcher, tmp_path: Path) -> None:
    site = Site(launch, {"model": {}}, {"access_log": str(tmp_path / "log")})
    with Http2Client(site.proxy.address) as client:
        stream = client.ask(body=CHAT, headers={**TO, "x-request-id": "mine"})
        peer, _ = site["model"].request()
        peer.reply(b"{}")
        client.response(stream)
        assert client.response(client.ask("GET", "/nowhere", headers={"x-request-id": "other"})).status == 404
        (first, second) = lines(tmp_path / "log", 2)
        assert (first["id"], first["status"], first["bytes_in"], first["bytes_out"]) == ("mine", 200, len(CHAT), 2)
        assert (second["id"], second["status"], second["why"]) == ("other", 404, "not_found")
        text = client.response(client.ask("GET", "/metrics")).body.decode()
        assert 'route="to-model",cluster="model",status="2xx"' in text.replace(" ", "")
        assert "waypost_client_connections 1" in text


# Clients that leave, and slow ones.


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_takes_its_message_along(site: Site, client: Http2Client, how: str) -> None:
    other = client.ask("GET", "/healthz")
    stream = client.ask(body=CHAT, headers=TO)
    peer, _ = site["model"].request()
    peer.start()
    peer.send(chunk(b"data: 1\n\n"))
    client.until(lambda: stream.body)
    if how == "reset":
        client.reset(stream)
    else:
        client.close()
    assert peer.rest() == b""  # closed
    if how == "reset":
        assert client.response(other).status == 200


def test_a_client_that_leaves_before_the_answer_takes_its_message_along(site: Site, client: Http2Client) -> None:
    stream = client.ask(body=CHAT, headers=TO)
    peer, _ = site["model"].request()
    client.reset(stream)
    assert peer.rest() == b""


def test_an_upload_that_its_client_gives_up_ends_upstream(site: Site, client: Http2Client) -> None:
    stream = client.ask("POST", "/v1/audio/raw", b"begin", {**TO, "content-type": "audio/wav"}, whole=False)
    _, request = site["model"].request(whole=False)
    assert request.stream.exactly(5) == b"begin"
    client.reset(stream)
    with pytest.raises(Truncated):
        request.stream.rest()


def test_an_endpoint_that_stops_short_resets_the_stream(site: Site, client: Http2Client) -> None:
    stream = client.ask(body=CHAT, headers=TO)
    peer, _ = site["model"].request()
    peer.start()
    peer.send(chunk(b"data: 1\n\n"))
    peer.close()
    client.response(stream)
    assert stream.status == 200
    assert stream.reset is not None
    assert client.response(client.ask("GET", "/healthz")).status == 200


def test_a_client_that_opens_no_window_holds_its_endpoint_back(launch: Launcher) -> None:
    upstream = launch.upstream(window=1 << 16)
    site = Site(launch, {"model": {"endpoints": [upstream.url]}})
    with Http2Client(site.proxy.address, reads=False) as client:
        stream = client.ask(body=CHAT, headers=TO)
        peer, _ = upstream.request()
        peer.start(chunked=False)
        peer.sock.setblocking(False)
        sent = 0
        while sent < 64 << 20 and select.select([], [peer.sock], [], 1)[1]:
            sent += peer.sock.send(b"x" * 60_000)
        client.until(lambda: len(stream.body) == 65535)
        assert 65535 < sent < 32 << 20
        # Other streams of the connection go on: what little they need comes without a window.
        other = client.ask("HEAD", "/healthz")
        assert client.response(other).status == 200
        client.reset(stream)
        peer.sock.settimeout(TIMEOUT)
        with pytest.raises(ConnectionError):
            peer.sock.sendall(b"x" * (64 << 20))


def test_all_of_an_answer_is_sent_although_the_window_opens_late(launch: Launcher) -> None:
    site = Site(launch, {"model": {}})
    with Http2Client(site.proxy.address, reads=False) as client:
        stream = client.ask(body=CHAT, headers=TO)
        peer, _ = site["model"].request()
        body = b"x" * 100_000
        peer.reply(body)
        client.until(lambda: len(stream.body) == 65535)
        site.proxy.signal(signal.SIGTERM)  # a drain waits for it, too
        wait_until(lambda: refuses(site), "the listener is closed")
        for number in (0, stream.number):
            client.h2.increment_flow_control_window(1 << 20, number or None)
        client.flush()
        client.response(stream)
        assert (stream.ended, stream.body) == (True, body)
        assert client.closed()
    assert site.proxy.exit_code() == 0


# Drain.


def refuses(site: Site) -> bool:
    assert isinstance(site.proxy.address, tuple)
    try:
        socket.create_connection(site.proxy.address, TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_drain_finishes_streams_and_refuses_new_ones(launch: Launcher) -> None:
    site = Site(launch, {"model": {}})
    with Http2Client(site.proxy.address) as client, Http2Client(site.proxy.address) as idle:
        stream = client.ask(body=CHAT, headers=TO)
        peer, _ = site["model"].request()
        peer.start()
        peer.send(chunk(b"data: 1\n\n"))
        client.until(lambda: stream.body)
        site.proxy.signal(signal.SIGTERM)
        assert idle.closed()
        assert idle.goodbye == ErrorCodes.NO_ERROR
        refused = client.response(client.ask(body=CHAT, headers=TO))
        assert refused.reset == ErrorCodes.REFUSED_STREAM  # safe to send again
        assert client.goodbye is None
        peer.send(chunk(b"data: 2\n\n") + chunk(b""))
        client.response(stream)
        assert (stream.ended, stream.body) == (True, b"data: 1\n\ndata: 2\n\n")
        assert client.closed()
        assert client.goodbye == ErrorCodes.NO_ERROR
    assert site.proxy.exit_code() == 0


def test_a_drain_that_takes_too_long(launch: Launcher) -> None:
    site = Site(launch, {"model": {}}, {"limits": {"drain": "1s"}})
    with Http2Client(site.proxy.address) as client:
        begun = client.ask(body=CHAT, headers=TO)
        peer, _ = site["model"].request()
        peer.start()
        peer.send(chunk(b"data: 1\n\n"))
        client.until(lambda: begun.body)
        waits = client.ask(body=CHAT, headers=TO)
        site["model"].request()
        site.proxy.signal(signal.SIGTERM)
        assert code(client.response(waits)) == (503, "draining")
        assert client.response(begun).reset is not None
        assert client.closed()
    assert site.proxy.exit_code() == 0


# Which protocol it is.


def test_alpn_decides_over_tls(launch: Launcher, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = map(str, authority.issue("localhost"))
    site = Site(launch, {"model": {}}, args=("--ssl-certfile", certificate, "--ssl-keyfile", key))
    assert isinstance(site.proxy.address, tuple)
    for offers, agreed in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)):
        context = ssl.create_default_context(cafile=authority.certificate)
        if offers:
            context.set_alpn_protocols(offers)
        if agreed == "h2":
            with socket.create_connection(site.proxy.address) as plain:
                eager = context.wrap_socket(plain, server_hostname="localhost")
                eager.settimeout(TIMEOUT)
                assert eager.recv(9)[3] == 4  # SETTINGS, unasked
                eager.close()
            with Http2Client(site.proxy.address, tls=context) as client:
                assert isinstance(client.sock, ssl.SSLSocket)
                assert client.sock.selected_alpn_protocol() == "h2"
                stream = client.ask(body=CHAT, headers=TO)
                peer, request = site["model"].request()
                assert request.get("x-forwarded-proto") == "https"
                peer.reply(b"{}")
                assert client.response(stream).body == b"{}"
        else:
            one = site.client(tls=context)
            assert isinstance(one.sock, ssl.SSLSocket)
            assert one.sock.selected_alpn_protocol() == agreed
            one.ask("GET", "/healthz")
            assert one.response("GET").status == 200


def test_bytes_may_come_one_by_one(site: Site) -> None:
    with Http2Client(site.proxy.address) as known:
        opening = PREFACE + b"\0\0\0\4\0\0\0\0\0"
        raw = site.client()
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in opening:
            raw.send(bytes([octet]))
        assert raw.some()[3:4] == b"\4"  # SETTINGS
        assert known.response(known.ask("GET", "/healthz")).status == 200
    plain = site.client()
    plain.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in b"PRI /v1/files HTTP/1.1\r\nhost: h\r\n\r\n":
        plain.send(bytes([octet]))
    assert plain.response().status in (400, 404, 405)


def test_broken_frames_end_the_connection(site: Site) -> None:
    raw = site.client()
    raw.send(PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\x00\0\0\0\0\1abcd")  # DATA on a stream that is not open
    wait_until(lambda: b"\7\0\0\0\0\0" in raw.rest(), "it says GOAWAY")


def test_without_the_extra_the_preface_is_refused(launch: Launcher, tmp_path: Path) -> None:
    (tmp_path / "zttp.py").write_text("raise ImportError('not installed')\n")
    authority = Authority(tmp_path)
    certificate, key = map(str, authority.issue("localhost"))
    hidden = {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    site = Site(launch, {"model": {}}, env=hidden)
    client = site.client()
    client.send(PREFACE + b"\0\0\0\4\0\0\0\0\0")
    response = client.response()
    assert (response.status, response.error["code"], response.get("connection")) == (400, "bad_framing", "close")
    assert "this server does not speak HTTP/2: use HTTP/1.1" in response.error["message"]
    assert client.closed()
    tls = Site(launch, {"model": {}}, args=("--ssl-certfile", certificate, "--ssl-keyfile", key), env=hidden)
    context = ssl.create_default_context(cafile=authority.certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with ExitStack() as stack:
        one = stack.enter_context(tls.client(tls=context))
        assert isinstance(one.sock, ssl.SSLSocket)
        assert one.sock.selected_alpn_protocol() is None
        one.ask("GET", "/healthz")
        assert one.response("GET").status == 200
