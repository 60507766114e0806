from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.training.foresight import LEAST_S, MOST_S, Foresight


class Pass:
    """One pass of batches: those that were attended to, and the seconds before its end that work began."""

    def __init__(self, end_ns: int, now: list[int]) -> None:
        self.attended: list[int] = []
        self.begun: list[float] = []
        self._end_ns, self._now = end_ns, now

    def begin(self) -> None:
        self.begun.append((self._end_ns - self._now[0]) / 1e9)


def passes(durations_s: list[float], batches: int, also_at: set[int], limit: float | None = None) -> list[Pass]:
    """Go through passes of batches that last so long each."""
    now, found = [0], []
    foresight = Foresight(clock=lambda: now[0])
    for batch_s in durations_s:
        plan, batch_ns = 0.0, round(batch_s * 1e9)
        found.append(one := Pass(now[0] + batches * batch_ns, now))
        for batch_idx in range(batches):
            now[0] += batch_ns
            if batch_idx >= plan or batch_idx in also_at:
                one.attended.append(batch_idx)
                plan = foresight.attend(batches if limit is None else limit, batch_idx, one.begin)
    return found


@given(st.floats(1e-3, 1.0), st.integers(1, 300), st.sets(st.integers(1, 299), max_size=5))
def test_the_work_begins_once_shortly_before_the_end(batch_s, batches, also_at):
    _, one = passes([batch_s, batch_s], batches, also_at)
    attended, begun = one.attended, one.begun
    assert len(begun) <= 1
    assert all(0.99 * LEAST_S <= left_s <= 1.01 * MOST_S for left_s in begun)
    assert len({*attended} - also_at) <= 2  # the first, and one more
    lead = max(1, round(0.2 / batch_s))
    if batches > lead + 1 and lead * batch_s <= MOST_S and any(0 < k < batches for k in also_at):
        assert len(begun) == 1


def test_without_a_known_number_of_batches_there_is_no_end():
    (one,) = passes([0.01], 50, {10, 20}, limit=math.inf)
    assert (one.attended, one.begun) == ([0, 10, 20], [])


def test_batches_that_take_long_are_not_worth_it():
    assert all(not one.begun for one in passes([0.5, 0.5], 50, {10, 20}))


def test_a_validation_in_between_does_not_seem_to_be_batches():
    now = [0]
    foresight, begun = Foresight(clock=lambda: now[0]), []
    foresight.attend(100, 0, lambda: begun.append(now[0]))
    now[0] = 200_000_000  # 20 batches of 10 ms
    assert foresight.attend(100, 20, lambda: begun.append(now[0])) == 79
    now[0] = 5_000_000_000  # then a validation of 4.7 s
    assert foresight.attend(100, 30, lambda: begun.append(now[0])) == 79
    now[0] += 490_000_000
    assert foresight.attend(100, 79, lambda: begun.append(now[0])) == math.inf
    assert begun == [now[0]]
