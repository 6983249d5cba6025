"""A small tool server.

It accepts envelopes of kind `tool`: `tool` is the tool's name, `content` an object with its arguments. The result is
`{"value": …}`. The tool `list` returns the `name`, `description` and `parameters` (a JSON Schema) of every tool. An
unknown name is an error `unknown_tool`, 404; wrong arguments are an error `invalid_arguments`, 400.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette

from waypost.demo.native import Envelope, create_native_app
from waypost.demo.wire import Refusal, member

__all__ = ["Tool", "create_app"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function over named arguments, all of them required. `parameters` maps names to JSON Schema types."""

    description: str
    parameters: dict[str, str]
    call: Callable[..., Any]

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: {"type": kind} for name, kind in self.parameters.items()},
            "required": list(self.parameters),
            "additionalProperties": False,
        }


def _add(a: float, b: float) -> float:
    try:
        total = a + b
    except OverflowError:
        total = math.inf
    # All JSON readers can represent finite doubles and 64-bit integers.
    if not math.isfinite(total) or (isinstance(total, int) and not -(2**63) <= total < 2**63):
        raise Refusal("invalid_arguments", "the sum of a and b is too large", field="content")
    return total


TOOLS: Final[dict[str, Tool]] = {
    "add": Tool("Adds two numbers.", {"a": "number", "b": "number"}, _add),
    "uppercase": Tool("Puts a text in capitals.", {"text": "string"}, lambda text: text.upper()),
    "word_count": Tool("Counts the words of a text.", {"text": "string"}, lambda text: len(text.split())),
}

_TYPES: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "number": ((int, float), "a number"),
    "string": ((str,), "a string"),
}


def create_app() -> Starlette:
    """The tool server's app."""
    return create_native_app(("tool",), _answer)


def _answer(envelope: Envelope) -> Any:
    name = envelope.tool
    if name is None:
        raise Refusal("invalid_envelope", "tool is required for kind tool: the tool's name", field="tool")
    if name == "list":
        return {"value": [_described(name, tool) for name, tool in TOOLS.items()]}
    tool = TOOLS.get(name)
    if tool is None:
        allowed = ", ".join(["list", *TOOLS])
        raise Refusal("unknown_tool", f"there is no tool {name[:128]!r}; known: {allowed}", status=404, field="tool")
    return {"value": tool.call(**_arguments(tool, envelope.content))}


def _described(name: str, tool: Tool) -> dict[str, Any]:
    return {"name": name, "description": tool.description, "parameters": tool.schema()}


def _arguments(tool: Tool, content: Any) -> dict[str, Any]:
    names = ", ".join(tool.parameters)
    if not isinstance(content, dict):
        raise Refusal("invalid_arguments", f"content must be an object with {names}", field="content")
    unknown = content.keys() - tool.parameters.keys()
    if unknown:
        name = min(unknown)
        raise Refusal("invalid_arguments", f"content.{name[:128]} is not an argument; known: {names}", field="content")
    arguments = {}
    for name, schema_type in tool.parameters.items():
        kinds, expected = _TYPES[schema_type]
        try:
            arguments[name] = member(content, name, kinds, expected, within="content", required=True)
        except Refusal as error:
            raise Refusal("invalid_arguments", error.message, field=error.field) from None
    return arguments
