"""A second attempt, made while the first one is slow."""

from __future__ import annotations

from typing import Protocol

from waypost._native import Endpoint, Plan, ResponseHead
from waypost.exchange.attempt import Attempt
from waypost.exchange.runtime import Runtime
from waypost.loop.wheel import Timed

__all__ = ["Hedge", "HedgeOwner"]


class HedgeOwner(Protocol):
    """The exchange whose first attempt is under way."""

    runtime: Runtime
    plan: Plan
    attempt: Attempt | None

    @property
    def unanswered(self) -> bool: ...
    def new_attempt(self, endpoint: Endpoint) -> Attempt: ...
    def start_attempt(self, attempt: Attempt) -> None: ...
    def continue_with(self, second: Attempt) -> None: ...


class Hedge(Timed):
    """Begins an exchange's second attempt. The attempt whose response begins first goes on; the other is closed."""

    __slots__ = ("_exchange", "attempt")

    def __init__(self, exchange: HedgeOwner) -> None:
        super().__init__()
        self._exchange = exchange
        self.attempt: Attempt | None = None
        """The second attempt, as long as neither attempt has a response."""

    def arm(self) -> None:
        """The exchange has begun an attempt: schedule the second one, if the plan allows it."""
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
                attempt = self.attempt = exchange.new_attempt(endpoint)
                exchange.start_attempt(attempt)

    def settle(self, attempt: Attempt, head: ResponseHead) -> bool:
        """The response of `attempt` begins. Returns whether that attempt goes on."""
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
        """Close `attempt`. The other attempt goes on."""
        exchange = self._exchange
        second, self.attempt = self.attempt, None
        if second is not None and attempt is exchange.attempt:
            exchange.continue_with(second)
        attempt.close()

    def close(self) -> None:
        """The exchange is over."""
        wheel = self._exchange.runtime.wheel
        wheel.cancel(self)
        second, self.attempt = self.attempt, None
        if second is not None:
            wheel.cancel(second)
            second.close()
