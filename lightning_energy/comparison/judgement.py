"""Runs side by side, judged: everything that tables, pictures and pages are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.configurations import (
    configurations_of,
    left_out_of_ranks,
    of_main_kind,
    plain_groups,
    with_means,
)
from lightning_energy.comparison.course import best_so_far
from lightning_energy.comparison.difference import LEVEL
from lightning_energy.comparison.pareto import iso_scores
from lightning_energy.comparison.progress import Progress, progress_of
from lightning_energy.comparison.rank_stability import Candidate, Stability, stability
from lightning_energy.results.plain import plain

if TYPE_CHECKING:
    from lightning_energy.comparison.groups import Group
    from lightning_energy.comparison.run import Run
    from lightning_energy.comparison.subject import Subject
    from lightning_energy.comparison.verdicts import Verdict
    from lightning_energy.scores.formula import Formula

__all__ = ["Judgement"]


@dataclass(frozen=True)
class Judgement:
    """Runs side by side.

    Attributes:
        runs: the runs, sorted.
        problems: a sentence, with the file, for everything that could not be compared: the reason and the remedy.
        caveats: differences between the runs that a reader must know, in sentences.
        subject: the metric that is compared, with its direction, its unit, and the epoch it is taken of.
        formula: the formula of the score, with its constants; ``None`` where the metric is no accuracy.
        sort: the column that the runs are sorted by.
        groups: the same runs in groups of one configuration, by mean energy.
        verdicts: a verdict for each pair of groups with three repeats or more.
        level: the probability that at least one of all decisions in ``verdicts`` is false, at most.
        margin: the loss of the metric that counts as none in ``verdicts``, in the unit in which it is shown.
        baseline: the group that all others are compared with in ``verdicts``; ``None``: all with all.
        apart: sentences on runs of a study that failed or are no repeats, and are in no figure; among ``caveats``, too.
    """

    runs: list[Run]
    problems: list[str]
    caveats: list[str]
    subject: Subject
    formula: Formula | None
    sort: str = "energy_kwh"
    groups: list[Group] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    level: float = LEVEL
    margin: float = 0.0
    baseline: str | None = None
    apart: tuple[str, ...] = ()

    @property
    def front(self) -> list[Run]:
        """The runs on the Pareto front by rising energy, and so from the worst to the best."""
        return sorted((r for r in self.runs if r.on_front), key=lambda r: (r.energy_kwh or 0.0, r.name))

    @property
    def drawable(self) -> list[Run]:
        """The runs that a logarithmic axis of energy can show: metric known, energy known and above 0."""
        return [r for r in self.runs if r.is_comparable and (r.energy_kwh or 0.0) > 0]

    def iso_scores(self) -> list[tuple[float, list[tuple[float, float]]]]:
        """Scores, and the points (energy in kWh, accuracy) at which they are reached; none without scores."""
        runs = self.drawable
        return iso_scores(runs, self.formula) if runs and self.formula is not None else []

    @cached_property
    def configurations(self) -> list[Group]:
        """The groups of runs of one configuration, with their means; a single run is a group of one."""
        return self.groups or configurations_of(self.runs)

    @property
    def candidates(self) -> list[Candidate]:
        """The groups of the most frequent kind that have a score, by their mean accuracy and energy."""
        if self.formula is None:
            return []
        means = [(group.name, group.metric, group.energy) for group in of_main_kind(with_means(self.configurations))]
        known = [
            Candidate(name, metric.mean, kwh.mean)
            for name, metric, kwh in means
            if metric is not None and kwh is not None
        ]
        return [candidate for candidate in known if self.formula.is_defined(candidate.energy_kwh)]

    def stability(self) -> Stability | None:
        """The order of the configurations over ranges of the score's constants; ``None`` with fewer than two."""
        found = None if self.formula is None else stability(self.candidates, self.formula)
        others, mixed = left_out_of_ranks(with_means(self.configurations))
        return None if found is None else replace(found, left_out=others + mixed, mixed=mixed)

    def progress(self, *, budget_kwh: float | None = None, floor: float | None = None) -> Progress | None:
        """The courses of the trainings; see :func:`~lightning_energy.comparison.progress.progress_of`."""
        return progress_of(self.configurations, self.subject, budget_kwh=budget_kwh, floor=floor)

    def to_plain(self) -> dict[str, Any]:
        """All of it in JSON's types; ``None`` is unknown."""
        return {
            "formula": None if self.formula is None else self.formula.to_plain(),
            "metric": self.subject.to_plain(),
            "runs": [{**run.to_plain(), "settings": plain({**run.source.settings})} for run in self.runs],
            "groups": plain_groups(self.configurations),
            "verdicts": [verdict.to_plain() for verdict in self.verdicts],
            "level": self.level,
            "margin": self.margin,
            "baseline": self.baseline,
            "front": [run.name for run in self.front],
            "iso_scores": [{"score": s, "points": [[*p] for p in points]} for s, points in self.iso_scores()],
            "courses": {r.name: [[*s] for s in best_so_far(r.source.course, r.mode)] for r in self.drawable},
            "progress": None if (progress := self.progress()) is None else progress.to_plain(),
            "stability": None if (found := self.stability()) is None else found.to_plain(),
            "caveats": [*self.caveats],
            "problems": [*self.problems],
        }
