"""Labels of a figure beside its uncertainty: its resolution in time, and the risk that its sensor aliases."""

from __future__ import annotations

from typing import Literal

__all__ = ["Resolution", "aliasing_risk", "resolution"]

Resolution = Literal["resolved", "coarse", "unresolved"]

RESOLVED_INTERVALS = 10  # fewest intervals of the curve in a figure that is resolved
LARGEST_FACTOR = 5  # largest whole number in the ratio of two commensurate durations
NEAR = 0.05  # share of the period by which durations that beat differ, at most


def resolution(duration_s: float, spacing_s: float | None) -> Resolution | None:
    """Label how finely a figure of some duration is resolved by a curve that has a knot every ``spacing_s``.

    Less than one interval: ``unresolved`` (the figure is a share of an interval, whose inside is not known); up to ten:
    ``coarse``; more: ``resolved``.

    Args:
        duration_s: duration of the figure in seconds.
        spacing_s: time between two knots in seconds, the update period of a counter; ``None`` when unknown.

    Returns:
        The label, or ``None`` when the spacing is unknown.

    Example:
        >>> resolution(0.05, 0.1), resolution(0.5, 0.1), resolution(60.0, 0.1)
        ('unresolved', 'coarse', 'resolved')
    """
    if not spacing_s:
        return None
    intervals = duration_s / spacing_s
    return "unresolved" if intervals < 1 else "coarse" if intervals < RESOLVED_INTERVALS else "resolved"


def aliasing_risk(step_s: float, period_s: float | None, coverage: float | None) -> bool:
    """Return true if steps may beat against a sensor that looks at a part of the time only.

    Such a sensor (25 of every 100 ms on A100 and H100) sees the same phase of every step when the step's duration and
    its period are commensurate: then its energy was 29 to 40 % wrong in simulation, however long the run. The rule is
    ``|m * step - n * period| < 0.05 * period`` for whole m, n up to 5.

    Args:
        step_s: mean duration of a step in seconds.
        period_s: the sensor's period in seconds; ``None`` when unknown.
        coverage: share of time that the sensor looks at; ``None`` when unknown.

    Example:
        >>> aliasing_risk(0.102, 0.1, 0.25), aliasing_risk(0.131, 0.1, 0.25), aliasing_risk(0.102, 0.1, 1.0)
        (True, False, False)
    """
    if not period_s or coverage is None or coverage >= 1:
        return False
    factors = range(1, LARGEST_FACTOR + 1)
    return any(abs(m * step_s - n * period_s) < NEAR * period_s for m in factors for n in factors)
