"""`waypost explain`: decides a message as serving does."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from waypost.cli.config_file import DEFAULT_CONFIG, must_exist
from waypost.cli.explanation import document_of, print_explanation, refusal_of
from waypost.cli.output import print_json, print_problems
from waypost.errors import ConfigError, EnvelopeError, WaypostError, counted

if TYPE_CHECKING:
    from waypost import Explanation
    from waypost._native import Intake, Snapshot
    from waypost.config import Config

__all__ = ["explain"]

_BODILESS: Final = ("GET", "HEAD", "DELETE")
"""Methods whose requests need no body."""


@click.command()
@click.argument("config", default=DEFAULT_CONFIG)
@click.argument("file", default="-")
@click.option("--path", "target", default="/v1/envelopes", show_default=True, help="Path that the message is sent to.")
@click.option("--method", help="HTTP method. [default: POST, or GET where the path has no POST or there is no body]")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header field; may be repeated.")
@click.option("--client", metavar="ADDRESS", help="IP address of the sender, for client.address.")
@click.option("--key", metavar="NAME", help="Name of the sender's key, where CONFIG has keys.")
@click.option("--route", metavar="NAME", help="Print the verdict of this route only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    *,
    config: str,
    file: str,
    target: str,
    method: str | None,
    headers: tuple[str, ...],
    client: str | None,
    key: str | None,
    route: str | None,
    as_json: bool,
) -> None:
    """Show which route of CONFIG takes the message in FILE, and why each other route does not.

    CONFIG is waypost.yaml if not given. FILE is standard input if it is - or not given; with GET, HEAD and DELETE,
    which need no message, standard input is read only if FILE is -.

    Exit code 1 if no route takes the message, or if the message would be refused for another reason.
    """
    if method is not None and not method.isascii():
        raise click.BadParameter(f"{method!r} is not an HTTP method; write one such as GET", param_hint="--method")
    fields = [_header(header) for header in headers]
    method = method and method.upper()
    _must_be_address(client)
    loaded, snapshot = _snapshot(config)
    if key is not None and all(each.name != key for each in loaded.keys):
        known = ", ".join(each.name for each in loaded.keys) or "none"
        raise click.BadParameter(f"{config} has no key of this name; known: {known}", param_hint="--key")
    if route is not None and all(each.name != route for each in loaded.routes):
        raise click.BadParameter(f"{config} has no route {route!r}", param_hint="--route")
    given = click.get_current_context().get_parameter_source("file") is not ParameterSource.DEFAULT
    body = b"" if method in _BODILESS and not given else _read(file)
    try:
        explanation, refusal = _explain(snapshot, loaded.limits.body, body, target, method, fields, client, key)
    except WaypostError as error:
        if as_json:
            print_json({"error": refusal_of(error)})
        else:
            hint = " (use --key NAME to explain a message sent with that key)" if error.code == "unauthorized" else ""
            click.echo(f"refused with {error.status} {error.code}: {error.message}{hint}", err=True)
        sys.exit(1)
    verdicts = [verdict for verdict in explanation.verdicts if route in (None, verdict.route)]
    if as_json:
        document = document_of(explanation, verdicts)
        print_json(document | ({} if refusal is None else {"error": refusal_of(refusal)}))
    else:
        print_explanation(explanation, verdicts, refusal)
    sys.exit(0 if refusal is None else 1)


def _snapshot(path: str) -> tuple[Config, Snapshot]:
    from waypost.table import compile_config, read_config  # noqa: PLC0415

    must_exist(path)
    try:
        config: Config = read_config(path)
        return config, compile_config(config)
    except ConfigError as error:
        print_problems(error.problems, err=True)
        click.echo(f"{path}: {counted(len(error.problems), 'problem')}", err=True)
        sys.exit(1)


def _must_be_address(client: str | None) -> None:
    if client is None:
        return
    try:
        ipaddress.ip_address(client)
    except ValueError:
        raise click.BadParameter(
            f"{client!r} is not an IP address; write one such as 10.1.2.3 or 2001:db8::1", param_hint="--client"
        ) from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{text!r} is not a header field; write 'NAME: VALUE'", param_hint="--header")
    return name.strip(), value.strip()


def _read(file: str) -> bytes:
    if file == "-":
        if sys.stdin.isatty():
            click.echo("Reading the message from standard input; end it with Ctrl-D.", err=True)
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        click.echo(f"{file}: {error.strerror}", err=True)
        sys.exit(1)


def _explain(
    snapshot: Snapshot,
    body_limit: int,
    body: bytes,
    target: str,
    method: str | None,
    headers: list[tuple[str, str]],
    client: str | None,
    key: str | None,
) -> tuple[Explanation, WaypostError | None]:
    """The verdicts of the routes, and the error that would refuse the message, because no route matches or despite one.

    This decides as serving does. Raises `WaypostError` if the message would be refused before any route sees it.
    """
    from waypost.entry.asgi import too_large  # noqa: PLC0415

    if not body.strip():
        body = b""  # `echo` prints a line break
    chosen = method or ("POST" if body.strip() else "GET")
    try:
        intake = _accept(snapshot, chosen, target, headers, body, client, key)
    except WaypostError as error:
        # A POST without a body is an empty message, which gets its own error.
        if error.allow is None or method is not None:
            raise
        chosen = error.allow.partition(",")[0]
        intake = _accept(snapshot, chosen, target, headers, body, client, key)
    message = body if intake.buffered else None
    if message is not None and len(message) > body_limit:
        raise too_large(body_limit)
    refusal: WaypostError | None = None
    try:
        intake.plan(message)
    except EnvelopeError:
        raise
    except WaypostError as error:
        refusal = error
    return intake.explain(message), refusal


def _accept(
    snapshot: Snapshot,
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
    client: str | None,
    key: str | None,
) -> Intake:
    """Accept the head of such a request, completed with the fields that every client sends."""
    given = {name.lower() for name, _ in headers}
    sent = list(headers)
    if "host" not in given:
        sent.append(("host", "localhost"))
    if (body or method != "GET") and not given & {"content-length", "transfer-encoding"}:
        sent.append(("content-length", str(len(body))))
    # A command line may hold any bytes. They are judged as those of a request.
    raw = [(os.fsencode(name), os.fsencode(value)) for name, value in sent]
    return snapshot.accept(method, os.fsencode(target), raw, client=client, key=key)
