"""Training steps, found among the marks whose energy has become known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.accounts import AccountArrays
    from lightning_energy.ledger.marks import AtMarks

__all__ = ["NO_STEPS", "Found", "KnownSteps", "Look", "Steps", "SumsOfSteps"]


class SumsOfSteps(NamedTuple):
    """Training steps whose energy has become known, summed up.

    Attributes:
        n: their number.
        energy_j: their joules.
        duration_s: their seconds, each from its start to the start of the next.
        u2_j2: variance of ``energy_j`` in J² by the moments at which rows of steps begin and end.
    """

    n: int = 0
    energy_j: float = 0.0
    duration_s: float = 0.0
    u2_j2: float = 0.0

    def followed_by(self, others: SumsOfSteps) -> SumsOfSteps:
        """The sums of these and others."""
        n, energy_j, duration_s, u2_j2 = others
        return SumsOfSteps(self.n + n, self.energy_j + energy_j, self.duration_s + duration_s, self.u2_j2 + u2_j2)


NO_STEPS = SumsOfSteps()


class Steps(NamedTuple):
    """Training steps, each from its start to the start of the next, whose energy has become known.

    Attributes:
        energy_j: joules per step, shape (n,).
        duration_s: seconds per step, shape (n,).
        u_j: standard uncertainty of the sum of ``energy_j`` in joules, as far as it comes from where steps begin after
            something else, and where they end before it.
        sums: the sums, so that the training thread, which asks for them, need not add up.
    """

    energy_j: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    u_j: float
    sums: SumsOfSteps

    @classmethod
    def of(cls, energy_j: NDArray[np.float64], duration_s: NDArray[np.float64], u_j: float) -> Steps:
        """Steps with their sums."""
        sums = SumsOfSteps(len(energy_j), float(energy_j.sum()), float(duration_s.sum()), u_j * u_j)
        return cls(energy_j, duration_s, u_j, sums)


class Look(NamedTuple):
    """Marks that were looked through, and the steps among them.

    Attributes:
        steps: the steps that ended there.
        open: start of the step that has not ended then: time, energy, missing seconds and variance; ``None``: none.
        previous_code: the account of the last mark.
        looked: how many marks of the run were looked through.
    """

    steps: tuple[Steps, ...] = ()
    open: tuple[int, float, float, float] | None = None
    previous_code: int = OUTSIDE
    looked: int = 0


class Found(NamedTuple):
    """Steps that became known.

    Attributes:
        rows: the last of them, one for each booking; all that were not taken are there.
        look: the marks that were looked through, without the steps.
        end: how many rows there were so far.
        sums: the sums of all of them, taken or not.
    """

    rows: tuple[Steps, ...]
    look: Look
    end: int
    sums: SumsOfSteps


class KnownSteps:
    """The steps that became known, and those of them that were not taken yet.

    One thread finds them and another one takes them, without a lock: each replaces an attribute of its own.

    Attributes:
        found: the steps. Any thread may read it.
        taken: how many rows of steps were taken.

    Args:
        since: the marks that were looked through before.
        sums: the sums of the steps before.
    """

    def __init__(self, since: Look | None = None, sums: SumsOfSteps = NO_STEPS) -> None:
        self.taken = 0
        # replaced at once: a signal handler may raise between any two lines
        self.found = Found((), since or Look(), 0, sums)

    @property
    def look(self) -> Look:
        """The marks that were looked through, without the steps."""
        return self.found.look

    @property
    def news(self) -> tuple[Steps, ...]:
        """The rows of steps that wait to be taken."""
        rows, _, end, _ = self.found
        return rows[len(rows) - (end - self.taken) :]

    @property
    def n(self) -> int:
        """The number of steps that wait to be taken."""
        return sum(len(steps.energy_j) for steps in self.news)

    def find(
        self,
        time_ns: NDArray[np.int64],
        code: NDArray[np.int64],
        at_marks: AtMarks,
        accounts: AccountArrays,
        *,
        first: int | None = None,
    ) -> None:
        """Find the steps that end at the next marks of the run.

        A step runs from its start to the next mark that is not a gap, nor a further phase, of the same training epoch.

        Args:
            time_ns: times of the marks.
            code: their accounts.
            at_marks: the state of all curves together at them.
            accounts: the accounts.
            first: number of the first of them in the run; those that were looked through are not again.
        """
        look = self.look
        skip = 0 if first is None else max(look.looked - first, 0)
        time_ns, code, at_marks = time_ns[skip:], code[skip:], at_marks.part(slice(skip, None))
        if len(code):
            news, opened = self._found(look, time_ns, code, at_marks, accounts)
            self._add(news, Look((), opened, int(code[-1]), look.looked + len(code)))

    def go_on(self, looked: int, look: Look) -> None:
        """Take over where another has looked on.

        Args:
            looked: how many marks of the run were looked through before that; where more were here, nothing is done.
            look: what it came to.
        """
        if looked == self.look.looked:
            self._add(look.steps, look._replace(steps=()))

    def _add(self, news: Sequence[Steps], look: Look) -> None:
        """Add steps, and forget those that were taken."""
        _, _, end, sums = self.found
        for steps in news:
            sums = sums.followed_by(steps.sums)
        self.found = Found((*self.news, *news), look, end + len(news), sums)

    @staticmethod
    def _found(
        look: Look, time_ns: NDArray[np.int64], code: NDArray[np.int64], at_marks: AtMarks, accounts: AccountArrays
    ) -> tuple[list[Steps], tuple[int, float, float, float] | None]:
        """The steps, and the start of the one that has not ended then."""
        before = np.concatenate([[look.previous_code], code[:-1]])
        is_same = accounts.group[code] == accounts.group[before]
        within = accounts.is_step[before] & accounts.is_inner[before]
        goes_on = accounts.is_step[code] & (accounts.is_inner[code] | within)
        rows = np.flatnonzero(~((accounts.is_gap[code] | goes_on) & is_same))
        if not rows.size:
            return [], look.open
        t, (e, m, u2, _) = time_ns[rows], at_marks.part(rows)
        starts = accounts.is_step[code[rows]]
        if look.open is not None:
            t0, e0, m0, u0 = look.open
            t, starts = np.concatenate([[t0], t]), np.concatenate([[True], starts])
            e, m, u2 = (np.concatenate([[x0], x]) for x0, x in ((e0, e), (m0, m), (u0, u2)))
        opened = (int(t[-1]), float(e[-1]), float(m[-1]), float(u2[-1])) if starts[-1] else None
        good = starts[:-1] & (np.diff(m) == 0) & (np.diff(t) > 0)  # without missing time
        if not good.any():
            return [], opened
        before, after = np.concatenate([[False], good[:-1]]), np.concatenate([good[1:], [False]])
        u_j = float(np.sqrt(u2[:-1][good & ~before].sum() + u2[1:][good & ~after].sum()))
        return [Steps.of(np.diff(e)[good], np.diff(t)[good] * NS, u_j)], opened

    def take_sums(self) -> SumsOfSteps | None:
        """The sums of the steps since the last call; ``None`` when there are none. Takes no lock."""
        rows, _, end, _ = self.found
        n = end - self.taken
        if not n:
            return None
        self.taken = end
        sums = rows[-n].sums
        if n > 1:
            for steps in rows[1 - n :]:
                sums = sums.followed_by(steps.sums)
        return sums

    def take(self) -> Steps | None:
        """The steps since the last call; ``None`` when there are none."""
        taken = self.news
        self.taken += len(taken)
        if not taken:
            return None
        return Steps.of(
            np.concatenate([s.energy_j for s in taken]),
            np.concatenate([s.duration_s for s in taken]),
            float(np.sqrt(sum(s.u_j**2 for s in taken))),
        )
