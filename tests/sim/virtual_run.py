"""A training and a counter in virtual time: what a run costs is known, and what a late, coarse counter shows of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.trace import Trace
from lightning_energy.meters import MeterInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.elsewhere import Elsewhere
    from lightning_energy.ledger.marks import AtMarks
    from lightning_energy.ledger.phases import PhaseEnergy
    from lightning_energy.ledger.totals import Totals

START_NS = 10**15
OUTSIDE = -1


@dataclass(frozen=True)
class Work:
    """A training: idle, epochs of steps and gaps with a validation each, idle.

    Attributes:
        epochs: their number.
        train_s: seconds of training per epoch.
        validate_s: seconds of validation per epoch; 0: none.
        step_s: mean seconds of a step with its gap.
        gap: the gap's part of it.
        watts: power of idle before, step, gap, validation, idle after.
        opening: seconds and watts of a stage before its first step.
        cold_steps: number of steps at half power at the beginning.
        drift: relative change of the step's power over the run.
        correlated: correlation of neighbouring steps' powers.
        scatter: relative standard deviation of a step's power.
        kinds: power and duration of steps in turns, relative to those of others.
        regular: true for steps that all last the same.
        idle_s: seconds before and after.
        phases: name, kind, part of a step with its gap, and watts of each phase of it, instead of step and gap.
        profiles: by name of a phase, parts of its time, each with the factor of its power, in the same order each step.
        optimizes_every: of so many steps one has an optimizer's step, as with gradient accumulation.
    """

    epochs: int = 12
    train_s: float = 2.0
    validate_s: float = 0.5
    step_s: float = 0.037
    gap: float = 0.1
    watts: tuple[float, float, float, float, float] = (60.0, 300.0, 90.0, 120.0, 60.0)
    opening: tuple[float, float] = (0.0, 60.0)
    cold_steps: int = 0
    drift: float = 0.0
    correlated: float = 0.0
    scatter: float = 0.05
    regular: bool = False
    kinds: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    idle_s: tuple[float, float] = (1.5, 1.0)
    phases: tuple[tuple[str, str, float, float], ...] = ()
    profiles: tuple[tuple[str, tuple[tuple[float, float], ...]], ...] = ()
    optimizes_every: int = 1

    def profile(self, phase: str) -> tuple[tuple[float, float], ...]:
        """The parts of a phase."""
        return dict(self.profiles).get(phase, ((1.0, 1.0),))


PHASES = (
    ("forward", "step", 0.28, 270.0),
    ("backward", "step", 0.42, 330.0),
    ("optimizer", "step", 0.10, 210.0),
    ("other", "gap", 0.05, 110.0),
    ("data", "gap", 0.12, 80.0),
    ("copy", "gap", 0.03, 140.0),
)
"""Phases of a step of a usual network."""


@dataclass(frozen=True)
class Sensor:
    """A counter.

    Attributes:
        update_s: its period.
        lag_s: its delay.
        ema_s: time constant of its smoothing.
        look: part of the period that it looks at.
        half_s: half of the bracket of each update's time.
        quantum_j: smallest step of the counter.
        whole_w: each update adds a multiple of this power, times the period; 0: what it is.
        jitter_s: standard deviation of its updates about a regular grid.
    """

    update_s: float = 0.1
    lag_s: float = 0.0
    ema_s: float = 0.0
    look: float = 1.0
    half_s: float = 0.0015
    quantum_j: float = 0.0
    whole_w: float = 0.0
    jitter_s: float = 0.0


class Pieces(NamedTuple):
    """What went on: durations, true powers, and accounts as (epoch, stage, kind, phase) or ``None``."""

    duration_s: NDArray[np.float64]
    power_w: NDArray[np.float64]
    account: list[tuple[int, str, str, str] | None]


def training(rng: np.random.Generator, work: Work) -> Pieces:
    """Play a training once."""
    before_w, step_w, gap_w, validate_w, after_w = work.watts
    rows: list[tuple[float, float, tuple[int, str, str, str] | None]] = [(work.idle_s[0], before_w, None)]
    rest = "other" if work.phases else ""
    profiles = {row[0]: work.profile(row[0]) for row in work.phases}
    z, k, n = 0.0, 0, max(1, round(work.train_s / work.step_s))
    for epoch in range(work.epochs):
        if work.opening[0]:
            rows.append((*work.opening, (epoch, "train", "gap", rest)))
        for number in range(n):
            of_kind_w, of_kind_s = work.kinds[number % len(work.kinds)]
            z = work.correlated * z + np.sqrt(1 - work.correlated**2) * rng.standard_normal()
            d = of_kind_s * work.step_s * (1.0 if work.regular else 1 + 0.03 * rng.standard_normal())
            level = of_kind_w * (0.5 if k < work.cold_steps else 1.0) * (1 + work.drift * (k / (n * work.epochs) - 0.5))
            for phase, kind, part, power_w in work.phases:
                each_s = part * d * (1.0 if work.regular else 1 + 0.03 * rng.standard_normal())
                each_w = power_w * (level if kind == "step" else 1.0) * (1 + work.scatter * rng.standard_normal())
                if phase != "optimizer" or (number + 1) % work.optimizes_every == 0:
                    rows += [(x * each_s, f * each_w, (epoch, "train", kind, phase)) for x, f in profiles[phase]]
            if not work.phases:
                rows += [
                    ((1 - work.gap) * d, step_w * level * (1 + work.scatter * z), (epoch, "train", "step", "")),
                    (work.gap * d, gap_w, (epoch, "train", "gap", "")),
                ]
            k += 1
        if work.validate_s:
            if work.opening[0]:
                rows.append((*work.opening, (epoch, "validate", "gap", "")))
            m = max(1, round(work.validate_s / min(work.step_s, 0.05)))
            d, level = work.validate_s * (1 + 0.01 * rng.random()) / m, 1 + 0.02 * rng.standard_normal()
            for _ in range(m):
                power_w = validate_w * level * (1 + work.scatter * rng.standard_normal())
                rows.append((d, power_w, (epoch, "validate", "step", "")))
    rows.append((work.idle_s[1], after_w, None))
    durations, powers, accounts = zip(*rows, strict=True)
    return Pieces(np.array(durations), np.array(powers), [*accounts])


class Seen(NamedTuple):
    """The updates of a counter as they were seen: seconds, joules, and halves of the brackets of their times.

    At ``gap_ends`` a stretch ends of which nothing is known: the joules do not rise in it.
    """

    time_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    half_s: NDArray[np.float64]
    gap_ends: Collection[int] = ()


def shown(rng: np.random.Generator, pieces: Pieces, sensor: Sensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The updates of a counter as polls find them: seconds and joules, from before the run to well after it."""
    d, p = pieces.duration_s, pieces.power_w
    t, e = np.concatenate([[0.0], np.cumsum(d)]), np.concatenate([[0.0], np.cumsum(d * p)])
    update_s = np.arange(-rng.random() * sensor.update_s, t[-1] + 2, sensor.update_s)
    update_s = update_s + sensor.jitter_s * rng.standard_normal(len(update_s))

    def energy_j(x: NDArray[np.float64]) -> NDArray[np.float64]:
        late = e[-1] + p[-1] * (x - t[-1])
        return np.where(x < 0, p[0] * x, np.where(x > t[-1], late, np.interp(x, t, e)))

    x = update_s - sensor.lag_s
    value_j = energy_j(x)
    if sensor.ema_s:
        state = np.empty(len(d))
        level = p[0]
        for k, (length_s, power_w) in enumerate(zip(d, p, strict=True)):
            state[k] = level
            level = power_w + (level - power_w) * np.exp(-length_s / sensor.ema_s)
        k = np.clip(np.searchsorted(t, x, side="right") - 1, 0, len(d) - 1)
        fade = np.exp(-np.maximum(x - t[k], 0) / sensor.ema_s)
        value_j = value_j - sensor.ema_s * (state[k] * fade + p[k] * (1 - fade))
    elif sensor.look < 1:
        seen = energy_j(x[:-1] + sensor.look * np.diff(x)) - energy_j(x[:-1])
        value_j = np.concatenate([[0.0], np.cumsum(seen / sensor.look)])
    if sensor.quantum_j:
        value_j = np.floor(value_j / sensor.quantum_j) * sensor.quantum_j
    if sensor.whole_w:
        unit_j = sensor.whole_w * sensor.update_s
        value_j = np.concatenate([[0.0], np.cumsum(np.round(np.diff(value_j) / unit_j) * unit_j)])
    seen_s = update_s + sensor.half_s * rng.uniform(-1, 1, len(update_s))
    return seen_s, value_j


