"""One rule on one finished training: where it would have stopped, what that keeps, and what it saves."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lightning_energy.scores.stopping import ends_by_patience, ends_by_price, point_kwh, reached, validations_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_energy.scores.metric import Mode

__all__ = ["LastPoint", "Played", "Replay", "Rule", "RuleKind", "Seen", "Total", "last_point", "replay", "signed"]

RuleKind = Literal["metric", "score", "best", "efficiency", "budget"]
"""The kinds of rules: EarlyStopping on the metric or on the score, a stop in the epoch of the best score,
EnergyEfficiencyStopping, EnergyBudget."""

WHOLE_FROM = 0.1  # share from which percents are written without decimals
IN_SINGLE = 1e-6  # relative rounding of a metric that was computed in single precision


class Total(NamedTuple):
    """The energy of a training up to the end of an epoch.

    Attributes:
        epoch: the epoch, counted from 0.
        kwh: energy in kWh; ``None`` unknown.
        u_kwh: absolute standard uncertainty of it; ``None`` unknown.
    """

    epoch: int
    kwh: float | None
    u_kwh: float | None = None


class Seen(NamedTuple):
    """A validation of a training that is played again.

    Attributes:
        epoch: its epoch, counted from 0.
        value: the metric; percentages as fractions.
        kwh: energy of the training up to the end of the epoch in kWh; ``None`` unknown.
        u_kwh: absolute standard uncertainty of ``kwh``; ``None`` unknown.
        logged_kwh: the energy that was known when the validation ended, by which callbacks decide; ``None`` unknown.
        is_lost: its epoch was trained again from an earlier checkpoint, whose stoppings know nothing of it.
    """

    epoch: int
    value: float
    kwh: float | None
    u_kwh: float | None = None
    logged_kwh: float | None = None
    is_lost: bool = False

    @property
    def then_kwh(self) -> float | None:
        """The energy by which a callback decided then."""
        return self.kwh if self.logged_kwh is None else self.logged_kwh


@dataclass(frozen=True)
class Played:
    """A training that is played again.

    Attributes:
        mode: the better direction of its metric.
        course: its validations, in the order of time.
        kwh: energy up to the end of its last epoch in kWh; ``None`` unknown.
        u_kwh: absolute standard uncertainty of it; ``None`` unknown.
        gain_u: relative standard uncertainty of the gain of its sensors, which all of its energies share; ``None``
            where they do not share it.
        is_estimated: its energies are those of a model: nobody knows how sure a difference or a share of them is.
        totals: its energy up to the end of each epoch, validated or not; empty where that of the course is all.
        broke: the first epoch whose validation had a value that was not finite; ``None`` without one.
        before: the number of validations of the course before that one.
    """

    mode: Mode
    course: Sequence[Seen]
    kwh: float | None
    u_kwh: float | None = None
    gain_u: float | None = None
    is_estimated: bool = False
    totals: Sequence[Total] = ()
    broke: Total | None = None
    before: int = 0

    @property
    def epochs(self) -> Sequence[Total]:
        """Its energy up to the end of each epoch."""
        return self.totals or [Total(s.epoch, s.kwh, s.u_kwh) for s in self.course]

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.mode == "max" else -1

    def best_of(self, n: int) -> Seen | None:
        """The best of the first validations; the first of equals."""
        return max(self.course[:n], key=lambda seen: self.sign * seen.value, default=None)

    def mean_point_kwh(self, point: float) -> float | None:
        """The kWh that a point cost from the first validation to the last; ``None`` where it brought none."""
        so_far = reached((s.value for s in self.course), (s.kwh for s in self.course), self.mode)
        kwh = point_kwh(so_far, window=len(so_far) - 1, point=point) if len(so_far) > 1 else None
        return kwh if kwh is not None and 0 < kwh < math.inf else None


@dataclass(frozen=True)
class Rule:
    """A rule that ends a training.

    Attributes:
        name: the rule in words, the same for all runs.
        kind: the kind.
        settings: its constants by their names.
        scores: the monitored score of each validation where it goes by a score; ``None`` for one without.
    """

    name: str
    kind: RuleKind
    settings: Mapping[str, float] = field(default_factory=dict)
    scores: Sequence[float | None] = field(default=(), repr=False)


@dataclass(frozen=True)
class Replay:
    """A rule on a training. What is not known is ``None``.

    Attributes:
        run: the name of the run.
        rule: the rule in words.
        kind: its kind.
        settings: its constants by their names.
        stops: false where the training goes to its end all the same.
        epoch: the epoch in which it stops, counted from 0; the last one where it does not.
        kept: the best value of the metric until then: that of a checkpoint, if one was written.
        kept_epoch: its epoch.
        last: the last value until then: that of the weights at the stop.
        points: ``kept`` against the best value of the whole training, in points: below 0 is given up.
        kwh: energy of the training up to the stop in kWh.
        u_kwh: absolute standard uncertainty (k=1) of it.
        saved_kwh: energy from the stop to the end of the last epoch.
        u_saved_kwh: absolute standard uncertainty of it.
        saved: the same as a share of the energy up to the end of the last epoch.
        u_saved: standard uncertainty of the share: without the gain of the sensors, where all of the run's energies
            share it.
    """

    run: str
    rule: str
    kind: RuleKind
    settings: Mapping[str, float]
    stops: bool
    epoch: int
    kept: float | None
    kept_epoch: int | None
    last: float | None
    points: float | None
    kwh: float | None
    u_kwh: float | None
    saved_kwh: float | None
    u_saved_kwh: float | None
    saved: float | None
    u_saved: float | None

    def sentence(self) -> str:
        """The effect of the rule, in a line.

        Example:
            >>> played = Played("max", [Seen(0, 0.5, 1.0), Seen(1, 0.75, 2.0), Seen(2, 0.75, 4.0)], 4.0)
            >>> replay("a", played, Rule("one", "metric", {"patience": 1})).sentence()
            'it goes to the end'
            >>> replay("a", played, Rule("half", "budget", {"budget_kwh": 2.0})).sentence().partition(",")[0]
            'stopping at epoch 1: no point given up'
        """
        if not self.stops:
            return "it goes to the end"
        if self.points is None:
            given = "nothing is kept, as no validation came before"
        else:
            given = f"{signed(self.points)} points" if round(self.points, 1) else "no point given up"
        saved = "the energy is not known"
        if self.saved is not None:
            u = "" if self.u_saved is None else f" ± {100 * self.u_saved:.2g} %"
            digits = int(abs(self.saved) < WHOLE_FROM)
            saved = f"{signed(-100 * self.saved, digits)} %{u} of the energy"
        return f"stopping at epoch {self.epoch}: {given}, {saved}"

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return asdict(self) | {"settings": {**self.settings}}


@dataclass(frozen=True)
class LastPoint:
    """The last point of a training, and its energy.

    Attributes:
        before: the first value within a point of the best one; that of the validation before it where there is none.
        before_epoch: its epoch, counted from 0.
        best: the best value.
        best_epoch: its epoch.
        kwh: energy from the one to the other in kWh.
        share: the same as a share of the energy up to the end of the last epoch.
        share_after: the share that was spent after the best value.
    """

    before: float
    before_epoch: int
    best: float
    best_epoch: int
    kwh: float
    share: float
    share_after: float

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types."""
        return asdict(self)


