"""A signal handler that raises, at every line of the ledger's: whatever is done again then gives the same figures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lightning_energy import ledger as package
from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.trace import Trace
from lightning_energy.results.summary import StepSums
from tests.ledger.plays import INFO, START, Clock, S

FOLDER = str(Path(package.__file__).parent)
CHANGING = {"ledger.py", "book.py", "marks.py", "marks_by_clock.py", "steps.py", "trace.py"}  # the others are arithmetic


class Stop(Exception):  # noqa: N818 - a handler's own
    """What the user's signal handler raises."""


class Interrupt:
    """Raises once, when the line of this number among those that change something is reached."""

    def __init__(self, line: int) -> None:
        self.left, self.where = line, ""

    def _trace(self, frame, event, _arg):
        path = Path(frame.f_code.co_filename)
        if str(path.parent) != FOLDER or path.name not in CHANGING:
            return None
        if event == "line" and not self.where:
            self.left -= 1
            if self.left < 0:
                self.where = f"{path.name}:{frame.f_lineno}"
                raise Stop
        return self._trace

    def around(self, function) -> None:
        sys.settrace(self._trace)
        try:
            function()
        finally:
            sys.settrace(None)


def play(line: int):
    """Two boards and a training whose books are settled three times; what is interrupted is done again."""
    clock = Clock()
    curves = [Curve(INFO), Curve(INFO)]
    ledger = Ledger(
        curves, clock=clock, is_exact=[lambda: True] * 2, trace=Trace(["a", "b"], START), device_clock=None
    )
    interrupt, taken, sums = Interrupt(line), [], StepSums()

    def again(function) -> None:
        try:
            interrupt.around(function)
        except Stop:
            function()

    for second in range(6):
        clock.now_ns = START + second * S
        for curve, power_w in zip(curves, (100.0, 70.0), strict=True):
            curve.add(clock.now_ns, power_w * second)
        for part, kind in enumerate(("step", "gap")):
            clock.now_ns = START + second * S + (2 + 3 * part) * S // 10
            ledger.mark(ledger.code(second // 3, "train", kind))
        clock.now_ns = START + second * S + 9 * S // 10
        if second % 2:
            again(ledger.settle)
            again(ledger.totals)
    clock.now_ns = START + 6 * S
    for curve, power_w in zip(curves, (100.0, 70.0), strict=True):
        curve.add(clock.now_ns, power_w * 6)
    ledger.mark(0)
    again(lambda: ledger.settle(final=True))
    for rows in (ledger.take_trace(),):
        taken += [*rows[0]["time_s"].tolist(), *rows[1]["start_s"].tolist(), *rows[1]["energy_j"].tolist()]
    steps = ledger.take_steps()
    sums.add(StepSums(len(steps.energy_j), float(steps.energy_j.sum()), float(steps.duration_s.sum()), steps.u_j**2))
    totals = ledger.totals()
    of_kinds = [totals.energy(kind=kind, epoch=epoch).energy_j for kind in ("step", "gap") for epoch in (0, 1)]
    return interrupt.where, np.array([*of_kinds, sums.n, sums.energy_j, sums.duration_s, *taken])


def test_what_was_interrupted_and_is_done_again_counts_once():
    _, whole = play(10**9)
    assert whole[:4] == pytest.approx([153.0, 153.0, 357.0, 323.0])  # 0.3 s of 170 W, then 0.7 s; at the end 0.5 s
    assert whole[4:7] == pytest.approx([6, 986.0, 5.8])  # from 0.2 to 6 s
    line, wrong, seen = 0, {}, 0
    while True:
        where, found = play(line)
        if not where:
            break
        seen += 1
        if found.shape != whole.shape or not np.allclose(found, whole):
            wrong[f"{where} ({line})"] = found.tolist()
        line += 7 if seen > 300 else 1
    assert wrong == {}
    assert seen > 100
