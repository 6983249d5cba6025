"""uvicorn's HTTP/2 protocol, held to Waypost's manners. Its messages go to the ASGI application, each as a task.

- A response waits for the client's flow-control window here, and with it the endpoint; it ends once all of it was sent.
- A connection without a stream under way is closed after uvicorn's `timeout_keep_alive` of silence, and after
  `_HEAD_TIME` whatever comes. So is one that does not take what is left at its end, after `_STUCK`.
- A drain refuses new streams with REFUSED_STREAM: nothing was done for them, and clients may send them again. GOAWAY
  comes last: some clients give up the streams under way when they see one.
- Only so much is read as can be answered: while the client takes nothing, nothing is read.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, cast

import zttp

from waypost.dialects.errors import render_error
from waypost.entry.uvicorn_internals import StreamCycle, ZttpH2Protocol
from waypost.errors import WaypostError
from waypost.loop.wheel import Timer

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from waypost.gateway import Gateway

__all__ = ["Http2"]

_HEAD_TIME: Final = 30.0
"""Seconds that a client may take for a head, where no other stream is under way."""
_STUCK: Final = 30.0
"""Seconds without progress after which what is left of a response, or of a connection, is given up."""
_PARKED: Final = 64 * 1024
"""Bytes of a response that may wait for the client's window before its application has to."""
_MAX_FIELDS: Final = 128
"""Header fields that a request may have, as over HTTP/1.1."""
_TARGET: Final = re.compile(rb"/[!-~]*|\*")
"""RFC 9113, section 8.3.1. What is something else cannot be forwarded as HTTP/1.1, and uvicorn fails at some of it."""
_CONTROLS: Final = bytes(32 if octet < 32 or octet == 127 else octet for octet in range(256))
"""A tab may stand within a value (RFC 9110, section 5.5), but not for zttp."""


