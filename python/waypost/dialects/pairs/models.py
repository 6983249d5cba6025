"""Translates calls of models between OpenAI's chat completions and Anthropic's messages, and the replies back.

The core translates; this module says what becomes of the HTTP response around. What a request loses is named in the
response's `x-waypost-dropped`.

A stream begins with its first piece of content, so that an earlier failure still gets a status of its own. Errors of the
endpoint keep their status and get the code `upstream_error`. A 401 or 403 is the exception: it concerns the credential in
the cluster's configuration, not the client's. The client then gets a 502 `upstream_protocol`, and the log has the status.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

import orjson

from waypost._native import Cluster, Endpoint, ModelStream, Plan, translate_reply, translate_request
from waypost.config.url import endpoint_text
from waypost.dialects.anthropic import Anthropic
from waypost.dialects.anthropic import error_type as anthropic_type
from waypost.dialects.openai import OpenAi
from waypost.dialects.openai import error_type as openai_type
from waypost.dialects.pairs.described import DESCRIBES_BODY
from waypost.errors import UpstreamError, WaypostError
from waypost.sink import CollectSink, Headers, Sink

__all__ = ["ModelPair", "ModelSink"]

Format: TypeAlias = Literal["chat completions", "messages"]

_CHALLENGES: Final = frozenset({b"www-authenticate", b"proxy-authenticate"})
_CLIENTS: Final = {"chat completions": (OpenAi(), openai_type), "messages": (Anthropic(), anthropic_type)}
"""By the client's format: its dialect, and the `type` of an error of a status."""

_logger = logging.getLogger("waypost")


class ModelPair:
    """The pair: calls of models in the `client` format for clusters of the `cluster` format."""

    def __init__(self, client: Format, cluster: Format) -> None:
        self._client: Format = client
        self._cluster: Format = cluster

    def request(self, body: bytes, cluster: Cluster) -> tuple[bytes, list[str]]:
        model = None if b'"model"' in body else cluster.model
        return translate_request(self._client, self._cluster, body, model=model)

    def response(
        self,
        inner: Sink,
        plan: Plan,
        endpoint: Endpoint,
        limit: int,
        complete: Callable[[], None],
        dropped: Sequence[str],
    ) -> Sink:
        return ModelSink(self._cluster, self._client, inner, plan, endpoint, limit, complete, dropped)


