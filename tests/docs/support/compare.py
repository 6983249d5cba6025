"""What a page shows, against what came.

`…` stands for any text within a line, and on a line of its own for any lines. Times in milliseconds are not compared.
"""

from __future__ import annotations

import re

__all__ = ["report", "same"]


def same(shown: str, came: str) -> bool:
    return _as_regex(shown).fullmatch(_steady(came)) is not None


def report(where: str, shown: str, came: str) -> str:
    return f"{where}\n--- shown\n{shown}\n--- came\n{came}"


def _as_regex(shown: str) -> re.Pattern[str]:
    out = ""
    for line in _steady(shown).splitlines():
        if line == "…":
            out += r"(?:.*\n)*?"
        else:
            out += ".*?".join(re.escape(part) for part in line.split("…")) + r"\n"
    return re.compile(out)


def _steady(text: str) -> str:
    """`text` without what is different each time."""
    text = "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n"))
    text = re.sub(r" *\b\d+\.\d ms\b", " # ms", text)
    return text if not text or text.endswith("\n") else text + "\n"
