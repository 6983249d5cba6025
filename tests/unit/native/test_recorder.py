"""What is counted: as two parsers of the formats read it, and over several processes."""

from __future__ import annotations

import json
import mmap
import os

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from waypost import _native
from waypost._native import Endpoint, Recorder, RequestReader, Snapshot
from waypost.config import from_dict
from waypost.errors import STATUS

CODES = list(STATUS)
CONFIG = from_dict(
    {
        "clusters": {"one": {"speaks": "envelope", "endpoints": ["http://127.0.0.1:9"]}},
        "routes": [{"name": "all", "to": "one"}],
    }
)
BODY = b'{"id":"m-1","kind":"query"}'
REQUEST = b"POST /v1/envelopes HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def message(recorder: Recorder, *, whole: bool = True) -> _native.Plan:
    """One message: its plan, and with `whole` all the rest of its way."""
    found = RequestReader(client="192.0.2.7").feed(Snapshot(CONFIG.to_native(), recorder), REQUEST, 1 << 20)
    assert found
    plan = found[0]
    assert isinstance(plan, _native.Plan)
    if whole:
        assert plan.answer(endpoint_of(plan), RESPONSE, {200: b"HTTP/1.1 200 OK\r\n"}, b"", False)
    return plan


def endpoint_of(plan: _native.Plan) -> Endpoint:
    endpoint = plan.begin()
    assert isinstance(endpoint, Endpoint)
    return endpoint


def samples(recorder: Recorder, *, openmetrics: bool = False) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text, media_type = recorder.render(openmetrics=openmetrics)
    assert media_type.startswith("application/openmetrics-text" if openmetrics else "text/plain; version=0.0.4")
    families = read_openmetrics(text) if openmetrics else read_text(text)
    found = {}
    for family in families:
        assert family.documentation
        assert family.type != "unknown"
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(recorder: Recorder, name: str, **labels: str) -> float:
    return sum(
        each
        for (found, labelled), each in samples(recorder).items()
        if found == name and labels.items() <= set(labelled)
    )


def test_both_formats_say_the_same_to_other_readers() -> None:
    recorder = Recorder(CODES)
    message(recorder)
    recorder.record_rejection("no_route", 404)
    plain, open_ = samples(recorder), samples(recorder, openmetrics=True)
    assert plain == open_
    way = {("route", "all"), ("cluster", "one")}
    assert plain["waypost_requests_total", frozenset({*way, ("status", "2xx")})] == 1
    assert plain["waypost_request_body_bytes_total", frozenset(way)] == len(BODY)
    assert plain["waypost_response_body_bytes_total", frozenset(way)] == 2
    assert plain["waypost_errors_total", frozenset({("code", "no_route")})] == 1
    assert plain["waypost_build_info", frozenset({("version", _native.__version__)})] == 1


def test_a_message_is_counted_once_however_often_it_ends() -> None:
    recorder = Recorder(CODES)
    recorder.log(lambda _: None)
    plan = message(recorder)
    plan.record(7, "client_gone")
    plan.record(7)
    assert value(recorder, "waypost_requests_total") == 1
    assert value(recorder, "waypost_clients_gone_total") == 0
    assert recorder.take_lines()[1] == 1


def test_a_message_is_in_flight_until_it_is_over_or_forgotten() -> None:
    recorder = Recorder(CODES)
    first, second = message(recorder, whole=False), message(recorder, whole=False)
    assert value(recorder, "waypost_requests_in_flight") == 2
    first.record(0, "client_gone", endpoint=endpoint_of(first), attempts=1)
    assert value(recorder, "waypost_requests_in_flight") == 1
    del second  # it went to the other way in, where it gets a plan of its own
    assert value(recorder, "waypost_requests_in_flight") == 0
    assert value(recorder, "waypost_requests_total") == 1
    assert value(recorder, "waypost_requests_total", status="none", cluster="one") == 1


