from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from waypost.config import Config, Credential, Listen, from_dict, load_config, parse_config
from waypost.errors import ConfigError, Problem

CLUSTERS = "clusters: {local: {speaks: openai, endpoints: [http://127.0.0.1:9100]}}\n"

LISTEN_KEYS = ", ".join(Listen.__struct_fields__)


ROUTE_KEYS = "name, match, to, fallback, reply, mirror, precedence"


def problems(text: str | bytes, **more: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, file="c.yaml", **{"environ": {}, **more})  # type: ignore[arg-type]
    return [str(problem) for problem in caught.value.problems]


def write(base: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return base / next(iter(files))


def load_problems(base: Path, files: dict[str, str]) -> list[str]:
    path = write(base, files)
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    return [str(problem).replace(f"{base}/", "") for problem in caught.value.problems]


# ── what a good file gives ──


def test_defaults() -> None:
    config = parse_config("routes: []", environ={})
    assert (config.listen.host, config.listen.port) == ("127.0.0.1", 8080)
    limits = config.limits
    assert (limits.body, limits.header, limits.buffered) == (16 * 2**20, 32 * 2**10, 256 * 2**20)
    assert (limits.depth, limits.drain) == (128, 30.0)


def test_the_native_form_is_plain_and_complete() -> None:
    config = parse_config(
        """
limits: {body: 1MiB, header: 8KiB, depth: 64}
clusters:
  local:
    speaks: openai
    endpoints: [http://127.0.0.1:9100, {url: "http://[::1]:9101/v2", weight: 3}]
    timeout: {connect: 250ms, total: 2m}
    model: llama
  cloud:
    speaks: envelope
    endpoints: [https://example.com]
    credential: {header: authorization, value: "Bearer ${KEY}"}
  same: {speaks: openai, endpoints: [http://h], credential: pass}
routes:
  - {name: a, match: {kind: model, n: [7, 7.0], labels: {tier: gold}}, to: local, fallback: [cloud], precedence: -3}
  - {name: b, to: cloud}
listen: {trusted: [10.0.0.0/8, unix, "2001:DB8::1"]}
keys:
  - {name: k, hash: "sha256:${HASH}", tenant: acme, labels: {tier: gold}}
""",
        environ={"KEY": "s3cret", "HASH": "AB" * 32},
    )
    timeout = {"connect": 2.0, "first_byte": 120.0, "idle": 60.0, "total": 600.0}
    timeout |= {"stream_idle": 300.0, "stream_comment": 15.0, "stream_total": None}
    timeout |= {"connection_age": 30.0, "connection_idle": 4.0}
    policy = {
        "timeout": timeout,
        "retry": {
            "attempts": 3,
            "statuses": [429, 502, 503, 504, 529],
            "after_timeout": False,
            "budget": 20,
            "budget_minimum": 10,
            "window": 10.0,
            "backoff": 0.025,
            "backoff_max": 1.0,
        },
        "balance": "least_load",
        "health": {"check": None, "panic": 50, "slow_start": 10.0, "aggression": 1.0, "rest_max": 30.0},
        "breaker": {
            "consecutive": 5,
            "failures": 50,
            "minimum": 20,
            "window": 10.0,
            "open": 5.0,
            "open_max": 60.0,
            "jitter": 20,
            "trials": 3,
        },
        "concurrency": "unlimited",
        "queue": {"length": 128, "wait": 10.0, "aging": 4},
        "rate": [],
        "hedge": None,
    }
    assert config.to_native() == {
        "depth": 64,
        "limits": {"header": 8192, "body": 2**20},
        "clusters": {
            "local": {
                "speaks": "openai",
                "endpoints": [
                    {"url": "http://127.0.0.1:9100", "weight": 1},
                    {"url": "http://[::1]:9101/v2", "weight": 3},
                ],
                "credential": None,
                "model": "llama",
                **policy,
                "timeout": {**timeout, "connect": 0.25, "total": 120.0},
            },
            "cloud": {
                "speaks": "envelope",
                "endpoints": [{"url": "https://example.com", "weight": 1}],
                "credential": {"header": "authorization", "value": "Bearer s3cret"},
                "model": None,
                **policy,
            },
            "same": {
                "speaks": "openai",
                "endpoints": [{"url": "http://h", "weight": 1}],
                "credential": "pass",
                "model": None,
                **policy,
            },
        },
        "routes": [
            {
                "name": "a",
                "match": {"kind": ["model"], "n": [7, Decimal("7.0")], "labels": {"tier": ["gold"]}},
                "to": "local",
                "fallback": ["cloud"],
                "reply": None,
                "mirror": None,
                "precedence": -3,
            },
            {"name": "b", "match": {}, "to": "cloud", "fallback": [], "reply": None, "mirror": None, "precedence": 0},
        ],
        "keys": [
            {
                "name": "k",
                "hash": "sha256:" + "ab" * 32,
                "certificate": None,
                "identity": {"tenant": "acme", "agent": None, "labels": {"tier": "gold"}},
                "admin": False,
                "messages": True,
                "debug": False,
            }
        ],
        "trusted": ["10.0.0.0/8", "unix", "2001:db8::1/128"],
        "hosts": [],
    }
    assert "s3cret" not in repr(config)
    assert isinstance(config.clusters["cloud"].credential, Credential)


def test_references_in_typed_places_take_the_type() -> None:
    config = parse_config(
        'listen: {port: "${PORT}"}\nlimits: {body: "${BODY}", drain: "${DRAIN:-5s}"}\n',
        environ={"PORT": "0", "BODY": "1048576"},
    )
    assert (config.listen.port, config.limits.body, config.limits.drain) == (0, 2**20, 5.0)


def test_references_in_patterns_stay_strings() -> None:
    text = CLUSTERS + 'routes: [{name: a, to: local, match: {n: "${N}", "${N}": x, l: "$${N}"}}]'
    assert parse_config(text, environ={"N": "7"}).routes[0].match == {"n": ["7"], "${N}": ["x"], "l": ["${N}"]}


def test_file_references_are_relative_to_the_file_that_holds_them(tmp_path: Path) -> None:
    cluster = "clusters: {%s: {speaks: openai, endpoints: [http://h], credential: {header: k, value: '${file:key}'}}}\n"
    config = load_config(
        write(
            tmp_path,
            {
                "main.yaml": cluster % "outer" + "include: [sub/more.yaml]",
                "sub/more.yaml": cluster % "inner",
                "key": "outer-key\n",
                "sub/key": "inner-key\r\n",
            },
        )
    )
    values = [getattr(cluster.credential, "value", None) for cluster in config.clusters.values()]
    assert values == ["outer-key", "inner-key"]
    assert set(config.files) == {tmp_path / name for name in ("main.yaml", "sub/more.yaml", "key", "sub/key")}


def test_tls_files_become_absolute_and_are_watched(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"main.yaml": "clusters: {c: {speaks: openai, endpoints: [https://h], tls: {ca: ca.pem}}}", "ca.pem": "x"},
    )
    config = load_config(os.path.relpath(path))
    tls = config.clusters["c"].tls
    assert tls is not None
    assert tls.ca == str(tmp_path / "ca.pem")
    assert tmp_path / "ca.pem" in config.files


