"""A message's request body on its way to endpoints: there from the start, or coming piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost._native import Cluster, encode_chunk
from waypost.dialects.envelope_openai import translate_request
from waypost.errors import WaypostError

if TYPE_CHECKING:
    from waypost.exchange.connection import Connection

__all__ = ["Upload"]


class Upload:
    """A request body. One that is `streaming` comes by `take`, and never more of it leaves than its head announced."""

    __slots__ = ("_body", "_given", "_length", "_translated", "_waiting", "complete", "left", "streaming")

    def __init__(self, body: bytes | None, *, streaming: bool, length: int | None) -> None:
        """`body` is all of it, unless `streaming`; then `length` is how many bytes there will be, where known."""
        self.streaming = streaming
        self.left = False
        """Some of a streamed body has left: it cannot be sent again."""
        self.complete = not streaming
        """The client gave all of it."""
        self._body = b"" if streaming else body or b""
        self._translated: tuple[str, bytes] | None = None
        self._length = length
        self._given = 0
        self._waiting: list[bytes] = []  # pieces for which there was no connection

    @property
    def length(self) -> int | None:
        """Bytes that a streamed body was announced to have; `None` sends it in chunks (RFC 9112, section 7.1)."""
        return self._length

    # Whole bodies.

    def whole(self) -> bytes:
        return self._body

    def translated(self, cluster: Cluster) -> bytes:
        """The body in the dialect of `cluster`. Raises `EnvelopeError`."""
        if self._translated is None or self._translated[0] != cluster.name:
            self._translated = (cluster.name, translate_request(self._body, cluster))
        return self._translated[1]

    # Streamed bodies.

    def take(self, chunk: bytes, connection: Connection | None) -> bool:
        """Send a piece, or keep it until there is a connection. False: another one should wait.

        Raises `WaypostError` with `bad_framing` where it is more than was announced; then nothing of it is sent.
        """
        self._given += len(chunk)
        if self._length is not None and self._given > self._length:
            message = f"the request body is longer than its Content-Length of {self._length} bytes"
            raise WaypostError("bad_framing", message)
        if connection is None:
            self._waiting.append(chunk)
            return False
        self._send(chunk, connection)
        return connection.writable

    def finish(self, connection: Connection | None) -> None:
        """The client gave the last piece. Raises `WaypostError` with `bad_framing` where less came than announced."""
        if self._length is not None and self._given != self._length:
            message = f"the request body ended after {self._given} bytes, its Content-Length is {self._length}"
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
        self._body = b""
        self._translated = None
        self._waiting.clear()

    def _send(self, chunk: bytes, connection: Connection) -> None:
        self.left = True
        connection.write(encode_chunk(chunk) if self._length is None else chunk)

    def _send_end(self, connection: Connection) -> None:
        if self._length is None:
            self.left = True
            connection.write(encode_chunk(b""))
