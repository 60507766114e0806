"""The trainings' way to their metric: courses of configurations, areas under them, and energies to reach targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.configurations import of_main_kind
from lightning_energy.comparison.course import (
    Band,
    area,
    band,
    best_so_far,
    common_budget_kwh,
    hypervolume,
    worst_value,
)
from lightning_energy.comparison.rank_stability import alike_words
from lightning_energy.comparison.target_table import result_of
from lightning_energy.comparison.to_target import OfRuns, of_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import Group
    from lightning_energy.comparison.subject import Subject

__all__ = ["OfConfiguration", "Progress", "progress_of"]


@dataclass(frozen=True)
class OfConfiguration:
    """The progress of one configuration.

    Attributes:
        name: its name.
        n: the number of its runs.
        band: the best value so far of its runs; ``None`` where the epochs of one do not tell it.
        area: mean of the areas between the runs' best values so far and the floor up to the common budget, in kWh times
            the metric's unit; ``None`` where the epochs of a run do not tell it.
        mean_best: the same as the mean of the best value at hand while the budget is spent.
        targets: the energies to reach each target.
    """

    name: str
    n: int
    band: Band | None
    area: float | None
    mean_best: float | None
    targets: tuple[OfRuns, ...]


@dataclass(frozen=True)
class Progress:
    """The progress of all configurations, with one reference point.

    Attributes:
        subject: the metric.
        budget_kwh: the common budget in kWh.
        floor: the value that counts as nothing.
        hypervolume: the area that all validations together dominate, in kWh times the metric's unit; of groups that
            may not be set against each other, those of the most frequent kind.
        configurations: the configurations.
        point: reference point of the hypervolume: the energy in kWh and the metric. They are the budget and the floor,
            of these groups alone.
        left_out: number of groups that are not in the hypervolume.
    """

    subject: Subject
    budget_kwh: float
    floor: float
    hypervolume: float
    configurations: tuple[OfConfiguration, ...]
    point: tuple[float, float]
    left_out: int = 0

    def sentence(self) -> str:
        """The hypervolume with its reference point, in words."""
        heading = self.subject.heading
        budget_kwh, floor = self.point
        value = self.subject.show(_mean_best(self.hypervolume, budget_kwh, floor, self.subject))
        n = len(self.configurations) - self.left_out
        whose = f"the validations of {alike_words(n, self.left_out)}" if self.left_out else "all validations"
        return (
            f"Hypervolume of {whose}: {self.hypervolume:.4g} kWh times {heading} (reference point: "
            f"{budget_kwh:.4g} kWh and {heading} {floor:g}); the best of all runs at each energy "
            f"averages {value} up to it."
        )

    def mean_best(self, size: float) -> float:
        """The mean of the best value at hand that belongs to an area."""
        return _mean_best(size, self.budget_kwh, self.floor, self.subject)

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types, without the bands."""
        return {
            "budget_kwh": self.budget_kwh,
            "floor": self.floor,
            "hypervolume": self.hypervolume,
            "hypervolume_point": [*self.point],
            "configurations": [
                {
                    "name": of.name,
                    "n": of.n,
                    "area": of.area,
                    "mean_best": of.mean_best,
                    "targets": [found.to_plain() for found in of.targets],
                }
                for of in self.configurations
            ],
        }


def progress_of(
    groups: Sequence[Group], subject: Subject, *, budget_kwh: float | None = None, floor: float | None = None
) -> Progress | None:
    """Sum up the courses of a comparison's trainings.

    Args:
        groups: the configurations.
        subject: the metric.
        budget_kwh: the common budget, above 0; by default the energy of the longest course.
        floor: the value that counts as nothing; by default 0 for accuracies, else the worst that any run had.

    Returns:
        The progress; ``None`` where no record has an epoch with a value and its energy.

    Raises:
        ValueError: the budget is not above 0.
    """
    alike = of_main_kind(groups)
    whole, point = (_reference(of, subject, budget_kwh, floor) for of in (groups, alike))
    if whole is None:
        return None
    point = point or whole
    points = [step for g in alike for run in g.all_runs for step in best_so_far(run.source.course, subject.mode)]
    size = hypervolume(points, *point, subject.mode)
    empty = Progress(subject, *whole, size, (), point, len(groups) - len(alike))
    return replace(empty, configurations=tuple(_of(group, empty) for group in groups))


def _reference(
    groups: Sequence[Group], subject: Subject, budget_kwh: float | None, floor: float | None
) -> tuple[float, float] | None:
    """The budget and the floor, where they are not given those of the groups' courses; ``None`` without a course."""
    courses = [run.source.course for group in groups for run in group.all_runs]
    if budget_kwh is None:
        budget_kwh = common_budget_kwh(courses)
    if floor is None:
        floor = 0.0 if subject.is_accuracy else worst_value(courses, subject.mode)
    return (budget_kwh, floor) if budget_kwh and floor is not None else None


def _mean_best(size: float, budget_kwh: float, floor: float, subject: Subject) -> float:
    return floor + (1 if subject.mode == "max" else -1) * size / budget_kwh


def _of(group: Group, whole: Progress) -> OfConfiguration:
    mode = whole.subject.mode
    courses = [run.source.course for run in group.runs]
    found = band(courses, mode)
    size = None if found is None else sum(area(c, whole.budget_kwh, whole.floor, mode) for c in courses) / len(courses)
    results = (
        of_runs([result_of(run, target) for run in group.all_runs], target=target, budget_kwh=whole.budget_kwh)
        for target in whole.subject.targets
    )
    return OfConfiguration(
        group.name,
        group.n,
        found,
        size,
        None if size is None else whole.mean_best(size),
        tuple(of for of in results if of is not None),
    )
