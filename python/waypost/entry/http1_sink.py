"""The response of a fast message on its way to the client: a sink that writes to the client's transport."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from waypost.dialects.errors import render_error
from waypost.entry.uvicorn_internals import STATUS_LINE
from waypost.exchange.direct import Direct
from waypost.loop.wheel import Timed

if TYPE_CHECKING:
    import asyncio

    from waypost._native import Endpoint, Intake, Plan, ResponseHead, Step
    from waypost.errors import WaypostError
    from waypost.exchange.exchange import Exchange
    from waypost.exchange.runtime import Runtime
    from waypost.exchange.upload import Upload
    from waypost.gateway import Gateway, Generation
    from waypost.sink import Headers

__all__ = ["Http1Host", "Http1Sink"]

_BODILESS: Final = (204, 304)
"""Statuses of responses without a body (RFC 9110, section 6.4.1)."""

_logger = logging.getLogger("waypost")


class Http1Host(Protocol):
    """The client connection that a sink writes to."""

    gateway: Gateway
    runtime: Runtime
    transport: asyncio.Transport

    def default_fields(self) -> bytes: ...
    def message_done(self) -> None: ...
    def timed_out(self, now: float) -> None: ...


class Http1Sink(Timed):
    """Carries the fast messages of one connection, one after the other.

    It is on the wheel for its connection, and stays there from one message to the next.
    """

    __slots__ = ("_body", "_chunked", "_direct", "_head", "_intake", "_plan", "_protocol", "_size", "closing",
                 "persistent", "sent")  # fmt: skip

    def __init__(self, protocol: Http1Host) -> None:
        super().__init__()
        self.closing = False
        """The connection ends behind the response."""
        self.persistent = False
        """The client was told that it may send another request."""
        self.sent = 0
        self._protocol = protocol
        self._direct = Direct(protocol.runtime, self)
        self._plan: Plan | None = None
        self._intake: Intake | None = None
        self._size = 0  # bytes taken from the gateway's budget
        self._head = b""  # of a response, not yet written
        self._chunked = False
        self._body = True

    @property
    def busy(self) -> bool:
        """A message is under way."""
        return self._direct.busy

    def take_exchange(self) -> Exchange | None:
        """The exchange of the message under way, made if it had none."""
        return self._direct.take_exchange()

    def begin(
        self,
        generation: Generation,
        plan: Plan,
        size: int,
        upload: Upload | None = None,
        departure: tuple[Endpoint | Step, bytes | None] | None = None,
    ) -> None:
        """Carry a message. `size` bytes go back to the budget once its body is not needed any more.

        `departure`: the plan has departed (`Plan.depart`), and said this.
        """
        self._plan = plan
        self._size = size
        self.sent = 0
        if departure is None:
            self._protocol.gateway.dispatcher.begin(self._direct, generation.settings, plan, upload)
        else:
            self._direct.send(generation.settings, plan, *departure)

    def fail(self, error: WaypostError) -> bool:
        """End the message under way with `error`. False: there is none."""
        exchange = self.take_exchange()
        if exchange is not None:
            exchange.fail(error)
        return exchange is not None

    def refuse(self, intake: Intake, error: WaypostError, received: int) -> None:
        """Answer a message that is not carried. `received` bytes of its body have come."""
        self._intake = intake
        status, headers, body = render_error(intake.dialect, error, error.message_id or intake.id)
        headers.append((b"x-request-id", intake.id.encode("ascii", "replace")))
        self._protocol.gateway.recorder.record_rejection(
            error.code, status, intake=intake, id=error.message_id or intake.id, bytes_in=received, bytes_out=len(body)
        )
        self.start(status, headers)
        self.data(body)
        self.end()

    def cancel(self) -> None:
        """The client left."""
        self._direct.cancel()
        self._release()

    def close(self) -> None:
        """The connection is gone."""
        self.cancel()
        wheel = self._protocol.runtime.wheel
        wheel.cancel(self)
        wheel.cancel(self._direct)

    def expired(self, now: float) -> None:
        self._protocol.timed_out(now)

    # Sink.

    def answer(self, plan: Plan, endpoint: Endpoint, data: bytes) -> bool | None:
        protocol = self._protocol
        answer = plan.answer(endpoint, data, STATUS_LINE, protocol.default_fields(), self.closing)
        if answer is None:
            return None
        response, self.persistent, reusable = answer
        size = self._size
        if size:
            self._size = 0
            protocol.gateway.budget.give(size)
        protocol.transport.write(response)
        return reusable

    def done(self) -> None:
        self._plan = None
        self._protocol.message_done()

    def forward(self, head: ResponseHead, plan: Plan, endpoint: Endpoint, attempts: int) -> None:
        if self._size:
            self._release()
        begin = STATUS_LINE[head.status] + self._protocol.default_fields()
        # Written with the first piece of the body, which most often came with it: a write is a system call.
        self._head, self._chunked, self._body, self.persistent = head.relay(
            plan, endpoint, attempts, begin, self.closing
        )

    def start(self, status: int, headers: Headers) -> None:
        """The head of a response that no endpoint sent so: an answer of Waypost's own, or a translated one."""
        protocol = self._protocol
        intake = self._intake if self._plan is None else self._plan.intake
        self._release()
        if intake is None:
            raise RuntimeError("a response begins without a message")
        self._body = intake.method != "HEAD" and status not in _BODILESS
        self.persistent = intake.persistent and not self.closing
        sized = False
        lines = [STATUS_LINE[status], protocol.default_fields()]
        for name, value in headers:
            if name == b"content-length":
                sized = True
                if status == 304:  # says what a body would have been; servers take it for a promise of one
                    continue
            elif name == b"connection":
                self.persistent = False
            lines += (name, b": ", value, b"\r\n")
        self._chunked = self._body and not sized and intake.http_version == "1.1"
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif self._body and not sized:
            self.persistent = False  # the end of the connection ends the body
        if not self.persistent and (b"connection", b"close") not in headers:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def flush(self) -> None:
        """The head came without a body, which may take a while."""
        head = self._head
        if head:
            self._head = b""
            self._protocol.transport.write(head)

    def data(self, chunk: bytes) -> None:
        if not self._body:
            return
        self.sent += len(chunk)
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        head = self._head
        if head:
            self._head = b""
            chunk = head + chunk
        self._protocol.transport.write(chunk)

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        rest = self._head
        if self._chunked:
            fields = b"".join([b"%b: %b\r\n" % field for field in trailers])
            rest += b"0\r\n%b\r\n" % fields
        if rest:
            self._head = b""
            self._protocol.transport.write(rest)
        self._plan = self._intake = None
        self._direct.forget()
        self._protocol.message_done()

    def abort(self, error: WaypostError) -> None:
        _logger.info("a response stopped short: %s", error.message)
        self.flush()
        self._direct.forget()
        transport = self._protocol.transport
        if self._body and not self._chunked and not self.persistent:
            # Perhaps only the connection's end ends this body: a clean one would look whole.
            transport.abort()
        else:
            transport.close()

    def _release(self) -> None:
        if self._size:
            self._protocol.gateway.budget.give(self._size)
            self._size = 0
