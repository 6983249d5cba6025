"""A message in its cluster's own dialect goes through as it is: bytes, fields, framing."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest

from .support.site import Launcher, Site
from .support.wire import Truncated, chunk, head

MiB = 1024 * 1024
BODIES = {
    "odd whitespace": b' \t\r\n{ "model" :"m" ,\n\n"messages":[\t] } \n',
    "key order": b'{"z":1,"model":"m","a":2,"messages":[],"A":3}',
    "unicode": '{"model":"m","messages":[{"role":"user","content":"naïve ☃ 日本 \U0001f600 \\u00e9"}]}'.encode(),
    "numbers as written": b'{"model":"m","messages":[],"seed":1E+2,"big":12345678901234567890123,"zero":-0.0}',
    "1 MB": b'{"model":"m","messages":[{"role":"user","content":"' + b"line\\n " * 150_000 + b'"}]}',
}


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    clusters = {
        "plain": {},
        "pass": {"credential": "pass"},
        "key": {"credential": {"header": "Authorization", "value": "Bearer ${E2E_KEY}"}},
        "other-key": {"credential": {"header": "api-key", "value": "k-2"}},
        "based": {"base": "/base/v9"},
    }
    return Site(shared, clusters, {}, env={"E2E_KEY": "sk-secret"})


@pytest.mark.parametrize("name", BODIES)
def test_bodies_pass_byte_for_byte_both_ways(site: Site, name: str) -> None:
    body = BODIES[name]
    client = site.chat("plain", body)
    peer, request = site["plain"].request()
    assert (request.method, request.target, request.body) == ("POST", "/v1/chat/completions", body)
    assert request.get("content-length") == str(len(body))
    peer.reply(body)
    response = client.response()
    assert (response.status, response.body) == (200, body)
    assert response.get("content-length") == str(len(body))


def test_own_response_fields(site: Site) -> None:
    client = site.chat("plain", x_request_id="my-id.1")
    peer, request = site["plain"].request()
    assert request.get("x-request-id") == "my-id.1"
    peer.reply(headers=[("x-waypost-route", "forged"), ("x-request-id", "forged"), ("x-ratelimit-remaining", "7")])
    response = client.response()
    assert response.get("x-request-id") == "my-id.1"
    assert response.get("x-waypost-route") == "to-plain"
    assert response.get("x-waypost-cluster") == "plain"
    assert response.get("x-waypost-attempts") == "1"
    assert response.get("x-ratelimit-remaining") == "7"


@pytest.mark.parametrize("unusable", ["", "two words", "caf\xe9", "x" * 129])
def test_an_unusable_request_id_is_replaced(site: Site, unusable: str) -> None:
    client = site.chat("plain", x_request_id=unusable)
    peer, request = site["plain"].request()
    made = request.get("x-request-id")
    assert made is not None
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", made)
    assert made != unusable
    peer.reply()
    assert client.response().get("x-request-id") == made


def test_request_fields(site: Site) -> None:
    client = site.client()
    body = b'{"model":"m","messages":[]}'
    fields = [
        ("Host", "client.test:81"),
        ("X-To", "plain"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "keep-alive, X-Private"),
        ("X-Private", "for this hop"),
        ("Keep-Alive", "timeout=9"),
        ("TE", "gzip, trailers"),
        ("Proxy-Authorization", "Basic x"),
        ("Via", "1.0 edge"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Twice", "one"),
        ("X-Twice", "two"),
        ("OpenAI-Organization", "org-1"),
        ("User-Agent", "e2e"),
        ("Accept-Encoding", "gzip, br"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=1"),
    ]
    client.send(head("POST /v1/chat/completions?a=b%20c&a=d HTTP/1.1", fields) + body)
    peer, request = site["plain"].request()
    assert request.target == "/v1/chat/completions?a=b%20c&a=d"
    assert request.get("host") == site["plain"].url.removeprefix("http://")
    assert request.get("content-type") == "application/json; charset=utf-8"
    assert request.fields.all("x-twice") == ["one", "two"]
    assert request.get("openai-organization") == "org-1"
    assert request.get("user-agent") == "e2e"
    assert request.get("accept-encoding") == "gzip, br"
    assert request.get("traceparent") == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert request.get("tracestate") == "vendor=1"
    assert request.get("via") == "1.0 edge, 1.1 waypost"
    assert request.get("te") == "trailers"
    assert request.get("connection") == "te"
    assert request.get("x-forwarded-for") == "127.0.0.1"
    assert request.get("x-forwarded-host") == "client.test:81"
    assert request.get("x-forwarded-proto") == "http"
    for name in ("x-private", "keep-alive", "proxy-authorization", "forwarded", "x_forwarded_for", "x-real-ip"):
        assert name not in request.fields, name
    peer.reply()
    assert client.response().status == 200


def test_response_fields_for_one_hop_stay_there(site: Site) -> None:
    client = site.chat("plain")
    peer, _ = site["plain"].request()
    peer.reply(
        headers=[
            ("Connection", "keep-alive, x-hop"),
            ("X-Hop", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Content-Type", "application/json"),
            ("Server", "theirs"),
            ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]
    )
    response = client.response()
    for name in ("x-hop", "keep-alive", "proxy-authenticate"):
        assert name not in response.fields, name
    assert response.fields.all("set-cookie") == ["a=1", "b=2"]
    assert response.get("server") == "theirs"
    assert response.get("date") == "Sun, 06 Nov 1994 08:49:37 GMT"


CREDENTIALS = {"authorization": "Bearer mine", "x_api_key": "mine-2", "api_key": "mine-3"}


def test_the_clients_credentials_are_not_sent_on(site: Site) -> None:
    client = site.chat("plain", **CREDENTIALS)
    peer, request = site["plain"].request()
    assert not {"authorization", "x-api-key", "api-key"} & {name for name, _ in request.fields}
    peer.reply()
    assert client.response().status == 200


def test_credentials_pass_where_the_cluster_says_so(site: Site) -> None:
    client = site.chat("pass", **CREDENTIALS)
    peer, request = site["pass"].request()
    sent = [request.get(name) for name in ("authorization", "x-api-key", "api-key")]
    assert sent == ["Bearer mine", "mine-2", "mine-3"]
    peer.reply()
    assert client.response().status == 200


@pytest.mark.parametrize(
    ("cluster", "name", "value"), [("key", "authorization", "Bearer sk-secret"), ("other-key", "api-key", "k-2")]
)
def test_the_clusters_credential_takes_the_place_of_the_clients(
    site: Site, cluster: str, name: str, value: str
) -> None:
    client = site.chat(cluster, **CREDENTIALS)
    peer, request = site[cluster].request()
    sent = [(n, v) for n, v in request.fields if n in ("authorization", "x-api-key", "api-key")]
    assert sent == [(name, value)]
    peer.reply()
    assert client.response().status == 200
    assert "sk-secret" not in site.proxy.output


def test_a_chunked_request_is_read_whole_and_sent_with_its_length(site: Site) -> None:
    client = site.client()
    fields = [("Host", "h"), ("X-To", "plain"), ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
    pieces = [b'{"model":', b'"m","messages"', b":[]}"]
    client.send(head("POST /v1/chat/completions HTTP/1.1", fields))
    for piece in pieces:
        assert site["plain"].untouched()
        client.send(chunk(piece))
    client.send(b"0\r\nx-trailer: 1\r\n\r\n")
    peer, request = site["plain"].request()
    assert request.body == b"".join(pieces)
    assert request.get("content-length") == str(len(request.body))
    assert "transfer-encoding" not in request.fields
    peer.reply()
    assert client.response().status == 200


def test_chunked_response(site: Site) -> None:
    client = site.chat("plain")
    peer, _ = site["plain"].request()
    fields = [("content-type", "application/json"), ("transfer-encoding", "chunked")]
    peer.send(head("HTTP/1.1 200 OK", fields) + b'4;ext=1\r\n{"a"\r\n' + chunk(b": 1}") + chunk(b""))
    response = client.response()
    assert "content-length" not in response.fields
    assert response.body == b'{"a": 1}'


def test_response_that_ends_with_its_connection(site: Site) -> None:
    client = site.chat("plain")
    peer, _ = site["plain"].request()
    peer.send(b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"a":')
    peer.send(b" 1}")
    peer.close()
    assert client.response().body == b'{"a": 1}'


def test_interim_responses_are_skipped(site: Site) -> None:
    client = site.chat("plain")
    peer, _ = site["plain"].request()
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    peer.reply(b'{"final": true}')
    response = client.response()
    assert (response.status, response.json) == (200, {"final": True})
    assert "link" not in response.fields


def test_head_has_no_body(site: Site) -> None:
    client = site.client()
    client.ask("HEAD", "/v1/models", headers={"x-to": "plain"})
    peer, request = site["plain"].request()
    assert request.method == "HEAD"
    assert "content-length" not in request.fields
    assert "transfer-encoding" not in request.fields
    peer.send(head("HTTP/1.1 200 OK", [("content-length", "12345"), ("content-type", "application/json")]))
    response = client.response("HEAD")
    assert (response.status, response.get("content-length")) == (200, "12345")
    client.ask("HEAD", "/v1/models", headers={"x-to": "plain"})  # the connection is at a boundary
    peer, _ = site["plain"].request()
    peer.send(head("HTTP/1.1 200 OK", [("content-length", "0")]))
    assert client.response("HEAD").status == 200
    assert site["plain"].accepted == 1


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(site: Site, status: int) -> None:
    client = site.client()
    for _ in range(2):  # twice: both connections go on being usable
        client.ask("GET", "/v1/files/f-1", headers={"x-to": "plain", "if-none-match": '"e"'})
        peer, request = site["plain"].request()
        assert request.get("if-none-match") == '"e"'
        peer.send(head(f"HTTP/1.1 {status} X", [("etag", '"e"')]))
        response = client.response("GET")
        assert (response.status, response.get("etag"), response.body) == (status, '"e"', b"")
    assert site["plain"].accepted == 1


@pytest.mark.parametrize("status", [201, 301, 400, 401, 404, 418, 422, 429, 500, 501, 502, 503, 504])
def test_other_statuses_pass_unchanged(site: Site, status: int) -> None:
    body = b'{"error": {"message": "theirs", "type": "t", "param": null, "code": "c"}}\n'
    client = site.chat("plain")
    peer, _ = site["plain"].request()
    peer.reply(body, status, [("content-type", "application/json"), ("retry-after", "17"), ("location", "/elsewhere")])
    response = client.response()
    assert (response.status, response.body) == (status, body)
    assert response.get("retry-after") == "17"
    assert response.get("location") == "/elsewhere"
    assert response.get("x-waypost-cluster") == "plain"


def test_compressed_responses_pass(site: Site) -> None:
    body = gzip.compress(b'{"a": 1}' * 1000)
    client = site.chat("plain", accept_encoding="gzip")
    peer, _ = site["plain"].request()
    peer.reply(body, headers=[("content-encoding", "gzip"), ("content-type", "application/json")])
    response = client.response()
    assert response.get("content-encoding") == "gzip"
    assert response.body == body


def test_trailers_of_a_response_that_is_framed_by_chunks_do_not_break_it(site: Site) -> None:
    client = site.chat("plain", te="trailers")
    peer, _ = site["plain"].request()
    fields = [("transfer-encoding", "chunked"), ("trailer", "x-sum")]
    peer.send(head("HTTP/1.1 200 OK", fields) + chunk(b"{}") + b"0\r\nx-sum: 1\r\n\r\n")
    assert client.response().body == b"{}"
    client.ask("GET", "/v1/models", headers={"x-to": "plain"})
    peer, _ = site["plain"].request()
    peer.reply()
    assert client.response("GET").status == 200


def test_a_large_response_streams_in_bounded_memory(site: Site) -> None:
    size, piece = 20 * MiB, bytes(range(256)) * 1024
    before = site.proxy.resident()
    client = site.chat("plain")
    peer, _ = site["plain"].request()
    with ThreadPoolExecutor(1) as pool:

        def write() -> None:
            peer.send(head("HTTP/1.1 200 OK", [("content-length", str(size))]))
            for _ in range(size // len(piece)):
                peer.send(piece)

        writing = pool.submit(write)
        response = client.response()
        seen, most = hashlib.sha256(), before
        for _ in range(size // len(piece)):
            seen.update(response.stream.exactly(len(piece)))
            most = max(most, site.proxy.resident())
        writing.result()
    assert response.stream.rest() == b""
    assert seen.digest() == hashlib.sha256(piece * (size // len(piece))).digest()
    assert most - before < 10 * MiB


def test_other_paths_stream_uploads_piece_by_piece(site: Site) -> None:
    begin = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    pieces = [begin + bytes(range(256)), b"\x00" * 300_000, b"\r\n--b--\r\n"]
    client = site.client()
    fields = [("Host", "h"), ("X-To", "plain"), ("Content-Type", "multipart/form-data; boundary=b")]
    length = ("Content-Length", str(sum(map(len, pieces))))
    client.send(head("POST /v1/audio/transcriptions HTTP/1.1", [*fields, length]))
    client.send(pieces[0])
    peer, request = site["plain"].request(whole=False)
    assert request.target == "/v1/audio/transcriptions"
    assert request.get("content-type") == "multipart/form-data; boundary=b"
    assert request.get("content-length") == length[1]
    assert request.stream.exactly(len(pieces[0])) == pieces[0]  # before the client sends the rest
    for piece in pieces[1:]:
        client.send(piece)
        assert request.stream.exactly(len(piece)) == piece
    peer.reply(b'{"text": "hello"}')
    assert client.response().json == {"text": "hello"}


def test_uploads_of_unknown_length_stay_chunked(site: Site) -> None:
    client = site.client()
    fields = [("Host", "h"), ("X-To", "plain"), ("Content-Type", "audio/wav"), ("Transfer-Encoding", "chunked")]
    client.send(head("POST /v1/audio/raw HTTP/1.1", fields) + chunk(b"first"))
    peer, request = site["plain"].request(whole=False)
    assert request.get("transfer-encoding") == "chunked"
    assert request.stream.exactly(5) == b"first"
    client.send(chunk(b"second") + chunk(b""))
    assert request.stream.rest() == b"second"
    peer.reply()
    assert client.response().status == 200


def test_an_upload_larger_than_limits_body_streams_in_bounded_memory(site: Site) -> None:
    size, piece = 40 * MiB, b"x" * MiB
    before = site.proxy.resident()
    client = site.client()
    fields = [("Host", "h"), ("X-To", "plain"), ("Content-Type", "audio/wav"), ("Content-Length", str(size))]
    client.send(head("PUT /v1/files/big HTTP/1.1", fields))
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [client.send(piece) for _ in range(size // len(piece)) if not stop.is_set()])
        try:
            peer, request = site["plain"].request(whole=False)
            most = before
            for _ in range(size // len(piece)):
                assert request.stream.exactly(len(piece)) == piece
                most = max(most, site.proxy.resident())
        finally:
            stop.set()
        writing.result()
    peer.reply()
    assert client.response().status == 200
    assert most - before < 10 * MiB


def test_an_upload_may_be_answered_before_its_end(site: Site) -> None:
    client = site.client()
    fields = [("Host", "h"), ("X-To", "plain"), ("Content-Type", "audio/wav"), ("Content-Length", "1000")]
    client.send(head("POST /v1/audio/raw HTTP/1.1", fields) + b"begin")
    peer, request = site["plain"].request(whole=False)
    assert request.stream.exactly(5) == b"begin"
    peer.reply(b'{"error": {"message": "no wav", "type": "t", "param": null, "code": "bad"}}', 400)
    response = client.response()
    assert (response.status, response.error["code"]) == (400, "bad")
    assert peer.closed()  # the rest of the request will not come


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_requests_without_a_body(site: Site, method: str) -> None:
    client = site.client()
    client.ask(method, "/v1/files/f%2F1?limit=2&after=%C3%A9", headers={"x-to": "plain"})
    peer, request = site["plain"].request()
    assert (request.method, request.target, request.body) == (method, "/v1/files/f%2F1?limit=2&after=%C3%A9", b"")
    assert "content-length" not in request.fields
    assert "transfer-encoding" not in request.fields
    peer.reply(b'{"data": []}')
    assert client.response(method).json == {"data": []}


def test_an_endpoints_path_takes_the_place_of_v1(site: Site) -> None:
    client = site.chat("based")
    peer, request = site["based"].request()
    assert request.target == "/base/v9/chat/completions"
    peer.reply()
    assert client.response().status == 200


def test_one_connection_carries_many_messages_each_way(site: Site) -> None:
    client = site.client()
    for number in range(20):
        body = json.dumps({"model": "m", "messages": [], "n": number}).encode()
        client.ask("POST", "/v1/chat/completions", body, {"x-to": "plain"})
        peer, request = site["plain"].request()
        assert request.body == body
        peer.reply(body)
        assert client.response().body == body
    assert site["plain"].accepted == 1


def test_pipelined_requests_are_answered_in_their_order(site: Site) -> None:
    client = site.client()
    for number in range(3):
        client.ask("GET", f"/v1/files/{number}", headers={"x-to": "plain"})
    for number in range(3):
        peer, request = site["plain"].request()
        assert request.target == f"/v1/files/{number}"
        peer.reply(b'{"n": %d}' % number)
    assert [client.response("GET").json["n"] for _ in range(3)] == [0, 1, 2]


def test_http_1_0_clients(site: Site) -> None:
    body = b'{"model":"m","messages":[]}'
    fields = [("X-To", "plain"), ("Content-Length", str(len(body)))]
    client = site.client()
    client.send(head("POST /v1/chat/completions HTTP/1.0", fields) + body)
    peer, request = site["plain"].request()
    assert request.body == body
    peer.reply(b'{"a": 1}')
    response = client.response()
    assert (response.status, response.body) == (200, b'{"a": 1}')
    assert client.closed()


def test_http_1_0_clients_get_no_chunks(site: Site) -> None:
    client = site.client()
    client.send(head("GET /v1/files/1 HTTP/1.0", [("X-To", "plain")]))
    peer, _ = site["plain"].request()
    peer.send(head("HTTP/1.1 200 OK", [("transfer-encoding", "chunked")]) + chunk(b"one") + chunk(b"two") + chunk(b""))
    response = client.response("GET")
    assert "transfer-encoding" not in response.fields
    assert response.body == b"onetwo"


def test_expect_100_continue(site: Site) -> None:
    body = b'{"model":"m","messages":[]}'
    fields = [("Host", "h"), ("X-To", "plain"), ("Content-Length", str(len(body))), ("Expect", "100-continue")]
    client = site.client()
    client.send(head("POST /v1/chat/completions HTTP/1.1", fields))
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
    client.send(body)
    peer, request = site["plain"].request()
    assert request.body == body
    assert "expect" not in request.fields
    peer.reply()
    assert client.response().status == 200


def test_a_client_that_closes_its_sending_side_counts_as_gone(site: Site) -> None:
    """As with other servers on asyncio: nobody is answered who has hung up halfway."""
    client = site.chat("plain")
    peer, _ = site["plain"].request()
    client.finish()
    assert peer.closed()
    with pytest.raises(Truncated):
        client.head()


def test_every_response_has_one_date(site: Site) -> None:
    client = site.chat("plain")
    peer, _ = site["plain"].request()
    peer.send(b"HTTP/1.1 200 OK\r\nX-One : a\r\nDate\t: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length : 2\r\n\r\n{}")
    response = client.response()
    # A proxy removes the space before the colon (RFC 9112, section 5.1), and keeps the date (RFC 9110, section 6.6.1).
    assert (response.get("x-one"), response.body) == ("a", b"{}")
    assert response.fields.all("date") == ["Sun, 06 Nov 1994 08:49:37 GMT"]
    for streamed in (False, True):
        client = site.chat("plain")
        peer, _ = site["plain"].request()
        if streamed:
            peer.start()
            peer.send(chunk(b"data: 1\n\n"))
            response = client.response()
            peer.send(chunk(b""))
        else:
            peer.reply()
            response = client.response()
        (date,) = response.fields.all("date")
        assert abs(parsedate_to_datetime(date).timestamp() - time.time()) < 60
    for target in ("/healthz", "/v1/nowhere/../x", "/nowhere"):
        response = site.proxy.ask("GET", target)
        assert len(response.fields.all("date")) == 1, target
    broken = site.client()
    broken.send(b"GET / HTTP/9\r\n\r\n")
    assert len(broken.response().fields.all("date")) == 1
