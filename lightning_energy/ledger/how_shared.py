"""The way in which a device's joules between two updates of its sensor were shared out, in plain types."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.accounts import Account
    from lightning_energy.ledger.sharing.contents import Contents
    from lightning_energy.ledger.sharing.kinds import Rule

__all__ = ["Beside", "ClassPower", "HowShared", "Method", "Moved", "PhaseParts", "StepKinds", "how_shared"]

Method = Literal["fitted", "lines"]
"""``fitted``: by mean powers of classes of work; ``lines``: by duration alone."""


@dataclass(frozen=True)
class ClassPower:
    """The mean power of a class of work over a session.

    Attributes:
        stage: its stage; ``outside`` before the first and after the last.
        phase: ``step``, and where steps are of kinds also ``step 2`` and so on; ``opening``, the time of a stage
            before its first step; ``gap``, the time between steps; of ``outside`` ``before`` and ``after``. Where steps
            and gaps are divided, the names of their phases: ``forward``, ``data``, ``opening/data`` and so on.
        power_w: watts.
        u_w: their standard uncertainty (k=1), without the gain of the sensor.
    """

    stage: str
    phase: str
    power_w: float
    u_w: float


@dataclass(frozen=True)
class StepKinds:
    """The way in which steps of a stage are told apart: each kind is a class of work, ``step``, ``step 2`` and so on.

    Attributes:
        stage: the stage.
        every: period of the steps' numbers in their epoch; 0 where their duration tells.
        kinds: the kind, from 0 on, of each number modulo ``every``.
        limits_s: durations from which on a step is of the next kind.
        n: the number of steps of each kind in the session; empty where it is not known, as in what follows.
        step_s: their mean duration in seconds.
        step_j: their mean energy in joules: the mean power of the kind for that time.
        step_u_j: its standard uncertainty (k=1), without the gain of the sensor.
        phase: the phase of steps that is of kinds; empty where steps are not divided.
    """

    stage: str
    every: int = 0
    kinds: Sequence[int] = ()
    limits_s: Sequence[float] = ()
    n: Sequence[int] = ()
    step_s: Sequence[float] = ()
    step_j: Sequence[float] = ()
    step_u_j: Sequence[float] = ()
    phase: str = ""

    def of(self, number: Any, duration_s: Any) -> NDArray[np.int64]:
        """The kinds of steps, from 1 on: those of a trace.

        Args:
            number: number of each step in its epoch, from 0 on.
            duration_s: duration of each in seconds.

        Example:
            >>> StepKinds("train", 2, (0, 1)).of([0, 1, 2], [0.1, 0.1, 0.1]).tolist()
            [1, 2, 1]
            >>> StepKinds("train", limits_s=(0.25,)).of([0, 1], [0.1, 0.4]).tolist()
            [1, 2]
        """
        if self.every:
            return 1 + np.array(self.kinds, dtype=np.int64)[np.asarray(number, dtype=np.int64) % self.every]
        return 1 + np.searchsorted(np.array(self.limits_s), np.asarray(duration_s), side="right").astype(np.int64)


@dataclass(frozen=True)
class PhaseParts:
    """The parts of a phase, each with a power of its own, as power varies within a phase in the same order each step.

    Attributes:
        stage: the stage.
        phase: the phase, as in :class:`ClassPower`, which has the mean of its parts.
        ends: where each part but the last ends, in parts of each stretch of the phase.
        beyond_w: watts of each part beyond that mean.
    """

    stage: str
    phase: str
    ends: Sequence[float]
    beyond_w: Sequence[float]


@dataclass(frozen=True)
class Beside:
    """A delay and a smoothing by which intervals were shared out, where all of them together tell another one.

    What is kept of an interval is its shares by several of these. A parabola through them gives the shares by the
    delay and the smoothing that all intervals tell.

    Attributes:
        delay_s: the delay in seconds.
        smoothing_s: time constant of the smoothing in seconds.
        part: the part of the shares by it that is added to those by the first of them; all parts are 0 together.
        powers_w: the power of each class by it.
        beyond_w: by row of :attr:`HowShared.parts`, watts of each part beyond that.
    """

    delay_s: float
    smoothing_s: float
    part: float
    powers_w: Sequence[float]
    beyond_w: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Moved:
    """Joules that a part of a run has beyond its share by powers, as that share was one that no load could have.

    Attributes:
        epoch: its epoch; -1 outside epochs.
        stage: its stage.
        kind: ``step`` or ``gap``.
        energy_j: the joules; those that neighbours got are negative here.
        phase: the phase of the steps or gaps; empty where they are not divided.
    """

    epoch: int
    stage: str
    kind: str
    energy_j: float
    phase: str = ""


@dataclass(frozen=True)
class HowShared:
    """The way in which a device's joules between two updates of its sensor were shared out.

    An interval of T seconds and ΔE joules, in which account a was in force for τ_a seconds, of which τ_ac in class of
    work c, gives it τ_a ΔE / T + Σ_c (τ_ac - τ_a τ_c / T) p_c with the powers p of its block: :attr:`powers_w`. The
    times are those ``delay_s`` before the updates, smoothed as the sensor smooths. Where that is less than nothing, or
    more than the intervals hold, joules moved between neighbours: :attr:`moved`. Each of the :attr:`parts` of a
    phase is such a class of its own. Where there is something in :attr:`beside`, shares are by the first of these, and
    to them come those by each of them, times its part.

    Attributes:
        method: ``fitted``, or ``lines``, where joules are shared by duration alone.
        why: the reason for straight lines; empty where powers are fitted.
        intervals: number of intervals between updates that powers are fitted to.
        delay_s: seconds between an energy and the update that shows it; ``None`` with straight lines, as what follows.
        delay_u_s: its standard uncertainty.
        smoothing_s: time constant of the sensor's smoothing in seconds.
        smoothing_u_s: its standard uncertainty.
        look: part of each period that the sensor looks at.
        scatter_j2_per_s: variance of an interval's joules about the fit, per second of it.
        classes: the classes of work that the intervals show, each with its mean power over the session.
        ends_s: ends of the blocks of intervals, in seconds since the session began: an interval is of the first block
            that ends no earlier than it does.
        powers_w: by block, the power of each class by which intervals were shared out.
        covariance_w2: covariance of the last block's powers in W², without the gain of the sensor.
        step_kinds: stages whose steps are of kinds with powers of their own.
        moved: parts of the run whose share was limited to what is possible, and their neighbours.
        parts: phases whose power may vary, with that of their parts.
        beside: delays and smoothings by which intervals were shared out, where ``delay_s`` is none of them.
    """

    method: Method
    why: str = ""
    intervals: int = 0
    delay_s: float | None = None
    delay_u_s: float | None = None
    smoothing_s: float | None = None
    smoothing_u_s: float | None = None
    look: float | None = None
    scatter_j2_per_s: float | None = None
    classes: Sequence[ClassPower] = ()
    ends_s: Sequence[float] = ()
    powers_w: Sequence[Sequence[float]] = ()
    covariance_w2: Sequence[Sequence[float]] = ()
    step_kinds: Sequence[StepKinds] = ()
    moved: Sequence[Moved] = ()
    parts: Sequence[PhaseParts] = ()
    beside: Sequence[Beside] = ()

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"parts", "beside"}}
        return row | {
            "classes": [asdict(c) for c in self.classes],
            "ends_s": [*self.ends_s],
            "powers_w": [[*powers] for powers in self.powers_w],
            "covariance_w2": [[*covariances] for covariances in self.covariance_w2],
            "step_kinds": [
                {key: value for key, value in _lists(kinds).items() if key != "phase" or value}
                for kinds in self.step_kinds
            ],
            "moved": [_filled(m) for m in self.moved],
            **({"parts": [_lists(part) for part in self.parts]} if self.parts else {}),
            **({"beside": [_lists(beside) for beside in self.beside]} if self.beside else {}),
        }


def _lists(row: StepKinds | PhaseParts | Beside) -> dict[str, Any]:
    """A row in plain types."""
    return {key: _listed(value) for key, value in asdict(row).items()}


def _listed(value: Any) -> Any:
    """A value whose tuples are lists."""
    return [*map(_listed, value)] if isinstance(value, (list, tuple)) else value


def _filled(row: Moved) -> dict[str, Any]:
    """A row in plain types, without a phase where there is none: earlier releases do not know it."""
    return {key: value for key, value in asdict(row).items() if key != "phase" or value}


def how_shared(
    contents: Contents, names: Sequence[tuple[str, str]], started_ns: int, accounts: Sequence[Account] = ()
) -> HowShared:
    """Tell how joules were shared out by fitted powers.

    Args:
        contents: the joules.
        names: (stage, phase) of each class of work.
        started_ns: beginning of the session on the monotonic clock.
        accounts: the accounts in the order of their codes.
    """
    split, powers, found = contents.split, contents.powers, contents.found
    n_blocks, width = powers.power_w.shape
    of_block = [min(place, n_blocks - 1) for place in range(len(split.blocks))]
    weight = np.bincount(of_block, [block.normals.n for block in split.blocks], n_blocks)
    weight = weight / weight.sum()
    seen = np.zeros(width, dtype=bool)
    for block in split.blocks:
        seen[np.flatnonzero(np.diag(block.normals.a) > 0)] = True
    parts = [each for each in contents.sharing.parts if each.ends]
    for each in parts:
        seen[[*each.classes[1:]]] = False
    to_phases = contents.to_phases(width)  # a phase has the mean power of its parts
    of_blocks = powers.covariance_w2.reshape(n_blocks, width, n_blocks, width)
    last = (to_phases @ of_blocks[-1, :, -1, :] @ to_phases.T)[np.ix_(seen, seen)]
    of_mean = (
        to_phases @ (weight @ (weight @ of_blocks.reshape(n_blocks, -1)).reshape(width, n_blocks, width)) @ to_phases.T
    )
    mean_w = (weight @ powers.power_w @ to_phases.T)[seen]
    booked_w = (contents.booked_w @ to_phases.T)[:, seen]

    def beyond_w(power_w: NDArray[np.float64]) -> list[tuple[float, ...]]:
        """Powers of the parts of each phase beyond their mean."""
        beyond_w = power_w - contents.from_phases(width) @ to_phases @ power_w
        return [tuple(beyond_w[[*each.classes]].tolist()) for each in parts]

    known = [name for name, is_seen in zip(names, seen, strict=False) if is_seen]
    u_w = np.sqrt(np.maximum(np.diag(of_mean)[seen], 0.0))
    return HowShared(
        method="fitted",
        intervals=split.n,
        delay_s=float(found.kernel.lag_s),
        delay_u_s=found.u_lag_s,
        smoothing_s=float(found.kernel.ema_s),
        smoothing_u_s=found.u_ema_s,
        look=float(found.kernel.look),
        scatter_j2_per_s=float(powers.scatter),
        classes=tuple(ClassPower(*n, p, u) for n, p, u in zip(known, mean_w.tolist(), u_w.tolist(), strict=True)),
        ends_s=tuple((block.end_ns - started_ns) * NS for block in split.blocks),
        powers_w=tuple(tuple(booked_w[at].tolist()) for at in of_block),
        covariance_w2=tuple(map(tuple, last.tolist())),
        step_kinds=tuple(
            _kinds_of(rule, names[rule.of_class], contents.stretches, mean_w=_wide(mean_w, seen), u_w=_wide(u_w, seen))
            for rule in contents.sharing.rules
        ),
        moved=tuple(
            Moved(a.epoch, a.stage, a.kind, float(contents.moved_j[code]), a.phase)
            for code, a in enumerate(accounts[: len(contents.moved_j)])
            if contents.moved_j[code] and code != OUTSIDE
        ),
        parts=tuple(
            PhaseParts(*names[each.classes[0]], each.ends, part_w)
            for each, part_w in zip(parts, beyond_w(weight @ contents.booked_w), strict=True)
        ),
        beside=tuple(
            Beside(
                float(each.kernel.lag_s),
                float(each.kernel.ema_s),
                each.part,
                tuple((to_phases @ each.power_w)[seen].tolist()),
                beyond_w(each.power_w),
            )
            for each in contents.beside
        ),
    )


def _wide(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values of the classes that were seen, in the places of all; NaN for the others."""
    result = np.full(len(seen), np.nan)
    result[seen] = values
    return result


def _kinds_of(
    rule: Rule,
    name: tuple[str, str],
    stretches: NDArray[np.float64],
    *,
    mean_w: NDArray[np.float64],
    u_w: NDArray[np.float64],
) -> StepKinds:
    """A rule with what is known of each kind's steps, if something is known of all."""
    stage, phase = name
    kinds = StepKinds(stage, rule.every, rule.kinds, rule.limits_s, phase="" if phase == "step" else phase)
    classes = [*rule.classes]
    if not classes or max(classes) >= min(stretches.shape[1], len(mean_w)):
        return kinds
    n, seconds_s = stretches[:, classes]
    if not n.all() or not np.isfinite(mean_w[classes]).all():
        return kinds
    step_s = seconds_s / n
    return replace(
        kinds,
        n=tuple(n.astype(int).tolist()),
        step_s=tuple(step_s.tolist()),
        step_j=tuple((step_s * mean_w[classes]).tolist()),
        step_u_j=tuple((step_s * u_w[classes]).tolist()),
    )
