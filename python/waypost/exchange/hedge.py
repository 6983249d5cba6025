"""When an exchange begins a second attempt beside the one that is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from waypost.exchange.wheel import Timed

if TYPE_CHECKING:
    from waypost.exchange.exchange import Exchange

__all__ = ["Hedge"]


class Hedge(Timed):
    """Lets its exchange make the second attempt when the first one has taken too long."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    @classmethod
    def after(cls, exchange: Exchange, old: Self | None) -> Self | None:
        """One for the attempt that has just begun, where it should have any; `old` was for the attempt before."""
        seconds = exchange.plan.hedge_after()
        runtime = exchange.runtime
        if seconds is None:
            if old is not None:
                runtime.wheel.cancel(old)
            return None
        hedge = cls(exchange) if old is None else old
        runtime.wheel.schedule(hedge, runtime.loop.time() + seconds)
        return hedge

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Timed
        self._exchange.try_second()