def test_json_is_a_configuration_too(tmp_path: Path) -> None:
    obj = {
        "clusters": {"c": {"speaks": "openai", "endpoints": ["http://h"]}},
        "routes": [{"name": "a", "match": {"x": ["\u2028\U0001f600/", 1.5]}, "to": "c"}],
    }
    config = load_config(write(tmp_path, {"main.json": json.dumps(obj, indent="\t")}))
    assert config.routes[0].match == {"x": ["\u2028\U0001f600/", Decimal("1.5")]}


def test_configurations_that_say_the_same_are_equal() -> None:
    assert parse_config("routes: []") == parse_config("\n\nroutes:\n  []\n")
    assert parse_config("routes: []") != parse_config("listen: {port: 1}")


# ── includes ──

INCLUDING = {
    "main.yaml": CLUSTERS + "routes: [{name: first, to: local}]\ninclude: [more/*.yaml, tenants.jsonl]\n",
    "more/b.yaml": "routes:\n  - name: b0\n    to: local\n  - name: b1\n    match: {x: [1, 2]}\n    to: edge\n",
    "more/a.yaml": "include: [deep/*.jsonl]\nclusters: {edge: {speaks: envelope, endpoints: [http://e]}}\n",
    "more/deep/z.jsonl": '\n{"name": "z0", "to": "edge"}\r\n\n  {"name": "z1", "to": "edge", "match": {"n": 1e400}}\n',
    "tenants.jsonl": '{"name":"t0","to":"local"}\n{"name":"t1","match":{"t":["a","b"]},"to":"local"}',
}


