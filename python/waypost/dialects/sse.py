"""An incremental reader of server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from waypost.errors import UpstreamError

__all__ = ["SseReader"]


class SseReader:
    """Reads the data of each event, independent of how the stream is split into chunks.

    Comments and all fields except `data` are skipped. An event may have at most `limit` bytes, unfinished lines
    included.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_limit", "_line", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line: list[bytes] = []  # pieces of an unfinished line
        self._data: list[bytes] = []  # data lines of an unfinished event
        self._size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes. Raises `UpstreamError` if an event is too long."""
        if not chunk:
            return []
        if self._after_cr:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        events: list[bytes] = []
        for piece in chunk.splitlines(keepends=True):
            self._size += len(piece)
            if self._size > self._limit:
                raise UpstreamError("upstream_protocol", f"an event of the stream is longer than {self._limit} bytes")
            if piece.endswith((b"\n", b"\r")):
                line = piece.rstrip(b"\r\n")
                if self._line:
                    self._line.append(line)
                    line = b"".join(self._line)
                    self._line = []
                self._read_line(line, events)
            else:
                self._line.append(piece)
        self._after_cr = chunk.endswith(b"\r")
        return events

    def _read_line(self, line: bytes, events: list[bytes]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            self._size = 0
            if self._data:
                events.append(b"\n".join(self._data))
                self._data = []
            return
        if line.startswith(b":"):
            # Servers send comments for hours to keep a stream open. Outside of an event they do not count.
            if not self._data:
                self._size = 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
