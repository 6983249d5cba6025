"""`waypost demo`."""

from __future__ import annotations

import sys

import click

__all__ = ["demo"]


@click.command()
@click.option("--once", is_flag=True, help="Stop after the messages instead of serving.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the proxy on loopback. [default: a free one]")
@click.option(
    "--upstreams",
    type=click.IntRange(1, 65235),
    metavar="PORT",
    help="Start the upstreams alone: the model on PORT; retriever, memory and tools 100, 200 and 300 above it.",
)
def demo(*, once: bool, port: int | None, upstreams: int | None) -> None:
    """Start a proxy with built-in upstreams, send one message of each kind, and show where each went and why."""
    if upstreams is not None and (once or port is not None):
        raise click.UsageError("--upstreams starts no proxy and cannot be combined with --once or --port")
    import uvloop  # noqa: PLC0415

    from waypost.demo.run import run, run_upstreams  # noqa: PLC0415

    sys.exit(uvloop.run(run(once=once, port=port) if upstreams is None else run_upstreams(upstreams)))
