"""The energy of a curve at marks: what single steps are differences of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.curve import shape_bound_j
from lightning_energy.curves.energy import MISSING
from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.sharing.contents import ON_THE_BRIDGE
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.powers import PRIOR, go_on
from lightning_energy.ledger.sharing.timeline import in_seconds, ones
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from lightning_energy.ledger.held import Held
    from lightning_energy.ledger.sharing.delay import Found
    from lightning_energy.ledger.sharing.powers import Powers
    from lightning_energy.ledger.sharing.timeline import Timeline

__all__ = ["energy_at_marks"]

SMOOTHED = 2 / math.e - 1 / 2
"""Variance of the energy up to a mark, in time constants of a smoothing sensor and of the scatter of power, where it is
read off one time constant later: the integral of the squared weights of what is counted too little, and too early."""

LEAST = 0.1  # part of the scatter that is the power's, at least, and not that of the updates' times


def energy_at_marks(
    held: Held,
    which: slice | NDArray[np.intp],
    stage: NDArray[np.int64],
    found: Found,
    powers: Powers | None,
    *,
    bounds_w: tuple[float, float],
    pause: Callable[[], None] = go_on,
) -> AtMarks:
    """The energy of a curve at marks, by fitted powers: a knot's energy, and the model from there on.

    With the class seconds C(t) up to a moment, as the counter shows them C'(t), and the powers p, the model's rise is
    C p; what the counter shows beyond it is spread evenly over each interval. Each mark has one energy, so that
    stretches between marks add up.

    Args:
        held: knots and marks.
        which: the marks.
        stage: the stage of each class.
        found: the kernel of the counter.
        powers: the powers; ``None``: straight lines.
        bounds_w: least and greatest power that the device may have had.
        pause: called between parts of the work.
    """
    marks_ns, knots, kernel = held.time_ns[which], held.knots, found.kernel
    if not marks_ns.size:
        return AtMarks.none()
    lag_ns = round(kernel.lag_s / NS)
    shown_ns = knots.time_ns - lag_ns
    k = np.clip(np.searchsorted(shown_ns, marks_ns, side="right"), 1, len(shown_ns) - 1)
    first = max(int(k.min()) - 1, 0)
    knot_ns, energy_j = shown_ns[first:], knots.energy_j[first:]
    half_ns, quality = knots.half_width_ns[first:], knots.quality[first:]
    k = k - first
    length_s = in_seconds(np.diff(knot_ns))
    before_s = np.clip(in_seconds(marks_ns - knot_ns[k - 1]), 0.0, length_s[k - 1])
    theta = before_s / length_s[k - 1]
    mean_w = np.diff(energy_j) / length_s
    line_j = energy_j[k - 1] + mean_w[k - 1] * before_s
    edge_j2 = (mean_w[k - 1] * NS) ** 2 * (((1 - theta) * half_ns[k - 1]) ** 2 + (theta * half_ns[k]) ** 2) / 3
    missing_s = np.interp(marks_ns - marks_ns[0], shown_ns - marks_ns[0], held.missing_at_knots_ns) * NS
    if powers is None:
        bound_j = shape_bound_j(before_s, length_s[k - 1] - before_s, mean_w[k - 1], *bounds_w)
        variance_j2 = np.where(quality[k] == MISSING, 0.0, bound_j**2 / 3 + edge_j2)
        return AtMarks(line_j, missing_s, variance_j2)
    origin_ns = int(knot_ns[0])
    timeline, columns = held.timeline(origin_ns, origin_ns - round((0.3 + kernel.memory_s) / NS))
    to_class = ones(columns.of_class, max(len(stage), powers.power_w.shape[1]))
    wide = powers.wide(to_class.shape[1])
    p = wide.overall_w
    at_s, knot_s = in_seconds(marks_ns - origin_ns), in_seconds(knot_ns - origin_ns)
    pause()
    plain = timeline.smoothed()
    at_knots = plain.behind(kernel.ema_s).at(knot_s) @ to_class
    pause()
    at_marks = plain.at(at_s) @ to_class
    beyond_j = energy_j - at_knots @ p
    energy = at_marks @ p + np.interp(at_s + kernel.ema_s, knot_s, beyond_j)
    is_line = ~held.is_known[first:][k - 1]
    energy = np.maximum.accumulate(np.where(is_line, line_j, energy))
    d = at_marks - at_knots[k - 1] - theta[:, None] * (at_knots[k] - at_knots[k - 1])
    pause()
    width = len(p)
    covariance = wide.covariance_w2[-width:, -width:]
    along = d @ covariance
    of_powers = wide.as_carried((along * d).sum(axis=1), along, (d**2).sum(axis=1) * (PRIOR * wide.mean_w) ** 2)
    inside = ON_THE_BRIDGE * wide.scatter * before_s * (1 - theta)
    of_times_j2 = (mean_w * NS) ** 2 * (half_ns[1:] ** 2 + half_ns[:-1] ** 2) / 3
    inside += _smoothed_j2(kernel, wide.scatter, length_s, of_times_j2)
    inside += _unseen_j2(kernel, timeline, knot_s, at_s, power_w=to_class @ p, scatter=wide.scatter)
    slope_w = timeline.one @ to_class @ p
    place = np.clip(np.searchsorted(timeline.start_s, at_s, side="right") - 1, 0, len(slope_w) - 1)
    of_delay = ((slope_w[place] - mean_w[k - 1]) * found.u_lag_s) ** 2
    variance_j2 = np.where(quality[k] == MISSING, 0.0, of_powers + inside + edge_j2 + of_delay)
    bound_j = shape_bound_j(before_s, length_s[k - 1] - before_s, mean_w[k - 1], *bounds_w)
    return AtMarks(energy, missing_s, np.where(is_line, bound_j**2 / 3 + edge_j2, variance_j2))


def _smoothed_j2(
    kernel: Kernel, scatter: float, length_s: NDArray[np.float64], of_times_j2: NDArray[np.float64]
) -> float:
    """Variance at any mark by what a smoothing sensor shows later, and earlier.

    Args:
        kernel: of the counter.
        scatter: variance of an interval's rise about the fit, in J² per second.
        length_s: of the intervals.
        of_times_j2: the part of their variance that is of the updates' times.
    """
    if not kernel.ema_s:
        return 0.0
    of_power = max(scatter - float(np.mean(of_times_j2 / length_s)), LEAST * scatter)
    return SMOOTHED * kernel.ema_s * of_power / kernel.shown_scatter(float(length_s.mean()))


def _unseen_j2(
    kernel: Kernel,
    timeline: Timeline,
    knot_s: NDArray[np.float64],
    at_s: NDArray[np.float64],
    *,
    power_w: NDArray[np.float64],
    scatter: float,
) -> NDArray[np.float64]:
    """Variance at marks by what a part-time sensor does not see: half of that of the time since the last mark but one.

    Args:
        kernel: of the counter.
        timeline: the columns in force.
        knot_s: times of the updates.
        at_s: the marks.
        power_w: of the columns.
        scatter: variance of an interval's rise about the fit, in J² per second.
    """
    if kernel.look == 1:
        return np.zeros(len(at_s))
    seen_s, all_s = (Kernel(look=look).seconds(knot_s, timeline)[0] for look in (kernel.look, 1.0))
    mean_s, missed_j2 = float(np.diff(knot_s).mean()), float(np.mean(((seen_s - all_s) @ power_w) ** 2))
    step_s = np.diff(at_s, prepend=at_s[:1])
    step_s[1:] += step_s[:-1].copy()
    of_a_part = np.minimum(step_s / mean_s, 1.0)  # of less than an interval, all or nothing was seen
    result: NDArray[np.float64] = (missed_j2 / mean_s + scatter * (1 - kernel.look)) * step_s * of_a_part / 2
    return result
