"""A native `model` envelope for a cluster that speaks OpenAI chat completions, and the reply back.

| envelope | chat completion request |
|---|---|
| `content`, a string | one user message |
| `content`, a list | `messages`, as given |
| `content`, an object with `messages` | merged into the request (`temperature`, `tools`, …); `n` has to be 1 |
| `model`, else the cluster's `model` | `model` |
| `agent`, `labels`, `stream` | `user`, `metadata` (values as text), `stream` |

What is taken over is copied byte for byte, so that no number loses digits. Everything else of the envelope stays here:
`context` too, for which a chat completion has no place. Who wants it seen puts it into `content`.

Errors of the endpoint keep their status and get the code `upstream_error`; what the endpoint said is under
`error.upstream`: `status`, `code`, `type` and `message`, null where it said none. A 401 or 403 is the exception: it is
about the credential that the cluster's configuration gives and not about the client's, so the client gets a 502
`upstream_protocol`, and the log the status.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from waypost._native import Cluster, Endpoint, Plan
from waypost.dialects.envelope import error_object
from waypost.dialects.sse import SseReader
from waypost.errors import EnvelopeError, UpstreamError, WaypostError
from waypost.sink import CollectSink, Headers, Sink

__all__ = ["EnvelopeOpenAi", "TranslateSink", "translate_request"]

_ENVELOPE_OWNS: Final = {"model": "model", "stream": "stream", "user": "agent", "metadata": "labels"}
"""Chat completion parameter: the envelope field that it comes from, and that routes looked at."""
_EVENT_LIMIT: Final = 1024 * 1024
"""Bytes of one streamed event."""
_DESCRIBES_BODY: Final = frozenset(
    {
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-digest",
        b"repr-digest",
        b"digest",
        b"etag",
        b"accept-ranges",
        b"trailer",
    },
)
"""Fields that are true of the upstream's bytes only."""
_CHALLENGES: Final = frozenset({b"www-authenticate", b"proxy-authenticate"})

_logger = logging.getLogger("waypost")


class _Envelope(msgspec.Struct):
    """What a chat completion takes of an envelope."""

    content: msgspec.Raw = msgspec.Raw(b"null")
    model: str | None = None
    agent: str | None = None
    labels: dict[str, msgspec.Raw] | None = None
    stream: bool | None = None


class _Message(msgspec.Struct):
    role: str


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MESSAGE: Final = msgspec.json.Decoder(_Message)

_Json = bytes | msgspec.Raw
"""One JSON value."""


class EnvelopeOpenAi:
    """The pair: envelopes to chat completions, and replies back."""

    def request(self, body: bytes, cluster: Cluster) -> bytes:
        return translate_request(body, cluster)

    def response(self, inner: Sink, plan: Plan, endpoint: Endpoint, limit: int, complete: Callable[[], None]) -> Sink:
        return TranslateSink(inner, plan, endpoint, limit, complete)


def translate_request(body: bytes, cluster: Cluster) -> bytes:
    """The chat completion request for a valid envelope.

    Raises `EnvelopeError` with `invalid_envelope`, naming the field that cannot be translated.
    """
    try:
        envelope = _ENVELOPE.decode(body)
        request = _content(envelope.content)
    except RecursionError:
        message = (
            f"`content` is too deep to be translated for cluster `{cluster.name}`, which speaks openai: flatten it"
        )
        raise EnvelopeError("invalid_envelope", message, field="content") from None
    model = cluster.model if envelope.model is None else envelope.model
    if model is None:
        message = f"`model` is missing: name a model, or set `clusters.{cluster.name}.model`"
        raise EnvelopeError("invalid_envelope", message, field="model")
    request["model"] = orjson.dumps(model)
    if envelope.agent is not None:
        request["user"] = orjson.dumps(envelope.agent)
    if envelope.labels:
        texts = {key: value if _starts(value, b'"') else _text(value) for key, value in envelope.labels.items()}
        request["metadata"] = _object(texts)
    if envelope.stream:
        request["stream"] = b"true"
    return _object(request)


