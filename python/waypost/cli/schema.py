"""`waypost schema`."""

from __future__ import annotations

import click

from waypost.cli.output import print_json

__all__ = ["schema"]


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from waypost.config import json_schema  # noqa: PLC0415

    print_json(json_schema())
