"""A request body that arrives piece by piece, on its way to an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost._native import encode_chunk
from waypost.errors import WaypostError

if TYPE_CHECKING:
    from waypost.upstream.connection import Connection

__all__ = ["Upload"]


class Upload:
    """A request body that arrives piece by piece. Never sends more than the request's head announced."""

    __slots__ = ("_received", "_unsent", "complete", "length", "started")

    def __init__(self, length: int | None) -> None:
        self.length = length
        """The announced length in bytes. `None` sends the body in chunks (RFC 9112, section 7.1)."""
        self.started = False
        """A part of the body was sent, so the body cannot be sent again."""
        self.complete = False
        """The client has sent the whole body."""
        self._received = 0  # in bytes
        self._unsent: list[bytes] = []  # pieces that wait for a connection

    def write(self, chunk: bytes, connection: Connection | None) -> bool:
        """Send `chunk`, or keep it until there is a connection. Returns false if the next chunk should wait.

        Raises `WaypostError` (`bad_framing`), and sends nothing of `chunk`, if the body becomes longer than announced.
        """
        self._received += len(chunk)
        if self.length is not None and self._received > self.length:
            message = f"the request body is longer than its Content-Length of {self.length} bytes"
            raise WaypostError("bad_framing", message)
        if connection is None:
            self._unsent.append(chunk)
            return False
        self._send(chunk, connection)
        return connection.writable

    def end(self, connection: Connection | None) -> None:
        """End the body. Raises `WaypostError` (`bad_framing`) if the body is shorter than announced."""
        if self.length is not None and self._received != self.length:
            message = f"the request body ended after {self._received} bytes, its Content-Length is {self.length}"
            raise WaypostError("bad_framing", message)
        self.complete = True
        if connection is not None:
            self._send_end(connection)

    def flush(self, connection: Connection) -> None:
        """Send everything that has arrived, after the head was sent."""
        unsent, self._unsent = self._unsent, []
        for chunk in unsent:
            self._send(chunk, connection)
        if self.complete:
            self._send_end(connection)

    def drop(self) -> None:
        """Drop the bytes that wait for a connection."""
        self._unsent.clear()

    def _send(self, chunk: bytes, connection: Connection) -> None:
        self.started = True
        connection.write(encode_chunk(chunk) if self.length is None else chunk)

    def _send_end(self, connection: Connection) -> None:
        if self.length is None:
            self.started = True
            connection.write(encode_chunk(b""))
