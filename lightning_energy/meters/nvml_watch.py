"""The watches in which a board's readings are compared: some seconds when it is opened, and some now and then."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from lightning_energy.meters.nvml_agreement import Window, covers_module, disagreement, odd_ones
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from lightning_energy.meters.nvml_agreement import Look, Name

__all__ = ["Findings", "Told", "Watch"]

LOOK_S = 0.1  # mean time between two looks while it is watched
SLOW_LOOK = 40.0  # the same in durations of a look, where calls are slow
WATCH_S = 5.0  # length of a watch
LEAST_LOOKS = 12  # looks in one: where they are rare, it lasts longer
PAUSE_S = 60.0  # time between two
LONGEST_S = 60.0  # longest first watch of a counter whose scope cannot be told yet
UPDATE_S = 1.0  # longest time between two updates of a counter for which a rise is no leap
STANDS_S = 3.0  # time without a move of the counter after which the powers are compared without it
JUDGE_S = 0.5  # time between two judgements; two in a row have to agree
JITTER = 0.5  # largest share of a wait by which it is made longer or shorter: looks must not beat with the load

Told: TypeAlias = "tuple[tuple[Name, ...], bool | None, str, bool]"
"""Findings as plain values."""

_NONE: frozenset[Name] = frozenset()


@dataclass(frozen=True)
class Findings:
    """Everything that the watches of a board have shown so far.

    Attributes:
        odd: readings that the others contradict.
        module: true if the counter covers the whole module, false if the GPU alone; ``None`` while it cannot be told.
        disagreement: a sentence on a counter and a sensor that differ; empty when they do not.
        is_judged: true once a watch has ended.
    """

    odd: frozenset[Name] = frozenset()
    module: bool | None = None
    disagreement: str = ""
    is_judged: bool = False

    @property
    def told(self) -> Told:
        """The same as plain values, to be sent to another process."""
        return tuple(sorted(self.odd)), self.module, self.disagreement, self.is_judged

    def joined(self, later: Findings) -> Findings:
        """These and later ones, of which those count that say something."""
        return Findings(
            self.odd | later.odd,
            self.module if later.module is None else later.module,
            later.disagreement or self.disagreement,
            self.is_judged or later.is_judged,
        )

    @staticmethod
    def of(told: Told) -> Findings:
        """The findings of plain values."""
        odd, module, disagreement, is_judged = told
        return Findings(frozenset(odd), module, disagreement, is_judged)


@dataclass
class Watch:
    """Collects looks at a board, and judges them.

    Args:
        begin_ns: when the first watch begins.
        has_counter: the board has a counter.
        seeks_scope: it is not known whether the counter covers a module.
        most_w: power above which a rise of the counter is a leap, in watts.

    Attributes:
        findings: the result so far.
        window: the stretch of the present watch that could be judged last.
        since_ns: begin of the present watch, or of the next: until then, no reading says anything.
        due_ns: time from which on the board should be looked at again.
    """

    begin_ns: int
    has_counter: bool = True
    seeks_scope: bool = False
    most_w: float = math.inf
    findings: Findings = field(default_factory=Findings)
    window: Window | None = None
    since_ns: int = field(init=False)
    due_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(0)  # noqa: S311 - against phase locking, not secrecy
        self._begin(self.begin_ns)

    def _begin(self, time_ns: int) -> None:
        self.since_ns = self.due_ns = time_ns
        self._judge_ns = time_ns + round(JUDGE_S / NS)
        self._looks: list[Look] = []
        self._register_j: float | None = None
        self._counted_ns = time_ns
        self._moves: list[tuple[int, float]] = []  # the first and the last move of the counter
        self._suspects: tuple[frozenset[Name], bool | None] = (_NONE, None)

    def count(self, time_ns: int, register_j: float) -> None:
        """Take a reading of the counter: its moves bound the time in which its mean power is known exactly."""
        if time_ns < self.since_ns or register_j == self._register_j:
            return
        if self._register_j is not None:
            since_ns, since_j = self._moves[-1] if self._moves else (self._counted_ns, self._register_j)
            if 0.0 <= register_j - since_j <= self.most_w * ((time_ns - since_ns) * NS + UPDATE_S):
                self._moves[1:] = [(time_ns, register_j)]
            else:  # it was reset, or leapt
                self._moves = []
        self._register_j, self._counted_ns = register_j, time_ns

    def look(self, look: Look, took_ns: int) -> bool:
        """Take a look.

        Args:
            look: the powers that it showed.
            took_ns: how long it took, all boards together: slow ones are made rarely.

        Returns:
            True when the findings have changed.
        """
        now_ns, wait_s = look.time_ns, max(LOOK_S, SLOW_LOOK * took_ns * NS)
        self._looks.append(look)
        self.due_ns = now_ns + round(wait_s * (1.0 + JITTER * (2.0 * self._random.random() - 1.0)) / NS)
        before = self.findings
        if now_ns >= self._judge_ns:
            self._judge_ns = now_ns + round(JUDGE_S / NS)
            self._judge()
        watched_s = (now_ns - self.since_ns) * NS
        is_open = self.seeks_scope and self.findings.module is None
        if watched_s >= (LONGEST_S if is_open else min(max(WATCH_S, LEAST_LOOKS * wait_s), LONGEST_S)):
            self._end()
            self._begin(now_ns + round(PAUSE_S / NS))
        return self.findings != before

    def _judge(self) -> None:
        window = self._present()
        if window is None:
            return
        self.window = window
        odd, module = _NONE, None
        if self.seeks_scope:  # the power of the GPU says nothing about a counter that may cover more
            module = covers_module(window)
        else:
            odd = odd_ones(window)
        before, self._suspects = self._suspects, (odd, module)
        if before == self._suspects:
            found = self.findings
            self.findings = Findings(
                found.odd | odd, found.module if module is None else module, found.disagreement, found.is_judged
            )

    def _end(self) -> None:
        found, sentence = self.findings, ""
        if self.window is not None and not self.seeks_scope and not found.odd:
            sentence = disagreement(self.window)
        self.findings = Findings(found.odd, found.module, sentence or found.disagreement, is_judged=True)

    def _present(self) -> Window | None:
        """The looks of this watch, between two moves of the counter where there is one."""
        counter_w = None
        if self.has_counter and len(self._moves) == 2:  # noqa: PLR2004 - from one move to another
            (first_ns, first_j), (last_ns, last_j) = self._moves
            counter_w = (last_j - first_j) / ((last_ns - first_ns) * NS)
        else:
            first_ns, last_ns = self._looks[0].time_ns, self._looks[-1].time_ns
            if self.has_counter and (last_ns - first_ns) * NS < STANDS_S:
                return None
        looks = [look for look in self._looks if first_ns <= look.time_ns <= last_ns]
        return Window((last_ns - first_ns) * NS, looks, counter_w) if last_ns > first_ns else None