def signed(value: float, digits: int = 1) -> str:
    """A number with a sign, as people read it.

    Example:
        >>> signed(12.04), len(signed(-12.0, 0))
        ('+12.0', 3)
    """
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def last_point(played: Played, point: float) -> LastPoint | None:
    """The energy that the last point took: from the first value within a point of the best one up to the best one.

    Where the best value came at once, from further below, it is that since the validation before: no other has looked.

    Args:
        played: the training.
        point: the size of a point in the metric's unit.

    Returns:
        The point; ``None`` where the first validation was within a point of the best one, so that there is no energy
        of a whole point, or where an energy is not known.

    Example:
        >>> course = [Seen(0, 0.5, 1.0), Seen(1, 0.75, 2.0), Seen(2, 0.8125, 8.0), Seen(3, 0.75, 10.0)]
        >>> last_point(Played("max", course, 10.0), 0.0625)
        LastPoint(before=0.75, before_epoch=1, best=0.8125, best_epoch=2, kwh=6.0, share=0.6, share_after=0.2)
    """
    best = played.best_of(len(played.course))
    if best is None or not played.kwh or best.kwh is None:
        return None
    slack = IN_SINGLE * max(abs(best.value), point)
    at = next(i for i, s in enumerate(played.course) if played.sign * (best.value - s.value) <= point + slack)
    if at == 0:
        return None
    near = played.course[at - 1] if played.course[at] is best else played.course[at]
    if near.kwh is None:
        return None
    spent_kwh = best.kwh - near.kwh
    shares = spent_kwh / played.kwh, (played.kwh - best.kwh) / played.kwh
    return LastPoint(near.value, near.epoch, best.value, best.epoch, spent_kwh, *shares)


def replay(run: str, played: Played, rule: Rule, point: float = 0.01) -> Replay:
    """Play a rule on a finished training.

    Args:
        run: the name of the run.
        played: the training, with one validation at least.
        rule: the rule.
        point: the size of a point in the metric's unit.
    """
    stop = _stop(played, rule, point)
    course = played.course
    found = stop or _Stop(len(course), Total(played.epochs[-1].epoch, played.kwh, played.u_kwh))
    n, (epoch, kwh, u_kwh) = found
    kept, best = played.best_of(n), played.best_of(len(course))
    # of two zeros the one without a sign
    points = None if kept is None or best is None else played.sign * (kept.value - best.value) / point + 0.0
    return Replay(
        run, rule.name, rule.kind, rule.settings, stop is not None, epoch,
        None if kept is None else kept.value,
        None if kept is None else kept.epoch,
        course[n - 1].value if n else None,
        points, kwh, u_kwh, *_saved(played, kwh, u_kwh),
    )  # fmt: skip


