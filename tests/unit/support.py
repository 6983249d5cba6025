"""What tests of several packages use, beside the fixtures of `conftest.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], pause: float = 0.0) -> None:
    """Wait for what nothing announces, and look every `pause` seconds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(pause)
