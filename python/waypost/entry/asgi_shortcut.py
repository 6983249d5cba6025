"""The shortcut around ASGI between Waypost's server and its own application: an extension of the scope.

The shortcut saves the cost of ASGI's events and messages, and of a head that is taken apart and put together again.
Middleware passes its own `receive` and `send` to the application. The application then uses those, not the shortcut.
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
    """The client connection of a shortcut."""

    flow: FlowControl
    transport: asyncio.Transport

    def default_fields(self) -> bytes: ...
    def write_answer(self, response: bytes, persistent: bool) -> None: ...
    def close(self) -> None: ...


class AsgiShortcut:
    """The shortcut for one message."""

    __slots__ = ("_on_disconnect", "_protocol", "accepted", "cycle")

    def __init__(self, protocol: ShortcutHost, accepted: tuple[Generation, Intake] | None = None) -> None:
        self.accepted = accepted
        """The intake of the message, and the configuration that accepted it, if the server has already read the head.

        `None` if anything between server and application could have changed the scope.
        """
        self.cycle: RequestResponseCycle | None = None
        """uvicorn's side of the message, as long as the message is under way."""
        self._protocol = protocol
        self._on_disconnect: Callable[[], None] | None = None

    # The application's calls.

    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` once the client has left, so that no task has to wait in `receive`. `None` calls nothing."""
        self._on_disconnect = callback
        if callback is not None and (self.cycle is None or self.cycle.disconnected):
            self.disconnected()

    def take_body(self, receive: Callable[[], Awaitable[Any]]) -> bytes | None:
        """Take the whole body of the request. Returns `None` unless all of it has arrived and none was received."""
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        if receive != cycle.receive:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        self._protocol.flow.resume_reading()
        return body

    def can_answer(self, send: Callable[[Any], Awaitable[None]]) -> bool:
        """Whether `answer` may replace `send`."""
        cycle = self.cycle
        return cycle is not None and send == cycle.send and not cycle.access_log

    @property
    def writable(self) -> bool:
        """Whether the client can be answered now."""
        cycle = self.cycle
        unanswered = cycle is not None and not cycle.disconnected and not cycle.response_started
        return unanswered and not self._protocol.flow.write_paused

    @property
    def stalled(self) -> bool:
        """Whether bytes wait for the client's socket."""
        return self.cycle is not None and self._protocol.flow.write_paused

    async def drained(self) -> None:
        """Wait until the client has taken them, or has left."""
        await self._protocol.flow.drain()

    def answer(self, plan: Plan, endpoint: Endpoint, data: bytes) -> float | None:
        """`DirectSink.answer` for the HTTP/1 client, which must be `writable`."""
        protocol, cycle = self._protocol, self.cycle
        if cycle is None:
            return None
        answer = plan.answer(endpoint, data, STATUS_LINE, protocol.default_fields(), not cycle.keep_alive)
        if answer is None:
            return None
        response, cycle.keep_alive, reusable = answer
        self._on_disconnect = None
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        protocol.write_answer(response, cycle.keep_alive)
        return reusable

    def done(self) -> None:
        """The message is over; `answer` took its response."""
        cycle, self.cycle = self.cycle, None
        if cycle is not None:
            if not cycle.keep_alive:
                self._protocol.close()
            cycle.on_response()

    # The server's call.

    def disconnected(self) -> None:
        """The client has left."""
        self.cycle = None
        callback, self._on_disconnect = self._on_disconnect, None
        if callback is not None:
            callback()
