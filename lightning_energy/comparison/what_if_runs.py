"""Finished trainings with the rules that were played on them: everything that tables and pictures are made of."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.once import standing_for
from lightning_energy.comparison.subject import Subject
from lightning_energy.results.plain import plain
from lightning_energy.scores.stopping import point_kwh, reached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.replay import LastPoint, Played, Replay
    from lightning_energy.comparison.run import Run

__all__ = ["LIMITS", "OfRule", "PlayedRun", "Replays"]

LIMITS = (
    (
        "A value that is kept is the best one until the stop. It is at hand only if a checkpoint of that epoch was "
        "written (ModelCheckpoint with the metric as its monitor); without one there is the last value."
    ),
    (
        "A learning rate schedule that depends on the length of the training (cosine, one cycle, linear decay) was "
        "that of the whole training. One that is planned for the shorter one comes down earlier, and often ends better."
    ),
    (
        "A record keeps the last validation of an epoch: with several in each, EarlyStopping sees that one alone with "
        "check_on_train_epoch_end=True; else rules would have seen the others, too."
    ),
    "One run is one draw: the epoch of a stop depends on the noise of the metric, and another seed stops elsewhere.",
)
"""The things that a replay cannot know, in sentences."""


@dataclass(frozen=True)
class PlayedRun:
    """A run, and the rules that were played on it.

    Attributes:
        run: its figures.
        played: its validations.
        replays: the effect of each rule.
        last_point: the energy of its last point; ``None`` unknown.
        caveats: facts that a reader of its figures must know, in sentences.
    """

    run: Run
    played: Played
    replays: tuple[Replay, ...]
    last_point: LastPoint | None
    caveats: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.run.name

    @cached_property
    def subject(self) -> Subject:
        """Its metric."""
        return Subject(
            self.run.metric_name or "metric", self.run.mode, "raw" if self.run.scale == "raw" else "fraction"
        )

    def prices_kwh(self, point: float, window: int) -> list[float | None]:
        """The price of a further point at each validation in kWh; infinite where nothing was gained."""
        course = self.played.course
        so_far = reached((s.value for s in course), (s.kwh for s in course), self.played.mode)
        return [point_kwh(so_far[: i + 1], window=window, point=point) for i in range(len(so_far))]


@dataclass(frozen=True)
class OfRule:
    """A rule over all runs of a metric.

    Attributes:
        rule: the rule in words.
        metric: the metric of the runs: points of different ones are not put together, nor are energies of different
            coverage or quality.
        energies: the coverage and the quality of their energies, in words.
        n: the number of runs that it was played on.
        n_stops: the number of those that it would have stopped.
        points: the median over the runs of the points that are kept or given up; ``None`` unknown.
        worst_points: the most that was given up in a run.
        saved_kwh: the energy that all of them would have saved, as far as it is known.
        saved: the same as a share of the energy of these runs.
    """

    rule: str
    metric: str
    energies: str
    n: int
    n_stops: int
    points: float | None
    worst_points: float | None
    saved_kwh: float | None
    saved: float | None


@dataclass(frozen=True)
class Replays:
    """Finished trainings, played again.

    Attributes:
        runs: the runs that were played, in the order of their files.
        problems: a sentence, with the file, for everything that could not be read: the reason and the remedy.
        cannot: the same for records that can be read, but tell too little.
        point: the size of a point in the unit of the metrics.
        window: the number of validations over which the price of a point is taken.
    """

    runs: list[PlayedRun]
    problems: list[str]
    cannot: list[str]
    point: float
    window: int

    @property
    def limits(self) -> tuple[str, ...]:
        """The things that a replay cannot know, in sentences."""
        return LIMITS if self.runs else ()

    @property
    def replays(self) -> list[Replay]:
        """The effect of each rule on each run."""
        return [found for played in self.runs for found in played.replays]

    @cached_property
    def of_rules(self) -> list[OfRule]:
        """Each rule over all runs of a metric whose energies are of one kind, each run once."""
        whole = {played.name: played.played.kwh or 0.0 for played in self.runs}
        rules: dict[tuple[str, object], list[Replay]] = {}
        names: dict[object, tuple[str, str]] = {}
        for played in self.once:
            run = played.run
            kind = (run.metric_kind, run.covers, run.quality)
            names.setdefault(kind, (played.subject.heading, f"{run.covers}, {run.quality}"))
            for found in played.replays:
                rules.setdefault((found.rule, kind), []).append(found)
        return [_of_rule(rule, *names[kind], found, whole) for (rule, kind), found in rules.items()]

    @cached_property
    def once(self) -> list[PlayedRun]:
        """The runs without copies, and without what a resumed run had left before: the records with the most energy."""
        same = standing_for(self.runs, lambda of: of.run.source.run_id, lambda of: of.run.energy_kwh)
        return [played for played, record in zip(self.runs, same, strict=True) if played is record]

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types, which have no infinity: beside each price stands whether it is infinite."""
        return {
            "point": self.point,
            "window": self.window,
            "runs": [self._plain(played) for played in self.runs],
            "rules": [vars(of) for of in self.of_rules],
            "limits": [*self.limits],
            "problems": [*self.problems],
            "cannot": [*self.cannot],
        }

    def _plain(self, of: PlayedRun) -> dict[str, Any]:
        run, played = of.run, of.played
        so_far = reached((s.value for s in played.course), (s.kwh for s in played.course), played.mode)
        prices = of.prices_kwh(self.point, self.window)
        course = [
            {
                **s._asdict(),
                "best": r.best,
                "kwh_per_point": None if kwh is None or math.isinf(kwh) else kwh,
                "is_price_infinite": kwh == math.inf,
            }
            for s, r, kwh in zip(played.course, so_far, prices, strict=True)
        ]
        plain_run: dict[str, Any] = plain(
            {
                "name": run.name,
                "path": run.path,
                "metric_name": run.metric_name,
                "mode": run.mode,
                "scale": run.scale,
                "quality": run.quality,
                "kwh": played.kwh,
                "u_kwh": played.u_kwh,
            }
        )
        return plain_run | {
            "last_point": None if of.last_point is None else of.last_point.to_plain(),
            "replays": [found.to_plain() for found in of.replays],
            "course": course,
            "caveats": [*of.caveats],
        }


def _of_rule(rule: str, metric: str, energies: str, found: Sequence[Replay], whole_kwh: dict[str, float]) -> OfRule:
    points = [replay.points for replay in found if replay.points is not None]
    known = [(replay.saved_kwh, whole_kwh[replay.run]) for replay in found if replay.saved_kwh is not None]
    saved_kwh = sum(saved for saved, _ in known) if known else None
    of_kwh = sum(kwh for _, kwh in known)
    return OfRule(
        rule,
        metric,
        energies,
        len(found),
        sum(replay.stops for replay in found),
        statistics.median(points) if points else None,
        min(points, default=None),
        saved_kwh,
        None if saved_kwh is None or not of_kwh else saved_kwh / of_kwh,
    )
