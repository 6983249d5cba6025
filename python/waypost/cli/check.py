"""`waypost check`."""

from __future__ import annotations

import sys

import click

from waypost.cli.config_file import DEFAULT_CONFIG, must_exist
from waypost.cli.listening import listening, must_agree
from waypost.cli.output import print_problems
from waypost.errors import ConfigError, counted

__all__ = ["check"]


@click.command()
@click.argument("config", default=DEFAULT_CONFIG)
@listening
@click.option("--running", is_flag=True, help="A process serves CONFIG here already: do not try its address.")
@click.option(
    "--offline",
    is_flag=True,
    help="Check CONFIG without its environment, the files of its secrets and this host's addresses.",
)
def check(
    *,
    config: str,
    host: str | None,
    port: int | None,
    uds: str | None,
    ssl_certfile: str | None,
    ssl_keyfile: str | None,
    insecure_no_auth: bool,
    running: bool,
    offline: bool,
) -> None:
    """Print every problem of CONFIG with its place, then warnings.

    CONFIG is waypost.yaml if not given. All is done that `waypost serve` does with the same options, except to listen
    and to serve. Exit code 1 if there is a problem.
    """
    must_agree(host, port, uds, ssl_certfile, ssl_keyfile)
    must_exist(config)
    from waypost import checking  # noqa: PLC0415
    from waypost.binding import Overrides  # noqa: PLC0415

    try:
        if offline:
            report = checking.check_offline(config)
        else:
            overrides = Overrides(host, port, uds, ssl_certfile, ssl_keyfile)
            report = checking.check(config, overrides, insecure_no_auth=insecure_no_auth, running=running)
    except ConfigError as error:
        print_problems(error.problems)
        click.echo(f"{config}: {counted(len(error.problems), 'problem')}", err=True)
        sys.exit(1)
    print_problems(report.warnings)
    click.echo(f"{config}: ok ({report.summary})")