class Http2(ZttpH2Protocol):
    """One connection."""

    def __init__(
        self,
        gateway: Gateway,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._gateway = gateway
        self._wheel = gateway.runtime().wheel
        self._clock = Timer()
        self._clock.owner = self
        self._waiting: set[asyncio.Future[None]] = set()

    # The event loop's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(_HEAD_TIME)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wake()
        if self.transport.is_closing():
            self._expect(_STUCK)

    def eof_received(self) -> None:
        # Nobody is answered who has hung up halfway, and closing would first wait until all is sent.
        if self.cycles:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wheel.cancel(self._clock)
        self._clock.owner = None
        self._wake()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.resume_reading_if_idle()

    # uvicorn's calls.

    def handle_events(self) -> None:
        try:
            super().handle_events()
        except zttp.RemoteProtocolError:
            self._refused()
            raise

    def handle_request(self, event: zttp.Request) -> None:
        number = event.stream_id
        if self.shutdown_requested:
            self.conn.stream(number).reset(zttp.H2ErrorCode.REFUSED_STREAM)
            return
        if event.method == b"CONNECT" or not _TARGET.fullmatch(event.target):
            self._refused()
            self.conn.stream(number).reset(zttp.H2ErrorCode.PROTOCOL_ERROR)
            return
        self._wheel.cancel(self._clock)
        app = self.app
        if len(event.headers) > _MAX_FIELDS:
            self.app = self._refuse_fields
        super().handle_request(event)
        self.app = app
        # Its task has not begun yet.
        cycle = self.cycles[number]
        if event.end_stream:  # no event tells of it again
            cycle.more_body = False
            cycle.message_event.set()
        scope = cast(dict[str, Any], cycle.scope)
        scope["headers"] = _with_one_cookie(scope["headers"])
        cycle.send = _Sender(self, cycle).send  # type: ignore[method-assign]

    def on_response_complete(self, stream_id: int) -> None:
        cycle = self.cycles.get(stream_id)
        if cycle is not None and cycle.response_complete and cycle.more_body and not self.transport.is_closing():
            # The rest of the request is of no use (RFC 9113, section 8.1).
            cycle.stream.reset(zttp.H2ErrorCode.NO_ERROR)
            self.flush()
        super().on_response_complete(stream_id)

    def on_stream_closed(self) -> None:
        super().on_stream_closed()
        if not self.cycles and not self.transport.is_closing():
            self._expect(_HEAD_TIME)

    def resume_reading_if_idle(self) -> None:
        if not self.flow.write_paused:
            super().resume_reading_if_idle()

    def _close_connection(self) -> None:
        super()._close_connection()
        self._expect(_STUCK)

    async def _refuse_fields(self, scope: Any, _: Any, send: Any) -> None:
        """Instead of the application, for a request with too many header fields."""
        error = WaypostError("header_too_large", f"there are more than {_MAX_FIELDS} header fields")
        status, headers, body = render_error("json", error, "")
        self._gateway.recorder.record_rejection(
            error.code, status, client=self._address(), method=scope["method"], bytes_out=len(body)
        )
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # Time, and the client's window.

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Expiring
        """The client took too long."""
        if self.transport.is_closing():
            self.transport.abort()
        elif not self.cycles:
            self._close_connection()

    async def sent(self, cycle: StreamCycle, most: int = 0) -> None:
        """Wait until no more than `most` bytes of a response wait for the client's window, or the client has left."""
        while not cycle.disconnected and (cycle.stream.pending_bytes or 0) > most:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiting.add(waiter)
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)

    async def sent_to_the_end(self, cycle: StreamCycle) -> None:
        """Wait until all that was said of a response is sent. A client that takes none of it loses the stream."""
        left = cycle.stream.pending_bytes or 0
        while left and not cycle.disconnected:
            try:
                async with asyncio.timeout(_STUCK):
                    await self.sent(cycle, left - 1)
            except TimeoutError:
                cycle.abort_stream()
                return
            left = cycle.stream.pending_bytes or 0

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _expect(self, seconds: float) -> None:
        self._wheel.schedule(self._clock, self.loop.time() + seconds)

    def _refused(self) -> None:
        """What cannot be read as a request is answered by a frame: there is no status."""
        self._gateway.recorder.record_rejection("bad_framing", 0, client=self._address())

    def _address(self) -> str | None:
        return None if self.client is None else self.client[0]


class _Sender:
    """Takes one response from the application, no faster than its client."""

    __slots__ = ("_cycle", "_protocol", "_send")

    def __init__(self, protocol: Http2, cycle: StreamCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._send = cycle.send

    async def send(self, message: Any) -> None:
        """ASGI's `send`."""
        protocol, cycle = self._protocol, self._cycle
        kind = message["type"]
        if kind == "http.response.start":
            message = {**message, "headers": _sendable(message["headers"])}
        elif kind == "http.response.trailers":
            await protocol.sent_to_the_end(cycle)
            message = {**message, "headers": _sendable(message["headers"])}
        elif not message.get("more_body", False) and not self._fits(message.get("body", b"")):
            # uvicorn takes a stream for done once its end was said, and may close the connection then.
            await self._send(cast(Any, {**message, "more_body": True}))
            await protocol.sent_to_the_end(cycle)
            message = {**message, "body": b""}
        await self._send(message)
        if not cycle.response_complete:
            await protocol.sent(cycle, _PARKED)

    def _fits(self, body: bytes) -> bool:
        """The client's window has room for all that is left and `body`."""
        stream = self._cycle.stream
        if stream.pending_bytes:
            return False
        return len(body) <= min(stream.send_window or 0, self._protocol.conn.send_window) or self._cycle.bodyless


def _with_one_cookie(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Cookies may come as several fields, but not leave HTTP/2 that way (RFC 9113, section 8.2.3)."""
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    return [*(field for field in headers if field[0] != b"cookie"), (b"cookie", b"; ".join(cookies))]


def _sendable(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Fields of a response as zttp takes them."""
    return [(name, value.translate(_CONTROLS).strip(b" ")) for name, value in headers if name != b"te"]
