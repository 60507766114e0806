"""Training steps, found among the marks whose energy has become known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.accounts import AccountArrays
    from lightning_energy.ledger.marks import AtMarks

__all__ = ["KnownSteps", "Look", "Steps", "SumsOfSteps"]


class SumsOfSteps(NamedTuple):
    """Training steps whose energy has become known, summed up.

    Attributes:
        n: their number.
        energy_j: their joules.
        duration_s: their seconds.
        u2_j2: variance of ``energy_j`` in J², as in :class:`Steps`.
    """

    n: int
    energy_j: float
    duration_s: float
    u2_j2: float

    def followed_by(self, others: SumsOfSteps) -> SumsOfSteps:
        """The sums of these and others."""
        n, energy_j, duration_s, u2_j2 = others
        return SumsOfSteps(self.n + n, self.energy_j + energy_j, self.duration_s + duration_s, self.u2_j2 + u2_j2)


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


class KnownSteps:
    """The steps that became known and were not taken yet.

    Attributes:
        found: these steps, and the marks that were looked through. Any thread may read it, with no lock.

    Args:
        since: the marks that were looked through before.
    """

    def __init__(self, since: Look | None = None) -> None:
        look = since or Look()
        # replaced at once: a signal handler may raise between any two lines
        self.found: tuple[tuple[Steps, ...], Look] = look.steps, look._replace(steps=())

    @property
    def look(self) -> Look:
        """The marks that were looked through, without the steps."""
        return self.found[1]

    @property
    def n(self) -> int:
        """The number of steps that wait to be taken."""
        return sum(len(steps.energy_j) for steps in self.found[0])

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
        steps, look = self.found
        skip = 0 if first is None else max(look.looked - first, 0)
        time_ns, code, at_marks = time_ns[skip:], code[skip:], at_marks.part(slice(skip, None))
        if len(code):
            news, opened = self._found(look, time_ns, code, at_marks, accounts)
            self.found = (*steps, *news), Look((), opened, int(code[-1]), look.looked + len(code))

    def go_on(self, looked: int, look: Look) -> None:
        """Take over where another has looked on.

        Args:
            looked: how many marks of the run were looked through before that; where more were here, nothing is done.
            look: what it came to.
        """
        steps, before = self.found
        if looked == before.looked:
            self.found = (*steps, *look.steps), look._replace(steps=())

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
        """The sums of the steps since the last call; ``None`` when there are none. Makes few calls."""
        taken, look = self.found
        if not taken:
            return None
        self.found = (), look
        sums = taken[0].sums
        for steps in taken[1:]:
            sums = sums.followed_by(steps.sums)
        return sums

    def take(self) -> Steps | None:
        """The steps since the last call; ``None`` when there are none."""
        taken, look = self.found
        self.found = (), look
        if not taken:
            return None
        return Steps.of(
            np.concatenate([s.energy_j for s in taken]),
            np.concatenate([s.duration_s for s in taken]),
            float(np.sqrt(sum(s.u_j**2 for s in taken))),
        )