def at_brackets(rng: np.random.Generator, boards: Sequence[Pieces], sensor: Sensor, watch_s: float) -> list[Seen]:
    """Each update of each board's counter, while it is watched, anywhere in the bracket of two polls."""
    found = []
    for pieces in boards:
        time_s, energy_j = shown(rng, pieces, sensor)
        kept = (time_s >= 0) & (time_s <= watch_s)
        found.append(Seen(time_s[kept], energy_j[kept], np.full(kept.sum(), sensor.half_s)))
    return found


Watch = Callable[[np.random.Generator, Sequence[Pieces], Sensor, float], list[Seen]]
"""A way to watch the counters of boards from 0 s to some moment."""


class Tap(Trace):
    """A trace that also keeps the energies at marks, with their variances."""

    def __init__(self, device_ids: list[str], started_ns: int, *, has_phases: bool = False) -> None:
        super().__init__(device_ids, started_ns, has_phases=has_phases)
        self.told: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []

    def add_marks(
        self, time_ns: NDArray[np.int64], code: NDArray[np.int64], at_marks: AtMarks, *, first: int | None = None
    ) -> None:
        """Keep them."""
        super().add_marks(time_ns, code, at_marks, first=first)
        self.told.append((time_ns, at_marks.energy_j, at_marks.variance_j2))

    @property
    def marks(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Times, energies and variances of all marks."""
        time_ns, energy_j, variance_j2 = (np.concatenate(column) for column in zip(*self.told, strict=True))
        return time_ns, energy_j, variance_j2


class Result(NamedTuple):
    """Figures of a run, and the truth.

    Attributes:
        kind: of window.
        found_j: joules of each window.
        u_j: its standard uncertainty.
        true_j: the truth.
        line_j: its joules by straight lines between updates.
        ledger: the ledger, after the end.
        rise_j: by board, the rise of the counter while it was watched.
        booked_j: by board, what all accounts, and the time outside of them, hold of it.
        phases: the phases of the training.
        totals: the contents of the accounts.
    """

    kind: list[str]
    found_j: NDArray[np.float64]
    u_j: NDArray[np.float64]
    true_j: NDArray[np.float64]
    line_j: NDArray[np.float64]
    ledger: Ledger
    rise_j: NDArray[np.float64]
    booked_j: NDArray[np.float64]
    phases: list[PhaseEnergy]
    totals: Totals


def play(
    seed: int,
    work: Work,
    sensor: Sensor,
    *,
    boards: int = 1,
    settle_s: float = 0.5,
    info: MeterInfo | None = None,
    late_s: float = 0.6,
    watch: Watch = at_brackets,
    script: Callable[[np.random.Generator, Work], Pieces] = training,
    elsewhere: Elsewhere | None = None,
) -> Result:
    """Book a training with a real ledger, as a session does, and compare with the truth.

    Args:
        seed: of everything.
        work: the training.
        sensor: of every board.
        boards: their number; each has powers of its own, and the same steps.
        settle_s: seconds between two bookings.
        info: description of the boards.
        late_s: seconds for which the counters are watched after the end.
        watch: how their updates are seen, from 0 s to the given moment.
        script: plays the training.
        elsewhere: works bookings out.
    """
    rng = np.random.default_rng(seed)
    pieces = script(rng, work)
    info = info or MeterInfo("d", "device", "measured", "gpu", power_max_w=500.0, power_min_w=20.0)
    curves = [Curve(replace(info, device_id=f"d{k}")) for k in range(boards)]
    now, tap = [START_NS], Tap([curve.info.device_id for curve in curves], START_NS, has_phases=bool(work.phases))
    ledger = Ledger(curves, clock=lambda: now[0], trace=tap, elsewhere=elsewhere)
    own = [1.0] if boards == 1 else [1 + 0.1 * (rng.random() - 0.5) for _ in range(boards)]
    start_s = np.concatenate([[0.0], np.cumsum(pieces.duration_s)])
    events: list[tuple[float, int, object]] = []
    last: object = None
    for begin_s, account in zip(start_s, pieces.account, strict=False):
        if account != last:
            events.append((begin_s, 0, account))
            last = account
    end_s = start_s[-2]
    watch_s = end_s + max(late_s, 2.5 * sensor.update_s)
    seen = watch(rng, [pieces._replace(power_w=pieces.power_w * g) for g in own], sensor, watch_s)
    for device, of_board in enumerate(seen):
        for k, (t, value_j, half_s) in enumerate(zip(*of_board[:3], strict=True)):
            quality = "missing" if k in of_board.gap_ends else "measured"
            events.append((t, 1, (device, value_j - of_board.energy_j[0], half_s, quality)))
    events += [(x, 2, None) for x in np.arange(settle_s, watch_s, settle_s)]
    for t, what, value in sorted(events, key=lambda x: (x[0], x[1])):
        now[0] = START_NS + round(t * 1e9)
        if what == 0:
            ledger.mark(ledger.code(*value) if value else 0)
        elif what == 1:
            device, energy_j, half_s, quality = value
            curves[device].add(now[0], energy_j, half_width_ns=round(half_s * 1e9), quality=quality)
        else:
            ledger.settle()
    ledger.settle(final=True)
    lines_j = np.diff(np.sum([np.interp(start_s, s.time_s, s.energy_j) for s in seen], axis=0))
    rise_j = np.array([s.energy_j[-1] - s.energy_j[0] for s in seen])
    return _compared(work, pieces, ledger, tap, gain=sum(own), lines_j=lines_j, now_ns=now[0], rise_j=rise_j)


def _booked_j(ledger: Ledger, now_ns: int) -> NDArray[np.float64]:
    """By board, the joules of all accounts and the time outside, but for what is behind the last update."""
    booked_j = []
    for sums in ledger.totals(now_ns)._sums:
        fitted = sums.fitted
        assert fitted is not None
        ahead_j = float((fitted._ahead.seconds_s @ fitted.powers.overall_w).sum())
        booked_j.append(float(sums.energy_j.sum()) + float(fitted.energy_j.sum()) - ahead_j)
    return np.array(booked_j)


def _compared(
    work: Work,
    pieces: Pieces,
    ledger: Ledger,
    tap: Tap,
    *,
    gain: float,
    lines_j: NDArray[np.float64],
    now_ns: int,
    rise_j: NDArray[np.float64],
) -> Result:
    """All windows of a run with their truth."""
    totals = ledger.totals(now_ns)
    joules = pieces.duration_s * pieces.power_w * gain
    in_run = np.array([a is not None for a in pieces.account])
    epoch = np.array([OUTSIDE if a is None else a[0] for a in pieces.account])
    stage, kind, phase = (np.array(["" if a is None else a[k] for a in pieces.account]) for k in (1, 2, 3))
    rows: list[tuple[str, dict, NDArray[np.bool_]]] = [("run", {}, in_run)]
    stages = ["train"] + ["validate"] * bool(work.validate_s)
    if work.validate_s:
        rows += [("stage", {"stage": s}, stage == s) for s in stages]
    for e in range(work.epochs):
        rows.append(("epoch", {"epoch": e}, epoch == e))
        if work.validate_s:
            rows += [("epoch x stage", {"epoch": e, "stage": s}, (epoch == e) & (stage == s)) for s in stages]
    inner = stage == "train"
    if work.gap:
        rows += [("step/gap", {"kind": k, "stage": "train"}, inner & (kind == k)) for k in ("step", "gap")]
    rows += [("phase", {"stage": "train", "phase": p[0]}, inner & (phase == p[0])) for p in work.phases]
    found = [totals.energy(**wanted) for _, wanted, _ in rows]
    # a step runs from its start to the next mark that is no gap of its epoch
    is_step = (stage == "train") & (kind == "step")
    begins = np.flatnonzero(is_step & ~np.concatenate([[False], is_step[:-1] & (phase[:-1] != "")]))
    if work.phases:
        changes = np.flatnonzero((epoch[1:] != epoch[:-1]) | (stage[1:] != stage[:-1])) + 1
        bounds = np.union1d(begins, changes)
        ends = bounds[np.searchsorted(bounds, begins, side="right")]
    else:
        ends = begins + 1 + ((stage[begins + 1] == "train") & (kind[begins + 1] == "gap"))
    if work.opening[0] and not work.phases:
        ends = np.minimum(ends, begins + 2)
    time_ns, energy_j, variance_j2 = tap.marks
    start_ns = START_NS + np.round(np.concatenate([[0.0], np.cumsum(pieces.duration_s)]) * 1e9).astype(np.int64)
    first, last = (np.searchsorted(time_ns, start_ns[x]) for x in (begins, ends))
    before_j, line_before_j = (np.concatenate([[0.0], np.cumsum(x)]) for x in (joules, lines_j))
    return Result(
        [kind for kind, _, _ in rows] + ["single step"] * len(begins),
        np.concatenate([[x.energy_j or 0.0 for x in found], energy_j[last] - energy_j[first]]),
        np.concatenate([[x.u_j for x in found], np.sqrt(variance_j2[last] + variance_j2[first])]),
        np.concatenate([[joules[x].sum() for *_, x in rows], before_j[ends] - before_j[begins]]),
        np.concatenate([[lines_j[x].sum() for *_, x in rows], line_before_j[ends] - line_before_j[begins]]),
        ledger,
        rise_j,
        _booked_j(ledger, now_ns),
        totals.phases("train"),
        totals,
    )
