"""The keys of a cluster's policy, which rules how its endpoints are used.

The core owns these keys (`rust/core/src/cluster/policy/`): descriptions, defaults and bounds are there. This module has
their shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field, structs

from waypost._native import policy_keys
from waypost.config.pattern import UNKNOWN
from waypost.config.positions import Reported
from waypost.config.values import Count, Duration, Factor, Percentage, Percentile, Text

__all__ = [
    "POLICY_KEYS",
    "Adaptive",
    "AdaptiveConcurrency",
    "Breaker",
    "Check",
    "HashBalance",
    "Health",
    "Hedge",
    "Queue",
    "Rate",
    "Retry",
    "Timeout",
    "native_policy",
]


_KEYS: Final = policy_keys()


def _about(path: str) -> Meta:
    section, _, key = path.rpartition(".")
    return Meta(description=_KEYS[section][key][0])


def _default(path: str) -> Any:
    section, _, key = path.rpartition(".")
    return _KEYS[section][key][1]


class Timeout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for an endpoint."""

    connect: Annotated[Duration, _about("timeout.connect")] = _default("timeout.connect")
    first_byte: Annotated[Duration, _about("timeout.first_byte")] = _default("timeout.first_byte")
    idle: Annotated[Duration, _about("timeout.idle")] = _default("timeout.idle")
    total: Annotated[Duration, _about("timeout.total")] = _default("timeout.total")
    stream_idle: Annotated[Duration, _about("timeout.stream_idle")] = _default("timeout.stream_idle")
    stream_comment: Annotated[Duration, _about("timeout.stream_comment")] = _default("timeout.stream_comment")
    stream_total: Annotated[Duration | None, _about("timeout.stream_total")] = None
    connection_age: Annotated[Duration, _about("timeout.connection_age")] = _default("timeout.connection_age")
    connection_idle: Annotated[Duration, _about("timeout.connection_idle")] = _default("timeout.connection_idle")


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a failed attempt is repeated within the cluster."""

    attempts: Annotated[Count, _about("retry.attempts")] = _default("retry.attempts")
    statuses: Annotated[list[Annotated[int, Meta(ge=100, le=599)]], _about("retry.statuses")] = field(
        default_factory=lambda: list(_default("retry.statuses"))
    )
    after_timeout: Annotated[bool, _about("retry.after_timeout")] = _default("retry.after_timeout")
    budget: Annotated[Percentage, _about("retry.budget")] = _default("retry.budget")
    budget_minimum: Annotated[Count, _about("retry.budget_minimum")] = _default("retry.budget_minimum")
    window: Annotated[Duration, _about("retry.window")] = _default("retry.window")
    backoff: Annotated[Duration, _about("retry.backoff")] = _default("retry.backoff")
    backoff_max: Annotated[Duration, _about("retry.backoff_max")] = _default("retry.backoff_max")


class HashBalance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages with the same value of one field go to the same endpoint."""

    hash: Annotated[
        Text,
        Meta(
            description=(
                "Field that patterns see, with dots between its names: tenant, labels.session, "
                "headers.x-session, body.user.id. Messages without it are balanced by least load."
            )
        ),
    ]


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An active health check: a request to each endpoint at intervals."""

    path: Annotated[Text, _about("health.check.path")] = _default("health.check.path")
    interval: Annotated[Duration, _about("health.check.interval")] = _default("health.check.interval")
    timeout: Annotated[Duration, _about("health.check.timeout")] = _default("health.check.timeout")
    healthy: Annotated[Count, _about("health.check.healthy")] = _default("health.check.healthy")
    unhealthy: Annotated[Count, _about("health.check.unhealthy")] = _default("health.check.unhealthy")
    jitter: Annotated[Percentage, _about("health.check.jitter")] = _default("health.check.jitter")


class Health(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which endpoints are fit to receive messages."""

    check: Annotated[Annotated[Check, Meta(extra={"shorthand": "path"})] | None, _about("health.check")] = None
    panic: Annotated[Percentage, _about("health.panic")] = _default("health.panic")
    slow_start: Annotated[Duration, _about("health.slow_start")] = _default("health.slow_start")
    aggression: Annotated[Factor, _about("health.aggression")] = _default("health.aggression")
    rest_max: Annotated[Duration, _about("health.rest_max")] = _default("health.rest_max")


class Breaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an endpoint is left alone because attempts at it fail."""

    consecutive: Annotated[Count, _about("breaker.consecutive")] = _default("breaker.consecutive")
    failures: Annotated[Percentage, _about("breaker.failures")] = _default("breaker.failures")
    minimum: Annotated[Count, _about("breaker.minimum")] = _default("breaker.minimum")
    window: Annotated[Duration, _about("breaker.window")] = _default("breaker.window")
    open: Annotated[Duration, _about("breaker.open")] = _default("breaker.open")
    open_max: Annotated[Duration, _about("breaker.open_max")] = _default("breaker.open_max")
    jitter: Annotated[Percentage, _about("breaker.jitter")] = _default("breaker.jitter")
    trials: Annotated[Count, _about("breaker.trials")] = _default("breaker.trials")


class Adaptive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that follows latency."""

    min: Annotated[Count, _about("concurrency.adaptive.min")] = _default("concurrency.adaptive.min")
    max: Annotated[Count, _about("concurrency.adaptive.max")] = _default("concurrency.adaptive.max")
    initial: Annotated[Count | None, _about("concurrency.adaptive.initial")] = None
    tolerance: Annotated[Factor, _about("concurrency.adaptive.tolerance")] = _default("concurrency.adaptive.tolerance")
    window: Annotated[Duration, _about("concurrency.adaptive.window")] = _default("concurrency.adaptive.window")
    remeasure: Annotated[Duration, _about("concurrency.adaptive.remeasure")] = _default(
        "concurrency.adaptive.remeasure"
    )


class AdaptiveConcurrency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of as many messages as the endpoints answer without delaying each other."""

    adaptive: Annotated[Adaptive, Meta(description="How the limit is found.")]


class Queue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages that wait while `concurrency` is reached."""

    length: Annotated[Count, _about("queue.length")] = _default("queue.length")
    wait: Annotated[Duration, _about("queue.wait")] = _default("queue.wait")
    aging: Annotated[Count, _about("queue.aging")] = _default("queue.aging")


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit on messages over time."""

    per: Annotated[Literal["cluster", "tenant", "agent", "key"], _about("rate.per")]
    messages: Annotated[Count, _about("rate.messages")]
    every: Annotated[Duration, _about("rate.every")]
    burst: Annotated[Count | None, _about("rate.burst")] = None
    keys: Annotated[Count, _about("rate.keys")] = _default("rate.keys")


class Hedge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second attempt at another endpoint while the first has no answer."""

    after: Annotated[Percentile, _about("hedge.after")] = _default("hedge.after")
    minimum: Annotated[Duration, _about("hedge.minimum")] = _default("hedge.minimum")
    samples: Annotated[Count, _about("hedge.samples")] = _default("hedge.samples")


POLICY_KEYS: Final = ("timeout", "retry", "balance", "health", "breaker", "concurrency", "queue", "rate", "hedge")
"""The keys of a cluster that make up its policy."""


def native_policy(cluster: Struct) -> dict[str, Any]:
    """A cluster's policy as plain values for the core, with `...` for each part that is unknown."""
    return {key: _plain(getattr(cluster, key)) for key in POLICY_KEYS}


def _plain(value: Any) -> Any:
    if isinstance(value, Reported):
        return UNKNOWN if value.known is None else _plain(value.known)
    if isinstance(value, Struct):
        return {key: _plain(item) for key, item in structs.asdict(value).items()}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
