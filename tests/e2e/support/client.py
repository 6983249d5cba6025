"""A client that can send and read exact bytes, over TCP, TLS or a Unix socket."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any

from .wire import TIMEOUT, Body, Fields, Message, Wire, head

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


class Response(Message):
    """What the proxy answered."""

    def __init__(self, status: int, fields: Fields, stream: Body) -> None:
        super().__init__(fields, stream)
        self.status = status

    @property
    def error(self) -> dict[str, Any]:
        """The error object of either dialect."""
        document = self.json
        assert set(document) in ({"error"}, {"id", "error"}), document
        error: dict[str, Any] = document["error"]
        return error

    def __repr__(self) -> str:
        return f"Response({self.status}, {self.fields!r})"


class Client(Wire):
    """One connection to the proxy."""

    def __init__(
        self, address: Address, *, tls: ssl.SSLContext | None = None, name: str = "localhost", window: int | None = None
    ) -> None:
        """`window`: bytes of the receive buffer, for a client that shall be slow."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(TIMEOUT)
        if window is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        try:
            sock.connect(address)
            super().__init__(sock if tls is None else tls.wrap_socket(sock, server_hostname=name))
        except BaseException:
            sock.close()
            raise

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | list[tuple[str, str]] = (),  # type: ignore[assignment]
    ) -> None:
        """Send a request, framed by its length where it has a body; its host is `proxy.test` unless told."""
        given = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        named = any(name.lower() == "host" for name, _ in given)
        fields = given if named else [("Host", "proxy.test"), *given]
        if body is not None:
            if not any(name.lower() == "content-type" for name, _ in given):
                fields.append(("Content-Type", "application/json"))
            fields.append(("Content-Length", str(len(body))))
        self.send(head(f"{method} {target} HTTP/1.1", fields) + (body or b""))

    def response(self, method: str = "POST") -> Response:
        """The next response's head; its body is read when it is looked at."""
        while True:
            line, fields = self.head()
            version, status, *_ = line.split(" ", 2)
            assert version == "HTTP/1.1", line
            if status != "100":
                break
        code = int(status)
        absent = method == "HEAD" or code in (204, 304)
        return Response(code, fields, Body(self, fields, absent=absent, until_close=True))
