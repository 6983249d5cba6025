"""One report of all that is wrong with a configuration: of its shape and of its meaning, each once, by place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import waypost
from hypothesis import given, settings
from hypothesis import strategies as st
from waypost import ConfigError, RouteTable, _native
from waypost.config import Listen, from_dict
from waypost.table import compile_config, read_config

CLUSTERS = """\
clusters:
  local: {speaks: openai, endpoints: [http://127.0.0.1:9100]}
  tools: {speaks: envelope, endpoints: [http://127.0.0.1:9101]}
"""

LISTEN_KEYS = ", ".join(Listen.__struct_fields__)


def found(base: Path, files: str | dict[str, str], **environ: str) -> list[str]:
    """Each problem without the directory, and cut after the first words of its message."""
    if isinstance(files, str):
        files = {"c.yaml": files}
    for name, text in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    path = base / next(iter(files))
    with pytest.raises(ConfigError) as caught:
        compile_config(read_config(path, environ=environ))
    with pytest.raises(ConfigError) as loaded:
        waypost.load_config(path, environ=environ)
    assert loaded.value.problems == caught.value.problems
    lines = [str(problem).replace(f"{base}/", "") for problem in caught.value.problems]
    assert len(set(lines)) == len(lines)
    assert caught.value.message.replace(f"{base}/", "").splitlines() == lines
    return lines


def places(lines: list[str]) -> list[str]:
    """`c.yaml:1:2: path`"""
    return [": ".join(line.split(": ", 2)[:2]) for line in lines]


def test_shape_and_meaning_are_one_report_by_place(tmp_path: Path) -> None:
    assert found(
        tmp_path,
        CLUSTERS
        + """\
routes:
  - {name: a, match: {kind: model, tenant: [{prefx: x}, {prefix: 3}]}, to: local}
  - {name: b, match: {kind: modle}, to: local, prio: 1}
  - {name: c, match: {kind: tool}, to: local}
listen: {prot: 1}
""",
    ) == [
        (
            "c.yaml:5:53: routes[0].match.tenant[0].prefx: unknown predicate `prefx`; did you mean `prefix`? Allowed: "
            "prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric, cidr, exists, regex"
        ),
        "c.yaml:5:66: routes[0].match.tenant[1].prefix: `prefix` takes a string, not a number",
        'c.yaml:6:29: routes[1].match.kind: "modle" is not a kind; allowed: query, context, model, tool, event',
        "c.yaml:6:48: routes[1]: unknown key `prio`. Allowed: name, match, to, fallback, reply, mirror, precedence",
        "c.yaml:7:40: routes[2].to: cluster `local` speaks openai: envelopes of kind tool cannot be sent to it",
        f"c.yaml:8:10: listen: unknown key `prot`; did you mean `port`? Allowed: {LISTEN_KEYS}",
    ]


def test_included_files_are_in_it(tmp_path: Path) -> None:
    assert places(
        found(
            tmp_path,
            {
                "main.yaml": CLUSTERS + "include: [more/*.yaml, tenants.jsonl]\n"
                "routes: [{name: a, to: local, match: {kind: [mod], x: 1}}]\n",
                "more/b.yaml": "routes:\n- {name: b, to: local, match: {tenant: [{cidr: x}]}}\n"
                "- {name: c, two: local}\n",
                "more/c.yaml": "routes: [3, {name: d, to: local, match: {labels: {t: [{regex: '('}]}}}]\n",
                "tenants.jsonl": '{"name": "t", "to": "local", "match": {"tenant": [{"suffix": 1}]}}\n\n'
                '{"name": "u", "to": \n{"name": "a", "to": "gone", "match": {"agent": [{"exists": 1}], "y": [1]}}\n',
            },
        )
    ) == [
        "main.yaml:5:45: routes[0].match.kind",
        "main.yaml:5:55: routes[0].match.x",
        "more/b.yaml:2:48: routes[1].match.tenant[0].cidr",
        "more/b.yaml:3:13: routes[2]",
        "more/c.yaml:1:10: routes[3]",
        "more/c.yaml:1:63: routes[4].match.labels.t[0].regex",
        "tenants.jsonl:1:62: routes[5].match.tenant[0].suffix",
        "tenants.jsonl:3:21: routes[6]",
        "tenants.jsonl:4:10: routes[7].name",
        "tenants.jsonl:4:21: routes[7].to",
        "tenants.jsonl:4:60: routes[7].match.agent[0].exists",
        "tenants.jsonl:4:70: routes[7].match.y",
    ]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        # A reference that cannot be replaced is one problem; what is beside it is looked at.
        ("{tenant: ['${NO}']}", ["tenant[0]"]),
        ("{tenant: ['${NO}', {prefix: 1}]}", ["tenant[0]", "tenant[1].prefix"]),
        ("{tenant: [{prefix: '${NO}'}], agent: [{suffix: 1}]}", ["tenant[0].prefix", "agent[0].suffix"]),
        ("{tenant: [{anything-but: ['${NO}', {}]}]}", ["tenant[0].anything-but[0]", "tenant[0].anything-but[1]"]),
        (
            "{size: ['${NO}'], body: {size: [{numeric: ['${NO}', x]}]}}",
            ["size", "size[0]", "body.size[0].numeric[0]", "body.size[0].numeric[1]"],
        ),
        ("{kind: ['${NO}', modle]}", ["kind", "kind[0]"]),
        ("{$or: ['${NO}', {kind: x}, 3]}", ["$or[0]", "$or[1].kind", "$or[2]"]),
        ("{tenant: , agent: [[1]]}", ["tenant", "agent[0]"]),
        ("{headers: , labels: {tier: }}", ["headers", "labels.tier"]),
        ("{tenant: {prefix: x}, agent: [[1]]}", ["tenant", "agent[0]"]),
        ("{tennant: {prefix: x}}", ["tennant", "tennant"]),
        ("{prefix: x, tenant: [[1]]}", ["", "tenant[0]"]),
        ("{labels: {1: x}}", ["labels"]),
        ("{labels: {1: x}, agent: [[1]]}", ["labels", "agent[0]"]),
        ("{tenant: [{1: x}]}", ["tenant[0]"]),
        ("{tenant: a, tenant: [[b]]}", [""]),
        ("{tenant: [!!map x, [1]]}", ["tenant[0]", "tenant[1]"]),
        ("{tenant: [{prefx: 1, suffix: 1}]}", ["tenant[0]", "tenant[0].prefx", "tenant[0].suffix"]),
        ("{kind: [modle, tol], method: [get, post]}", ["kind", "kind", "method", "method"]),
        ("{foo: {a: [1], b: {c: [2]}}, bar: {d: 1}}", ["foo", "bar"]),
    ],
)
@pytest.mark.parametrize("unknown", ["", ", extra: 1"])
def test_a_pattern_has_all_its_problems_and_none_that_follow(
    tmp_path: Path, match: str, expected: list[str], unknown: str
) -> None:
    text = f"{CLUSTERS}routes: [{{name: a, to: tools, match: {match}{unknown}}}]"
    lines = found(tmp_path, text)
    paths = [line.split(": ")[1] for line in lines if "`extra`" not in line]
    wanted = [f"routes[0].match{'.' if path else ''}{path}" for path in expected]
    # Without the unknown key, a pattern whose shape is right goes the other way: through the compiler.
    assert sorted(paths) == sorted(wanted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A cluster at fault is there, and what it speaks is known or not.
        (
            "clusters: {c: {speaks: openai, endpoints: [ftp://x]}}\nroutes: [{name: a, to: c}]",
            ["clusters.c.endpoints[0]"],
        ),
        ("clusters: {c: {speaks: opena, endpoints: [http://x]}}\nroutes: [{name: a, to: c}]", ["clusters.c.speaks"]),
        (
            (
                "clusters: {c: {speaks: openai, endpoints: [http://x], modle: m}}\n"
                "routes: [{name: a, to: c, match: {kind: tool}}]"
            ),
            ["clusters.c", "routes[0].to"],
        ),
        (
            "clusters: {c: {speaks: opena, endpoints: [http://x]}}\nroutes: [{name: a, to: c, match: {kind: tool}}]",
            ["clusters.c.speaks"],
        ),
        # Of clusters that cannot be seen, nobody knows that they do not exist.
        (
            "cluster: {c: {speaks: openai, endpoints: [http://x]}}\nroutes: [{name: a, to: c}]",
            ["unknown key `cluster`"],
        ),
        ("clusters: {1: {}}\nroutes: [{name: a, to: c}]", ["clusters"]),
        ("<<: clusters\nroutes: [{name: a, to: c}]", ["`<<` takes"]),
        ("include: [gone.yaml]\nroutes: [{name: a, to: c}]", ["include[0]"]),
        ("include: [gone.toml]\nroutes: [{name: a, to: c}]", ["include[0]"]),
        ("clusters: {}\nclusters: {c: {}}\nroutes: [{name: a, to: c}]", ["duplicate key `clusters`"]),
        # … but others do not hide them.
        ("listen: {}\nlisten: {}\nroutes: [{name: a, to: c}]", ["duplicate key `listen`", "routes[0].to"]),
        # A key that was meant is not missing; one that could not be read may be the one.
        ("clusters: {c: {speeks: openai, endpoints: [http://x]}}", ["clusters.c"]),
        ("clusters: {c: {<<: openai, endpoints: [http://x]}}", ["clusters.c"]),
        ("clusters: {c: {endpoints: [http://x], m: 1}}", ["clusters.c", "clusters.c"]),
        # A route that is none does not move the others.
        (
            (
                "clusters: {c: {speaks: openai, endpoints: [http://x]}}\n"
                "routes: [3, {name: a, to: c, match: {kind: x}}, {name: a, to: c}, {name: a, to: c}]"
            ),
            ["routes[0]", "routes[1].match.kind", "routes[2].name", "routes[3].name"],
        ),
        # What was written instead of `match` may be anything.
        (
            "clusters: {c: {speaks: openai, endpoints: [http://x]}}\nroutes: [{name: a, to: c, mach: {kind: tool}}]",
            ["routes[0]"],
        ),
        # Which of two is meant?
        (
            (
                "clusters:\n  c: {speaks: openai, endpoints: [http://x]}\n  c: {speaks: envelope, endpoints: [http://x]}\n"
                "routes: [{name: a, to: c, fallback: [c, d]}]"
            ),
            ["clusters", "routes[0].fallback[0]", "routes[0].fallback[1]"],
        ),
        # Problems between keys, beside others.
        (
            (
                "clusters: {c: {speaks: openai, endpoints: [http://x, http://x], modle: m}}\n"
                "limits: {body: 2KiB, buffered: 1KiB, dept: 3}"
            ),
            ["clusters.c.endpoints[1]", "clusters.c", "limits.body", "limits"],
        ),
        ("limits: {body: 2XiB, buffered: 1KiB}", ["limits.body"]),
        # Only the extension knows that this field is not for credentials.
        (
            "clusters: {c: {speaks: openai, endpoints: [3, HTTP://x], credential: {header: accept, value: x}}}",
            ["clusters.c.endpoints[0]", "clusters.c.endpoints[1]", "clusters.c.credential.header"],
        ),
    ],
)
def test_nothing_that_follows_from_a_problem_is_one(tmp_path: Path, text: str, expected: list[str]) -> None:
    lines = found(tmp_path, text)
    assert len(lines) == len(expected), lines
    for line, path in zip(lines, expected, strict=True):
        assert line.split(": ", 1)[1].startswith(path), lines


def test_a_cluster_that_is_there_twice_joins_nothing(tmp_path: Path) -> None:
    lines = found(
        tmp_path,
        {
            "main.yaml": CLUSTERS + "include: [more.yaml]\nroutes: [{name: a, to: local, match: {kind: tool}}]",
            "more.yaml": "clusters: {local: {speaks: envelope, endpoints: [http://127.0.0.1:9102]}}",
        },
    )
    assert places(lines) == ["more.yaml:1:12: clusters"]


def test_the_environment_mends_what_it_should(tmp_path: Path) -> None:
    text = CLUSTERS + 'routes: [{name: a, to: local, match: {kind: ["${KIND}"]}}, {name: b, to: "${TO}"}]'
    assert places(found(tmp_path, text)) == ["c.yaml:4:46: routes[0].match.kind[0]", "c.yaml:4:74: routes[1].to"]
    lines = found(tmp_path, text, KIND="tool", TO="gone")
    assert [line.split(": ")[1] for line in lines] == ["routes[0].to", "routes[1].to"]
    assert "${TO}" in lines[1]
    assert [line.split(": ")[1] for line in found(tmp_path, text, KIND="toll", TO="local")] == ["routes[0].match.kind"]


@pytest.mark.parametrize("more", ["", ", typo: 1"])
def test_tls_files_that_cannot_be_used_are_in_it(tmp_path: Path, more: str) -> None:
    text = f"""
clusters:
  c: {{speaks: openai, endpoints: [https://x], tls: {{ca: ca.pem}}{more}}}
routes: [{{name: a, to: c, match: {{kind: x}}}}]
"""
    (tmp_path / "c.yaml").write_text(text)
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError) as caught:
        waypost.create_app(waypost.load_config(tmp_path / "c.yaml"))
    paths = [".".join(map(str, problem.path)) for problem in caught.value.problems]
    assert paths == ["clusters.c.tls.ca", *(["clusters.c"] if more else []), "routes.0.match.kind"]


def test_secrets_are_not_in_it(tmp_path: Path) -> None:
    text = """
clusters: {c: {speaks: openai, endpoints: [http://x], credential: {header: accept, value: "${KEY}"}, typo: 1}}
"""
    assert "s3cret" not in "\n".join(found(tmp_path, text, KEY="s3cret"))


# The extension.


def draft(routes: list[dict[str, Any]]) -> dict[str, Any]:
    native = from_dict({"clusters": {"c": {"speaks": "openai", "endpoints": ["http://x"]}}}).to_native()
    return {**native, "routes": [{"name": str(index), "to": "c", **route} for index, route in enumerate(routes)]}


def test_an_ellipsis_is_known_to_drafts_only() -> None:
    config = draft([{"match": {"tenant": [...]}}])
    assert _native.Snapshot.problems(config) == []
    for compiled in (
        lambda: _native.Snapshot(config),
        lambda: RouteTable(config["routes"]),
        lambda: _native.Matcher({"a": {"x": [...]}}),
    ):
        with pytest.raises(waypost.WaypostError, match="not of ellipsis"):
            compiled()


def test_a_draft_says_nothing_of_clusters_that_are_not_there() -> None:
    assert _native.Snapshot.problems(draft([{"to": "gone", "fallback": ["", "gone"], "match": {}}])) == []


def test_compiling_reports_problems_of_every_sort_together() -> None:
    config = draft([{"match": {"kind": ["x"]}}, {"match": {"kind": ["tool"]}}, {"match": {}, "to": "gone"}])
    config["clusters"]["c"]["credential"] = {"header": "accept", "value": "x"}
    config["clusters"]["d"] = {**config["clusters"]["c"], "endpoints": [{"url": "x", "weight": 1}], "credential": None}
    with pytest.raises(ConfigError) as caught:
        _native.Snapshot(config)
    assert sorted(".".join(map(str, problem.path)) for problem in caught.value.problems) == [
        "clusters.c.credential.header",
        "clusters.d.endpoints.0",
        "routes.0.match.kind",
        "routes.1.to",
        "routes.2.to",
    ]


def test_routes_of_python_objects_have_all_their_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        RouteTable([3, {"name": "a", "match": {"kind": [{1}, "x"], 5: [1], "tenant": [[1], b""]}}])  # type: ignore[list-item]
    assert sorted(str(problem).split(":")[0] for problem in caught.value.problems) == [
        "routes[0]",
        "routes[1].match",
        "routes[1].match.kind",
        "routes[1].match.kind[0]",
        "routes[1].match.tenant[0]",
        "routes[1].match.tenant[1]",
    ]


# What is reported does not depend on what else is wrong.

PATTERNS = st.recursive(
    st.sampled_from(["a", 1, None, "${X}", ..., True]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "tenant", "foo", "$or", "prefix", "numeric", "anything-but", "exists"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


def holes(value: Any, fill: Callable[[], Any]) -> Any:
    if isinstance(value, dict):
        return {key: holes(item, fill) for key, item in value.items()}
    if isinstance(value, list):
        return [holes(item, fill) for item in value]
    return fill() if value is ... else copy.copy(value)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(["kind", "tenant", "labels", "foo", "$or"]), PATTERNS, max_size=3), st.data())
def test_no_problem_of_a_draft_goes_away_when_it_is_known(pattern: dict[str, Any], data: st.DataObject) -> None:
    """A problem that depended on what is unknown would be one that follows from another."""
    fill = lambda: data.draw(st.sampled_from(["model", 7, None, True]))  # noqa: E731
    known = holes(pattern, fill)
    some = {path for path, _ in _native.Snapshot.problems(draft([{"match": pattern}])) if "match" in path}
    every = {path for path, _ in _native.Snapshot.problems(draft([{"match": known}]))}
    assert some <= every
