"""What the server does for Waypost's own application beside ASGI: an extension of the scope, for one message.

It saves what ASGI costs between the two: events, messages, a head that is taken apart and put together again. Where
middleware stands between, its `receive` and `send` are not the server's, and everything goes through them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from waypost.entry.uvicorn_internals import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    import asyncio

    from waypost._native import Endpoint, Intake, Plan
    from waypost.entry.uvicorn_internals import FlowControl
    from waypost.gateway import Generation

__all__ = ["AsgiShortcut", "ShortcutHost"]


class ShortcutHost(Protocol):
    """The server's side of one client connection."""

    flow: FlowControl
    transport: asyncio.Transport

    def default_fields(self) -> bytes: ...
    def write_answer(self, response: bytes, persistent: bool) -> None: ...


class AsgiShortcut:
    """The server's shortcut for one message."""

    __slots__ = ("_gone", "_protocol", "cycle", "taken")

    def __init__(self, protocol: ShortcutHost, taken: tuple[Generation, Intake] | None = None) -> None:
        self.taken = taken
        """What the server has made of the head already, and by which configuration. Only where nothing stands between
        the server and the application that could have changed the scope."""
        self.cycle: RequestResponseCycle | None = None
        """uvicorn's side of the message, while the application has the other one: it has this shortcut in its scope."""
        self._protocol = protocol
        self._gone: Callable[[], None] | None = None

    # The application's calls.

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the client has left, or nothing any more: no task has to wait in `receive` for that."""
        self._gone = callback
        if callback is not None and (self.cycle is None or self.cycle.disconnected):
            self.gone()

    def body(self, receive: Callable[[], Awaitable[Any]]) -> bytes | None:
        """The whole body of the request, if it is there and has not been received."""
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        if receive != cycle.receive:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        self._protocol.flow.resume_reading()
        return body

    def answers(self, send: Callable[[Any], Awaitable[None]]) -> bool:
        """Whether `answer` may be used instead of `send`."""
        cycle = self.cycle
        return cycle is not None and send == cycle.send and not cycle.access_log

    @property
    def free(self) -> bool:
        """Whether the client can be answered at this moment."""
        cycle = self.cycle
        gone = cycle is None or cycle.disconnected or cycle.response_started
        return not gone and not self._protocol.flow.write_paused

    def answer(self, plan: Plan, endpoint: Endpoint, data: bytes) -> bool | None:
        """As `DirectSink.answer`, for the HTTP/1 client; where it is `free`."""
        protocol, cycle = self._protocol, self.cycle
        if cycle is None:
            return None
        answer = plan.answer(endpoint, data, STATUS_LINE, protocol.default_fields(), not cycle.keep_alive)
        if answer is None:
            return None
        response, cycle.keep_alive, reusable = answer
        self._gone = None
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        protocol.write_answer(response, cycle.keep_alive)
        return reusable

    def done(self) -> None:
        """The message that was answered is over."""
        cycle, self.cycle = self.cycle, None
        if cycle is not None:
            if not cycle.keep_alive:
                self._protocol.transport.close()
            cycle.on_response()

    # The server's call.

    def gone(self) -> None:
        """The client has left."""
        self.cycle = None
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()
