"""An incremental reader of server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from waypost.config.units import format_size
from waypost.errors import UpstreamError

__all__ = ["Event", "SseReader"]


class Event(NamedTuple):
    """One event."""

    name: bytes
    """The value of its last `event` field; empty without one."""
    data: bytes
    """The values of its `data` fields, joined by line feeds."""


class SseReader:
    """Reads events, independent of how the stream is split into chunks.

    Lines end with LF, CRLF or CR. A byte order mark at the start, comments and all fields except `event` and `data` are
    skipped, and so are events without data. An event may have at most `limit` bytes, unfinished lines included.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_limit", "_line", "_name", "_size", "commented")

    def __init__(self, limit: int) -> None:
        self.commented = False
        """A comment was read. The caller may reset it."""
        self._limit = limit
        self._line = bytearray()  # an unfinished line
        self._name = b""
        self._data: bytearray | None = None  # data of an unfinished event, with a line feed after each line
        self._size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that `chunk` completes. Raises `UpstreamError` if an event is too long."""
        if not chunk:
            return
        if self._after_cr:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        for piece in chunk.splitlines(keepends=True):
            self._size += len(piece)
            if self._size > self._limit:
                message = f"an event of the stream is longer than limits.body, which is {format_size(self._limit)}"
                raise UpstreamError("upstream_protocol", message)
            if piece.endswith((b"\n", b"\r")):
                line = piece.rstrip(b"\r\n")
                if self._line:
                    self._line += line
                    line = bytes(self._line)
                    self._line.clear()
                event = self._read_line(line)
                if event is not None:
                    yield event
            else:
                self._line += piece
        self._after_cr = chunk.endswith(b"\r")

    def finish(self) -> Iterator[Event]:
        """The event that the end of the stream completes, where a blank line would have."""
        if self._line:
            line = bytes(self._line)
            self._line.clear()
            self._read_line(line)
        event = self._read_line(b"")
        if event is not None:
            yield event

    def _read_line(self, line: bytes) -> Event | None:
        """Read a line. Returns the event that it completes."""
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            event = None
            if self._data is not None and not self._data.isspace():
                event = Event(self._name, bytes(self._data[:-1]))
            self._name, self._data, self._size = b"", None, 0
            return event
        if line.startswith(b":"):
            self.commented = True
            # Servers send comments for hours to keep a stream open. Outside of an event they do not count.
            if self._data is None and not self._name:
                self._size = 0
            return None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            if self._data is None:
                self._data = bytearray()
            self._data += value
            self._data += b"\n"
        elif name == b"event":
            self._name = value
        return None
