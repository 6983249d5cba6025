"""The keys of a cluster's policy: how its endpoints are used.

What a value may be is checked by the core (`rust/core/src/cluster/policy/`), which owns these keys; here is their
shape. A default stands in both, as editors show it: a test holds them together.
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

    connect: Annotated[Duration, Meta(description="Until a connection stands, TLS included.")] = 2.0
    first_byte: Annotated[Duration, Meta(description="From the request until the response begins.")] = 120.0
    idle: Annotated[Duration, Meta(description="Between two pieces of a response.")] = 60.0
    total: Annotated[
        Duration,
        Meta(description="From the first attempt until the response ends; until it begins, where it is a stream."),
    ] = 600.0
    stream_idle: Annotated[
        Duration, Meta(description="Between two pieces of a stream (a `text/event-stream` response).")
    ] = 300.0
    stream_total: Annotated[
        Duration | None,
        Meta(description="From the first attempt until a stream ends. Without it, a stream flows as long as it likes."),
    ] = None


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to try again within the cluster."""

    attempts: Annotated[Count, Meta(description="Attempts of one message, the first included; 1 to 16.")] = 3
    statuses: Annotated[
        list[Annotated[int, Meta(ge=100, le=599)]],
        Meta(description="Statuses after which another attempt may be made; of 400 to 599."),
    ] = field(default_factory=lambda: [429, 502, 503, 504])
    budget: Annotated[
        Percentage, Meta(description="The most retries, in per cent of the messages within `window`; up to 1000%.")
    ] = 20
    budget_minimum: Annotated[Count, Meta(description="Retries each second that are allowed besides.")] = 10
    window: Annotated[Duration, Meta(description="What the budget is taken over; at least 1s.")] = 10.0
    backoff: Annotated[
        Duration,
        Meta(description="The pause before the first retry is random up to this; each further one doubles it."),
    ] = 0.025
    backoff_max: Annotated[Duration, Meta(description="The most that doubling leads to.")] = 1.0


class HashBalance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages with the same value of one field go to the same endpoint."""

    hash: Annotated[
        Text,
        Meta(
            description="A field that patterns see, its names joined by dots: tenant, labels.session, "
            "headers.x-session, body.user.id. Messages without it go by least load."
        ),
    ]


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asking an endpoint how it is."""

    path: Annotated[
        Text, Meta(description="What to GET, from the root of the endpoint's host; 200 to 299 is good.")
    ] = "/health"
    interval: Annotated[Duration, Meta(description="From one answer to the next question; at least 100ms.")] = 5.0
    timeout: Annotated[Duration, Meta(description="How long an answer may take.")] = 2.0
    healthy: Annotated[Count, Meta(description="Good answers in a row after which it is fit again; 1 to 100.")] = 2
    unhealthy: Annotated[Count, Meta(description="Bad answers in a row after which it is not fit; 1 to 100.")] = 3
    jitter: Annotated[
        Percentage,
        Meta(description="`interval` is made longer by up to this, so that proxies do not ask all at once."),
    ] = 20


class Health(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which endpoints are fit for messages."""

    check: Annotated[
        Annotated[Check, Meta(extra={"shorthand": "path"})] | None,
        Meta(description="Ask each endpoint from time to time: a path, or a mapping. Without it, messages tell."),
    ] = None
    panic: Annotated[
        Percentage, Meta(description="Where fewer of the endpoints are fit, all are used; 0% never does that.")
    ] = 50
    slow_start: Annotated[
        Duration,
        Meta(description="How long an endpoint that is fit again, or new, takes to its whole share; 0s: none."),
    ] = 10.0
    aggression: Annotated[
        Factor,
        Meta(
            description="How that share grows. 1: evenly; more: fast, then slowly; less: slowly, then fast; 0.1 to 10."
        ),
    ] = 1.0
    rest_max: Annotated[Duration, Meta(description="The longest that a Retry-After keeps an endpoint out.")] = 30.0


class Breaker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to leave an endpoint alone because of how attempts at it end."""

    consecutive: Annotated[Count, Meta(description="Failures in a row that open it; 0: not looked at.")] = 5
    failures: Annotated[
        Percentage, Meta(description="Share of failures within `window` that opens it; 0%: not looked at.")
    ] = 50
    minimum: Annotated[Count, Meta(description="Attempts within `window` before that share means anything.")] = 20
    window: Annotated[Duration, Meta(description="What the share is taken over; at least 100ms.")] = 10.0
    open: Annotated[
        Duration, Meta(description="How long it stays open; twice as long each time that it opens again soon.")
    ] = 5.0
    open_max: Annotated[Duration, Meta(description="The most that doubling leads to.")] = 60.0
    jitter: Annotated[Percentage, Meta(description="Open times are made longer by up to this.")] = 20
    trials: Annotated[
        Count, Meta(description="Attempts that are then let through, and must all succeed to close it; 1 to 1000.")
    ] = 3


class Adaptive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that follows latency."""

    min: Annotated[Count, Meta(description="Never fewer.")] = 4
    max: Annotated[Count, Meta(description="Never more.")] = 1000
    initial: Annotated[
        Count | None, Meta(description="At first. Default 20, or what of `min` and `max` is nearest to that.")
    ] = None
    tolerance: Annotated[
        Factor,
        Meta(description="How many times the latency at ease may be exceeded before the limit falls; 1 to 10."),
    ] = 1.5
    window: Annotated[Duration, Meta(description="What latency is averaged over; at least 10ms.")] = 1.0
    remeasure: Annotated[
        Duration, Meta(description="How often the limit is lowered for a window to see latency at ease; at least 1s.")
    ] = 30.0


class AdaptiveConcurrency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As many messages at a time as the endpoints answer without making each other wait."""

    adaptive: Annotated[Adaptive, Meta(description="How the limit is found.")]


class Queue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many messages wait when `concurrency` is reached."""

    length: Annotated[Count, Meta(description="So many; 0: none, what finds no room is refused.")] = 128
    wait: Annotated[Duration, Meta(description="So long at most, whatever the message's own deadline.")] = 10.0


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many messages over time."""

    per: Annotated[
        Literal["cluster", "tenant", "agent", "key"],
        Meta(description="Whose messages are counted together: all of the cluster's, or those of one …"),
    ]
    messages: Annotated[Count, Meta(description="So many …")]
    every: Annotated[Duration, Meta(description="… in this time; at least 1ms.")]
    burst: Annotated[
        Count | None, Meta(description="So many at once, after a pause. Default: as many as `messages`.")
    ] = None
    keys: Annotated[Count, Meta(description="Of how many tenants, agents or keys the account is kept.")] = 65536


class Hedge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second attempt, at another endpoint, while the first has not been answered."""

    after: Annotated[
        Percentile,
        Meta(description="After the time within which this share of the attempts is answered; p50 to p99."),
    ] = 95
    minimum: Annotated[Duration, Meta(description="Never sooner.")] = 0.005
    samples: Annotated[
        Count, Meta(description="Attempts that must have been seen before that time is known; at least 10.")
    ] = 100


POLICY_KEYS: Final = ("timeout", "retry", "balance", "health", "breaker", "concurrency", "queue", "rate", "hedge")
"""The keys of a cluster that are its policy."""


def native_policy(cluster: Struct) -> dict[str, Any]:
    """The policy of a cluster as plain values, for the core; `...` for what is not known of a draft."""
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
