"""Replaces zttp's state of a connection by a new one, unnoticed by the client.

zttp ends a connection, and every call on it, after 4,096 requests or 256 streams that the client has reset, counted
over the connection's life. GOAWAY before that would not do: several clients fail calls that wait for a stream.

The state of a connection without a stream is small, and all of it is known:

- Header compression has none. `greeting` tells the client to keep no table, and zttp keeps none for what it sends.
- The client's settings, as its SETTINGS frames gave them.
- The number of the last stream. Frames for earlier streams may still come, and are ignored.
- The two windows of the connection. The window for what is sent is `send_window`. Of the window for what is received,
  zttp gives back the consumed part only when it is worth a frame; `renewed` gives back all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import zttp

__all__ = ["DATA", "HEADERS", "RST_STREAM", "FrameCursor", "frame", "greeting", "renewed", "window_update"]

DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
_SETTINGS: Final = 4
_WINDOW_UPDATE: Final = 8
"""Types of frames (RFC 9113, section 6)."""
_END_STREAM: Final = 1
_ACK: Final = 1
_END_HEADERS: Final = 4
_HEADER_TABLE_SIZE: Final = 1
_ENABLE_CONNECT_PROTOCOL: Final = 8
"""Settings (RFC 9113, section 6.5.2; RFC 8441, section 3)."""
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_GET: Final = b"\x82\x86\x84\x41\x01h"
"""The fields of `GET http://h/`, by static indexes and a literal (RFC 7541)."""
_WINDOW: Final = 65_535
"""The window that a connection begins with (RFC 9113, section 6.9.2)."""
_LARGEST: Final = 2**31 - 1
"""The largest window."""
_PIECE: Final = 4096
"""Length of a DATA frame with which zttp is made to tell how much it has not given back, in bytes."""


class FrameCursor:
    """Follows the frames in the bytes that a client sends (RFC 9113, section 4.1)."""

    __slots__ = ("_preface", "partial_head", "remaining")

    def __init__(self) -> None:
        self.remaining = 0
        """Bytes of the current frame that have not come."""
        self.partial_head = b""
        """Of the nine bytes that a frame begins with, those that have come, if not all have."""
        self._preface = len(_PREFACE)  # bytes of the preface that have not come

    @property
    def between(self) -> bool:
        """Whether the last frame is complete."""
        return not (self.remaining or self.partial_head or self._preface)

    def next(self, data: bytes, at: int) -> tuple[int, int, int, bool]:
        """The next piece of `data`: its end, the type and the stream of the frame that begins there, and whether it
        begins at `at` with all of its head.

        The type is -1 if no frame begins there, or not all of the frame's head has come.
        """
        if self._preface or self.remaining:
            waiting = self._preface or self.remaining
            size = min(waiting, len(data) - at)
            if self._preface:
                self._preface -= size
            else:
                self.remaining -= size
            return at + size, -1, 0, False
        missing = 9 - len(self.partial_head)
        head = self.partial_head + data[at : at + missing]
        if len(head) < 9:
            self.partial_head = head
            return len(data), -1, 0, False
        self.partial_head = b""
        length = int.from_bytes(head[:3])
        at += missing
        end = min(at + length, len(data))
        self.remaining = length - (end - at)
        return end, head[3], int.from_bytes(head[5:9]) & _LARGEST, missing == 9


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def window_update(increment: int, stream: int = 0) -> bytes:
    return frame(_WINDOW_UPDATE, 0, stream, increment.to_bytes(4))


def greeting(data: bytes) -> bytes:
    """zttp's first bytes, which are a SETTINGS frame: without header compression by tables, and without the offer of
    WebSocket, which nothing answers."""
    length = int.from_bytes(data[:3])
    settings = {data[at : at + 2]: data[at + 2 : at + 6] for at in range(9, 9 + length, 6)}
    settings[_HEADER_TABLE_SIZE.to_bytes(2)] = bytes(4)
    settings.pop(_ENABLE_CONNECT_PROTOCOL.to_bytes(2), None)
    return frame(_SETTINGS, 0, 0, b"".join(name + value for name, value in settings.items())) + data[9 + length :]


def renewed(old: zttp.H2Connection, settings: Mapping[int, int], last: int) -> tuple[zttp.H2Connection, bytes]:
    """A new state for the connection of `old`, which has no stream, and bytes for the client.

    `settings` are the client's, `last` is the number of its last stream.
    """
    new: zttp.H2Connection = zttp.Connection(zttp.SERVER, protocol=zttp.HTTP2)
    new.initiate_connection()
    stream = max(last, 1)
    told = b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in settings.items())
    new.receive_data(
        _PREFACE
        + frame(_SETTINGS, 0, 0, told)
        + frame(_SETTINGS, _ACK, 0)
        + frame(HEADERS, _END_STREAM | _END_HEADERS, stream, _GET)
    )
    _discard_events(new)
    _end_last_stream(new, stream, old.send_window)
    new.data_to_send()
    return new, _give_back(old, last)


def _end_last_stream(new: zttp.H2Connection, stream: int, window: int) -> None:
    """End the stream that stands for the last one, and make the window for what is sent the same as it was."""
    response = new.stream(stream)
    response.send_response(200, [])
    used = _WINDOW - window
    if used > 0:
        room = response.send_window or 0
        if room < used:
            new.receive_data(window_update(used - room, stream))
        _discard_events(new)
        response.send_data(bytes(used))
    response.end_message()
    if used < 0:
        new.receive_data(window_update(-used))
        _discard_events(new)


def _give_back(old: zttp.H2Connection, last: int) -> bytes:
    """A frame that gives back all that was received and not given back, or no bytes.

    zttp does not tell how much that is. It is fed DATA until it gives back all of it.
    """
    stream = max(last, -1) + 2
    old.data_to_send()
    old.receive_data(frame(HEADERS, _END_HEADERS, stream, _GET))
    fed = 0
    while fed < _WINDOW // 2 + _PIECE:
        fed += _PIECE
        old.receive_data(frame(DATA, 0, stream, bytes(_PIECE)))
        _discard_events(old)
        out = old.data_to_send()
        while out:
            length = int.from_bytes(out[:3])
            if out[3] == _WINDOW_UPDATE and not any(out[5:9]):
                increment = int.from_bytes(out[9:13]) - fed
                return window_update(increment) if increment > 0 else b""
            out = out[9 + length :]
    return b""


def _discard_events(connection: zttp.H2Connection) -> None:
    while connection.next_event() is not zttp.NEED_DATA:
        pass
