"""The Rust extension: matching, routing decisions, HTTP/1.1 framing.

Pure functions and state machines: nothing in here opens a socket or reads a file, and only two things come from a
clock: what the course of an exchange depends on (`Plan.begin` and what follows it, `Registry`, checks), and what a
`Recorder` tells of messages: when a request's head was there, a response's head, and the end. All classes are
immutable unless they say otherwise and may be shared between threads.

More than 500 lines, because the contract of one module is one file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, Self, TypeAlias, final

from typing_extensions import Buffer, disjoint_base

_Body: TypeAlias = bytes | bytearray | memoryview | str
"""One JSON document: UTF-8 bytes, or text."""

_Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header fields in wire order: (name in any case, value without surrounding whitespace)."""

_AnyHeaders: TypeAlias = Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str]
"""Header fields as pairs, or as a mapping."""

_Failure: TypeAlias = Literal["connect", "stale", "timeout", "reset", "protocol"]
_Dialect: TypeAlias = Literal["envelope", "json", "openai"]

__all__ = [
    "Cluster",
    "Cost",
    "Decision",
    "Dialect",
    "Endpoint",
    "Explanation",
    "Intake",
    "LinearRules",
    "Matcher",
    "Plan",
    "Recorder",
    "Registry",
    "Reply",
    "RequestReader",
    "ResponseEnd",
    "ResponseHead",
    "ResponseReader",
    "RouteTable",
    "Snapshot",
    "Step",
    "Turn",
    "Verdict",
    "__version__",
    "dialects",
    "encode_chunk",
    "policy_keys",
    "translations",
]

__version__: str

@final
class Dialect:
    """A wire format that carries an envelope."""

    @property
    def name(self) -> _Dialect:
        """Its name in configurations and patterns."""
    @property
    def clusters(self) -> bool:
        """Clusters can speak it."""
    @property
    def paths(self) -> list[str]:
        """The paths to which its messages are sent. One that ends in `/*` stands for what is below."""

def dialects() -> list[Dialect]:
    """Every dialect."""

def translations() -> list[tuple[_Dialect, _Dialect, list[str]]]:
    """Which messages can be translated: the client's dialect, the cluster's, and the kinds."""

@final
class Matcher:
    """Named patterns, matched against JSON documents.

    A replacement never disturbs a match under way: each call works on one immutable snapshot. Names that are returned
    are interned: of one rule it is always the same object.

    Matching takes time linear in the document, and for the rules that come near to matching it; not for the others,
    however many there are (`cost` tells of rules for which that cannot be so). Documents above 16 KiB, and lists of
    documents, are matched with the interpreter's lock released.
    """

    def __new__(
        cls,
        patterns: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        duplicate_keys: Literal["error", "last"] = "error",
        depth: int = 128,
    ) -> Matcher:
        """Compile `patterns`: rule name to pattern.

        `duplicate_keys`: a document in which one object has a key twice is an error, or its last copy counts.
        `depth`: how many containers may be nested in a document, 1 to 1024.

        Raises `PatternError`, naming each rule with a fault and the path within its pattern.
        """

    def first(self, body: _Body) -> str | None:
        """The name of the first rule, in declaration order, that matches; `None` where none does.

        Raises `EnvelopeError` where `body` is not valid JSON. A document that is no object has no fields.
        """

    def matches(self, body: _Body) -> list[str]:
        """The names of all rules that match, in declaration order. Raises as `first` does."""

    def first_many(self, bodies: Iterable[_Body]) -> list[str | None]:
        """`first` of each document, all by the same rules.

        Mutable buffers are copied first. Raises as `first` does, for the first document that is not valid; a note on
        the exception says which one that is.
        """

    def matches_many(self, bodies: Iterable[_Body]) -> list[list[str]]:
        """`matches` of each document, all by the same rules. Raises as `first_many` does."""

    def explain(self, body: _Body, *, rule: str | None = None) -> Explanation:
        """Why each rule does or does not match, or only that one: without `rule` it takes time for each.

        Raises as `first` does; `KeyError` where there is no such rule.
        """

    def cost(self) -> Cost:
        """The rules that messages are tried against one by one. Takes at most about as long as compiling them."""

    def add(self, name: str, pattern: Mapping[str, Any]) -> None:
        """Append a rule. Raises `PatternError`; `ValueError` where the name is taken.

        `add`, `update` and `remove` take time for the rules that were changed last, not for all. Once in some thousands
        of changes a thread compiles all rules anew beside them.
        """

    def update(self, name: str, pattern: Mapping[str, Any]) -> None:
        """Give a rule another pattern; it keeps its position. Raises `PatternError`; `KeyError` where there is none."""

    def remove(self, name: str) -> None:
        """Remove a rule. Raises `KeyError` where there is none."""

    def replace(self, patterns: Mapping[str, Mapping[str, Any]]) -> None:
        """Swap all rules at once. On `PatternError` the old rules stay."""

    def __len__(self) -> int: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]:
        """Rule names in declaration order."""

