from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.packets import MOST_BYTES, joined, packets


@given(st.integers(0, 4), st.integers(-3, 3), st.data())
def test_a_message_of_any_length_arrives_as_it_was_sent(times, more, data):
    message = bytes(max(times * (MOST_BYTES - 1) + more, 0)) + data.draw(st.binary(max_size=5))
    sent = [*packets(message)]
    assert max(map(len, sent)) <= MOST_BYTES
    assert len(sent) == max(-(-len(message) // (MOST_BYTES - 1)), 1)
    following = iter([*sent[1:], b"another"])
    assert joined(sent[0], following.__next__) == message
    assert next(following) == b"another"


@pytest.mark.parametrize("n", range(4))
def test_a_message_that_is_cut_off_is_none(n):
    sent = [*packets(bytes(3 * MOST_BYTES))][:n]
    following = iter([*sent[1:], b""])
    assert joined(sent[0] if sent else b"", following.__next__) == b""
