"""uvicorn's HTTP/1 protocol with Waypost's limits and errors.

- A request that uvicorn's parser rejects is answered with a JSON error. Heads are limited in length and time.
- An HTTP/1.0 client gets no chunks.
- Of the requests that a client sends at once, few are parsed at a time.
- Waypost's own application gets a shortcut (`asgi_shortcut.py`).
- The head of a response is written together with the first piece of its body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

from waypost.dialects.errors import render_error
from waypost.entry.asgi_shortcut import AsgiShortcut
from waypost.entry.extensions import REJECTED, SHORTCUT
from waypost.entry.peer import certificate_of
from waypost.entry.uvicorn_internals import STATUS_LINE, FlowControl, HttpToolsProtocol, RequestResponseCycle
from waypost.errors import WaypostError
from waypost.gateway import CERTIFICATE

if TYPE_CHECKING:
    from waypost._native import Certificate, Intake
    from waypost.gateway import Generation
    from waypost.loop.descriptors import Descriptors

__all__ = ["HEAD_SLACK", "DefaultFields", "StrictHttp1"]

HEAD_SLACK: Final = 256
"""Bytes of a head that `limits.header` does not count."""

_COPY_LIMIT: Final = 16 * 1024
"""Longest piece of a body that is copied behind the head, in bytes; longer ones are cheaper as a second buffer."""

_SLICE: Final = 16 * 1024
"""Bytes that are parsed at a time. A parsed message that waits takes a hundred times its length in memory."""


class _Flow(FlowControl):
    """Flow control that stays paused while `held`. uvicorn resumes it whenever an application asks for a body."""

    held = False
    """Bytes that were read before wait to be parsed."""

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class StrictHttp1(HttpToolsProtocol):
    """The part of `Http1` that deals with uvicorn's parser and its messages."""

    __slots__ = (
        "_flow",
        "_head_size",
        "_heads_begun",
        "_in_message",
        "_response_transport",
        "_unparsed",
        "_upgraded",
        "certificate",
        "default_bytes",
        "default_headers",
        "running",
        "shortcut",
    )  # fmt: skip

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._in_message = False  # the parser is inside a message
        self._head_size = -1  # bytes of the head that the parser is in; -1 outside a head
        self._heads_begun = 0  # number of heads that the parser has begun
        self._upgraded = False
        self._flow = cast(_Flow, None)
        self._unparsed = b""  # bytes behind messages that wait
        self.running: RequestResponseCycle | None = None  # the message that the application has
        self.shortcut: AsgiShortcut | None = None  # of the running message
        self._response_transport: _MergingTransport | None = None  # of the running message
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.default_bytes = b""
        self.certificate: Certificate | None = None
        """The client's certificate."""

    # For the subclass, which decides whether bytes belong to the fast path or to uvicorn.

    def between_messages(self) -> bool:
        """Whether no message is under way or waits, and the parser stands between messages."""
        return not (self._in_message or self._upgraded or self._unparsed or self.pipeline or self.is_answering())

    def is_answering(self) -> bool:
        """Whether the last message that was parsed is not yet answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def feed(self, data: bytes) -> None:
        """Give `data` to the parser until a message waits. The rest follows once no message waits."""
        at = 0
        while at < len(data) and not (self._unparsed or self.pipeline or self.transport.is_closing()):
            super().data_received(data if len(data) <= _SLICE else data[at : at + _SLICE])
            at += _SLICE
        if at < len(data) and not self.transport.is_closing():
            self._unparsed += data[at:]
            self._flow.held = True
            self.flow.pause_reading()

    def feed_limited(self, data: bytes, limit: int) -> None:
        """`feed`, but a head of more than `limit` bytes ends the connection."""
        heads = self._heads_begun
        self.feed(data)
        if self._head_size < 0 or self._heads_begun != heads or self._unparsed:
            return
        self._head_size += len(data)
        if self._head_size > limit:
            if self.is_answering():
                self.close()  # no answer can stand in the middle of another response
            else:
                self.reject(
                    WaypostError("header_too_large", "the request's head is longer than `limits.header` allows")
                )

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

    def head_begins(self) -> None:
        """The parser has begun a head."""

    def head_ends(self) -> None:
        """The parser has read a whole head."""

    def record_rejection(self, error: WaypostError, status: int, request_id: str, size: int) -> None:
        """Record that a request which cannot be parsed is answered with `error`, in a body of `size` bytes."""

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self.transport.close()

    def linger(self) -> None:
        """Discard all further input, because the last answer was written."""
        raise NotImplementedError

    def start_application(self, intake: Intake, body: bytes, accepted: tuple[Generation, Intake] | None) -> None:
        """Give a whole message, which did not pass uvicorn's parser, to the application.

        The client must be allowed to send another message behind it. `accepted` is for `AsgiShortcut.accepted`.
        """
        super().on_message_begin()
        path, _, query = intake.target.partition("?")
        scope = cast("dict[str, Any]", self.scope)
        scope["method"] = intake.method
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = (self.root_path + path).encode("ascii")
        scope["query_string"] = query.encode("ascii")
        scope["headers"] = intake.fields()
        scope["extensions"] = self._extensions(accepted)
        event = asyncio.Event()
        event.set()
        cycle = self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=event,
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.body = cast(bytearray, body)  # only read
        cycle.more_body = False
        self._start_asgi_task(cycle, self.app)

    def boundary_reached(self) -> None:
        """The last message is answered, and the next one has not begun."""

    # uvicorn's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = self._flow = _Flow(transport)
        if self.scheme == "https":
            self.certificate = certificate_of(transport)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        extensions: dict[str, Any] = cast(Any, cycle.scope)["extensions"]
        shortcut = self.shortcut = cast(AsgiShortcut, extensions[SHORTCUT]["shortcut"])
        shortcut.cycle = cycle
        self._response_transport = _MergingTransport(self)
        cycle.transport = cast("asyncio.Transport", self._response_transport)
        cycle.default_headers = DefaultFields(cycle.default_headers)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self._response_transport is not None:
            self._response_transport.flush()  # a response without a body has not been written yet
        if self.shortcut is not None:
            self.shortcut.cycle = None
        if self.between_messages():
            # As uvicorn does, but without the timer that uvicorn sets and cancels for each message.
            self.server_state.total_requests += 1
            if not self.transport.is_closing():
                self.flow.resume_reading()
                self.boundary_reached()
            return
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()
        elif self._unparsed:
            self.loop.call_soon(self._feed_unparsed)

    def _feed_unparsed(self) -> None:
        """Go on with the unparsed bytes, because no message waits."""
        if self.pipeline or self.transport.is_closing():
            return
        data, self._unparsed = self._unparsed, b""
        self._flow.held = False
        self.flow.resume_reading()
        if data:
            self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed = b""
        running = self.running
        if running is not None and not running.response_complete:
            # uvicorn tells only the last message that was parsed, which may be one that waits.
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)
        if self.shortcut is not None:
            self.shortcut.disconnected()

    def on_message_begin(self) -> None:
        self._in_message = True
        self._head_size = 0
        self._heads_begun += 1
        self.head_begins()
        super().on_message_begin()
        self.scope["extensions"] = self._extensions(None)

    def _extensions(self, accepted: tuple[Generation, Intake] | None) -> dict[str, Any]:
        """The extensions of a message's scope."""
        extensions: dict[str, Any] = {SHORTCUT: {"shortcut": AsgiShortcut(self, accepted)}}
        if self.certificate is not None:
            extensions[CERTIFICATE] = self.certificate
        return extensions

    def on_headers_complete(self) -> None:
        self._head_size = -1
        self.head_ends()
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and self.parser.get_http_version() == "1.0":
            # HTTP/1.0 has no chunks (RFC 9112, section 6.1): a body without a length ends with the connection.
            cycle.chunked_encoding = None if cycle.scope["method"] == "HEAD" else False
            cycle.expected_content_length = _UntilClose()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        self._upgraded = True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Reject a request that uvicorn's parser cannot read."""
        cycle = self.cycle
        error = WaypostError("bad_framing", "the request cannot be read as HTTP/1.1: see RFC 9112")
        begun = False
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline:
                self.close()  # no answer can stand in the middle of another response
                return
            if self._in_message:
                begun = True
                extensions: dict[str, Any] = cast(Any, cycle.scope)["extensions"]
                extensions[REJECTED] = error
            cycle.disconnected = True
            cycle.message_event.set()
        self.reject(error, begun=begun)

    def reject(self, error: WaypostError, *, begun: bool = False) -> None:
        """Answer with `error` and end the connection. `begun` says that the application already has the message."""
        if self.transport.is_closing():
            return
        self._head_size = -1
        request_id = error.message_id or ""
        status, headers, body = render_error(error.dialect or "json", error, request_id)
        if request_id:
            headers.append((b"x-request-id", request_id.encode("ascii", "replace")))
        if (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % field for field in headers]
        if not begun:
            self.record_rejection(error, status, request_id, len(body))
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
        elif self._head_given:
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
