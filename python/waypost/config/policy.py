"""The keys of a cluster's policy, which rules how its endpoints are used.

The core (`rust/core/src/cluster/policy/`) owns these keys and checks their values; this module defines their shape.
Each default appears in both places, because editors show it; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field, structs

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


class Timeout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for an endpoint."""

    connect: Annotated[Duration, Meta(description="Until a connection is established, TLS included.")] = 2.0
    first_byte: Annotated[Duration, Meta(description="From the request until the response begins.")] = 120.0
    idle: Annotated[Duration, Meta(description="Between two pieces of a response.")] = 60.0
    total: Annotated[
        Duration,
        Meta(
            description=(
                "From the first attempt until the response ends, attempts in a `fallback` included. The value "
                "of the cluster in use counts. A stream (`text/event-stream`) that has begun has `stream_total`."
            )
        ),
    ] = 600.0
    stream_idle: Annotated[
        Duration, Meta(description="Between two pieces of a stream (a `text/event-stream` response).")
    ] = 300.0
    stream_total: Annotated[
        Duration | None,
        Meta(description="From the first attempt until a stream ends. Without it, a stream has no such bound."),
    ] = None


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a failed attempt is repeated within the cluster."""

    attempts: Annotated[
        Count, Meta(description="Attempts of one message in the cluster, the first included; 1 to 16.")
    ] = 3
    statuses: Annotated[
        list[Annotated[int, Meta(ge=100, le=599)]],
        Meta(description="Response statuses, from 400 to 599, after which another attempt may be made."),
    ] = field(default_factory=lambda: [429, 502, 503, 504])
    budget: Annotated[
        Percentage, Meta(description="Most retries, as a percentage of the messages within `window`; up to 1000%.")
    ] = 20
    budget_minimum: Annotated[
        Count, Meta(description="Retries per second that are allowed in addition to `budget`.")
    ] = 10
    window: Annotated[Duration, Meta(description="Period over which the budget is computed; at least 1s.")] = 10.0
    backoff: Annotated[
        Duration,
        Meta(description="Upper bound of the random pause before the first retry. Each further retry doubles it."),
    ] = 0.025
    backoff_max: Annotated[Duration, Meta(description="Upper bound of that doubling.")] = 1.0


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

    path: Annotated[
        Text, Meta(description="Path to GET, from the root of the endpoint's host. Statuses 200 to 299 are good.")
    ] = "/health"
    interval: Annotated[Duration, Meta(description="From one answer to the next check; at least 100ms.")] = 5.0
    timeout: Annotated[Duration, Meta(description="How long a check may take, its connection included.")] = 2.0
    healthy: Annotated[
        Count, Meta(description="Good answers in a row after which an endpoint is fit again; 1 to 100.")
    ] = 2
    unhealthy: Annotated[
        Count, Meta(description="Bad answers in a row after which an endpoint is not fit; 1 to 100.")
    ] = 3
    jitter: Annotated[
        Percentage,
        Meta(
            description=("Longest random extension of `interval`, which keeps proxies from checking at the same time.")
        ),
    ] = 20


class Health(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which endpoints are fit to receive messages."""

    check: Annotated[
        Annotated[Check, Meta(extra={"shorthand": "path"})] | None,
        Meta(
            description=(
                "Active check of each endpoint: a path, or a mapping. Default: only the results of messages count."
            )
        ),
    ] = None
    panic: Annotated[
        Percentage,
        Meta(
            description=(
                "Share of fit endpoints below which all endpoints are used. All are used, too, once every fit "
                "endpoint has failed a message that can go nowhere else. With 0%, never."
            )
        ),
    ] = 50
    slow_start: Annotated[
        Duration,
        Meta(
            description=(
                "How long a new endpoint, or one that is fit again, takes to grow to its whole share; 0s "
                "gives it all at once."
            )
        ),
    ] = 10.0
    aggression: Annotated[
        Factor,
        Meta(description="Shape of that growth. 1: even; more: fast, then slow; less: slow, then fast; 0.1 to 10."),
    ] = 1.0
    rest_max: Annotated[Duration, Meta(description="Longest time for which a Retry-After keeps an endpoint out.")] = (
        30.0
    )


class Breaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an endpoint is left alone because attempts at it fail."""

    consecutive: Annotated[Count, Meta(description="Failures in a row that open the breaker; with 0, they do not.")] = 5
    failures: Annotated[
        Percentage, Meta(description="Share of failures within `window` that opens the breaker; with 0%, it does not.")
    ] = 50
    minimum: Annotated[Count, Meta(description="Attempts within `window` before that share counts.")] = 20
    window: Annotated[Duration, Meta(description="Period over which the share is computed; at least 100ms.")] = 10.0
    open: Annotated[
        Duration, Meta(description="How long the breaker stays open; twice as long each time that it opens again soon.")
    ] = 5.0
    open_max: Annotated[Duration, Meta(description="Upper bound of that doubling.")] = 60.0
    jitter: Annotated[Percentage, Meta(description="Longest random extension of an open time.")] = 20
    trials: Annotated[
        Count,
        Meta(
            description="Attempts that pass after the open time. All have to succeed to close the breaker; 1 to 1000."
        ),
    ] = 3


class Adaptive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that follows latency."""

    min: Annotated[Count, Meta(description="Lower bound of the limit.")] = 4
    max: Annotated[Count, Meta(description="Upper bound of the limit.")] = 1000
    initial: Annotated[
        Count | None, Meta(description="Limit at the start. Default: 20, or the nearest value from `min` to `max`.")
    ] = None
    tolerance: Annotated[
        Factor,
        Meta(description="Multiple of the unloaded latency above which the limit falls; 1 to 10."),
    ] = 1.5
    window: Annotated[Duration, Meta(description="Period over which latency is averaged; at least 10ms.")] = 1.0
    remeasure: Annotated[
        Duration,
        Meta(description="How often the limit is lowered for one window to measure the unloaded latency; at least 1s."),
    ] = 30.0


class AdaptiveConcurrency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of as many messages as the endpoints answer without delaying each other."""

    adaptive: Annotated[Adaptive, Meta(description="How the limit is found.")]


class Queue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages that wait while `concurrency` is reached."""

    length: Annotated[
        Count, Meta(description="Most messages that wait; with 0, a message that finds no room is refused.")
    ] = 128
    wait: Annotated[Duration, Meta(description="Longest wait of one message, whatever its own deadline.")] = 10.0


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit on messages over time."""

    per: Annotated[
        Literal["cluster", "tenant", "agent", "key"],
        Meta(
            description=(
                "Which messages are counted together: those of one tenant, of one agent, of one key, or all "
                "of the cluster's."
            )
        ),
    ]
    messages: Annotated[Count, Meta(description="Messages that are allowed in each period.")]
    every: Annotated[Duration, Meta(description="Length of the period; at least 1ms.")]
    burst: Annotated[
        Count | None,
        Meta(description="Messages that are allowed at once after a pause. Default: as many as `messages`."),
    ] = None
    keys: Annotated[
        Count,
        Meta(
            description=(
                "About how many tenants, agents or keys are tracked. Beyond that, and beyond some 240,000 of "
                "all rates together, the one that is closest to a full burst is evicted."
            )
        ),
    ] = 65536


class Hedge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second attempt at another endpoint while the first has no answer."""

    after: Annotated[
        Percentile,
        Meta(
            description="Percentile of the time to the first byte, after which the second attempt begins; p50 to p99."
        ),
    ] = 95
    minimum: Annotated[Duration, Meta(description="Shortest time after which the second attempt begins.")] = 0.005
    samples: Annotated[
        Count, Meta(description="Attempts that must have been measured before the percentile is used; at least 10.")
    ] = 100


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
