"""`waypost serve`."""

from __future__ import annotations

import sys

import click

from waypost.cli.config_file import DEFAULT_CONFIG, must_exist
from waypost.cli.listening import listening, must_agree

__all__ = ["serve"]


@click.command()
@click.argument("config", default=DEFAULT_CONFIG)
@listening
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes to serve with.")
@click.option("--no-fast-path", is_flag=True, help="Give every message to the ASGI application.")
def serve(
    *,
    config: str,
    host: str | None,
    port: int | None,
    workers: int,
    uds: str | None,
    ssl_certfile: str | None,
    ssl_keyfile: str | None,
    no_fast_path: bool,
    insecure_no_auth: bool,
) -> None:
    """Serve CONFIG (default: waypost.yaml). SIGHUP or a changed file reloads it; SIGTERM drains, then stops."""
    must_agree(host, port, uds, ssl_certfile, ssl_keyfile)
    must_exist(config)
    from waypost.server import serve as run  # noqa: PLC0415

    sys.exit(
        run(
            config,
            host=host,
            port=port,
            workers=workers,
            uds=uds,
            ssl_certfile=ssl_certfile,
            ssl_keyfile=ssl_keyfile,
            fast_path=not no_fast_path,
            insecure_no_auth=insecure_no_auth,
        )
    )
