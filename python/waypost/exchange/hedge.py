"""A second attempt beside one that is slow."""

from __future__ import annotations

from typing import Protocol

from waypost._native import Endpoint, Plan, ResponseHead
from waypost.exchange.attempt import Attempt
from waypost.exchange.runtime import Runtime
from waypost.loop.wheel import Timed

__all__ = ["Hedge", "HedgeOwner"]


class HedgeOwner(Protocol):
    """Has a first attempt under way: an exchange."""

    runtime: Runtime
    plan: Plan
    attempt: Attempt | None

    @property
    def unanswered(self) -> bool: ...
    def attempt_at(self, endpoint: Endpoint) -> Attempt: ...
    def start(self, attempt: Attempt) -> None: ...
    def take_over(self, second: Attempt) -> None: ...


class Hedge(Timed):
    """Begins the second attempt of an exchange in time. Of both, the one whose response begins first goes on."""

    __slots__ = ("_exchange", "attempt")

    def __init__(self, exchange: HedgeOwner) -> None:
        super().__init__()
        self._exchange = exchange
        self.attempt: Attempt | None = None
        """The second attempt, while neither has a response."""

    def arm(self) -> None:
        """The exchange has begun an attempt: another one may follow after a while."""
        seconds = self._exchange.plan.hedge_after()
        runtime = self._exchange.runtime
        if seconds is None:
            runtime.wheel.cancel(self)
        else:
            runtime.wheel.schedule(self, runtime.loop.time() + seconds)

    def expired(self, now: float) -> None:  # noqa: ARG002 - part of Timed
        exchange = self._exchange
        if self.attempt is None and exchange.unanswered:
            endpoint = exchange.plan.hedge()
            if endpoint is not None:
                attempt = self.attempt = exchange.attempt_at(endpoint)
                exchange.start(attempt)

    def settle(self, attempt: Attempt, head: ResponseHead) -> bool:
        """The response of one of two attempts begins: whether that one goes on."""
        exchange = self._exchange
        if head.retryable:
            exchange.plan.retryable_response(attempt.number, head, True)
            self.drop(attempt)
            return False
        other = self.attempt if attempt is exchange.attempt else exchange.attempt
        if other is not None:
            self.drop(other)
        return True

    def drop(self, attempt: Attempt) -> None:
        """Of two attempts, the other one goes on."""
        exchange = self._exchange
        second, self.attempt = self.attempt, None
        if second is not None and attempt is exchange.attempt:
            exchange.take_over(second)
        attempt.close()

    def close(self) -> None:
        """The exchange is over."""
        wheel = self._exchange.runtime.wheel
        wheel.cancel(self)
        second, self.attempt = self.attempt, None
        if second is not None:
            wheel.cancel(second)
            second.close()
