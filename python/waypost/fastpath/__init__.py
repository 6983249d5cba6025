"""The fast path: plain messages go from transport to transport, beside the ASGI application and not through it."""

from waypost.fastpath.protocol import Protocol
from waypost.fastpath.served import fast_path

__all__ = ["Protocol", "fast_path"]
