"""`reply` and `mirror` of a route, as a configuration has them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import inspect
from waypost.config import from_dict
from waypost.config.model import Document
from waypost.config.shown import shown
from waypost.errors import REPLY_CODES, ConfigError


def _config(reply: dict[str, Any]) -> dict[str, Any]:
    return {"routes": [{"name": "r", "match": {}, "reply": reply}]}


@pytest.mark.parametrize("code", ["forbiden", "Forbidden", "invalid_config", "403"])
def test_an_error_code_that_no_reply_can_have_is_a_problem(code: str) -> None:
    with pytest.raises(ConfigError, match=r"routes\[0\]\.reply\.error: .*not an error code that a reply can have"):
        from_dict(_config({"error": code}))


def test_every_code_that_the_schema_lists_is_taken() -> None:
    for code in REPLY_CODES:
        from_dict(_config({"error": code}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_a_number_that_json_does_not_have_is_a_problem(value: Any) -> None:
    with pytest.raises(ConfigError, match="is not a JSON value"):
        from_dict(_config({"json": value}))


def test_a_reply_is_shown_as_it_is_written() -> None:
    document = {"a": [1, "x", None, {"b": True}]}
    assert shown(from_dict(_config({"json": document})))["routes"][0]["reply"]["json"] == document
    assert shown(from_dict(_config({"text": "x"})))["routes"][0]["reply"]["json"] is None


def test_no_type_has_a_parser_where_none_would_run() -> None:
    """A union passes a value on to its members: what `Meta.extra` says of the union is not heard."""
    seen: set[int] = set()

    def look(info: inspect.Type) -> None:
        if id(info) in seen:
            return
        seen.add(id(info))
        if isinstance(info, inspect.Metadata):
            if isinstance(info.type, inspect.UnionType):
                assert not {"parse", "path", "output", "declares", "refers"} & set(info.extra or {}), info
            look(info.type)
        elif isinstance(info, inspect.StructType):
            for field in info.fields:
                look(field.type)
        elif isinstance(info, inspect.UnionType):
            for member in info.types:
                look(member)
        elif isinstance(info, inspect.ListType):
            look(info.item_type)
        elif isinstance(info, inspect.DictType):
            look(info.value_type)

    look(inspect.type_info(Document))
    assert len(seen) > 100
