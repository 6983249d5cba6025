"""A proxy that opens ways by CONNECT (RFC 9110, section 9.3.6), small but real: it connects and passes bytes on."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import threading
from collections.abc import Mapping

from .wire import TIMEOUT, Truncated, Wire


class ConnectProxy:
    """Listens on loopback; each connection is served by a thread of its own.

    It alone knows the hosts in `names`, each of which is a loopback address.
    """

    def __init__(self, names: Mapping[str, str], *, user: str = "", answer: bytes | None = None) -> None:
        """`user`: `name:password` that it wants. `answer`: all that it answers to CONNECT, instead of doing it."""
        self._names = names
        self._user = user
        self.answer = answer
        self.hangs = False
        """It answers nothing at all, and keeps the connection."""
        self.asked: list[str] = []
        """The host and port of each CONNECT, refused ones too."""
        self.fields: list[dict[str, str]] = []
        """The fields of each."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(TIMEOUT)
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(TIMEOUT)
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(Truncated, OSError):
            line, fields = Wire(sock).head()
            method, authority, version = line.split(" ")
            assert (method, version) == ("CONNECT", "HTTP/1.1"), line
            self.fields.append(dict(fields))
            self.asked.append(authority)
            if self.hangs:
                return
            if self.answer is not None:
                sock.sendall(self.answer)
                sock.shutdown(socket.SHUT_RDWR)
                return
            upstream = self._connect(sock, authority)
            if upstream is not None:
                sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._relay(sock, upstream)

    def _connect(self, sock: socket.socket, authority: str) -> socket.socket | None:
        wanted = "Basic " + base64.b64encode(self._user.encode()).decode()
        if self._user and self.fields[-1].get("proxy-authorization") != wanted:
            # As Squid does: with a page that explains it.
            sock.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=x\r\n"
                b"content-length: 6\r\n\r\n<html>"
            )
            return None
        host, _, port = authority.rpartition(":")
        try:
            upstream = socket.create_connection((self._names[host], int(port)))
        except (KeyError, OSError):
            sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
            return None
        self._open.append(upstream)
        return upstream

    @staticmethod
    def _relay(one: socket.socket, other: socket.socket) -> None:
        to = {one: other, other: one}
        while True:
            for sock in select.select(list(to), [], [])[0]:
                data = sock.recv(1 << 16)
                if not data:
                    one.shutdown(socket.SHUT_RDWR)
                    other.shutdown(socket.SHUT_RDWR)
                    return
                to[sock].sendall(data)
