"""uvicorn's HTTP/1 protocol, held to Waypost's manners.

- What its parser refuses is answered as JSON, with a code; heads are bounded in length and time.
- An HTTP/1.0 client gets no chunks.
- A client that sends many requests at once has few of them read at a time.
- Waypost's own application gets a shortcut (`shortcut.py`).
- The head of a response goes out with what the application sends right behind it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

from waypost.dialects.errors import render_error
from waypost.entry.asgi_shortcut import AsgiShortcut
from waypost.entry.extensions import REJECTED, SHORTCUT
from waypost.entry.uvicorn_internals import STATUS_LINE, FlowControl, HttpToolsProtocol, RequestResponseCycle
from waypost.errors import WaypostError

if TYPE_CHECKING:
    from waypost._native import Intake
    from waypost.gateway import Generation
    from waypost.loop.descriptors import Descriptors

__all__ = ["HEAD_SLACK", "StrictHttp1"]

HEAD_SLACK: Final = 256
"""Bytes that a head may take beside what `limits.header` counts."""

_COPIED: Final = 16 * 1024
"""Bytes of a body up to which a copy, to make it one buffer with the head, costs less than a list of two."""

_SLICE: Final = 16 * 1024
"""Bytes that are parsed before it is looked whether messages wait: each takes a hundred times its length in memory."""


class _Flow(FlowControl):
    """uvicorn resumes reading whenever an application asks for a body: not while bytes wait that were read before."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class StrictHttp1(HttpToolsProtocol):
    """What is the same for fast messages and for those of uvicorn's."""

    __slots__ = (
        "_behind",
        "_flow",
        "_heading",
        "_heads",
        "_joined",
        "_upgraded",
        "_within",
        "default_bytes",
        "default_headers",
        "running",
        "shortcut",
    )  # fmt: skip

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._within = False  # the parser is inside of a message
        self._heading = -1  # bytes of the head that the parser is in; -1: in none
        self._heads = 0  # how many the parser has begun
        self._upgraded = False
        self._flow = cast(_Flow, None)
        self._behind = b""  # what came behind messages that wait, not parsed
        self.running: RequestResponseCycle | None = None  # the message that the application has
        self.shortcut: AsgiShortcut | None = None  # its shortcut
        self._joined: _Joined | None = None  # what it writes to
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.default_bytes = b""

    # For the class that decides whose the bytes are.

    def between_messages(self) -> bool:
        """No message is under way or waits, and the parser stands between messages."""
        return not (self._within or self._upgraded or self._behind or self.pipeline or self.answering())

    def answering(self) -> bool:
        """The last message that was read is not answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def feed(self, data: bytes) -> None:
        """Give the parser what came, as long as no message waits; the rest later."""
        at = 0
        while at < len(data) and not (self._behind or self.pipeline or self.transport.is_closing()):
            super().data_received(data if len(data) <= _SLICE else data[at : at + _SLICE])
            at += _SLICE
        if at < len(data) and not self.transport.is_closing():
            self._behind += data[at:]
            self._flow.held = True
            self.flow.pause_reading()

    def feed_within(self, data: bytes, longest: int) -> None:
        """As `feed`; but a head of more than `longest` bytes ends the connection."""
        heads = self._heads
        self.feed(data)
        if self._heading < 0 or self._heads != heads or self._behind:
            return
        self._heading += len(data)
        if self._heading > longest:
            if self.answering():
                self.transport.close()  # in the middle of another response nothing can be said
            else:
                self.reject(
                    WaypostError("header_too_large", "the request's head is longer than `limits.header` allows")
                )

    def turned_away(self, descriptors: Descriptors) -> bool:
        """Whether the connection, which was made just now, was refused as one too many."""
        sock = self.transport.get_extra_info("socket")
        descriptor = -1 if sock is None else sock.fileno()
        if descriptors.room(descriptor):
            return False
        message = "this process has no connection left for another client: try again later, or elsewhere"
        self.reject(WaypostError("overloaded", message))
        if descriptors.hurry(descriptor):
            self.transport.close()
        return True

    def head_begins(self) -> None:
        """The parser is in a head."""

    def head_ends(self) -> None:
        """The parser has read a head."""

    def record_rejection(self, error: WaypostError, status: int, request_id: str, size: int) -> None:
        """What cannot be read as a request is answered with `error`, in a body of `size` bytes."""

    def linger(self) -> None:
        """A last answer was written: nothing that comes is looked at."""
        raise NotImplementedError

    def start(self, intake: Intake, body: bytes, taken: tuple[Generation, Intake] | None) -> None:
        """Give the application a message that uvicorn's parser has not seen: all of it is here, and its client may
        send another one behind it."""
        super().on_message_begin()
        path, _, query = intake.target.partition("?")
        scope = cast("dict[str, Any]", self.scope)
        scope["method"] = intake.method
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = (self.root_path + path).encode("ascii")
        scope["query_string"] = query.encode("ascii")
        scope["headers"] = intake.fields()
        scope["extensions"] = {SHORTCUT: {"shortcut": AsgiShortcut(self, taken)}}
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
        cycle.body = cast(bytearray, body)  # is only read
        cycle.more_body = False
        self._start_asgi_task(cycle, self.app)

    def at_rest(self) -> None:
        """The last message was answered, and the next one has not begun."""

    # uvicorn's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = self._flow = _Flow(transport)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        extensions: dict[str, Any] = cast(Any, cycle.scope)["extensions"]
        shortcut = self.shortcut = cast(AsgiShortcut, extensions[SHORTCUT]["shortcut"])
        shortcut.cycle = cycle
        self._joined = _Joined(self)
        cycle.transport = cast("asyncio.Transport", self._joined)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self._joined is not None:
            self._joined.flush()  # it had no body: nothing may be written before it
        if self.shortcut is not None:
            self.shortcut.cycle = None
        if self.between_messages():
            # As uvicorn does, without its timer: each message would set one, and take it back.
            self.server_state.total_requests += 1
            if not self.transport.is_closing():
                self.flow.resume_reading()
                self.at_rest()
            return
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()
        elif self._behind:
            self.loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """Nobody waits any more."""
        if self.pipeline or self.transport.is_closing():
            return
        data, self._behind = self._behind, b""
        self._flow.held = False
        self.flow.resume_reading()
        if data:
            self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._behind = b""
        running = self.running
        if running is not None and not running.response_complete:
            # uvicorn tells the last message only, which waits where several were sent at once.
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)
        if self.shortcut is not None:
            self.shortcut.gone()

    def on_message_begin(self) -> None:
        self._within = True
        self._heading = 0
        self._heads += 1
        self.head_begins()
        super().on_message_begin()
        self.scope["extensions"] = {SHORTCUT: {"shortcut": AsgiShortcut(self)}}

    def on_headers_complete(self) -> None:
        self._heading = -1
        self.head_ends()
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and self.parser.get_http_version() == "1.0":
            # Chunks are not for HTTP/1.0 (RFC 9112, section 6.1): what has no length ends with the connection.
            cycle.chunked_encoding = None if cycle.scope["method"] == "HEAD" else False
            cycle.expected_content_length = _UntilClose()

    def on_message_complete(self) -> None:
        self._within = False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade()

    def _unsupported_upgrade_warning(self) -> None:
        self._upgraded = True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - what uvicorn would say
        """What uvicorn's parser refused."""
        cycle = self.cycle
        error = WaypostError("bad_framing", "the request cannot be read as HTTP/1.1: see RFC 9112")
        begun = False
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline:
                self.transport.close()  # in the middle of another response nothing can be said
                return
            if self._within:
                begun = True
                extensions: dict[str, Any] = cast(Any, cycle.scope)["extensions"]
                extensions[REJECTED] = error
            cycle.disconnected = True
            cycle.message_event.set()
        self.reject(error, begun=begun)

    def reject(self, error: WaypostError, *, begun: bool = False) -> None:
        """Answer what cannot be read as a request, and end the connection. `begun`: the application has it already."""
        if self.transport.is_closing():
            return
        self._heading = -1
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
        """Write the whole response of a message; `persistent`: the connection stays open behind it."""
        self.transport.write(response)

    # What uvicorn adds.

    def default_fields(self) -> bytes:
        """The fields that uvicorn puts in front of every response's, as its settings say."""
        fields = self.server_state.default_headers
        if fields is not self.default_headers:
            self.default_headers = fields
            self.default_bytes = b"".join([b"%b: %b\r\n" % field for field in fields])
        return self.default_bytes


class _Joined:
    """The client's transport, for one response of uvicorn's.

    uvicorn writes the head by itself, and each write is a system call. Here it waits for the first piece of the body,
    until the event loop's next turn at most.
    """

    __slots__ = ("_head", "_held", "_protocol")

    def __init__(self, protocol: StrictHttp1) -> None:
        self._protocol = protocol
        self._head = b""
        self._held = False  # the head is kept, or was

    def write(self, data: bytes) -> None:
        head = self._head
        if head:
            self._head = b""
            if len(data) < _COPIED:
                self._protocol.transport.write(head + data)
            else:
                self._protocol.transport.writelines((head, data))
        elif self._held:
            self._protocol.transport.write(data)
        else:
            self._held = True
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
        self._protocol.transport.close()

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()


class _UntilClose(int):
    """The length of a body that ends with its connection, in uvicorn's bookkeeping: never exceeded, never short."""

    def __lt__(self, other: object) -> bool:
        return False

    def __sub__(self, other: int) -> _UntilClose:
        return self

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__