def test_included_routes_follow_in_the_order_read(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, INCLUDING))
    assert [route.name for route in config.routes] == ["first", "z0", "z1", "b0", "b1", "t0", "t1"]
    assert list(config.clusters) == ["local", "edge"]
    assert config.routes[2].match == {"n": [Decimal("1e400")]}
    assert set(config.files) == {tmp_path / name for name in INCLUDING}
    assert set(config.directories) == {tmp_path / "more", tmp_path / "more/deep"}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("routes", 0, "to"), ("main.yaml", 2, 28)),
        (("routes", 2, "match", "n", 0), ("more/deep/z.jsonl", 4, 47)),
        (("routes", 2, "nope"), ("more/deep/z.jsonl", 4, 3)),
        (("routes", 4, "match", "x", 1), ("more/b.yaml", 5, 20)),
        (("routes", 6, "match", "t", 1, "prefix"), ("tenants.jsonl", 2, 32)),
        (("clusters", "edge", "endpoints", 0, "url"), ("more/a.yaml", 2, 49)),
        (("clusters", "edge", "model"), ("more/a.yaml", 2, 18)),
        (("limits", "body"), ("main.yaml", 1, 1)),
        (("routes", 99), ("tenants.jsonl", 1, 1)),
        ((), ("main.yaml", 1, 1)),
    ],
)
def test_paths_lead_to_places_in_any_file(
    tmp_path: Path, path: tuple[str | int, ...], place: tuple[str, int, int]
) -> None:
    config = load_config(write(tmp_path, INCLUDING))
    file, line, column = config.locate(path)
    assert (file.removeprefix(f"{tmp_path}/"), line, column) == place


def test_problems_found_later_get_places_in_file_order(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, INCLUDING))
    found = config.relocate(
        [Problem(("routes", 6), "c"), Problem(("routes", 4, "match"), "b"), Problem(("routes", 0), "a")]
    )
    assert [problem.message for problem in found] == ["a", "b", "c"]
    assert str(found[1]) == f"{tmp_path}/more/b.yaml:5:12: routes[4].match: b"