def _content(content: msgspec.Raw) -> dict[str, _Json]:
    if _starts(content, b'"'):
        return {"messages": b"".join((b'[{"role":"user","content":', content, b"}]"))}
    if _starts(content, b"["):
        _check_messages(content, "content")
        return {"messages": content}
    parameters: dict[str, _Json] = {}
    if _starts(content, b"{"):
        parameters.update(_OBJECT.decode(content))
    messages = parameters.get("messages")
    if messages is None or not _starts(messages, b"["):
        raise EnvelopeError(
            "invalid_envelope",
            "`content` of a model message must be a string, a list of messages ({role, content}), "
            "or an object with `messages` and chat completion parameters",
            field="content",
        )
    for parameter, field in _ENVELOPE_OWNS.items():
        if parameter in parameters:
            message = f"`content.{parameter}` is not allowed: routes look at the envelope's own `{field}`, put it there"
            raise EnvelopeError("invalid_envelope", message, field=f"content.{parameter}")
    if bytes(parameters.get("n", b"1")) not in (b"1", b"null"):
        message = "`content.n` must be 1: a native reply has one result; send a message for each"
        raise EnvelopeError("invalid_envelope", message, field="content.n")
    _check_messages(messages, "content.messages")
    return parameters


def _check_messages(messages: _Json, path: str) -> None:
    found = _LIST.decode(messages)
    if not found:
        raise EnvelopeError("invalid_envelope", f"`{path}` is empty: give at least one message", field="content")
    for index, message in enumerate(found):
        try:
            _MESSAGE.decode(message)
        except msgspec.ValidationError:
            text = f"`{path}[{index}]` must be an object with a role (system, user, assistant or tool)"
            raise EnvelopeError("invalid_envelope", text, field=f"{path}[{index}]") from None


def _starts(value: _Json, byte: bytes) -> bool:
    return memoryview(value)[:1] == byte


def _text(value: _Json) -> bytes:
    """A string that holds the JSON text of `value`."""
    return orjson.dumps(bytes(value).decode())


def _object(members: Mapping[str, _Json]) -> bytes:
    parts: list[_Json] = []
    for name, value in members.items():
        parts += (b",", orjson.dumps(name), b":", value)
    parts[:1] = [b"{"]
    parts.append(b"}")
    return b"".join(parts)


