"""A client that speaks HTTP/2, by the `h2` package: every stream, frame and window is the test's to use."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from .client import Address
from .wire import TIMEOUT


class Stream:
    """What has come of one response."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.status = 0
        self.fields: list[tuple[str, str]] = []
        self.trailers: list[tuple[str, str]] = []
        self.body = b""
        self.ended = False
        self.reset: int | None = None
        """The error code of the frame that ended it."""

    def get(self, name: str) -> str | None:
        return next((value for field, value in self.fields if field == name), None)

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Http2Client:
    """One connection."""

    def __init__(self, address: Address, *, tls: ssl.SSLContext | None = None, reads: bool = True) -> None:
        """`reads`: the windows are opened again as data comes."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(TIMEOUT)
        sock.connect(address)
        self.sock = sock if tls is None else tls.wrap_socket(sock, server_hostname="localhost")
        # What is wrong with a request is the test's matter.
        settings = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = H2Connection(settings)
        self.streams: dict[int, Stream] = {}
        self.goodbye: int | None = None
        """The error code of GOAWAY."""
        self.reads = reads
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def ask(
        self,
        method: str = "POST",
        target: str = "/v1/chat/completions",
        body: bytes | None = None,
        headers: Mapping[str, str] | list[tuple[str, str]] = (),  # type: ignore[assignment]
        *,
        whole: bool = True,
        authority: str = "proxy.test",
    ) -> Stream:
        """Send a request; unless `whole` more of its body follows."""
        given = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        fields = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", target), *given]
        if body is not None and not any(name == "content-type" for name, _ in given):
            fields.append(("content-type", "application/json"))
        stream = Stream(self.h2.get_next_available_stream_id())
        self.streams[stream.number] = stream
        self.h2.send_headers(stream.number, fields, end_stream=whole and not body)
        self.flush()
        if body:
            self.send(stream, body, end=whole)
        return stream

    def send(self, stream: Stream, data: bytes, *, end: bool = False) -> None:
        """Send a piece of a body, as the window opens."""
        while data:
            self.until(lambda: stream.over or self.h2.local_flow_control_window(stream.number) > 0)
            if stream.over:
                return
            room = min(self.h2.local_flow_control_window(stream.number), self.h2.max_outbound_frame_size)
            piece, data = data[:room], data[room:]
            self.h2.send_data(stream.number, piece, end_stream=end and not data)
            self.flush()

    def reset(self, stream: Stream, code: int = 8) -> None:
        self.h2.reset_stream(stream.number, code)
        self.flush()

    def until(self, condition: Callable[[], Any]) -> None:
        """Read until it has come about."""
        while not condition():
            data = self.sock.recv(1 << 16)
            assert data, "the connection was closed"
            self.take(data)

    def response(self, stream: Stream) -> Stream:
        """Read a response to its end."""
        self.until(lambda: stream.over)
        return stream

    def closed(self) -> bool:
        """Read until the connection ends."""
        try:
            while data := self.sock.recv(1 << 16):
                self.take(data)
        except ConnectionResetError:  # not all that was sent to it was read
            pass
        return True

    def take(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self._on(event)
        if out := self.h2.data_to_send():
            self.sock.sendall(out)

    def _on(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.goodbye = event.error_code
            return
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        if isinstance(event, ResponseReceived):
            fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
            stream.status = int(fields[0][1])
            stream.fields = fields[1:]
        elif isinstance(event, DataReceived):
            stream.body += event.data
            if self.reads and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream.number)
        elif isinstance(event, TrailersReceived):
            stream.trailers = [(name.decode(), value.decode()) for name, value in event.headers]
        elif isinstance(event, StreamEnded):
            stream.ended = True
        elif isinstance(event, StreamReset):
            stream.reset = event.error_code