def test_problems_in_included_files_name_these(tmp_path: Path) -> None:
    found = load_problems(
        tmp_path,
        {
            "main.yaml": CLUSTERS + "routes: [{name: a, to: local}]\ninclude: [b.yaml, c.jsonl]\n",
            "b.yaml": "listen: {}\nroutes: [{name: a, to: locl}]\nclusters: {local: {speaks: openai, endpoints: [http://x]}}",
            "c.jsonl": '{"name": "c", "to": "local", "too": 1}\n{"name": "d", "to": \n'
            '{"a":1,"a":2}\n[]\n{"name": "e", "to": NaN}\n',
        },
    )
    assert found == [
        "b.yaml:1:1: unknown key `listen`. Allowed: clusters, routes, include",
        "b.yaml:2:17: routes[1].name: duplicate route name `a`; first at main.yaml:2:17 (routes[0].name)",
        "b.yaml:2:24: routes[1].to: unknown cluster `locl`; did you mean `local`? Known: local",
        "b.yaml:3:12: clusters: duplicate cluster `local`; first at main.yaml:1:19 (clusters.local)",
        "c.jsonl:1:30: routes[2]: unknown key `too`; did you mean `to`? Allowed: " + ROUTE_KEYS,
        "c.jsonl:2:21: routes[3]: not JSON: a value is missing",
        "c.jsonl:3:1: routes[4]: key `name` is missing",
        "c.jsonl:3:1: routes[4]: key `to` is missing; name a cluster, or answer with `reply`",
        "c.jsonl:3:2: routes[4]: unknown key `a`. Allowed: " + ROUTE_KEYS,
        "c.jsonl:3:8: routes[4]: duplicate key `a`; first in line 3, column 2",
        "c.jsonl:4:1: routes[5]: must be a mapping, not a list",
        "c.jsonl:5:21: routes[6]: not JSON: `NaN` is not a JSON value",
    ]


def test_includes_that_cannot_be(tmp_path: Path) -> None:
    found = load_problems(
        tmp_path,
        {
            "main.yaml": "include: [gone.yaml, 'none*.yaml', dir.yaml, x.toml, a.yaml, '[a].yaml', main.yaml, "
            '"a\\0.yaml"]\n',
            "dir.yaml/x": "",
            "x.toml": "",
            "a.yaml": "include: [b.yaml]",
            "b.yaml": "include: [a.yaml]",
        },
    )
    assert [line.split(": ", 2)[:2] for line in found] == [
        ["main.yaml:1:11", "include[0]"],
        ["main.yaml:1:36", "include[2]"],
        ["main.yaml:1:46", "include[3]"],
        ["main.yaml:1:62", "include[5]"],
        ["main.yaml:1:74", "include[6]"],
        ["main.yaml:1:85", "include[7]"],
        ["b.yaml:1:11", "include[0]"],
    ]
    for line, why in zip(
        found,
        [
            "No such file",
            "Is a directory",
            "can be included",
            "already included at main.yaml:1:54",
            "includes itself",
            "",
            "itself",
        ],
        strict=True,
    ):
        assert why in line


# ── everything that is wrong, at once ──


