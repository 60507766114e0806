"""The energy of a curve at marks: what single steps are differences of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.curve import shape_bound_j
from lightning_energy.curves.energy import MISSING
from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.sharing.contents import PARTLY, load_scatter, smoothed_j2
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.powers import go_on
from lightning_energy.ledger.sharing.split import REMEMBERS, SURE
from lightning_energy.ledger.sharing.timeline import in_seconds, ones
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from lightning_energy.ledger.held import Held
    from lightning_energy.ledger.sharing.delay import Found
    from lightning_energy.ledger.sharing.powers import Powers
    from lightning_energy.ledger.sharing.sharing import Sharing
    from lightning_energy.ledger.sharing.timeline import Timeline

__all__ = ["energy_at_marks"]

INSIDE = 0.9
"""Part of the load's scatter that is power which wanders inside intervals, for steps: each is a whole."""


def energy_at_marks(
    held: Held,
    which: slice | NDArray[np.intp],
    stage: NDArray[np.int64],
    sharing: Sharing,
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
        sharing: the way to share; without powers: straight lines.
        bounds_w: least and greatest power that the device may have had.
        pause: called between parts of the work.
    """
    marks_ns, knots, found, powers = held.time_ns[which], held.knots, sharing.found, sharing.powers
    if not marks_ns.size:
        return AtMarks.none()
    kernel = found.kernel
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
    bound_j2 = shape_bound_j(before_s, length_s[k - 1] - before_s, mean_w[k - 1], *bounds_w) ** 2
    known = quality[k] != MISSING
    if powers is None:
        return AtMarks(line_j, missing_s, known * (bound_j2 / 3 + edge_j2), known * bound_j2 / 3)
    origin_ns, slack_s = int(knot_ns[0]), in_seconds(half_ns[k - 1] + half_ns[k]) + 2 * _blur_s(found)
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
    if kernel.look == 1:  # energy never falls: between two updates it is between theirs
        energy = np.clip(energy, energy_j[k - 1] - mean_w.max() * slack_s, energy_j[k] + mean_w.max() * slack_s)
    energy = np.maximum.accumulate(np.where(is_line, line_j, energy))
    d = at_marks - at_knots[k - 1] - theta[:, None] * (at_knots[k] - at_knots[k - 1])
    pause()
    of_powers = _of_powers_j2(wide, d)
    of_times_j2 = (mean_w * NS) ** 2 * (half_ns[1:] ** 2 + half_ns[:-1] ** 2) / 3
    inside = _wandering_j2(kernel, wide.scatter, length_s, of_times_j2, before_s * (1 - theta)) + _unseen_j2(
        kernel, timeline, knot_s, at_s, power_w=to_class @ p, scatter=wide.scatter
    )
    place = np.searchsorted(timeline.start_s, at_s, side="right") - 1
    slope_w = (to_class @ p)[timeline.column[np.clip(place, 0, len(timeline.column) - 1)]]
    of_delay = ((slope_w - mean_w[k - 1]) * found.u_lag_s) ** 2
    step_s = np.minimum(_longest_s(held, which), np.minimum(before_s, length_s[k - 1] - before_s))
    inside += (sharing.untold * wide.mean_w * step_s) ** 2
    alike_j2 = np.where(is_line, bound_j2 / 3, inside + PARTLY * (of_powers + of_delay))
    variance_j2 = np.where(is_line, bound_j2 / 3, inside + of_powers + of_delay) + edge_j2
    return AtMarks(energy, missing_s, known * variance_j2, known * alike_j2)


def _of_powers_j2(powers: Powers, d: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance by the powers of figures that change by ``d`` with those of each class, shape (n, classes)."""
    width = d.shape[1]
    along = d @ powers.covariance_w2[-width:, -width:]
    prior_j2 = powers.prior.variances_j2(d, powers.mean_w)
    return powers.as_carried((along * d).sum(axis=1), along, prior_j2)


def _wandering_j2(
    kernel: Kernel,
    scatter: float,
    length_s: NDArray[np.float64],
    of_times_j2: NDArray[np.float64],
    bridge_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Variance by power that wanders inside intervals, and by a sensor's smoothing of it."""
    of_load = load_scatter(scatter, float(np.mean(of_times_j2 / length_s)))
    return INSIDE * of_load * bridge_s + smoothed_j2(kernel, of_load, float(length_s.mean()))


def _longest_s(held: Held, which: slice | NDArray[np.intp]) -> NDArray[np.float64]:
    """Seconds of the longer of the two stretches that end and begin at each mark, of those that are known."""
    time_ns = held.time_ns
    seconds = np.concatenate([[0.0], in_seconds(np.diff(time_ns)), [0.0]])
    result: NDArray[np.float64] = np.maximum(seconds[:-1], seconds[1:])[which]
    return result


def _blur_s(found: Found) -> float:
    """Seconds from an update within which the moment lies whose energy it shows, as the kernel has it."""
    return SURE * (found.u_lag_s + found.u_ema_s) + REMEMBERS * found.kernel.ema_s


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
