"""The words for a budget: in the unit in which it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.meters.units import J_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import Trainer

    from lightning_energy.results.forecast import Forecast
    from lightning_energy.scores.budget_rule import Budget

__all__ = ["BudgetWords", "lower_limits"]


class BudgetWords(NamedTuple):
    """The words for a budget.

    Attributes:
        budget: the budget.
        argument: the argument that it was given by: ``max_kwh`` or ``max_j``.

    Example:
        >>> from lightning_energy.scores.budget_rule import Budget
        >>> print(BudgetWords(Budget.of(max_kwh=1.5, reserve_kwh=0.1), "max_kwh"))
        the budget of 1.5 kWh with a reserve of 0.1 kWh
        >>> BudgetWords(Budget.of(max_j=20.0), "max_j").spent(20.5)
        '20.5 J of the budget of 20 J were spent'
    """

    budget: Budget
    argument: str

    @property
    def unit_j(self) -> float:
        """Joules of the unit."""
        return J_PER_KWH if self.argument == "max_kwh" else 1.0

    def amount(self, energy_j: float, digits: int = 4) -> str:
        """An energy with its unit."""
        return f"{energy_j / self.unit_j:.{digits}g} {'kWh' if self.argument == 'max_kwh' else 'J'}"

    def __str__(self) -> str:
        """The budget, with its reserve."""
        reserve_j = self.budget.reserve_j
        reserve = f" with a reserve of {self.amount(reserve_j)}" if reserve_j else ""
        return f"the budget of {self.amount(self.budget.limit_j)}{reserve}"

    def spent(self, energy_j: float) -> str:
        """The energy that was spent of the budget."""
        return f"{self.amount(energy_j)} of {self} were spent"

    def spent_before(self, energy_j: float, *, of_search: bool) -> str:
        """The energy that was spent of the budget before a training; ``of_search``: by a Tuner's search alone."""
        by = "a search of a Tuner before this training" if of_search else "earlier sessions"
        return f"{self.spent(energy_j)} by {by}"

    def what_follows(self, least: Sequence[str], *, stops: bool) -> str:
        """The consequence for a training that goes on with a budget that is spent.

        Args:
            least: the lower limits of the Trainer that it has not reached yet.
            stops: whether the budget ends trainings.
        """
        if not stops:
            return "the training goes on, as on_exceed='warn'"
        when = (
            f"when {' and '.join(least)} of the Trainer {'is' if len(least) == 1 else 'are'} reached" if least else ""
        )
        return f"the training ends {when or 'at once'}. Give a greater {self.argument} to go on"

    def will_not_last(self, found: Forecast, epoch: int) -> str:
        """The warning of a budget that will be spent in an epoch, counted from 0, by a forecast."""
        _, low, high = found.energy_j.scaled(1 / self.unit_j)
        expected, lasts, unless = f"{self.amount(found.energy_j.value, 3)} ({low:.3g} to {high:.3g})", "will", ""
        if found.is_at_most:
            expected, lasts = f"at most {self.amount(found.energy_j.high, 3)}", "may"
            unless = ", unless a callback stops the training before"
        return (
            f"{self} {lasts} not last: {expected} are forecast by {found.limit}, and it will be spent in about epoch "
            f"{epoch}, counted from 0{unless}"
        )


def lower_limits(trainer: Trainer) -> list[str]:
    """Lightning's own lower limits of a training that it has not reached yet, such as ``min_epochs=2``.

    Beside ``min_steps`` Lightning sets ``min_epochs=1`` by itself.
    """
    loop = trainer.fit_loop
    epochs, steps = loop.min_epochs or 0, loop.min_steps or 0
    if steps and epochs == 1:
        epochs = 0
    limits = {"min_epochs": (epochs, trainer.current_epoch), "min_steps": (steps, trainer.global_step)}
    return [f"{name}={least}" for name, (least, done) in limits.items() if done < least]
