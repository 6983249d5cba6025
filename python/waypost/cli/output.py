"""What several commands print."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from waypost.errors import Problem

__all__ = ["print_json", "print_problems"]


def print_problems(problems: Iterable[Problem], *, err: bool = False) -> None:
    """Print each problem on a line of its own; with `err`, to standard error."""
    for problem in problems:
        click.echo(str(problem), err=err)


def print_json(document: Any) -> None:
    """Print `document` as JSON, indented."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
