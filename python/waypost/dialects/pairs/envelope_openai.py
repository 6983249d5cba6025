"""Translates native `model` envelopes into OpenAI chat completions, and the replies back.

| envelope | chat completion request |
|---|---|
| `content`, a string | one user message |
| `content`, a list | `messages`, as given |
| `content`, an object with `messages` | merged into the request (`temperature`, `tools`, …); `n` must be 1 |
| `model`, else the cluster's `model` | `model` |
| `agent`, `labels`, `stream` | `user`, `metadata` (values as text), `stream` |

Values are copied byte for byte, so that no number loses digits. The other fields of the envelope are not sent on. A
chat completion has no place for `context`, for example; a client that wants the model to see it puts it into `content`.

A stream is read liberally and written strictly. It ends with `[DONE]` or, once a choice has its `finish_reason`, in any
way: servers leave `[DONE]` out, close the connection, or never close it. Without either it stopped short. Comments that
keep the stream alive are passed on. One event may be as long as a whole reply.

Errors of the endpoint keep their status and get the code `upstream_error`. `error.upstream` has the endpoint's own
`status`, `code`, `type` and `message`, each null if unknown. A 401 or 403 is the exception: it concerns the credential
in the cluster's configuration, not the client's. The client then gets a 502 `upstream_protocol`, and the log has the
status.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from waypost._native import Cluster, Endpoint, Plan
from waypost.config.url import endpoint_text
from waypost.dialects.envelope import error_object
from waypost.dialects.pairs.described import DESCRIBES_BODY
from waypost.dialects.sse import Event, SseReader
from waypost.errors import EnvelopeError, UpstreamError, WaypostError
from waypost.sink import CollectSink, Headers, Sink

__all__ = ["EnvelopeOpenAi", "TranslateSink", "translate_request"]

_ENVELOPE_OWNS: Final = {"model": "model", "stream": "stream", "user": "agent", "metadata": "labels"}
"""Chat completion parameters, and the envelope fields that they come from. Routes look at these fields."""
_CHALLENGES: Final = frozenset({b"www-authenticate", b"proxy-authenticate"})
_SHOWN: Final = 1000
"""How many characters of an error that is no object are quoted."""
_KEEP_ALIVE: Final = b":\n\n"
"""A comment, which readers of streams skip."""

_logger = logging.getLogger("waypost")


class _Envelope(msgspec.Struct):
    """The fields of an envelope that a chat completion uses."""

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

    def request(self, body: bytes, cluster: Cluster) -> tuple[bytes, list[str]]:
        return translate_request(body, cluster), []

    def response(
        self,
        inner: Sink,
        plan: Plan,
        endpoint: Endpoint,
        limit: int,
        complete: Callable[[], None],
        dropped: Sequence[str],  # noqa: ARG002 - this pair names what it does not carry in its documentation
    ) -> Sink:
        return TranslateSink(inner, plan, endpoint, limit, complete)


def translate_request(body: bytes, cluster: Cluster) -> bytes:
    """The chat completion request for a valid envelope.

    Raises `EnvelopeError` (`invalid_envelope`), which names the field that cannot be translated.
    """
    try:
        envelope = _ENVELOPE.decode(body)
        request = _content(envelope.content)
    except RecursionError:
        message = (
            f"`content` is nested too deeply to be translated for cluster `{cluster.name}`, which speaks openai: "
            "flatten it"
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
            message = f"`content.{parameter}` is not allowed: set the envelope's own `{field}`, which routes look at"
            raise EnvelopeError("invalid_envelope", message, field=f"content.{parameter}")
    if bytes(parameters.get("n", b"1")) not in (b"1", b"null"):
        message = "`content.n` must be 1: a native reply has one result; send one message for each result"
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
    """Translates the response of an OpenAI endpoint and passes the native reply to `inner`.

    Errors and replies that are not streamed are collected first, up to `limit` bytes. A stream begins with its first
    event or comment, so that an earlier failure still gets a status of its own. `complete` is called after the last
    event of a stream, before the response ends, because endpoints may leave the response open.
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
        "_started",
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
        self._finish_reason: Any = None  # once the endpoint has given it, the text is whole
        self._usage: Any = None
        self._started = False  # the stream's head has been passed on
        self._done = False  # the last event has been passed on

    @property
    def sent(self) -> int:  # type: ignore[override]
        return self._inner.sent

    def start(self, status: int, headers: Headers) -> None:
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        self._headers = [field for field in headers if field[0] not in DESCRIBES_BODY]
        if self._plan.stream and status == 200 and kind.partition(b";")[0].strip().lower() == b"text/event-stream":
            self._events = SseReader(self._limit)
        else:
            self._collect = CollectSink(self._limit, self._collected)
            self._collect.start(status, headers)

    def data(self, chunk: bytes) -> None:
        if self._collect is not None:
            self._collect.data(chunk)
        elif self._events is not None and not self._done:
            self._translate(self._events, chunk)
            if self._done:
                self._inner.end()
                self._complete()

    def comment(self) -> None:
        if self._events is not None and not self._done:
            self._begin()
            self._inner.comment()

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        if self._collect is not None:
            self._collect.end(trailers)
        elif self._events is not None and not self._done:
            try:
                self._translate(self._events, None)
            except UpstreamError:
                if self._finish_reason is None:
                    raise
            if not self._done:
                if self._finish_reason is None:
                    message = "the stream ended without a finish_reason and without its last event, [DONE]"
                    raise UpstreamError("upstream_protocol", message)
                self._pass_on([self._last()])
            self._inner.end()

    def abort(self, error: WaypostError) -> None:
        if self._done:
            self._inner.abort(error)
        elif not self._started:
            # The client has received nothing yet, so it can still get a proper error response.
            self._reply_error(error)
        elif self._finish_reason is not None:
            self._pass_on([self._last()])
            self._inner.end()
            self._plan.record(self._inner.sent)
        else:
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
            details = _error_details(document)
            if details is not None:
                reason = details["message"] or details["code"]
                self._reply_error(_reported(f"cluster {cluster} answered with an error", reason, status, details))
                return
            result = _result(document)
            if self._plan.stream:
                delta = {key: value for key, value in result.items() if key not in ("finish_reason", "model", "usage")}
                self._finish_reason, self._usage = result["finish_reason"], result.get("usage")
                self._pass_on([*self._delta(delta), self._last()])
                self._inner.end()
                return
            reply = {"id": self._plan.id, "route": self._plan.decision.route, "cluster": cluster}
            self._reply(status, {**reply, "result": result})
        elif status in (401, 403):
            message = f"cluster {cluster} rejected the credential of its configuration"
            where = endpoint_text(self._endpoint.url, self._endpoint.address)
            _logger.warning("%s: %s answered %d", message, where, status)
            self._headers = [field for field in self._headers if field[0] not in _CHALLENGES]
            self._reply_error(UpstreamError("upstream_protocol", message))
        elif status >= 400:
            details = _error_details(document) or _bare_details(document)
            error = _reported(f"cluster {cluster} answered {status}", details["message"], status, details)
            error.status = status
            self._reply_error(error)
        else:
            raise UpstreamError("upstream_protocol", f"a response with status {status} cannot be translated")

    def _reply_error(self, error: WaypostError) -> None:
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

    def _translate(self, reader: SseReader, chunk: bytes | None) -> None:
        """Pass on what `chunk`, or without one the end of the stream, completes. Raises `UpstreamError`."""
        out: list[bytes] = []
        try:
            for event in reader.finish() if chunk is None else reader.feed(chunk):
                out += self._event(event)
        finally:
            # Events before a bad one are still passed on.
            if reader.commented:
                reader.commented = False
                if not out:
                    out.append(_KEEP_ALIVE)
            if out:
                self._pass_on(out)

    def _pass_on(self, events: list[bytes]) -> None:
        self._begin()
        self._inner.data(b"".join(events))

    def _begin(self) -> None:
        """Pass the stream's head on, once."""
        if not self._started:
            self._started = True
            self._collect = None
            if not any(name == b"cache-control" for name, _ in self._headers):
                self._headers.append((b"cache-control", b"no-cache"))
            if (b"x-accel-buffering", b"no") not in self._headers:  # if the endpoint's response was no stream
                self._headers.append((b"x-accel-buffering", b"no"))
            self._headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
            self._inner.start(200, self._headers)

    def _event(self, event: Event) -> list[bytes]:
        """The native events for an event of the endpoint. Raises `UpstreamError` if the event reports an error."""
        if self._done:
            return []
        if event.data.strip() == b"[DONE]":
            return [self._last()]
        try:
            document = orjson.loads(event.data)
        except orjson.JSONDecodeError as exc:
            document = exc
        details = _event_error(event, document)
        if details is not None:
            self._finish_reason = None  # whatever came before
            raise _reported("the stream ended with an error", details["message"] or details["code"], None, details)
        if not isinstance(document, dict):
            if event.name not in (b"", b"message"):
                return []  # an extension of the server's, such as a ping
            reason = f"JSON: {document}" if isinstance(document, Exception) else "an object"
            raise UpstreamError("upstream_protocol", f"an event of the stream is not {reason}")
        if document.get("usage"):
            self._usage = document["usage"]
        choices = document.get("choices")
        out: list[bytes] = []
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                self._finish_reason = choice.get("finish_reason") or self._finish_reason
                delta = choice.get("delta", choice.get("message"))  # a whole reply in an event is one piece of text
                if isinstance(delta, dict):
                    out += self._delta(delta)
        return out

    def _delta(self, delta: dict[str, Any]) -> list[bytes]:
        content = delta.get("content")
        more = any(value is not None and key not in ("role", "content") for key, value in delta.items())
        # Content is a list of parts where a model thinks aloud, for example.
        if more or not isinstance(content, str | None):
            return [_sse({"id": self._plan.id, "delta": delta})]
        return [_sse({"id": self._plan.id, "delta": content})] if content else []

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