@final
class Cost:
    """What rules cost beyond reading the document."""

    @property
    def rules(self) -> int:
        """How many there are."""
    @property
    def linear(self) -> tuple[LinearRules, ...]:
        """Rules that are tried one by one, 128 or more for one message, the most first; empty where there are none."""

@final
class LinearRules:
    """Rules that are tried one by one for some messages, because nothing that they ask for tells them apart."""

    @property
    def when(self) -> str:
        """Which messages do: `kind is "model"`, or `every message`."""
    @property
    def rules(self) -> tuple[str, ...]:
        """The rules' names, in declaration order."""

@final
class Decision:
    """What a route does with a message. Built when the table is compiled; deciding hands out the same object."""

    @property
    def route(self) -> str:
        """The route's name."""
    @property
    def cluster(self) -> str | None:
        """The cluster that should have the message; `None` where the route names none."""
    @property
    def fallback(self) -> tuple[str, ...]:
        """Clusters to try, in order, when `cluster` fails."""
    @property
    def action(self) -> Literal["forward", "reply"]:
        """What the route does: forward its messages to clusters, or reply by itself."""
    @property
    def reply(self) -> Reply | None:
        """The route's own answer; `None` unless `action` is `reply`."""
    @property
    def mirror(self) -> tuple[str, int] | None:
        """The cluster that gets copies of the route's messages, and the share of them in per cent."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Reply:
    """A route's own answer."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Header fields in wire order, names in lower case."""
    @property
    def body(self) -> bytes: ...
    @property
    def error(self) -> str | None:
        """The code of an error: the answer has its status, and its shape in the client's dialect. Otherwise `None`."""

@final
class Verdict:
    """Whether one route (or rule) matches one message, and if not, why."""

    @property
    def route(self) -> str: ...
    @property
    def matched(self) -> bool: ...
    @property
    def path(self) -> str | None:
        """The field whose predicate was the first to fail (`labels.region`); `None` where the route matches."""
    @property
    def expected(self) -> str | None:
        """What the pattern asks of that field."""
    @property
    def seen(self) -> str | None:
        """The JSON text of what the message has there, shortened; `None` where it has nothing."""
    @property
    def reason(self) -> str:
        """One sentence for a person."""

@final
class Explanation:
    """Every route's verdict on one message, in the order in which routes are tried."""

    @property
    def route(self) -> str | None:
        """The route that takes the message."""
    @property
    def decision(self) -> Decision | None:
        """Its decision; `None` for a `Matcher`, which has no routes."""
    @property
    def fields(self) -> dict[str, str]:
        """The envelope fields that were seen, as JSON text."""
    @property
    def verdicts(self) -> list[Verdict]: ...

