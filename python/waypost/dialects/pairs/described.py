"""What describes the endpoint's bytes."""

from __future__ import annotations

from typing import Final

__all__ = ["DESCRIBES_BODY"]

DESCRIBES_BODY: Final = frozenset(
    {
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-digest",
        b"repr-digest",
        b"digest",
        b"content-md5",
        b"etag",
        b"accept-ranges",
        b"trailer",
    },
)
"""Header fields that describe the endpoint's bytes, and are wrong for a translated body."""
