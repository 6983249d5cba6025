"""`listen` in all of its forms, and what people write for a list of one, for anchors and for programs of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from waypost.config import Config, load_config, parse_config
from waypost.config.certificate import check_san, check_subject, san, subject
from waypost.config.positions import ShapeError
from waypost.errors import ConfigError

CLUSTER = "{speaks: openai, endpoints: [http://127.0.0.1:9]}"


def parsed(text: str, **environ: str) -> Config:
    return parse_config(text, file="c.yaml", environ=environ)


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parsed(text, **environ)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "host", "port", "uds"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000, None),
        ("0.0.0.0:80", "0.0.0.0", 80, None),
        ("'[::1]:9000'", "::1", 9000, None),
        ("gateway.example:9000", "gateway.example", 9000, None),
        ("9000", "127.0.0.1", 9000, None),
        ("'9000'", "127.0.0.1", 9000, None),
        ("'${WHERE}'", "10.0.0.1", 7, None),
        ("'${PORT}'", "127.0.0.1", 8, None),
        ("unix:/run/waypost.sock", "127.0.0.1", 8080, "/run/waypost.sock"),
        ("{uds: /run/waypost.sock}", "127.0.0.1", 8080, "/run/waypost.sock"),
    ],
)
def test_where_to_listen(text: str, host: str, port: int, uds: str | None) -> None:
    listen = parsed(f"listen: {text}\n", WHERE="10.0.0.1:7", PORT="8").listen
    assert (listen.host, listen.port, listen.uds) == (host, port, uds)


def test_a_socket_is_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("listen: unix:run/s\n")
    assert load_config(tmp_path / "c.yaml").listen.uds == str(tmp_path / "run" / "s")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("listen: :8080", "1:9: listen: `:8080`: the address before the port is missing; write 0.0.0.0:8080"),
        (
            "listen: localhost",
            "1:9: listen: `localhost`: must be HOST:PORT, [IPv6]:PORT, a port, unix:PATH or a mapping",
        ),
        ("listen: ::1", "1:9: listen: `::1`: must be HOST:PORT"),
        ("listen: http://127.0.0.1:8080", "1:9: listen: `http://127.0.0.1:8080`: must be HOST:PORT"),
        ("listen: 127.0.0.1:80800", "1:9: listen.port: `80800`: must be an integer from 0 to 65535"),
        ("listen: a b:80", "1:9: listen.host: `a b`: not a host name or an IP address"),
        ("listen: true", "1:9: listen: `True`: must be HOST:PORT"),
        ("listen: [127.0.0.1:80]", "1:9: listen: must be a string or a mapping, not a list"),
        ("listen:", "1:8: listen: has no value"),
        ("listen: 'unix:'", "1:9: listen: `unix:`: must be HOST:PORT"),
        ("listen: {uds: s, port: 9}", "1:15: listen.uds: contradicts `host` and `port`"),
        ("listen: {keep_alive: 0s}", "1:22: listen.keep_alive: must be longer than nothing"),
        ("listen: {keep_alive: 75}", "1:22: listen.keep_alive: `75`: a duration needs a unit"),
        ("listen: {tls: {key: k.pem}}", "1:15: listen.tls: key `certificate` is missing"),
        ("listen: {tls: {certificate: none.pem}}", "1:29: listen.tls.certificate: cannot read `none.pem`"),
    ],
)
def test_where_not_to_listen(text: str, why: str) -> None:
    assert problems(text)[0].startswith(f"c.yaml:{why}")


def test_a_client_is_asked_for_a_certificate_of_an_authority(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("any")
    (tmp_path / "c.yaml").write_text("listen: {tls: {certificate: c.pem, client_auth: optional}}")
    with pytest.raises(ConfigError, match="without `client_ca`, no client is asked"):
        load_config(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("listen: {tls: {certificate: c.pem, client_ca: c.pem}}")
    loaded = load_config(tmp_path / "c.yaml")
    assert loaded.listen.tls is not None
    assert loaded.listen.tls.client_auth == "required"
    assert tmp_path / "c.pem" in loaded.files, "it is watched"


# Keys that are certificates.


def keyed(certificate: str, rest: str = "") -> str:
    return f"keys:\n- {{name: k, certificate: {certificate}}}\n{rest}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (keyed("{}"), "2:26: keys[0].certificate: names no certificate; write `subject`, `san` or `sha256`"),
        (keyed("{subject: CN=a, san: 'DNS:a'}"), "2:47: keys[0].certificate.san: contradicts `subject`"),
        (keyed("{subject: planner}"), "2:36: keys[0].certificate.subject: `planner`: must be a distinguished name"),
        (keyed("{san: planner}"), "2:32: keys[0].certificate.san: `planner`: must be DNS:NAME"),
        (keyed("{san: 'DNS:*.a'}"), "2:32: keys[0].certificate.san: `DNS:*.a`: names are compared as a whole"),
        (keyed("{san: 'IP:a'}"), "2:32: keys[0].certificate.san: `IP:a`: `a` is not an IP address"),
        (keyed("{sha256: ab}"), "2:35: keys[0].certificate.sha256: `ab`: must be the SHA-256 of the certificate"),
        (keyed("{subject: CN=a}"), "2:26: keys[0].certificate: no client presents a certificate"),
        (
            f"keys: [{{name: k, hash: 'sha256:{'ab' * 32}', certificate: {{san: 'DNS:a'}}}}]",
            "1:112: keys[0].certificate: ",
        ),
        ("keys: [{name: k}]", "1:8: keys[0]: key `hash` is missing; write the hash of an API key, or name"),
        (
            keyed("{san: 'DNS:a'}", "- {name: l, certificate: {san: 'DNS:A'}}"),
            "3:32: keys[1].certificate.san: duplicate",
        ),
    ],
)
def test_what_is_wrong_with_a_certificate(text: str, why: str) -> None:
    found = problems(text)
    assert any(each.startswith(f"c.yaml:{why}") for each in found), found


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("CN=planner,O=Acme", "CN=planner,O=Acme"),
        ("cn = planner, o = Acme", "CN=planner,O=Acme"),
        (r"CN=a\, b,O=x", r"CN=a\, b,O=x"),
        (r"CN=a\2C b,O=x", r"CN=a\, b,O=x"),
        (r"CN=\C3\A9", "CN=é"),
        ("CN=é", "CN=é"),
        (r"CN=a\\,O=b", r"CN=a\\,O=b"),
        ("CN=a+UID=7,O=b", "CN=a+UID=7,O=b"),
        ("1.2.840.113549.1.9.1=a@b", "1.2.840.113549.1.9.1=a@b"),
        ("CN=", "CN="),
    ],
)
def test_subjects_are_compared_in_one_form(written: str, normal: str) -> None:
    assert check_subject(written) == normal


@pytest.mark.parametrize("written", ["", "planner", "CN", "=a", 'O="Acme, Inc"', "CN=a,", "CN=a,,O=b", "CN=a\n", 7])
def test_what_is_no_subject(written: Any) -> None:
    with pytest.raises(ShapeError, match="distinguished name"):
        check_subject(written)


def test_a_subject_of_a_certificate_is_that_of_the_configuration() -> None:
    of_tls = (
        (("countryName", "DE"),),
        (("organizationName", "Acme, Inc"),),
        (("commonName", "planner"), ("userId", "7")),
    )
    assert subject(of_tls) == check_subject(r"CN=planner+UID=7, O=Acme\, Inc, C=DE")
    assert san("DNS", "Planner.TEST") == check_san("DNS:planner.test")
    assert san("IP Address", "2001:DB8:0:0:0:0:0:7") == check_san("IP:2001:db8::7")
    assert san("URI", "spiffe://acme/Planner") == check_san("URI:spiffe://acme/Planner")
    assert san("othername", "<unsupported>") is None
    assert san("IP Address", "<invalid>") is None


# What people write.


def test_a_scalar_is_a_list_of_one() -> None:
    text = f"""