@disjoint_base
class RouteTable:
    """Routes compiled for deciding. `waypost.RouteTable` adds `load`, which reads a configuration file."""

    def __new__(
        cls,
        routes: Iterable[Mapping[str, Any]],
        *,
        depth: int = 128,
    ) -> Self:
        """Compile routes: mappings with `name`, and optionally `match`, `to`, `fallback`, `reply` (`status`, `headers`,
        `body`, `error`), `mirror` (`to`, `share`), `precedence`.

        Raises `ConfigError` with every problem at once.
        """

    def decide(
        self,
        body: _Body | None,
        *,
        dialect: _Dialect = "envelope",
        headers: _AnyHeaders | None = None,
        path: str = "",
        method: str = "POST",
        identity: Mapping[str, Any] | None = None,
        client: str | None = None,
    ) -> Decision | None:
        """The decision of the first route that matches, by precedence, then declaration; `None` where none does.

        `body` is `None` for a message without one. `path` defaults to the dialect's own. `identity` is what the caller
        proved to be: `tenant`, `agent`, `labels`. `client` is the client's address.

        Raises `EnvelopeError`: `invalid_json`, `invalid_utf8`, `duplicate_key`, `too_deep`, `invalid_envelope`;
        `WaypostError` with `identity_conflict` where the message contradicts `identity`.
        """

    def matches(
        self,
        body: _Body | None,
        *,
        dialect: _Dialect = "envelope",
        headers: _AnyHeaders | None = None,
        path: str = "",
        method: str = "POST",
        identity: Mapping[str, Any] | None = None,
        client: str | None = None,
    ) -> list[Decision]:
        """The decisions of all routes that match, in the order in which routes are tried. Raises as `decide`."""

    def explain(
        self,
        body: _Body | None,
        *,
        dialect: _Dialect = "envelope",
        headers: _AnyHeaders | None = None,
        path: str = "",
        method: str = "POST",
        identity: Mapping[str, Any] | None = None,
        client: str | None = None,
    ) -> Explanation:
        """Why each route does or does not take the message. Raises as `decide`."""

    def __len__(self) -> int: ...

@final
class Cluster:
    """A cluster's policy, as an exchange needs it. Times are in seconds."""

    @property
    def name(self) -> str: ...
    @property
    def speaks(self) -> Literal["envelope", "openai"]: ...
    @property
    def model(self) -> str | None:
        """The model for envelopes that name none."""
    @property
    def policy(self) -> dict[str, Any]:
        """All of its policy, defaults filled in: the keys of a configuration. A new dict each time.

        Times are in seconds, percentages and percentiles whole numbers. `retry` and `breaker` are always mappings,
        `rate` always a list; `concurrency` is a number, `"unlimited"` or `{"adaptive": {…}}`; `balance` a word or
        `{"hash": field}`; `hedge` and `health["check"]` are mappings or `None`.
        """
    @property
    def connect_timeout(self) -> float: ...
    @property
    def first_byte_timeout(self) -> float: ...
    @property
    def idle_timeout(self) -> float: ...
    @property
    def total_timeout(self) -> float: ...
    @property
    def stream_idle_timeout(self) -> float: ...
    @property
    def hedged(self) -> bool:
        """A slow attempt may get a second one beside it."""
    @property
    def check(self) -> tuple[str, float] | None:
        """The active check: what to GET, and how many seconds the answer may take."""

@final
class Endpoint:
    """One URL of a cluster. The same object as long as the snapshot lives."""

    @property
    def cluster(self) -> Cluster: ...
    @property
    def url(self) -> str:
        """The URL as configured: with the cluster's name, the key of what is known about the endpoint."""
    @property
    def host(self) -> str:
        """Name or address, IPv6 without brackets."""
    @property
    def authority(self) -> str:
        """Host and maybe port, as a Host field wants them (RFC 9110, section 7.2)."""
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> bool: ...

