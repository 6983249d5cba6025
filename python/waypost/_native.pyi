"""The Rust extension: matching, routing decisions, HTTP/1.1 framing.

The module consists of pure functions and state machines: it opens no socket and reads no file. It reads the clock for
three purposes only: the course of an exchange (`Plan.begin` and the calls after it, `Registry`, active checks), the
times that a `Recorder` records (when a request's head and a response's head were complete, and when the message
ended), and whether the proof of a caller's identity is still valid (`Snapshot.accept`, `RequestReader.feed`). Classes
are immutable and may be shared between threads, unless they say otherwise.

This file has more than 500 lines because it holds the contract of one module.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Self, TypeAlias, final

from typing_extensions import Buffer, disjoint_base

_Body: TypeAlias = bytes | bytearray | memoryview | str
"""One JSON document: UTF-8 bytes, or text."""

_Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header fields in wire order: (name in any case, value)."""

_AnyHeaders: TypeAlias = Iterable[tuple[str | bytes, str | bytes]] | Mapping[str, str]
"""Header fields as pairs, or as a mapping."""

_Failure: TypeAlias = Literal["connect", "stale", "timeout", "reset", "protocol"]
_Guard: TypeAlias = Literal["open", "keyless", "always"]
_Dialect: TypeAlias = Literal["envelope", "json", "openai", "anthropic"]
_Format: TypeAlias = Literal["chat completions", "messages"]