class ModelSink(Sink):
    """Translates the response of an endpoint and passes it to `inner` in the client's format.

    Errors and replies that are not streamed are collected first, up to `limit` bytes. `complete` is called after the last
    event of a stream, before the response ends, because endpoints may leave the response open.
    """

    __slots__ = (
        "_client",
        "_cluster",
        "_collect",
        "_complete",
        "_dropped",
        "_endpoint",
        "_headers",
        "_held",
        "_inner",
        "_limit",
        "_plan",
        "_started",
        "_stream",
    )

    def __init__(
        self,
        cluster: Format,
        client: Format,
        inner: Sink,
        plan: Plan,
        endpoint: Endpoint,
        limit: int,
        complete: Callable[[], None],
        dropped: Sequence[str],
    ) -> None:
        self._cluster: Format = cluster
        self._client: Format = client
        self._inner = inner
        self._plan = plan
        self._endpoint = endpoint
        self._limit = limit
        self._complete = complete
        self._dropped = list(dropped)
        self._headers: Headers = []
        self._collect: CollectSink | None = None
        self._stream: ModelStream | None = None
        self._held = b""  # what opens the stream, until there is content
        self._started = False  # the stream's head has been passed on

    @property
    def sent(self) -> int:  # type: ignore[override]
        return self._inner.sent

    def start(self, status: int, headers: Headers) -> None:
        kind = next((value for name, value in headers if name == b"content-type"), b"")
        self._headers = [field for field in headers if field[0] not in DESCRIBES_BODY]
        if self._plan.stream and status == 200 and kind.partition(b";")[0].strip().lower() == b"text/event-stream":
            self._stream = ModelStream(
                self._cluster, self._client, limit=self._limit, usage=_wants_usage(self._plan.body)
            )
        else:
            self._collect = CollectSink(self._limit, self._collected)
            self._collect.start(status, headers)

    def data(self, chunk: bytes) -> None:
        if self._collect is not None:
            self._collect.data(chunk)
        elif self._stream is not None and not self._stream.done:
            self._pass_on(self._stream, *self._stream.feed(chunk))
            if self._stream.done:
                self._inner.end()
                self._complete()

    def comment(self) -> None:
        if self._stream is not None and not self._stream.done:
            self._begin()
            self._inner.comment()

    def end(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        if self._collect is not None:
            self._collect.end(trailers)
        elif self._stream is not None and not self._stream.done:
            self._pass_on(self._stream, *self._stream.finish())
            self._inner.end()

    def abort(self, error: WaypostError) -> None:
        if self._stream is None or not self._started:
            # The client has received nothing yet, so it can still get a proper error response.
            self._reply_error(error)
        elif self._stream.done:
            self._inner.abort(error)
        else:
            kind = _CLIENTS[self._client][1](error.status)
            self._inner.data(self._stream.fail(error.code, kind, error.message, self._plan.id))
            self._inner.abort(error)

    def _pass_on(self, stream: ModelStream, piece: bytes, error: UpstreamError | None) -> None:
        if self._started:
            if piece:
                self._inner.data(piece)
        else:
            self._held += piece
            if stream.committed:
                self._begin()
        if error is not None:
            raise error

    def _begin(self) -> None:
        """Pass the stream's head on, once, and what opens it."""
        if not self._started:
            self._started = True
            if not any(name == b"cache-control" for name, _ in self._headers):
                self._headers.append((b"cache-control", b"no-cache"))
            self._headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
            self._tell_dropped()
            self._inner.start(200, self._headers)
            if self._held:
                self._inner.data(self._held)
                self._held = b""

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._headers.append((b"x-waypost-dropped", ", ".join(self._dropped).encode("ascii", "replace")))

    def _collected(self, collected: CollectSink) -> None:
        status = collected.status
        cluster = self._endpoint.cluster.name
        if 200 <= status < 300:
            document = _error_of(collected.body)
            if document is not None:
                message = f"cluster {cluster} answered with an error: {_message_of(document)}"
                self._reply_error(_reported(message, status, document))
                return
            body, dropped = translate_reply(self._cluster, self._client, collected.body)
            self._dropped += dropped
            self._reply(status, body)
        elif status in (401, 403):
            message = f"cluster {cluster} rejected the credential of its configuration"
            where = endpoint_text(self._endpoint.url, self._endpoint.address)
            _logger.warning("%s: %s answered %d", message, where, status)
            self._headers = [field for field in self._headers if field[0] not in _CHALLENGES]
            self._reply_error(UpstreamError("upstream_protocol", message))
        elif status >= 400:
            document = _error_of(collected.body)
            told = f": {_message_of(document)}" if document is not None else ""
            error = _reported(f"cluster {cluster} answered {status}{told}", status, document or {})
            error.status = status
            self._reply_error(error)
        else:
            raise UpstreamError("upstream_protocol", f"a response with status {status} cannot be translated")

    def _reply_error(self, error: WaypostError) -> None:
        document = _CLIENTS[self._client][0].render_error(error, self._plan.id)
        size = self._reply(error.status, orjson.dumps(document))
        self._plan.record(size, error.code, status=error.status)

    def _reply(self, status: int, body: bytes) -> int:
        self._headers.append((b"content-type", b"application/json"))
        self._headers.append((b"content-length", b"%d" % len(body)))
        self._tell_dropped()
        self._collect = None
        self._inner.start(status, self._headers)
        self._inner.data(body)
        self._inner.end()
        return len(body)


def _wants_usage(body: bytes) -> bool:
    """Whether a client of chat completions asked to be told at the end of the stream what was used."""
    options = orjson.loads(body).get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _error_of(body: bytes) -> dict[str, Any] | None:
    """The error object of a reply, in either format."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str) and error:
        return {"message": error}
    return error if isinstance(error, dict) and error else None


def _message_of(error: dict[str, Any]) -> object:
    return error.get("message") or error.get("type") or error.get("code")


def _reported(message: str, status: int, document: dict[str, Any]) -> UpstreamError:
    error = UpstreamError("upstream_error", message)
    told = {key: document.get(key) for key in ("code", "type", "message")}
    error.upstream = {"status": status, **told}
    return error