@final
class Intake:
    """What can be said of a request from its head: how to read its body."""

    @property
    def id(self) -> str:
        """`x-request-id` where it is usable (1 to 128 visible ASCII characters), else a new one."""
    @property
    def dialect(self) -> _Dialect: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str:
        """Path and query, not decoded."""
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Its header fields in wire order."""
    @property
    def http_version(self) -> str: ...
    @property
    def persistent(self) -> bool:
        """The client may send another request on its connection (RFC 9112, section 9.3); with HTTP/1.0 it may not."""
    @property
    def length(self) -> int | None:
        """Bytes of the body, where the head says it."""
    @property
    def buffered(self) -> bool:
        """True: read the whole body, up to `limits.body`, and give it to `plan`. False: `plan(None)`, then stream."""
    def plan(self, body: bytes | None) -> Plan:
        """Decide; the plan keeps `body`.

        Raises as `RouteTable.decide`, and `WaypostError` with `no_route` where no route matches.
        """
    def explain(self, body: bytes | None) -> Explanation:
        """Why each route does or does not take the message: by what `plan` decides by. Raises as it does."""

@final
class Plan:
    """One message's way: the decision, and for each attempt the bytes to send."""

    @property
    def decision(self) -> Decision: ...
    @property
    def id(self) -> str: ...
    @property
    def request_id(self) -> bytes:
        """`id` in a form that a header can carry."""
    @property
    def dialect(self) -> _Dialect: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def stream(self) -> bool:
        """The message asks for a streamed reply."""
    @property
    def deadline_ms(self) -> int | None: ...
    @property
    def idempotent(self) -> bool:
        """May be sent again after it may have reached an endpoint."""
    @property
    def action(self) -> Literal["forward", "translate", "reply"]:
        """What the message gets. `translate`: an endpoint that it may go to speaks another dialect."""
    @property
    def mirror(self) -> str | None:
        """The cluster that gets a copy of the message; `None`: no cluster does."""
    @property
    def direct(self) -> bool:
        """The message is only forwarded, and its exchange has no deadline but its cluster's."""
    def child(
        self,
        cluster: str,
        purpose: Literal["mirror", "step"],
        *,
        body: bytes | None = None,
        dialect: _Dialect = "openai",
        kind: Literal["query", "context", "model", "tool", "event"] = "model",
        stream: bool = False,
    ) -> Plan:
        """The message of an internal call to one cluster, for this message.

        The child has the identity, trace, id and priority of this message, and what is left of its deadline. Without
        `body` it repeats the request; with one it is a POST to the default path of `dialect`. Its record shows
        `purpose`. `ValueError`: the cluster cannot have such a message.
        """
    def depart(self) -> tuple[Endpoint | Step, bytes | None]:
        """`begin`, and the whole request for the first attempt; `None` where something else is to be done first."""
    def begin(self) -> Endpoint | Step:
        """Begin the exchange: the endpoint for its first attempt, or what else there is to do.

        From here on the message is counted in the clusters that it goes to, until `end` or until nobody has the plan.
        Attempts have numbers from 1, in the order in which endpoints were given for them.
        """
    def resume(self) -> Endpoint | Step:
        """A `pause` is over."""
    def wait_expired(self) -> Endpoint | Step:
        """The time of a `wait` is over."""
    def take_turn(self, turn: Turn) -> Endpoint | Step:
        """A `wait` is over, with this result."""
    def time_left(self, stream: bool = False) -> tuple[float, float | None]:
        """Seconds that the exchange may still take, infinite where nothing bounds it, and what says so: the cluster's
        total timeout in seconds, or `None` for the message's deadline.

        `stream`: the response has begun, and is a stream.
        """
    def turns(self) -> list[Turn]:
        """Who waits no longer for the clusters of this message: to be asked when room may have come about."""
    def reader(self, number: int) -> ResponseReader:
        """The reader of the response to an attempt. It also keeps account of how well the endpoint answers."""
    def retryable_response(self, number: int, head: ResponseHead, replayable: bool) -> Endpoint | Step:
        """A response has begun that is `ResponseHead.retryable`.

        `pause` (maybe for no time): another attempt is made then, and this response kept. `respond`: this is the
        answer. `stay`: another attempt is under way. `replayable`: all of the request's bytes are still there.
        """
    def failed(self, number: int, failure: _Failure, sent: bool, replayable: bool, delivered: bool) -> Endpoint | Step:
        """An attempt has failed.

        `connect`: there was no connection; `stale`: one that had been used before was closed without a byte of a
        response, and the next attempt is to be over a new one; `timeout`; `reset`: it was closed too early;
        `protocol`: the response broke HTTP. `sent`: a byte of the request may have reached the endpoint. `delivered`:
        the client has a byte of the response, so that there is nothing more to do but to count.
        """
    def request_sent(self, number: int) -> None:
        """All of a request that was sent bit by bit was sent."""
    def hedge_after(self) -> float | None:
        """Seconds from the beginning of the only attempt until a second one is worth it; `None`: never."""
    def hedge(self) -> Endpoint | None:
        """The endpoint for a second attempt beside the one under way, or `None`. The one that answers first counts."""
    def close(self, whole: bool = False) -> None:
        """The exchange is over: its clusters count nothing of it from here on.

        `whole`: the client has all of a response that has not ended.
        """
    @property
    def intake(self) -> Intake: ...
    @property
    def method(self) -> str: ...
    @property
    def body(self) -> bytes:
        """The whole request body, as long as it is kept."""
    @property
    def body_length(self) -> int:
        """Its length in bytes."""
    def attach(self, body: bytes) -> None:
        """Keep the body of a message that was planned without."""
    def drop_body(self) -> None:
        """Drop the body: no other attempt will be made."""
    def count_received(self, count: int) -> None:
        """Record `count` more body bytes received, of a body that comes piece by piece."""
    def record(
        self,
        bytes_out: int,
        why: str = "ok",
        *,
        error: str | None = None,
        status: int | None = None,
        endpoint: Endpoint | None = None,
        attempts: int | None = None,
    ) -> None:
        """The message is over: it is counted and logged, once. Later calls do nothing.

        `bytes_out` of the response's body were given to the client. `why`: `ok`, `client_gone`, `aborted` (a response
        that stopped short; `error` is the code of what was to blame), or the code of the error that was answered.
        `status`, `endpoint` (that answered, or was tried last) and `attempts` are those of the response that
        `ResponseHead` was last asked to write for this plan, or `answer`, where they are not given.
        """
    def answer(
        self, endpoint: Endpoint, data: bytes, lines: dict[int, bytes], fields: bytes, close: bool
    ) -> tuple[bytes, bool, bool] | None:
        """What the first read of the only attempt's connection gave.

        Where it is all of a response, which is the answer: its bytes for an HTTP/1 client, whether that may send
        another request, and whether the endpoint's connection may carry another one; the exchange is over, and
        recorded. Else `None`, and nothing has changed.

        `lines` has status lines by status, `fields` what the server adds to every head; `close` ends the client's
        connection.
        """
    def answer_parts(
        self, endpoint: Endpoint, data: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes, list[tuple[bytes, bytes]], bool] | None:
        """The same in parts: status, header fields, body, trailer fields, and whether the endpoint's connection may
        carry another request.
        """
    def request(self, endpoint: Endpoint) -> bytes:
        """The whole request for one attempt: `head`, and the body that is kept."""
    def own_fields(self, endpoint: Endpoint | None, attempts: int) -> list[tuple[bytes, bytes]]:
        """The fields that every routed response carries: `endpoint` answered, or was tried last."""
    def translated(self, endpoint: Endpoint) -> bool:
        """Whether the message must be translated for this endpoint: its dialect is not the cluster's."""
    def head(self, endpoint: Endpoint, body_length: int | None) -> bytes:
        """The request head for one attempt, through the empty line (RFC 9112, section 3).

        `body_length` in bytes; `None` means chunked. 0 for a request whose head announced no body (a GET) writes
        neither field. The head tells what is left of the message's deadline, as `x-waypost-deadline-ms`.
        """

