"""Every key of a configuration file, defined once: its type, default, bounds and description.

`Walker` checks a file against these structs, and `json_schema` describes them. `Meta.extra` holds what msgspec cannot
express:

- `parse`: a function that converts the plain value to the field's value; its `ShapeError` addresses the file's author
- `expects`: the form of a valid string, in words
- `secret`: no message shows the value
- `path`: the string names a file, relative to the file that contains the string
- `output`: the string is one of these words, or names a file to write, relative to the file that contains the string
- `pattern`: the value is a route's pattern
- `shorthand`: a string may replace the mapping and sets this key
- `short`: a scalar may replace the mapping; this function turns it into the mapping, or raises `ShapeError`
- `single`: a mapping may replace a list of one mapping; of other lists, a scalar may replace a list of one scalar
- `socket`: the string names a Unix socket, relative to the file that contains the string
- `declares`: the string declares the name of a route
- `refers`: the string names a cluster that must exist
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from waypost._native import dialects
from waypost.config.answer import Mirror, Reply
from waypost.config.caller import HASH_PATTERN, check_hash
from waypost.config.certificate import ClientCertificate
from waypost.config.header import HEADER_PATTERN, check_header_name, check_header_value
from waypost.config.listen import Listen, read_listen
from waypost.config.policy import AdaptiveConcurrency, Breaker, HashBalance, Health, Hedge, Queue, Rate, Retry, Timeout
from waypost.config.positions import Path
from waypost.config.proxy import PROXY_PATTERN, Proxy, check_proxy
from waypost.config.units import format_size
from waypost.config.url import URL_PATTERN, check_url
from waypost.config.values import (
    ClusterName,
    Count,
    Duration,
    FileName,
    Host,
    Name,
    Output,
    RouteName,
    Size,
    Text,
)

__all__ = [
    "Cluster",
    "Credential",
    "Document",
    "Endpoint",
    "Fragment",
    "Key",
    "Limits",
    "Listen",
    "Route",
    "Tls",
]

MiB: Final = 2**20

if TYPE_CHECKING:
    _Speaks = str
else:
    # The core says which dialects a cluster can speak.
    _Speaks = Literal[tuple(dialect.name for dialect in dialects() if dialect.clusters)]


_API_PATHS: Final[dict[str, tuple[str, ...]]] = {
    dialect.name: tuple(
        path.removeprefix("/v1") for path in dialect.paths if path.startswith("/v1/") and "*" not in path
    )
    for dialect in dialects()
    if dialect.clusters and dialect.name != "envelope"  # the URL of an envelope's endpoint is the whole path
}
"""What requests append to the URL of an endpoint, by the dialect of its cluster."""


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what one message, and all messages together, may use."""

    body: Annotated[Size, Meta(description="Largest request body that is read whole.")] = 16 * MiB
    header: Annotated[Size, Meta(description="Largest request head: request line and header fields together.")] = (
        32 * 1024
    )
    buffered: Annotated[Size, Meta(description="Most bytes of request bodies that one process holds at one time.")] = (
        256 * MiB
    )
    depth: Annotated[int, Meta(ge=1, le=1024, description="Deepest nesting of a message's JSON.")] = 128
    mirrors: Annotated[
        Count,
        Meta(description="Most mirrors under way in one process at one time. Further mirrors are dropped and counted."),
    ] = 100
    drain: Annotated[Duration, Meta(description="How long a stop (SIGTERM) waits for the messages in flight.")] = 30.0
    worker_timeout: Annotated[
        Duration,
        Meta(
            description=(
                "How long the event loop of one of several workers may stand still before the worker is replaced; "
                "with 0s, any time. Takes effect at the start."
            )
        ),
    ] = 30.0

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        if self.body > self.buffered:
            yield (
                ("body",),
                f"greater than limits.buffered ({format_size(self.buffered)}); lower it, or raise limits.buffered",
            )


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key or a client certificate. It decides who its caller is; a message that says otherwise is refused."""

    one_of: ClassVar = ("hash", "certificate")
    """A key has one of these keys."""

    name: Annotated[Name, Meta(description="Unique name of the key, for operators. No client sees it.")]
    hash: Annotated[
        Annotated[
            str,
            Meta(extra={"parse": check_hash, "secret": True}, extra_json_schema={"pattern": HASH_PATTERN}),
        ]
        | None,
        Meta(
            description=(
                "`sha256:` and the SHA-256 of the key in 64 hexadecimal digits. The key itself is not in the "
                "configuration. Give this or `certificate`."
            )
        ),
    ] = None
    certificate: Annotated[
        ClientCertificate | None,
        Meta(description="The certificate that its callers present to `listen.tls`. Give this or `hash`."),
    ] = None
    tenant: Annotated[Text | None, Meta(description="Tenant of all messages sent with this key.")] = None
    agent: Annotated[Text | None, Meta(description="Agent of all messages sent with this key.")] = None
    labels: Annotated[dict[str, str], Meta(description="Labels of all messages sent with this key, by name.")] = field(
        default_factory=dict
    )
    admin: Annotated[
        bool | Literal["metrics"],
        Meta(description="Whether the key opens /metrics and the paths below /-/; with `metrics`, /metrics only."),
    ] = False
    messages: Annotated[
        bool | None,
        Meta(description="Whether the key may send messages. Default: true; false for a key with `admin`."),
    ] = None
    debug: Annotated[
        bool,
        Meta(description="Whether responses to this key's messages tell of each attempt, in x-waypost-trace."),
    ] = False

    @property
    def sends_messages(self) -> bool:
        """Whether the key may send messages."""
        return not self.admin if self.messages is None else self.messages

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        if self.hash is None and self.certificate is None:
            yield (), "key `hash` is missing; write the hash of an API key, or name a `certificate`"
        elif self.hash is not None and self.certificate is not None:
            yield ("certificate",), "contradicts `hash`: a key is one of them; write two keys for two proofs"
        messages = not self.admin if self.messages is None else self.messages
        if not self.admin and not messages:
            yield ("messages",), "the key would open nothing; give it `admin`, or remove it"
        elif self.debug and not messages:
            yield ("debug",), "has no effect on a key that sends no messages; set `messages: true`, or remove it"

    def __repr__(self) -> str:
        proof = "hash=<secret>" if self.certificate is None else f"certificate={self.certificate!r}"
        return f"Key(name={self.name!r}, {proof})"


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One URL of a cluster."""

    url: Annotated[
        str,
        Meta(
            description=(
                "http or https, a host, and optionally a port and a path. The path replaces the leading /v1 "
                "of the request's path; without a path, the request's path stays."
            ),
            extra={"parse": check_url},
            extra_json_schema={"pattern": URL_PATTERN},
        ),
    ]
    weight: Annotated[
        int, Meta(ge=1, le=1000, description="Share of the messages, relative to the other endpoints.")
    ] = 1

    @property
    def https(self) -> bool:
        """Whether connections to the endpoint use TLS."""
        return self.url.lower().startswith("https:")

    @property
    def host(self) -> str:
        """Host name or IP address; IPv6 without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (443 if self.https else 80)


class Credential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A header field that authenticates Waypost to a cluster. It replaces the client's credentials."""

    header: Annotated[
        str,
        Meta(
            description="Name of the header field, such as authorization or x-api-key.",
            extra={"parse": check_header_name},
            extra_json_schema={"pattern": HEADER_PATTERN},
        ),
    ]
    value: Annotated[
        str,
        Meta(
            description="Whole value of the field. Keep the secret out of the file: Bearer ${NAME}, or ${file:PATH}.",
            extra={"parse": check_header_value, "secret": True},
            extra_json_schema={"minLength": 1},
        ),
    ]

    def __repr__(self) -> str:
        return f"Credential(header={self.header!r}, value=<secret>)"


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS settings for a cluster's https endpoints."""

    ca: Annotated[
        FileName | None,
        Meta(description="PEM file of the certificate authorities to trust. Default: those of the system."),
    ] = None
    client_certificate: Annotated[
        FileName | None,
        Meta(description="PEM file of the certificate that Waypost presents, with its chain and optionally its key."),
    ] = None
    client_key: Annotated[
        FileName | None,
        Meta(description="PEM file of the certificate's key, where the certificate's file does not hold it."),
    ] = None
    server_name: Annotated[
        Host | None, Meta(description="Host name to ask for and to verify. Default: the host of the URL.")
    ] = None

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        if self.client_key is not None and self.client_certificate is None:
            yield ("client_key",), "a key without `client_certificate`; set that too, or remove this key"


