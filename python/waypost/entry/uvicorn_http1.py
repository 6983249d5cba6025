"""uvicorn's side of a client's HTTP/1 connection: messages for the ASGI application, and rejections.

uvicorn's parser reads nothing. `RequestReader` reads the head of each message and `BodyReader` its body, so that every
message is read by the same rules, whichever way it goes on.

- One message at a time is with the application. Bytes behind it are kept.
- An HTTP/1.0 client gets no chunks.
- Waypost's own application gets a shortcut (`asgi_shortcut.py`).
- The head of a response is written together with the first piece of its body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

from waypost._native import BodyReader, RequestHead
from waypost.dialects.errors import render_rejection
from waypost.entry.asgi_shortcut import AsgiShortcut
from waypost.entry.extensions import REJECTED, SHORTCUT
from waypost.entry.peer import certificate_of
from waypost.entry.uvicorn_internals import (
    HIGH_WATER_LIMIT,
    STATUS_LINE,
    FlowControl,
    HttpToolsProtocol,
    RequestResponseCycle,
    service_unavailable,
)
from waypost.errors import WaypostError
from waypost.gateway import CERTIFICATE

if TYPE_CHECKING:
    from waypost._native import Certificate, Intake
    from waypost.gateway import Generation
    from waypost.loop.descriptors import Descriptors

__all__ = ["DefaultFields", "StrictHttp1"]

_COPY_LIMIT: Final = 16 * 1024
"""Longest piece of a body that is copied behind the head, in bytes; longer ones are cheaper as a second buffer."""

_INTERIM: Final = b"HTTP/1.1 1"
"""Beginning of an interim response, which must not wait for the response."""


class _Flow(FlowControl):
    """Flow control that stays paused while `held`. uvicorn resumes it whenever an application asks for a body."""

    held = False
    """Bytes behind the message under way wait for their turn."""

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class StrictHttp1(HttpToolsProtocol):
    """The part of `Http1` that deals with uvicorn's messages."""

    __slots__ = (
        "_response_transport",
        "body_reader",
        "certificate",
        "default_bytes",
        "default_headers",
        "held_flow",
        "shortcut",
    )  # fmt: skip

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.held_flow = cast(_Flow, None)
        self.body_reader: BodyReader | None = None
        """Reads the body of the application's message until that is complete."""
        self.shortcut: AsgiShortcut | None = None  # of the application's message
        self._response_transport: _MergingTransport | None = None  # of the application's message
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.default_bytes = b""
        self.certificate: Certificate | None = None
        """The client's certificate."""

    # For the subclass, which decides whether a message goes over the fast path or to the application.

    def reject_if_full(self, descriptors: Descriptors) -> bool:
        """Reject the new connection if file descriptors are scarce. Returns whether it was rejected."""
        sock = self.transport.get_extra_info("socket")
        descriptor = -1 if sock is None else sock.fileno()
        if descriptors.room(descriptor):
            return False
        message = "this process has no connection left for another client: try again later, or elsewhere"
        self.reject(WaypostError("overloaded", message))
        if descriptors.hurry(descriptor):
            self.close()
        return True

    def record_rejection(self, error: WaypostError, status: int, request_id: str, size: int) -> None:
        """Record that a request which cannot be read is answered with `error`, in a body of `size` bytes."""

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self.transport.close()

    def linger(self) -> None:
        """Discard all further input, because the last answer was written."""
        raise NotImplementedError

    def message_answered(self) -> None:
        """The response to the application's message is complete. The body of the message may be incomplete."""

    def begin_message(
        self,
        head: Intake | RequestHead,
        body: bytes | BodyReader,
        accepted: tuple[Generation, Intake] | None,
    ) -> None:
        """Give a message to the application: its whole `body`, or the reader of a body that follows by `feed_body`.

        `accepted` is for `AsgiShortcut.accepted`.
        """
        self.on_message_begin()  # uvicorn's parser would call this: it makes the scope
        path, _, query = head.target.partition("?")
        version = head.http_version
        scope = cast("dict[str, Any]", self.scope)
        scope["method"] = head.method
        scope["http_version"] = version
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = (self.root_path + path).encode("ascii")
        scope["query_string"] = query.encode("ascii")
        scope["headers"] = head.fields()
        shortcut = self.shortcut = AsgiShortcut(self, accepted)
        extensions: dict[str, Any] = {SHORTCUT: {"shortcut": shortcut}}
        scope["extensions"] = extensions
        if self.certificate is not None:
            extensions[CERTIFICATE] = self.certificate
        event = asyncio.Event()
        transport = self._response_transport = _MergingTransport(self)
        cycle = self.cycle = shortcut.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=cast("asyncio.Transport", transport),
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=DefaultFields(self.server_state.default_headers),
            message_event=event,
            expect_100_continue=isinstance(head, RequestHead) and head.expects_continue,
            keep_alive=head.persistent,
            on_response=self.on_response_complete,
        )
        if isinstance(body, bytes):
            event.set()
            cycle.body = cast(bytearray, body)  # only read
            cycle.more_body = False
            self.body_reader = None
        else:
            self.body_reader = body
        if version == "1.0":
            # HTTP/1.0 has no chunks (RFC 9112, section 6.1): a body without a length ends with the connection.
            cycle.chunked_encoding = None if head.method == "HEAD" else False
            cycle.expected_content_length = _UntilClose()
        limit = self.limit_concurrency
        full = limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)
        self._start_asgi_task(cycle, service_unavailable if full else self.app)

    def feed_body(self, data: bytes) -> bytes | None:
        """Take bytes of the body of the application's message. Returns the bytes behind the body once that is complete.

        Raises `WaypostError` (`bad_framing`, `header_too_large`) if the body or its trailers cannot be read.
        """
        reader, cycle = self.body_reader, self.cycle
        if reader is None:
            return data
        body, surplus = reader.feed(data)
        if surplus is not None:
            self.body_reader = None
        if cycle.response_complete:
            return surplus
        if body:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()
        if surplus is not None:
            cycle.more_body = False
            cycle.message_event.set()
        return surplus

    def reject_body(self, error: WaypostError) -> None:
        """End the connection, because the rest of the application's message cannot be read."""
        self.body_reader = None
        cycle = self.cycle
        if cycle.response_complete:
            self.linger()
        elif cycle.response_started:
            self.close()  # no answer can stand in the middle of another response
        else:
            extensions: dict[str, Any] = cast(Any, cycle.scope)["extensions"]
            extensions[REJECTED] = error
            cycle.disconnected = True
            cycle.message_event.set()
            self.reject(error, begun=True)

    # uvicorn's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = self.held_flow = _Flow(transport)
        if self.scheme == "https":
            self.certificate = certificate_of(transport)

    def on_response_complete(self) -> None:
        if self._response_transport is not None:
            self._response_transport.flush()  # a response without a body has not been written yet
        if self.shortcut is not None:
            self.shortcut.cycle = None
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.message_answered()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.body_reader = None
        if self.shortcut is not None:
            self.shortcut.disconnected()

    def reject(self, error: WaypostError, *, begun: bool = False) -> None:
        """Answer with `error` and end the connection. `begun` says that the application already has the message."""
        if self.transport.is_closing():
            return
        message_id = error.message_id or ""
        status, headers, body = render_rejection(error.dialect or "json", error, message_id)
        if (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % field for field in headers]
        if not begun:
            self.record_rejection(error, status, message_id, len(body))
        self.transport.write(b"".join([STATUS_LINE[status], self.default_fields(), *lines, b"\r\n", body]))
        self.linger()

    def write_answer(self, response: bytes, persistent: bool) -> None:  # noqa: ARG002 - for the class that can wait
        """Write the whole response of a message. `persistent` says that the connection stays open behind it."""
        self.transport.write(response)

    # The fields that uvicorn adds.

    def default_fields(self) -> bytes:
        """The fields that uvicorn's settings put in front of every response's fields, as bytes of a head."""
        fields = self.server_state.default_headers
        if fields is not self.default_headers:
            self.default_headers = fields
            self.default_bytes = b"".join([b"%b: %b\r\n" % field for field in fields])
        return self.default_bytes