@final
class Snapshot:
    """One compiled configuration. A reload makes another and swaps it whole."""

    def __new__(cls, config: Mapping[str, Any], recorder: Recorder | None = None) -> Snapshot:
        """Compile a checked configuration (`waypost.config.Config.to_native()`). A key of a cluster's policy that is
        left out has its default. `recorder` counts and logs its messages.

        Raises `ConfigError` with every problem of meaning: patterns, policies, unknown clusters, dialects that cannot
        be joined.
        """

    @staticmethod
    def problems(config: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
        """(path, message) of every problem of meaning in a draft: a configuration of which not all could be read.

        In its patterns and policies `...` stands for what is not known, and no problem is found there. Names of
        clusters that are not there say nothing.
        """

    @property
    def table(self) -> RouteTable: ...
    @property
    def clusters(self) -> dict[str, Cluster]: ...
    @property
    def endpoints(self) -> list[Endpoint]: ...
    def turns(self) -> list[Turn]:
        """Who waits no longer for a cluster of this configuration, which has come into force."""
    @property
    def next_check(self) -> float | None:
        """Seconds until the next active check is due; `None`: never, or a newer snapshot is in force."""
    def due_checks(self) -> list[Endpoint]:
        """The endpoints that are to be asked now. Each is given once; `checked` follows."""
    def checked(self, endpoint: Endpoint, good: bool) -> None:
        """An endpoint answered its active check well, or did not (in time)."""
    @property
    def warnings(self) -> list[tuple[tuple[str | int, ...], str]]:
        """(path, message) of what is legal but probably not meant: a route that can never be reached, say."""
    def accept(
        self,
        method: str,
        target: bytes,
        headers: _Headers,
        *,
        client: str | None = None,
        scheme: str = "http",
        http_version: str = "1.1",
        key: str | None = None,
    ) -> Intake:
        """Look at a request's head.

        `target` is the raw path with its query; `client` the address of the connection's other end, `None` on a Unix
        socket; `scheme` that of the connection. What trusted proxies tell of the request is in `headers`.

        With `keys` in the configuration the request has to present one. `key` is the name of the key that counts as
        presented, whatever `headers` hold: for explanations. `KeyError` where there is no such key.

        Raises `WaypostError` with `dialect` and `message_id`: `unauthorized`, `not_found`, `method_not_allowed` (with
        `allow`), `unsupported_media_type`, `header_too_large`, `bad_framing`.
        """
    def admit(self, headers: _Headers) -> None:
        """Whether a request with these header fields may see what administration shows: it presents an `admin` key.

        Raises `WaypostError`: `unauthorized` where it presents no key of this configuration, `forbidden` where its key
        is no `admin` key.
        """

@final
class Step:
    """What an exchange is to do next, where that is anything but an attempt."""

    @property
    def kind(self) -> Literal["pause", "wait", "respond", "give_up", "refuse", "stay"]:
        """What to do.

        `pause`: nothing for `seconds`, then `Plan.resume`. `wait`: until `Plan.called`, or else for `seconds`, then
        `Plan.expired`. `respond`: the response that has begun is the answer. `give_up`: what the last attempt failed
        with is. `refuse`: `error` is. `stay`: nothing.
        """
    @property
    def seconds(self) -> float: ...
    @property
    def cluster(self) -> str:
        """With `wait`, the name of the cluster that has no room."""
    @property
    def ticket(self) -> int:
        """With `wait`, the place in its queue."""
    @property
    def displaced(self) -> Turn | None:
        """With `wait`, what is for another exchange, which lost its place to this one."""
    @property
    def error(self) -> Exception | None:
        """With `refuse`, the answer, a `WaypostError`: `rate_limited`, `queue_full`, `deadline_too_short`, …"""

@final
class Turn:
    """What becomes of a message that waits: it is for the exchange with this ticket of this cluster's queue."""

    @property
    def cluster(self) -> str: ...
    @property
    def ticket(self) -> int: ...
    def release(self) -> list[Turn]:
        """There is no such exchange any more: whose turn it is instead."""

@final
class Registry:
    """What is known of clusters (by name) and endpoints (by URL): how they fare, who uses them, who waits. Outlives
    snapshots. A snapshot that was not applied to one has state of its own."""

    SIZE: Final[int]
    """Bytes of memory for the accounts of rates."""
    SLOT: Final[int]
    """Bytes of memory for what a worker tells of its clusters."""

    def __new__(cls, memory: Buffer | None = None) -> Registry:
        """Know nothing.

        `memory`: writable, at least `SIZE` bytes, all zero at first and aligned to 8. For processes that share it (a
        mapping that was made before they were forked, as the registry was) rates hold together. `None`: memory of its
        own.
        """

    def become_worker(self, worker: int, workers: int) -> None:
        """From now on this process is this worker, from 0, of so many. It has its share of each fixed concurrency
        limit, and ids and random choices of its own. `ValueError`: there is no such worker."""
    def show(self, memory: Buffer) -> None:
        """Processes that are forked from now on tell each other in this memory how their clusters are. Then
        `view` of each of them speaks for all. Writable, a `SLOT` for each of them and another one, all zero at first
        and aligned to 8."""
    def publish(self) -> bool:
        """Tell the other workers how clusters are. To be called about once a second. `False`: there are too many
        endpoints for that, about 50,000, and they hear nothing."""
    def changes(self) -> list[tuple[str, str, bool, str, int]]:
        """Endpoints that are left alone since this was asked last, or not any more: cluster, URL, whether it is left
        alone, its condition as `view` has it, failures in a row. By cluster and URL."""
    def forget_worker(self, worker: int) -> None:
        """A worker is gone. What it has counted remains. For the process that has forked the workers."""
    def apply(self, snapshot: Snapshot) -> None:
        """A snapshot comes into force, once: `ValueError` where it is already."""
    def view(self) -> list[dict[str, Any]]:
        """Everything that is known now, by cluster name: what `GET /-/clusters` shows. Times are in seconds."""

@final
class Recorder:
    """Counts messages that are over, and keeps their lines for the access log. Mutable, for use by any thread."""

    SIZE: Final[int]
    """Bytes of memory that it counts in."""
    RECENT: Final[int]
    """How many messages `recent` gives at most."""

    def __new__(cls, codes: list[str], memory: Buffer | None = None) -> Recorder:
        """Count errors by these codes, 64 at most.

        `memory`: writable, at least `SIZE` bytes, all zero at first and aligned to 8. Processes that share it (a
        mapping that was made before they were forked) count together, if their `codes` are the same. `None`: memory of
        its own.
        """

    def become_worker(self, worker: int) -> None:
        """From now on this process is this worker, from 0. Its gauges are shown beside those of the others."""
    def forget_worker(self, worker: int) -> None:
        """A worker is gone, and what it said of itself with it."""
    def gauges(self, *, client_connections: int, upstream_idle: int, buffered: int) -> None:
        """Set this worker's gauges."""
    def mirror_dropped(self) -> None:
        """A mirror was not sent: too many are under way, or its message's body streams past."""
    def client_connected(self) -> None:
        """A client has connected."""
    def upstream_connected(self) -> None:
        """A connection to an endpoint was made."""
    def loaded(self, *, good: bool, first: bool = False) -> None:
        """A configuration was loaded, or could not be: `good` tells. `first`: that was no reload."""
    def render(self, registry: Registry | None = None, *, openmetrics: bool = False) -> tuple[str, str]:
        """Everything that is counted, in the text format of Prometheus (0.0.4), or as `OpenMetrics` (1.0.0); and the
        media type of that. With `registry`, how its clusters are, too.
        """
    def log(self, wake: Callable[[bool], object] | None) -> None:
        """Keep a line of each message that ends, and call `wake` when lines wait; `None`: keep none.

        `wake(False)` where a first line waits, `wake(True)` where so many do that they should be written now. Lines
        that find no room, with 4 MiB of others waiting, are dropped and counted.
        """
    def take_lines(self) -> tuple[bytes, int]:
        """The lines that wait, and how many they are. Each is a JSON object of at most 4096 bytes, its end included."""
    def recent(self) -> list[dict[str, Any]]:
        """The latest messages that are over in this process, newest first. There are at most `RECENT`.

        Each has `time` (RFC 3339, when it was over), `id`, `method`, `path` (without the query), `dialect`, `kind`,
        `model`, `tenant`, `route`, `cluster`, `endpoint`, `attempts`, `status`, `ms` (milliseconds from the request's
        head to the end of the response), and `why` and `error` as the access log has them. What is not known is
        `None`. A text of more than 256 bytes is cut and ends in `…`.
        """
    def lines_written(self, written: int, dropped: int) -> None:
        """So many lines were written, or could not be."""
    def record_rejection(
        self,
        code: str | None,
        status: int,
        *,
        intake: Intake | None = None,
        id: str = "",
        client: str | None = None,
        method: str = "",
        target: bytes | None = None,
        bytes_in: int = 0,
        bytes_out: int = 0,
    ) -> None:
        """A request ended before anything was decided: it was refused with the error `code`, or (`None`) its client
        left.

        `intake` knows all but `id` and what follows `target`; without one it is what is given here.
        """

@final
class RequestReader:
    """Reads the requests of one client connection, as far as they are plain. Mutable: used by one thread.

    *Plain* is a request for something below `/v1/` that `Snapshot.accept` would take, of which nothing but the length
    of a body has to be known to read it: no chunks, `Upgrade` or `Expect`, no other form of target than a path.
    """

    def __new__(cls, *, client: str | None = None, scheme: str = "http") -> RequestReader:
        """`client` is the client's address."""

    def feed(
        self, snapshot: Snapshot, data: bytes, room: int
    ) -> (
        tuple[Plan, int, bytes, Endpoint | Step | None, bytes | None]
        | tuple[Intake, bytes, bytes]
        | Literal[False]
        | None
    ):
        """Take what a socket read gave at a message boundary, or behind the part of a head that was fed before.

        - `None`: the head is not complete.
        - `False`: the request is not plain, or `Snapshot.accept` would reject it; nothing of its bytes was kept.
        - An intake, as much of its body as came, and the bytes behind it: the message is not decided.
        - A plan, the length of its body, the bytes behind it: all of a body that is to be read whole is there, takes
          no more than `room` bytes, and was decided. Where the plan is `Plan.direct` it has departed, and what
          `Plan.depart` says follows; else `None` twice.

        Raises `WaypostError` with `dialect` and `message_id`, as soon as it is seen, where no parser should go on:
        `bad_framing`, `header_too_large` (RFC 9112, sections 2.2, 3 and 5).
        """

@final
class ResponseHead:
    """Status and end-to-end header fields of a response (hop-by-hop fields removed, RFC 9110, section 7.6.1)."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, wire order. `content-length` is kept where it frames the body."""
    @property
    def retryable(self) -> bool:
        """Another attempt may do better, or the endpoint has failed with it: `Plan.retryable_response` tells. False
        where the reader was not a plan's."""
    @property
    def stream(self) -> bool:
        """The response is a stream of events (`text/event-stream`), which may be silent for long."""
    def fields(self, plan: Plan, endpoint: Endpoint, attempts: int) -> list[tuple[bytes, bytes]]:
        """`headers` as a client gets them: without fields that are Waypost's, then `Plan.own_fields`."""
    def relay(
        self, plan: Plan, endpoint: Endpoint, attempts: int, begin: bytes, close: bool
    ) -> tuple[bytes, bool, bool, bool]:
        """The head for an HTTP/1 client, through its empty line: `begin` (the status line and more), then `fields`.

        With it: the body goes in chunks (RFC 9112, section 7.1); there is a body on the wire; the client may send
        another request. `close`: it may not, whatever it asked for.
        """

@final
class ResponseEnd:
    """The end of a response."""

    @property
    def reusable(self) -> bool:
        """The connection may carry another request."""
    @property
    def trailers(self) -> list[tuple[bytes, bytes]]: ...

@final
class ResponseReader:
    """Reads one HTTP/1.1 response (RFC 9112). Mutable: one per attempt (`Plan.reader`), used by one thread."""

    def __new__(cls, method: str, *, max_head: int = 65536) -> ResponseReader:
        """`method` of the request: a response to HEAD has no body. `max_head` bounds head and trailers, in bytes."""

    def feed(self, data: bytes) -> tuple[ResponseHead | None, bytes, ResponseEnd | None]:
        """Take what a socket read gave: the head where it became complete, body bytes, the end where it was reached.

        Interim (1xx) responses are skipped. Raises `UpstreamError` with `upstream_protocol` on anything malformed.
        """

    def eof(self) -> ResponseEnd:
        """The endpoint closed. Ends a response that is framed by closing; else raises `UpstreamError`."""

def encode_chunk(data: bytes) -> bytes:
    """`data` as one chunk (RFC 9112, section 7.1). Empty data gives the last chunk and ends the body."""

def policy_keys() -> dict[str, dict[str, tuple[str, Any]]]:
    """The keys of each mapping in a cluster's policy: by the mapping's path from the cluster, with dots, and the key's
    name, the description and the default.

    Times are in seconds, percentages and percentiles whole numbers. Defaults of `rate` stand for what is not known.
    """
