"""The file CONFIG that a command names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

__all__ = ["DEFAULT_CONFIG", "must_exist"]

DEFAULT_CONFIG: Final = "waypost.yaml"


def must_exist(config: str) -> None:
    """If the file `config` does not exist, print how to name one and exit."""
    if config == "-":
        raise click.UsageError("the configuration must be a file, because its includes are relative to it; name one")
    path = Path(config)
    if path.exists() or os.path.lexists(path):  # reading it reports anything else
        return
    others = [other for suffix in (".yaml", ".yml") if (other := path.with_suffix(suffix)) != path and other.exists()]
    command = click.get_current_context().info_name
    if others:
        hint = f"did you mean `{others[0]}`? Run: waypost {command} {others[0]}"
    else:
        hint = f"name one: waypost {command} FILE"
    click.echo(f"{config}: there is no such file; {hint}", err=True)
    sys.exit(1)