def test_every_problem_at_once() -> None:
    assert problems("""\
listn: 3
listen: {port: 70000, host: , prot: 1}
limits: {header: 2x, depth: yes, drain: 3, body: 1GiB}
clusters:
  "lo cal":
    speaks: openia
    endpoints: []
  cloud:
    speaks: openai
    endpoints: [http://user:hunter2@x, ftp://x, "http://h?q", 3, {url: http://h, weight: 0}]
    credential: {header: "a b", value: "${NOPE}"}
    timeout: {connect: 0, first_byte: null}
routes:
  - name: a
    to: clod
    match: [x]
  - to: cloud
    fallback: [cloud, cloud]
    precedence: 1.5
  - {name: b, to: cloud, fallback: [cloud]}
""") == [
        (
            "c.yaml:1:1: unknown key `listn`; did you mean `listen`? "
            "Allowed: clusters, routes, include, listen, limits, access_log, keys"
        ),
        "c.yaml:2:16: listen.port: `70000`: must be an integer from 0 to 65535",
        "c.yaml:2:29: listen.host: has no value; write one, or remove the key",
        f"c.yaml:2:31: listen: unknown key `prot`; did you mean `port`? Allowed: {LISTEN_KEYS}",
        "c.yaml:3:18: limits.header: `2x`: unknown unit. Allowed: B, KB, MB, GB, KiB, MiB, GiB",
        "c.yaml:3:29: limits.depth: must be an integer from 1 to 1024, not a string",
        (
            "c.yaml:3:41: limits.drain: `3`: a duration needs a unit; "
            "write a string with a unit, such as 1500ms, 2s, 1.5m or 1m30s"
        ),
        "c.yaml:3:50: limits.body: greater than limits.buffered (256MiB); lower it, or raise limits.buffered",
        "c.yaml:5:3: clusters: `lo cal` is not a valid name; use 1 to 128 characters of A-Z a-z 0-9 . _ -",
        (
            "c.yaml:6:13: clusters.lo cal.speaks: unknown value `openia`; did you mean `openai`? "
            "Allowed: `envelope` or `openai`"
        ),
        "c.yaml:7:16: clusters.lo cal.endpoints: the list is empty; write at least one item",
        (
            "c.yaml:10:17: clusters.cloud.endpoints[0]: `http://…@x`: a URL cannot contain a user name or password; "
            "use `credential`"
        ),
        "c.yaml:10:40: clusters.cloud.endpoints[1]: `ftp://x`: the scheme of a URL must be http or https",
        "c.yaml:10:49: clusters.cloud.endpoints[2]: `http://h?q`: an endpoint's URL cannot have a query (`?`)",
        "c.yaml:10:63: clusters.cloud.endpoints[3]: must be a string or a mapping, not an integer",
        "c.yaml:10:90: clusters.cloud.endpoints[4].weight: `0`: must be an integer from 1 to 1000",
        (
            "c.yaml:11:26: clusters.cloud.credential.header: `a b`: not a header field name; "
            "write one such as authorization or x-api-key"
        ),
        (
            "c.yaml:11:40: clusters.cloud.credential.value: environment variable `NOPE` is not set; "
            "set it, or write `${NOPE:-default}`"
        ),
        (
            "c.yaml:12:24: clusters.cloud.timeout.connect: `0`: a duration needs a unit; "
            "write a string with a unit, such as 1500ms, 2s, 1.5m or 1m30s"
        ),
        "c.yaml:12:39: clusters.cloud.timeout.first_byte: null is not allowed here; write a value, or remove the key",
        "c.yaml:15:9: routes[0].to: unknown cluster `clod`; did you mean `cloud`? Known: cloud, lo cal",
        "c.yaml:16:12: routes[0].match: must be a mapping, not a list",
        "c.yaml:17:5: routes[1]: key `name` is missing",
        "c.yaml:18:16: routes[1].fallback[0]: the same cluster as the route's `to`; remove it",
        "c.yaml:18:23: routes[1].fallback[1]: the same cluster as the route's `to`; remove it",
        (
            "c.yaml:19:17: routes[1].precedence: must be an integer from -2147483648 to 2147483647, "
            "not a number with a fraction"
        ),
        "c.yaml:20:37: routes[2].fallback[0]: the same cluster as the route's `to`; remove it",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "c.yaml:1:1: the file is empty"),
        ("# nothing\n", "c.yaml:1:1: the file is empty"),
        ("- a\n", "c.yaml:1:1: must be a mapping of keys such as `routes` and `clusters`"),
        ("~", "c.yaml:1:1: must be a mapping of keys such as `routes` and `clusters`"),
        (b"a: 1\nb: \xff\n", "c.yaml:2:4: not UTF-8 text"),
        ("\ufeffrotes: []".encode("utf-16"), "c.yaml:1:1: not UTF-8 text"),
        ("routes:\n", "c.yaml:1:8: routes: has no value; write one, or remove the key"),
        ("routes: {}\n", "c.yaml:1:9: routes: must be a list, not a mapping"),
        ("clusters: []\n", "c.yaml:1:11: clusters: must be a mapping, not a list"),
        ("keys: []\n", "c.yaml:1:7: keys: the list is empty; write at least one item"),
        (
            "kex: [a]\n",
            "c.yaml:1:1: unknown key `kex`. Allowed: clusters, routes, include, listen, limits, access_log, keys",
        ),
        ("limits: {body: 2MiB, buffered: 1MiB}\n", "c.yaml:1:16: limits.body: greater than limits.buffered (1MiB)"),
        ("listen: {host: 'a b'}\n", "c.yaml:1:16: listen.host: `a b`: not a host name or an IP address"),
        ("listen: {port: true}\n", "c.yaml:1:16: listen.port: must be an integer from 0 to 65535, not a boolean"),
        ("listen: {port: '${E:-x}'}\n", "c.yaml:1:16: listen.port: must be an integer from 0 to 65535"),
        ("listen: {port: '${E:-}'}\n", "c.yaml:1:16: listen.port: the value of `${E:-}` is empty"),
        ("include: {a: b}\n", "c.yaml:1:10: include: must be a list, not a mapping"),
    ],
)
def test_one_problem(text: str | bytes, expected: str) -> None:
    (found,) = problems(text)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("cluster", "where", "why"),
    [
        ("tls: {ca: gone.pem}, endpoints: [https://h]", "tls.ca", "No such file"),
        ("tls: {client_key: pyproject.toml}, endpoints: [https://h]", "tls.client_key", "without `client_certificate`"),
        ("tls: {}, endpoints: [https://h, HTTP://h]", "endpoints[1]", "must begin with https"),
        ("endpoints: [http://h, {url: http://h}]", "endpoints[1]", "the same URL as endpoints[0]"),
        ("endpoints: [http://h], model: ''", "model", "empty"),
        ("endpoints: [http://h], model: 3", "model", "write it in quotes"),
        ("endpoints: [http://h], credential: {header: host, value: x}", "credential.header", "cannot carry"),
        ("endpoints: [http://h], credential: pas", "credential", "did you mean `pass`?"),
        ("endpoints: ['http://h:0']", "endpoints[0]", "1 to 65535"),
        ("endpoints: ['http://h:99999']", "endpoints[0]", "1 to 65535"),
        ("endpoints: ['http://:80']", "endpoints[0]", "no host"),
        ("endpoints: ['http:///x']", "endpoints[0]", "no host"),
        ("endpoints: ['http://[::1']", "endpoints[0]", "malformed"),
        ("endpoints: ['http://[10.0.0.1]']", "endpoints[0]", "IPv6"),
        ("endpoints: ['http://[fe80::1%25eth0]']", "endpoints[0]", "not a host name"),
        ("endpoints: ['http://256.1.1.1']", "endpoints[0]", "not a host name"),
        ("endpoints: ['http://bücher.example']", "endpoints[0]", "punycode"),
        ("endpoints: ['http://h/a b']", "endpoints[0]", "percent-encoded"),
        ('endpoints: ["http://h\\r\\nx: y"]', "endpoints[0]", "not a host name"),
        ("endpoints: ['http://h#f']", "endpoints[0]", "fragment"),
        ("endpoints: ['127.0.0.1:80']", "endpoints[0]", "not a URL"),
    ],
)
def test_what_is_wrong_with_a_cluster(cluster: str, where: str, why: str) -> None:
    (found,) = problems(f"clusters: {{c: {{speaks: openai, {cluster}}}}}\n")
    assert f": clusters.c.{where}: " in found
    assert why in found


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "a\x7fb", "key\u00e9", "key ", "", "a\n\n"])
def test_a_secret_is_never_shown(tmp_path: Path, value: str) -> None:
    (tmp_path / "key").write_bytes(f"hunter2{value}".encode() if value else b"")
    cluster = "clusters: {c: {speaks: openai, endpoints: [http://h], credential: {header: k, value: '${file:key}'}}}"
    (found,) = problems(cluster, base=tmp_path)
    assert "clusters.c.credential.value: " in found
    assert "hunter2" not in found


