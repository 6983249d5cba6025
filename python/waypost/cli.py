"""The command line. Exit codes: 0 success, 1 wrong input (or no route matches), 2 wrong usage.

More than 500 lines, because half of each command is its options.
"""

from __future__ import annotations

import io
import ipaddress
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from waypost import __version__
from waypost.errors import STATUS, ConfigError, EnvelopeError, Problem, WaypostError, counted

# Each command imports what it needs when it runs, so that `waypost schema` does not load a web server.
if TYPE_CHECKING:
    from waypost import Explanation, Verdict
    from waypost._native import Intake, Reply, Snapshot
    from waypost.config import Config


DEFAULT_CONFIG: Final = "waypost.yaml"
_BODILESS: Final = ("GET", "HEAD", "DELETE")
"""Methods whose requests need no body."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="waypost")
def main() -> None:
    """Route AI messages to models, retrievers, memories and tools by rules."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a command line and file names may hold any bytes


@main.command()
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


def _listening(command: Callable[..., None]) -> Callable[..., None]:
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


def _must_agree(
    host: str | None, port: int | None, uds: str | None, ssl_certfile: str | None, ssl_keyfile: str | None
) -> None:
    if uds is not None and (host is not None or port is not None):
        raise click.UsageError("--uds cannot be combined with --host or --port")
    if ssl_keyfile is not None and ssl_certfile is None:
        raise click.UsageError("--ssl-keyfile requires --ssl-certfile")


@main.command()
@click.argument("config", default=DEFAULT_CONFIG)
@_listening
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
    _must_agree(host, port, uds, ssl_certfile, ssl_keyfile)
    _must_exist(config)
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


@main.command()
@click.argument("config", default=DEFAULT_CONFIG)
@_listening
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
    _must_agree(host, port, uds, ssl_certfile, ssl_keyfile)
    _must_exist(config)
    from waypost import checking  # noqa: PLC0415
    from waypost.binding import Overrides  # noqa: PLC0415

    try:
        if offline:
            report = checking.check_offline(config)
        else:
            overrides = Overrides(host, port, uds, ssl_certfile, ssl_keyfile)
            report = checking.check(config, overrides, insecure_no_auth=insecure_no_auth, running=running)
    except ConfigError as error:
        _print_problems(error.problems)
        click.echo(f"{config}: {counted(len(error.problems), 'problem')}", err=True)
        sys.exit(1)
    _print_problems(report.warnings)
    click.echo(f"{config}: ok ({report.summary})")


@main.command()
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
            _print_json({"error": _refusal(error)})
        else:
            hint = " (use --key NAME to explain a message sent with that key)" if error.code == "unauthorized" else ""
            click.echo(f"refused with {error.status} {error.code}: {error.message}{hint}", err=True)
        sys.exit(1)
    verdicts = [verdict for verdict in explanation.verdicts if route in (None, verdict.route)]
    if as_json:
        document = _document(explanation, verdicts)
        _print_json(document | ({} if refusal is None else {"error": _refusal(refusal)}))
    else:
        _print_explanation(explanation, verdicts, refusal)
    sys.exit(0 if refusal is None else 1)


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from waypost.config import json_schema  # noqa: PLC0415

    _print_json(json_schema())


@main.group()
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
        _print_json({"key": secret, "entry": entry})
        return
    click.echo(f"key    {secret}")
    click.echo(f"entry  - {entry_text(entry)}")
    click.echo("Give the key to its caller now: it is not shown again. Put the entry below `keys:`.", err=True)


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not a label; write NAME=VALUE", param_hint="--label")
    return name, value


def _print_problems(problems: Iterable[Problem]) -> None:
    for problem in problems:
        click.echo(str(problem))


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _snapshot(path: str) -> tuple[Config, Snapshot]:
    from waypost.table import compile_config, read_config  # noqa: PLC0415

    _must_exist(path)
    try:
        config: Config = read_config(path)
        return config, compile_config(config)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        click.echo(f"{path}: {counted(len(error.problems), 'problem')}", err=True)
        sys.exit(1)


def _must_exist(config: str) -> None:
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


def _refusal(error: WaypostError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "status": error.status}


def _document(explanation: Explanation, verdicts: list[Verdict]) -> dict[str, Any]:
    decision = explanation.decision
    return {
        "route": explanation.route,
        "cluster": decision.cluster if decision else None,
        "fallback": list(decision.fallback) if decision else [],
        "action": decision.action if decision else None,
        "reply": None if decision is None or decision.reply is None else _reply(decision.reply),
        "mirror": None
        if decision is None or decision.mirror is None
        else dict(zip(("to", "share"), decision.mirror, strict=True)),
        "fields": explanation.fields,
        "verdicts": [
            {
                "route": verdict.route,
                "matched": verdict.matched,
                "path": verdict.path,
                "expected": verdict.expected,
                "seen": verdict.seen,
                "reason": verdict.reason,
            }
            for verdict in verdicts
        ],
    }


def _reply(reply: Reply) -> dict[str, Any]:
    if reply.error is not None:
        # The client's dialect shapes the answer.
        return {"status": STATUS[reply.error], "error": reply.error, "headers": {}, "bytes": None}
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return {"status": reply.status, "error": None, "headers": headers, "bytes": len(reply.body)}


def _reply_text(reply: Reply) -> str:
    """What a route answers, in words."""
    if reply.error is not None:
        return f"{STATUS[reply.error]} {reply.error}"
    content_type = dict(reply.headers).get(b"content-type", b"").decode()
    size = f", {len(reply.body)} bytes of {content_type}" if reply.body else ""
    return f"{reply.status}{size}"


def _print_explanation(explanation: Explanation, verdicts: list[Verdict], refusal: WaypostError | None) -> None:
    """Print the chosen route, then each other verdict with the first test that failed."""
    seen = ", ".join(f"{name} {shown}" for name, shown in explanation.fields.items())
    click.echo(f"message  {seen or 'has no field of the envelope'}")
    decision = explanation.decision
    if decision is None:
        click.echo("route    none matches; the message would be refused with 404 no_route")
    else:
        fallback = f", then {', '.join(decision.fallback)}" if decision.fallback else ""
        where = decision.cluster if decision.reply is None else f"replies with {_reply_text(decision.reply)}"
        click.echo(f"route    {decision.route} → {where}{fallback}")
        if decision.mirror is not None:
            cluster, share = decision.mirror
            click.echo(f"mirror   {share}% of its messages also go to {cluster}")
        chosen = next(verdict for verdict in explanation.verdicts if verdict.matched)
        click.echo(f"because  {chosen.reason}")
        if refusal is not None:
            click.echo(f"but      would be refused: {refusal.status} {refusal.code}: {refusal.message}")
    others = [verdict for verdict in verdicts if decision is None or verdict.route != decision.route]
    if not others:
        return
    click.echo("\nother routes, in the order in which they are tried:")
    width = min(max(len(verdict.route) for verdict in others), 40)
    for verdict in others:
        reason = f"would match too, but comes later ({verdict.reason})" if verdict.matched else verdict.reason
        click.echo(f"  {verdict.route:<{width}}  {reason}")


if __name__ == "__main__":
    main()
