"""A limit on the time in which a client sends nothing of its request body."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from waypost.errors import WaypostError
from waypost.loop.wheel import Timed, Wheel

__all__ = ["Stall"]


class Stall(Timed):
    """A context in which a client that sends nothing for `seconds` causes a `bad_framing` error.

    It ends the wait as `asyncio.timeout` does, by cancelling the task, but its timer is on the wheel.
    """

    __slots__ = ("_cancelling", "_expired", "_seconds", "_task", "_wheel")

    def __init__(self, wheel: Wheel, seconds: float) -> None:
        super().__init__()
        self._wheel = wheel
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Stall must be entered in a task")
        self._task = task
        self._cancelling = task.cancelling()
        self.restart()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None) -> None:
        self.hold()
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            message = f"the request body stopped arriving: nothing came for {self._seconds:g} s"
            raise WaypostError("bad_framing", message) from exc

    def restart(self) -> None:
        """Start the time again, because data came."""
        self._wheel.schedule_in(self, self._seconds)

    def hold(self) -> None:
        """Stop the time until `restart`, because the client is not to blame for the wait."""
        self._wheel.cancel(self)

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Timed
        self._expired = True
        self._task.cancel()
