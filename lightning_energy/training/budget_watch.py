"""The watch over a budget during a ``fit``: when all ranks look at what they have spent, and what they see."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.meters.units import NS
from lightning_energy.training.spent_joules import Spending

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.scores.budget_rule import Budget

__all__ = ["Agreed", "BudgetWatch"]


class Agreed(NamedTuple):
    """The knowledge of all ranks together after a look, the same on each of them.

    Attributes:
        spent_j: joules of the run, earlier sessions included.
        power_w: the last known power of all devices in watts.
        unknown: the number of devices whose energy is missing; ``spent_j`` is a lower bound while there are some.
    """

    spent_j: float
    power_w: float = 0.0
    unknown: int = 0


class BudgetWatch:
    """Looks at what all ranks have spent, at step numbers that they agree on: the more often the less is left.

    A look of several ranks is one reduction of a few numbers. The number of steps to the next one follows from the
    reduced numbers alone, so that all ranks come to it, whatever their clocks say.

    Attributes:
        budget: the budget.
        agreed: what the ranks know since the last look.

    Args:
        budget: see there.
        ranks: the ranks.
        now: gives what this rank has spent in this session.
        before_j: joules of earlier sessions, the same on all ranks.
        clock: the monotonic clock in nanoseconds.

    Example:
        >>> from lightning_energy.ledger.ranks import Ranks
        >>> from lightning_energy.scores.budget_rule import Budget
        >>> watch = BudgetWatch(Budget(100.0), Ranks(), lambda: Spending(40.0, 200.0, 0), before_j=70.0)
        >>> watch.after_step(), watch.agreed.spent_j, watch.is_reached
        (True, 110.0, True)
    """

    def __init__(
        self,
        budget: Budget,
        ranks: Ranks,
        now: Callable[[], Spending],
        before_j: float = 0.0,
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.budget = budget
        self.agreed = Agreed(before_j)
        self._ranks = ranks
        self._now = now
        self._before_j = before_j
        self._clock = clock
        self._steps = self._looked_at = 0
        self._looked_ns = clock()
        self._due = self._every = 1
        self._step_s = self._most_w = 0.0
        self._mine = Spending(0.0, 0.0, 0)

    @property
    def is_reached(self) -> bool:
        """True where the ranks had spent the budget at the last look."""
        return self.budget.is_reached(self.agreed.spent_j)

    @property
    def is_alone(self) -> bool:
        """True for one rank, for which no other waits."""
        return self._ranks.size == 1

    @property
    def scale(self) -> float | None:
        """Joules of all ranks in this session for each of this one, at the last look; ``None`` where it has none."""
        return (self.agreed.spent_j - self._before_j) / self._mine.spent_j if self._mine.spent_j > 0 else None

    def after_step(self) -> bool:
        """Count a training step; true where the ranks looked."""
        self._steps += 1
        if self._steps < self._due:
            return False
        self._look(counts_time=True)
        return True

    def look(self) -> None:
        """Look, at the end of a validation. All ranks take part."""
        self._look(counts_time=False)

    def _look(self, *, counts_time: bool) -> None:
        ranks, now_ns, steps = self._ranks, self._clock(), self._steps - self._looked_at
        seconds = (now_ns - self._looked_ns) * NS
        self._looked_at, self._looked_ns = self._steps, now_ns
        self._mine = mine = self._of_this_rank()
        step_s, alone = seconds / max(steps, 1), self.is_alone
        if alone:
            self.agreed = Agreed(self._before_j + mine.spent_j, mine.power_w, mine.unknown)
        else:
            _, means = ranks.sum_all([], [mine.spent_j, mine.power_w, float(mine.unknown), step_s])
            spent_j, power_w, unknown, step_s = (mean or 0.0 for mean in means)
            n = ranks.size
            self.agreed = Agreed(self._before_j + n * spent_j, n * power_w, round(n * unknown))
        if counts_time:
            self._step_s = step_s
        spent_j, power_w, _ = self.agreed
        if alone:  # a validation, or waiting for data, takes less than the steps that follow
            power_w = self._most_w = max(self._most_w, power_w)
        self._every = self.budget.steps_to_look(spent_j, power_w, self._step_s, self._every, is_alone=alone)
        self._due = self._steps + self._every

    def spent_j(self) -> float:
        """Joules of the run up to now, as far as this rank knows without the others: their power is taken to go on."""
        mine_j = self._before_j + self._of_this_rank().spent_j
        if self.is_alone:
            return mine_j
        others_j = self.agreed.spent_j - self._before_j - self._mine.spent_j
        others_w = max(self.agreed.power_w - self._mine.power_w, 0.0)
        return mine_j + others_j + others_w * (self._clock() - self._looked_ns) * NS

    def _of_this_rank(self) -> Spending:
        """This rank's joules; whatever fails here, it takes part in the reduction that follows."""
        try:
            return self._now()
        except Exception as error:
            if raised_by_handler(error):
                raise
            return Spending(self._mine.spent_j, 0.0, 1)
