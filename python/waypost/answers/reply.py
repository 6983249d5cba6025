"""The action `reply`: the route answers by itself, without a cluster."""

from __future__ import annotations

from waypost._native import Plan
from waypost.dialects.errors import render_error
from waypost.errors import WaypostError
from waypost.exchange.carrier import Carrier
from waypost.exchange.upload import Upload
from waypost.upstream.settings import UpstreamSettings

__all__ = ["Reply"]


class Reply:
    """Answers with the configured response, or with the configured error in the client's dialect."""

    __slots__ = ()

    def begin(
        self,
        carrier: Carrier,
        settings: UpstreamSettings,  # noqa: ARG002 - part of Action
        plan: Plan,
        upload: Upload | None,
    ) -> None:
        reply = plan.decision.reply
        if reply is None:
            raise RuntimeError("the action `reply` needs a route with `reply`")
        if upload is not None:
            upload.drop()
        if reply.error is None:
            why, status, headers, body = "ok", reply.status, list(reply.headers), reply.body
        else:
            why = reply.error
            error = WaypostError(why, f"route `{plan.decision.route}` answers with this error")
            status, headers, body = render_error(plan.dialect, error, plan.id)
        sink = carrier.sink
        plan.record(0 if plan.method == "HEAD" else len(body), why, status=status, attempts=0)
        sink.start(status, headers + plan.own_fields(None, 0))
        if body:
            sink.data(body)
        sink.end()
