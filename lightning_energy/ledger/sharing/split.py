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

from lightning_energy.ledger.distinct import distinct, distinct_places
from lightning_energy.ledger.room import with_room
from lightning_energy.ledger.sharing.closer import Turns
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.limits import Limits
from lightning_energy.ledger.sharing.pairs import Pairs
from lightning_energy.ledger.sharing.powers import Fourth, Normals, go_on, median, wide
from lightning_energy.ledger.sharing.timeline import Smoothed, ones

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.delay import Found
    from lightning_energy.ledger.sharing.stretch import Stretch
    from lightning_energy.ledger.sharing.timeline import Timeline

__all__ = ["Columns", "Split", "kernels_of"]

MOST_BLOCKS = 32  # blocks of intervals with powers of their own; more are joined two by two
BLOCK = 8  # intervals of a block, to begin with
GAUSS = ((-0.8611363, 0.1739274), (-0.3399810, 0.3260726), (0.3399810, 0.3260726), (0.8611363, 0.1739274))
# nodes and weights of Gauss-Legendre quadrature over a bracket (Abramowitz and Stegun, table 25.4)
ROUNDING_MJ = 1e-3  # that of differences of floats
SMALL = 1 / 16  # part of the mean rise: greater common divisors of rises are chance, not a sensor's unit
OUTLIER = 4.0  # residual, in robust standard deviations, from which on an interval's weight falls (Huber)
SURE = 2.0  # standard deviations of delay and smoothing within which the energy at an update is taken to be
SHARP_S = 0.001  # least of these deviations
REMEMBERS = 4.0  # time constants after which a smoothing sensor has shown nearly all
OF_SMOOTHING = (3, 4)  # the kernels that smooth otherwise, see Found.beside
NO_LIMIT_J = 1e15
ROUNDING_S = 1e-12  # seconds that are a rounding error, at most


class Columns(NamedTuple):
    """The accounts and classes of the columns of a timeline: one column for each pair that occurs."""

    code: NDArray[np.int64]
    of_class: NDArray[np.int64]


class _Block:
    """Normal equations of some intervals in a row, and what their powers add to the accounts; up to ``end_ns``.

    Arrays are never changed, only replaced.
    """

    def __init__(self, width: int) -> None:
        self.end_ns = 0
        self.normals = Normals(width)
        self.code = np.empty(0, dtype=np.int64)
        self.d = np.empty((0, width))

    def add(self, code: NDArray[np.int64], d: NDArray[np.float64]) -> None:
        """Add rows for accounts."""
        width = max(d.shape[1], self.d.shape[1])
        rows = np.concatenate([wide(self.d, width), wide(d, width)])
        self.code, place = distinct_places(np.concatenate([self.code, code]))
        self.d = np.zeros((len(self.code), width))
        np.add.at(self.d, place, rows)

    def copy(self) -> _Block:
        """The same, which may change by itself."""
        return copy(self)

    def join(self, other: _Block) -> None:
        """Take over the block that follows."""
        self.normals = self.normals + other.normals
        self.end_ns = other.end_ns
        self.add(other.code, other.d)


