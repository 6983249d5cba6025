"""Carries fast messages: a `Direct` that is its own sink and writes to the client's transport."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from waypost.dialects.errors import render_rejection
from waypost.entry.uvicorn_internals import STATUS_LINE, ServerState
from waypost.exchange.direct import Direct
from waypost.loop.wheel import Timed
from waypost.sink import COMMENT

if TYPE_CHECKING:
    import asyncio

    from waypost._native import Endpoint, Intake, Plan, ResponseHead
    from waypost.errors import WaypostError
    from waypost.exchange.runtime import Runtime
    from waypost.exchange.upload import Upload
    from waypost.gateway import Gateway, Generation
    from waypost.sink import Headers

__all__ = ["ClientClock", "Http1Host", "Http1Sink"]

_BODILESS: Final = (204, 304)
"""Statuses of responses without a body (RFC 9110, section 6.4.1)."""

_logger = logging.getLogger("waypost")


class Http1Host(Protocol):
    """The client connection that a sink writes to."""

    gateway: Gateway
    runtime: Runtime
    transport: asyncio.Transport

    server_state: ServerState
    default_headers: list[tuple[bytes, bytes]]
    default_bytes: bytes
    """The bytes of `default_headers` in a head; both are made anew when `server_state.default_headers` changes."""

    def default_fields(self) -> bytes: ...
    def message_done(self, response: bytes = b"") -> None: ...
    def timed_out(self, now: float) -> None: ...
    def close(self) -> None: ...


class ClientClock(Timed):
    """Limits the time that a client may take. Stays on the wheel from one message to the next."""

    __slots__ = ("_host",)

    def __init__(self, host: Http1Host) -> None:
        super().__init__()
        self._host = host

    def expired(self, now: float) -> None:
        self._host.timed_out(now)


class Http1Sink(Direct):
    """Carries the fast messages of one client connection, one after another, and writes their responses."""

    __slots__ = (
        "_chunked",
        "_has_body",
        "_head",
        "_host",
        "_intake",
        "budgeted",
        "closing",
        "persistent",
        "plan",
        "sent",
    )  # fmt: skip

    reads_limited = False
    read_limit: int | None = None

    def __init__(self, host: Http1Host) -> None:
        super().__init__(host.runtime, self)
        self.closing = False
        """The connection ends after the response."""
        self.persistent = False
        """The response tells the client that it may send another request."""
        self.sent = 0
        self._host = host
        self.plan: Plan | None = None
        """The plan of the message under way, if it was decided."""
        self._intake: Intake | None = None
        self.budgeted = 0
        """Bytes of the gateway's budget that the message under way holds."""
        self._head = b""  # of the response, not written yet
        self._chunked = False
        self._has_body = True

    def carry(self, generation: Generation, plan: Plan, budgeted: int, upload: Upload | None = None) -> None:
        """Carry a message. Its `budgeted` bytes are released once its body is no longer needed."""
        self.plan = plan
        self.budgeted = budgeted
        self.sent = 0
        self._host.gateway.dispatcher.begin(self, generation.settings, plan, upload)

    def reject(self, intake: Intake, error: WaypostError, received: int) -> None:
        """Answer a message with `error` instead of carrying it. `received` bytes of its body have arrived."""
        self._intake = intake
        message_id = error.message_id or intake.id
        status, headers, body = render_rejection(intake.dialect, error, message_id)
        self._host.gateway.recorder.record_rejection(
            error.code, status, intake=intake, id=message_id, bytes_in=received, bytes_out=len(body)
        )
        self.start(status, headers)
        self.data(body)
        self.end()

    def fail(self, error: WaypostError) -> bool:
        """End the message under way with `error`. Returns false if no message is under way."""
        exchange = self.ensure_exchange()
        if exchange is not None:
            exchange.fail(error)
        return exchange is not None

    def cancel(self) -> None:
        super().cancel()
        self._release()

    def close(self) -> None:
        """End the message under way, because the client's connection is gone."""
        self.cancel()
        self.discard()

    # Direct.

    def received(self, data: bytes) -> None:
        # The same as `Direct.received`, in one function, because nearly every response comes here.
        pending = self._pending
        if pending is None:
            return
        _, plan, endpoint, connection = pending
        host = self._host
        fields = host.server_state.default_headers
        if fields is not host.default_headers:
            host.default_fields()
        self._pending = None  # from here on, the client cannot end this message
        try:
            answer = plan.answer(endpoint, data, STATUS_LINE, host.default_bytes, self.closing)
        except Exception as exc:  # noqa: BLE001 - an event-loop callback: nobody else could tell the client
            self._fail_internally(pending, exc)
            return
        if answer is None:
            self._pass_to_exchange(pending, data)
            return
        response, self.persistent, reusable = answer
        self.deadline = math.inf  # the timer stays on the wheel
        self.plan = None
        budgeted = self.budgeted
        if budgeted:
            self.budgeted = 0
            budget = host.gateway.budget
            budget.held -= budgeted
            if budget.waiting:
                budget.admit()
        runtime = self.runtime
        if reusable:
            runtime.pool.give(connection, reusable)
        else:
            connection.close()
        room = runtime.waiting_room
        if room.waiting or room.shared:
            room.notify(plan)
        host.message_done(response)

    # Sink.

    def answer(self, plan: Plan, endpoint: Endpoint, data: bytes) -> float | None:
        raise NotImplementedError  # `received` does this

    def done(self) -> None:
        raise NotImplementedError  # `received` does this

    def forward(self, head: ResponseHead, plan: Plan, endpoint: Endpoint, attempts: int) -> None:
        if self.budgeted:
            self._release()
        # The head is written with the first piece of the body, because each write is a system call.
        self._head, self._chunked, self._has_body, self.persistent = head.relay(
            plan, endpoint, attempts, STATUS_LINE[head.status], self._host.default_fields(), self.closing
        )

    def start(self, status: int, headers: Headers) -> None:
        """The head of an answer of Waypost's own, or of a translated response."""
        protocol = self._host
        intake = self._intake if self.plan is None else self.plan.intake
        self._release()
        if intake is None:
            raise RuntimeError("a response begins without a message")
        self._has_body = intake.method != "HEAD" and status not in _BODILESS
        self.persistent = intake.persistent and not self.closing
        sized = False
        lines = [STATUS_LINE[status], protocol.default_fields()]
        for name, value in headers:
            if name == b"content-length":
                sized = True
                if status == 304:  # the length of a body that is not sent; servers would wait for it
                    continue
            elif name == b"connection":
                self.persistent = False
            lines += (name, b": ", value, b"\r\n")
        self._chunked = self._has_body and not sized and intake.http_version == "1.1"
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif self._has_body and not sized:
            self.persistent = False  # the body ends with the connection
        if not self.persistent and (b"connection", b"close") not in headers:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def flush(self) -> None:
        """Write the head alone, because the body may take a while."""
        head = self._head
        if head:
            self._head = b""
            self._host.transport.write(head)

    def data(self, chunk: bytes) -> None:
        if not self._has_body:
            return
        self.sent += len(chunk)
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        head = self._head
        if head:
            self._head = b""
            chunk = head + chunk
        self._host.transport.write(chunk)

    def comment(self) -> None:
        self.data(COMMENT)

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        last = self._head
        if self._chunked:
            fields = b"".join([b"%b: %b\r\n" % field for field in trailers])
            last += b"0\r\n%b\r\n" % fields
        if last:
            self._head = b""
            self._host.transport.write(last)
        self.plan = self._intake = None
        self.exchange_done()
        self._host.message_done()

    def abort(self, error: WaypostError) -> None:
        _logger.info("a response stopped short: %s", error.message)
        self.flush()
        self.exchange_done()
        transport = self._host.transport
        if self._has_body and not self._chunked and not self.persistent:
            # The body may end with the connection, and would look whole after a clean end.
            transport.abort()
        else:
            self._host.close()

    def _release(self) -> None:
        if self.budgeted:
            self._host.gateway.budget.give(self.budgeted)
            self.budgeted = 0
