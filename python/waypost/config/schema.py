"""The JSON Schema of a configuration, for editors: made from the same structs that a file is checked against."""

from __future__ import annotations

from typing import Any, Final

from msgspec import NODEFAULT, Struct, inspect

from waypost.config.model import Document
from waypost.config.pattern import PREDICATES
from waypost.config.walk import struct_type

__all__ = ["json_schema"]

SCHEMA_ID: Final = "urn:waypost:config"

_REFERENCE: Final = {
    "description": "A value from elsewhere: ${ENV}, ${ENV:-default} or ${file:PATH}.",
    "type": "string",
    "pattern": r"\$\{",
}
_SCALAR: Final = {"type": ["string", "number", "boolean", "null"]}

_FIELDS: Final = {
    "id": "The message's id.",
    "kind": "query, context, model, tool or event.",
    "agent": "Who sent it.",
    "model": "The model asked for.",
    "tenant": "On whose behalf.",
    "task": "What it is for.",
    "tool": "Name of the tool or resource.",
    "content": "The content itself.",
    "context": "What it brings along: type, ref, …",
    "priority": "0 to 9, 9 most urgent; absent unless the message says so.",
    "deadline_ms": "How long the answer may take, in milliseconds.",
    "labels": "Labels by name.",
    "topic": "Topic of an event.",
    "stream": "Whether a streamed reply is wanted.",
    "headers": "Request header fields, by lower-case name.",
    "path": "The request's path.",
    "method": "The request's method.",
    "dialect": "The message's wire format.",
    "client": "Who connected: address.",
    "body": "The raw document.",
}


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a configuration file, included YAML and JSON files among them.

    It says of shape what JSON Schema can say; `load_config` says the rest.
    """
    writer = _Writer()
    root = writer.struct(struct_type(Document))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Waypost configuration",
        **root,
        "$defs": {**dict(sorted(writer.defs.items())), "Reference": _REFERENCE, **_pattern_defs()},
    }


class _Writer:
    def __init__(self) -> None:
        self.defs: dict[str, Any] = {}

    def struct(self, info: inspect.StructType) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        for field in info.fields:
            schema = self.type(field.type)
            default = _default(field)
            if default is not None:
                schema["default"] = default
            properties[field.encode_name] = schema
        out: dict[str, Any] = {
            "description": _summary(info.cls),
            "type": "object",
            "additionalProperties": False,
            "properties": properties,
        }
        required = [field.encode_name for field in info.fields if field.required]
        if required:
            out["required"] = required
        one_of: tuple[str, ...] = getattr(info.cls, "one_of", ())
        if one_of:
            out["anyOf"] = [{"required": [name]} for name in one_of]
        return out

    def type(self, info: inspect.Type) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        more: dict[str, Any] = {}
        if isinstance(info, inspect.Metadata):
            extra = info.extra or {}
            more = info.extra_json_schema or {}
            info = info.type
        description = {"description": more["description"]} if "description" in more else {}
        rest = {key: value for key, value in more.items() if key != "description"}
        return {**description, **self.bare(info, extra, rest)}

    def bare(self, info: inspect.Type, extra: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
        """`info` without its description."""
        if "pattern" in extra:
            return {"$ref": "#/$defs/Pattern"}
        if isinstance(info, inspect.UnionType):
            members = [self.type(each) for each in info.types if not isinstance(each, inspect.NoneType)]
            return members[0] if len(members) == 1 else {"anyOf": members}
        if isinstance(info, inspect.StructType):
            name = info.cls.__name__
            if name not in self.defs:
                self.defs[name] = {}
                self.defs[name] = self.struct(info)
            reference = {"$ref": f"#/$defs/{name}"}
            if "shorthand" not in extra:
                return reference
            short = next(field for field in info.fields if field.name == extra["shorthand"])
            return {"anyOf": [self.type(short.type), reference]}
        if isinstance(info, inspect.ListType):
            least = {"minItems": info.min_length} if info.min_length else {}
            item = self.type(info.item_type)
            array = {"type": "array", "items": item, **least, **more}
            return {"anyOf": [item, array]} if "single" in extra else array
        if isinstance(info, inspect.DictType):
            key = info.key_type
            names = (
                {"propertyNames": {"pattern": key.type.pattern}}
                if isinstance(key, inspect.Metadata) and isinstance(key.type, inspect.StrType)
                else {}
            )
            return {
                "type": "object",
                **names,
                "additionalProperties": self.type(info.value_type),
                **more,
            }
        return self.scalar(info, more)

    @staticmethod
    def scalar(info: inspect.Type, more: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any]
        if isinstance(info, inspect.LiteralType):
            out = {"enum": list(info.values)}
        elif isinstance(info, inspect.StrType):
            out = {"type": "string"}
            if info.min_length:
                out["minLength"] = info.min_length
            if info.pattern:
                out["pattern"] = info.pattern
        elif isinstance(info, inspect.BoolType):
            out = {"type": "boolean"}
        else:
            out = {"type": "integer"}
            if isinstance(info, inspect.IntType):
                out |= {} if info.ge is None else {"minimum": info.ge, "maximum": info.le}
        out |= more
        takes_any_string = out.get("type") == "string" and "pattern" not in out
        return out if takes_any_string else {"anyOf": [out, _ref("Reference")]}


def _summary(cls: type[Struct]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _default(field: inspect.Field) -> Any:
    """A field's default as it would be written, where it is a scalar."""
    if field.default is NODEFAULT or field.default is None:
        return None
    extra = (field.type.extra or {}) if isinstance(field.type, inspect.Metadata) else {}
    return extra["format"](field.default) if "format" in extra else field.default


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _one_or_more(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


def _pattern_defs() -> dict[str, Any]:
    """The pattern language: fields, each with alternatives; the alternatives' predicates."""
    text = {"type": "string"}
    operand = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {name: _one_or_more(text) for name in ("prefix", "suffix", "equals-ignore-case", "wildcard")},
    }
    caseless = {
        "type": "object",
        "required": ["equals-ignore-case"],
        "additionalProperties": False,
        "properties": {"equals-ignore-case": text},
    }
    lower, upper, number = {"enum": [">", ">="]}, {"enum": ["<", "<="]}, {"type": "number"}
    operands: dict[str, dict[str, Any]] = {
        "prefix": {"anyOf": [text, caseless]},
        "suffix": {"anyOf": [text, caseless]},
        "equals-ignore-case": text,
        "wildcard": text,
        "anything-but": {"anyOf": [_one_or_more(_SCALAR), operand]},
        "numeric": {
            "type": "array",
            "anyOf": [
                {"prefixItems": [{"enum": ["=", "<", "<=", ">", ">="]}, number], "minItems": 2, "maxItems": 2},
                {"prefixItems": [lower, number, upper, number], "minItems": 4, "maxItems": 4},
            ],
        },
        "cidr": text,
        "exists": {"type": "boolean"},
        "regex": text,
    }
    # Directly under a field, a predicate is a mistake; a field of that name takes a list or more fields.
    misplaced: dict[str, Any] = {
        name: {
            "description": f"A field named {name}. The predicate belongs in a list: [{{{name}: …}}].",
            "allOf": [{"type": ["array", "object"]}, _ref("Field")],
        }
        for name in PREDICATES
    }
    return {
        "Pattern": {
            "description": "Fields that must all match. {} matches every message.",
            "type": "object",
            "properties": {
                **{name: {"description": text, **_ref("Field")} for name, text in _FIELDS.items()},
                "$or": {
                    "description": "One of these patterns must match, beside the other fields.",
                    "type": "array",
                    "minItems": 1,
                    "items": _ref("Pattern"),
                },
                **misplaced,
            },
            "additionalProperties": _ref("Field"),
        },
        "Field": {
            "description": "Alternatives, of which one must match: values and predicates. Or fields below this one.",
            "anyOf": [_SCALAR, {"type": "array", "minItems": 1, "items": _ref("Alternative")}, _ref("Pattern")],
        },
        "Alternative": {"anyOf": [_SCALAR, _ref("Predicate")]},
        "Predicate": {
            "description": "One test on one field.",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {
                name: {"description": f"Matches {meaning}.", **operands[name]} for name, meaning in PREDICATES.items()
            },
        },
    }
