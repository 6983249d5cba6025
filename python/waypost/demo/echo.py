"""The replies of the echo model, in any dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from waypost.demo.wire import Refusal, member

__all__ = ["MODEL", "Echo", "count_tokens", "last_said", "positive", "text_of"]

MODEL: Final = "echo-1"
"""The model that `GET /v1/models` lists. Any other name works as well."""

MAX_PIECES: Final = 16
"""Maximum number of pieces of a streamed reply."""

TOKEN: Final = 4
"""Characters per token as this model counts them: about right for English, and cheap to compute."""


@dataclass(frozen=True, slots=True)
class Echo:
    """One reply. `truncated` is true if it was cut to the allowed number of tokens."""

    text: str
    truncated: bool

    @classmethod
    def of(cls, said: str, *, model: str, limit: int | None) -> Echo:
        """The reply to `said`, in at most `limit` tokens."""
        text = f"You said: {said} (echoed by {model})"
        if limit is None or limit >= count_tokens([text]):
            return cls(text, truncated=False)
        return cls(text[: limit * TOKEN], truncated=True)

    @property
    def tokens(self) -> int:
        return count_tokens([self.text])

    @property
    def pieces(self) -> Iterator[str]:
        """The text in at most `MAX_PIECES` pieces, each cut after a space if one is near."""
        size = max(2 * TOKEN, -(-len(self.text) // MAX_PIECES))
        start = 0
        while start < len(self.text):
            end = start + size
            end = self.text.find(" ", end, end + 2 * TOKEN) + 1 or end
            yield self.text[start:end]
            start = end


def count_tokens(texts: Iterable[str]) -> int:
    """The number of tokens in `texts`."""
    return sum(-(-len(text) // TOKEN) for text in texts)


def last_said(turns: Iterable[tuple[str, str]]) -> str:
    """The last text of role `user` in (role, text) pairs, or the last text of all if there is none."""
    said = ""
    by_user = False
    for role, text in turns:
        if role == "user" or not by_user:
            said, by_user = text, role == "user"
    return said


def text_of(content: Any, field: str, *, text_types: tuple[str, ...] = ("text",)) -> str:
    """The text of a message's content: a string, or a list of parts, where parts of `text_types` contain text.

    Any other part (an image, a tool call) becomes its type in brackets. Raises `Refusal`, which names `field`.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Refusal("invalid_request", f"{field} must be a string or a list of parts", field=field)
    texts = []
    for position, part in enumerate(content):
        within = f"{field}[{position}]"
        if not isinstance(part, dict):
            raise Refusal("invalid_request", f"{within} must be an object with a type", field=within)
        kind = member(part, "type", str, "a string", within=within, required=True)
        if kind in text_types:
            texts.append(member(part, "text", str, "a string", within=within, required=True))
        else:
            texts.append(f"[{kind}]")
    return " ".join(texts)


def positive(document: dict[str, Any], name: str, *, required: bool = False) -> int | None:
    """`document[name]`, which must be an integer of 1 or more if present. Raises `Refusal`."""
    expected = "an integer of 1 or more"
    value: int | None = member(document, name, int, expected, required=required)
    if value is not None and value < 1:
        raise Refusal("invalid_request", f"{name} must be {expected}", field=name)
    return value
