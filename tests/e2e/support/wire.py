"""One end of a connection, byte for byte, and the little HTTP/1.1 (RFC 9112) that both ends read."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final, Self

TIMEOUT: Final = 30.0
"""Seconds that any one wait may take. Nothing here waits for time to pass: this is how long until a test gives up."""


class Truncated(AssertionError):  # noqa: N818 - what a test expects, mostly
    """The other side closed in the middle of something."""


class Fields(list[tuple[str, str]]):
    """Header fields in wire order, names in lower case."""

    def get(self, name: str) -> str | None:
        """The value of a field that is there at most once."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for field, value in self if field == name]

    def __contains__(self, name: object) -> bool:
        return any(field == name for field, _ in self)


class Wire:
    """A connected socket. Every wait ends after `TIMEOUT` with an error."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT)
        self.sock = sock
        self._buffer = bytearray()
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """Everything up to `mark`, which is read too but not returned."""
        while (at := self._buffer.find(mark)) < 0:
            self._fill()
        out = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return out

    def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        out = bytes(self._buffer[:count])
        del self._buffer[:count]
        return out

    def upto(self, count: int) -> bytes:
        """The next bytes, at least one and at most `count`."""
        if not self._buffer:
            self._fill()
        return self.exactly(min(count, len(self._buffer)))

    def some(self) -> bytes:
        """What has come, or else what comes next; empty at the end."""
        if not self._buffer:
            try:
                self._fill()
            except Truncated:
                return b""
        out = bytes(self._buffer)
        self._buffer.clear()
        return out

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        out = bytearray()
        while data := self.some():
            out += data
        return bytes(out)

    def closed(self) -> bool:
        """Wait for the other side to close. False: it sent something instead."""
        return self.some() == b""

    def silent(self) -> bool:
        """Nothing has arrived that was not read, and the other side has not closed."""
        return not self._buffer and not self._ended and not select.select([self.sock], [], [], 0)[0]

    def finish(self) -> None:
        """Send no more, but go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def head(self) -> tuple[str, Fields]:
        """First line and fields of a message."""
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = Fields()
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, f"no header field: {line!r}"
            assert name == name.strip(), f"no header field: {line!r}"
            fields.append((name.lower(), value.strip(" \t")))
        return first, fields

    def _fill(self) -> None:
        if self._ended:
            raise Truncated(f"the other side closed; unread: {bytes(self._buffer[:200])!r}")
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionError:
            data = b""
        self._buffer += data
        if not data:
            self._ended = True
            self._fill()


class Body:
    """A message's body, read piece by piece as a test wants it."""

    def __init__(self, wire: Wire, fields: Fields, *, absent: bool, until_close: bool) -> None:
        self.trailers = Fields()
        self._wire = wire
        self._ready = bytearray()
        length = fields.get("content-length")
        coding = fields.get("transfer-encoding")
        assert length is None or coding is None, "both content-length and transfer-encoding"
        self._pieces: Iterator[bytes]
        if absent:
            self._pieces = iter(())
        elif coding is not None:
            assert coding == "chunked", coding
            self._pieces = self._chunks()
        elif length is not None:
            self._pieces = self._counted(int(length))
        elif until_close:
            self._pieces = iter(wire.some, b"")
        else:
            self._pieces = iter(())

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Fails where the body ends before."""
        while len(self._ready) < count:
            piece = next(self._pieces, None)
            assert piece is not None, f"the body ended after {bytes(self._ready)!r}"
            self._ready += piece
        out = bytes(self._ready[:count])
        del self._ready[:count]
        return out

    def rest(self) -> bytes:
        """All that is left. Raises `Truncated` where it is cut short."""
        out = self._ready
        for piece in self._pieces:
            out += piece
        self._ready = bytearray()
        return bytes(out)

    def _counted(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._wire.upto(left)
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._wire.until(b"\r\n"), 16):
            yield self._wire.exactly(size)
            assert self._wire.exactly(2) == b"\r\n"
        while line := self._wire.until(b"\r\n").decode("latin-1"):
            name, _, value = line.partition(":")
            self.trailers.append((name.lower(), value.strip()))


def head(first: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """A message's head, as given."""
    lines = [first, *(f"{name}: {value}" for name, value in fields)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """`data` as one chunk; empty data is the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Message:
    """A request or a response. `body` reads all of it, unless the head alone was asked for: then `stream` gives it."""

    def __init__(self, fields: Fields, stream: Body) -> None:
        self.fields = fields
        self.stream = stream
        """The body, where it is to be read in pieces."""
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = self.stream.rest()
        return self._body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def get(self, name: str) -> str | None:
        return self.fields.get(name)
