"""The rules of a verdict, one function each, and the list of them. Each is silent where the run does not know.

A rule returns the joules that its change would have saved in this run, all else equal; the reason why it cannot look;
or ``None`` where there is nothing to look at. :mod:`~lightning_energy.results.verdict.judge` decides which are listed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.ledger.accounts import SAVING
from lightning_energy.ledger.phases import DATA, PhaseEnergy
from lightning_energy.ledger.uncertainty import SQRT3
from lightning_energy.meters.base import BOARDS
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.monitored import Monitored, monitored, why_not_monitored
from lightning_energy.results.readable import duration, percent, si
from lightning_energy.results.verdict.by_trial import batch_by_trial, precision_by_trial
from lightning_energy.results.verdict.evidence import NO_BOARD, PROFILE_U, TRAIN, Evidence, gain_of
from lightning_energy.results.verdict.late_rank import slower_ranks
from lightning_energy.results.verdict.saving import Blind, Stake
from lightning_energy.scores.stopping import ends_by_patience

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.scores.metric import Mode

__all__ = ["RULES", "Rule"]

READY_S = 0.002
"""Seconds that taking a batch is supposed to take at most that workers have ready. The fastest of eleven took 1.1 to
2.5 ms for 8 kB to 19 MB on two cores that others kept busy. What remains of a wait is anything up to that (a
rectangular distribution, GUM 4.3.7)."""
MOST_WAITS = 0.9
"""Part of all waits from which those for the first batches of epochs are nearly all of them."""
PATIENCE = 3
"""Validations that a stop waits at least for a better one: the default of Lightning's ``EarlyStopping``."""
FEWEST_VALIDATIONS = 2
LOW_POWER = 0.4
"""Part of the power limit below which steps leave a board mostly idle. It is a limit of caution: work that is bound by
memory keeps a board busy at half of its limit, and no larger batch would make that less."""
TWICE = 0.5  # part of the steps that is saved by twice the batch
FULL = ("32", "64")  # beginnings of the names of full precisions
BESIDE = "give the record of a short run with another batch size (--beside)"
BESIDE_PRECISION = 'give the record of a short run with precision="bf16-mixed" (--beside)'


def waiting(run: Evidence) -> Stake | Blind | None:
    """Joules that boards drew while there was no batch, but for the time that taking a ready one takes.

    Without the wait all other phases stay as they are.
    """
    phase = run.phase(DATA) if run.has_boards else NO_BOARD
    if not isinstance(phase, PhaseEnergy):
        return phase
    first = _first_waits(run)
    seen = run.seen(phase) if first is None else run.seen_for(phase, first.each_s)
    amount = seen or run.on_boards(phase)
    if isinstance(amount, Blind):
        return amount
    time_s, steps, train = phase.energy.duration_s, run.report.steps, run.report.stages[TRAIN]
    n, part, unlike, each = steps, 1.0, 0.0, f"{si(time_s / steps, 's', digits=2)} a step"
    next_step = "give the DataLoader more workers (num_workers), pinned memory or larger files"
    if first is not None:
        n, part, unlike = first.n, first.part, first.rest
        each = f"{percent(1 - unlike)} of it at the beginning of {n} epochs, which start {first.workers} workers anew"
        next_step = f"keep the workers from epoch to epoch (persistent_workers=True), or {next_step}"
    ready_j = amount.energy_j * min(READY_S * n / time_s, 1.0)  # at most
    power, whole = si(amount.energy_j / time_s, "W", digits=3), duration(train.duration_s)
    because = f"{duration(time_s)} of {whole} of training{run.in_session}, {each}, at {power} without a batch"
    u_j = math.hypot(amount.u_j, ready_j / 2 / SQRT3, PROFILE_U * amount.energy_j, unlike * amount.energy_j)
    return Stake(part * (amount.energy_j - ready_j / 2), part * u_j, because, next_step)


class _First(NamedTuple):
    """Waits at the beginnings of epochs whose workers start anew.

    Attributes:
        n: their number.
        each_s: the seconds of each.
        part: the part of all waits that those of all epochs but the first are: these need not start workers.
        rest: the part of all waits that none of them is.
        workers: the number of workers.
    """

    n: int
    each_s: float
    part: float
    rest: float
    workers: int


def _first_waits(run: Evidence) -> _First | None:
    """The waits at the beginnings of epochs, where these are nearly all waits and workers start anew in each.

    Workers that start anew are one cause of such a wait, and a batch that takes long to load another.
    """
    report, waits, workers = run.report, run.report.first_waits, run.what.get("num_workers")
    if waits is None or not report.steps or not workers or run.what.get("persistent_workers") is not False:
        return None
    phases = report.phases_by_rank[0] if report.phases_by_rank else report.phases.get(TRAIN, ())
    all_s = math.fsum(phase.energy.duration_s for phase in phases if phase.name == DATA)
    if waits.n <= 1 or not all_s or waits.duration_s < MOST_WAITS * all_s:
        return None
    rest = max(1 - waits.duration_s / all_s, 0.0)
    part = min((waits.duration_s - waits.first_s) / all_s, 1.0)
    return _First(waits.n, waits.duration_s / waits.n, part, rest, workers)


