"""The JSON Schema of a configuration, for editors, derived from the structs of `waypost.config.model`."""

from __future__ import annotations

from typing import Any, Final

from msgspec import NODEFAULT, Struct, inspect

from waypost.config.model import Document
from waypost.config.pattern import PREDICATES
from waypost.config.walk import struct_type, takes_scalar

__all__ = ["json_schema"]

SCHEMA_ID: Final = "urn:waypost:config"

_REFERENCE: Final = {
    "description": "Reference to a value elsewhere: ${ENV}, ${ENV:-default} or ${file:PATH}.",
    "type": "string",
    "pattern": r"\$\{",
}
_SCALAR: Final = {"type": ["string", "number", "boolean", "null"]}

_FIELDS: Final = {
    "id": "Id of the message.",
    "kind": "Kind of the message: query, context, model, tool or event.",
    "agent": "Agent that sent the message.",
    "model": "Model that the message asks for.",
    "tenant": "Tenant on whose behalf the message is sent.",
    "task": "Task that the message serves.",
    "tool": "Name of the tool or resource.",
    "content": "Content of the message.",
    "context": "Items that the message refers to: type, ref, …",
    "priority": "Urgency from 0 to 9 (most urgent). Absent if the message does not set it.",
    "deadline_ms": "Time allowed for the reply, in milliseconds.",
    "labels": "Labels by name.",
    "topic": "Topic of an event.",
    "stream": "Whether the client asks for a streamed reply.",
    "headers": "Header fields of the request, by lower-case name.",
    "path": "Path of the request.",
    "method": "Method of the request.",
    "dialect": "Wire format of the message.",
    "client": "Client that sent the request: address.",
    "body": "Body of the request as a JSON document.",
}


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a configuration file, and of the YAML and JSON files that it includes.

    The schema covers the rules that JSON Schema can express; `load_config` checks all of them.
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
            "patternProperties": {"^x-": {}},
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
        keywords: dict[str, Any] = {}
        if isinstance(info, inspect.Metadata):
            extra = info.extra or {}
            keywords = dict(info.extra_json_schema or {})
            info = info.type
        text = keywords.pop("description", None)
        description = {} if text is None else {"description": text}
        return {**description, **self.undescribed(info, extra, keywords)}

    def undescribed(self, info: inspect.Type, extra: dict[str, Any], keywords: dict[str, Any]) -> dict[str, Any]:
        """The schema of `info` without its description. `keywords` are added to it."""
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
            if "short" in extra:
                return {"anyOf": [{"type": ["string", "integer"]}, reference]}
            if "shorthand" not in extra:
                return reference
            short = next(field for field in info.fields if field.name == extra["shorthand"])
            return {"anyOf": [self.type(short.type), reference]}
        if isinstance(info, inspect.ListType):
            bounds = {"minItems": info.min_length} if info.min_length else {}
            item = self.type(info.item_type)
            array = {"type": "array", "items": item, **bounds, **keywords}
            return {"anyOf": [item, array]} if "single" in extra or takes_scalar(info.item_type) else array
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
                **keywords,
            }
        return self.scalar(info, keywords)

    @staticmethod
    def scalar(info: inspect.Type, keywords: dict[str, Any]) -> dict[str, Any]:
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
        out |= keywords
        takes_any_string = out.get("type") == "string" and "pattern" not in out
        return out if takes_any_string else {"anyOf": [out, _ref("Reference")]}


def _summary(cls: type[Struct]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _default(field: inspect.Field) -> Any:
    """A field's default as written in a file, if it is a scalar."""
    if field.default is NODEFAULT or field.default is None:
        return None
    extra = (field.type.extra or {}) if isinstance(field.type, inspect.Metadata) else {}
    return extra["format"](field.default) if "format" in extra else field.default


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _one_or_more(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


def _pattern_defs() -> dict[str, Any]:
    """Definitions of the pattern language: fields, their alternatives, and predicates."""
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
    # A predicate directly under a field is a mistake. A field with a predicate's name takes a list, or fields below it.
    misplaced: dict[str, Any] = {
        name: {
            "description": f"A field named {name}. For the predicate, write it in a list: [{{{name}: …}}].",
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
                    "description": "Patterns of which one must match, in addition to the other fields.",
                    "type": "array",
                    "minItems": 1,
                    "items": _ref("Pattern"),
                },
                **misplaced,
            },
            "additionalProperties": _ref("Field"),
        },
        "Field": {
            "description": "Alternatives (values and predicates) of which one must match, or fields below this field.",
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
