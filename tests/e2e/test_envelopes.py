"""Native envelopes: to clusters that speak them, and translated to clusters that speak OpenAI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .support.client import Client
from .support.site import Launcher, Site
from .support.upstream import Request
from .support.wire import Body, Fields, Truncated, chunk, head

COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "model": "m-2",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


@pytest.fixture(scope="module")
def site(shared: Launcher) -> Site:
    clusters = {
        "native": {"speaks": "envelope"},
        "native-based": {"speaks": "envelope", "base": "/search"},
        "model": {"model": "default-model"},
        "modelless": {"credential": {"header": "authorization", "value": "Bearer key"}},
    }
    return Site(shared, clusters)


def test_native_bytes_pass_both_ways(site: Site) -> None:
    text = '{"kind":"query", "id":"e 1", "x-unknown": {"b":[1, 2 ]}, "content":"na\\u00efve ☃", "priority":null}\n'
    body = text.encode()
    reply = b' {"id":"e 1","result": [1 , 2],"extra":1e400}\n'
    client = site.envelope("native", body)
    peer, request = site["native"].request()
    assert (request.method, request.target, request.body) == ("POST", "/v1/envelopes", body)
    assert request.get("x-request-id") == "e%201"
    peer.reply(reply)
    response = client.response()
    assert (response.status, response.body) == (200, reply)
    assert response.get("x-request-id") == "e%201"


def test_an_endpoints_path_is_where_envelopes_are_posted(site: Site) -> None:
    client = site.envelope("native-based")
    peer, request = site["native-based"].request()
    assert request.target == "/search"
    peer.reply()
    assert client.response().status == 200


@pytest.mark.parametrize("kind", ["query", "context", "model", "tool", "event"])
def test_every_kind_reaches_a_native_cluster(site: Site, kind: str) -> None:
    body = json.dumps({"id": "e-1", "kind": kind, "tool": "t", "topic": "a/b"}).encode()
    client = site.envelope("native", body)
    peer, request = site["native"].request()
    assert request.body == body
    peer.reply()
    assert client.response().status == 200


def test_native_errors_pass_unchanged(site: Site) -> None:
    body = b'{"id":"e-1","error":{"code":"theirs","message":"no"}}'
    client = site.envelope("native")
    peer, _ = site["native"].request()
    peer.reply(body, 422)
    response = client.response()
    assert (response.status, response.body) == (422, body)


def _translated(site: Site, envelope: dict[str, Any], cluster: str = "model") -> tuple[Client, Any, Request]:
    client = site.envelope(cluster, {"id": "e-1", "kind": "model", **envelope})
    peer, request = site[cluster].request()
    return client, peer, request


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        ('say "hi" ☃', {"messages": [{"role": "user", "content": 'say "hi" ☃'}]}),
        ([{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "t"}]}], None),
        ({"messages": [{"role": "user", "content": "u"}], "temperature": 0.5, "tools": []}, None),
    ],
)
def test_content_becomes_a_chat_completion(site: Site, content: Any, sent: Any) -> None:
    client, peer, request = _translated(site, {"content": content, "model": "m", "agent": "planner"})
    if sent is None:
        sent = {"messages": content} if isinstance(content, list) else content
    assert request.json == {**sent, "model": "m", "user": "planner"}
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.get("content-type") == "application/json"
    assert request.get("accept") == "application/json"
    assert request.get("accept-encoding") == "identity"
    assert request.get("x-request-id") == "e-1"
    peer.reply(
        json.dumps(COMPLETION).encode(),
        headers=[("content-type", "application/json"), ("x-theirs", "1"), ("etag", '"x"')],
    )
    response = client.response()
    assert response.json == {
        "id": "e-1",
        "route": "to-model",
        "cluster": "model",
        "result": {
            "role": "assistant",
            "content": "hi",
            "finish_reason": "stop",
            "model": "m-2",
            "usage": COMPLETION["usage"],
        },
    }
    assert response.get("content-type") == "application/json"
    assert response.get("x-theirs") == "1"
    assert "etag" not in response.fields


def test_labels_become_metadata_and_routing_fields_stay_here(site: Site) -> None:
    envelope = {"content": "x", "labels": {"region": "eu", "n": 1}, "tenant": "acme", "priority": 7, "task": "t"}
    client, peer, request = _translated(site, envelope)
    assert request.json == {
        "messages": [{"role": "user", "content": "x"}],
        "metadata": {"region": "eu", "n": "1"},
        "model": "default-model",
    }
    peer.reply(json.dumps(COMPLETION).encode())
    assert client.response().status == 200


def test_the_clusters_credential_is_sent_with_a_translation(site: Site) -> None:
    client, peer, request = _translated(site, {"content": "x", "model": "m"}, "modelless")
    assert request.get("authorization") == "Bearer key"
    peer.reply(json.dumps(COMPLETION).encode())
    assert client.response().status == 200


def test_a_model_has_to_come_from_somewhere(site: Site) -> None:
    response = site.envelope("modelless", {"id": "e-1", "kind": "model", "content": "x"}).response()
    assert response.status == 400
    assert response.json["id"] == "e-1"
    assert (response.error["code"], response.error["field"]) == ("invalid_envelope", "model")
    assert "clusters.modelless.model" in response.error["message"]
    assert site["modelless"].untouched()


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (None, "content"),
        (7, "content"),
        ([], "content"),
        ([{"content": "no role"}], "content[0]"),
        ({"prompt": "x"}, "content"),
        ({"messages": []}, "content"),
        ({"messages": ["x"]}, "content.messages[0]"),
        ({"messages": [{"role": "user", "content": "x"}], "model": "smuggled"}, "content.model"),
        ({"messages": [{"role": "user", "content": "x"}], "stream": True}, "content.stream"),
    ],
)
def test_content_that_is_no_chat_is_refused(site: Site, content: Any, field: str) -> None:
    response = site.envelope("model", {"id": "e-1", "kind": "model", "content": content}).response()
    assert response.status == 400
    assert (response.error["code"], response.error["field"]) == ("invalid_envelope", field)
    assert response.json["id"] == "e-1"
    assert site["model"].untouched()


@pytest.mark.parametrize("kind", ["query", "context", "tool", "event"])
def test_other_kinds_cannot_go_to_a_model(site: Site, kind: str) -> None:
    response = site.envelope("model", {"id": "e-1", "kind": kind}).response()
    assert (response.status, response.error["code"]) == (404, "no_route")
    assert f"envelopes of kind {kind} cannot be sent on: `model` speaks openai" in response.error["message"]
    assert response.json["id"] == "e-1"
    assert site["model"].untouched()


def test_openai_requests_cannot_go_to_a_native_cluster(site: Site) -> None:
    response = site.chat("native").response()
    assert (response.status, response.error["code"]) == (404, "no_route")
    assert response.error["type"] == "not_found_error"
    assert site["native"].untouched()


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_an_upstreams_error_is_translated_with_its_status(site: Site, status: int) -> None:
    client, peer, _ = _translated(site, {"content": "x"})
    error = {"error": {"message": "no such model", "type": "invalid_request_error", "param": None, "code": "gone"}}
    peer.reply(json.dumps(error).encode(), status, [("retry-after", "3"), ("content-type", "application/json")])
    response = client.response()
    assert response.status == status
    upstream = {"status": status, "code": "gone", "type": "invalid_request_error", "message": "no such model"}
    message = f"cluster model answered {status}: no such model"
    assert response.json == {
        "id": "e-1",
        "error": {"code": "upstream_error", "message": message, "upstream": upstream},
    }
    assert response.get("retry-after") == "3"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_the_configurations_and_not_the_clients(site: Site, status: int) -> None:
    client, peer, _ = _translated(site, {"content": "x"})
    peer.reply(b'{"error":{"message":"bad key sk-1234"}}', status, [("www-authenticate", "Bearer")])
    response = client.response()
    assert (response.status, response.error["code"]) == (502, "upstream_protocol")
    assert response.error["message"] == "cluster model rejected the credential of its configuration"
    assert response.get("www-authenticate") is None
    site.proxy.wait_for(f"cluster model rejected the credential .* answered {status}")
    assert "sk-1234" not in site.proxy.output


@pytest.mark.parametrize("body", [b"<html>busy</html>", b"", b'{"detail":"x"}', b'{"error":7}'])
def test_an_error_without_an_error_object_still_becomes_one(site: Site, body: bytes) -> None:
    client, peer, _ = _translated(site, {"content": "x"})
    peer.reply(body, 500)
    response = client.response()
    assert (response.status, response.error["code"]) == (500, "upstream_error")
    assert "500" in response.error["message"]


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"choices":[]}', b'{"choices":[{"message":"x"}]}', b"\xff"])
def test_a_reply_that_is_no_completion_is_an_upstream_error(site: Site, body: bytes) -> None:
    client, peer, _ = _translated(site, {"content": "x"})
    peer.reply(body)
    response = client.response()
    assert (response.status, response.error["code"]) == (502, "upstream_protocol")
    assert response.json["id"] == "e-1"


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return (
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"
    )


def _next(stream: Body) -> Any:
    """The next native event."""
    text = b""
    while not text.endswith(b"\n\n"):
        text += stream.exactly(1)
    assert text.startswith(b"data: ")
    return json.loads(text[6:])


def test_a_streamed_reply_comes_as_native_events_one_by_one(site: Site) -> None:
    client, peer, request = _translated(site, {"content": "x", "stream": True})
    assert request.json["stream"] is True
    assert request.get("accept") == "text/event-stream"
    peer.start()
    peer.send(chunk(_event({"role": "assistant", "content": ""}) + _event({"content": "Hel"})))
    response = client.response()
    assert response.get("content-type") == "text/event-stream; charset=utf-8"
    assert _next(response.stream) == {"id": "e-1", "delta": "Hel"}
    second = _event({"content": "lo ☃"}).replace(b"\n\n", b"\r\n\r\n")
    for cut in (second[:9], second[9:40], second[40:]):  # events do not keep to reads
        peer.send(chunk(cut))
    assert _next(response.stream) == {"id": "e-1", "delta": "lo ☃"}
    call = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    peer.send(chunk(b": comment\n\n" + _event(call)))
    assert _next(response.stream) == {"id": "e-1", "delta": call}
    peer.send(chunk(_event({}, "stop")))
    peer.send(chunk(b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n'))
    peer.send(chunk(b"data: [DONE]\n\n") + chunk(b""))
    assert _next(response.stream) == {"id": "e-1", "done": True, "finish_reason": "stop", "usage": {"total_tokens": 3}}
    assert response.stream.rest() == b""


def test_an_error_before_the_stream_is_a_plain_reply(site: Site) -> None:
    client, peer, _ = _translated(site, {"content": "x", "stream": True})
    peer.reply(b'{"error":{"message":"busy","code":"overloaded"}}', 503)
    response = client.response()
    assert (response.status, response.get("content-type")) == (503, "application/json")
    assert (response.error["code"], response.error["upstream"]["message"]) == ("upstream_error", "busy")


def test_a_reply_that_was_not_streamed_is_given_as_a_stream(site: Site) -> None:
    client, peer, _ = _translated(site, {"content": "x", "stream": True})
    peer.reply(json.dumps(COMPLETION).encode())
    response = client.response()
    assert response.get("content-type") == "text/event-stream; charset=utf-8"
    assert _next(response.stream) == {"id": "e-1", "delta": "hi"}
    last = {"id": "e-1", "done": True, "finish_reason": "stop", "usage": COMPLETION["usage"]}
    assert _next(response.stream) == last
    assert response.stream.rest() == b""


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"data: not json\n\n", "upstream_protocol"),
        (b"data: []\n\n", "upstream_protocol"),
        (b'data: {"error":{"message":"boom","code":"theirs"}}\n\n', "upstream_error"),
        (b"", "upstream_protocol"),  # it ends without its last event
    ],
)
def test_what_goes_wrong_inside_a_stream_is_an_event_and_no_clean_end(site: Site, bad: bytes, code: str) -> None:
    client, peer, _ = _translated(site, {"content": "x", "stream": True})
    peer.start()
    peer.send(chunk(_event({"content": "a"})))
    response = client.response()
    assert _next(response.stream) == {"id": "e-1", "delta": "a"}
    peer.send((chunk(bad) if bad else b"") + chunk(b""))
    last = _next(response.stream)
    assert (last["id"], last["error"]["code"]) == ("e-1", code)
    with pytest.raises(Truncated):
        response.stream.rest()


def test_a_native_stream_passes_byte_for_byte(site: Site) -> None:
    client = site.envelope("native", {"id": "e-1", "kind": "query", "stream": True})
    peer, _ = site["native"].request()
    peer.start()
    response = client.response()
    for piece in (b'data: {"id":"e-1","delta":1}\r\n\r\n', b": ping\n", b'data: {"id":"e-1","done":true}\n\n'):
        peer.send(chunk(piece))
        assert response.stream.exactly(len(piece)) == piece
    peer.send(chunk(b""))
    assert response.stream.rest() == b""


def test_fields_of_the_upstream_that_describe_its_own_bytes_are_dropped(site: Site) -> None:
    client, peer, _ = _translated(site, {"content": "x"})
    body = json.dumps(COMPLETION).encode()
    fields = Fields([("content-type", "application/json"), ("content-length", str(len(body))), ("content-digest", "x")])
    peer.send(head("HTTP/1.1 200 OK", fields) + body)
    response = client.response()
    assert "content-digest" not in response.fields
    assert response.get("content-length") == str(len(response.body))
