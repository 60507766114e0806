"""Judgement of a board's readings by each other: its counter, its instantaneous power and its average power.

No reading is right by itself. Some boards show an instantaneous power of 1 W for ever, others a counter that stands or
runs at a fraction of the power; on superchips it is not documented whether the counter covers the GPU or the module.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Look", "Name", "Window", "covers_module", "disagreement", "odd_ones"]

Name = Literal["counter", "instant", "average"]

ENOUGH_S = 1.0  # shortest window that shows anything: ten updates of a counter
ENOUGH_LOOKS = 8
GROSS = 0.5  # share of the larger of two powers by which they differ, beyond which one of them is not used
NOTABLE = 0.2  # the same, beyond which it is said: users saw 187 J against 327 J, others agree within 1 %
SIGMAS = 3.0
LAG_S = 0.5  # lateness of a mean over the last second, the slowest reading
LEAST_W = 5.0  # difference that is none
MODULE_MATCH = 0.1  # largest share by which a module of the GPU alone draws more than the GPU
LIKE_MODULE = 0.15  # largest share by which a counter of the module differs from the module's power
UNLIKE_MODULE = 0.3  # least share by which a counter of the GPU alone differs from it


class Look(NamedTuple):
    """A look at a board's powers beside its counter; ``None`` for those that did not answer.

    Attributes:
        time_ns: its moment.
        instant_w: the power of the moment in watts, of the GPU.
        average_w: ``power.draw``, on most boards the mean over the last second, in watts.
        module_w: the power of the whole module in watts.
    """

    time_ns: int
    instant_w: float | None = None
    average_w: float | None = None
    module_w: float | None = None


class Mean(NamedTuple):
    """A mean power and its standard error, in watts."""

    w: float
    u_w: float


class Window(NamedTuple):
    """A stretch of time in which a board was watched.

    Attributes:
        seconds: its length.
        looks: the looks in it.
        counter_w: mean power by the counter in watts; ``None`` without a counter.
    """

    seconds: float
    looks: Sequence[Look]
    counter_w: float | None = None

    @property
    def is_enough(self) -> bool:
        """True when it is long enough to judge by."""
        return self.seconds >= ENOUGH_S and len(self.looks) >= ENOUGH_LOOKS

    def mean(self, name: Literal["counter", "instant", "average", "module"]) -> Mean | None:
        """Mean of a reading; ``None`` where it was seen too rarely."""
        if name == "counter":
            return None if self.counter_w is None else Mean(self.counter_w, 0.0)
        seen = [w for look in self.looks if (w := getattr(look, f"{name}_w")) is not None]
        if len(seen) < ENOUGH_LOOKS:
            return None
        return Mean(statistics.fmean(seen), statistics.stdev(seen) / math.sqrt(len(seen)))

    @property
    def slack_w(self) -> float:
        """Difference in watts between two readings of which one is late: the load may have changed meanwhile."""
        seen = [w for look in self.looks for w in (look.instant_w, look.average_w, look.module_w) if w is not None]
        return LAG_S * (max(seen) - min(seen)) / self.seconds if seen else 0.0


def _differs(a: Mean, b: Mean, share: float, slack_w: float) -> bool:
    """Return true if two means differ by more than a share of the larger, and more than chance and lateness explain."""
    limit_w = share * max(a.w, b.w) + SIGMAS * math.hypot(a.u_w, b.u_w) + slack_w + LEAST_W
    return not abs(a.w - b.w) <= limit_w


def odd_ones(window: Window) -> frozenset[Name]:
    """The readings that cannot be true, as others contradict them.

    One of three that contradicts both others, which agree. Of the two powers alone, it is the instantaneous one: only
    newer drivers have it, and only it was seen to be wrong. A counter and one power say nothing about each other.

    Example:
        >>> looks = [Look(k * 10**8, instant_w=1.0, average_w=300.0) for k in range(20)]
        >>> odd_ones(Window(1.9, looks, counter_w=298.0))
        frozenset({'instant'})
    """
    if not window.is_enough:
        return frozenset()
    names: tuple[Name, ...] = ("counter", "instant", "average")
    means = {name: mean for name in names if (mean := window.mean(name)) is not None}
    slack_w = window.slack_w

    def disagree(a: Name, b: Name) -> bool:
        return _differs(means[a], means[b], GROSS, slack_w)

    if means.keys() == {"instant", "average"}:
        return frozenset({"instant"}) if disagree("instant", "average") else frozenset()
    if len(means) < len(names):
        return frozenset()
    for odd in names:
        a, b = (name for name in names if name != odd)
        if disagree(odd, a) and disagree(odd, b) and not disagree(a, b):
            return frozenset({odd})
    return frozenset()


def disagreement(window: Window) -> str:
    """A sentence about a counter and a power sensor that differ, where it cannot be told which is wrong; else empty.

    It is the same for all runs on a board, so without watts: devices with equal notes are compared as equal.
    """
    counter = window.mean("counter")
    power = window.mean("instant") or window.mean("average")
    if not window.is_enough or counter is None or power is None:
        return ""
    if not _differs(counter, power, NOTABLE, window.slack_w):
        return ""
    return (
        f"its counter and its power sensor differ by more than {100 * NOTABLE:.0f} %: one of them is wrong; compare "
        f"with a wall meter, and correct with CalibratedMeter"
    )


def covers_module(window: Window) -> bool | None:
    """Return true if the counter covers the whole module, false if the GPU alone, ``None`` if it cannot be told.

    Example:
        >>> looks = [Look(k * 10**8, instant_w=300.0, module_w=500.0) for k in range(20)]
        >>> covers_module(Window(1.9, looks, 497.0)), covers_module(Window(1.9, looks, 303.0))
        (True, False)
    """
    counter, gpu, module = (window.mean(name) for name in ("counter", "instant", "module"))
    if not window.is_enough or counter is None or module is None:
        return None
    noise_w = SIGMAS * module.u_w + window.slack_w
    if gpu is None:
        if abs(counter.w - module.w) + noise_w <= LIKE_MODULE * module.w:
            return True
        return False if counter.w + noise_w < (1.0 - UNLIKE_MODULE) * module.w else None
    if module.w <= gpu.w * (1.0 + MODULE_MATCH):
        return False if window.seconds > ENOUGH_S else None
    half_w = (module.w - gpu.w) / 2
    from_middle_w = counter.w - (gpu.w + module.w) / 2
    if abs(from_middle_w) <= max(noise_w, half_w / 2) or abs(from_middle_w) > 2 * half_w + noise_w:
        return None  # too near to call, or like neither
    return from_middle_w > 0
