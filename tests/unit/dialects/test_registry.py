"""The core and the registry have the same dialects and translations, and each dialect has its own errors."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import orjson
import pytest
import waypost
from waypost import _native
from waypost.config.model import Cluster
from waypost.dialects.errors import render_error
from waypost.dialects.registry import DIALECTS, PAIRS, find_pair
from waypost.errors import STATUS, EnvelopeError, UpstreamError, WaypostError


def test_every_dialect_of_the_core_has_its_part_here() -> None:
    assert list(DIALECTS) == [dialect.name for dialect in _native.dialects()]


def test_every_translation_of_the_core_has_its_pair_and_every_pair_its_translation() -> None:
    translations = _native.translations()
    assert sorted((client, cluster) for client, cluster, _ in translations) == sorted(PAIRS)
    assert all(kinds for _, _, kinds in translations)
    assert ("envelope", "openai", ["model"]) in translations


def test_a_dialect_needs_no_pair_for_itself() -> None:
    assert all(find_pair(name, name) is None for name in DIALECTS)


def test_the_stub_lists_the_dialects() -> None:
    stub = ast.parse((Path(waypost.__file__).parent / "_native.pyi").read_text(encoding="utf-8"))
    (literal,) = (
        node.value.slice.elts
        for node in stub.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "_Dialect"
        and isinstance(node.value, ast.Subscript)
        and isinstance(node.value.slice, ast.Tuple)
    )
    assert [each.value for each in literal if isinstance(each, ast.Constant)] == list(DIALECTS)


@pytest.mark.parametrize("dialect", _native.dialects(), ids=lambda dialect: dialect.name)
def test_a_cluster_speaks_what_the_core_says(dialect: _native.Dialect) -> None:
    document = {"speaks": dialect.name, "endpoints": []}
    if dialect.clusters:
        assert msgspec.convert({**document, "endpoints": [{"url": "http://h"}]}, Cluster).speaks == dialect.name
    else:
        with pytest.raises(msgspec.ValidationError, match="Invalid enum value"):
            msgspec.convert(document, Cluster)


def test_paths_are_where_messages_are_sent() -> None:
    paths = {dialect.name: dialect.paths for dialect in _native.dialects()}
    assert paths["envelope"] == ["/v1/envelopes"]
    assert paths["json"] == []
    assert {"/v1/chat/completions", "/v1/models", "/v1/*"} <= set(paths["openai"])


ERRORS: list[WaypostError] = [
    *(WaypostError(code, "text") for code in STATUS),
    EnvelopeError("invalid_envelope", "text", offset=3, field="model"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_has_its_code_status_and_fields_in_every_dialect(dialect: str, error: WaypostError) -> None:
    status, headers, body = render_error(dialect, error, "m1")
    document = orjson.loads(body)
    assert status == error.status
    assert document["error"]["code"] == error.code
    assert document["error"]["message"] == "text"
    assert dict(headers)[b"content-length"] == b"%d" % len(body)
    assert ((b"retry-after", b"1") in headers) == (status in (429, 503))
    assert ((b"www-authenticate", b"Bearer") in headers) == (error.code == "unauthorized")


def test_an_openai_error_is_one_of_its_types() -> None:
    def told(error: WaypostError) -> object:
        return orjson.loads(render_error("openai", error, "m1")[2])

    assert told(EnvelopeError("invalid_envelope", "text", field="model")) == {
        "error": {"message": "text", "type": "invalid_request_error", "param": "model", "code": "invalid_envelope"}
    }
    for code, kind in [
        ("unauthorized", "authentication_error"),
        ("forbidden", "permission_error"),
        ("no_route", "not_found_error"),
        ("rate_limited", "rate_limit_error"),
        ("upstream_timeout", "server_error"),
    ]:
        document = told(WaypostError(code, "text"))
        assert isinstance(document, dict)
        assert document["error"]["type"] == kind


def test_a_native_error_repeats_the_id_and_says_where_and_what_the_endpoint_said() -> None:
    error = EnvelopeError("invalid_envelope", "text", offset=3, field="model")
    wanted = {"code": "invalid_envelope", "message": "text", "offset": 3, "field": "model"}
    for dialect in ("envelope", "json"):
        assert orjson.loads(render_error(dialect, error, "m1")[2]) == {"id": "m1", "error": wanted}
    upstream = UpstreamError("upstream_error", "text")
    upstream.upstream = {"status": 400}
    body = orjson.loads(render_error("envelope", upstream, "m1")[2])
    assert body["error"]["upstream"] == {"status": 400}
