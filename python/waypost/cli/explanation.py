"""An explanation, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from waypost.errors import STATUS, WaypostError

if TYPE_CHECKING:
    from waypost import Explanation, Verdict
    from waypost._native import Reply

__all__ = ["document_of", "print_explanation", "refusal_of"]


def refusal_of(error: WaypostError) -> dict[str, Any]:
    """The error that refuses a message, for JSON."""
    return {"code": error.code, "message": error.message, "status": error.status}


def document_of(explanation: Explanation, verdicts: list[Verdict]) -> dict[str, Any]:
    """An explanation with these verdicts, for JSON."""
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


def print_explanation(explanation: Explanation, verdicts: list[Verdict], refusal: WaypostError | None) -> None:
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
