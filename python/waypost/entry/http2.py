"""uvicorn's HTTP/2 protocol with Waypost's limits. Each message is a task of the ASGI application.

- A response waits for the client's flow-control window, and reading from the endpoint waits with it. A stream ends only
  after the whole response was sent.
- A connection without a stream is closed after `timeout_keep_alive` of silence, and after `listen.header_timeout` in
  any case. A connection that is being closed is aborted after `_CLOSE_TIME` if its client does not read.
- During a drain, new streams are refused with REFUSED_STREAM, which tells clients that they may send them again. GOAWAY
  comes last, because some clients give up their streams when they see it.
- zttp would end a connection after 4,096 requests. Before that, its state is *renewed* (`http2_renewal.py`), at the
  first moment without a stream after `_RENEW_AFTER` requests. From `_HOLD_AFTER` requests on, new streams wait for such
  a moment. If none comes within `_HOLD_TIME`, the connection is *retired* by GOAWAY: its streams go on, and clients
  send those that waited again, over another connection (RFC 9113, section 6.8).
- After GOAWAY, input is discarded for `_LINGER`. Closing at once could lose the last responses, and GOAWAY itself.
- CONNECT is answered with 501. SETTINGS does not offer WebSocket (RFC 8441), so browsers open it over HTTP/1.1.
- While the client does not read, nothing is read from it. What waits for it is limited by its `Backlog`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, cast

import zttp

from waypost.dialects.errors import render_rejection
from waypost.entry.backlog import Backlog
from waypost.entry.extensions import BACKLOG
from waypost.entry.http2_renewal import HEADERS, RST_STREAM, FrameCursor, greeting, renewed
from waypost.entry.peer import certificate_of
from waypost.entry.uvicorn_http1 import DefaultFields
from waypost.entry.uvicorn_internals import StreamCycle, ZttpH2Protocol
from waypost.errors import WaypostError
from waypost.gateway import CERTIFICATE
from waypost.loop.wheel import Timer

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from waypost._native import Certificate
    from waypost.entry.listener import Guard
    from waypost.gateway import Gateway

__all__ = ["Http2"]

_CLOSE_TIME: Final = 30.0
"""Time without progress at the end of a response or of a connection, after which it is given up, in seconds."""
_LINGER: Final = 1.0
"""Time for which input is discarded after GOAWAY, in seconds."""
_RENEW_AFTER: Final = (2048, 96)
"""The numbers of requests, and of streams that the client has reset, from which the state is renewed."""
_HOLD_AFTER: Final = (3584, 192)
"""The same numbers, from which new streams wait for that."""
_HOLD_TIME: Final = 10.0
"""Longest time for which new streams wait, in seconds."""
_HOLD_LIMIT: Final = 256 * 1024
"""Bytes of new streams that may wait."""
_WRITE_LIMIT: Final = 4 * 1024
"""Bytes that may wait for the client's socket before everything that is sent to it waits."""
_MAX_FIELDS: Final = 128
"""Largest number of header fields of a request, as over HTTP/1.1."""
_TARGET: Final = re.compile(rb"/[!-~]*|\*")
"""A valid target (RFC 9113, section 8.3.1). Others cannot be forwarded as HTTP/1.1, and uvicorn fails at some."""
_CONTROLS: Final = bytes(32 if octet < 32 or octet == 127 else octet for octet in range(256))
"""Maps control characters to spaces. zttp rejects even the tab, which RFC 9110, section 5.5 allows in a value."""