def validation(run: Evidence) -> Stake | Blind | None:
    """Joules of every second epoch's validation.

    Whatever the first one costs more than the second, the second may cost without it, if it is for what is done once:
    the saving is that without it, and all of it is a limit of its error.
    """
    validated = [row for row in run.epochs if row.val_s]
    if len(validated) < FEWEST_VALIDATIONS:
        return None
    if any(row.val_j is None or row.val_u_j is None or row.missing_s for row in validated):
        return Blind("the energy of some validation is not known")
    first = min(validated[:2], key=lambda row: row.val_j or 0.0)
    dropped = [first, *validated[2::2]]  # the second, fourth … stay, as Lightning counts
    energy_j = math.fsum(row.val_j or 0.0 for row in dropped)
    once_j = (validated[0].val_j or 0.0) - (first.val_j or 0.0)
    u_j = math.hypot(*(row.val_u_j or 0.0 for row in dropped), gain_of(run.whole) * energy_j, once_j / SQRT3)
    all_j = math.fsum(row.val_j or 0.0 for row in validated)
    because = (
        f"{len(validated)} epochs were validated, for {percent(all_j / (run.whole.energy_j or 1.0))} of the energy"
    )
    return Stake(
        energy_j,
        u_j,
        because,
        "validate half as often: check_val_every_n_epoch (or val_check_interval) twice as large, or a part of the data",
    )


def stopping(run: Evidence) -> Stake | Blind | None:
    """Joules after the validation at which ``EarlyStopping`` would have ended with the same best epoch.

    Its patience is the smallest, from :data:`PATIENCE` on, that waits for that best epoch.
    """
    report, epochs = run.report, run.epochs
    if report.metric is None:
        return Blind("it has no metric of quality", 'name one: EnergyCallback(metric="val/…")')
    if report.best is None:
        return Blind("none of its epochs has a value of its metric")
    by_score = report.best.score is not None
    mode: Mode = "max" if by_score else report.metric.mode
    found = monitored(epochs, by_score=by_score)
    if why := why_not_monitored(epochs, by_score=by_score) or _loses_best(run, found, mode, report.best.epoch):
        return Blind(why)
    patience = max(PATIENCE, _longest_wait(found.values, mode) + 1)
    end = ends_by_patience(found.values, patience=patience, mode=mode)
    if end is None or end == len(epochs) - 1:
        return None
    row, later = epochs[end], epochs[end + 1 :]
    if row.total_kwh is None or any(r.train_u_j is None or r.missing_s for r in later):
        return Blind("the energy up to some epoch is not known")
    energy_j = max((run.whole.energy_j or 0.0) - row.total_kwh * J_PER_KWH, 0.0)
    us_j = [u_j for r in later for u_j in (r.train_u_j or 0.0, r.val_u_j or 0.0)]
    monitor = "energy/score" if by_score else report.metric.name
    because = f"epoch {report.best.epoch} is the best; the run went on to epoch {epochs[-1].epoch}"
    arguments = ", ".join(filter(None, (f'"{monitor}"', f'mode="{mode}"', f"patience={patience}", found.argument)))
    ends = f"EarlyStopping({arguments}) ends in epoch {row.epoch}"
    next_step = f"stop sooner: {ends}; `lightning-energy whatif` replays others"
    return Stake(energy_j, math.hypot(*us_j, gain_of(run.whole) * energy_j), because, next_step)


def _loses_best(run: Evidence, found: Monitored, mode: Mode, epoch: int) -> str:
    """The reason why no stopping keeps the best epoch; empty where one can."""
    best, rows = found.best(mode), run.epochs
    if best is None or rows[best].epoch != epoch:
        return "its best epoch was trained again in a later session"
    broke = next(
        (row for row, v in zip(rows, found.values[:best], strict=False) if v is not None and math.isnan(v)), None
    )
    if broke is None:
        return ""
    return f"in epoch {broke.epoch} {broke.no_metric}: EarlyStopping ends before the best one"


def _longest_wait(values: Sequence[float | None], mode: Mode) -> int:
    """The largest number of values without a better one before the best."""
    best, waited, longest = -math.inf, 0, 0
    for value in values:
        if value is None or math.isnan(value):
            continue
        signed = value if mode == "max" else -value
        if signed > best:
            best, waited, longest = signed, 0, max(longest, waited)
        else:
            waited += 1
    return longest


