"""A model that repeats the last message, with OpenAI and Anthropic endpoints, whole and streamed.

`POST /v1/chat/completions`, `/v1/completions`, `/v1/responses`, `/v1/embeddings`, `GET /v1/models`; `POST
/v1/messages`, `/v1/messages/count_tokens`. It accepts any model name. An invalid request is a 400 in the dialect of
the path.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from waypost.demo import echo_anthropic, echo_openai
from waypost.demo.wire import Refusal

__all__ = ["create_app"]


def create_app() -> Starlette:
    """The echo model's app. It holds no state."""
    return Starlette(
        routes=[*echo_openai.routes, *echo_anthropic.routes],
        exception_handlers={Refusal: _refused, HTTPException: _http_error},
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - as registered above
    return _error(request, error.status, error.code, error.message, error.field)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered above
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    message = f"{request.method} {request.url.path}: {error.detail}"
    response = _error(request, error.status_code, code, message, None)
    response.headers.update(error.headers or {})
    return response


def _error(request: Request, status: int, code: str, message: str, field: str | None) -> Response:
    if request.url.path.startswith("/v1/messages"):
        return echo_anthropic.anthropic_error(status, message)
    return echo_openai.openai_error(status, code, message, field)
