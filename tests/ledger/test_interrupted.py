"""A signal handler that raises, at every line of the ledger's: whatever is done again then gives the same figures."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

from lightning_energy import ledger as package
from lightning_energy.curves.curve import Curve
from lightning_energy.ledger import elsewhere as elsewhere_module
from lightning_energy.ledger.elsewhere import Elsewhere
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.trace import Trace
from tests.curves.test_sampler import wait_for
from tests.ledger.plays import INFO, START, Clock, S

FOLDER = Path(package.__file__).parent
# those that change something; the others are arithmetic
FILES = {str(FOLDER / f"{n}.py") for n in ("ledger", "book", "marks", "marks_by_clock", "steps", "trace")}
TABLE = str(FOLDER / "sharing" / "classes.py")  # what is raised while it is sent to a process ends that
Line = tuple[str, int]


class Stop(Exception):  # noqa: N818 - a handler's own
    """What the user's signal handler raises."""


class Interrupt:
    """Raises in some calls, at a line that changes something.

    Args:
        at: for the number of a call, the line, and how many times it is reached.
        files: those of the lines.
    """

    def __init__(self, at: dict[int, tuple[Line, int]], files: set[str]) -> None:
        self.at, self.files = at, files
        self.lines: list[Counter[Line]] = []  # how often each call came to them
        self.raised: list[Line] = []

    def _trace(self, frame, event, _arg):
        if frame.f_code.co_filename not in self.files:
            return None
        if event == "line":
            line, counts = (frame.f_code.co_filename, frame.f_lineno), self.lines[-1]
            counts[line] += 1
            if (line, counts[line]) == self.at.get(len(self.lines) - 1):
                self.raised.append(line)
                raise Stop
        return self._trace

    def around(self, function) -> None:
        self.lines.append(Counter())
        sys.settrace(self._trace)
        try:
            function()
        finally:
            sys.settrace(None)


def play(at: dict[int, tuple[Line, int]], elsewhere: Elsewhere | None = None, *, only_then: bool = False):
    """Two boards and a training whose books are settled a few times; what is interrupted is done again.

    Args:
        at: see :class:`Interrupt`.
        elsewhere: works bookings out.
        only_then: true where it does so only after an interruption, and a booking is not done again, but the next.
    """
    clock = Clock()
    curves = [Curve(INFO), Curve(INFO)]
    exact = [lambda: elsewhere is None] * 2  # a process works out what is to be looked for
    trace, first = Trace(["a", "b"], START), None if only_then else elsewhere
    ledger = Ledger(curves, clock=clock, is_exact=exact, trace=trace, elsewhere=first)
    interrupt, taken = Interrupt(at, FILES if elsewhere else {*FILES, TABLE}), []

    def again(function) -> None:
        try:
            interrupt.around(function)
        except Stop:
            ledger._elsewhere = elsewhere
            if not only_then or function != ledger.settle:
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
        taken += [*sorted(rows[0]["time_s"].tolist()), *rows[1]["start_s"].tolist(), *rows[1]["energy_j"].tolist()]
    steps = ledger.take_steps()
    sums = ledger.steps.found.sums
    assert sums[:3] == pytest.approx(steps.sums[:3])
    totals = ledger.totals()
    of_kinds = [totals.energy(kind=kind, epoch=epoch).energy_j for kind in ("step", "gap") for epoch in (0, 1)]
    return interrupt, np.array([*of_kinds, sums.n, sums.energy_j, sums.duration_s, *taken])


@pytest.mark.slow
def test_what_was_interrupted_and_is_done_again_counts_once():
    counts_once(None)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="such a process is started on Linux only")
@pytest.mark.parametrize("only_then", [False, True])
def test_so_does_what_a_process_beside_worked_out(only_then, monkeypatch):
    monkeypatch.setattr(elsewhere_module, "START_S", 0.0)
    elsewhere = Elsewhere()
    wait_for(lambda: elsewhere.is_there)
    counts_once(elsewhere, only_then=only_then)
    assert elsewhere.is_there
    elsewhere.leave()


def counts_once(elsewhere: Elsewhere | None, *, only_then: bool = False) -> None:
    uninterrupted, whole = play({}, elsewhere, only_then=only_then)
    assert whole[:4] == pytest.approx([102.0, 102.0, 238.0, 204.0])  # 0.3 s of 170 W, then 0.7 s; at the end 0.5 s
    assert whole[4:7] == pytest.approx([4, 646.0, 3.8])  # from 0.2 to 4 s
    calls = uninterrupted.lines[: 1 if only_then else None]  # others are the last
    lines = {line for counts in calls for line in counts}
    assert len(lines) > 100
    shares: list[list[tuple[Line, int]]] = [[] for _ in calls]  # each line in one of the calls
    for line in sorted(lines, key=lambda line: sum(line in counts for counts in calls)):
        call = min((n for n, counts in enumerate(calls) if line in counts), key=lambda n: len(shares[n]))
        shares[call].append((line, calls[call][line]))
    wrong, raised = [], set()

    def look(at: dict[int, tuple[Line, int]]) -> None:
        interrupted, found = play(at, elsewhere, only_then=only_then)
        raised.update(interrupted.raised)
        if found.shape != whole.shape or not np.allclose(found, whole):
            wrong.append(interrupted.raised)

    for together in zip_longest(*shares):
        look({call: line for call, line in enumerate(together) if line is not None})
    for call, share in enumerate(shares):
        for line in share:
            if line[0] not in raised:  # after an earlier interruption it was reached less often
                look({call: line})
    assert wrong == []
    assert raised == lines