class Http2(ZttpH2Protocol):
    """One connection."""

    def __init__(
        self,
        gateway: Gateway,
        guard: Guard,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._gateway = gateway
        self._guard = guard
        self._wheel = gateway.runtime().wheel
        self._clock = Timer()
        self._clock.owner = self
        self._waiters: set[asyncio.Future[None]] = set()
        self._certificate: Certificate | None = None
        self._backlog = Backlog(loop)
        self._frames = FrameCursor()
        self._client_settings: dict[int, int] = {}
        self._requests = 0
        self._resets = 0
        """Streams that the client has reset."""
        self._last = 0
        """Number of the last stream that the client has opened."""
        self._waiting = bytearray()
        """Frames of streams that wait."""
        self._waiting_counts = (0, 0)
        """The requests and resets among them."""
        self._first_waiting = 0
        """Number of the first stream that waits, if streams have to wait."""
        self._taken_apart = False
        """The current frame is one of a stream that waits."""
        self._retired = False
        """GOAWAY was sent."""
        self._greeted = False

    # The event loop's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(_WRITE_LIMIT)
        self._certificate = certificate_of(transport)
        self._set_timeout(self._gateway.generation.config.listen.header_timeout)

    def data_received(self, data: bytes) -> None:
        if self._retired and not self.cycles:
            return
        data = self._divide(data)
        if data:
            super().data_received(data)
        self._wake()
        if self.transport.is_closing():
            self._set_timeout(_CLOSE_TIME)

    def eof_received(self) -> None:
        # A client that has hung up gets no answer, and a close would first wait until everything is sent.
        if self.cycles:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._wheel.cancel(self._clock)
        self._clock.owner = None
        self._backlog.close()
        self._wake()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.resume_reading_if_idle()
        self._wake()

    # uvicorn's calls.

    def flush(self) -> None:
        if self._greeted:
            super().flush()
            return
        self._greeted = True
        self.transport.write(greeting(self.conn.data_to_send()))

    def events(self) -> Generator[zttp.Event]:
        for event in super().events():
            if isinstance(event, zttp.Settings):
                self._client_settings.update(event.params)
            yield event

    def handle_events(self) -> None:
        try:
            super().handle_events()
        except zttp.RemoteProtocolError:
            self._record_malformed()
            raise

    def handle_request(self, event: zttp.Request) -> None:
        number = event.stream_id
        if self.shutdown_requested:
            self.conn.stream(number).reset(zttp.H2ErrorCode.REFUSED_STREAM)
            return
        if not _TARGET.fullmatch(event.target):
            self._record_malformed()
            self.conn.stream(number).reset(zttp.H2ErrorCode.PROTOCOL_ERROR)
            return
        if not self._first_waiting:
            self._wheel.cancel(self._clock)
        app = self.app
        rejection = self._rejection(event)
        if rejection is not None:
            self.app = self._reject_with(rejection)
        super().handle_request(event)
        self.app = app
        # The task of the new stream has not begun yet.
        cycle = self.cycles[number]
        if event.end_stream:  # no further event reports the end
            cycle.more_body = False
            cycle.message_event.set()
        scope = cast(dict[str, Any], cycle.scope)
        scope["headers"] = _with_one_cookie(scope["headers"])
        if self._certificate is not None:
            scope["extensions"][CERTIFICATE] = self._certificate
        scope["extensions"][BACKLOG] = {"backlog": self._backlog}
        cycle.send = _Sender(self, cycle).send  # type: ignore[method-assign]

    def on_response_complete(self, stream_id: int) -> None:
        cycle = self.cycles.get(stream_id)
        if cycle is not None and cycle.response_complete and cycle.more_body and not self.transport.is_closing():
            # The rest of the request is not needed (RFC 9113, section 8.1).
            cycle.stream.reset(zttp.H2ErrorCode.NO_ERROR)
            self.flush()
        super().on_response_complete(stream_id)

    def on_stream_closed(self) -> None:
        super().on_stream_closed()
        if self.cycles or self.transport.is_closing():
            return
        if self._retired:
            self._end()
            return
        self._set_timeout(self._gateway.generation.config.listen.header_timeout)
        if self._reached(_RENEW_AFTER):
            self.loop.call_soon(self._renew)  # not while events of the old state are handled

    def resume_reading_if_idle(self) -> None:
        if not self.flow.write_paused:
            super().resume_reading_if_idle()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._set_timeout(_LINGER)

    def _close_connection(self) -> None:
        """Send GOAWAY, and close the connection. Streams that are running go on."""
        if self._retired or self.transport.is_closing():
            return
        self._retired = True
        self._waiting.clear()
        self.conn.close(zttp.H2ErrorCode.NO_ERROR, self._first_waiting - 2 if self._first_waiting else self._last)
        self.flush()
        if not self.cycles:
            self._end()

    def _end(self) -> None:
        """Close the connection after GOAWAY and the last stream."""
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._set_timeout(_LINGER)

    # The state is renewed in time.

    def _reached(self, numbers: tuple[int, int]) -> bool:
        requests, resets = numbers
        return self._requests >= requests or self._resets >= resets

    def _divide(self, data: bytes) -> bytes:
        """Count requests, and keep the frames of streams that wait. Returns the bytes for the present state."""
        frames = self._frames
        kept = bytearray() if self._first_waiting else None  # of `data`, what is not to wait; `None`: all of it so far
        at = 0
        while at < len(data):
            withheld = frames.partial_head
            end, kind, stream, whole_head = frames.next(data, at)
            if kind == HEADERS:
                self._requests += 1
                if stream > self._last:
                    self._last = stream
                    if not self._first_waiting and whole_head and self._reached(_HOLD_AFTER):
                        self._first_waiting = stream
                        kept = bytearray(data[:at])
                        self._set_timeout(_HOLD_TIME)
            elif kind == RST_STREAM:
                self._resets += 1
            if kept is not None and not frames.partial_head:
                if kind >= 0:
                    self._taken_apart = stream >= self._first_waiting
                piece = withheld + data[at:end]
                if not self._taken_apart:
                    kept += piece
                elif not self._retired:  # else the client sends it again, over another connection
                    self._waiting += piece
                    requests, resets = self._waiting_counts
                    self._waiting_counts = (requests + (kind == HEADERS), resets + (kind == RST_STREAM))
            at = end
        if kept is None:
            return data
        if len(self._waiting) > _HOLD_LIMIT:
            self._close_connection()
        elif not self.cycles:
            self.loop.call_soon(self._renew)
        return bytes(kept)

    def _renew(self) -> None:
        """Renew zttp's state, if the connection has no stream and is between two frames. Then begin what waits."""
        if self.cycles or self._retired or self.shutdown_requested or self.transport.is_closing():
            return
        if not self._reached(_RENEW_AFTER) or not (self._frames.between or self._taken_apart):
            return
        self.flush()
        last = self._first_waiting - 2 if self._first_waiting else self._last
        try:
            self.conn, update = renewed(self.conn, self._client_settings, last)
        except zttp.ProtocolError:  # no number is left for another stream
            self._close_connection()
            return
        if update:
            self.transport.write(update)
        waiting = bytes(self._waiting) + self._frames.partial_head if self._first_waiting else b""
        self._waiting.clear()
        self._requests, self._resets = self._waiting_counts
        self._waiting_counts = (0, 0)
        self._first_waiting = 0
        self._taken_apart = False
        if waiting:
            super().data_received(waiting)
            self._wake()

    # Answers in place of the application's.

    def _rejection(self, event: zttp.Request) -> WaypostError | None:
        """Why a request does not reach the application, if it does not."""
        if event.method == b"CONNECT":
            message = "CONNECT is not forwarded, and neither is WebSocket: this gateway forwards HTTP messages only"
            return WaypostError("not_implemented", message)
        if len(event.headers) > _MAX_FIELDS:
            return WaypostError("header_too_large", f"the request has more than {_MAX_FIELDS} header fields")
        if self._guard != "open":
            try:
                snapshot = self._gateway.generation.snapshot
                snapshot.check_origin(self._guard, self.scheme or "http", event.target, list(event.headers))
            except WaypostError as error:
                return error
        return None

    def _reject_with(self, error: WaypostError) -> Any:
        """An application that answers with `error`."""

        async def reject(scope: Any, _: Any, send: Any) -> None:
            message_id = error.message_id or ""
            status, headers, body = render_rejection(error.dialect or "json", error, message_id)
            self._gateway.recorder.record_rejection(
                error.code,
                status,
                id=message_id,
                client=self._address(),
                method=scope["method"],
                bytes_out=len(body),
            )
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return reject

    # Time, and the client's window.

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Expiring
        """The client took too long."""
        if self.transport.is_closing():
            self.transport.abort()
        elif self._retired and not self.cycles:
            self.transport.close()
            self._set_timeout(_CLOSE_TIME)
        elif self._first_waiting or not self.cycles:
            self._close_connection()

    async def wait_sent(self, cycle: StreamCycle, limit: int = 0) -> None:
        """Wait until at most `limit` bytes of a response wait for the client's window, or the client has left.

        Until then, and while anything waits for the client's socket, the response counts as unsent.
        """
        while not cycle.disconnected and ((cycle.stream.pending_bytes or 0) > limit or self.flow.write_paused):
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    async def wait_all_sent(self, cycle: StreamCycle) -> None:
        """Wait until all of the response so far is sent. A stream without progress for `_CLOSE_TIME` is aborted."""
        pending = cycle.stream.pending_bytes or 0
        while pending and not cycle.disconnected:
            try:
                async with asyncio.timeout(_CLOSE_TIME):
                    await self.wait_sent(cycle, pending - 1)
            except TimeoutError:
                cycle.abort_stream()
                return
            pending = cycle.stream.pending_bytes or 0

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _set_timeout(self, seconds: float) -> None:
        self._wheel.schedule(self._clock, self.loop.time() + seconds)

    def _record_malformed(self) -> None:
        """Record a malformed request, whose answer is a frame without a status."""
        self._gateway.recorder.record_rejection("bad_framing", 0, client=self._address())

    def _address(self) -> str | None:
        return None if self.client is None else self.client[0]


class _Sender:
    """Sends one response of the application, no faster than the client reads it."""

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
            headers = _sendable(message["headers"])
            cycle.default_headers = DefaultFields(cycle.default_headers).beside(headers)
            message = {**message, "headers": headers}
        elif kind == "http.response.trailers":
            await protocol.wait_all_sent(cycle)
            message = {**message, "headers": _sendable(message["headers"])}
        elif not message.get("more_body", False) and not self._fits(message.get("body", b"")):
            # Once uvicorn has been given the end, it considers the stream done and may close the connection.
            await self._send(cast(Any, {**message, "more_body": True}))
            await protocol.wait_all_sent(cycle)
            message = {**message, "body": b""}
        await self._send(message)
        if not cycle.response_complete:
            await protocol.wait_sent(cycle)

    def _fits(self, body: bytes) -> bool:
        """Whether the client's window has room for everything that waits, and for `body`."""
        stream = self._cycle.stream
        if stream.pending_bytes:
            return False
        return len(body) <= min(stream.send_window or 0, self._protocol.conn.send_window) or self._cycle.bodyless


def _with_one_cookie(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """`headers` with all cookies in one field, as they must be outside HTTP/2 (RFC 9113, section 8.2.3)."""
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    return [*(field for field in headers if field[0] != b"cookie"), (b"cookie", b"; ".join(cookies))]


def _sendable(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The fields of a response that zttp accepts, with values that it accepts."""
    return [(name, value.translate(_CONTROLS).strip(b" ")) for name, value in headers if name != b"te"]