listen: {{trusted: 10.0.0.0/8}}
include: none-*.yaml
clusters:
  a: {{speaks: openai, endpoints: http://127.0.0.1:9, retry: {{statuses: 503}}}}
  b: {CLUSTER}
routes:
- {{name: r, match: {{kind: model, dialect: openai}}, to: a, fallback: b}}
"""
    config = parsed(text)
    assert config.listen.trusted == ["10.0.0.0/8"]
    assert [each.url for each in config.clusters["a"].endpoints] == ["http://127.0.0.1:9"]
    assert config.routes[0].fallback == ["b"]
    retry: Any = config.clusters["a"].retry
    assert retry.statuses == [503]


def test_what_is_wrong_with_such_a_scalar_has_its_place() -> None:
    assert problems(f"clusters: {{a: {CLUSTER}}}\nroutes: [{{name: r, to: a, fallback: c}}]")[0] == (
        "c.yaml:2:37: routes[0].fallback[0]: unknown cluster `c`. Known: a"
    )
    assert problems("clusters: {a: {speaks: openai, endpoints: 9}}")[0].startswith(
        "c.yaml:1:43: clusters.a.endpoints[0]: must be a string or a mapping, not an integer"
    )
    assert problems("routes: r\nkeys: k") == [
        "c.yaml:1:9: routes: must be a list, not a string",
        "c.yaml:2:7: keys: must be a list, not a string",
    ]


def test_keys_for_other_programs_are_left_alone() -> None:
    config = parsed("""
x-defaults: &defaults
  timeout: {connect: 1s}
  x-owner: '${NOT_SET}'
x-nothing:
clusters:
  a: {<<: *defaults, x-note: [1, {a: 2}], speaks: openai, endpoints: [http://127.0.0.1:9]}
routes:
- {name: r, x-ticket: 7, match: {kind: model, dialect: openai}, to: a}
""")
    assert config.clusters["a"].timeout.connect == 1.0


def test_such_keys_are_none_where_names_stand() -> None:
    config = parsed(f"clusters: {{x-a: {CLUSTER}}}\nroutes: [{{name: r, to: x-a, match: {{x-b: [c]}}}}]")
    assert list(config.clusters) == ["x-a"]
    assert config.routes[0].match == {"x-b": ["c"]}
    assert "unknown key `y-a`" in problems("y-a: 1")[0]


def test_what_is_merged_in_is_checked_where_it_stands() -> None:
    found = problems("x-d: &d\n  timeout: {connect: 1}\nclusters:\n  a: {<<: *d, speaks: openai, endpoints: http://h}")
    assert len(found) == 1
    assert found[0].startswith("c.yaml:2:22: clusters.a.timeout.connect: `1`: a duration needs a unit;")


# What is probably not meant.


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        ("http://h:1/openai/v1/embeddings", "http://h:1/openai/v1"),
        ("http://h/v1/models", "http://h/v1"),
        ("http://h/v1", None),
        ("http://h/chat", None),
    ],
)
def test_the_url_of_an_endpoint_is_no_path_of_a_request(url: str, own: str | None) -> None:
    config = parsed(f"clusters: {{a: {{speaks: openai, endpoints: [{url}]}}}}")
    expected = []
    if own is not None:
        tail = f"ends with `{url.removeprefix(own)}`, which requests bring along: it would be there twice; write {own}"
        expected = [f"c.yaml:1:44: clusters.a.endpoints[0]: warning: {tail}"]
    assert [str(each) for each in config.warnings] == expected
    envelope = parsed(f"clusters: {{a: {{speaks: envelope, endpoints: [{url}]}}}}")
    assert envelope.warnings == ()


def test_a_literal_that_looks_like_a_glob() -> None:
    match = '{model: ["llama-*", b], tenant: "*", path: [{wildcard: "/v1/*"}], headers: {accept: "*/*", x-k: ["s*t"]}}'
    config = parsed(f"clusters: {{a: {CLUSTER}}}\nroutes:\n- name: r\n  to: a\n  match: {match}\n")
    why = "warning: a literal, in which `*` stands for itself; for a glob, write"
    assert [str(each) for each in config.warnings] == [
        f'c.yaml:5:19: routes[0].match.model[0]: {why} `[{{wildcard: "llama-*"}}]`',
        f"c.yaml:5:42: routes[0].match.tenant: {why} `[{{exists: true}}]`",
        f"c.yaml:5:107: routes[0].match.headers.x-k[0]: {why} `[{{wildcard: …}}]`",
    ]
    many = "".join(f'- {{name: r{n}, to: a, match: {{model: "m{n}*"}}}}\n' for n in range(50))
    *told, rest = parsed(f"clusters: {{a: {CLUSTER}}}\nroutes:\n{many}").warnings
    assert len(told) == 20
    assert str(rest) == "warning: 30 more values are probably not meant as they are"


def test_a_subject_from_the_wrong_end(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("any")
    text = "listen: {tls: {certificate: c.pem, client_ca: c.pem}}\nkeys:\n- {name: k, certificate: {subject: '%s'}}\n"
    for written, warned in (("O = Acme, CN = planner", True), ("CN=planner,O=Acme", False), ("CN=planner", False)):
        (tmp_path / "c.yaml").write_text(text % written)
        said = [warning.message for warning in load_config(tmp_path / "c.yaml").warnings]
        wanted = "warning: begins with the least specific part; RFC 4514 has it last: `CN=planner,O=Acme`"
        assert said == ([wanted] if warned else [])
