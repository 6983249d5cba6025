"""Many connections at once, idle, slow or too many: others are served meanwhile, and what they hold is bounded."""

from __future__ import annotations

import contextlib
import resource
import select
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from .support.client import Client
from .support.metrics import Metrics
from .support.proxy import Proxy, wait_until
from .support.site import Launcher, Site
from .support.upstream import Request, Server, plain
from .support.wire import Truncated, chunk, head

KiB: Final = 1024
MiB: Final = 1024 * 1024
CHAT: Final = b'{"model":"m","messages":[]}'
CONFIG: Final = {"routes": [{"name": "all", "match": {"path": [{"prefix": "/"}]}, "to": "c"}], "access_log": "off"}


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """A test has one end of each connection here."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(before[1], 8192)), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _config(server: Server, **policy: Any) -> dict[str, Any]:
    return {"clusters": {"c": {"speaks": "openai", "endpoints": [server.url], **policy}}, **CONFIG}


def _request(**fields: str) -> bytes:
    given = [("Host", "h"), *fields.items(), ("Content-Length", str(len(CHAT)))]
    return head("POST /v1/chat/completions HTTP/1.1", given) + CHAT


def _served(proxy: Proxy, times: int = 5) -> None:
    """Over new connections, each answered at once."""
    for _ in range(times):
        assert proxy.ask("POST", "/v1/chat/completions", CHAT).status == 200


def test_a_thousand_idle_connections(launch: Launcher) -> None:
    proxy = launch.serve(_config(launch.server()))
    _served(proxy)
    before, files = proxy.resident(), proxy.descriptors()
    idle = []
    for number in range(1000):
        client = proxy.client()
        if number % 2:
            client.ask("POST", "/v1/chat/completions", CHAT)
            assert client.response().body == b'{"ok": true}'
        idle.append(client)
    _served(proxy, 50)
    assert all(client.silent() for client in idle[:1:2]), "none was closed for another's sake"
    grown = proxy.resident() - before
    print(f"{grown / 1000 / KiB:.1f} KiB a connection")
    assert grown < 1000 * 24 * KiB
    for client in idle:
        client.close()
    wait_until(lambda: proxy.descriptors() <= files + 1, "their descriptors are free")


HASTY: Final = {"header_timeout": "2s", "body_timeout": "1s"}
"""Times that a test can wait for, in place of 30 s."""


def test_clients_that_send_byte_by_byte(launch: Launcher) -> None:
    """200 of them send heads, as many bodies, a byte each now and then."""
    proxy = launch.serve({**_config(launch.server()), "listen": HASTY})
    _served(proxy)
    before, files = proxy.resident(), proxy.descriptors()
    chunked = head("POST /v1/chat/completions HTTP/1.1", [("Host", "h"), ("Transfer-Encoding", "chunked")])
    body = head("POST /v1/chat/completions HTTP/1.1", [("Host", "h"), ("Content-Length", "999")])
    begins = [b"", b"POST /v1/chat", body + b'{"', chunked + b'3e7\r\n{"']
    slow = [(proxy.client(), begins[number % len(begins)]) for number in range(400)]
    for client, begin in slow:
        client.send(begin)
    pause = threading.Event()

    def drip(clients: list[Client]) -> None:
        for client in clients:
            with contextlib.suppress(OSError):  # the proxy may have closed it just now
                client.send(b"x")

    heads = [client for client, begin in slow if not begin.endswith(b'"')]
    bodies = [client for client, begin in slow if begin.endswith(b'"')]
    rounds = 0
    while any(client.silent() for client in heads):
        drip([client for client in heads if client.silent()])
        drip(bodies)
        _served(proxy, 1)
        rounds += 1
        assert rounds < 1000
        pause.wait(0.05)
    assert rounds > 5, "they were not closed at once"
    for client in heads:
        response = client.response()
        assert (response.status, response.error["code"]) == (400, "bad_framing")
        assert client.closed()
    assert all(client.silent() for client in bodies), "each byte shows that they are alive"
    grown = proxy.resident() - before
    print(f"{grown / 400 / KiB:.1f} KiB a connection")
    assert grown < 400 * 48 * KiB
    # Silence is another matter.
    for client in bodies:
        response = client.response()
        assert (response.status, response.error["code"]) == (400, "bad_framing")
        assert client.closed()
    proxy.hang_up()
    wait_until(lambda: proxy.descriptors() <= files + 1, "their descriptors are free")
    metrics = Metrics(proxy)
    assert (metrics("buffered_bytes"), metrics("requests_in_flight")) == (0, 0)


def test_a_client_that_sends_and_never_reads(launch: Launcher) -> None:
    """As many requests as the proxy takes: it stops taking them, and what it holds is bounded."""
    proxy = launch.serve(_config(launch.server()))
    _served(proxy)
    before = proxy.resident()
    for request in (_request(), head("GET /healthz HTTP/1.1", [("Host", "h")])):
        client = proxy.client(window=4096)
        data = request * 1000
        total = sent = 0
        client.sock.setblocking(False)
        while total < 64 * MiB and select.select([], [client.sock], [], 0.5)[1]:
            at = sent % len(data)
            sent += client.sock.send(data[at:])
            total = sent
        assert total < 64 * MiB, "64 MiB of requests were taken, and no answer was read"
        _served(proxy)
    assert proxy.resident() - before < 16 * MiB


def test_many_clients_that_read_nothing(launch: Launcher) -> None:
    """100 of them, a response of 4 MiB each."""
    body = b"x" * (4 * MiB)
    answer = head("HTTP/1.1 200 OK", [("content-length", str(len(body)))]) + body
    server = launch.server(lambda request: answer if request.get("x-large") else plain(request))
    proxy = launch.serve(_config(server))
    _served(proxy)
    before, files = proxy.resident(), proxy.descriptors()
    slow = []
    for _ in range(100):
        client = proxy.client(window=4096)
        client.send(_request(**{"X-Large": "1"}))
        slow.append(client)
    for client in slow:
        assert client.response().status == 200
    _served(proxy)
    assert Metrics(proxy)("requests_in_flight") == 100
    grown = proxy.resident(peak=True) - before
    print(f"{grown / 100 / KiB:.0f} KiB a client")
    assert grown < 100 * 2 * MiB
    assert len(slow[0].exactly(len(body))) == len(body), "whoever reads gets all of it"
    proxy.hang_up()
    wait_until(lambda: Metrics(proxy)("requests_in_flight") == 0, "nothing is left of them")
    wait_until(lambda: proxy.descriptors() <= files + 1, "their descriptors are free")


def test_a_head_that_comes_slowly_does_not_end_the_response_before_it(launch: Launcher) -> None:
    site = Site(launch, {"model": {}}, {"listen": HASTY})
    client = site.client()
    fields = [("Host", "h"), ("X-To", "model"), ("Transfer-Encoding", "chunked")]
    client.send(head("POST /v1/chat/completions HTTP/1.1", fields) + chunk(CHAT) + chunk(b""))
    peer, _ = site["model"].request()
    client.send(b"GET /heal")
    peer.start()
    pause = threading.Event()
    events = b""
    for number in range(25):  # for longer than a head may take
        event = b"data: %d\n\n" % number
        peer.send(chunk(event))
        events += event
        pause.wait(0.1)
    peer.send(chunk(b""))
    assert client.response().body == events
    client.send(b"thz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.response("GET").json == {"status": "ok"}


# Too few file descriptors.


def _limited(count: int) -> list[str]:
    return ["sh", "-c", f'ulimit -n {count}; exec "$@"', "sh", sys.executable, "-m", "waypost"]


def test_more_clients_than_file_descriptors(launch: Launcher) -> None:
    proxy = launch.serve(_config(launch.server()), program=_limited(128))
    _served(proxy)
    clients = [proxy.client() for _ in range(300)]
    wait_until(lambda: sum(_over(client) for client in clients) > 150, "most of them are refused")
    kept = [client for client in clients if not _over(client)]
    assert len(kept) > 64
    refused = [client for client in clients if _over(client)]
    began = proxy.cpu()
    for _ in range(3):
        for client in kept[:30]:
            client.ask("POST", "/v1/chat/completions", CHAT)
            assert client.response().json == {"ok": True}
    codes = set()
    for client in refused:
        with contextlib.suppress(Truncated):
            response = client.response()
            codes.add(
                (response.status, response.error["code"], response.get("retry-after"), response.get("connection"))
            )
        assert client.closed()
    assert codes == {(503, "overloaded", "1", "close")}
    assert proxy.cpu() - began < 0.5, "it has little to do"
    assert proxy.output.count("ulimit -n") == 1, proxy.output
    for client in clients:
        client.close()
    wait_until(lambda: _accepts(proxy), "others are let in again")
    _served(proxy)


def _over(client: Client) -> bool:
    return not client.silent()


def _accepts(proxy: Proxy) -> bool:
    with contextlib.suppress(OSError, AssertionError):
        return proxy.ask("POST", "/v1/chat/completions", CHAT).status == 200
    return False


def test_more_attempts_than_file_descriptors(launch: Launcher) -> None:
    """What has no connection to its endpoint for want of a descriptor is refused; the endpoint is not to blame."""
    go_on = threading.Event()

    def answer(request: Request) -> bytes:
        go_on.wait(20)
        return plain(request)

    proxy = launch.serve(_config(launch.server(answer)), program=_limited(64))
    clients = [proxy.client() for _ in range(26)]
    wait_until(lambda: Metrics(proxy)("client_connections") == 27, "all of them are let in")
    for client in clients:
        client.ask("POST", "/v1/chat/completions", CHAT)
    wait_until(lambda: any(_over(client) for client in clients), "one of them is refused")
    assert proxy.descriptors() <= 64
    wait_until(lambda: "ulimit -n" in proxy.output, "it is logged")
    go_on.set()
    answers = [client.response() for client in clients]
    assert {answer.status for answer in answers} == {200, 503}
    assert {answer.error["code"] for answer in answers if answer.status == 503} == {"overloaded"}
    assert all(answer.json for answer in answers)
    assert {answer.get("connection") for answer in answers} == {None}
    for client in clients:
        client.ask("POST", "/v1/chat/completions", CHAT)
        assert client.response().json == {"ok": True}, "no breaker is open"
    assert proxy.output.count("ulimit -n") == 1, proxy.output