class _MergingTransport:
    """The client's transport, for one response of uvicorn's. Writes the head together with the first piece of the body.

    uvicorn writes the head alone, and each write is a system call. Here the head waits for the body, at most until the
    next iteration of the event loop.
    """

    __slots__ = ("_head", "_head_given", "_protocol")

    def __init__(self, protocol: StrictHttp1) -> None:
        self._protocol = protocol
        self._head = b""
        self._head_given = False

    def write(self, data: bytes) -> None:
        head = self._head
        if head:
            self._head = b""
            if len(data) < _COPY_LIMIT:
                self._protocol.transport.write(head + data)
            else:
                self._protocol.transport.writelines((head, data))
        elif self._head_given or data.startswith(_INTERIM):
            self._protocol.transport.write(data)
        else:
            self._head_given = True
            self._head = data
            self._protocol.loop.call_soon(self.flush)

    def flush(self) -> None:
        head = self._head
        if head:
            self._head = b""
            if not self._protocol.transport.is_closing():
                self._protocol.transport.write(head)

    def close(self) -> None:
        self.flush()
        self._protocol.close()

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()


class DefaultFields(list[tuple[bytes, bytes]]):
    """The fields that uvicorn puts in front of a response's own: no second `date` (RFC 9110, section 6.6.1)."""

    def __add__(self, own: list[Any]) -> list[Any]:
        return [*self.beside(own), *own]

    def beside(self, own: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """These fields, without a `date` if there is one among `own`."""
        dated = any(name.lower() == b"date" for name, _ in own)
        return [field for field in self if field[0] != b"date"] if dated else self


class _UntilClose(int):
    """The length of a body that ends with the connection, for uvicorn: no body is longer or shorter than it."""

    def __lt__(self, other: object) -> bool:
        return False

    def __sub__(self, other: int) -> _UntilClose:
        return self

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__
