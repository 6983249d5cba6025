"""The options that say where a process listens."""

from __future__ import annotations

from collections.abc import Callable

import click

__all__ = ["listening", "must_agree"]


def listening(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where a process listens."""
    options = (
        click.option("--host", help="Address to listen on. [default: listen.host of CONFIG]"),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            help="Port to listen on; 0: a free one. [default: listen.port of CONFIG]",
        ),
        click.option(
            "--uds", metavar="PATH", help="Unix domain socket to listen on, instead of an address and a port."
        ),
        click.option("--ssl-certfile", metavar="FILE", help="PEM file of the certificate chain: serve HTTPS."),
        click.option(
            "--ssl-keyfile",
            metavar="FILE",
            help="PEM file of the private key, where the certificate file does not hold it.",
        ),
        click.option(
            "--insecure-no-auth",
            is_flag=True,
            help="Listen on addresses other than loopback although CONFIG has no keys.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def must_agree(
    host: str | None, port: int | None, uds: str | None, ssl_certfile: str | None, ssl_keyfile: str | None
) -> None:
    """Raise `UsageError` if options contradict each other."""
    if uds is not None and (host is not None or port is not None):
        raise click.UsageError("--uds cannot be combined with --host or --port")
    if ssl_keyfile is not None and ssl_certfile is None:
        raise click.UsageError("--ssl-keyfile requires --ssl-certfile")
