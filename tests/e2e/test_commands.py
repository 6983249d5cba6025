"""The commands that do not serve: check, explain, schema, demo."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from .support.client import Client
from .support.proxy import Process, Proxy, command
from .support.upstream import free_port

ROOT = Path(__file__).parents[2]
GOOD = """\
clusters:
  local: {speaks: openai, endpoints: [http://127.0.0.1:9100]}
  tools: {speaks: envelope, endpoints: [http://127.0.0.1:9101]}
routes:
  - name: gold
    match: {kind: model, tenant: [acme], priority: [{numeric: [">=", 7]}]}
    to: local
  - name: tier
    match: {kind: model, headers: {x-tier: [gold]}}
    to: local
  - name: models
    match: {kind: model}
    to: local
    fallback: []
  - name: tools
    match: {kind: tool}
    to: tools
  - name: files
    match: {path: [{prefix: /v1/files}], dialect: openai}
    to: local
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "waypost.yaml"
    path.write_text(GOOD)
    return path


# check


def test_check_of_a_good_file(config: Path) -> None:
    done = command("check", "--running", str(config))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{config}: ok (5 routes, 2 clusters)\n"


BAD = """\
listen: {prot: 80}
clusters:
  local: {speaks: openai, endpoints: [ftp://x]}
routes:
  - name: a
    match: {kind: model, priority: [{numeric: ["=>", 7]}]}
    to: locl
  - name: a
    to: local
  - to: local
    match:
extra: 1
"""


def test_check_prints_every_problem_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    done = command("check", "--running", str(path))
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    places = {}
    for line in lines:
        found = re.fullmatch(rf"{re.escape(str(path))}:(\d+):(\d+): (?:([^ `]+): )?(.+)", line)
        assert found, line
        places[found[3] or "root"] = (int(found[1]), int(found[2]), found[4])
    assert {path: place[:2] for path, place in places.items()} == {
        "listen": (1, 10),
        "clusters.local.endpoints[0]": (3, 39),
        "routes[0].match.priority[0].numeric[0]": (6, 48),
        "routes[0].to": (7, 9),
        "routes[1].name": (8, 11),
        "routes[2]": (10, 5),
        "routes[2].match": (11, 11),
        "root": (12, 1),
    }
    assert "unknown key `prot`; did you mean `port`?" in places["listen"][2]
    assert "did you mean `local`?" in places["routes[0].to"][2]
    assert "unknown key `extra`" in places["root"][2]
    assert f"{len(lines)} problems" in done.stderr.decode()


def test_check_prints_every_problem_of_meaning_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        GOOD.replace('">="', '"=>"').replace("{kind: tool}", "{kind: query}").replace("to: tools", "to: local")
        + "  - {name: x, match: {tool: [{prefixx: a}]}, to: tools}\n"
    )
    done = command("check", "--running", str(path))
    out = done.stdout.decode()
    assert done.returncode == 1
    assert f"{path}:6:" in out
    assert f"{path}:21:" in out
    assert "prefixx" in out


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [\n", 2, ""),
        ("routes: []\nroutes: []\n", 2, "routes"),
        ("\tx: 1\n", 1, ""),
        ("- list\n", 1, ""),
        ("a: &x [*x]\n", 1, ""),
        ("listen: {port: '${NOT_SET_ANYWHERE}'}\n", 1, "NOT_SET_ANYWHERE"),
        ("clusters: {c: {speaks: openai, endpoints: []}}\n", 1, "endpoints"),
        ("\x00", 1, ""),
    ],
)
def test_check_of_what_is_no_configuration(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = command("check", "--running", str(path))
    out = done.stdout.decode()
    assert done.returncode == 1
    assert f"{path}:{line}:" in out
    assert words in out
    assert b"Traceback" not in done.stderr


def test_check_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = command("check", "--running", str(tmp_path / "nothing.yaml"))
    assert done.returncode == 1
    assert b"nothing.yaml: there is no such file" in done.stderr
    assert b"Traceback" not in done.stderr


def test_check_warns_of_what_is_legal_but_not_meant(config: Path) -> None:
    config.write_text(GOOD + "  - {name: late, match: {kind: model}, to: local}\n")
    done = command("check", "--running", str(config))
    assert done.returncode == 0
    assert f"{config}:21:" in done.stdout.decode()
    assert "warning: never reached" in done.stdout.decode()
    assert "ok (6 routes, 2 clusters)" in done.stdout.decode()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_check_of_the_examples(path: Path) -> None:
    done = command("check", "--running", str(path))
    assert (done.returncode, "warning" in done.stdout.decode()) == (0, False), done.stdout


# explain


def _explain(config: Path, *args: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = command("explain", str(config), *args, stdin=stdin)
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_explain_shows_the_route_first_and_why_not_each_other(config: Path) -> None:
    message = b'{"id":"a","kind":"model","tenant":"acme","priority":3}'
    code, out, _ = _explain(config, stdin=message)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith('message  id "a", kind "model"')
    assert lines[1] == "route    models → local"
    assert lines[2] == 'because  kind is "model"'
    others = {line.split()[0]: line for line in lines[5:]}
    assert list(others) == ["gold", "tier", "tools", "files"]
    assert "priority" in others["gold"]
    assert "3" in others["gold"]
    assert "headers.x-tier" in others["tier"]
    assert "kind" in others["tools"]


def test_explain_reads_a_file_and_headers(config: Path, tmp_path: Path) -> None:
    message = tmp_path / "message.json"
    message.write_text('{"model":"m","messages":[]}')
    code, out, _ = _explain(config, str(message), "--path", "/v1/chat/completions", "--header", "X-Tier:  gold")
    assert (code, out.splitlines()[1]) == (0, "route    tier → local")


def test_explain_of_a_path_without_a_body(config: Path) -> None:
    code, out, _ = _explain(config, "--path", "/v1/files/f-1?limit=1")
    assert (code, out.splitlines()[1]) == (0, "route    files → local")


def test_explain_as_json(config: Path) -> None:
    message = b'{"id":"a","kind":"model","tenant":"acme","priority":7}'
    code, out, _ = _explain(config, "-", "--json", stdin=message)
    document = json.loads(out)
    assert code == 0
    assert (document["route"], document["cluster"], document["fallback"]) == ("gold", "local", [])
    assert document["fields"]["priority"] == "7"
    assert [verdict["route"] for verdict in document["verdicts"]] == ["gold", "tier", "models", "tools", "files"]
    assert [verdict["matched"] for verdict in document["verdicts"]] == [True, False, True, False, False]
    assert document["verdicts"][3]["path"] == "kind"


def test_explain_where_nothing_matches(config: Path) -> None:
    code, out, _ = _explain(config, stdin=b'{"id":"a","kind":"event"}')
    assert code == 1
    assert "none matches" in out
    code, out, _ = _explain(config, "--json", stdin=b'{"id":"a","kind":"event"}')
    assert (code, json.loads(out)["route"]) == (1, None)


@pytest.mark.parametrize(
    ("stdin", "code"),
    [
        (b"", "invalid_json"),
        (b'{"id":1}', "invalid_envelope"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b"\xff", "invalid_utf8"),
    ],
)
def test_explain_of_a_message_that_would_be_refused(config: Path, stdin: bytes, code: str) -> None:
    exit_code, _, error = _explain(config, stdin=stdin)
    assert exit_code == 1
    assert f"refused with 400 {code}" in error
    exit_code, out, _ = _explain(config, "--json", stdin=stdin)
    assert (exit_code, json.loads(out)["error"]["code"]) == (1, code)


def test_explain_of_bad_arguments(config: Path, tmp_path: Path) -> None:
    assert _explain(config, "--header", "nonsense")[0] == 2
    assert _explain(config, str(tmp_path / "nothing"))[0] == 1
    assert _explain(tmp_path / "nothing.yaml", stdin=b"{}")[0] == 1
    assert _explain(config, "--path", "/nowhere", stdin=b"{}")[0] == 1


# schema, usage


def test_schema_is_the_one_beside_the_examples() -> None:
    done = command("schema")
    assert done.returncode == 0
    assert done.stdout.decode() == (ROOT / "examples" / "waypost.schema.json").read_text()


@pytest.mark.parametrize(
    "args",
    [("nonsense",), ("serve", "--nonsense"), ("serve", "--port", "70000"), ("serve", "--workers", "0")],
)
def test_usage_errors(args: tuple[str, ...]) -> None:
    assert command(*args).returncode == 2


def test_version_and_help() -> None:
    assert command("--version").stdout.startswith(b"waypost, version ")
    out = command("--help").stdout.decode()
    for name in ("demo", "serve", "check", "explain", "schema"):
        assert f"\n  {name} " in out


# demo

KINDS = ("query", "context", "model", "tool", "event", "OpenAI chat", "OpenAI chat, streamed", "model, streamed")


def test_demo_once_shows_a_message_of_each_kind() -> None:
    done = command("demo", "--once")
    out = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    rows = [line for line in out.splitlines() if re.search(r" \d+\.\d ms", line)]
    assert [re.split(r"\s{2,}", row)[0] for row in rows] == list(KINDS)
    assert out.count("\n  -> ") == len(KINDS)
    assert "failed" not in out
    assert "All messages were answered." in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_until_it_is_stopped(number: signal.Signals) -> None:
    port = free_port()
    ready = re.compile(r"(The proxy is at) http://(127\.0\.0\.1):(\d+) until()")
    demo = Proxy([sys.executable, "-m", "waypost", "demo", "--port", str(port)], ready=ready)
    try:
        ports = [int(found) for found in re.findall(r"http://127\.0\.0\.1:(\d+)\n", demo.output)]
        assert port in ports
        assert len(ports) == 5
        body = b'{"id":"a","kind":"tool","tool":"add","content":{"a":1,"b":2}}'
        assert demo.ask("POST", "/v1/envelopes", body).json["result"] == {"value": 3}
        demo.signal(number)
        assert demo.exit_code() == 0
    finally:
        demo.stop(expected=None)
    for one in ports:
        with pytest.raises(ConnectionRefusedError):
            Client(("127.0.0.1", one))


def test_demo_interrupted_while_it_starts() -> None:
    demo = Process([sys.executable, "-m", "waypost", "demo"])
    try:
        demo.wait_for("Starting the upstreams")
        demo.signal(signal.SIGINT)
        assert demo.exit_code() in (0, 128 + signal.SIGINT)
    finally:
        demo.stop(expected=None)


def test_demo_where_its_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("demo", "--once", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port}" in (done.stdout + done.stderr).decode()
    assert b"Traceback" not in done.stderr


# Bytes of a command line that are no text.


def test_bytes_that_are_no_text_are_explained_in_a_sentence(config: Path) -> None:
    done = command("explain", str(config), "--header", "x-waypost-tenant: caf\udce9", stdin=b'{"id":"a","kind":"tool"}')
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(r"refused with 400 [a-z_]+: .*x-waypost-tenant.*\n", done.stderr.decode()), done.stderr


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    for name in ("check", "serve"):
        file = tmp_path / "caf\udce9.yaml"
        file.write_text("nothing: 1\n")
        done = command(name, str(file))
        assert done.returncode == 1
        assert b"unknown key `nothing`" in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