class _Part(NamedTuple):
    """Intervals to book: unknown ones rise by nothing.

    Attributes:
        knot_s: times of their updates, shape (n + 1,).
        half_s: half of the bracket of each.
        rise_j: joules of each interval, shape (n,).
        length_s: seconds of each.
        known: true for those that tell of powers.
        used: the accounts of the columns, each once.
        to_class: 1 where a column (row) is of a class.
        to_account: 1 where a column (row) is of a used account.
    """

    knot_s: NDArray[np.float64]
    half_s: NDArray[np.float64]
    rise_j: NDArray[np.float64]
    length_s: NDArray[np.float64]
    known: NDArray[np.bool_]
    used: NDArray[np.int64]
    to_class: NDArray[np.float64]
    to_account: NDArray[np.float64]

    @classmethod
    def of(cls, stretch: Stretch, columns: Columns, rows: slice) -> _Part:
        knots = slice(rows.start, rows.stop + 1)
        knot_s, known = stretch.knot_s[knots], stretch.is_known[rows]
        used, account = distinct_places(columns.code)
        return cls(
            knot_s,
            stretch.half_s[knots],
            np.where(known, stretch.rise_j[rows], 0.0),
            knot_s[1:] - knot_s[:-1],
            known,
            used,
            ones(columns.of_class, len(stretch.stage)),
            ones(account, len(used)),
        )

    @property
    def of_times_j2(self) -> float:
        """Variance of the rises by errors of the updates' times, per second of each; the sum over intervals."""
        half2_s2 = self.half_s[1:] ** 2 + self.half_s[:-1] ** 2
        return float(((self.rise_j / self.length_s) ** 2 * half2_s2 / 3 / self.length_s).sum())

    def seconds(self, kernel: Kernel, smoothed: Smoothed) -> NDArray[np.float64]:
        """Seconds of the columns in known intervals, as a kernel sees them."""
        result: NDArray[np.float64] = kernel.seconds_of(smoothed, self.knot_s)[0] * self.known[:, None]
        return result

    def normals(
        self, tau: NDArray[np.float64], weight: NDArray[np.float64], excess: NDArray[np.float64] | None
    ) -> Normals:
        """Normal equations of the known intervals, from the seconds of the classes in all of them."""
        known = self.known
        return Normals.of(tau[known], self.rise_j[known], self.length_s[known], weight[known], excess)


class Stages:
    """Normal equations of intervals by their stages.

    Attributes:
        of: those of all intervals, by the stage that lasts longest in each.
        changes: those of the intervals in which the stage changes.
    """

    def __init__(self) -> None:
        self.of = dict[int, Normals]()
        self.changes = Normals()

    def copy(self) -> Stages:
        """The same, which may change by itself."""
        result = Stages.__new__(Stages)
        result.of, result.changes = {**self.of}, self.changes
        return result

    def add(
        self, part: _Part, tau: NDArray[np.float64], weight: NDArray[np.float64], to_stage: NDArray[np.int64]
    ) -> None:
        """Add the known intervals, from the seconds of the classes in all intervals."""
        in_stages_s = tau @ ones(to_stage, int(to_stage.max()) + 1)
        longest = in_stages_s.argmax(axis=1)
        for stage in distinct(longest[part.known]).tolist():
            mine = part.known & (longest == stage)
            normals = Normals.of(tau[mine], part.rise_j[mine], part.length_s[mine], weight[mine])
            self.of[stage] = self.of[stage] + normals if stage in self.of else normals
        changed = part.known & (in_stages_s.max(axis=1) < 0.999 * part.length_s)
        if changed.any():
            t = part.length_s[changed]
            self.changes = self.changes + Normals.of(tau[changed], part.rise_j[changed], t, 1 / t)


def kernels_of(found: Found) -> list[Kernel]:
    """The kernel, and it moved by one standard deviation both ways along both axes of its covariance."""
    return [found.kernel, *found.beside]


