"""The trainings' way to their metric: courses of configurations, areas under them, and energies to reach targets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.configurations import of_one_kind, with_means
from lightning_energy.comparison.course import (
    Band,
    area,
    band,
    best_so_far,
    common_budget_kwh,
    hypervolume,
    worst_value,
)
from lightning_energy.comparison.target_table import result_of
from lightning_energy.comparison.to_target import OfRuns, of_runs
from lightning_energy.results.prefixes import significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import Group
    from lightning_energy.comparison.run import Run
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
        budget_kwh: the common budget in kWh, up to which areas and restricted means are taken.
        floor: the value that counts as nothing.
        hypervolume: the area that all validations together dominate, also those of runs that were cut off or diverged,
            in kWh times the metric's unit; of runs that may not be set against each other, those of the most frequent
            kind.
        reference: energy in kWh and metric of its reference point: ``budget_kwh`` and ``floor``, of the same groups.
        left_out: number of configurations of which a run of another kind is not in it.
        configurations: the configurations.
    """

    subject: Subject
    budget_kwh: float
    floor: float
    hypervolume: float
    reference: tuple[float, float]
    left_out: int
    configurations: tuple[OfConfiguration, ...]

    def sentence(self) -> str:
        """The hypervolume with its reference point, in words."""
        heading, (kwh, floor) = self.subject.heading, self.reference
        value = self.subject.show(self._mean(self.hypervolume, kwh, floor))
        of, runs = "all validations", "all"
        if self.left_out:
            kinds = "1 of another kind is" if self.left_out == 1 else f"{self.left_out} of other kinds are"
            of, runs = f"the configurations that may be set against each other ({kinds} left out)", "their"
        return (
            f"Hypervolume of {of}: {significant(self.hypervolume, 4)} kWh times {heading} (reference point: "
            f"{significant(kwh, 4)} kWh and {heading} {floor:g}); the best of {runs} runs at each energy averages "
            f"{value} up to it, where {floor:g} counts until the first validation."
        )

    def mean_best(self, size: float) -> float:
        """The mean of the best value at hand that belongs to an area up to the common budget."""
        return self._mean(size, self.budget_kwh, self.floor)

    def _mean(self, size: float, kwh: float, floor: float) -> float:
        return floor + (1 if self.subject.mode == "max" else -1) * size / kwh

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types, without the bands."""
        return {
            "budget_kwh": self.budget_kwh,
            "floor": self.floor,
            "hypervolume": self.hypervolume,
            "hypervolume_reference": [*self.reference],
            "left_out_of_hypervolume": self.left_out,
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
    every = [run for group in groups for run in group.all_runs if run.source.course]
    alike = _alike(every, groups)
    whole, reference = (_reference(of, subject, budget_kwh, floor) for of in (every, alike))
    if whole is None:
        return None
    points = [step for run in alike for step in best_so_far(run.source.course, subject.mode)]
    size = 0.0 if reference is None else hypervolume(points, *reference, subject.mode)
    chosen = {run.name for run in alike}
    left_out = sum(any(r.source.course and r.name not in chosen for r in group.all_runs) for group in groups)
    empty = Progress(subject, *whole, size, reference or whole, left_out, ())
    return replace(empty, configurations=tuple(_of(group, empty) for group in groups))


def _alike(runs: Sequence[Run], groups: Sequence[Group]) -> list[Run]:
    """The runs of the most frequent kind of configurations, also those that were cut off or diverged."""
    known = with_means(groups)
    main = of_one_kind(known)  # runs are set against each other, however they are mixed in groups
    names = {group.name for group in main}
    others = {run.name for group in known if group.name not in names for run in group.all_runs}
    ended = [run for group in main for run in group.runs]
    if not ended:
        kinds = Counter(run.kind for run in runs if run.kind is not None).most_common(1)
        ended = [run for run in runs if kinds and run.kind == kinds[0][0]]
    kinds_, likenesses = {run.kind for run in ended}, {run.likeness for run in ended if run.source.sensors}
    numbers = {run.metric_n for run in ended} | {None}
    return [
        run
        for run in runs
        if run.name not in others
        and (run.kind in kinds_ if run.is_comparable else run.likeness in likenesses and run.metric_n in numbers)
    ]


def _reference(
    runs: Sequence[Run], subject: Subject, budget_kwh: float | None, floor: float | None
) -> tuple[float, float] | None:
    """The energy and the metric of the reference point of some runs; ``None`` where none is known."""
    courses = [run.source.course for run in runs]
    if budget_kwh is None:
        budget_kwh = common_budget_kwh(courses)
    if floor is None:
        floor = 0.0 if subject.is_accuracy else worst_value(courses, subject.mode)
    return (budget_kwh, floor) if budget_kwh and floor is not None else None


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
