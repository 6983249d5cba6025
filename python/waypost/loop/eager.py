"""Starts an awaitable at once, so that the caller sets a timer only if there is something to wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from types import CoroutineType
from typing import Any, Generic, TypeVar

__all__ = ["EagerAwait"]

_T = TypeVar("_T")


class EagerAwait(Generic[_T]):
    """Runs `awaitable` until it first has to wait. `await` then continues it, or returns its result."""

    __slots__ = ("_coroutine", "_yielded", "done", "result")

    def __init__(self, awaitable: Awaitable[_T]) -> None:
        """Raises what `awaitable` raises."""
        self.done = False
        self.result: _T
        # The iterator of an awaitable needs no `send` and no `throw` (PEP 492). A coroutine has both.
        self._coroutine: Coroutine[Any, Any, _T]
        self._coroutine = awaitable if isinstance(awaitable, CoroutineType) else _awaited(awaitable)
        self._yielded: Any = None
        try:
            self._yielded = self._coroutine.send(None)
        except StopIteration as stop:
            self.done = True
            self.result = stop.value

    def __await__(self) -> Generator[Any, Any, _T]:
        # The loop of `yield from` (PEP 380), entered after its first `yield`.
        while not self.done:
            try:
                try:
                    sent = yield self._yielded
                except BaseException as exc:  # noqa: BLE001 - passed on
                    self._yielded = self._coroutine.throw(exc)
                else:
                    self._yielded = self._coroutine.send(sent)
            except StopIteration as stop:
                self.done = True
                self.result = stop.value
        return self.result


async def _awaited(awaitable: Awaitable[_T]) -> _T:
    return await awaitable
