"""The command line. Exit codes: 0 success, 1 wrong input (or no route matches), 2 wrong usage."""

from __future__ import annotations

import io
import sys

import click

from waypost import __version__
from waypost.cli.check import check
from waypost.cli.demo import demo
from waypost.cli.explain import explain
from waypost.cli.key import key
from waypost.cli.schema import schema
from waypost.cli.serve import serve

__all__ = ["main"]

# Each command imports what it needs when it runs, so that `waypost schema` does not load a web server.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="waypost")
def main() -> None:
    """Route AI messages to models, retrievers, memories and tools by rules."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a command line and file names may hold any bytes


for command in (demo, serve, check, explain, schema, key):
    main.add_command(command)
