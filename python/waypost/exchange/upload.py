"""A request body that comes piece by piece, on its way to an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost._native import encode_chunk
from waypost.errors import WaypostError

if TYPE_CHECKING:
    from waypost.upstream.connection import Connection

__all__ = ["Upload"]


class Upload:
    """A request body that comes piece by piece. Never more of it leaves than its head announced."""

    __slots__ = ("_given", "_waiting", "complete", "length", "started")

    def __init__(self, length: int | None) -> None:
        self.length = length
        """Bytes that it was announced to have; `None` sends it in chunks (RFC 9112, section 7.1)."""
        self.started = False
        """Some of it has left: it cannot be sent again."""
        self.complete = False
        """The client gave all of it."""
        self._given = 0
        self._waiting: list[bytes] = []  # pieces that wait for a connection

    def take(self, chunk: bytes, connection: Connection | None) -> bool:
        """Send a piece, or keep it until there is a connection. False: another one should wait.

        Raises `WaypostError` with `bad_framing` where it is more than was announced; then nothing of it is sent.
        """
        self._given += len(chunk)
        if self.length is not None and self._given > self.length:
            message = f"the request body is longer than its Content-Length of {self.length} bytes"
            raise WaypostError("bad_framing", message)
        if connection is None:
            self._waiting.append(chunk)
            return False
        self._send(chunk, connection)
        return connection.writable

    def end(self, connection: Connection | None) -> None:
        """The client gave the last piece. Raises `WaypostError` with `bad_framing` where less came than announced."""
        if self.length is not None and self._given != self.length:
            message = f"the request body ended after {self._given} bytes, its Content-Length is {self.length}"
            raise WaypostError("bad_framing", message)
        self.complete = True
        if connection is not None:
            self._send_end(connection)

    def flush(self, connection: Connection) -> None:
        """Send what has come so far, after the head."""
        waiting, self._waiting = self._waiting, []
        for chunk in waiting:
            self._send(chunk, connection)
        if self.complete:
            self._send_end(connection)

    def drop(self) -> None:
        """The bytes are not needed any more."""
        self._waiting.clear()

    def _send(self, chunk: bytes, connection: Connection) -> None:
        self.started = True
        connection.write(encode_chunk(chunk) if self.length is None else chunk)

    def _send_end(self, connection: Connection) -> None:
        if self.length is None:
            self.started = True
            connection.write(encode_chunk(b""))