__all__ = [
    "BodyReader",
    "Certificate",
    "Cluster",
    "Cost",
    "Decision",
    "Dialect",
    "Endpoint",
    "Explanation",
    "Intake",
    "LinearRules",
    "Matcher",
    "ModelStream",
    "Plan",
    "Recorder",
    "Registry",
    "Reply",
    "RequestHead",
    "RequestReader",
    "ResponseEnd",
    "ResponseHead",
    "ResponseReader",
    "RouteFile",
    "RouteTable",
    "Snapshot",
    "Step",
    "Turn",
    "Verdict",
    "__version__",
    "dialects",
    "encode_chunk",
    "encode_id",
    "policy_keys",
    "reseed_ids",
    "translate_reply",
    "translate_request",
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

def translate_request(
    client: _Format, cluster: _Format, body: bytes, *, model: str | None = None, drop: bool = False
) -> tuple[bytes, list[str]]:
    """The request in the cluster's format, and the paths of what was left out.

    `model` replaces the client's name of the model. With `drop`, what can be neither carried nor left out without a loss
    of meaning is left out, too. Raises `EnvelopeError` with `invalid_envelope`, which names the field.
    """

def translate_reply(cluster: _Format, client: _Format, body: bytes) -> tuple[bytes, list[str]]:
    """The whole reply in the client's format, and the paths of what was left out.

    Raises `UpstreamError` with `upstream_protocol`.
    """

def translations() -> list[tuple[_Dialect, _Dialect, list[str]]]:
    """Which messages can be translated: the client's dialect, the cluster's, and the kinds."""

def reseed_ids() -> None:
    """Give this process ids of its own, because it was forked from a process that may make ids too."""

@final
class Matcher:
    """Named patterns, matched against JSON documents.

    Changes never disturb a match under way: each call works on one immutable state of the rules. Returned names are
    interned, so the same rule always gives the same object.

    Matching takes time linear in the document, plus time for the rules that come close to matching it. Other rules cost
    nothing, however many there are; `cost` names the exceptions. Documents larger than 16 KiB, and lists of documents,
    are matched with the interpreter's lock (GIL) released.
    """

    def __new__(
        cls,
        patterns: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        duplicate_keys: Literal["error", "last"] = "error",
        depth: int = 128,
    ) -> Matcher:
        """Compile `patterns`, a mapping of rule name to pattern.

        `duplicate_keys` says what happens to a document in which an object has the same key twice: `"error"` rejects
        it, `"last"` uses the last value. `depth` is the most levels that a document may be nested, 1 to 1024.

        Raises `PatternError`, which names each invalid rule and the path within its pattern.
        """

    def first(self, body: _Body) -> str | None:
        """The name of the first rule, in declaration order, that matches; `None` if no rule does.

        A document that is not an object has no fields. Raises `EnvelopeError` if `body` is not valid JSON, or, with the
        code `too_costly`, if matching it takes too many steps.
        """

    def matches(self, body: _Body) -> list[str]:
        """The names of all rules that match, in declaration order. Raises like `first`."""

    def first_many(self, bodies: Iterable[_Body]) -> list[str | None]:
        """The result of `first` for each document, all by the same rules.

        Mutable buffers are copied first. Raises like `first` for the first invalid document; a note on the exception
        gives that document's index.
        """

    def matches_many(self, bodies: Iterable[_Body]) -> list[list[str]]:
        """The result of `matches` for each document, all by the same rules. Raises like `first_many`."""

    def explain(self, body: _Body, *, rule: str | None = None) -> Explanation:
        """Why each rule, or only `rule`, does or does not match.

        Without `rule`, this takes time for every rule. Raises like `first`; `KeyError` if there is no such rule.
        """

    def cost(self) -> Cost:
        """The rules that are tried one by one. This takes at most about as long as compiling the rules."""

    def add(self, name: str, pattern: Mapping[str, Any]) -> None:
        """Append a rule. Raises `PatternError`; `ValueError` if the name is taken.

        `add`, `update` and `remove` take time for the most recent changes only, not for all rules. After every few
        thousand changes, a background thread recompiles all rules.
        """

    def update(self, name: str, pattern: Mapping[str, Any]) -> None:
        """Change a rule's pattern; the rule keeps its position.

        Raises `PatternError`; `KeyError` if there is no such rule.
        """

    def remove(self, name: str) -> None:
        """Remove a rule. Raises `KeyError` if there is no such rule."""

    def replace(self, patterns: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace all rules at once. If it raises `PatternError`, the old rules stay."""

    def __len__(self) -> int: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]:
        """Rule names in declaration order."""

@final
class Cost:
    """What rules cost beyond reading the document."""

    @property
    def rules(self) -> int:
        """Number of rules."""
    @property
    def linear(self) -> tuple[LinearRules, ...]:
        """Groups of rules that are tried one by one, largest first; only groups of at least 128 rules are listed."""
    @property
    def per_value(self) -> tuple[LinearRules, ...]:
        """Groups of rules with conditions that are compared with each value of one field, one by one.

        Only groups of more than 16 conditions are listed. A document with very many such values is `too_costly`.
        """

@final
class LinearRules:
    """Rules that are tried one by one for some messages, or that are compared with each value of a field."""

    @property
    def when(self) -> str:
        """The messages concerned (`kind is "model"`, or `every message`), or the values: `each value of items.size`."""
    @property
    def rules(self) -> tuple[str, ...]:
        """The rules' names, in declaration order."""

@final
class Decision:
    """What a route does with a message.

    Decisions are built when routes are compiled, so every message of a route gets the same object.
    """

    @property
    def route(self) -> str:
        """The route's name."""
    @property
    def cluster(self) -> str | None:
        """The cluster for the message; `None` if the route names none."""
    @property
    def fallback(self) -> tuple[str, ...]:
        """Clusters to try, in order, when `cluster` fails."""
    @property
    def action(self) -> Literal["forward", "reply"]:
        """What the route does: `forward` its messages to clusters, or `reply` itself."""
    @property
    def reply(self) -> Reply | None:
        """The route's own answer; `None` unless `action` is `reply`."""
    @property
    def mirror(self) -> tuple[str, int] | None:
        """The cluster that gets copies of messages, and the share that is copied, in per cent; or `None`."""
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
        """An error code to answer with, in the shape of the client's dialect; `None` for an ordinary reply.

        With a code, the status is that of the code.
        """

@final
class Verdict:
    """Whether one route or rule matches one message, and why."""

    @property
    def route(self) -> str:
        """Name of the route or rule."""
    @property
    def matched(self) -> bool: ...
    @property
    def path(self) -> str | None:
        """The first field that failed, such as `labels.region`.

        `None` if the route matches, or if no single field is to blame.
        """
    @property
    def expected(self) -> str | None:
        """The values that the pattern allows for that field, in words."""
    @property
    def seen(self) -> str | None:
        """The message's value of that field as shortened JSON text; `None` if the message has none."""
    @property
    def reason(self) -> str:
        """The reason in one sentence."""

@final
class Explanation:
    """Every route's verdict on one message, in the order in which routes are tried."""

    @property
    def route(self) -> str | None:
        """The first route or rule that matches; `None` if none does."""
    @property
    def decision(self) -> Decision | None:
        """The decision of that route; always `None` for a `Matcher`, which has no routes."""
    @property
    def fields(self) -> dict[str, str]:
        """The message's envelope fields, each as shortened JSON text; empty for a `Matcher`."""
    @property
    def verdicts(self) -> list[Verdict]: ...

@final
class RouteFile:
    """The routes of one large file. Plain ones are read at once; of the others, their text is known.

    A plain route has a name, a pattern, clusters and a precedence of valid shape, and no references (`${…}`).
    """

    @staticmethod
    def yaml(text: str) -> tuple[RouteFile, str] | None:
        """Read a YAML file: its routes, and its text with an empty list of routes.

        `None` if it has something that only `waypost.config` knows, or no list of routes.
        """
    @staticmethod
    def lines(text: str) -> RouteFile | None:
        """Read a file of JSON lines, one route in each line that is not blank."""
    @staticmethod
    def names_differ(files: Sequence[RouteFile], others: Sequence[str]) -> bool:
        """Whether no two plain routes of `files`, and none of the names in `others`, have the same name."""
    def __len__(self) -> int: ...
    def others(self) -> list[int]:
        """The positions of the routes that are not plain."""
    def written(self, at: int) -> tuple[int, int, str]:
        """Line and column, from 0, and text of a route. Raises `IndexError`."""
    def route(self, at: int) -> dict[str, Any] | None:
        """The keys of a plain route; `None` for another one."""
    def clusters(self) -> list[str]:
        """The clusters that plain routes name, each once."""

@disjoint_base
class RouteTable:
    """Routes compiled for deciding. `waypost.RouteTable` adds `load`, which reads a configuration file."""

    def __new__(
        cls,
        routes: Iterable[Mapping[str, Any]],
        *,
        depth: int = 128,
    ) -> Self:
        """Compile routes, in the order in which they are tried if their precedence is equal.

        A route is a mapping with a `name`, and optionally `match`, `to`, `fallback`, `reply` (a mapping with `status`,
        `headers`, `body`, `error`), `mirror` (a mapping with `to`, `share`) and `precedence`. `depth` is the most
        levels that a message's body may be nested, 1 to 1024.

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
        """The decision of the first route that matches; `None` if no route does.

        Routes are tried by precedence, highest first, then in the order given. `body` is `None` for a message without a
        body. `path` defaults to the dialect's main path. `identity` is the caller's identity, with the optional keys
        `tenant`, `agent` and `labels`. `client` is the client's IP address.

        Raises `EnvelopeError` with the code `invalid_json`, `invalid_utf8`, `duplicate_key`, `too_deep`,
        `invalid_envelope` or `too_costly`; `WaypostError` with `identity_conflict` if the message contradicts
        `identity`.
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
        """The decisions of all routes that match, in the order in which they are tried. Raises like `decide`."""

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
        """Why each route does or does not match the message. Raises like `decide`."""

    def __len__(self) -> int: ...

@final
class Cluster:
    """A cluster of one configuration, with its policy. Times are in seconds."""

    @property
    def name(self) -> str: ...
    @property
    def speaks(self) -> Literal["envelope", "openai", "anthropic"]: ...
    @property
    def model(self) -> str | None:
        """The model for envelopes that name none."""
    @property
    def policy(self) -> dict[str, Any]:
        """The whole policy with defaults filled in, under the keys of the configuration; a new dict each time.

        Times are in seconds; percentages and percentiles are integers. `retry` and `breaker` are always mappings, and
        `rate` is always a list. `concurrency` is an integer, `"unlimited"` or `{"adaptive": {…}}`. `balance` is a
        string or `{"hash": field}`. `hedge` and `health["check"]` are mappings or `None`.
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
    def stream_comment(self) -> float:
        """The silence of a stream of events after which the client gets a comment, in seconds; infinite: it
        gets none."""
    @property
    def connection_age(self) -> float:
        """The longest age of a connection, in seconds."""
    @property
    def connection_idle(self) -> float:
        """The longest time that a connection is idle before it is used again, in seconds."""
    @property
    def hedged(self) -> bool:
        """Whether the policy has a hedge: while one attempt is slow, a second one may be made."""
    @property
    def check(self) -> tuple[str, float] | None:
        """The active check: the path to GET, and its timeout in seconds; `None` without a check."""

@final
class Endpoint:
    """One URL of a cluster, or one address of its host. A snapshot always gives the same object for it.

    `address` is that address, where each address of the host is an endpoint of its own; see `Registry.resolved`.
    """

    @property
    def cluster(self) -> Cluster: ...
    @property
    def url(self) -> str:
        """The URL as configured. Its cluster's name, it and the address together identify the endpoint's state."""
    @property
    def address(self) -> str | None: ...
    @property
    def host(self) -> str:
        """Host name or IP address; an IPv6 address has no brackets."""
    @property
    def authority(self) -> str:
        """The value for a Host field: the host, and the port unless it is the default (RFC 9110, section 7.2)."""
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> bool: ...

@final
class Intake:
    """A request whose head was accepted, before it is decided. It tells how to read the body."""

    @property
    def id(self) -> str:
        """The request's `x-request-id` if it has 1 to 128 visible ASCII characters, otherwise a new id."""
    @property
    def dialect(self) -> _Dialect: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str:
        """Path and query, not decoded."""
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The request's header fields in wire order."""
    @property
    def http_version(self) -> str: ...
    @property
    def persistent(self) -> bool:
        """Whether the client may send another request on the connection (RFC 9112, section 9.3).

        This is false for HTTP/1.0.
        """
    @property
    def length(self) -> int | None:
        """Length of the body in bytes; `None` if the head does not say it."""
    @property
    def buffered(self) -> bool:
        """Whether the decision needs the body.

        If true, read the whole body, up to `limits.body`, and pass it to `plan`. If false, call `plan(None)` and stream
        the body.
        """
    def plan(self, body: bytes | None) -> Plan:
        """Decide the message. The plan keeps `body`.

        Raises like `RouteTable.decide`; `WaypostError` with `no_route` if no route matches.
        """
    def explain(self, body: bytes | None) -> Explanation:
        """Why each route does or does not match, judged as `plan` would. Raises like `RouteTable.decide`."""

@final
class ModelStream:
    """A model's stream of events on its way from a cluster's format to a client's."""

    def __init__(
        self, cluster: _Format, client: _Format, *, limit: int, usage: bool, prompt: int = 0
    ) -> None:
        """`limit` bounds one event, in bytes. With `usage`, a client of chat completions is told what was used.

        `prompt` is the number of the prompt's tokens, for endpoints that do not tell.
        """
    def feed(self, data: bytes) -> tuple[bytes, UpstreamError | None]:
        """What the client gets of these bytes, and why the stream ends there, if it does."""
    def finish(self) -> tuple[bytes, UpstreamError | None]:
        """What the client gets once the endpoint's stream is over, and why the reply is not whole, if it is not."""
    def fail(self, code: str, kind: str, message: str, request_id: str) -> bytes:
        """The event that tells the client of an error. `kind` is the error's type in the client's format."""
    @property
    def committed(self) -> bool:
        """Whether the client has got something of the reply itself, so that no other endpoint can answer any more."""
    @property
    def done(self) -> bool:
        """Whether the client has got everything, though the endpoint may leave the stream open."""

@final
class Plan:
    """One decided message: its decision, the course of its exchange, and the bytes for each attempt.

    Mutable, for use by one exchange.
    """

    @property
    def decision(self) -> Decision: ...
    @property
    def id(self) -> str: ...
    @property
    def request_id(self) -> bytes:
        """The message's `id`, encoded so that a header field can carry it."""
    @property
    def dialect(self) -> _Dialect: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def stream(self) -> bool:
        """Whether the message asks for a streamed reply."""
    @property
    def deadline_ms(self) -> int | None: ...
    @property
    def idempotent(self) -> bool:
        """Whether the message may be sent again although an endpoint may have received it already."""
    @property
    def action(self) -> Literal["forward", "translate", "reply"]:
        """What happens to the message. `translate` means that a cluster it may go to speaks another dialect."""
    @property
    def mirror(self) -> str | None:
        """The cluster that gets a copy of the message; `None` if no cluster does."""
    @property
    def direct(self) -> bool:
        """Whether the message is only forwarded: it has no translation, no mirror and no deadline of its own."""
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
        """The plan of an internal call to one cluster on behalf of this message.

        The child has the identity, trace, id and priority of this message, and its remaining deadline. Without `body`
        it repeats the request; with `body` it is a POST to the default path of `dialect`. `purpose` appears in its
        record.

        Raises `ValueError` if the cluster cannot take such a message.
        """
    def depart(self) -> tuple[Endpoint | Step, bytes | None]:
        """Call `begin`, and return its result together with the whole request for the first attempt.

        The request is `None` if the first step is not an attempt, or if the attempt may be hedged.
        """
    def begin(self) -> Endpoint | Step:
        """Begin the exchange. Returns the endpoint for the first attempt, or another step to take first.

        From now on the clusters count the message, until `close` or until the plan is freed. Attempts have numbers from
        1, in the order in which their endpoints were returned.
        """
    def resume(self) -> Endpoint | Step:
        """Continue after a `pause`."""
    def wait_expired(self) -> Endpoint | Step:
        """Continue after the time of a `wait` has passed."""
    def take_turn(self, turn: Turn) -> Endpoint | Step:
        """Continue after a `wait` that ended with `turn`."""
    def time_left(self, stream: bool = False) -> tuple[float, float | None]:
        """The seconds that the exchange may still take, infinite if nothing limits it, and the limit.

        The limit is the cluster's total timeout in seconds, or `None` for the message's deadline.

        `stream`: the response has begun, and is a stream.
        """
    def turns(self) -> list[Turn]:
        """The turns that have come in the queues of this message's clusters.

        Call this whenever a cluster may have room again, and pass each turn to the exchange that waits for it.
        """
    def reader(self, number: int) -> ResponseReader:
        """A reader for the response to attempt `number`. It also records how well the endpoint answers."""
    def retryable_response(self, number: int, head: ResponseHead, replayable: bool) -> Endpoint | Step:
        """Report a response head that is `ResponseHead.retryable`.

        Returns a step. `pause`: keep this response, and make another attempt after the pause, which may be 0 seconds.
        `respond`: this response is the answer. `stay`: another attempt is under way. `replayable` says whether all of
        the request's bytes are still at hand.
        """
    def failed(self, number: int, failure: _Failure, sent: bool, replayable: bool, delivered: bool) -> Endpoint | Step:
        """Report that attempt `number` has failed. Returns the next step.

        `failure` is one of these:

        - `connect`: no connection could be made.
        - `stale`: a reused connection was closed before the first byte of a response. The next attempt has to use a new
          connection.
        - `timeout`: the attempt took too long.
        - `reset`: the connection was closed too early.
        - `protocol`: the response violated HTTP.

        `sent`: the endpoint may have received a byte of the request. `replayable`: all of the request's bytes are still
        at hand. `delivered`: the client has received a byte of the response, so the failure is only counted.
        """
    def leave_unfit(self, number: int, sent: bool, replayable: bool) -> Endpoint | Step:
        """Report that the active check of the endpoint fails at which attempt `number` waits.

        Returns the next step, or `stay` if the message cannot go elsewhere and the attempt goes on.
        """
    def request_sent(self, number: int) -> None:
        """Report that a streamed request body has been sent completely."""
    def hedge_after(self) -> float | None:
        """Seconds after the start of the only attempt when a hedge becomes worthwhile; `None` if it never does."""
    def hedge(self) -> Endpoint | None:
        """The endpoint for a hedge beside the attempt under way, or `None`. The first response wins."""
    def alternatives(self, number: int) -> list[Endpoint]:
        """Where the connection for attempt `number` may be made as well, in this order: other addresses of its
        endpoint.

        They are fit and were not tried. An endpoint without addresses has none.
        """
    def moved(self, number: int, made: str | None, refused: list[str]) -> Endpoint | None:
        """Report where the connection for attempt `number` was made, if it was, and which addresses did not take one.

        Each of `refused` counts as unreachable. Returns the endpoint that the attempt goes to now: the address `made`,
        or the same as before if there is none or it is not known. None of this counts as another attempt.
        """
    def close(self, whole: bool = False) -> None:
        """End the exchange: its clusters no longer count it.

        `whole`: the client has received the whole response, although the endpoint has not ended it.
        """
    @property
    def intake(self) -> Intake: ...
    @property
    def method(self) -> str: ...
    @property
    def body(self) -> bytes:
        """The whole request body while the plan keeps it; empty afterwards."""
    @property
    def body_length(self) -> int:
        """Length in bytes of the request body that the plan keeps."""
    def attach(self, body: bytes) -> None:
        """Keep the body of a message that was planned without a body."""
    def drop_body(self) -> None:
        """Drop the body, because no other attempt will be made."""
    def count_received(self, count: int) -> None:
        """Record `count` more bytes received of a streamed request body."""
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
        """Count and log the finished message. Only the first call has an effect.

        `bytes_out` is the number of body bytes given to the client. `why` is `ok`, `client_gone`, `aborted` (the
        response stopped short, and `error` is the code of the cause) or the code of the error that was answered.
        `status`, `endpoint` (the one that answered, or was tried last) and `attempts` default to those of the last
        response that `ResponseHead` or `answer` wrote for this plan.
        """
    def answer(
        self, endpoint: Endpoint, data: bytes, lines: dict[int, bytes], fields: bytes, close: bool
    ) -> tuple[bytes, bool, float] | None:
        """Answer an HTTP/1 client with the first read from the only attempt's connection.

        If `data` is a complete response that needs no other attempt, this ends and records the exchange. It returns the
        bytes for the client, whether the client may send another request, and for how many seconds the endpoint's idle
        connection is reusable, as in `ResponseEnd.reusable`. Otherwise it returns `None` and changes nothing.

        `lines` maps each status to its status line. `fields` are the header lines that the server adds to every head. A
        `date` is the first of them, and left out if the endpoint sent one. `close` closes the client's connection after
        the response.
        """
    def answer_parts(
        self, endpoint: Endpoint, data: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes, list[tuple[bytes, bytes]], float] | None:
        """Like `answer`, but returns the response in parts for another protocol.

        The parts are the status, the header fields, the body, the trailer fields, and for how many seconds the
        endpoint's idle connection is reusable, as in `ResponseEnd.reusable`.
        """
    def request(self, endpoint: Endpoint) -> bytes:
        """The whole request for one attempt: its head, and the body that the plan keeps."""
    def own_fields(self, endpoint: Endpoint | None, attempts: int) -> list[tuple[bytes, bytes]]:
        """The `x-request-id` and `x-waypost-…` fields of the response.

        `endpoint` is the one that answered, or was tried last.
        """
    def translated(self, endpoint: Endpoint) -> bool:
        """Whether the message must be translated, because the endpoint's cluster speaks another dialect."""
    def head(self, endpoint: Endpoint, body_length: int | None) -> bytes:
        """The request head for one attempt, including the empty line (RFC 9112, section 3).

        `body_length` is in bytes; `None` means chunked. With 0, a request that announced no body, such as a GET, gets
        neither framing field. `x-waypost-deadline-ms` carries the remaining time of the message's deadline.
        """

@final
class Certificate:
    """A client's certificate that TLS has verified."""

    def __new__(cls, subject: str, der: bytes, names: list[str] = ...) -> Certificate:
        """`der` is the whole certificate, DER encoded (`ssl.SSLSocket.getpeercert(binary_form=True)`).

        `subject` and `names`, the subject alternative names, are compared with those of `keys` as texts.
        """
    @property
    def subject(self) -> str:
        """Its subject, as it was given."""
    @property
    def names(self) -> list[str]:
        """Its subject alternative names, as they were given."""
    @property
    def fingerprint(self) -> bytes:
        """The SHA-256 of its DER encoding."""

@final
class Snapshot:
    """One compiled configuration. A reload compiles another snapshot, which replaces it as a whole."""

    def __new__(cls, config: Mapping[str, Any], recorder: Recorder | None = None) -> Snapshot:
        """Compile a checked configuration, as `waypost.config.Config.to_native()` returns it.

        Missing keys of a cluster's policy have their defaults. `recorder` counts and logs the messages.

        Raises `ConfigError` with every problem that a check of types and shapes cannot find: wrong patterns, wrong
        policies, unknown clusters, and clusters that cannot take a route's dialect.
        """

    @staticmethod
    def problems(config: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
        """The problems that compiling would report, as (path, message), for a configuration that was only partly read.

        In patterns and policies, `...` stands for a value that could not be read; it causes no problem. Unknown names
        of clusters cause no problem either.
        """

    @property
    def table(self) -> RouteTable: ...
    @property
    def clusters(self) -> dict[str, Cluster]: ...
    @property
    def endpoints(self) -> list[Endpoint]: ...
    def turns(self) -> list[Turn]:
        """The turns that have come in the queues of all clusters. Call this once the snapshot is in force."""
    @property
    def next_check(self) -> float | None:
        """Seconds until the next active check is due; `None` without checks, or if a newer snapshot is in force."""
    def due_checks(self) -> list[Endpoint]:
        """The endpoints whose active check is due. Each is returned once; report its result with `checked`."""
    def checked(self, endpoint: Endpoint, good: bool) -> bool:
        """Report the result of an active check. `good` is false for a bad answer or a timeout.

        Returns whether the check fails from now on, so that messages that wait at the endpoint may go elsewhere.
        """
    @property
    def warnings(self) -> list[tuple[tuple[str | int, ...], str]]:
        """Valid but probably unintended parts, as (path, message): a route that can never be reached, for example."""
    def accept(
        self,
        method: str,
        target: bytes,
        headers: _Headers,
        *,
        client: str | None = None,
        scheme: str = "http",
        http_version: str = "1.1",
        certificate: Certificate | None = None,
        key: str | None = None,
    ) -> Intake:
        """Check a request's head.

        `target` is the raw path with its query. `client` is the address of the connection's peer, `None` on a Unix
        socket. `scheme` is the scheme of the connection. Forwarding fields of trusted proxies are read from `headers`.

        `certificate` is the client's. A key may name it.

        If the configuration has `keys`, the request must present one. For explanations, `key` names a key that counts
        as presented, whatever `headers` contain; an unknown name raises `KeyError`.

        Raises `WaypostError` with the attributes `dialect` and `message_id`. Its code is `unauthorized`, `not_found`,
        `method_not_allowed` (with the attribute `allow`), `unsupported_media_type`, `header_too_large` or
        `bad_framing`.
        """
    def check_origin(self, guard: _Guard, scheme: str, target: bytes, headers: _Headers) -> None:
        """Check that no page of another site sent a request to a listener. `scheme` is the listener's.

        `guard` says what the listener asks: `open`, nothing; `keyless`, that pages are of its own site while there are
        no `keys`; `always`, that, and that every request names it in Host by an address, localhost or one of
        `listen.hosts`. Raises `WaypostError` (`foreign_origin`).
        """
    def admit(
        self,
        headers: _Headers,
        *,
        metrics: bool = False,
        client: str | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """Check that a request with these header fields presents a key that opens administration, or only its metrics.

        For `client` and `certificate` see `accept`.

        Raises `WaypostError` with `unauthorized` if it presents no key of this configuration, with `forbidden` if its
        key is not an admin key.
        """

@final
class Step:
    """The next step of an exchange, unless it is an attempt."""

    @property
    def kind(self) -> Literal["pause", "wait", "respond", "give_up", "refuse", "stay"]:
        """What to do next.

        - `pause`: do nothing for `seconds`, then call `Plan.resume`.
        - `wait`: wait for a turn with this `cluster` and `ticket`, and pass it to `Plan.take_turn`. If none comes
          within `seconds`, call `Plan.wait_expired`.
        - `respond`: relay the response that has begun.
        - `give_up`: answer with the failure of the last attempt.
        - `refuse`: answer with `error`.
        - `stay`: do nothing.
        """
    @property
    def seconds(self) -> float:
        """With `pause` and `wait`, how long."""
    @property
    def cluster(self) -> str:
        """With `wait`, the name of the cluster that has no room."""
    @property
    def ticket(self) -> int:
        """With `wait`, the ticket in that cluster's queue."""
    @property
    def displaced(self) -> Turn | None:
        """With `wait`, the turn of another exchange that lost its place in the queue to this one."""
    @property
    def error(self) -> Exception | None:
        """With `refuse`, the `WaypostError` to answer with: `rate_limited`, `queue_full`, `deadline_too_short`, …"""

@final
class Turn:
    """The end of one message's wait in a cluster's queue: it may proceed, or it has lost its place.

    Pass it to `Plan.take_turn` of the exchange that waits with this ticket of this cluster.
    """

    @property
    def cluster(self) -> str: ...
    @property
    def ticket(self) -> int: ...
    def release(self) -> list[Turn]:
        """Give up the turn, because its exchange is gone. Returns the turns that come instead."""

@final
class Registry:
    """The state of all clusters and endpoints, which outlives snapshots. Mutable, for use by any thread.

    Clusters are identified by name, endpoints by cluster and URL. A snapshot that was not applied to a registry has
    state of its own.
    """

    SIZE: Final[int]
    """Bytes of memory for the token buckets of rates."""
    SLOT: Final[int]
    """Bytes of memory for the state that one worker publishes."""

    def __new__(cls, memory: Buffer | None = None) -> Registry:
        """Make a registry without any state.

        `memory` holds the token buckets: a writable buffer of at least `SIZE` bytes, zeroed and aligned to 8 bytes.
        Rates hold across all processes that share it; create the mapping and the registry before forking them. With
        `None`, the registry allocates memory of its own.
        """

    def become_worker(self, worker: int, workers: int) -> None:
        """Declare this process to be worker number `worker`, counted from 0, of `workers`.

        A worker has its share of each fixed concurrency limit, and its own ids and random choices. Raises `ValueError`
        if there is no such worker.
        """
    def show(self, memory: Buffer) -> None:
        """Let processes that are forked from now on publish the state of their clusters in `memory`.

        Then `view` in each process covers all of them. `memory` is a writable buffer with a `SLOT` for each process and
        one more, zeroed and aligned to 8 bytes.
        """
    def publish(self) -> bool:
        """Publish the state of this worker's clusters to the other workers. Call it about once a second.

        Returns `False` if the state does not fit, which takes about 50,000 endpoints; nothing is published then.
        """
    def changes(self) -> list[tuple[str, str, str | None, bool, str, int]]:
        """The endpoints that went out of use, or came back into use, since the last call.

        Each has its cluster, its URL, its address if there is one, whether it is out of use, its condition as in
        `view`, and its number of consecutive failures. The list is sorted by cluster, URL and address.
        """
    def forget_worker(self, worker: int) -> None:
        """Drop the published state of a worker that has exited; its counts remain. Call it in the parent process."""
    def apply(self, snapshot: Snapshot, names: list[Endpoint] = ...) -> None:
        """Bring a snapshot into force. Raises `ValueError` if it already is.

        `names` are its endpoints whose host is a name that this process resolves; `resolved` tells of their addresses.
        """
    def resolved(self, host: str, addresses: list[str]) -> None:
        """The name `host` was resolved to these addresses. Each is an endpoint of its own from now on.

        At most 64 are used. An address that is not among them gets no further message. Without any, the endpoints go by
        name again. Nothing happens if no endpoint in force has this name.
        """
    def view(self) -> list[dict[str, Any]]:
        """The current state of all clusters, sorted by name, as `GET /-/clusters` shows it. Times are in seconds."""

@final
class Recorder:
    """Counts finished messages, and keeps their lines for the access log. Mutable, for use by any thread."""

    SIZE: Final[int]
    """Bytes of memory for the counters."""
    RECENT: Final[int]
    """The most messages that `recent` returns."""

    def __new__(cls, codes: list[str], memory: Buffer | None = None) -> Recorder:
        """Make a recorder that counts errors by these codes, at most 64.

        `memory` holds the counters: a writable buffer of at least `SIZE` bytes, zeroed and aligned to 8 bytes.
        Processes that share it count together, if they have the same `codes`; create the mapping before forking them.
        With `None`, the recorder allocates memory of its own.
        """

    def become_worker(self, worker: int) -> None:
        """Declare this process to be worker number `worker`, counted from 0. Each worker has its own gauges."""
    def forget_worker(self, worker: int) -> None:
        """Drop the gauges of a worker that has exited."""
    def gauges(self, *, client_connections: int, upstream_idle: int, buffered: int) -> None:
        """Set this worker's gauges: two numbers of connections, and bytes of buffered request bodies."""
    def mirror_dropped(self) -> None:
        """Count a mirror that was not sent, because too many are under way or the message's body is streamed."""
    def client_connected(self) -> None:
        """Count a client connection."""
    def upstream_connected(self) -> None:
        """Count a new connection to an endpoint."""
    def loaded(self, *, good: bool, first: bool = False) -> None:
        """Record that a configuration was loaded (`good`), or could not be.

        `first`: this was the first load, not a reload.
        """
    def render(self, registry: Registry | None = None, *, openmetrics: bool = False) -> tuple[str, str]:
        """All metrics in the Prometheus text format (0.0.4), or as OpenMetrics (1.0.0), and their media type.

        With `registry`, the metrics of its clusters are included.
        """
    def log(self, wake: Callable[[bool], object] | None) -> None:
        """Keep an access log line for each finished message, and call `wake` to have lines written.

        `wake(False)` means that a first line waits; `wake(True)` means that so many lines wait that they should be
        written at once. If 4 MiB of lines wait, further lines are dropped and counted. With `None`, no lines are kept.
        """
    def take_lines(self) -> tuple[bytes, int]:
        """Take the lines that wait, and their number.

        Each line is a JSON object of at most 4096 bytes, including its newline.
        """
    def recent(self) -> list[dict[str, Any]]:
        """The latest messages that finished in this process, newest first. There are at most `RECENT`.

        Each has `time` (RFC 3339, when it finished), `id`, `method`, `path` (without the query), `dialect`, `kind`,
        `model`, `tenant`, `route`, `cluster`, `endpoint`, `address`, `upstream_request_id`, `attempts`, `tried`,
        `status`, `ms` (milliseconds from the request's head to the end of the response), and `why`, `error` and `call`
        as in the access log. `tried` has a dict for each attempt, of at most 16, if there is more to tell than that one
        attempt answered: `cluster`, `endpoint`, `address`, `status`, `failure`, `ms` and `upstream_request_id`. Unknown
        values are `None`. A text of more than 256 bytes is cut and ends in `…`.
        """
    def lines_written(self, written: int, dropped: int) -> None:
        """Count lines that were written, and lines that could not be written."""
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
        """Record a request that ended before it was decided.

        `code` is the error that it was rejected with; `None` means that the client left. With `intake`, only `id`,
        `bytes_in` and `bytes_out` are needed.
        """

@final
class RequestReader:
    """Reads the requests of one client connection. Mutable, for use by one thread.

    A plain request has one of the common methods, a path as its target, a body of known length or none, and no
    `Expect`.
    """

    def __new__(
        cls,
        *,
        client: str | None = None,
        scheme: str = "http",
        certificate: Certificate | None = None,
        guard: _Guard = "open",
    ) -> RequestReader:
        """`client`, `scheme` and `certificate` as `Snapshot.accept` takes them.

        `feed` makes the check of `Snapshot.check_origin`. Raises `ValueError` if there is no such guard.
        """

    def feed(
        self, snapshot: Snapshot, data: bytes, room: int
    ) -> (
        tuple[Plan, int, bytes, Endpoint | Step | None, bytes | None]
        | tuple[Intake, bytes, bytes]
        | tuple[RequestHead, bytes]
        | None
    ):
        """Read the bytes of one socket read, at a message boundary or after part of a head.

        Returns one of these:

        - `None`: the head is incomplete.
        - A head and the bytes after it: the request is for the application, because it is not plain, is for no
          dialect's path, or would be rejected by `Snapshot.accept`.
        - An intake, the part of its body that has arrived, and the bytes after that: the message is not decided.
        - A plan, the length of its body in bytes, the bytes after that, and two more values: the message is decided,
          because its whole body has arrived and takes at most `room` bytes. If the message is `Plan.direct`, the two
          values are the result of `Plan.depart`; otherwise both are `None`.

        Raises `WaypostError` with the attributes `dialect` and `message_id`: `bad_framing` or `header_too_large` as
        soon as the bytes cannot be a request that any parser should read (RFC 9112, sections 2.2, 3, 5 and 6), and
        `foreign_origin`.
        """

@final
class RequestHead:
    """The head of a request that is not plain, or that the application has to reject."""

    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str:
        """Path and query, not decoded; or `*`.

        The authority of a target in absolute form is the value of the field `host` (RFC 9112, section 3.2.2).
        """
    @property
    def http_version(self) -> str:
        """`1.0` or `1.1`."""
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields in wire order, names in lower case, values without surrounding whitespace."""
    @property
    def persistent(self) -> bool:
        """Whether the client may send another request on the connection (RFC 9112, section 9.3)."""
    @property
    def length(self) -> int | None:
        """Length of the body in bytes; `None` if the body is chunked."""
    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 (Continue)` before it sends the body (RFC 9110, section 10.1.1)."""

@final
class BodyReader:
    """Reads the body of one request (RFC 9112, section 7.1). Mutable, for use by one thread.

    The trailers of a chunked body are checked by the rules of a head, and dropped.
    """

    def __new__(cls, length: int | None, *, max_trailers: int) -> BodyReader:
        """`length` is that of the body in bytes; `None` if the body is chunked. `max_trailers` is in bytes."""
    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Read the bytes of one socket read. Returns bytes of the body, and once it has ended, the bytes behind it.

        Raises `WaypostError`: `bad_framing`, or `header_too_large` for trailers that are too long or too many. After
        an error or the end, the reader must not be used.
        """
    @property
    def in_trailers(self) -> bool:
        """Whether the data of the body has ended, but not the trailers."""

@final
class ResponseHead:
    """Status and header fields of a response, without hop-by-hop fields (RFC 9110, section 7.6.1)."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Header fields in wire order, names in lower case. `content-length` is kept if it frames the body."""
    @property
    def retryable(self) -> bool:
        """Whether the response may call for another attempt; ask `Plan.retryable_response`.

        Always false if the reader does not belong to a plan.
        """
    @property
    def stream(self) -> bool:
        """Whether the response is a stream (events, JSON lines, audio, video), which may take any time and pause
        for long."""
    @property
    def takes_comments(self) -> bool:
        """Whether comments may be added to the body, which is a stream of server-sent events."""
    def fields(self, plan: Plan, endpoint: Endpoint, attempts: int) -> list[tuple[bytes, bytes]]:
        """The header fields for the client: `headers` without Waypost's own fields, then `Plan.own_fields`."""
    def relay(
        self, plan: Plan, endpoint: Endpoint, attempts: int, line: bytes, own: bytes, close: bool
    ) -> tuple[bytes, bool, bool, bool]:
        """The head for an HTTP/1 client: the status line, the server's `own` lines, `fields`, and the empty line.

        `own` are the header lines that the server adds to every head. A `date` is the first of them, and left out if
        the endpoint sent one. The three other values say whether the body is sent in chunks (RFC 9112, section 7.1),
        whether a body is sent at all, and whether the client may send another request. With `close` it may not.
        """

@final
class ResponseEnd:
    """The end of a response."""

    @property
    def reusable(self) -> float:
        """For how many seconds the idle connection may carry another request; 0 if it may not.

        Infinite without a bound. The bound is four fifths of the endpoint's own (`Keep-Alive: timeout=N`).
        """
    @property
    def trailers(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def empty(self) -> bool:
        """Whether the response is no answer: a model's stream of events without an event.

        Report it by `Plan.failed`.
        """

@final
class ResponseReader:
    """Reads one HTTP/1.1 response (RFC 9112). Mutable, for use by one thread; `Plan.reader` makes one per attempt."""

    def __new__(cls, method: str, *, max_head: int = 65536) -> ResponseReader:
        """`method` is that of the request: a response to HEAD has no body.

        `max_head` limits the head and the trailers, in bytes.
        """

    def feed(self, data: bytes) -> tuple[ResponseHead | None, bytes, ResponseEnd | None]:
        """Read the bytes of one socket read. Returns the head once it is complete, body bytes, and the end.

        Interim (1xx) responses are skipped. Raises `UpstreamError` with `upstream_protocol` on malformed data.
        """

    @property
    def lacks_event(self) -> bool:
        """Whether a model's stream of events has had no event so far, so that it may still be replaced."""

    def eof(self) -> ResponseEnd:
        """Report that the endpoint closed the connection. Raises `UpstreamError` unless that ends the response."""

def encode_id(id: str) -> bytes:
    """Encode a message's id for a header field.

    Bytes that are not visible ASCII are percent-encoded (RFC 3986, section 2.1).
    """

def encode_chunk(data: bytes) -> bytes:
    """Encode `data` as one chunk (RFC 9112, section 7.1). Empty data encodes the last chunk, which ends the body."""

def policy_keys() -> dict[str, dict[str, tuple[str, Any]]]:
    """The keys of each mapping in a cluster's policy: by the mapping's path from the cluster, with dots, and the key's
    name, the description and the default.

    Times are in seconds, percentages and percentiles are integers. Defaults of `rate` stand for unknown values.
    """