def small_batch(run: Evidence) -> Stake | Blind | None:
    """Idle joules of half of the steps, where boards run far below their limit.

    A batch of twice the size saves so much if a step of it takes no longer, and its samples as many joules above idle.
    With a run beside it that has another batch size, it is the difference that was measured.
    """
    if run.beside is not None and (found := batch_by_trial(run, run.beside)) is not None:
        return found
    report, steps = run.report, _steps(run)
    if not isinstance(steps, _Steps) or steps.power_w >= LOW_POWER * steps.limit_w:
        return steps if isinstance(steps, Blind) else None
    session = report.session
    if report.above_idle_j is None or report.above_idle_u is None or not session.energy_j or not session.duration_s:
        return Blind("the idle power of its boards is not known", f"train with EnergyCallback(idle_s=10), or {BESIDE}")
    part = TWICE * steps.seconds_s / session.duration_s
    idle_j = session.energy_j - report.above_idle_j
    u_j = math.sqrt(max(report.above_idle_u.u_j**2 - session.u_j**2, 0.0))
    drew, limit = si(steps.power_w, "W", digits=3), si(steps.limit_w, "W", digits=3)
    idle = si(idle_j / session.duration_s, "W", digits=3)
    because = f"steps drew {drew} of a limit of {limit}{run.in_session}; idle boards {idle}"
    next_step = "double the batch size: it saves so much if a step of it takes no longer; a short run of it tells"
    return Stake(part * idle_j, part * math.hypot(u_j, gain_of(session) * idle_j), because, next_step)


class _Steps(NamedTuple):
    """The steps of a training on boards alone."""

    seconds_s: float
    power_w: float
    limit_w: float


def _steps(run: Evidence) -> _Steps | Blind | None:
    report, train = run.report, run.report.stages.get(TRAIN)
    boards = [d for d in report.devices if d.scope in BOARDS]
    if not boards or train is None or train.energy_j is None or report.gaps is None or report.gaps.energy_j is None:
        return None
    limits_w = [d.condition.power_limit_w for d in boards if d.condition is not None and d.condition.power_limit_w]
    if len(boards) < len(report.devices) or len(limits_w) < len(boards) or report.ranks > 1:
        return Blind("the power of its boards in steps, or its limit, is not in the record", BESIDE)
    if train.missing_s > 0:
        return Blind("energy of its training is missing")
    seconds_s = train.duration_s - report.gaps.duration_s
    return _Steps(seconds_s, (train.energy_j - report.gaps.energy_j) / seconds_s, sum(limits_w)) if seconds_s else None


def saving(run: Evidence) -> Stake | Blind | None:
    """Half of the joules of writing checkpoints."""
    phase = run.phase(SAVING)
    if not isinstance(phase, PhaseEnergy):
        return phase
    time_s, energy_j = phase.energy.duration_s, phase.energy.energy_j or 0.0
    because = f"checkpoints took {duration(time_s)}{run.in_session}, and {si(energy_j, 'J', digits=3)}"
    return Stake(
        energy_j / 2,
        math.hypot(phase.energy.u_absolute_j, PROFILE_U * energy_j) / 2,
        because,
        "save half as often: ModelCheckpoint(every_n_epochs=… or every_n_train_steps=…) twice as large",
    )


def precision(run: Evidence) -> Stake | Blind | None:
    """The difference between this run and one beside it in a lower precision. No record of one precision knows it."""
    if run.beside is not None and (found := precision_by_trial(run, run.beside)) is not None:
        return found
    used = str(run.what.get("precision") or "")
    if not used.startswith(FULL) or not any(d.scope in BOARDS for d in run.report.devices):
        return None
    return Blind(f"a run in {used} does not know the joules of another precision", BESIDE_PRECISION)


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        name: its name, for programs.
        cause: what it looks for, for people.
        look: the function.
        parts: the parts of a run that its joules belong to: savings that share one do not add up.
    """

    name: str
    cause: str
    look: Callable[[Evidence], Stake | Blind | None]
    parts: frozenset[str]


RULES = (
    Rule("waiting", "waiting for data", waiting, frozenset({"data"})),
    Rule("ranks", "waiting for slower ranks", slower_ranks, frozenset({"steps"})),
    Rule("validation", "validating often", validation, frozenset({"validation"})),
    Rule("stopping", "going on after the best epoch", stopping, frozenset({"data", "steps", "validation", "saving"})),
    Rule("batch", "boards far below their power", small_batch, frozenset({"steps"})),
    Rule("saving", "saving checkpoints", saving, frozenset({"saving"})),
    Rule("precision", "full precision", precision, frozenset({"data", "steps", "saving"})),
)
"""All rules."""
