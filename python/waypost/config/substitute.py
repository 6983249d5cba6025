"""`${ENV}`, `${ENV:-default}` and `${file:PATH}` in strings; `$${` is a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from waypost.config.positions import ShapeError

__all__ = ["MissingError", "SubstitutionError", "substitute"]

_START: Final = re.compile(r"\$?\$\{")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class MissingError(ShapeError):
    """A reference names a variable that is not set, or a file that cannot be read here."""


class SubstitutionError(ShapeError):
    """Some of a string's references cannot be replaced. `messages` has one sentence for each."""

    def __init__(self, wrong: list[ShapeError]) -> None:
        self.messages = [str(error) for error in wrong]
        super().__init__("; ".join(self.messages))
        self.only_missing = all(isinstance(error, MissingError) for error in wrong)
        """Elsewhere, all of the references may have values."""


def substitute(text: str, environ: Mapping[str, str], read: Callable[[str], str]) -> str:
    """`text` with its references replaced, in one pass: a replacement is not searched for references.

    `read` returns the content of a file, or raises `ShapeError`. Raises `SubstitutionError`, which quotes the
    references and never their values.
    """
    if "${" not in text:
        return text
    out: list[str] = []
    wrong: list[ShapeError] = []
    position = 0
    while found := _START.search(text, position):
        out.append(text[position : found.start()])
        position = found.end()
        if found.group() == "$${":
            out.append("${")
            continue
        end = text.find("}", position)
        if end < 0:
            wrong.append(ShapeError("`${` has no closing `}`; write `$${` for a literal `${`"))
            break
        try:
            out.append(_reference(text[position:end], environ, read))
        except ShapeError as error:
            wrong.append(error)
        position = end + 1
    if wrong:
        raise SubstitutionError(wrong)
    out.append(text[position:])
    return "".join(out)


def _reference(inside: str, environ: Mapping[str, str], read: Callable[[str], str]) -> str:
    if "${" in inside:
        raise ShapeError(f"`${{{inside}}}`: a reference cannot contain another")
    name, dash, default = inside.partition(":-")
    if not dash and name.startswith("file:"):
        path = name.removeprefix("file:")
        if not path:
            raise ShapeError("`${file:}` does not name a file")
        return read(path)
    if not _NAME.fullmatch(name):
        raise ShapeError(
            f"`${{{inside}}}` is not a reference; write ${{NAME}}, ${{NAME:-default}} or ${{file:PATH}}, "
            "or `$${` for a literal `${`"
        )
    value = environ.get(name)
    if dash:
        return value or default
    if value is None:
        raise MissingError(f"environment variable `{name}` is not set; set it, or write `${{{name}:-default}}`")
    return value
