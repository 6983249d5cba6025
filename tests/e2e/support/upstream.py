"""Upstreams. `Upstream` is driven by the test itself, step by step; `Server` answers by itself from a thread."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from .wire import TIMEOUT, Body, Fields, Message, Truncated, Wire, head

OK = b'{"ok": true}'


class Request(Message):
    """What an upstream was sent."""

    def __init__(self, line: str, fields: Fields, stream: Body) -> None:
        super().__init__(fields, stream)
        self.method, self.target, version = line.split(" ")
        assert version == "HTTP/1.1", line


class Peer(Wire):
    """The proxy, as an upstream sees it: one accepted connection."""

    def request(self, *, whole: bool = True) -> Request:
        """The next request; with `whole` its body too."""
        line, fields = self.head()
        request = Request(line, fields, Body(self, fields, absent=False, until_close=False))
        if whole:
            _ = request.body
        return request

    def reply(
        self,
        body: bytes = OK,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (("content-type", "application/json"),),
    ) -> None:
        """A response, framed by its length."""
        self.send(head(f"HTTP/1.1 {status} Fine", [*headers, ("content-length", str(len(body)))]) + body)

    def start(self, headers: Iterable[tuple[str, str]] = (), status: int = 200, *, chunked: bool = True) -> None:
        """The head of an event stream."""
        fields = [("content-type", "text/event-stream"), *headers]
        if chunked:
            fields.append(("transfer-encoding", "chunked"))
        self.send(head(f"HTTP/1.1 {status} Fine", fields))


class Upstream:
    """Listens on loopback. The test accepts, reads and answers."""

    def __init__(self, tls: ssl.SSLContext | None = None, backlog: int = 128, window: int | None = None) -> None:
        """`window`: bytes of the send buffer of each connection, so that a reader that pauses is noticed soon."""
        self._listener = socket.socket()
        if window is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(backlog)
        self._listener.settimeout(TIMEOUT)
        self._tls = tls
        self._peers: list[Peer] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self.accepted = 0
        """How many connections were accepted."""

    def accept(self) -> Peer:
        """The next new connection."""
        sock, _ = self._listener.accept()
        self.accepted += 1
        sock.settimeout(TIMEOUT)
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except BaseException:
                sock.close()
                raise
        peer = Peer(sock)
        self._peers.append(peer)
        return peer

    def peer(self) -> Peer:
        """The connection on which something arrives next, new or kept alive. Connections that closed do not count."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            waiting = [peer for peer in self._peers if peer.sock.fileno() >= 0]
            wait = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._listener, *(peer.sock for peer in waiting)], [], [], wait)
            assert ready, "no request came"
            for peer in waiting:
                if peer.sock in ready:
                    try:
                        if self._tls is not None or peer.sock.recv(1, socket.MSG_PEEK):
                            return peer
                    except ConnectionError:
                        pass
                    peer.close()
                    self._peers.remove(peer)
            if self._listener in ready:
                self.accept()

    def peer_that_idles(self) -> Peer:
        """The only connection."""
        (peer,) = [peer for peer in self._peers if peer.sock.fileno() >= 0]
        return peer

    def request(self, *, whole: bool = True) -> tuple[Peer, Request]:
        """The next request, and where to answer it."""
        peer = self.peer()
        return peer, peer.request(whole=whole)

    def sockets(self) -> list[socket.socket]:
        """All open sockets; one of them is readable once somebody connects, sends or closes."""
        return [self._listener, *(peer.sock for peer in self._peers if peer.sock.fileno() >= 0)]

    def untouched(self) -> bool:
        """Nobody has connected since the last `clear`, nor sent anything on a connection."""
        return not select.select(self.sockets(), [], [], 0)[0]

    def clear(self) -> None:
        """Close all connections, those that nobody accepted too."""
        for peer in self._peers:
            peer.close()
        self._peers.clear()
        while select.select([self._listener], [], [], 0)[0]:
            self._listener.accept()[0].close()
        self.accepted = 0

    def close(self) -> None:
        self.clear()
        self._listener.close()


Answer = Callable[[Request], bytes]
"""Gives the whole response, head and body, for a request."""


def plain(_: Request) -> bytes:
    """200 with a small JSON body."""
    fields = [("content-type", "application/json"), ("content-length", str(len(OK)))]
    return head("HTTP/1.1 200 OK", fields) + OK


class Server:
    """An upstream that answers by itself, each connection from a thread of its own."""

    def __init__(
        self, answer: Answer = plain, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._answer = answer
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[Request] = []
        self.connections = 0
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                peer = Peer(sock)
                sock.settimeout(None)
                self._peers.append(peer)
                thread = threading.Thread(target=self._serve, args=(peer,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: Peer) -> None:
        with contextlib.suppress(Truncated, OSError):
            if self._tls is not None:
                peer.sock = self._tls.wrap_socket(peer.sock, server_side=True)
            while True:
                request = peer.request()
                self.requests.append(request)
                peer.send(self._answer(request))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(TIMEOUT)
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for peer in self._peers:
            peer.close()


_HELD: Final[list[socket.socket]] = []


def closed_port() -> int:
    """A loopback port at which nothing listens, and nothing can: it stays bound until the tests end."""
    sock = socket.socket()
    sock.bind(("", 0))
    _HELD.append(sock)
    port: int = sock.getsockname()[1]
    return port


def free_port() -> int:
    """A loopback port for a program that is yet to be started.

    The kernel gives no port of this range to anybody else: not in another test's process either.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
