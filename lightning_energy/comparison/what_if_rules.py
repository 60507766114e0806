"""The rules that a replay is asked for, made for each run."""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, get_args

from lightning_energy.comparison.replay import Played, Rule, RuleKind, Seen, Total, last_point, replay
from lightning_energy.comparison.what_if_runs import PlayedRun
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.monitored import is_not_finite, lost_epochs
from lightning_energy.results.readable import percent, watt_hours
from lightning_energy.results.rows import known_j
from lightning_energy.scores.choice import ScoreName
from lightning_energy.scores.formula import EnergyPenalized, Formula, Sustainable, check_positive, is_number
from lightning_energy.scores.metric import PERCENT
from lightning_energy.scores.stopping import check_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.run import Run
    from lightning_energy.results.record import Record

__all__ = ["Wanted"]

SHARES = (0.25, 0.5, 0.75)  # of a run's own energy: budgets where none is given
TIMES = {1.0: "a point for more than its mean", 10.0: "a point for more than 10 x its mean"}  # limits, the same
NO_PRICE = (
    "no rules on the price of a point: its best value did not rise after the first validation, or the energy of the "
    "first or last one is not known: give max_kwh_per_point"
)
FALLS = 0.01  # relative fall of an energy that only grows, above what later knowledge corrects
BEHIND = 0.01  # share of the energy behind the last epoch from which a caveat says so


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The rules that are asked for; :func:`~lightning_energy.whatif` documents the fields.

    Raises:
        TypeError: one is no number.
        ValueError: one is out of range.
    """

    kinds: Sequence[RuleKind]
    patiences: Sequence[int]
    min_delta: float
    score: ScoreName | None
    alphas: Sequence[float]
    beta: float | None
    references: Sequence[float]
    limits: Sequence[float] | None
    point: float
    window: int
    budgets: Sequence[float] | None

    def __post_init__(self) -> None:
        for kind in self.kinds or (None,):
            if kind not in get_args(RuleKind):
                raise ValueError(f"rules: {kind!r} is no rule: give {', '.join(map(repr, get_args(RuleKind)))}")
        for patience in self.patiences:
            check_window(patience=patience)
        check_window(window=self.window)
        if not is_number(self.min_delta):
            raise TypeError(f"min_delta={self.min_delta!r}: give a number from 0 on")
        if not 0 <= self.min_delta <= sys.float_info.max:
            raise ValueError(f"min_delta={self.min_delta!r}: give a finite number from 0 on")
        if self.score not in (None, *get_args(ScoreName)):
            names = ", ".join(map(repr, get_args(ScoreName)))
            raise ValueError(f"score={self.score!r}: give one of {names}, or omit it")
        if self.score == "sustainable" and self.references:
            raise ValueError(f"reference_kwh={self.references[0]!r} belongs to score='penalized': omit it")
        check_positive(point=self.point)
        for name, values in (
            ("alpha", self.alphas),
            ("beta", () if self.beta is None else (self.beta,)),
            ("reference_kwh", self.references),
            ("max_kwh_per_point", self.limits or ()),
            ("budget_kwh", self.budgets or ()),
        ):
            for value in values:
                check_positive(**{name: value})

    def play(self, record: Record, run: Run, own: Formula | None) -> PlayedRun:
        """Play all rules on a run."""
        played = _played(record, run)
        wanted = [*self._of_metric(), *self._of_budget(played), *self._of_price(played)]
        caveats = [*run.caveats, *_caveats(record, run, played)]
        if "efficiency" in self.kinds and self.limits is None and all(rule.kind != "efficiency" for rule in wanted):
            caveats.append(NO_PRICE)
        if {"score", "best"} & {*self.kinds}:
            of_score, why = self._of_score(record, run, own, played.course)
            wanted += of_score
            caveats += [why] if why else []
        wanted.sort(key=lambda rule: get_args(RuleKind).index(rule.kind))
        replays = [replay(run.name, played, rule, self.point) for rule in _distinct(wanted)]
        return PlayedRun(run, played, tuple(replays), last_point(played, self.point), tuple(caveats))

    def _of_metric(self) -> list[Rule]:
        if "metric" not in self.kinds:
            return []
        delta = f", min_delta={self.min_delta:g}" if self.min_delta else ""
        more = {"min_delta": float(self.min_delta)} if self.min_delta else {}
        return [
            Rule(f"EarlyStopping(metric, patience={n}{delta})", "metric", {"patience": n, **more})
            for n in self.patiences
        ]

    def _of_budget(self, played: Played) -> list[Rule]:
        if "budget" not in self.kinds:
            return []
        if self.budgets is not None:
            return [
                Rule(f"budget of {watt_hours(kwh * J_PER_KWH)}", "budget", {"budget_kwh": float(kwh)})
                for kwh in self.budgets
            ]
        whole_kwh = played.kwh or 0.0
        return [Rule(f"budget of {percent(s)} of its energy", "budget", {"budget_kwh": s * whole_kwh}) for s in SHARES]

    def _of_price(self, played: Played) -> list[Rule]:
        if "efficiency" not in self.kinds:
            return []
        over = {"patience": self.window, "point": float(self.point)}
        if self.limits is not None:
            return [
                Rule(
                    f"a point for more than {watt_hours(kwh * J_PER_KWH)}",
                    "efficiency",
                    {"max_kwh_per_point": float(kwh), **over},
                )
                for kwh in self.limits
            ]
        mean_kwh = played.mean_point_kwh(self.point)
        if mean_kwh is None:
            return []
        return [Rule(name, "efficiency", {"max_kwh_per_point": n * mean_kwh, **over}) for n, name in TIMES.items()]

    def _of_score(
        self, record: Record, run: Run, own: Formula | None, course: Sequence[Seen]
    ) -> tuple[list[Rule], str]:
        """The rules on scores, or the reason why there is none."""
        is_asked = self.score is not None or self.alphas or self.references or self.beta is not None
        rows = [row for row in record.epochs if row.metric is not None]
        if not is_asked and own is None and any(row.score is not None for row in rows):
            name = record.score.formula if record.score is not None else "score"
            return self._rules(name, {}, [row.score for row in rows]), ""
        if run.mode == "min" or run.scale == "raw":
            return [], f"no rules on a score: {run.metric_name} is no accuracy, and scores are made of these"
        begin = {"sustainable": Sustainable(), "penalized": EnergyPenalized()}.get(self.score or "")
        if begin is not None and type(begin) is type(own):
            begin = own
        formula = begin or own or EnergyPenalized()
        if self.references and "reference_kwh" not in formula.constants:
            formula = EnergyPenalized(formula.alpha, formula.beta)
        rules: list[Rule] = []
        for alpha in self.alphas or (formula.alpha,):
            for reference_kwh in self.references or (formula.constants.get("reference_kwh"),):
                constants = {"alpha": float(alpha), "beta": float(self.beta or formula.beta)}
                if reference_kwh is not None:
                    constants["reference_kwh"] = float(reference_kwh)
                changed = replace(formula, **constants)
                scores = [_score(changed, seen) for seen in course]
                if any(score is not None for score in scores):
                    name = "score" if changed == own else _short(changed, own or formula)
                    rules += self._rules(name, changed.constants, scores)
        if not rules:
            return [], f"no rules on a score: {formula.name} is defined above {formula.above_kwh or 0:g} kWh only"
        return rules, ""

    def _rules(self, name: str, constants: dict[str, float], scores: Sequence[float | None]) -> list[Rule]:
        stops = [
            Rule(f"EarlyStopping({name}, patience={n})", "score", {"patience": n, **constants}, scores)
            for n in self.patiences
        ]
        best = Rule(f"best {name}", "best", constants, scores)
        return [*(stops if "score" in self.kinds else []), *([best] if "best" in self.kinds else [])]


def _distinct(rules: Sequence[Rule]) -> list[Rule]:
    """The same, where constants are too much alike for a short name with the constants themselves."""
    names = Counter(rule.name for rule in rules)
    found = []
    for rule in rules:
        others = [other.settings for other in rules if other.name == rule.name]
        differ = [f"{k}={v!r}" for k, v in rule.settings.items() if any(other.get(k) != v for other in others)]
        alike = names[rule.name] > 1 and differ
        found.append(replace(rule, name=f"{rule.name} ({', '.join(differ)})") if alike else rule)
    return found


def _short(formula: Formula, own: Formula) -> str:
    """A score with the constants that differ from those it was trained with."""
    if type(formula) is not type(own):
        return str(formula)
    changed = [f"{k}={v:g}" for k, v in formula.constants.items() if v != own.constants[k]]
    return f"score({', '.join(changed)})" if changed else "score"


def _score(formula: Formula, seen: Seen) -> float | None:
    """The score of a validation; ``None`` where it is not defined."""
    if seen.then_kwh is None:
        return None
    score = formula(seen.value, seen.then_kwh)
    return score if math.isfinite(score) else None


def _gain(run: Run) -> float | None:
    """The relative uncertainty of the gain that all energies of a run share; ``None`` where they share none."""
    u, repeat, kwh = run.u_kwh, run.u_repeat_kwh, run.energy_kwh
    if not run.source.sensors or u is None or repeat is None or not kwh:
        return None
    return math.sqrt(max(u * u - repeat * repeat, 0.0)) / kwh


def _played(record: Record, run: Run) -> Played:
    """The training of a record, as rules are played on it."""
    divisor = PERCENT if run.scale == "percent" else 1.0
    rows = record.epochs
    lost = lost_epochs(rows)
    course = [
        Seen(r.epoch, r.metric / divisor, r.total_kwh, r.total_u_kwh, known_j(r.logged_total_kwh), is_lost)
        for r, is_lost in zip(rows, lost, strict=True)
        if r.metric is not None
    ]
    totals = [Total(row.epoch, row.total_kwh, row.total_u_kwh) for row in rows]
    last = next(total for total in reversed(totals) if total.kwh is not None)
    broke = next((i for i, r in enumerate(rows) if is_not_finite(r) and not lost[i]), None)
    return Played(
        run.mode, course, last.kwh, last.u_kwh, _gain(run), run.quality == "estimated", totals,
        broke=None if broke is None else totals[broke],
        before=0 if broke is None else sum(row.metric is not None for row in rows[:broke]),
    )  # fmt: skip


def _caveats(record: Record, run: Run, played: Played) -> list[str]:
    found = []
    if run.quality == "estimated":
        found.append("its energies are estimated by a model, not measured: how sure these savings are is not known")
    known = [total.kwh for total in played.epochs if total.kwh is not None]
    if any(later < (1 - FALLS) * earlier for earlier, later in pairwise([*known, run.energy_kwh or math.inf])):
        found.append("its energy falls from one epoch to the next, or to its end: its record contradicts itself, and "
                     "none of these figures is sure")  # fmt: skip
    behind_kwh = (run.energy_kwh or 0.0) - (played.kwh or 0.0)
    if played.kwh and behind_kwh > BEHIND * played.kwh:
        last_known = next(total.epoch for total in reversed(played.epochs) if total.kwh is not None)
        last = "its last epoch"
        if last_known != played.epochs[-1].epoch:
            last = f"epoch {last_known}, the last one up to which the energy is known,"
        found.append(
            f"{watt_hours(behind_kwh * J_PER_KWH)}, {percent(behind_kwh / played.kwh)} more, were spent after {last} "
            f"and are in none of these figures"
        )
    if len({row.session for row in record.epochs}) > 1:
        again = sum(seen.is_lost for seen in played.course)
        count = "" if not again else (
            f", so that of the {again} epochs that were trained again the first trainings do not count for it"
        )  # fmt: skip
        found.append(
            f"it was resumed: the replay supposes that a stopping went on from the state in its checkpoint{count}"
        )
    unknown = sum(seen.kwh is None for seen in played.course)
    if unknown:
        found.append(f"the energy up to {unknown} of {len(played.course)} validations is not known: rules by energy "
                     f"pass over them")  # fmt: skip
    return found