class TranslateSink(Sink):
    """Takes the response of an OpenAI endpoint and gives `inner` the native reply.

    A reply that is not streamed is collected first, up to `limit` bytes. So is an error, and a reply that the endpoint
    did not stream although it was asked to. `complete` is called where the last event says that all was given, before
    the response ends: endpoints may leave it open.
    """

    __slots__ = (
        "_collect",
        "_complete",
        "_done",
        "_endpoint",
        "_events",
        "_finish_reason",
        "_headers",
        "_inner",
        "_limit",
        "_plan",
        "_usage",
    )

    def __init__(self, inner: Sink, plan: Plan, endpoint: Endpoint, limit: int, complete: Callable[[], None]) -> None:
        self._inner = inner
        self._plan = plan
        self._endpoint = endpoint
        self._limit = limit
        self._complete = complete
        self._headers: Headers = []
        self._collect: CollectSink | None = None
        self._events: SseReader | None = None
        self._finish_reason: Any = None
        self._usage: Any = None
        self._done = False  # the last event was given

    @property
    def sent(self) -> int:  # type: ignore[override]
        return self._inner.sent

    def start(self, status: int, headers: Headers) -> None:
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        self._headers = [field for field in headers if field[0] not in _DESCRIBES_BODY]
        if self._plan.stream and status == 200 and kind.partition(b";")[0].strip().lower() == b"text/event-stream":
            self._events = SseReader(_EVENT_LIMIT)
            self._start_stream()
        else:
            self._collect = CollectSink(self._limit, self._collected)
            self._collect.start(status, headers)

    def data(self, chunk: bytes) -> None:
        if self._collect is not None:
            self._collect.data(chunk)
        elif self._events is not None and not self._done:
            out: list[bytes] = []
            try:
                for event in self._events.feed(chunk):
                    out += self._event(event)
            finally:
                # What came before a bad event is good.
                if out:
                    self._inner.data(b"".join(out))
            if self._done:
                self._inner.end()
                self._complete()

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        if self._collect is not None:
            self._collect.end(trailers)
        elif not self._done:
            raise UpstreamError("upstream_protocol", "the stream ended without its last event, [DONE]")

    def abort(self, error: WaypostError) -> None:
        if self._collect is not None:
            # Nothing was given to the client yet, so it can still have a proper answer.
            self._refuse(error)
            return
        if not self._done:
            self._inner.data(_sse({"id": self._plan.id, "error": error_object(error)}))
        self._inner.abort(error)

    # Whole replies.

    def _collected(self, collected: CollectSink) -> None:
        try:
            document = orjson.loads(collected.body)
        except orjson.JSONDecodeError as exc:
            document = exc
        status = collected.status
        cluster = self._endpoint.cluster.name
        if 200 <= status < 300:
            result = _result(document)
            if self._plan.stream:
                self._start_stream()
                delta = {key: value for key, value in result.items() if key not in ("finish_reason", "model", "usage")}
                self._finish_reason, self._usage = result["finish_reason"], result.get("usage")
                self._inner.data(b"".join((*self._delta(delta), self._last())))
                self._inner.end()
                return
            reply = {"id": self._plan.id, "route": self._plan.decision.route, "cluster": cluster}
            self._reply(status, {**reply, "result": result})
        elif status in (401, 403):
            message = f"cluster {cluster} refused the credential that its configuration gives"
            _logger.warning("%s: %s answered %d", message, self._endpoint.url, status)
            self._headers = [field for field in self._headers if field[0] not in _CHALLENGES]
            self._refuse(UpstreamError("upstream_protocol", message))
        elif status >= 400:
            told = _told(document) or _NOTHING_TOLD
            said = f": {told['message']}" if told["message"] else ""
            error = UpstreamError("upstream_error", f"cluster {cluster} answered {status}{said}")
            error.status = status
            error.upstream = {"status": status, **told}
            self._refuse(error)
        else:
            raise UpstreamError("upstream_protocol", f"a {status} cannot be translated")

    def _refuse(self, error: WaypostError) -> None:
        size = self._reply(error.status, {"id": self._plan.id, "error": error_object(error)})
        self._plan.record(size, error.code, status=error.status)

    def _reply(self, status: int, document: dict[str, Any]) -> int:
        body = orjson.dumps(document)
        self._headers.append((b"content-type", b"application/json"))
        self._headers.append((b"content-length", b"%d" % len(body)))
        self._collect = None
        self._inner.start(status, self._headers)
        self._inner.data(body)
        self._inner.end()
        return len(body)

    # Streams.

    def _start_stream(self) -> None:
        self._collect = None
        if not any(name == b"cache-control" for name, _ in self._headers):
            self._headers.append((b"cache-control", b"no-cache"))
        self._headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
        self._inner.start(200, self._headers)

    def _event(self, event: bytes) -> list[bytes]:
        """The native events for one of the endpoint's. Raises `UpstreamError` where it tells of an error."""
        if self._done:
            return []
        if event.strip() == b"[DONE]":
            return [self._last()]
        try:
            document = orjson.loads(event)
        except orjson.JSONDecodeError as exc:
            raise UpstreamError("upstream_protocol", f"an event of the stream is not JSON: {exc}") from None
        if not isinstance(document, dict):
            raise UpstreamError("upstream_protocol", "an event of the stream is not an object")
        told = _told(document)
        if told is not None:
            error = UpstreamError("upstream_error", f"its stream ended in an error: {told['message'] or told['code']}")
            error.upstream = {"status": None, **told}
            raise error
        if document.get("usage"):
            self._usage = document["usage"]
        choices = document.get("choices")
        out: list[bytes] = []
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                if choice.get("finish_reason") is not None:
                    self._finish_reason = choice["finish_reason"]
                if isinstance(choice.get("delta"), dict):
                    out += self._delta(choice["delta"])
        return out

    def _delta(self, delta: dict[str, Any]) -> list[bytes]:
        content = delta.get("content")
        more = any(value is not None and key not in ("role", "content") for key, value in delta.items())
        if more:
            return [_sse({"id": self._plan.id, "delta": delta})]
        if isinstance(content, str) and content:
            return [_sse({"id": self._plan.id, "delta": content})]
        return []

    def _last(self) -> bytes:
        self._done = True
        last: dict[str, Any] = {"id": self._plan.id, "done": True, "finish_reason": self._finish_reason}
        if self._usage is not None:
            last["usage"] = self._usage
        return _sse(last)


def _sse(document: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _result(document: Any) -> dict[str, Any]:
    choices = document.get("choices") if isinstance(document, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or not isinstance(choice, dict):
        reason = f"not JSON: {document}" if isinstance(document, Exception) else "no choices[0].message"
        raise UpstreamError("upstream_protocol", f"the reply is not a chat completion ({reason})")
    result = {**message, "finish_reason": choice.get("finish_reason"), "model": document.get("model")}
    if document.get("usage") is not None:
        result["usage"] = document["usage"]
    return result


_NOTHING_TOLD: Final[dict[str, object]] = {"code": None, "type": None, "message": None}


def _told(document: Any) -> dict[str, object] | None:
    """Code, type and message of an OpenAI error object, or of the likes of it that compatible servers send."""
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str) and error:
        return {**_NOTHING_TOLD, "message": error}
    if not isinstance(error, dict):
        return None
    return {key: error.get(key) if isinstance(error.get(key), (str, int)) else None for key in _NOTHING_TOLD}
