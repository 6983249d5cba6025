#!/usr/bin/env bash
# httpx2 2.16.2 (httpcore2) over HTTP/2: calls that wait for a free stream on a connection fail when the server ends that
# connection with GOAWAY NO_ERROR. The calls were never sent, so a new connection could carry them (RFC 9113, section 6.8, says
# of streams above the last identifier that they may be retried; these had not even a stream). Servers end connections like
# this at each deployment and by age, so a client with more calls than the server's streams loses some of them each time.
#
# Seen, with a server that allows one stream at a time and ends each connection after its second answer: after a first call,
# five calls at once give one answer and four times RemoteProtocolError, on the first connection alone. Six calls one after the
# other are all answered, on three connections.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check httpx2==2.16.2 h2==4.3.0
cat > "$work/run.py" << 'PY'
import asyncio
import collections

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx2


async def serve(reader, writer):
    """One stream at a time; after the second answer a GOAWAY without an error, then the end."""
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    http.local_settings = h2.settings.Settings(
        client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    )
    http.initiate_connection()
    writer.write(http.data_to_send())
    answered = 0
    while data := await reader.read(65536):
        for event in http.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                await asyncio.sleep(0.1)
                http.send_headers(event.stream_id, [(":status", "200"), ("content-length", "0")], end_stream=True)
                answered += 1
                if answered == 2:
                    http.close_connection(last_stream_id=event.stream_id)
        writer.write(http.data_to_send())
        await writer.drain()
        if answered == 2:
            break
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = "http://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]
    # Prior knowledge: HTTP/2 without TLS.
    def client():
        return httpx2.AsyncClient(http1=False, http2=True, timeout=20)

    async def call(http):
        try:
            return str((await http.get(url)).status_code)
        except httpx2.HTTPError as error:
            return type(error).__name__

    async with client() as http:
        # The first call teaches the client how many streams there may be.
        told = [await call(http)]
        one_by_one = told + [await call(http) for _ in range(5)]
    async with client() as http:
        await call(http)
        at_once = await asyncio.gather(*(call(http) for _ in range(5)))
    print("one by one:", dict(collections.Counter(one_by_one)))
    print("at once:", dict(collections.Counter(at_once)))


asyncio.run(main())
PY
"$work/venv/bin/python" "$work/run.py" | tee "$work/seen"
grep -qx "one by one: {'200': 6}" "$work/seen"
grep -qx "at once: {'200': 1, 'RemoteProtocolError': 4}" "$work/seen"
