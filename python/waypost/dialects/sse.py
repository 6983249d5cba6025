"""Server-sent events, read as they come (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from waypost.errors import UpstreamError

__all__ = ["SseReader"]


class SseReader:
    """Gives the data of each event. Any split of the stream gives the same events.

    Fields other than `data` (and comments) are skipped. One event may hold `limit` bytes, unfinished lines included.
    """

    __slots__ = ("_after_cr", "_data", "_first", "_limit", "_line", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line: list[bytes] = []  # pieces of a line that has not ended
        self._data: list[bytes] = []  # data lines of the event under way
        self._size = 0
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes. Raises `UpstreamError` where an event is too long."""
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
                raise UpstreamError("upstream_protocol", f"one event of the stream is longer than {self._limit} bytes")
            if piece.endswith((b"\n", b"\r")):
                line = piece.rstrip(b"\r\n")
                if self._line:
                    self._line.append(line)
                    line = b"".join(self._line)
                    self._line = []
                self._take(line, events)
            else:
                self._line.append(piece)
        self._after_cr = chunk.endswith(b"\r")
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            self._size = 0
            if self._data:
                events.append(b"\n".join(self._data))
                self._data = []
            return
        if line.startswith(b":"):
            # A comment: servers send them for hours to keep a stream open, within no event at all.
            if not self._data:
                self._size = 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