class Split:
    """L, D and what their uncertainty needs, of one device.

    Args:
        kernels: the kernel that counts, and its neighbours.
        is_fine: true where residuals are to tell which of them smooths as the counter does.

    Attributes:
        kernels: the kernel that counts, and its neighbours one standard deviation away.
        line_j: L by kernel and account, shape (kernels, accounts).
        d: D by kernel (but for the first) and account and class.
        blocks: the same for the first kernel, by blocks of intervals.
        pairs: for pairs of accounts: seconds' covariance of Brownian bridges, of cuts, and the changes of stage.
        stages: the intervals by their stages.
        turns: what tells which of the kernels is right; ``None`` where intervals are not to tell.
        fourth: how many intervals carry what is known of any difference of powers.
        limits: the least and the most that accounts can have spent.
        seconds_s: by account.
        n: number of intervals.
        joined: how often blocks were joined.
        of_times_j2: variance of the rises by errors of the updates' times, per second of each; summed over intervals.
        unit_mj: the greatest common divisor of all rises in millijoules.
    """

    def __init__(self, kernels: Sequence[Kernel], *, is_fine: bool = False) -> None:
        self.kernels = [*kernels]
        self.turns = Turns() if is_fine else None
        self.line_j = np.zeros((len(self.kernels), 8))
        self.d = np.zeros((len(self.kernels), 8, 0))
        self.normals = [Normals() for _ in self.kernels]
        self.blocks: list[_Block] = []
        self.pairs = Pairs()
        self.stages = Stages()
        self.fourth = Fourth()
        self.limits = Limits()
        self.seconds_s = np.zeros(8)
        self.n = 0
        self.joined = 0
        self.of_times_j2 = 0.0
        self.unit_mj = 0

    def add(
        self,
        stretch: Stretch,
        columns: Columns,
        timeline: Timeline,
        rows: slice,
        power_w: NDArray[np.float64] | None,
        *,
        for_now: bool = False,
        groups: NDArray[np.int64] | None = None,
        pause: Callable[[], None] = go_on,
    ) -> None:
        """Book intervals.

        Args:
            stretch: the intervals, with what came before them.
            columns: the accounts and classes of the timeline's columns.
            timeline: account and class in force.
            rows: which of the intervals.
            power_w: the powers that are known so far, to tell outliers by; ``None`` without any.
            for_now: true where no powers will be fitted to them, and the neighbouring kernels share them alike.
            groups: for each account, the first one of its group; ``None``: each is a group of its own.
            pause: called between parts of the work.
        """
        part = _Part.of(stretch, columns, rows)
        if not part.known.any():
            return
        width = part.to_class.shape[1]
        self._grow(int(columns.code.max()) + 1, width)
        kernels = self.kernels[:1] if for_now else self.kernels
        plain = timeline.smoothed()
        first, behind, seen, spent = plain.behind(kernels[0].ema_s), dict[int, Smoothed](), [], []
        turns = None if for_now else self.turns
        for j, kernel in enumerate(kernels):
            pause()
            smoothed = first if kernel is kernels[0] else plain.behind(kernel.ema_s)
            seen.append(part.seconds(kernel, smoothed))
            if turns is not None and j in OF_SMOOTHING:
                behind[j] = smoothed
            del smoothed  # with short steps it is large: one at a time
            spent.append(part.seconds(Kernel(kernel.lag_s), plain) if self._is_part_time else seen[-1])
        pause()
        taus = [x @ part.to_class for x in seen]
        weight = np.where(part.known, 1 / part.length_s, 0.0) * _huber(part, taus[0], power_w)
        excess = None if for_now else self._excess(part, kernels[0], first, weight)
        pause()
        if turns is not None:
            turns.add([tau[part.known] for tau in taus], weight[part.known])
        for j, (tau, spent_s) in enumerate(zip(taus, spent, strict=True)):
            if j in behind:
                excess = self._excess(part, kernels[j], behind[j], weight)
            normals = part.normals(tau, weight, excess)
            line_j, d = self._shares(part, tau, spent_s)
            self.normals[j] = self.normals[j] + normals
            if j == 0 and not for_now:
                self.fourth.add(tau[part.known], weight[part.known], stretch.prior)
            self.line_j[slice(None) if for_now else j, part.used] += line_j
            if j == 0:
                self._to_blocks(normals, part.used, d, for_now=for_now)
            if j or for_now:
                self.d[slice(1, None) if for_now else j, part.used, :width] += d
            pause()
        self.n += int(part.known.sum())
        self.of_times_j2 += part.of_times_j2
        self._add_unit(part.rise_j[part.known])
        self.stages.add(part, taus[0], weight, stretch.stage)
        of_accounts_s = spent[0] @ part.to_account
        self.seconds_s[part.used] += of_accounts_s.sum(axis=0)
        self.limits.add(part.used, of_accounts_s, part.rise_j, self._slack_j(part), groups)
        self._add_pairs(
            part, of_accounts_s, self._before(stretch, first if self.kernels[0].look == 1 else plain, rows.start)
        )
        pause()
        self._add_cuts(stretch, columns, timeline, rows)

    @property
    def rounding_j2(self) -> float:
        """Variance of an interval's rise by the unit in which the sensor counts: whole watts times the period, say."""
        unit_j, whole = self.unit_mj * 1e-3, self.normals[0]
        return unit_j**2 / 12 if unit_j < SMALL * whole.rise_j / max(whole.n, 1) else 0.0

    def copy(self) -> Split:
        """The same in arrays of its own."""
        result = Split.__new__(Split)
        result.__dict__.update(self.__dict__)
        result.line_j, result.d, result.seconds_s = self.line_j.copy(), self.d.copy(), self.seconds_s.copy()
        result.turns, result.fourth = copy(self.turns), copy(self.fourth)
        result.normals = [*self.normals]
        result.blocks = [*self.blocks[:-1], *(block.copy() for block in self.blocks[-1:])]  # only the last one changes
        result.stages, result.pairs, result.limits = self.stages.copy(), self.pairs.copy(), self.limits.copy()
        return result

    @property
    def _is_part_time(self) -> bool:
        return self.kernels[0].look < 1

    def _slack_j(self, part: _Part) -> NDArray[np.float64]:
        """Joules by which the energy at both ends of each interval may be another than its updates show, together."""
        if self._is_part_time:  # it shows nothing of what it does not see
            return np.full(len(part.rise_j), NO_LIMIT_J)
        centre, most_w = self.kernels[0], float((part.rise_j / part.length_s).max())
        strays = [abs(k.lag_s - centre.lag_s) + abs(k.ema_s - centre.ema_s) for k in self.kernels]
        blur_s = SURE * max(SHARP_S, *strays) + REMEMBERS * centre.ema_s
        return most_w * (part.half_s[1:] + part.half_s[:-1] + 2 * blur_s)

    def _shares(
        self, part: _Part, tau: NDArray[np.float64], spent_s: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """L and D of some intervals, by used account.

        Args:
            part: the intervals.
            tau: seconds of the classes that their rises stand for, shape (n, classes).
            spent_s: seconds of the columns in them, shape (n, columns).
        """
        in_all_s = spent_s.sum(axis=0)
        line_j = (spent_s * (part.rise_j / part.length_s)[:, None]).sum(axis=0) @ part.to_account
        own_s = (part.to_account.T * in_all_s) @ part.to_class
        d = own_s - (spent_s @ part.to_account / part.length_s[:, None]).T @ tau
        if self._is_part_time:  # together the accounts are what the counter says, not what it should have seen
            net_s, time_s = in_all_s @ part.to_class - tau.sum(axis=0), in_all_s @ part.to_account
            d -= np.outer(time_s / max(time_s.sum(), 1e-12), net_s)
        return line_j, d

    def _add_unit(self, rise_j: NDArray[np.float64]) -> None:
        rise_mj = rise_j * 1e3
        is_whole = bool((np.abs(rise_mj - np.rint(rise_mj)) < ROUNDING_MJ).all())
        self.unit_mj = int(np.gcd.reduce([self.unit_mj, *np.rint(rise_mj).astype(np.int64)])) if is_whole else 1

    @staticmethod
    def _excess(part: _Part, kernel: Kernel, smoothed: Smoothed, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """The addition of errors of the updates' times to the normal equations: each moves time to a neighbour."""
        half_s, to_class = part.half_s, part.to_class
        cumulative, at_s = smoothed.at, part.knot_s - kernel.lag_s
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

    def _to_blocks(
        self, normals: Normals, used: NDArray[np.int64], d: NDArray[np.float64], *, for_now: bool = False
    ) -> None:
        if not self.blocks or self.blocks[-1].normals.n >= BLOCK << self.joined:
            if len(self.blocks) >= MOST_BLOCKS and not for_now:  # which would ask for powers that are fitted anew
                joined = [block.copy() for block in self.blocks[::2]]
                for first, second in zip(joined, self.blocks[1::2], strict=True):
                    first.join(second)
                self.blocks, self.joined = joined, self.joined + 1
            self.blocks.append(_Block(d.shape[1]))
        block = self.blocks[-1]
        block.normals = block.normals + normals
        block.add(used, d)

    def _before(
        self, stretch: Stretch, smoothed: Smoothed, first: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Shares of the columns in the interval before the first, and its power; ``None`` where it is not known."""
        if first == 0 or not stretch.is_known[first - 1]:
            return None
        knot_s = stretch.knot_s[first - 1 : first + 1]
        length_s = knot_s[1:] - knot_s[:-1]
        seconds_s = Kernel(self.kernels[0].lag_s).seconds_of(smoothed, knot_s)[0]
        return seconds_s / length_s[:, None], stretch.rise_j[first - 1 : first] / length_s

    def _add_pairs(
        self,
        part: _Part,
        spent_s: NDArray[np.float64],
        before: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    ) -> None:
        """Add the bridges and cuts of intervals.

        Args:
            part: the intervals.
            spent_s: seconds of the used accounts in them, shape (n, accounts).
            before: shares of the columns in the interval before the first, and its power; ``None``: not known.
        """
        length_s, used = part.length_s, part.used
        share, power_w, half_s, known = spent_s / length_s[:, None], part.rise_j / length_s, part.half_s[1:], part.known
        if before is not None:  # the update between the two is the first of these
            share, power_w = np.concatenate([before[0] @ part.to_account, share]), np.concatenate([before[1], power_w])
            half_s, known = part.half_s, np.concatenate([[True], known])
        sharp_s = np.where(known[1:] & known[:-1], half_s[:-1], 0.0)  # next to an unknown interval nothing is moved
        bridge = np.diag(spent_s.sum(axis=0)) - spent_s.T @ (spent_s / length_s[:, None])
        # an update that is seen too late moves joules to the next interval, which shares them out differently
        e2 = (power_w[1:] ** 2 + power_w[:-1] ** 2) / 2 * sharp_s**2 / 3
        turn = share[1:] - share[:-1]
        edge = turn.T @ (turn * e2[:, None])
        x, y = np.nonzero((np.abs(bridge) > ROUNDING_S) | (np.abs(edge) > ROUNDING_S))
        values = np.zeros((len(x), 3))
        values[:, 0], values[:, 1] = bridge[x, y], edge[x, y]
        self.pairs.add(used[x], used[y], values)

    def _add_cuts(self, stretch: Stretch, columns: Columns, timeline: Timeline, rows: slice) -> None:
        """Count the changes of stage between accounts, in known intervals."""
        k = (stretch.knot_s - self.kernels[0].lag_s).searchsorted(timeline.start_s[1:]) - 1
        inside = (rows.start <= k) & (k < rows.stop)
        inside[inside] = stretch.is_known[k[inside]]
        before, after = timeline.column[:-1][inside], timeline.column[1:][inside]
        stage = stretch.stage[columns.of_class]
        changes = stage[before] != stage[after]
        x, y = columns.code[before[changes]], columns.code[after[changes]]
        if not x.size:
            return
        values = np.zeros((4 * len(x), 3))
        values[: 2 * len(x), 2], values[2 * len(x) :, 2] = 1.0, -1.0
        self.pairs.add(np.concatenate([x, y, x, y]), np.concatenate([x, y, y, x]), values)

    def _grow(self, codes: int, width: int) -> None:
        have, have_width = self.line_j.shape[1], self.d.shape[2]
        more = max(codes, 2 * have) - have if codes > have else 0
        n = have + more
        self.line_j, self.seconds_s = with_room(self.line_j, len(self.kernels), n), with_room(self.seconds_s, n)
        self.d = with_room(self.d, len(self.kernels), n, max(width, have_width))


def _huber(part: _Part, tau: NDArray[np.float64], power_w: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Weights that let no single interval rule the fit (Huber, Ann. Math. Stat. 35:73, 1964)."""
    rise_j, length_s, known = part.rise_j, part.length_s, part.known
    if power_w is None or known.sum() < 8:  # noqa: PLR2004 - too few for a scale
        return np.ones(len(rise_j))
    width = tau.shape[1]
    p = np.concatenate([power_w, np.full(max(width - len(power_w), 0), np.nan)])[:width]
    p = np.where(np.isnan(p), rise_j.sum() / max(length_s[known].sum(), 1e-12), p)
    z = np.abs(rise_j - tau @ p) / np.sqrt(length_s)
    limit = OUTLIER * max(median(z[known]) / 0.6745, 1e-9)
    result: NDArray[np.float64] = np.minimum(1.0, limit / np.maximum(z, 1e-12))
    return result
