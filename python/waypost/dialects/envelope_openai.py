"""A native `model` envelope for a cluster that speaks OpenAI chat completions, and the reply back.

| envelope | chat completion request |
|---|---|
| `content`, a string | one user message |
| `content`, a list | `messages`, as given |
| `content`, an object with `messages` | merged into the request (`temperature`, `tools`, …) |
| `model`, else the cluster's `model` | `model` |
| `agent`, `labels`, `stream` | `user`, `metadata` (values as text), `stream` |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from waypost._native import Cluster, Endpoint, Plan
from waypost.dialects.errors import error_object
from waypost.dialects.sse import SseReader
from waypost.errors import EnvelopeError, UpstreamError, WaypostError
from waypost.exchange.sink import CollectSink, Headers, Sink

__all__ = ["TranslateSink", "translate_request"]

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


def translate_request(body: bytes, cluster: Cluster) -> bytes:
    """The chat completion request for a valid envelope.

    Raises `EnvelopeError` with `invalid_envelope`, naming the field that cannot be translated.
    """
    try:
        envelope: dict[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        # Valid JSON all the same: a number that no double holds, say.
        message = f"cannot be translated for cluster {cluster.name}, which speaks openai: {exc}"
        raise EnvelopeError("invalid_envelope", message, exc.pos) from None
    request = _content(envelope.get("content"))
    model = envelope.get("model") or cluster.model
    if not model:
        message = f"model is missing: name a model, or set clusters.{cluster.name}.model"
        raise EnvelopeError("invalid_envelope", message, field="model")
    request["model"] = model
    if envelope.get("agent") is not None:
        request["user"] = envelope["agent"]
    labels = envelope.get("labels")
    if labels:
        request["metadata"] = {
            key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in labels.items()
        }
    if envelope.get("stream"):
        request["stream"] = True
    return orjson.dumps(request)


def _content(content: Any) -> dict[str, Any]:
    if isinstance(content, str):
        return {"messages": [{"role": "user", "content": content}]}
    if isinstance(content, list):
        return {"messages": _messages(content, "content")}
    if isinstance(content, dict) and isinstance(content.get("messages"), list):
        for parameter, field in _ENVELOPE_OWNS.items():
            if parameter in content:
                message = f"content.{parameter} is not allowed: routes look at the envelope's own {field}, put it there"
                raise EnvelopeError("invalid_envelope", message, field=f"content.{parameter}")
        return {**content, "messages": _messages(content["messages"], "content.messages")}
    raise EnvelopeError(
        "invalid_envelope",
        "content of a model message has to be a string, a list of messages ({role, content}), "
        "or an object with messages and chat completion parameters",
        field="content",
    )


def _messages(messages: list[Any], path: str) -> list[Any]:
    if not messages:
        raise EnvelopeError("invalid_envelope", f"{path} is empty: give at least one message", field="content")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            text = f"{path}[{index}] has to be an object with a role (system, user, assistant or tool)"
            raise EnvelopeError("invalid_envelope", text, field=f"{path}[{index}]")
    return messages


class TranslateSink:
    """Takes the response of an OpenAI endpoint and gives `inner` the native reply.

    A reply that is not streamed is collected first, up to `limit` bytes. So is an error, and a reply that the endpoint
    did not stream although it was asked to.
    """

    __slots__ = (
        "_collect",
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

    def __init__(self, inner: Sink, plan: Plan, endpoint: Endpoint, limit: int) -> None:
        self._inner = inner
        self._plan = plan
        self._endpoint = endpoint
        self._limit = limit
        self._headers: Headers = []
        self._collect: CollectSink | None = None
        self._events: SseReader | None = None
        self._finish_reason: Any = None
        self._usage: Any = None
        self._done = False  # the last event was given

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

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        if self._collect is not None:
            self._collect.end()
        elif self._done:
            self._inner.end(trailers)
        else:
            raise UpstreamError("upstream_protocol", "the stream ended without its last event, [DONE]")

    def abort(self, error: WaypostError) -> None:
        if self._collect is not None:
            # Nothing was given to the client yet, so it can still have a proper answer.
            self._reply(error.status, {"id": self._plan.id, "error": error_object(error)})
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
        if 200 <= collected.status < 300:
            result = _result(document)
            if self._plan.stream:
                self._start_stream()
                delta = {key: value for key, value in result.items() if key not in ("finish_reason", "model", "usage")}
                self._finish_reason, self._usage = result["finish_reason"], result.get("usage")
                self._inner.data(b"".join((*self._delta(delta), self._last())))
                self._inner.end()
                return
            reply = {"id": self._plan.id, "route": self._plan.decision.route, "cluster": self._endpoint.cluster.name}
            self._reply(collected.status, {**reply, "result": result})
        else:
            code, message = _error(document) or (
                "upstream_protocol",
                f"cluster {self._endpoint.cluster.name} answered {collected.status} without an error object",
            )
            self._reply(collected.status, {"id": self._plan.id, "error": {"code": code, "message": message}})

    def _reply(self, status: int, document: dict[str, Any]) -> None:
        body = orjson.dumps(document)
        self._headers.append((b"content-type", b"application/json"))
        self._headers.append((b"content-length", b"%d" % len(body)))
        self._collect = None
        self._inner.start(status, self._headers)
        self._inner.data(body)
        self._inner.end()

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
        failed = _error(document)
        if failed is not None:
            raise _StreamError(*failed)
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


class _StreamError(UpstreamError):
    """The endpoint told of an error inside its stream: its own code and words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__("upstream_protocol", message)
        self.code = code


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


def _error(document: Any) -> tuple[str, str] | None:
    """Code and message of an OpenAI error object, or of the likes of it that compatible servers send."""
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str) and error:
        return "upstream_protocol", error
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    code = next((error[key] for key in ("code", "type") if isinstance(error.get(key), str) and error[key]), None)
    return code or "upstream_protocol", error["message"]