class _Stop(NamedTuple):
    """A stop behind so many validations, with the energy until then."""

    validations: int
    at: Total


def _stop(played: Played, rule: Rule, point: float) -> _Stop | None:
    """The place where a rule stops; ``None``: it goes to the end."""
    course, settings = played.course, rule.settings
    if rule.kind == "budget":
        return _spent(played, settings["budget_kwh"])
    if rule.kind == "best":
        known = [(score, -i) for i, score in enumerate(rule.scores) if score is not None]
        return _behind(played, -max(known)[1] if known else None)  # the first of equals
    places = [i for i, seen in enumerate(course) if not seen.is_lost]
    looked = [course[i] for i in places]
    if rule.kind == "efficiency":
        so_far = reached((s.value for s in looked), (s.then_kwh for s in looked), played.mode)
        limit, window = settings["max_kwh_per_point"], int(settings["patience"])
        at = ends_by_price(so_far, max_kwh_per_point=limit, patience=window, point=point)
    else:
        is_score = rule.kind == "score"
        monitored = [rule.scores[i] for i in places] if is_score else [s.value for s in looked]
        mode: Mode = "max" if is_score else played.mode
        patience, min_delta = int(settings["patience"]), settings.get("min_delta", 0.0)
        at = ends_by_patience(monitored, patience=patience, min_delta=min_delta, mode=mode)
    place = None if at is None else places[at]
    if rule.kind == "metric" and played.broke is not None and (place is None or place >= played.before):
        return _unless_last(played, _Stop(played.before, played.broke))
    return _behind(played, place)


def _spent(played: Played, budget_kwh: float) -> _Stop | None:
    """The epoch in which a budget is spent, and the validations that it has room for."""
    lasts = validations_within([total.kwh for total in played.epochs], budget_kwh) is None
    at = next((i for i, total in enumerate(played.epochs) if total.kwh is not None and total.kwh >= budget_kwh), None)
    if at is None or lasts:
        return None
    spent_by = [i for i, s in enumerate(played.course) if s.kwh == budget_kwh]  # the validation that ended with it
    n = spent_by[-1] + 1 if spent_by else validations_within([s.kwh for s in played.course], budget_kwh)
    epoch, kwh, u_kwh = played.epochs[at]
    u_budget_kwh = None if not kwh or u_kwh is None else u_kwh / kwh * budget_kwh
    return _Stop(len(played.course) if n is None else n, Total(epoch, budget_kwh, u_budget_kwh))


def _behind(played: Played, place: int | None) -> _Stop | None:
    """A stop behind a validation."""
    if place is None:
        return None
    seen = played.course[place]
    return _unless_last(played, _Stop(place + 1, Total(seen.epoch, seen.kwh, seen.u_kwh)))


def _unless_last(played: Played, stop: _Stop) -> _Stop | None:
    """The same, unless nothing came after it."""
    last = played.epochs[-1]
    return None if (stop.at.epoch, stop.at.kwh) == (last.epoch, played.kwh) else stop


def _saved(
    played: Played, kwh: float | None, u_kwh: float | None
) -> tuple[float | None, float | None, float | None, float | None]:
    """The energy that a stop saves, and its share, each with its uncertainty.

    The gain of the sensors scales both energies alike: of their difference it leaves its own share, of their ratio
    nothing. The rest (the moments that no update tells) is taken as independent. Of estimates it is not known.
    """
    whole_kwh, u_whole_kwh = played.kwh, played.u_kwh
    if kwh is None or not whole_kwh:
        return None, None, None, None
    saved_kwh = whole_kwh - kwh
    if u_kwh is None or u_whole_kwh is None or (played.is_estimated and saved_kwh):
        return saved_kwh, None, saved_kwh / whole_kwh, None
    gain = played.gain_u or 0.0
    own, own_whole = (math.sqrt(max(u * u - (gain * e) ** 2, 0.0)) for u, e in ((u_kwh, kwh), (u_whole_kwh, whole_kwh)))
    if saved_kwh == 0:
        return 0.0, 0.0, 0.0, 0.0
    u_saved_kwh = math.hypot(gain * saved_kwh, own, own_whole)
    u_share = math.hypot(own, kwh / whole_kwh * own_whole) / whole_kwh
    return saved_kwh, u_saved_kwh, saved_kwh / whole_kwh, u_share
