"""The one idea: a device's cumulative energy over monotonic time, E(t).

Every figure of this package is ``E(b) - E(a)`` on such a curve. Knots stand where the energy is known;
between them E is a straight line, and the possible distance of the true curve from it is the uncertainty.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.energy import MISSING, QUALITIES, Energy
from lightning_energy.curves.power_range import PowerRange
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.meters.base import MeterInfo, Quality

__all__ = ["Curve", "Knots", "LastKnown", "shape_bound_j"]

INDEX: dict[Quality, int] = {quality: index for index, quality in enumerate(QUALITIES)}


@dataclass(slots=True)
class LastKnown:
    """The end of a curve; nothing of it changes.

    Attributes:
        time_ns: the time of the last knot.
        energy_j: the energy there in joules.
        power_w: mean power of the interval that ends there in watts; ``None`` where it is missing, or the first.
    """

    time_ns: int
    energy_j: float
    power_w: float | None


@dataclass(frozen=True, slots=True)
class Knots:
    """A stretch of a curve as arrays of equal length n.

    Attributes:
        time_ns: ``int64``, strictly rising.
        energy_j: ``float64``, never falling.
        half_width_ns: ``int64``, half the bracket within which the knot's time is known.
        quality: ``int64`` index into :data:`QUALITIES` of the interval that *ends* at the knot.
        variance_j2: ``float64``, never falling: own variance in J² of the energies of the intervals up to the
            knot. A counter's knots are exact, so it stays 0; integrated power adds to it.
    """

    time_ns: NDArray[np.int64]
    energy_j: NDArray[np.float64]
    half_width_ns: NDArray[np.int64]
    quality: NDArray[np.int64]
    variance_j2: NDArray[np.float64]

    def part(self, rows: slice | NDArray[np.intp]) -> Knots:
        """Some of these knots."""
        return Knots(
            self.time_ns[rows],
            self.energy_j[rows],
            self.half_width_ns[rows],
            self.quality[rows],
            self.variance_j2[rows],
        )

    def followed_by(self, others: Knots) -> Knots:
        """These knots, followed by others that are later."""
        return Knots.joined([self, others]) if others.time_ns.size else self

    def plain(self) -> bytes:
        """The same in bytes."""
        columns = self.time_ns, self.half_width_ns, self.quality, self.energy_j, self.variance_j2
        return b"".join([column.tobytes() for column in columns])

    @classmethod
    def of_plain(cls, data: bytes) -> Knots:
        """The knots whose :meth:`plain` this is."""
        return cls.of_block(_block(data))

    @classmethod
    def of_block(cls, block: NDArray[np.int64]) -> Knots:
        """The knots whose :meth:`plain` has these rows."""
        time_ns, half_width_ns, quality = block[:3]
        energy_j, variance_j2 = block[3:].view(np.float64)
        return cls(time_ns, energy_j, half_width_ns, quality, variance_j2)

    @classmethod
    def joined(cls, parts: Sequence[Knots]) -> Knots:
        """Knots one after the other."""
        return cls(
            np.concatenate([part.time_ns for part in parts]),
            np.concatenate([part.energy_j for part in parts]),
            np.concatenate([part.half_width_ns for part in parts]),
            np.concatenate([part.quality for part in parts]),
            np.concatenate([part.variance_j2 for part in parts]),
        )


def _block(data: bytes) -> NDArray[np.int64]:
    """The columns of knots in bytes, a row for each; energies and variances are floats there."""
    return np.frombuffer(data, np.int64).reshape(5, -1)


def shape_bound_j(
    before_s: NDArray[np.float64],
    after_s: NDArray[np.float64],
    mean_w: NDArray[np.float64],
    min_w: float,
    max_w: float,
) -> NDArray[np.float64]:
    r"""Largest error in joules of a straight line at a point of an interval.

    In an interval of mean power ``mean_w``, the energy of the ``before_s`` seconds before the point cannot
    exceed that of ``max_w``, nor leave less for the ``after_s`` seconds after it than that of ``min_w``:

    .. math:: e \le \max\{\min[t_b(P_{max}-\bar p),\ t_a(\bar p-P_{min})],\
                           \min[t_b(\bar p-P_{min}),\ t_a(P_{max}-\bar p)]\}

    Over all points this peaks at :math:`U(P_{max}-\bar p)(\bar p-P_{min})/(P_{max}-P_{min})`.
    """
    above = np.maximum(max_w - mean_w, 0.0)
    below = np.maximum(mean_w - min_w, 0.0)
    too_low = np.minimum(before_s * above, after_s * below)
    too_high = np.minimum(before_s * below, after_s * above)
    result: NDArray[np.float64] = np.maximum(too_low, too_high)
    return result


class Curve:
    """E(t) of one device: knots are appended at the end, and forgotten at the front when no longer needed.

    Args:
        info: the description that the device's meter gave of itself.

    Attributes:
        power: the range of power that was seen of the device.
        last: its end; ``None`` before the first knot. Any thread may read it, with no lock.

    Example:
        >>> from lightning_energy.meters import ReplayMeter
        >>> curve = Curve(ReplayMeter(100.0).open())
        >>> for second in range(3):
        ...     curve.add(time_ns=second * 10**9, energy_j=100.0 * second)
        >>> curve.energy_between(500_000_000, 1_500_000_000).energy_j
        100.0
    """

    def __init__(self, info: MeterInfo) -> None:
        self.info = info
        self.power = PowerRange(info)
        self._time_ns: list[int] = []
        self._energy_j: list[float] = []
        self._half_width_ns: list[int] = []
        self._quality: list[int] = []
        self._variance_j2: list[float] = []
        self._block: NDArray[np.int64] | None = None  # the knots, where they came in bytes: the lists are empty then
        self.last: LastKnown | None = None  # outlives the knots, which are forgotten once they are booked

    def __len__(self) -> int:
        return len(self._time_ns) if self._block is None else self._block.shape[1]

    @property
    def start_ns(self) -> int | None:
        """Time of the first knot that is kept."""
        times_ns = self._time_ns if self._block is None else self._block[0]
        return int(times_ns[0]) if len(times_ns) else None

    @property
    def end_ns(self) -> int | None:
        """Time of the last knot, which is always kept."""
        return None if self.last is None else self.last.time_ns

    @property
    def end_j(self) -> float:
        """Energy at the last knot in joules."""
        return 0.0 if self.last is None else self.last.energy_j

    @property
    def is_missing_at_end(self) -> bool:
        """True where the last interval is missing."""
        qualities = self._quality if self._block is None else self._block[2]
        return len(qualities) > 0 and bool(qualities[-1] == MISSING)

    def last_power_w(self) -> float | None:
        """Mean power of the last interval in watts; ``None`` when there is no interval or it is missing."""
        return None if self.last is None else self.last.power_w

    def add(
        self,
        time_ns: int,
        energy_j: float,
        *,
        half_width_ns: int = 0,
        quality: Quality = "measured",
        u_j: float = 0.0,
    ) -> None:
        """Append a knot.

        Args:
            time_ns: its time; later than the last knot's.
            energy_j: cumulative joules; not below the last knot's.
            half_width_ns: half the bracket of its time.
            quality: of the interval that ends here; with ``missing``, the energy must not move.
            u_j: standard uncertainty of the interval's energy in joules, 0 for the difference of a counter. With
                ``missing``: of how many joules lie beside the interval, not in it. That by a counter's last knot before
                it is added here.

        Raises:
            ValueError: the curve would run backwards, or joules would be booked as missing.
        """
        if self._block is not None:
            self._open(self._block)
        if quality == "missing" and self._time_ns and energy_j != self._energy_j[-1]:
            raise ValueError(f"{energy_j - self._energy_j[-1]} J in a missing interval: missing time has no joules")
        if self._time_ns and (time_ns <= self._time_ns[-1] or energy_j < self._energy_j[-1]):
            raise ValueError(
                f"point ({time_ns} ns, {energy_j} J) lies before the last ({self.end_ns} ns, {self.end_j} J): "
                f"time must rise and energy must not fall; add a reset as a missing interval"
            )
        power_w = None
        if self._time_ns and quality != "missing":
            length_ns = time_ns - self._time_ns[-1]
            power_w = (energy_j - self._energy_j[-1]) / (length_ns * NS)
            self.power.add(power_w, length_ns, half_width_ns + self._half_width_ns[-1])
        elif quality == "missing" and self._quality and QUALITIES[self._quality[-1]] == "measured":
            u_j = math.hypot(u_j, (self.last_power_w() or 0.0) * self._half_width_ns[-1] * NS / math.sqrt(3))
        self.last = LastKnown(time_ns, energy_j, power_w)
        self._time_ns.append(time_ns)
        self._energy_j.append(energy_j)
        self._half_width_ns.append(half_width_ns)
        self._quality.append(INDEX[quality])
        self._variance_j2.append((self._variance_j2[-1] if self._variance_j2 else 0.0) + u_j * u_j)

    def _open(self, block: NDArray[np.int64]) -> None:
        """Put the knots into the lists, which take more of them one by one."""
        knots = Knots.of_block(block)
        self.__dict__.update(
            _time_ns=knots.time_ns.tolist(),
            _energy_j=knots.energy_j.tolist(),
            _half_width_ns=knots.half_width_ns.tolist(),
            _quality=knots.quality.tolist(),
            _variance_j2=knots.variance_j2.tolist(),
            _block=None,
        )

    def extend(self, data: bytes) -> None:
        """Append knots of another curve of the same device that went on from this one's end, all or none of them.

        Unlike :meth:`add`, it leaves :attr:`power` alone: that is known where the knots were made. They stay arrays, as
        thousands of numbers that are touched one by one take long.

        Args:
            data: the knots, see :meth:`Knots.plain`.

        Raises:
            ValueError: the curve would run backwards, or joules would be booked as missing.
        """
        more, known = _block(data), self._block
        if not more.shape[1]:
            return
        if known is None:
            known = _block(self.knots().plain())
        block = np.concatenate([known, more], axis=1)
        since = max(known.shape[1] - 1, 0)
        times_ns, energies_j, qualities = block[0, since:], block[3, since:].view(np.float64), block[2, since:]
        n = len(times_ns) - 1
        rising, growing = times_ns[1:] > times_ns[:-1], energies_j[1:] >= energies_j[:-1]
        if np.count_nonzero(rising) < n or np.count_nonzero(growing) < n:
            raise ValueError(f"points that run backwards, or lie before the last ({self.end_ns} ns, {self.end_j} J)")
        is_missing = qualities[1:] == MISSING
        if np.count_nonzero(is_missing) and np.any(energies_j[1:][is_missing] != energies_j[:-1][is_missing]):
            raise ValueError("joules in a missing interval: missing time has no joules")
        power_w, ends_ns, ends_j = None, times_ns[-2:].tolist(), energies_j[-2:].tolist()
        if n and qualities[-1] != MISSING:
            power_w = (ends_j[1] - ends_j[0]) / ((ends_ns[1] - ends_ns[0]) * NS)
        last = LastKnown(ends_ns[-1], ends_j[-1], power_w)
        self.__dict__.update(
            _time_ns=[], _energy_j=[], _half_width_ns=[], _quality=[], _variance_j2=[], _block=block, last=last
        )

    def knots(self, first: int = 0, end: int | None = None) -> Knots:
        """The kept knots as arrays.

        Args:
            first: the place of the first one among them.
            end: the place behind the last one; ``None``: all.
        """
        block = self._block
        if block is not None:
            return Knots.of_block(block[:, first:end])
        return Knots(
            np.array(self._time_ns[first:end], dtype=np.int64),
            np.array(self._energy_j[first:end], dtype=np.float64),
            np.array(self._half_width_ns[first:end], dtype=np.int64),
            np.array(self._quality[first:end], dtype=np.int64),
            np.array(self._variance_j2[first:end], dtype=np.float64),
        )

    def place_after(self, time_ns: int) -> int:
        """The place behind the kept knots that are not later than a moment."""
        block = self._block
        return bisect_right(self._time_ns, time_ns) if block is None else int(block[0].searchsorted(time_ns, "right"))

    def forget_before(self, time_ns: int) -> None:
        """Drop the knots that lie before the last one at or before ``time_ns``."""
        block, keep = self._block, self.place_after(time_ns) - 1
        if block is not None:
            self._block = block[:, max(keep, 0) :]
        elif keep > 0:
            for column in (self._time_ns, self._energy_j, self._half_width_ns, self._quality, self._variance_j2):
                del column[:keep]

    def power_bounds_w(self) -> tuple[float, float]:
        """Least and greatest power the device could have had inside an interval, in watts."""
        return self.power.bounds_w()

    def energy_at(self, time_ns: NDArray[np.int64], knots: Knots | None = None) -> NDArray[np.float64]:
        """Energy at moments within the kept knots.

        Args:
            time_ns: ``int64`` of shape (n,).
            knots: the result of :meth:`knots` where the caller has it already.

        Returns:
            Joules, ``float64`` of shape (n,).
        """
        knots = knots or self.knots()
        origin = knots.time_ns[0]  # differences are exact in float64, times since the machine's start are not
        x, xk = (time_ns - origin).astype(np.float64), (knots.time_ns - origin).astype(np.float64)
        energy_j: NDArray[np.float64] = np.interp(x, xk, knots.energy_j)
        return energy_j

    def u_at(self, time_ns: NDArray[np.int64], knots: Knots | None = None) -> NDArray[np.float64]:
        """Standard uncertainty in joules, by repeatability, of the result of :meth:`energy_at` for the same moments."""
        knots = knots or self.knots()
        k = np.clip(np.searchsorted(knots.time_ns, time_ns, side="right"), 1, len(knots.time_ns) - 1)
        start_ns = knots.time_ns[k - 1]
        length_ns = (knots.time_ns[k] - start_ns).astype(np.float64)
        before_ns = np.clip((time_ns - start_ns).astype(np.float64), 0.0, length_ns)
        mean_w = (knots.energy_j[k] - knots.energy_j[k - 1]) / (length_ns * NS)
        bound = shape_bound_j(before_ns * NS, (length_ns - before_ns) * NS, mean_w, *self.power_bounds_w())
        theta = before_ns / length_ns
        edge_ns = np.hypot((1 - theta) * knots.half_width_ns[k - 1], theta * knots.half_width_ns[k])
        # rectangular limits: bound/sqrt(3); a bracket of full width h has h**2/12 = half_width**2/3
        u_j: NDArray[np.float64] = np.hypot(bound, mean_w * edge_ns * NS) / math.sqrt(3)
        return np.where(knots.quality[k] == MISSING, 0.0, u_j)

    def energy_between(self, start_ns: int, end_ns: int) -> Energy:
        """Joules between two moments: ``E(end) - E(start)``.

        Time outside the knots, and inside missing intervals, is counted in ``missing_s``.

        Args:
            start_ns: begin, ``monotonic_ns()``.
            end_ns: end, not before ``start_ns``.

        Raises:
            ValueError: ``end_ns`` lies before ``start_ns``.
        """
        if end_ns < start_ns:
            raise ValueError(f"end_ns={end_ns} lies before start_ns={start_ns}: give the earlier moment first")
        duration_s = (end_ns - start_ns) * NS
        if len(self) < 2:  # noqa: PLR2004 - two knots make an interval
            return Energy.unknown(duration_s)
        knots = self.knots()
        ends = np.clip(np.array([start_ns, end_ns], dtype=np.int64), knots.time_ns[0], knots.time_ns[-1])
        (from_j, to_j), (u_from, u_to) = self.energy_at(ends, knots), self.u_at(ends, knots)
        overlap_ns = np.minimum(knots.time_ns[1:], ends[1]) - np.maximum(knots.time_ns[:-1], ends[0])
        inside = overlap_ns > 0
        quality = knots.quality[1:][inside]
        known_ns = int(overlap_ns[inside][quality != MISSING].sum())
        if known_ns == 0:
            return Energy.unknown(duration_s)
        low_w, high_w = self.power_bounds_w()
        energy_j = float(to_j - from_j)
        mean_w = energy_j / (known_ns * NS)
        cap_j = known_ns * NS * max(high_w - mean_w, mean_w - low_w) / math.sqrt(3)
        own_j2 = float(np.diff(np.interp(ends, knots.time_ns, knots.variance_j2))[0])
        u_j = math.hypot(min(math.hypot(u_from, u_to), cap_j), math.sqrt(max(own_j2, 0.0)))
        return Energy.of_device(
            energy_j,
            u_j,
            calibration_u=self.info.calibration_u,
            duration_s=duration_s,
            missing_s=(end_ns - start_ns - known_ns) * NS,
            quality=QUALITIES[int(quality[quality != MISSING].max())],
        )
