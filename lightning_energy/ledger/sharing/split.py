"""Joules of accounts from the intervals of one counter: a straight line's share, and what mean powers add to it.

An interval i of length T_i and rise ΔE_i in which account a was in force for τ_ia, and class of work c for τ_ic
seconds, gives the account

    S_ia = τ_ia ΔE_i / T_i + Σ_c (τ_iac - τ_ia τ_ic / T_i) p_c

which sums to ΔE_i over the accounts, whatever the powers p are. Over all intervals this is L_a + Σ_c D_ac p_c: L and
D are kept, not the intervals, and powers that become known late correct what was booked early.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.powers import Normals, median

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.delay import Found
    from lightning_energy.ledger.sharing.stretch import Stretch
    from lightning_energy.ledger.sharing.timeline import Timeline

__all__ = ["Columns", "Pairs", "Split", "kernels_of"]

MOST_BLOCKS = 32  # blocks of intervals with powers of their own; more are joined two by two
BLOCK = 8  # intervals of a block, to begin with
GAUSS = ((-0.8611363, 0.1739274), (-0.3399810, 0.3260726), (0.3399810, 0.3260726), (0.8611363, 0.1739274))
# nodes and weights of Gauss-Legendre quadrature over a bracket (Abramowitz and Stegun, table 25.4)
ROUNDING_MJ = 1e-3  # that of differences of floats
SMALL = 1 / 16  # part of the mean rise: greater common divisors of rises are chance, not a sensor's unit
OUTLIER = 4.0  # residual, in robust standard deviations, from which on an interval's weight falls (Huber)
ROUNDING_S = 1e-12  # seconds that are a rounding error, at most


class Columns(NamedTuple):
    """The accounts and classes of the columns of a timeline: one column for each pair that occurs."""

    code: NDArray[np.int64]
    of_class: NDArray[np.int64]


class Pairs:
    """Sums for pairs of accounts, sparse: only neighbours share intervals. Arrays are never changed, only replaced.

    Attributes:
        first: the first account of each pair.
        second: the second account.
        values: the sums, shape (pairs, 3): of a Brownian bridge between the updates in seconds, of cuts in J², and of
            changes of stage.
    """

    def __init__(self) -> None:
        self.first, self.second = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        self.values = np.empty((0, 3))

    def add(self, first: NDArray[np.int64], second: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Add values of shape (n, 3) to n pairs."""
        first, second = np.concatenate([self.first, first]), np.concatenate([self.second, second])
        key, place = np.unique((first << 32) + second, return_inverse=True)
        sums = np.zeros((len(key), 3))
        np.add.at(sums, place, np.concatenate([self.values, values]))
        self.first, self.second, self.values = key >> 32, key & 0xFFFFFFFF, sums

    def within(self, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The quadratic form for a set of accounts: shape (3,)."""
        result: NDArray[np.float64] = self.values[wanted[self.first] & wanted[self.second]].sum(axis=0)
        return result


class _Block:
    """Normal equations of some intervals in a row, and what their powers add to the accounts; up to ``end_ns``."""

    def __init__(self, width: int) -> None:
        self.end_ns = 0
        self.normals = Normals(width)
        self.code = np.empty(0, dtype=np.int64)
        self.d = np.empty((0, width))

    def add(self, code: NDArray[np.int64], d: NDArray[np.float64]) -> None:
        """Add rows for accounts."""
        width = max(d.shape[1], self.d.shape[1])
        rows = np.concatenate([_wide(self.d, width), _wide(d, width)])
        self.code, place = np.unique(np.concatenate([self.code, code]), return_inverse=True)
        self.d = np.zeros((len(self.code), width))
        np.add.at(self.d, place, rows)

    def copy(self) -> _Block:
        """The same, which may change by itself."""
        result = copy(self)
        result.normals = self.normals.copy()
        return result

    def join(self, other: _Block) -> None:
        """Take over the block that follows."""
        self.normals += other.normals
        self.end_ns = other.end_ns
        self.add(other.code, other.d)


def kernels_of(found: Found) -> list[Kernel]:
    """The kernel, and it moved by one standard deviation both ways along both axes of its covariance."""
    centre = found.kernel
    return [centre] + [
        centre._replace(lag_s=centre.lag_s + sign * lag_s, ema_s=max(centre.ema_s + sign * ema_s, 0.0))
        for lag_s, ema_s in found.axes_s.T
        for sign in (-1, 1)
    ]


class Split:
    """L, D and what their uncertainty needs, of one device.

    Attributes:
        kernels: the kernel that counts, and its neighbours one standard deviation away.
        line_j: L by kernel and account, shape (kernels, accounts).
        d: D by kernel (but for the first) and account and class.
        blocks: the same for the first kernel, by blocks of intervals.
        pairs: for pairs of accounts: seconds' covariance of Brownian bridges, of cuts, and the changes of stage.
        changes: the intervals in which the stage changes.
        seconds_s: by account.
        n: number of intervals.
        joined: how often blocks were joined.
        unit_mj: the greatest common divisor of all rises in millijoules.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        self.kernels = [*kernels]
        self.line_j = np.zeros((len(self.kernels), 8))
        self.d = np.zeros((len(self.kernels), 8, 0))
        self.normals = [Normals() for _ in self.kernels]
        self.blocks: list[_Block] = []
        self.pairs = Pairs()
        self.changes = Normals()
        self.seconds_s = np.zeros(8)
        self.n = 0
        self.joined = 0
        self.unit_mj = 0
        self._block = BLOCK

    def add(
        self,
        stretch: Stretch,
        columns: Columns,
        timeline: Timeline,
        rows: slice,
        power_w: NDArray[np.float64] | None,
        *,
        for_now: bool = False,
    ) -> None:
        """Book intervals.

        Args:
            stretch: the intervals, with what came before them.
            columns: the accounts and classes of the timeline's columns.
            timeline: account and class in force.
            rows: which of the intervals.
            power_w: the powers that are known so far, to tell outliers by; ``None`` without any.
            for_now: true where no powers will be fitted to them, and the neighbouring kernels share them alike.
        """
        known = stretch.is_known[rows]
        if not known.any():
            return
        knot_s, half_s = stretch.knot_s[rows.start : rows.stop + 1], stretch.half_s[rows.start : rows.stop + 1]
        rise_j, length_s = np.where(known, stretch.rise_j[rows], 0.0), np.diff(knot_s)
        width, n_codes = len(stretch.stage), int(columns.code.max()) + 1
        used, account = np.unique(columns.code, return_inverse=True)
        to_class, to_account = _ones(columns.of_class, width), _ones(account, len(used))
        self._grow(n_codes, width)
        kernels = self.kernels[:1] if for_now else self.kernels
        taus = [k.seconds(knot_s, timeline)[0] * known[:, None] for k in kernels]
        is_part = self.kernels[0].look < 1
        spents = [Kernel(k.lag_s).seconds(knot_s, timeline)[0] * known[:, None] for k in kernels] if is_part else taus
        classes = [tau @ to_class for tau in taus]
        weight = np.where(known, 1 / length_s, 0.0)
        weight = weight * _huber(classes[0], rise_j, length_s, known, power_w)
        excess = None if for_now else self._excess(knot_s, half_s, timeline, to_class, weight)
        per_s = (rise_j / length_s)[:, None]
        for j, (tau, spent) in enumerate(zip(classes, spents, strict=True)):
            normals = Normals.of(tau[known], rise_j[known], length_s[known], weight[known], excess)
            self.normals[j] += normals
            line_j = (spent * per_s).sum(axis=0) @ to_account
            self.line_j[slice(None) if for_now else j, used] += line_j
            both = (to_account.T * spent.sum(axis=0)) @ to_class
            d = both - (spent @ to_account / length_s[:, None]).T @ tau
            if is_part:  # together the accounts are what the counter says, not what it should have seen
                net_s, time_s = spent.sum(axis=0) @ to_class - tau.sum(axis=0), spent.sum(axis=0) @ to_account
                d -= np.outer(time_s / max(time_s.sum(), 1e-12), net_s)
            if j == 0:
                self._to_blocks(normals, used, d)
                if for_now:
                    self.d[1:, used, :width] += d
            else:
                self.d[j, used, :width] += d
        self.n += int(known.sum())
        rise_mj = rise_j[known] * 1e3
        is_whole = bool((np.abs(rise_mj - np.rint(rise_mj)) < ROUNDING_MJ).all())
        self.unit_mj = int(np.gcd.reduce([self.unit_mj, *np.rint(rise_mj).astype(np.int64)])) if is_whole else 1
        spent = spents[0] @ to_account
        self.seconds_s[used] += spent.sum(axis=0)
        self._add_changes(stretch, classes[0], rise_j, length_s, known)
        share, power_w = spent / length_s[:, None], rise_j / length_s
        earlier = self._before(stretch, timeline, rows.start)
        if earlier is not None:  # the update between the two is the first of these
            share, power_w = np.concatenate([earlier[0] @ to_account, share]), np.concatenate([earlier[1], power_w])
        else:
            half_s = half_s[1:]
        both = np.concatenate([np.ones(int(earlier is not None), dtype=bool), known])
        sharp_s = np.where(both[1:] & both[:-1], half_s[:-1], 0.0)  # next to an unknown interval nothing is moved
        self._add_pairs(used, spent, length_s, share, power_w**2, sharp_s)
        self._add_cuts(stretch, columns, timeline, rows)

    @property
    def rounding_j2(self) -> float:
        """Variance of an interval's rise by the unit in which the sensor counts: whole watts times the period, say."""
        unit_j, whole = self.unit_mj * 1e-3, self.normals[0]
        return unit_j**2 / 12 if unit_j < SMALL * whole.rise_j / max(whole.n, 1) else 0.0

    def copy(self) -> Split:
        """The same in arrays of its own."""
        result = Split(self.kernels)
        result.line_j, result.d, result.seconds_s = self.line_j.copy(), self.d.copy(), self.seconds_s.copy()
        result.normals = [x.copy() for x in self.normals]
        result.blocks = [block.copy() for block in self.blocks]
        result.changes, result.pairs = self.changes.copy(), copy(self.pairs)
        result.n, result.joined, result._block = self.n, self.joined, self._block
        result.unit_mj = self.unit_mj
        return result

    def _excess(
        self,
        knot_s: NDArray[np.float64],
        half_s: NDArray[np.float64],
        timeline: Timeline,
        to_class: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """The addition of errors of the updates' times to the normal equations: each moves time to a neighbour."""
        kernel = self.kernels[0]
        cumulative, at_s = timeline.smoothed(kernel.ema_s).at, knot_s - kernel.lag_s
        result = np.zeros((to_class.shape[1],) * 2)
        if kernel.look < 1:  # what the sensor looks at moves with the update at its beginning
            seen_s, half_s = at_s[:-1] + kernel.look * np.diff(at_s), half_s[:-1]
            there = cumulative(seen_s) - cumulative(at_s[:-1])
        else:
            there = cumulative(at_s)
            weight = np.concatenate([[0], weight]) + np.concatenate([weight, [0]])
        for shift, g in GAUSS:
            moved_s = shift * half_s
            here = cumulative(at_s[: len(half_s)] + moved_s)
            if kernel.look < 1:
                here = (cumulative(seen_s + moved_s) - here - there) / kernel.look
            else:
                here -= there
            moved = here @ to_class
            result += g * (moved.T @ (moved * weight[:, None]))
        return result

    def _to_blocks(self, normals: Normals, used: NDArray[np.int64], d: NDArray[np.float64]) -> None:
        if not self.blocks or self.blocks[-1].normals.n >= self._block:
            if len(self.blocks) >= MOST_BLOCKS:
                for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
                    first.join(second)
                self.blocks, self._block, self.joined = self.blocks[::2], 2 * self._block, self.joined + 1
            self.blocks.append(_Block(d.shape[1]))
        block = self.blocks[-1]
        block.normals += normals
        block.add(used, d)

    def _add_changes(
        self,
        stretch: Stretch,
        tau: NDArray[np.float64],
        rise_j: NDArray[np.float64],
        length_s: NDArray[np.float64],
        known: NDArray[np.bool_],
    ) -> None:
        to_stage = np.zeros((len(stretch.stage), int(stretch.stage.max()) + 1))
        to_stage[np.arange(len(stretch.stage)), stretch.stage] = 1.0
        changed = known & ((tau @ to_stage).max(axis=1) < 0.999 * length_s)
        if changed.any():
            t = length_s[changed]
            self.changes += Normals.of(tau[changed], rise_j[changed], t, 1 / t)

    def _before(
        self, stretch: Stretch, timeline: Timeline, first: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Shares of the columns in the interval before the first, and its power; ``None`` where it is not known."""
        if first == 0 or not stretch.is_known[first - 1]:
            return None
        knot_s = stretch.knot_s[first - 1 : first + 1]
        kernel = self.kernels[0] if self.kernels[0].look == 1 else Kernel(self.kernels[0].lag_s)
        length_s = np.diff(knot_s)
        return kernel.seconds(knot_s, timeline)[0] / length_s[:, None], stretch.rise_j[first - 1 : first] / length_s

    def _add_pairs(  # noqa: PLR0917 - arrays of one calculation
        self,
        used: NDArray[np.int64],
        spent: NDArray[np.float64],
        length_s: NDArray[np.float64],
        share: NDArray[np.float64],
        power_w2: NDArray[np.float64],
        half_s: NDArray[np.float64],
    ) -> None:
        bridge = np.diag(spent.sum(axis=0)) - spent.T @ (spent / length_s[:, None])
        # an update that is seen too late moves joules to the next interval, which shares them out differently
        e2 = (power_w2[1:] + power_w2[:-1]) / 2 * half_s**2 / 3
        turn = np.diff(share, axis=0)
        edge = turn.T @ (turn * e2[:, None])
        x, y = np.nonzero((np.abs(bridge) > ROUNDING_S) | (np.abs(edge) > ROUNDING_S))
        self.pairs.add(used[x], used[y], np.stack([bridge[x, y], edge[x, y], np.zeros(len(x))], axis=1))

    def _add_cuts(self, stretch: Stretch, columns: Columns, timeline: Timeline, rows: slice) -> None:
        """Count the changes of stage between accounts, in known intervals."""
        k = np.searchsorted(stretch.knot_s - self.kernels[0].lag_s, timeline.start_s[1:]) - 1
        inside = (rows.start <= k) & (k < rows.stop) & stretch.is_known[np.clip(k, 0, len(stretch.is_known) - 1)]
        before, after = timeline.column[:-1][inside], timeline.column[1:][inside]
        stage = stretch.stage[columns.of_class]
        changes = stage[before] != stage[after]
        x, y = columns.code[before[changes]], columns.code[after[changes]]
        values = np.zeros((4 * len(x), 3))
        values[:, 2] = np.repeat([1.0, 1.0, -1.0, -1.0], len(x))
        self.pairs.add(np.concatenate([x, y, x, y]), np.concatenate([x, y, y, x]), values)

    def _grow(self, codes: int, width: int) -> None:
        have, have_width = self.line_j.shape[1], self.d.shape[2]
        more = max(codes, 2 * have) - have if codes > have else 0
        if more:
            self.line_j, self.seconds_s = np.pad(self.line_j, ((0, 0), (0, more))), np.pad(self.seconds_s, (0, more))
        if more or width > have_width:
            self.d = np.pad(self.d, ((0, 0), (0, more), (0, max(width - have_width, 0))))


def _huber(
    tau: NDArray[np.float64],
    rise_j: NDArray[np.float64],
    length_s: NDArray[np.float64],
    known: NDArray[np.bool_],
    power_w: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Weights that let no single interval rule the fit (Huber, Ann. Math. Stat. 35:73, 1964)."""
    if power_w is None or known.sum() < 8:  # noqa: PLR2004 - too few for a scale
        return np.ones(len(rise_j))
    width = tau.shape[1]
    p = np.concatenate([power_w, np.full(max(width - len(power_w), 0), np.nan)])[:width]
    p = np.where(np.isnan(p), rise_j.sum() / max(length_s[known].sum(), 1e-12), p)
    z = np.abs(rise_j - tau @ p) / np.sqrt(length_s)
    limit = OUTLIER * max(median(z[known]) / 0.6745, 1e-9)
    result: NDArray[np.float64] = np.minimum(1.0, limit / np.maximum(z, 1e-12))
    return result


def _ones(column: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    result = np.zeros((len(column), width))
    result[np.arange(len(column)), column] = 1.0
    return result


def _wide(d: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.pad(d, ((0, 0), (0, width - d.shape[1])))