_NO_DETAILS: Final[dict[str, object]] = {"code": None, "type": None, "message": None}


def _error_details(document: Any) -> dict[str, object] | None:
    """Code, type and message of an OpenAI error object, or of a similar one that compatible servers send."""
    if not isinstance(document, dict):
        return None
    # vLLM and Mistral send the object itself, without a member `error` around it.
    error = document if document.get("object") == "error" else document.get("error")
    if isinstance(error, str) and error:
        return {**_NO_DETAILS, "message": error}
    if not isinstance(error, dict) or not error:
        return None
    return {key: error.get(key) if isinstance(error.get(key), (str, int)) else None for key in _NO_DETAILS}


def _bare_details(document: Any) -> dict[str, object]:
    """What a response with an error's status says that has no error object: its `message` or, of FastAPI, `detail`."""
    texts = (document.get(key) for key in ("message", "detail")) if isinstance(document, dict) else ()
    return {**_NO_DETAILS, "message": next((text for text in texts if text and isinstance(text, str)), None)}


def _event_error(event: Event, document: Any) -> dict[str, object] | None:
    """The details of the error that an event reports: in its document, or by its name."""
    details = _error_details(document)
    if details is None and event.name == b"error":
        if isinstance(document, dict):
            return _error_details({"error": document}) or _NO_DETAILS
        return {**_NO_DETAILS, "message": event.data.decode(errors="replace")[:_SHOWN]}
    return details


def _reported(what: str, reason: object, status: int | None, details: dict[str, object]) -> UpstreamError:
    """The error for an error that an endpoint reports."""
    error = UpstreamError("upstream_error", f"{what}: {reason}" if reason else what)
    error.upstream = {"status": status, **details}
    return error
