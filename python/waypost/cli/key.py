"""`waypost key`."""

from __future__ import annotations

from typing import Any

import click

from waypost.cli.output import print_json
from waypost.errors import ConfigError

__all__ = ["key"]


@click.group()
def key() -> None:
    """Make API keys for callers."""


@key.command("new")
@click.argument("name")
@click.option("--tenant", help="Tenant of all messages sent with the key.")
@click.option("--agent", help="Agent of all messages sent with the key.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label of them; may be repeated.")
@click.option(
    "--admin",
    type=click.Choice(["all", "metrics"]),
    help="Open /metrics and the paths below /-/, or /metrics only. The key then sends no messages.",
)
@click.option("--messages", is_flag=True, help="Let a key with --admin send messages, too.")
@click.option("--debug", is_flag=True, help="Tell of each attempt in the responses to the key's messages.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def key_new(
    *,
    name: str,
    tenant: str | None,
    agent: str | None,
    labels: tuple[str, ...],
    admin: str | None,
    messages: bool,
    debug: bool,
    as_json: bool,
) -> None:
    """Print a new key, and the entry for it below `keys:` of a configuration.

    The key is printed this once. The configuration has only its hash.
    """
    from waypost.config.new_key import entry_text, new_key  # noqa: PLC0415

    fields: dict[str, Any] = {"tenant": tenant, "agent": agent}
    if labels:
        fields["labels"] = dict(_label(label) for label in labels)
    if admin is not None:
        fields["admin"] = True if admin == "all" else admin
    fields |= {"messages": messages or None, "debug": debug or None}
    try:
        secret, entry = new_key(name, {key: value for key, value in fields.items() if value is not None})
    except ConfigError as error:
        raise click.UsageError("; ".join(problem.message for problem in error.problems)) from None
    if as_json:
        print_json({"key": secret, "entry": entry})
        return
    click.echo(f"key    {secret}")
    click.echo(f"entry  - {entry_text(entry)}")
    click.echo("Give the key to its caller now: it is not shown again. Put the entry below `keys:`.", err=True)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not a label; write NAME=VALUE", param_hint="--label")
    return name, value
