"""Administration on a listener of its own, and the keys that open it."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from .support.client import Client
from .support.http2 import Http2Client
from .support.proxy import Proxy, command, wait_until
from .support.site import Launcher

PAGES = ("/metrics", "/-/clusters", "/-/decisions", "/-/config")
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64)"}


def key(name: str, secret: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "hash": f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}", **rest}


KEYS = [key("plain", "wp-plain"), key("root", "wp-root", admin=True), key("scrape", "wp-scrape", admin="metrics")]


def document(url: str, **rest: Any) -> dict[str, Any]:
    clusters = {"c": {"speaks": "openai", "endpoints": [url]}}
    return {"clusters": clusters, "routes": [{"name": "r", "to": "c"}], "access_log": "off", **rest}


def administration(proxy: Proxy) -> tuple[str, int] | str:
    """Where the listener is."""
    found = proxy.wait_for(r"administration on (http://(\S+):(\d+)|unix:(\S+))")
    return found[4] or (found[2], int(found[3]))


def status(address: tuple[str, int] | str, path: str, method: str = "GET", **headers: str) -> int:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    with Client(address) as client:
        client.ask(method, path, headers={"host": "localhost", **fields})
        return client.response().status


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("uds", [False, True])
def test_it_asks_for_no_key_and_is_the_only_one(launch: Launcher, workers: str, uds: bool) -> None:
    path = launch.directory / "admin.sock"
    listen = {"admin": {"uds": "admin.sock"} if uds else {"port": 0}}
    proxy = launch.serve(document(launch.server().url, listen=listen, keys=KEYS), "--workers", workers)
    where = administration(proxy)
    assert where == str(path) if uds else where[0] == "127.0.0.1"
    for page in (*PAGES, "/healthz", "/readyz"):
        assert status(where, page) == 200
    assert status(where, "/metrics", "POST") == 405
    for page in ("/", "/v1/models", "/v1/envelopes", "/-/x"):
        for secret in ("wp-plain", "wp-root"):
            assert status(where, page, x_api_key=secret) == 404
    for page in PAGES:
        for secret in ("", "wp-plain", "wp-root", "wp-scrape"):
            assert proxy.ask("GET", page, headers={"x-api-key": secret}).status == 404
    assert proxy.ask("GET", "/readyz").status == 200
    body = b'{"model": "m"}'
    assert proxy.ask("POST", "/v1/chat/completions", body, headers={"x-api-key": "wp-plain"}).status == 200
    # Several requests over one connection, as scrapers send them.
    with Client(where) as client:
        for page in (*PAGES, "/nowhere", *PAGES):
            client.ask("GET", page, headers={"host": "localhost"})
            response = client.response()
            assert response.status == (404 if page == "/nowhere" else 200)
            assert response.body
    proxy.stop()
    assert not path.exists()


@pytest.mark.parametrize("keys", [[], KEYS], ids=["keyless", "keys"])
def test_it_refuses_pages_of_other_sites_whether_or_not_there_are_keys(
    launch: Launcher, keys: list[dict[str, Any]]
) -> None:
    listen = {"admin": {"port": 0}, "hosts": ["app.internal"]}
    proxy = launch.serve(document(launch.server().url, listen=listen, **({"keys": keys} if keys else {})))
    where = administration(proxy)
    own = f"127.0.0.1:{where[1]}"
    for page in PAGES:
        for fields in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            # A page whose name was made to lead to this host sends neither `Origin` nor `Sec-Fetch-Site` with a GET.
            {"host": f"evil.example:{where[1]}", **BROWSER},
            {"host": f"evil.example:{where[1]}", "origin": f"http://evil.example:{where[1]}"},
            {"host": "localhost.evil.example", **BROWSER},
        ):
            assert status(where, page, **fields) == 403, (page, fields)
        for fields in (
            {"host": own},
            {"host": "localhost"},
            {"host": own, "origin": f"http://{own}"},
            {"host": f"app.internal:{where[1]}", **BROWSER},
            {"origin": "https://app.internal"},
            # A collector of metrics that knows this host by its name.
            {"host": "gateway.internal"},
        ):
            assert status(where, page, **fields) == 200, (page, fields)
    with Client(where) as client:
        client.ask("GET", "/-/config", headers={"host": "evil.example", **BROWSER})
        error = client.response().error
    assert (error["code"], "`evil.example`" in error["message"]) == ("foreign_origin", True)
    assert "listen.hosts" in error["message"]
    assert "keys" not in error["message"]
    for probe in ("/healthz", "/readyz"):
        assert status(where, probe, host="evil.example", origin="https://evil.example") == 200


def test_no_browser_reaches_administration_at_a_unix_socket(launch: Launcher) -> None:
    proxy = launch.serve(document(launch.server().url, listen={"admin": {"uds": "admin.sock"}}))
    assert status(administration(proxy), "/metrics", host="any.name", origin="https://evil.example") == 200


def test_it_refuses_pages_over_http2_too(launch: Launcher) -> None:
    proxy = launch.serve(document(launch.server().url, listen={"admin": {"port": 0}}, keys=KEYS))
    where = administration(proxy)
    assert isinstance(where, tuple)
    with Http2Client(where) as client:
        for authority, wanted in [("evil.example", 403), (f"127.0.0.1:{where[1]}", 200)]:
            asked = client.ask("GET", "/metrics", headers=BROWSER, authority=authority)
            assert client.response(asked).status == wanted


def test_a_reload_changes_keys_and_not_the_listener(launch: Launcher) -> None:
    url = launch.server().url
    proxy = launch.serve(document(url, listen={"admin": {"port": 0}}, keys=KEYS))
    where = administration(proxy)
    assert proxy.config is not None
    proxy.config.write_text(json.dumps(document(url, keys=KEYS[:1])))
    proxy.wait_for("the address in `listen` has changed, which takes effect only after a restart")
    assert (status(where, "/metrics"), proxy.ask("GET", "/metrics").status) == (200, 404)


def test_with_keys_loopback_is_no_reason_to_show_anything(launch: Launcher) -> None:
    url = launch.server().url
    proxy = launch.serve(document(url, keys=KEYS))

    def statuses(page: str) -> list[int]:
        secrets = ("", "wp-nobody", "wp-plain", "wp-scrape", "wp-root")
        return [proxy.ask("GET", page, headers={"x-waypost-key": secret}).status for secret in secrets]

    assert statuses("/metrics") == [401, 401, 403, 200, 200]
    for page in PAGES[1:]:
        assert statuses(page) == [401, 401, 403, 403, 200]
    # Without keys, whoever is on this host may read; a reload that adds keys changes that at once.
    assert proxy.config is not None
    proxy.config.write_text(json.dumps(document(url)))
    wait_until(lambda: proxy.ask("GET", "/metrics").status == 200, "the keys are gone")
    proxy.config.write_text(json.dumps(document(url, keys=KEYS)))
    wait_until(lambda: proxy.ask("GET", "/metrics").status == 401, "the keys are back")


def test_an_address_that_cannot_be_used_is_told(launch: Launcher) -> None:
    file = launch.directory / "taken.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file.write_text(json.dumps(document("http://127.0.0.1:1", listen={"admin": {"port": port}})))
        done = command("serve", str(file), "--port", "0")
    assert done.returncode == 1
    assert b"waypost: listen.admin: port %d of 127.0.0.1 is in use" % port in done.stderr
    assert b"choose another with listen.admin.port" in done.stderr


@pytest.mark.parametrize(
    ("admin", "told"),
    [
        ({}, "listen.admin: names no place to listen; give `port`, or `uds`"),
        ({"host": "127.0.0.1"}, "listen.admin: names no place to listen"),
        ({"uds": "x.sock", "port": 1}, "listen.admin.port: contradicts `uds`"),
        ({"uds": "x.sock", "host": "h"}, "listen.admin.host: contradicts `uds`"),
        ({"port": 70000}, "listen.admin.port: `70000`: must be an integer from 0 to 65535"),
        ("x", "listen.admin: must be a mapping"),
        ({"prot": 1}, "did you mean `port`?"),
    ],
)
def test_a_listener_that_is_none_is_told(tmp_path: Path, admin: object, told: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(document("http://127.0.0.1:1", listen={"admin": admin})))
    done = command("check", str(file))
    assert done.returncode == 1
    assert told in done.stdout.decode()


# waypost key new


def test_a_new_key_opens_what_its_entry_says(launch: Launcher) -> None:
    entries = []
    secrets = {}
    for name, *options in (
        ("planner", "--tenant", "acme", "--agent", "a b", "--label", "tier=gold", "--label", "on=yes", "--debug"),
        ("scrape", "--admin", "metrics"),
        ("root", "--admin", "all", "--messages"),
    ):
        done = command("key", "new", name, *options)
        assert done.returncode == 0
        found = re.fullmatch(r"key    (wp-[\w-]{43})\nentry  (- \{.*\})\n", done.stdout.decode())
        assert found is not None, done.stdout
        secrets[name] = found[1]
        entries.append(found[2])
        assert b"not shown again" in done.stderr
    assert len(set(secrets.values())) == 3
    rest = document(launch.server().url)
    text = "keys:\n" + "".join(f"  {entry}\n" for entry in entries)
    text += "".join(f"{name}: {json.dumps(value)}\n" for name, value in rest.items())
    proxy = launch.serve(text)
    body = b'{"model": "m", "metadata": {"on": "yes", "tier": "gold"}}'
    for name, messages, metrics, clusters in (
        ("planner", 200, 403, 403),
        ("scrape", 403, 200, 403),
        ("root", 200, 200, 200),
    ):
        headers = {"x-api-key": secrets[name]}
        assert proxy.ask("POST", "/v1/chat/completions", body, headers=headers).status == messages
        assert proxy.ask("GET", "/metrics", headers=headers).status == metrics
        assert proxy.ask("GET", "/-/clusters", headers=headers).status == clusters
    shown = proxy.ask("GET", "/-/config", headers={"x-api-key": secrets["root"]}).json["configuration"]["keys"][0]
    assert (shown["tenant"], shown["agent"], shown["labels"]) == ("acme", "a b", {"tier": "gold", "on": "yes"})
    assert not any(secret in proxy.output for secret in secrets.values())


def test_a_new_key_as_json() -> None:
    document = json.loads(command("key", "new", "k", "--tenant", 'é"', "--json").stdout)
    digest = hashlib.sha256(document["key"].encode()).hexdigest()
    assert document["entry"] == {"name": "k", "hash": f"sha256:{digest}", "tenant": 'é"'}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["a b"], "name: `a b`: must be 1 to 128 characters of A-Z a-z 0-9 . _ -"),
        (["k", "--tenant", ""], "tenant: must not be empty"),
        (["k", "--label", "x"], "write NAME=VALUE"),
        (["k", "--admin", "some"], "'some' is not one of 'all', 'metrics'"),
        (["k", "--admin", "all", "--debug"], "debug: has no effect on a key that sends no messages"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_a_new_key_that_could_not_be_used_is_not_made(options: list[str], told: str) -> None:
    done = command("key", "new", *options)
    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert not done.stdout
