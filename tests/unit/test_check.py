"""`waypost check`: it does everything that `waypost serve` does, except to listen and to serve."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from waypost.cli import main

from tests.e2e.support.certificates import Authority

CLUSTERS = """\
clusters:
  c: {speaks: openai, endpoints: [http://127.0.0.1:9]}
routes:
  - {name: r, match: {kind: model, dialect: openai}, to: c}
"""


def checked(directory: Path, text: str, *args: str, **environ: str) -> tuple[int, str]:
    """The exit code and the output of `waypost check`, without the directory."""
    file = directory / "c.yaml"
    file.write_text(text + CLUSTERS)
    before = sorted(directory.iterdir())
    done = CliRunner().invoke(main, ["check", *args, str(file)], env=environ, catch_exceptions=False)
    assert sorted(directory.iterdir()) == before, "nothing is left behind"
    return done.exit_code, done.stdout.replace(f"{directory}/", "")


@pytest.fixture
def busy() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_a_port_in_use(tmp_path: Path, busy: int) -> None:
    listen = f"listen: 127.0.0.1:{busy}\n"
    code, said = checked(tmp_path, listen)
    assert code == 1
    assert said.startswith(f"c.yaml:1:9: listen.port: port {busy} of 127.0.0.1 is in use: ")
    assert "pass --running" in said
    assert checked(tmp_path, listen, "--running") == (0, "c.yaml: ok (1 route, 1 cluster)\n")
    assert checked(tmp_path, listen, "--port", "0") == (0, "c.yaml: ok (1 route, 1 cluster)\n")
    assert checked(tmp_path, listen, "--offline")[0] == 0


def test_a_port_is_free_again_after_a_check(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    assert checked(tmp_path, f"listen: {port}\n")[0] == 0
    socket.create_server(("127.0.0.1", port), reuse_port=False).close()


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("listen: {host: 192.0.2.1, port: 0}", "listen.host: 192.0.2.1 is not an address of this machine"),
        ("listen: {host: nowhere.invalid, port: 0}", "listen.host: the host nowhere.invalid cannot be resolved"),
        ("listen: 0.0.0.0:0", "listen: refused to listen on 0.0.0.0"),
        ("listen: unix:none/s", "listen.uds: cannot listen on none/s: No such file or directory"),
        ("listen: unix:there", "listen.uds: there exists and is not a socket"),
        ("listen: unix:in-use", "listen.uds: in-use is in use"),
        (f"listen: unix:{'long' * 40}", "listen.uds: cannot listen on "),
    ],
)
def test_an_address_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: str, why: str) -> None:
    (tmp_path / "there").touch()
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        monkeypatch.chdir(tmp_path)
        sock.bind("in-use")
        sock.listen()
        code, said = checked(tmp_path, f"{listen}\n")
    assert code == 1
    assert why in said, said
    if "0.0.0.0" in listen:
        assert checked(tmp_path, f"{listen}\n", "--insecure-no-auth")[0] == 0


def test_a_socket_that_was_left_behind_is_no_problem(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(str(tmp_path / "s"))
    assert checked(tmp_path, "listen: unix:s\n") == (0, "c.yaml: ok (1 route, 1 cluster)\n")
    assert checked(tmp_path, "listen: unix:new\n") == (0, "c.yaml: ok (1 route, 1 cluster)\n")


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("none/access.log", "No such file or directory"),
        ("./there", "Is a directory"),
        ("file/access.log", "Not a directory"),
    ],
)
def test_a_log_that_cannot_be_written(tmp_path: Path, log: str, why: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    code, said = checked(tmp_path, f"access_log: {log}\nlisten: 0\n")
    assert code == 1
    assert said.startswith("c.yaml:1:13: access_log: ")
    assert why in said
    assert checked(tmp_path, f"access_log: {log}\n", "--offline")[0] == 0


def test_a_log_that_can_be_written(tmp_path: Path) -> None:
    for name in ("new.log", "old.log", "pipe"):
        if name == "old.log":
            (tmp_path / name).write_text("line\n")
        elif name == "pipe":
            os.mkfifo(tmp_path / name)
        assert checked(tmp_path, f"access_log: ./{name}\nlisten: 0\n")[0] == 0, name
    assert (tmp_path / "old.log").read_text() == "line\n"


def test_the_certificate_of_the_listener(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    other = authority.issue("other")[1]
    good = f"listen: {{port: 0, tls: {{certificate: {certificate.name}, key: {key.name}}}}}\n"
    assert checked(tmp_path, good)[0] == 0
    code, said = checked(tmp_path, good.replace(key.name, other.name))
    assert code == 1
    assert "listen.tls.key: `" in said
    assert "does not contain the key of the certificate in" in said
    code, said = checked(tmp_path, "listen: 0\n", "--ssl-certfile", str(certificate), "--ssl-keyfile", str(other))
    assert code == 1
    assert said.startswith("--ssl-keyfile: `")
    assert checked(tmp_path, good.replace("port: 0", "uds: s"))[0] == 0
    missing = good.replace(certificate.name, "elsewhere.pem")
    assert "listen.tls.certificate: cannot read `elsewhere.pem`" in checked(tmp_path, missing)[1]
    assert checked(tmp_path, missing, "--offline") == (
        0,
        "c.yaml: ok (1 route, 1 cluster, 1 value not known offline)\n",
    )


def test_all_problems_at_once(tmp_path: Path, busy: int) -> None:
    wrong = "  - {name: w, match: {tool: [{prefixx: a}]}, to: c}\n"
    file = tmp_path / "c.yaml"
    file.write_text(f"listen: 127.0.0.1:{busy}\naccess_log: none/a.log\n{CLUSTERS}{wrong}")
    done = CliRunner().invoke(main, ["check", str(file)], catch_exceptions=False)
    assert done.exit_code == 1
    for part in ("listen.port: ", "access_log: ", "routes[1].match.tool[0]"):
        assert part in done.stdout, done.stdout


OFFLINE = """\
listen: {port: "${PORT}", keep_alive: "${KEEP}", trusted: ["${PROXY}"], tls: {certificate: none.pem, client_ca: "${C}"}}
limits: {body: "${BODY}"}
access_log: ${LOG}
keys:
  - {name: a, hash: "${HASH_A}", tenant: "${TENANT}", admin: "${ADMIN}"}
  - {name: b, hash: "${file:/run/secrets/hash}"}
  - {name: c, certificate: {subject: "${SUBJECT}"}}
clusters:
  cloud:
    speaks: "${SPEAKS}"
    endpoints: ["${URL_A}", {url: "${URL_B}", weight: "${WEIGHT}"}, "https://${HOST}/v1"]
    credential: {header: "${HEADER}", value: "Bearer ${file:secret}"}
    proxy: "${PROXY_URL}"
    retry: "${RETRY}"
    balance: "${BALANCE}"
    concurrency: "${MANY}"
    timeout: {connect: "${CONNECT}"}
    rate: {per: tenant, messages: "${N}", every: "${EVERY}"}
    hedge: "${HEDGE}"
    tls: {ca: other.pem, server_name: "${NAME}"}
  local: {speaks: openai, endpoints: [http://127.0.0.1:9]}
routes:
  - {name: "${ROUTE}", match: {tenant: ["${TENANT}"], kind: ["${KIND}"]}, to: "${CLUSTER}"}
  - {name: all, match: {kind: model, dialect: openai}, to: local, fallback: "${FALLBACK}"}
"""


def test_offline_no_secret_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(OFFLINE)
    done = CliRunner().invoke(main, ["check", "--offline", str(file)], catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, ""), done.stdout
    assert done.stdout == f"{file}: ok (2 routes, 2 clusters, {OFFLINE.count('${') + 2} values not known offline)\n"
    # Everything else is a problem as ever.
    file.write_text(OFFLINE.replace("to: local", "to: locl").replace("weight:", "wieght:") + "extra: ${X\n")
    done = CliRunner().invoke(main, ["check", "--offline", str(file)], catch_exceptions=False)
    said = done.stdout
    assert done.exit_code == 1
    assert "did you mean `weight`?" in said
    assert "unknown cluster `locl`" in said
    assert "unknown key `extra`" in said
    assert said.count("\n") == 3, said


def test_offline_warnings_are_those_of_the_whole(tmp_path: Path) -> None:
    text = 'keys: [{name: a, hash: "${HASH}"}]\n'
    file = tmp_path / "c.yaml"
    file.write_text(f"{text}{CLUSTERS}  - {{name: late, match: {{kind: model, dialect: openai, tenant: a}}, to: c}}\n")
    done = CliRunner().invoke(main, ["check", "--offline", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "routes[1].match: warning: never reached" in done.stdout


def test_what_is_known_is_used_offline(tmp_path: Path) -> None:
    text = "listen: {port: 0, trusted: ['${PROXY}']}\n"
    assert "must be an address" in checked(tmp_path, text, "--offline", PROXY="no address")[1]
    assert checked(tmp_path, text, "--offline", PROXY="10.0.0.1") == (0, "c.yaml: ok (1 route, 1 cluster)\n")
