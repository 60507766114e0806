from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import lightning_energy
from lightning_energy.meters import clock
from lightning_energy.meters.clock import Anchors, anchor, fine_clock, unix_ns


@pytest.mark.parametrize(
    ("resolution_s", "name"), [(1e-9, "monotonic_ns"), (1e-7, "monotonic_ns"), (0.015625, "perf_counter_ns")]
)
def test_a_clock_that_moves_in_large_steps_is_not_used(monkeypatch, resolution_s, name):
    monkeypatch.setattr(time, "get_clock_info", lambda clock: SimpleNamespace(resolution=resolution_s))
    assert fine_clock() is getattr(time, name)


def test_there_is_one_clock():
    others = [
        path.name
        for path in Path(lightning_energy.__file__).parent.rglob("*.py")
        if path.name != "clock.py" and re.search(r"time\.(monotonic_ns|perf_counter)", path.read_text(encoding="utf-8"))
    ]
    assert others == []


def test_a_moment_is_one_by_both_clocks():
    before_ns = time.time_ns()
    moment = anchor()
    assert before_ns <= moment.unix_ns <= time.time_ns()
    assert unix_ns([moment], moment.monotonic_ns + 7) == moment.unix_ns + 7


def test_a_session_keeps_few_moments_of_a_long_run(monkeypatch):
    """A minute apart, then two and so on; the clock of the day was set by a second in the third minute."""
    now = [0]
    monkeypatch.setattr(clock, "anchor", lambda: clock.Anchor(now[0], now[0] + 10**18 + 10**9 * (now[0] > 150 * 10**9)))
    anchors = Anchors()
    for second in range(10, 36_000, 10):
        now[0] = second * 10**9
        moments = anchors.until_now()
    assert (moments[0].monotonic_ns, moments[-1].monotonic_ns) == (0, 35_990 * 10**9)
    assert 8 <= len(moments) <= 18
    assert [*moments] == sorted(set(moments))
    assert unix_ns(moments, 20_000 * 10**9) == 10**18 + 20_001 * 10**9
