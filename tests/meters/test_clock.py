from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import lightning_energy
from lightning_energy.meters.clock import fine_clock


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
