"""Where one message ends and the next begins: whoever reads the bytes of a connection, no message notices."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from .support.client import Client
from .support.site import Launcher, Site
from .support.upstream import OK
from .support.wire import chunk, head

MiB = 1024 * 1024
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    return Site(shared, {"model": {}, "native": {"speaks": "envelope"}}, {"limits": {"header": 1000}})


def plain(number: int, target: str = CHAT, method: str = "POST", **fields: str) -> bytes:
    body = b'{"model":"m","messages":[],"n":%d}' % number
    given = [("Host", "h"), ("X-To", "model"), ("Content-Length", str(len(body))), *fields.items()]
    return head(f"{method} {target} HTTP/1.1", given) + body


def chunked(number: int) -> bytes:
    body = b'{"model":"m","messages":[],"n":%d}' % number
    fields = [("Host", "h"), ("X-To", "model"), ("Transfer-Encoding", "chunked")]
    return head(f"POST {CHAT} HTTP/1.1", fields) + chunk(body[:9]) + chunk(body[9:]) + chunk(b"")


def bad(number: int) -> bytes:
    return plain(number).replace(b'"model"', b"'model'")


def probe() -> bytes:
    return head("GET /healthz HTTP/1.1", [("Host", "h")])


def translated(number: int) -> bytes:
    body = b'{"id":"e-%d","kind":"model","model":"m","content":"x"}' % number
    return (
        head("POST /v1/envelopes HTTP/1.1", [("Host", "h"), ("X-To", "model"), ("Content-Length", str(len(body)))])
        + body
    )


def answered(site: Site, client: Client, number: int) -> None:
    peer, request = site["model"].request()
    assert request.json["n"] == number
    peer.reply(b'{"n": %d}' % number)
    response = client.response()
    assert (response.status, response.json) == (200, {"n": number})


@pytest.mark.parametrize("together", [True, False])
def test_messages_of_every_sort_on_one_connection(site: Site, together: bool) -> None:
    client = site.client()
    sorts = "pcpphptpbpcbcp"
    make = {"p": plain, "c": chunked, "b": bad, "h": lambda _: probe(), "t": translated}
    sent = [make[sort](number) for number, sort in enumerate(sorts)]
    if together:
        client.send(b"".join(sent))
    for number, sort in enumerate(sorts):
        if not together:
            client.send(sent[number])
        if sort in "pc":
            answered(site, client, number)
        elif sort == "t":
            peer, request = site["model"].request()
            assert request.target == CHAT
            answer = {
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "y"}, "finish_reason": "stop"}]
            }
            peer.reply(
                json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", **answer}).encode()
            )
            assert client.response().json["id"] == f"e-{number}"
        elif sort == "b":
            assert client.response().error["code"] == "invalid_json"
        else:
            assert client.response("GET").json == {"status": "ok"}
    assert client.silent()


def test_a_message_that_comes_byte_by_byte(site: Site) -> None:
    client = site.client()
    for number in range(2):
        for byte in plain(number):
            client.send(bytes([byte]))
        answered(site, client, number)


@pytest.mark.parametrize("kind", ["json", "upload"])
def test_a_body_that_is_split_anywhere(site: Site, kind: str) -> None:
    client = site.client()
    fields = {} if kind == "json" else {"Content-Type": "audio/wav"}
    target = CHAT if kind == "json" else "/v1/audio/raw"
    length = len(plain(0)) - plain(0).index(b"\r\n\r\n") - 4
    for number in range(length):
        sent = plain(number, target, **fields)
        at = len(sent) - length + number % length
        client.send(sent[:at])
        client.send(sent[at:])
        answered(site, client, number)


def test_the_next_message_may_begin_in_the_same_packet(site: Site) -> None:
    client = site.client()
    both = plain(0) + plain(1)
    for at in range(len(plain(0)), len(plain(0)) + 30):
        client.send(both[:at])
        answered(site, client, 0)
        client.send(both[at:])
        answered(site, client, 1)


def test_empty_lines_before_a_request_are_skipped(site: Site) -> None:
    client = site.client()
    for number in range(3):
        client.send(b"\r\n" + plain(number))
        answered(site, client, number)


def sized(total: int) -> bytes:
    """A request whose target and fields take `total` bytes as `limits.header` counts them."""
    fields = [("Host", "h"), ("X-To", "model")]
    taken = len("/v1/files/1") + sum(len(name) + len(value) + 4 for name, value in fields)
    return head("GET /v1/files/1 HTTP/1.1", [*fields, ("X-Pad", "x" * (total - taken - len("X-Pad") - 4))])


def test_the_limit_of_a_head_is_kept_to_the_byte(site: Site) -> None:
    client = site.client()
    client.send(sized(1000))
    peer, _ = site["model"].request()
    peer.reply()
    assert client.response("GET").body == OK
    client.send(sized(1001))
    assert client.response("GET").error["code"] == "header_too_large"


@pytest.mark.parametrize("begin", [b"GET /v1/files HTTP/1.1\r\nx: ", b"GET /v1/", chunked(1) + b"GET /v1/"])
def test_a_head_is_refused_while_it_is_still_coming_in(site: Site, begin: bytes) -> None:
    client = site.client()
    client.send(begin)
    if begin.startswith(b"POST"):
        answered(site, client, 1)
    client.send(b"x" * 1500)
    response = client.response("GET")
    assert (response.status, response.error["code"], response.get("connection")) == (431, "header_too_large", "close")
    assert client.closed()


def test_a_connection_is_usable_after_an_error(site: Site) -> None:
    client = site.client()
    client.send(bad(0) + plain(1, "/v1/chat", method="TRACE") + plain(2, "/v1/../x") + plain(3))
    codes = [client.response().error["code"] for _ in range(3)]
    assert codes == ["invalid_json", "method_not_allowed", "not_found"]
    answered(site, client, 3)


@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_responses_without_a_body(site: Site, method: str, status: int) -> None:
    client = site.client()
    client.ask(method, "/v1/files/1", headers={"x-to": "model"})
    peer, request = site["model"].request()
    assert request.method == method
    absent = method == "HEAD" or status in (204, 304)
    length = [] if status == 204 else [("content-length", "5")]
    peer.send(head(f"HTTP/1.1 {status} Fine", length) + (b"" if absent else b"hello"))
    response = client.response(method)
    assert (response.status, response.body) == (status, b"" if absent else b"hello")
    assert response.get("content-length") == (None if status in (204, 304) else "5")
    assert "transfer-encoding" not in response.fields
    client.send(plain(7))
    answered(site, client, 7)


def test_a_connection_that_the_client_wants_closed(site: Site) -> None:
    client = site.client()
    client.send(plain(1, Connection="close") + plain(2))
    answered(site, client, 1)
    assert client.closed()
    assert site["model"].untouched()


def test_a_message_behind_an_upgrade_that_was_declined(site: Site) -> None:
    client = site.client()
    client.ask("GET", "/v1/realtime", headers={"x-to": "model", "Upgrade": "websocket", "Connection": "upgrade"})
    response = client.response("GET")
    assert (response.status, response.error["code"]) == (501, "not_implemented")
    client.send(plain(5))
    answered(site, client, 5)


def test_large_bodies_both_ways(shared: Launcher) -> None:
    site = Site(shared, {"model": {}})
    body = b'{"model":"' + bytes(range(97, 123)) * (8 * MiB // 26) + b'"}'
    client = site.client()
    for _ in range(2):
        client.ask("POST", CHAT, body, {"x-to": "model"})
        peer, request = site["model"].request()
        assert request.body == body
        # Read while it is sent: what nobody reads may be more than the buffers on the way hold.
        sending = threading.Thread(target=peer.reply, args=(body,))
        sending.start()
        assert client.response().body == body
        sending.join()


def test_a_drain_lets_messages_finish(launch: Launcher) -> None:
    site = Site(launch, {"model": {}})
    running = site.chat("model")
    peer, _ = site["model"].request()
    sending = site.client()
    sending.send(plain(3)[:-5])
    idle = site.client()
    idle.send(probe())
    assert idle.response("GET").json == {"status": "ok"}
    site.proxy.signal(signal.SIGTERM)
    assert idle.closed()
    sending.send(plain(3)[-5:])
    later, _ = site["model"].request()
    peer.reply()
    response = running.response()
    assert (response.status, response.body, response.get("connection")) == (200, OK, "close")
    assert running.closed()
    later.reply()
    assert sending.response().get("connection") == "close"
    assert site.proxy.exit_code() == 0


def test_a_drain_that_takes_too_long_answers_who_can_be_answered(launch: Launcher) -> None:
    site = Site(launch, {"model": {}}, {"limits": {"drain": "1s"}})
    client = site.chat("model")
    site["model"].request()
    site.proxy.signal(signal.SIGTERM)
    response = client.response()
    assert (response.status, response.error["code"]) == (503, "draining")
    assert site.proxy.exit_code() == 0
