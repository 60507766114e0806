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

FOLDER = Path(package.__file__).parent
# those that change something; the others are arithmetic
FILES = {str(FOLDER / f"{n}.py") for n in ("ledger", "book", "marks", "marks_by_clock", "steps", "trace")}


class Stop(Exception):  # noqa: N818 - a handler's own
    """What the user's signal handler raises."""


class Interrupt:
    """Raises once, when so many lines that change something were reached; ``None``: never."""

    def __init__(self, line: int | None) -> None:
        self.line = line
        self.lines: list[tuple[str, int]] = []

    def _trace(self, frame, event, _arg):
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            self.lines.append((frame.f_code.co_filename, frame.f_lineno))
            if len(self.lines) - 1 == self.line:
                raise Stop
        return self._trace

    def around(self, function) -> None:
        sys.settrace(self._trace)
        try:
            function()
        finally:
            sys.settrace(None)


def play(line: int | None):
    """Two boards and a training whose books are settled a few times; what is interrupted is done again."""
    clock = Clock()
    curves = [Curve(INFO), Curve(INFO)]
    ledger = Ledger(curves, clock=clock, is_exact=[lambda: True] * 2, trace=Trace(["a", "b"], START), device_clock=None)
    interrupt, taken, sums = Interrupt(line), [], StepSums()

    def again(function) -> None:
        try:
            interrupt.around(function)
        except Stop:
            function()

    for second in range(4):
        clock.now_ns = START + second * S
        for curve, power_w in zip(curves, (100.0, 70.0), strict=True):
            curve.add(clock.now_ns, power_w * second)
        for part, kind in enumerate(("step", "gap")):
            clock.now_ns = START + second * S + (2 + 3 * part) * S // 10
            ledger.mark(ledger.code(second // 2, "train", kind))
        clock.now_ns = START + second * S + 9 * S // 10
        if second % 2:
            again(ledger.settle)
            again(ledger.totals)
    clock.now_ns = START + 4 * S
    for curve, power_w in zip(curves, (100.0, 70.0), strict=True):
        curve.add(clock.now_ns, power_w * 4)
    ledger.mark(0)
    again(lambda: ledger.settle(final=True))
    for rows in (ledger.take_trace(),):
        taken += [*rows[0]["time_s"].tolist(), *rows[1]["start_s"].tolist(), *rows[1]["energy_j"].tolist()]
    steps = ledger.take_steps()
    sums.add(StepSums(len(steps.energy_j), float(steps.energy_j.sum()), float(steps.duration_s.sum()), steps.u_j**2))
    totals = ledger.totals()
    of_kinds = [totals.energy(kind=kind, epoch=epoch).energy_j for kind in ("step", "gap") for epoch in (0, 1)]
    return interrupt.lines, np.array([*of_kinds, sums.n, sums.energy_j, sums.duration_s, *taken])


@pytest.mark.slow
def test_what_was_interrupted_and_is_done_again_counts_once():
    lines, whole = play(None)
    assert whole[:4] == pytest.approx([102.0, 102.0, 238.0, 204.0])  # 0.3 s of 170 W, then 0.7 s; at the end 0.5 s
    assert whole[4:7] == pytest.approx([4, 646.0, 3.8])  # from 0.2 to 4 s
    last = {where: i for i, where in enumerate(lines)}
    assert len(last) > 100
    wrong = []
    for where, i in last.items():
        _, found = play(i)
        if found.shape != whole.shape or not np.allclose(found, whole):
            wrong.append(where)
    assert wrong == []
