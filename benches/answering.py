"""Servers that answer every request with one reply: the upstream, and what the proxy is compared with.

As a command, `python -m benches.answering PORT`: uvicorn around a raw ASGI application, with the settings that
`waypost serve` gives it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from benches.corpus import REPLY
from benches.proc import Process, free_port

__all__ = ["NGINX", "app", "bare_uvicorn", "nginx_proxy", "upstream"]

NGINX = (
    "nginx as a plain reverse proxy: one process, connections kept on both sides, bodies kept in memory, an access log"
    " of its own (`combined`, written in batches, as Waypost writes its own)."
)
"""Of `nginx_proxy`."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_NGINX = """\
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000; pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 10000; }}
http {{
  access_log {log}; keepalive_requests 1000000; default_type application/json;
  client_max_body_size 16m; client_body_buffer_size 2m;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  {upstream}
  server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}
}}
"""


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Reads the request and answers it."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(REPLY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": REPLY})


@contextmanager
def bare_uvicorn(*, core: int | None = None) -> Iterator[tuple[Process, int]]:
    """uvicorn answering by itself: its process and its port."""
    port = free_port()
    with Process([sys.executable, "-m", "benches.answering", str(port)], core=core) as process:
        process.wait_for_port(port)
        yield process, port


@contextmanager
def upstream(directory: Path, *, core: int | None = None) -> Iterator[tuple[str, int]]:
    """An upstream, nginx where there is one: what it is, and its port."""
    if shutil.which("nginx") is None:
        with bare_uvicorn(core=core) as (_, port):
            yield "uvicorn (no nginx here)", port
    else:
        location = f"return 200 '{REPLY.decode()}';"
        with _nginx(directory / "upstream", "", location, core) as (_, port):
            yield "nginx", port


@contextmanager
def nginx_proxy(
    directory: Path, to: int, *, core: int | None = None, streaming: bool = False
) -> Iterator[tuple[Process, int]]:
    """nginx as a plain reverse proxy before the port `to`: `NGINX` says how it is configured."""
    pool = f"upstream up {{ server 127.0.0.1:{to}; keepalive 1024; keepalive_requests 1000000; }}"
    location = 'proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";'
    if streaming:
        location += " proxy_buffering off;"
    log = f"{directory}/nginx.log combined buffer=64k flush=1s"
    with _nginx(directory / "proxy", pool, location, core, log) as found:
        yield found


@contextmanager
def _nginx(
    directory: Path, pool: str, location: str, core: int | None, log: str = "off"
) -> Iterator[tuple[Process, int]]:
    directory.mkdir()
    port = free_port()
    config = directory / "nginx.conf"
    text = _NGINX.format(directory=directory, upstream=pool, port=port, location=location, log=log)
    config.write_text(text, "utf-8")
    command = ["nginx", "-e", "stderr", "-p", str(directory), "-c", str(config)]
    with Process(command, core=core) as process:
        process.wait_for_port(port)
        yield process, port


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
