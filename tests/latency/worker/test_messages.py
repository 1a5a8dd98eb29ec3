import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientformer.latency.worker.messages import Payload, receive, send


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.dictionaries(st.text(), st.integers() | st.text()), st.binary())))
def test_messages_and_bytes_come_through_whole(sent):
    stream = io.BytesIO()
    for message, payload in sent:
        send(stream, {"about": message}, payload)
    stream.seek(0)
    for message, payload in sent:
        assert receive(stream) == ({"about": message, "bytes": len(payload)}, payload)
    with pytest.raises(EOFError):
        receive(stream)


def test_what_is_cut_short_or_no_message_is_told_apart():
    stream = io.BytesIO()
    send(stream, {"op": "put"}, b"12345")
    for length in range(len(stream.getvalue())):
        with pytest.raises(EOFError):
            receive(io.BytesIO(stream.getvalue()[:length]))
    for line in (b"Segmentation fault\n", b"[1]\n", b"{}\n", b'{"bytes": "5"}\n'):
        with pytest.raises(ValueError):
            receive(io.BytesIO(line))


def test_bytes_are_copied_or_dropped_up_to_their_number():
    stream, target = io.BytesIO(b"1234567890"), io.BytesIO()
    Payload(stream, 3).copy_to(target)
    Payload(stream, 4).drop()
    assert target.getvalue() == b"123" and stream.read() == b"890"
    with pytest.raises(EOFError):
        Payload(io.BytesIO(b"12"), 3).copy_to(target)
