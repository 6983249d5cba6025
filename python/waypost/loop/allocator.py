"""Gives memory back to the system after a burst, where the C library is glibc. Elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

__all__ = ["Trimmer", "set_thresholds"]

_THRESHOLD: Final = 1024 * 1024
"""Bytes from which a block is a mapping of its own, which goes back to the system as soon as it is free, and bytes that
may be free at the end of the heap. glibc would raise the first one with each large block that is freed."""
_TRIM_AFTER: Final = 8 * 1024 * 1024
"""Bytes within the heap that have become free since it was last trimmed, from which it is trimmed again."""
_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
"""Parameters of mallopt(3)."""


class _Mallinfo2(ctypes.Structure):
    """mallinfo2(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _library() -> Any:
    library = ctypes.CDLL(None)
    return library if all(hasattr(library, name) for name in ("mallopt", "malloc_trim", "mallinfo2")) else None


def set_thresholds() -> None:
    """Set the thresholds of the allocator, unless the environment sets them (`MALLOC_MMAP_THRESHOLD_`, …)."""
    library = _library()
    if library is None:
        return
    for parameter, variable in (
        (_MMAP_THRESHOLD, "MALLOC_MMAP_THRESHOLD_"),
        (_TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_"),
    ):
        if variable not in os.environ:
            library.mallopt(parameter, _THRESHOLD)


class Trimmer:
    """Trims the heap once much of it has become free."""

    __slots__ = ("_free", "_library")

    def __init__(self) -> None:
        self._library = _library()
        if self._library is not None:
            self._library.mallinfo2.restype = _Mallinfo2
        self._free = self._free_bytes()

    def check(self) -> bool:
        """Trim the heap if that is worth it. Returns whether it was trimmed."""
        if self._library is None:
            return False
        free = self._free_bytes()
        trim = free - self._free >= _TRIM_AFTER
        if trim:
            self._library.malloc_trim(0)
        self._free = free if trim else min(free, self._free)
        return trim

    def _free_bytes(self) -> int:
        """Bytes of the heap that are free, whether the system has them or not."""
        return 0 if self._library is None else int(self._library.mallinfo2().fordblks)
