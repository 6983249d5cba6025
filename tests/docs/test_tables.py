"""The tables of the documentation are complete and true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import waypost
from prometheus_client.parser import text_string_to_metric_families
from waypost._native import Endpoint, Recorder, Registry
from waypost.cli import main
from waypost.config import from_dict, json_schema, model, policy
from waypost.config.pattern import PREDICATES
from waypost.errors import STATUS
from waypost.table import compile_config

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str, header: str) -> list[list[str]]:
    """The cells of the tables with this header."""
    table = []
    for part in (DOCS / page).read_text(encoding="utf-8").split(f"\n{header}\n")[1:]:
        for line in part.splitlines()[1:]:
            if not line.startswith("|"):
                break
            table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    assert table
    return table


def codes(cell: str) -> list[str]:
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`]+)`", cell)]


def documents(cell: str) -> list[str]:
    return [f'{{"f": {code}}}' for code in codes(cell)] + (["{}"] if "no field" in cell else [])


PATTERNS = rows("routing/patterns.md", "| in the list | matches | does not match |")


@pytest.mark.parametrize("row", PATTERNS, ids=[row[0] for row in PATTERNS])
def test_patterns_match_what_the_table_says(row: list[str]) -> None:
    (alternative,) = codes(row[0])
    matcher = waypost.Matcher({"rule": {"f": [json.loads(alternative)]}})
    assert documents(row[1])
    assert documents(row[2])
    assert [each for each in documents(row[1]) if not matcher.matches(each)] == []
    assert [each for each in documents(row[2]) if matcher.matches(each)] == []


def test_every_predicate_is_in_the_table() -> None:
    assert set(PREDICATES) == {code for code in PREDICATES if any(f'"{code}"' in row[0] for row in PATTERNS)}


def test_every_field_that_patterns_see_is_listed() -> None:
    own = [codes(row[0])[0] for row in rows("dialects/envelope.md", "| field | type | |")]
    reserved = [codes(row[0])[0] for row in rows("routing/patterns.md", "| name | |")]
    seen = set(json_schema()["$defs"]["Pattern"]["properties"]) - {"$or"} - set(PREDICATES)
    assert sorted(own + reserved) == sorted(seen)


def test_every_code_is_listed_with_its_status() -> None:
    table = rows("reference/errors.md", "| code | status | what it means | what to do |")
    listed = {codes(row[0])[0]: int(row[1]) for row in table}
    (sentence,) = re.findall(
        r"more codes are raised in Python only.*?\.", (DOCS / "reference/errors.md").read_text("utf-8"), re.DOTALL
    )
    only_raised = {code: STATUS[code] for code in codes(sentence)}
    assert listed | only_raised == STATUS


def described(struct: type[msgspec.Struct], prefix: str = "") -> dict[str, str | None]:
    """Each key of a struct, and its default as a person writes it; `None` where there is none to write."""
    out: dict[str, str | None] = {}
    for each in msgspec.structs.fields(struct):
        written: str | None = None
        if isinstance(each.default, (int, float, str)):
            unit = next((extra["format"] for extra in extras(each.type) if "format" in extra), str)
            written = json.dumps(each.default) if isinstance(each.default, bool) else unit(each.default)
        out[prefix + each.name] = written
    return out


def extras(annotation: Any) -> Iterable[dict[str, Any]]:
    for meta in getattr(annotation, "__metadata__", ()):
        if meta.extra:
            yield meta.extra


def sections() -> dict[str, str]:
    """The default of each key of a configuration, by the path of the key."""
    page = (DOCS / "reference/config.md").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for part in page.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        prefix = "" if title == "The top of the file" else f"{title.strip('`')}."
        for line in text.partition("\n| key | type | default | |\n")[2].splitlines()[1:]:
            if not line.startswith("|"):
                break
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found[prefix + codes(cells[0])[0]] = cells[2]
    return found


def test_every_key_of_a_configuration_is_listed_with_its_default() -> None:
    from waypost.config import answer, certificate, listen  # noqa: PLC0415

    listed = sections()
    cluster = "clusters.NAME."
    wanted = (
        described(listen.Listen, "listen.")
        | described(listen.ListenTls, "listen.tls.")
        | described(listen.AdminListener, "listen.admin.")
        | described(model.Limits, "limits.")
        | described(model.Document)
        | described(model.Key, "keys[].")
        | described(certificate.ClientCertificate, "keys[].certificate.")
        | described(model.Fragment)
        | described(model.Cluster, cluster)
        | described(model.Endpoint, f"{cluster}endpoints[].")
        | described(model.Credential, f"{cluster}credential.")
        | described(policy.Timeout, f"{cluster}timeout.")
        | described(policy.Retry, f"{cluster}retry.")
        | described(policy.HashBalance, f"{cluster}balance.")
        | described(policy.Health, f"{cluster}health.")
        | described(policy.Check, f"{cluster}health.check.")
        | described(policy.Breaker, f"{cluster}breaker.")
        | described(policy.AdaptiveConcurrency, f"{cluster}concurrency.")
        | described(policy.Adaptive, f"{cluster}concurrency.adaptive.")
        | described(policy.Queue, f"{cluster}queue.")
        | described(policy.Rate, f"{cluster}rate[].")
        | described(policy.Hedge, f"{cluster}hedge.")
        | described(model.Tls, f"{cluster}tls.")
        | described(model.Route, "routes[].")
        | described(answer.Reply, "routes[].reply.")
        | described(answer.Mirror, "routes[].mirror.")
    )
    assert set(listed) == set(wanted)
    for key, written in wanted.items():
        if written is not None:
            assert listed[key] == f"`{written}`", key


def test_every_metric_is_listed_with_its_labels() -> None:
    listed = {
        name: set(codes(row[1]))
        for row in rows("reference/metrics.md", "| metric | labels | |")
        for name in codes(row[0])
    }
    # Its label is named where what it says is.
    listed["waypost_build_info"] = {"version"}
    recorder, registry = Recorder(["internal"]), Registry()
    cluster = {"speaks": "envelope", "endpoints": ["http://pool.test:9"], "concurrency": 1}
    snapshot = compile_config(from_dict({"clusters": {"c": cluster}, "routes": []}), recorder)
    registry.apply(snapshot, snapshot.endpoints)
    registry.resolved("pool.test", ["127.0.0.1"])
    intake = snapshot.accept("GET", b"/v1/models", [(b"host", b"h")])
    recorder.record_rejection("internal", 500, intake=intake)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(recorder.render(registry)[0]):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    # Nothing reached a cluster, so that there is no sample of these.
    unknown = {
        "waypost_first_byte_seconds": {"cluster"},
        "waypost_cluster_first_byte_quantile_seconds": {"cluster", "quantile"},
        "waypost_endpoint_latency_seconds": {"cluster", "endpoint", "address"},
        "waypost_endpoint_check_passes": {"cluster", "endpoint", "address"},
    }
    assert all(found[name] == set() for name in unknown)
    found |= unknown
    assert found == listed


def test_every_member_of_a_line_of_the_access_log_is_listed() -> None:
    listed = {name for row in rows("operate/logs.md", "| member | |") for name in codes(row[0])}
    recorder = Recorder(["internal"])
    recorder.log(lambda _: None)
    key = {"name": "k", "hash": f"sha256:{'0' * 64}", "tenant": "t", "agent": "a"}
    cluster = {"speaks": "envelope", "endpoints": ["http://127.0.0.1:9"]}
    config = from_dict({"clusters": {"c": cluster}, "routes": [{"name": "r", "to": "c"}], "keys": [key]})
    snapshot = compile_config(config, recorder)
    intake = snapshot.accept("POST", b"/v1/envelopes", [(b"host", b"h")], client="192.0.2.7", key="k")
    plan = intake.plan(b'{"id":"m","kind":"model","model":"m"}')
    endpoint = plan.begin()
    assert isinstance(endpoint, Endpoint)
    assert plan.answer(endpoint, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", {200: b""}, b"", False)
    internal = {"call"}  # is on lines of internal calls only
    assert set(json.loads(recorder.take_lines()[0])) == listed - internal


def test_every_option_of_each_command_is_listed() -> None:
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    assert set(main.commands) == set(re.findall(r"^## `waypost (\w+)`$", page, re.MULTILINE))
    for name, command in main.commands.items():
        section = page.partition(f"\n## `waypost {name}`\n")[2].partition("\n## ")[0]
        options = {each.opts[0] for each in command.params if isinstance(each, click.Option)}
        assert set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE)) == options


def test_every_public_name_is_listed() -> None:
    listed = [codes(row[0])[0] for row in rows("reference/python.md", "| name | |")]
    assert sorted(listed) == sorted(waypost.__all__)


def test_every_exception_is_listed_with_its_attributes() -> None:
    listed = {
        codes(row[0])[0]: set(codes(row[2]))
        for row in rows("reference/errors.md", "| exception | raised by | attributes |")
    }
    problem = waypost.Problem(("a",), "b")
    made = [
        waypost.WaypostError("internal", ""),
        waypost.PatternError(""),
        waypost.ConfigError([problem]),
        waypost.EnvelopeError("invalid_json", ""),
        waypost.UpstreamError("upstream_timeout", ""),
    ]
    assert set(listed) == {type(each).__name__ for each in made}
    for each in made:
        attributes = {name for name in vars(each) if not hasattr(made[0], name) or type(each) is waypost.WaypostError}
        fields = {"path", "message", "file", "line", "column"} if isinstance(each, waypost.ConfigError) else set()
        assert listed[type(each).__name__] == attributes | fields


def test_headers_of_responses_are_listed() -> None:
    listed = [codes(row[0])[0] for row in rows("reference/headers.md", "| response header | |")]
    recorder = Recorder(["internal"])
    cluster = {"speaks": "envelope", "endpoints": ["http://127.0.0.1:9"]}
    config = from_dict({"clusters": {"c": cluster}, "routes": [{"name": "r", "to": "c"}]})
    intake = compile_config(config, recorder).accept("POST", b"/v1/envelopes", [(b"host", b"h")])
    plan = intake.plan(b'{"id":"m","kind":"query"}')
    assert listed == [name.decode() for name, _ in plan.own_fields(None, 0)]


def test_headers_of_requests_are_listed() -> None:
    listed = [codes(row[0])[0] for row in rows("reference/headers.md", "| request header | |")]
    table = waypost.RouteTable(routes=[])
    with pytest.raises(waypost.WaypostError) as caught:
        table.decide(b"{}", dialect="openai", headers={"x-waypost-none": "1"})
    assert set(listed) == set(re.findall(r"x-waypost-[a-z-]+", caught.value.message)) - {"x-waypost-none"}
    fields = {"x-waypost-priority": "5", "x-waypost-deadline-ms": "1"}
    for name in listed:
        table.decide(b"{}", dialect="openai", headers={name: fields.get(name, "a")})
