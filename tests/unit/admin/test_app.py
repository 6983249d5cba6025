"""The HTTP paths of administration."""

from __future__ import annotations

import hashlib

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from waypost.admin.app import listener_app
from waypost.app import create_app
from waypost.config import from_dict

SECRET = "wp-admin"
CONFIG = {
    "clusters": {
        "c": {
            "speaks": "openai",
            "endpoints": ["http://127.0.0.1:9"],
            "credential": {"header": "authorization", "value": "Bearer hunter2"},
            "proxy": "http://user:hunter2@127.0.0.1:3128",
        }
    },
    "routes": [{"name": "r", "match": {"headers": {"x-token": ["hunter2"]}, "body": {"n": [10**30]}}, "to": "c"}],
    "access_log": "off",
}
KEYS = [
    {"name": "admin", "hash": f"sha256:{hashlib.sha256(SECRET.encode()).hexdigest()}", "admin": True, "messages": True},
    {"name": "plain", "hash": f"sha256:{hashlib.sha256(b'wp-plain').hexdigest()}"},
]
GUARDED = ("/metrics", "/-/clusters", "/-/decisions", "/-/config")
OPEN = ("/healthz", "/readyz")


def key(secret):
    return [(b"x-api-key", secret.encode())]


@pytest.mark.parametrize("path", GUARDED)
def test_who_has_no_admin_key_is_refused(ask, path):
    app = create_app(from_dict({**CONFIG, "keys": KEYS}))
    status, headers, _ = ask(app, path)
    assert (status, headers[b"www-authenticate"]) == (401, b"Bearer")
    status, headers, document = ask(app, path, headers=key("wp-plain"))
    assert (status, document["error"]["code"]) == (403, "forbidden")
    assert b"www-authenticate" not in headers
    assert ask(app, path, "POST", headers=key("wp-plain"))[0] == 403
    app.state.gateway.loopback = True
    assert ask(app, "/-/config")[0] == 401
    app = create_app(from_dict(CONFIG))
    app.state.gateway.loopback = True
    assert ask(app, "/-/config")[0] == 200


def test_the_listener_of_administration_has_nothing_else_and_asks_for_no_key(ask):
    gateway = create_app(from_dict({**CONFIG, "keys": KEYS})).state.gateway
    gateway.admin_listener = True
    app = listener_app(gateway)
    assert [ask(app, path)[0] for path in (*GUARDED, *OPEN)] == [200] * 6
    for path in ("/", "/v1/envelopes", "/v1/models", "/-/x", "/metrics/x"):
        status, _, document = ask(app, path)
        assert (status, document["error"]["code"]) == (404, "not_found")
        assert path in document["error"]["message"]
    assert ask(app, "/metrics", "POST")[0] == 405


@pytest.mark.parametrize("path", OPEN)
def test_probes_are_for_everybody(ask, path):
    assert ask(create_app(from_dict({**CONFIG, "keys": KEYS})), path)[0] == 200


@pytest.mark.parametrize("path", [path for path in GUARDED if path != "/metrics"] + list(OPEN))
def test_get_and_head_are_answered_and_no_other_method(ask, path):
    app = create_app(from_dict({**CONFIG, "keys": KEYS}))
    status, headers, _ = ask(app, path, headers=key(SECRET))
    assert (status, headers[b"content-type"]) == (200, b"application/json")
    assert ask(app, path, "HEAD", headers=key(SECRET))[0] == 200
    for method in ("POST", "DELETE", "OPTIONS"):
        status, headers, document = ask(app, path, method, headers=key(SECRET))
        assert (status, document["error"]["code"], headers[b"allow"]) == (405, "method_not_allowed", b"GET, HEAD")
        assert path in document["error"]["message"]


@pytest.mark.parametrize("path", ["/healthz/", "/-/config/", "/-/x", "/-/", "/metrics/x"])
def test_other_paths_are_not_found_and_lead_nowhere(ask, path):
    app = create_app(from_dict(CONFIG))
    app.state.gateway.loopback = True
    status, headers, document = ask(app, path)
    assert (status, document["error"]["code"]) == (404, "not_found")
    assert b"location" not in headers


def test_the_configuration_is_shown_without_secrets(ask):
    app = create_app(from_dict({**CONFIG, "keys": KEYS}))
    _, _, document = ask(app, "/-/config", headers=key(SECRET))
    assert (document["worker"], document["workers"], document["summary"]) == (0, 1, "1 route, 1 cluster")
    assert document["configuration"]["routes"][0]["name"] == "r"
    text = str(document)
    assert "hunter2" not in text
    assert "user" not in text
    assert all(each["hash"] not in text for each in KEYS)


def test_pages_work_below_the_path_where_the_application_is_mounted(ask):
    app = create_app(from_dict(CONFIG))
    app.state.gateway.loopback = True
    outer = Starlette(routes=[Mount("/gate", app)])
    assert ask(outer, "/gate/-/clusters")[2]["clusters"][0]["name"] == "c"
    assert ask(outer, "/gate/-/config")[2]["summary"] == "1 route, 1 cluster"
    assert ask(outer, "/gate/healthz")[0] == 200


def test_the_latest_decisions_are_shown(ask):
    app = create_app(from_dict({**CONFIG, "keys": KEYS}))
    assert ask(app, "/-/decisions", headers=key(SECRET))[2] == {"worker": 0, "workers": 1, "decisions": []}
    # What administration answers is no message; what is refused is one.
    assert ask(app, "/v1/models?token=hunter2", headers=key(SECRET))[0] == 404
    assert ask(app, "/v1/envelopes", headers=key("nobody"))[0] == 401
    refused, unrouted = ask(app, "/-/decisions", headers=key(SECRET))[2]["decisions"]
    assert (refused["path"], refused["status"], refused["why"]) == ("/v1/envelopes", 401, "unauthorized")
    assert (unrouted["path"], unrouted["status"], unrouted["why"]) == ("/v1/models", 404, "no_route")
    assert (unrouted["dialect"], unrouted["route"], unrouted["attempts"]) == ("openai", None, 0)