def test_a_credential_in_the_wrong_place_is_not_shown() -> None:
    (found,) = problems("clusters: {c: {speaks: openai, endpoints: [http://h], credential: Bearer hunter2}}")
    assert "hunter2" not in found


def test_what_a_reference_stands_for_is_not_shown() -> None:
    text = """
listen: {host: "${S}", port: "${S}"}
limits: {body: "${S}", drain: "${S}"}
clusters: {c: {speaks: "${S}", endpoints: ["${S}"], credential: {header: "${S}", value: "${S}"}}}
routes: [{name: a, to: "${S}"}, {name: "${S}", to: c, fallback: ["${S}", "${S}"]}]
"""
    found = problems(text, environ={"S": "hunter2 \u00e9\n"})
    assert len(found) == 12
    assert "hunter2" not in "".join(found)
    found = problems(text, environ={"S": "hunter2"})
    assert len(found) == 9
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("name", ["gone.yaml", ".", "a\0b"])
def test_a_file_that_cannot_be_read(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(name)


def test_python_objects_are_checked_alike() -> None:
    good = {
        "clusters": {"c": {"speaks": "openai", "endpoints": ("http://h",)}},
        "routes": [{"name": "a", "match": {"n": 0.1, "s": "${N}"}, "to": "c"}],
    }
    config = from_dict(good)
    assert isinstance(config, Config)
    assert config.routes[0].match == {"n": [Decimal("0.1")], "s": ["${N}"]}
    assert from_dict(good, environ={"N": "7"}).routes[0].match["s"] == ["7"]
    assert config.locate(("routes", 0)) == ("", 0, 0)

    with pytest.raises(ConfigError) as caught:
        from_dict({"routes": [{"name": 3, "match": {"x": {1}, 2: 3}, "to": "c"}], "listen": None})
    assert [str(problem) for problem in caught.value.problems] == [
        "listen: null is not allowed here; write a value, or remove the key",
        "routes[0].name: must be a string, not an integer; write it in quotes",
        "routes[0].match.x: a set cannot be matched; JSON has no such value",
        "routes[0].match: a key must be a string, not 2",
        "routes[0].to: unknown cluster `c`. Known: none",
    ]


def test_python_objects_that_hold_themselves_are_refused() -> None:
    loop: dict[str, object] = {}
    loop["x"] = loop
    looped: list[object] = []
    looped.append(looped)
    with pytest.raises(ConfigError, match="nested deeper than 128"):
        from_dict({"routes": [{"name": "a", "match": {"m": loop, "l": looped}, "to": "c"}]})


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"routes": [],}', (1, 14)),
        ('{"routes": [1,]}', (1, 14)),
        ('{"routes": [1 ,\n\n ]}', (1, 15)),
        ('{"listen": {"port": 1},\n  "limits": {"body": 1},\n}', (2, 24)),
    ],
)
def test_a_trailing_comma_in_json_is_named(tmp_path: Path, text: str, place: tuple[int, int]) -> None:
    (found,) = load_problems(tmp_path, {"c.json": text})
    assert found.startswith(f"c.json:{place[0]}:{place[1]}: not JSON: extra comma before `")
    assert "remove it" in found


def test_odd_and_long_keys_are_shown_on_one_line_and_cut(tmp_path: Path) -> None:
    found = load_problems(tmp_path, {"c.json": json.dumps({"a\nb\u0000": 1, "x" * 200: 2, "k`\u202e": 3})})
    assert [line.partition(" Allowed")[0] for line in found] == [
        "c.json:1:2: unknown key `a\\nb\\u0000`.",
        f"c.json:1:19: unknown key `{'x' * 60}…`.",
        "c.json:1:226: unknown key `k`\\u202e`.",
    ]


def test_a_glob_that_matches_nothing_is_a_warning(tmp_path: Path) -> None:
    main = write(
        tmp_path, {"main.yaml": CLUSTERS + "include: ['none/*.yaml', b.yaml]\n", "b.yaml": "include: ['*.yml']"}
    )
    config = load_config(main)
    shown = [str(warning).replace(f"{tmp_path}/", "") for warning in config.warnings]
    assert shown == [
        "main.yaml:2:11: include[0]: warning: no file matches `none/*.yaml`",
        "b.yaml:1:11: include[0]: warning: no file matches `*.yml`",
    ]
    write(tmp_path, {"none/a.yaml": "routes: []"})
    assert len(load_config(main).warnings) == 1
