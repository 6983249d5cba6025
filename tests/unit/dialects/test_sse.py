"""The reader of server-sent events."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waypost.dialects.sse import Event, SseReader
from waypost.errors import UpstreamError

LINES = st.lists(
    st.sampled_from(
        [b"data: a", b"data:b", b"data", b"data:  c", b": note", b"event: x", b"event:y", b"", b"", b"dat", b"d:a"]
    ),
    max_size=12,
)


def read(pieces, *, end=True):
    reader = SseReader(1000)
    return [event for piece in pieces for event in reader.feed(piece)] + (list(reader.finish()) if end else [])


def expected(lines):
    """What the standard says, but for an event that the end of the stream completes, and for events of white space."""
    found, name, data = [], b"", []
    for line in [*lines, b""]:
        field, _, value = line.partition(b":")
        if not line:
            if data and b"\n".join(data).strip():
                found.append(Event(name, b"\n".join(data)))
            name, data = b"", []
        elif field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return found


@given(
    LINES,
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 80), max_size=6),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_events_are_the_same_for_any_split_and_line_ending(lines, ending, cuts, mark):
    stream = mark + b"".join(line + ending for line in lines)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert read(pieces) == read([stream]) == read([bytes([byte]) for byte in stream]) == expected(lines)


def test_only_the_end_completes_an_event_without_a_blank_line():
    for stream in (b"data: a", b"data: a\n", b"event: x\ndata: a\r"):
        assert read([stream], end=False) == []
        assert [event.data for event in read([stream])] == [b"a"]


@pytest.mark.parametrize("piece", [b"data: x\n", b"data:", b"event: xx\n", b"data:\n", b": x"])
def test_an_endless_event_is_an_error_and_those_before_it_count(piece):
    reader = SseReader(100)
    events = reader.feed(b"data: a\n\n" + piece * 101)
    assert next(events) == Event(b"", b"a")
    with pytest.raises(UpstreamError, match=r"longer than limits\.body, which is 100B"):
        next(events)


def test_comments_outside_of_an_event_go_on_for_ever():
    reader = SseReader(100)
    for _ in range(1000):
        assert list(reader.feed(b": ping\n\n: ping\n")) == []
        assert reader.commented
    assert list(reader.feed(b"data: a\n\n")) == [Event(b"", b"a")]