def test_a_line_says_how_it_ended() -> None:
    recorder = Recorder(CODES)
    woken: list[bool] = []
    recorder.log(woken.append)
    plan = message(recorder, whole=False)
    plan.count_received(5)
    plan.record(9, "aborted", error="upstream_protocol", endpoint=endpoint_of(plan), attempts=3)
    recorder.record_rejection(None, 0, id="r", client="192.0.2.8", method="PUT", target=b"/v1/\xff?x")
    lines, count = recorder.take_lines()
    aborted, gone = map(json.loads, lines.splitlines())
    assert (count, woken) == (2, [False])
    assert (aborted["why"], aborted["error"], aborted["attempts"]) == ("aborted", "upstream_protocol", 3)
    assert (aborted["bytes_in"], aborted["bytes_out"]) == (len(BODY) + 5, 9)
    assert "first_byte_ms" not in aborted
    assert aborted["total_ms"] >= 0
    assert (gone["id"], gone["client"], gone["method"], gone["path"]) == ("r", "192.0.2.8", "PUT", "/v1/ÿ")
    assert (gone["why"], "status" in gone) == ("client_gone", False)


def test_forked_processes_count_together() -> None:
    recorder = Recorder(CODES, mmap.mmap(-1, Recorder.SIZE))
    message(recorder)
    pids = []
    for worker in (1, 2):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                recorder.become_worker(worker)
                recorder.gauges(client_connections=worker, upstream_idle=0, buffered=0)
                for _ in range(100):
                    message(recorder)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    assert value(recorder, "waypost_requests_total", route="all") == 201
    assert (value(recorder, "waypost_workers"), value(recorder, "waypost_client_connections")) == (2, 3)
    recorder.forget_worker(2)
    assert (value(recorder, "waypost_workers"), value(recorder, "waypost_client_connections")) == (1, 1)


@pytest.mark.parametrize(
    "memory", [b"\0" * Recorder.SIZE, bytearray(Recorder.SIZE - 8)], ids=["read-only", "too small"]
)
def test_memory_that_cannot_be_counted_in_is_refused(memory: bytes | bytearray) -> None:
    with pytest.raises((ValueError, BufferError)):
        Recorder(CODES, memory)


def test_memory_is_held_as_long_as_it_is_counted_in() -> None:
    memory = mmap.mmap(-1, Recorder.SIZE)
    recorder = Recorder(CODES, memory)
    with pytest.raises(BufferError):
        memory.close()
    message(recorder)
    del recorder
    memory.close()


def test_the_latest_messages_are_kept_without_a_log() -> None:
    recorder = Recorder(CODES)
    assert recorder.recent() == []
    message(recorder)
    recorder.record_rejection("bad_framing", 400, method="GET", target=b"/x?y", client="192.0.2.7")
    recorder.record_rejection(None, 0)
    left, refused, whole = recorder.recent()
    assert (whole["id"], whole["method"], whole["path"]) == ("m-1", "POST", "/v1/envelopes")
    assert (whole["dialect"], whole["kind"], whole["model"], whole["tenant"]) == ("envelope", "query", None, None)
    assert (whole["route"], whole["cluster"], whole["endpoint"]) == ("all", "one", "http://127.0.0.1:9")
    assert (whole["attempts"], whole["status"], whole["why"], whole["error"]) == (1, 200, "ok", None)
    assert 0 <= whole["ms"] < 60_000
    assert (refused["path"], refused["status"], refused["why"], refused["attempts"]) == ("/x", 400, "bad_framing", 0)
    assert (left["path"], left["status"], left["why"]) == (None, None, "client_gone")
    assert recorder.take_lines() == (b"", 0)


def test_as_many_messages_are_kept_as_there_is_room_for() -> None:
    recorder = Recorder(CODES)
    for number in range(Recorder.RECENT + 10):
        recorder.record_rejection("no_route", 404, id=str(number))
    ids = [int(each["id"]) for each in recorder.recent()]
    assert ids == list(range(Recorder.RECENT + 9, 9, -1))


def test_long_texts_are_cut() -> None:
    recorder = Recorder(CODES)
    recorder.record_rejection("no_route", 404, id="x" * 10_000, target=b"/" + b"\xff" * 10_000)
    (found,) = recorder.recent()
    assert len(found["id"].encode()) == 256
    assert found["id"].endswith("x…")
    assert found["path"].startswith("/\xff")
