"""Servers on an event loop in a thread of their own, for clients that block."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


@contextmanager
def in_a_thread(serving: AbstractAsyncContextManager[_T]) -> Iterator[_T]:
    """Enter `serving` there, and leave it at the end; gives what it gives."""
    ready: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with serving as given:
            ready.put((asyncio.get_running_loop(), stop, given))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    loop, stop, given = ready.get(timeout=60)
    yield given
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    assert not thread.is_alive()