class Cluster(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Named endpoints that speak one dialect and share one policy."""

    speaks: Annotated[_Speaks, Meta(description="Dialect of the cluster's endpoints.")]
    endpoints: Annotated[
        list[Annotated[Endpoint, Meta(extra={"shorthand": "url"})]],
        Meta(min_length=1, description="URLs, or mappings of `url` and `weight`."),
    ]
    timeout: Annotated[Timeout, Meta(description="How long each phase of a message may take.")] = field(
        default_factory=Timeout
    )
    retry: Annotated[
        Retry | Literal["off"],
        Meta(
            description=(
                "When a failed attempt is repeated within the cluster. With `off`, never; but a message that finds its "
                "pooled connection closed and may be sent twice still goes over a new connection."
            )
        ),
    ] = field(default_factory=Retry)
    balance: Annotated[
        HashBalance | Literal["least_load", "weighted", "round_robin"],
        Meta(
            description=(
                "How an endpoint is chosen. `least_load`: of two endpoints drawn by weight, the one with the "
                "smaller product of latency and messages in flight, divided by its success; `weighted`: at random, "
                "by weight; "
                "`round_robin`: in turn, by weight; `{hash: FIELD}`: by the value of a field."
            )
        ),
    ] = "least_load"
    health: Annotated[Health, Meta(description="Which endpoints are fit to receive messages.")] = field(
        default_factory=Health
    )
    breaker: Annotated[
        Breaker | Literal["off"],
        Meta(description="When an endpoint is left alone because attempts at it fail; with `off`, never."),
    ] = field(default_factory=Breaker)
    concurrency: Annotated[
        Count | AdaptiveConcurrency | Literal["adaptive", "unlimited"],
        Meta(
            description=(
                "Messages that the cluster gets at a time: a number (divided among workers), `unlimited`, "
                "`adaptive` (follows latency), or `{adaptive: …}`."
            )
        ),
    ] = "unlimited"
    queue: Annotated[Queue, Meta(description="Messages that wait while `concurrency` is reached.")] = field(
        default_factory=Queue
    )
    rate: Annotated[
        list[Rate],
        Meta(
            description="Limits on messages over time: one rule, or a list of up to 8 rules that all apply.",
            extra={"single": True},
        ),
    ] = field(default_factory=list)
    hedge: Annotated[
        Annotated[Hedge, Meta(extra={"shorthand": "after"})] | None,
        Meta(
            description=(
                "A second attempt at another endpoint while the first is slow, for messages that may be sent "
                "twice: `p95`, or a mapping. The retry budget pays for it. Default: no second attempt."
            )
        ),
    ] = None
    credential: Annotated[
        Credential | Literal["pass"] | None,
        Meta(
            description=(
                "How Waypost authenticates to the cluster; `pass` forwards the client's own credentials. "
                "Default: no credentials are sent."
            )
        ),
    ] = None
    model: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Model for envelopes that name none. A model that the client names is sent unchanged."),
    ] = None
    tls: Annotated[Tls | None, Meta(description="TLS settings for https endpoints.")] = None
    proxy: Annotated[
        Annotated[
            Proxy,
            Meta(
                extra={"parse": check_proxy, "secret": True},
                extra_json_schema={"type": "string", "pattern": PROXY_PATTERN},
            ),
        ]
        | None,
        Meta(
            description=(
                "Proxy through which the endpoints are reached by CONNECT: http://HOST:PORT, "
                "http://USER:PASSWORD@HOST:PORT, or `none`. Default: the environment's (HTTPS_PROXY, "
                "HTTP_PROXY, NO_PROXY)."
            )
        ),
    ] = None

    def cautions(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each value that is legal, but probably not meant."""
        for index, endpoint in enumerate(self.endpoints):
            found = next((tail for tail in _API_PATHS.get(self.speaks, ()) if endpoint.url.endswith(tail)), None)
            if found is not None:
                own = endpoint.url.removesuffix(found)
                message = f"ends with `{found}`, which requests bring along: it would be there twice; write {own}"
                yield ("endpoints", index), message

    @property
    def https(self) -> bool:
        """Whether any endpoint uses TLS."""
        return any(endpoint.https for endpoint in self.endpoints)

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        seen: dict[str, int] = {}
        for index, endpoint in enumerate(self.endpoints):
            first = seen.setdefault(endpoint.url, index)
            if first != index:
                yield ("endpoints", index), f"the same URL as endpoints[{first}]; give that one a `weight` instead"
        for index, endpoint in enumerate(self.endpoints):
            if self.tls is not None and not endpoint.https:
                yield ("endpoints", index), "`tls` is set, so the URL must begin with https:"


class Route(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pattern, and where the messages that match it go."""

    one_of: ClassVar = ("to", "reply")
    """A route has one of these keys."""

    name: Annotated[RouteName, Meta(description="Unique name. Responses carry it in x-waypost-route.")]
    match: Annotated[
        dict[str, Any],
        Meta(
            description="Pattern of the route's messages. Default: every message matches.",
            extra={"pattern": True},
        ),
    ] = field(default_factory=dict)
    to: Annotated[ClusterName | None, Meta(description="Cluster that receives the message. Give this or `reply`.")] = (
        None
    )
    fallback: Annotated[
        list[ClusterName],
        Meta(
            description=(
                "Clusters to try, in this order, when `to` fails. Each gets the client's `model` unchanged, "
                "so they should serve the same names."
            )
        ),
    ] = field(default_factory=list)
    reply: Annotated[Reply | None, Meta(description="The route's own answer. Give this or `to`.")] = None
    mirror: Annotated[
        Mirror | None,
        Meta(description="Second cluster that gets copies of messages. A copy never delays or fails its message."),
    ] = None
    precedence: Annotated[
        int,
        Meta(
            ge=-(2**31),
            le=2**31 - 1,
            description="Routes with a higher number are tried first, equal ones in the order written.",
        ),
    ] = 0

    def conflicts(self) -> Iterator[tuple[Path, str]]:
        """Yield (path below this struct, message) for each contradiction between keys."""
        if self.reply is None and self.to is None:
            yield (), "key `to` is missing; name a cluster, or answer with `reply`"
        elif self.reply is not None and self.to is not None:
            yield ("reply",), "contradicts `to`: a message gets one answer; remove one of them"
        elif self.reply is not None and self.fallback:
            yield ("fallback",), "contradicts `reply`, which cannot fail; remove it"
        seen: dict[str, int] = {}
        for index, name in enumerate(self.fallback):
            first = seen.setdefault(name, index)
            if name == self.to:
                yield ("fallback", index), "the same cluster as the route's `to`; remove it"
            elif first != index:
                yield ("fallback", index), f"the same cluster as fallback[{first}]; remove it"


class Fragment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of an included file."""

    clusters: Annotated[dict[Name, Cluster], Meta(description="Clusters by name.")] = field(default_factory=dict)
    routes: Annotated[
        list[Route],
        Meta(description="Routes, tried by precedence and then in the order written. The first that matches decides."),
    ] = field(default_factory=list)
    include: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(
            description=(
                "More files with routes and clusters, relative to this file: paths or globs of .yaml, .yml "
                "and .json files, and of .jsonl files with one route a line."
            )
        ),
    ] = field(default_factory=list)


class Document(Fragment, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of Waypost."""

    listen: Annotated[
        Listen,
        Meta(
            description="Where Waypost listens. Short forms: HOST:PORT, a port alone, or unix:PATH.",
            extra={"short": read_listen},
        ),
    ] = field(default_factory=Listen)
    limits: Annotated[Limits, Meta(description="Bounds on what messages may use.")] = field(default_factory=Limits)
    access_log: Annotated[
        Output,
        Meta(description="Where the access log goes: stdout, stderr, off, or a file, whose name has a `/` or a `.`."),
    ] = "stdout"
    keys: Annotated[
        list[Key],
        Meta(min_length=1, description="API keys of those who may call. Default: everyone who can connect may call."),
    ] = field(default_factory=list)
