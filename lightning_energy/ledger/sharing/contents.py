"""Joules and uncertainties of accounts, from their splits and fitted powers."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.room import with_room
from lightning_energy.ledger.sharing.closer import Closer, Parabola, changes
from lightning_energy.ledger.sharing.powers import Powers, variances_of_longer, wide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.kernel import Kernel
    from lightning_energy.ledger.sharing.sharing import Sharing
    from lightning_energy.ledger.sharing.split import Split

__all__ = ["NOTHING_AHEAD", "SMOOTHED", "Ahead", "Beside", "Contents", "Later", "load_scatter", "smoothed_j2"]

ON_THE_BRIDGE = 0.7
"""Part of the residuals' variance that is power which wanders inside intervals; 1 was too wide, 0.5 too narrow."""

RESOLVED = 0.95  # part of the prior's variance that the run must remove, or the split counts as not resolved
SURELY = 1 / 8
"""Part of the greatest variance. A figure so sure is told: of long phases even neighbours of any power take little."""

KNOWN_EMA_S = 0.002  # uncertainty of the smoothing from which on nothing is known of what lies inside an interval
KNOWN_IN_PARTS, KNOWN_IN_PARTS_S = 0.1, 0.005  # the same where phases are cut: of an interval, and at most
INSIDE = 0.3  # of an interval, times the number of changes of stage: more is cut inside intervals than at their ends
FEW_CHANGES = 4
SMOOTHED = 2 / math.e - 1 / 2
"""Variance of the energy up to a moment, in time constants of a smoothing sensor and of the scatter of power, where it
is read off one time constant later: the integral of the squared weights of what counts too little, and too early."""
LEAST = 0.1  # part of the scatter that is the power's, at least, and not that of the updates' times
PARTLY = 0.5
"""Part of the variance by powers and delays that is the same for all devices: they do the same steps, but each has a
counter that moves at other moments."""
ALIKE = {"inside": 1.0, "powers": PARTLY, "delay": PARTLY, "misfit": 1.0, "unseen": 1.0, "ahead": 1.0, "limits": 1.0}
"""Part of the variance by each cause that is the same for all devices; the times of updates, and rounding, are not."""


SHRINK = ("inside", "edges", "unseen", "rounding", "ahead")
"""Causes whose variance grows like the length of a run, so that it becomes less beside the square of its joules."""
ROUGH = 3.0  # factor by which such a length, from a run that is too short, was too great at most
LENGTHS: NDArray[np.float64] = np.power(1.1, np.arange(1.0, 74.0))  # that are tried


def load_scatter(scatter: float, of_times: float) -> float:
    """Scatter of the load, in J² per second: residuals scatter by errors of the updates' times, too.

    Args:
        scatter: that of the residuals.
        of_times: the part that these errors explain.
    """
    return max(scatter - of_times, LEAST * scatter)


def smoothed_j2(kernel: Kernel, of_load: float, length_s: float) -> float:
    """Variance of the energy up to a moment by what a smoothing sensor shows later, and earlier, in J².

    Args:
        kernel: of the counter.
        of_load: scatter of the load, as its intervals show it, in J² per second.
        length_s: mean length of these.
    """
    return SMOOTHED * kernel.ema_s * of_load / kernel.shown_scatter(length_s)


class Later(NamedTuple):
    """Time that a counter's last update does not show by other kernels, but by the first one.

    Attributes:
        seconds_s: by kernel, of some accounts' classes, shape (kernels, columns); negative where it shows more.
        account: place of the account of each column in :attr:`Ahead.code`.
        of_class: its class.
    """

    seconds_s: NDArray[np.float64]
    account: NDArray[np.intp]
    of_class: NDArray[np.int64]


class Ahead(NamedTuple):
    """Time behind a counter's last update, for which the powers are supposed to go on.

    Attributes:
        code: accounts, each once, in order.
        seconds_s: change of the joules of each by the power of each class, shape (accounts, classes): without updates
            that are not booked, its seconds.
        line_j: joules of each by a straight line through updates that are not booked; empty without any.
        behind_s: seconds of each behind the very last update; empty: all of ``seconds_s``.
        shared_s: seconds of each before that.
        later: for each kernel, where there are several, what the very last update shows less by it than by the first.
    """

    code: NDArray[np.int64]
    seconds_s: NDArray[np.float64]
    line_j: NDArray[np.float64] = np.empty(0)
    behind_s: NDArray[np.float64] = np.empty(0)
    shared_s: NDArray[np.float64] = np.empty(0)
    later: Later | None = None

    def by_kernel(self, powers_w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Joules of the accounts by each kernel: by one that is later, the last update shows less.

        Args:
            powers_w: the powers of all classes by each, shape (kernels, classes).
        """
        result: NDArray[np.float64] = powers_w @ self.seconds_s.T
        if self.later is not None:
            later_s, account, of_class = self.later
            np.add.at(result.T, account, (later_s * powers_w[:, of_class]).T)
        return result

    def unknown_s(self, wanted: NDArray[np.bool_]) -> tuple[float, float]:
        """Seconds of some accounts that no update shows, and those of a Brownian bridge between updates.

        Args:
            wanted: true for the accounts that count, of :attr:`code`.
        """
        add = np.add.reduce
        if not self.shared_s.size:
            return float(self.seconds_s[wanted].sum()), 0.0
        mine_s = float(add(self.shared_s[wanted]))
        return float(add(self.behind_s[wanted])), mine_s - mine_s**2 / float(add(self.shared_s))


class Beside(NamedTuple):
    """A kernel by which intervals were booked, and its part in what all of them tell.

    Attributes:
        kernel: the kernel.
        part: the part of the figures by it that is added to those by the first kernel; all parts are 0 together.
        power_w: the power of each class by it.
    """

    kernel: Kernel
    part: float
    power_w: NDArray[np.float64]


NOTHING_AHEAD = Ahead(np.empty(0, dtype=np.int64), np.empty((0, 0)))


class Contents:
    """The contents of the accounts of one device at one moment.

    Attributes:
        split: of the intervals so far.
        powers: the fitted powers.
        found: the kernel, as all intervals tell it.
        sharing: the way to share.
        energy_j: joules by account.
        moved_j: the part of them that powers would have given to neighbours, beyond what these can have spent.
        booked_w: the powers of each block as intervals were booked by them, shape (blocks, classes).
        beside: the kernels by which they were booked, where all of them tell another one.

    Args:
        split: see there.
        sharing: see there.
        powers: see there.
        ahead: the time behind the last update.
        stretches: number and seconds of the stretches of each class that are over, shape (2, classes), when asked.
        hides: true where steps have phases, but none is cut: they are too short to be told apart.
    """

    def __init__(
        self,
        split: Split,
        sharing: Sharing,
        powers: Powers,
        ahead: Ahead = NOTHING_AHEAD,
        stretches: Callable[[], NDArray[np.float64]] | None = None,
        *,
        hides: bool = False,
    ) -> None:
        n = split.line_j.shape[1]
        width = max(split.d.shape[2], ahead.seconds_s.shape[1], powers.power_w.shape[1])
        self.split, self.powers, self.found = split, powers.wide(width), sharing.found
        self.sharing = sharing
        self._stretches = stretches
        self._hides = hides
        self._ahead = NOTHING_AHEAD._replace(seconds_s=np.empty((0, width)))
        line_j = with_room(split.line_j[0], n)
        energy_j = line_j.copy()
        for place, block in enumerate(split.blocks):
            energy_j[block.code] += wide(block.d, width) @ self.powers.power_w[self._at(place)]
        self._known: dict[bytes, tuple[float, float, float]] = {}
        self.booked_w, self.beside = self.powers.power_w, tuple[Beside, ...]()
        self._beside_w: tuple[NDArray[np.float64], Closer | None] | None = None  # powers by each kernel
        self._slopes, self._spread, shift_j = self._kernel_slopes(n)
        energy_j += shift_j
        moved_j = split.limits.moves_j(energy_j, line_j, split.pairs)
        self.moved_j = np.zeros(n) if moved_j is None else moved_j
        energy_j += self.moved_j
        self.energy_j: NDArray[np.float64] = energy_j
        if ahead.code.size:
            self.__dict__.update(self._with(ahead))

    def going_on(self, ahead: Ahead, stretches: Callable[[], NDArray[np.float64]]) -> Contents:
        """The same with the time behind the last update, where these are without.

        Args:
            ahead: see the class.
            stretches: see there.
        """
        if ahead.seconds_s.shape[1] > self.powers.power_w.shape[1]:
            powers = self.powers._replace(power_w=self.booked_w)
            return Contents(self.split, self.sharing, powers, ahead, stretches, hides=self._hides)
        result = Contents.__new__(Contents)
        result.__dict__.update({**self.__dict__, **self._with(ahead), "_known": {}, "_stretches": stretches})
        return result

    def _with(self, ahead: Ahead) -> dict[str, object]:
        """Everything that changes with the time behind the last update."""
        code, have = ahead.code, len(self.energy_j)
        n = max(have, int(code[-1]) + 1 if code.size else 0)
        ahead = ahead._replace(seconds_s=wide(ahead.seconds_s, self.powers.power_w.shape[1]))
        energy_j, slopes = np.zeros(n), np.zeros((len(self._slopes), n))
        energy_j[:have], slopes[:, :have] = self.energy_j, self._slopes
        energy_j[code] += ahead.seconds_s @ self.booked_w[-1]
        if ahead.line_j.size:
            energy_j[code] += ahead.line_j
        if self._beside_w is not None:
            powers_w, closer = self._beside_w
            by_kernel = ahead.by_kernel(powers_w)
            if closer is None:
                slopes[:, code] += _changes(by_kernel)
            else:
                slopes_of, beyond_j = closer.changes_and_beyond([*by_kernel])
                slopes[:, code] += slopes_of
                energy_j[code] += beyond_j
        return {"_ahead": ahead, "energy_j": energy_j, "moved_j": with_room(self.moved_j, n), "_slopes": slopes}

    @property
    def stretches(self) -> NDArray[np.float64]:
        """Number and seconds of the stretches of each class that are over, shape (2, classes)."""
        return np.zeros((2, 0)) if self._stretches is None else self._stretches()

    def of(self, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Joules of the wanted accounts, one by one."""
        n = min(len(wanted), len(self.energy_j))
        result: NDArray[np.float64] = self.energy_j[:n][wanted[:n]]
        return result

    def to_phases(self, width: int) -> NDArray[np.float64]:
        """The mean of each class's parts, by its first one: a matrix of shape (classes, classes)."""
        result = np.eye(width)
        for each in self.sharing.parts:
            result[each.classes[0], [*each.classes]] = each.lengths
        return result

    def from_phases(self, width: int) -> NDArray[np.float64]:
        """The class of the whole, that is the first, of each part: a matrix of shape (classes, classes)."""
        return np.eye(width)[self.powers.prior.whole_of(width)]

    def variance_j2(self, wanted: NDArray[np.bool_]) -> float:
        """Variance of the joules of some accounts together, in J².

        Args:
            wanted: a mask of shape (accounts,).
        """
        return sum(self.parts_j2(wanted).values())

    def alike_j2(self, wanted: NDArray[np.bool_]) -> float:
        """The part of this variance that is the same for all devices."""
        return sum(ALIKE.get(cause, 0.0) * j2 for cause, j2 in self.parts_j2(wanted).items())

    def parts_j2(self, wanted: NDArray[np.bool_]) -> dict[str, float]:
        """The same by its causes."""
        split, kernel = self.split, self.found.kernel
        wanted = self._mask(wanted)
        bridge, edge, cuts = split.pairs.within(wanted).tolist()
        scatter, mean_s = self.powers.scatter, self._mean_s
        of_powers, of_kernel, guess = self._of_fit(wanted)
        of_load = load_scatter(scatter, split.of_times_j2 / max(split.n, 1))
        ahead_s, since_s = self._ahead.unknown_s(wanted[self._ahead.code])
        inside = max(ON_THE_BRIDGE * of_load * (bridge + since_s), 0.0) + max(cuts, 0.0) * smoothed_j2(
            kernel, of_load, mean_s
        )
        misfit = self._beyond_scatter * mean_s * (cuts / 2) ** 2
        is_open = of_powers + of_kernel > (1 - RESOLVED) * guess or self._is_hidden(bridge, cuts)
        if is_open and guess > inside + edge + misfit:
            of_powers = max(of_powers, guess)
        seconds_s = float(np.add.reduce(split.seconds_s[wanted[: len(split.seconds_s)]]))
        unseen_s = (1 - self.found.kernel.look) * seconds_s
        return {
            "inside": inside,
            "powers": max(of_powers, 0.0),
            "delay": max(of_kernel, 0.0),
            "edges": max(edge, 0.0),
            "misfit": misfit,
            "unseen": scatter * unseen_s,
            "rounding": split.rounding_j2 * seconds_s / max(mean_s, 1e-12),
            "ahead": scatter * ahead_s,
            "limits": float(np.add.reduce(self.moved_j[wanted])) ** 2,
        }

    def tells(self, wanted: NDArray[np.bool_], variance_j2: float, most_j2: float) -> bool:
        """True where the run tells the joules of some accounts.

        Args:
            wanted: a mask of shape (accounts,).
            variance_j2: the variance of their joules.
            most_j2: the greatest that it may be.
        """
        wanted = self._mask(wanted)
        of_powers, of_kernel, guess = self._of_fit(wanted)
        if guess <= 0 or variance_j2 <= SURELY * most_j2 < math.inf:
            return True
        is_open = of_powers + of_kernel > (1 - RESOLVED) * guess or variance_j2 > most_j2
        return not is_open and not self._hides_inside(wanted)

    def length_to_tell(self, wanted: NDArray[np.bool_], variance_j2: float = 0.0, most_j2: float = math.inf) -> float:
        """The length, in lengths of this run, that a run needs at least to tell the joules of some accounts.

        That of which powers alone would tell them, if they hardly varied within phases, and the delay became known
        faster than it does: none that is shorter tells them, but one of that length need not.

        Args:
            wanted: a mask of shape (accounts,).
            variance_j2: the variance of their joules.
            most_j2: the greatest that it may be, for the joules of this run.

        Returns:
            1 where they tell already; infinity where nobody knows of a length that would.
        """
        if self.tells(wanted, variance_j2, most_j2):
            return 1.0
        wanted = self._mask(wanted)
        _, of_kernel, _ = self._of_fit(wanted)
        is_hidden = self._hides_inside(wanted)
        if is_hidden and self._hides:
            return math.inf
        parts, along_s = self.parts_j2(wanted), self._sensitivity_s(wanted).sum(axis=0)
        prior, mean_w = self.powers.prior.at_best, self.powers.mean_w
        best = self.powers._replace(prior=prior)
        least_j2 = variances_of_longer(self.split.normals[0], best, along_s, LENGTHS)
        least_j2 += float(prior.within_j2(along_s, mean_w))
        if self.sharing.is_final:  # else the next look at the delay may tell it
            least_j2 += of_kernel / LENGTHS**2
        guess = float(prior.variances_j2(along_s, mean_w))
        all_j2 = least_j2 + sum(parts[cause] for cause in SHRINK) / LENGTHS + parts["misfit"] + parts["limits"]
        is_told = (least_j2 <= (1 - RESOLVED) * guess) & (all_j2 <= most_j2) & (not is_hidden)
        enough = LENGTHS[is_told | (all_j2 <= SURELY * most_j2)]
        return max(float(enough[0]) / ROUGH, float(LENGTHS[0])) if enough.size else math.inf

    def _hides_inside(self, wanted: NDArray[np.bool_]) -> bool:
        bridge, _, cuts = self.split.pairs.within(wanted).tolist()
        return self._is_hidden(bridge, cuts)

    def _mask(self, wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The same for all accounts that are known here."""
        n = len(self.energy_j)
        if len(wanted) == n:
            return wanted
        result = np.zeros(n, dtype=bool)
        result[: len(wanted)] = wanted[:n]
        return result

    @property
    def _mean_s(self) -> float:
        """Mean seconds of an interval."""
        whole = self.split.normals[0]
        return whole.length_s / max(whole.n, 1)

    def _of_fit(self, wanted: NDArray[np.bool_]) -> tuple[float, float, float]:
        """Variance by the powers and by the kernel, and what it were if nothing but the prior were known."""
        asked = wanted.tobytes()  # the same is asked of a phase several times
        if asked not in self._known:
            self._known[asked] = self._new_of_fit(wanted)
        return self._known[asked]

    def _new_of_fit(self, wanted: NDArray[np.bool_]) -> tuple[float, float, float]:
        d, slope = self._sensitivity_s(wanted), self._slopes @ wanted
        of_all, flat, (prior, mean_w) = np.add.reduce(d), d.ravel(), (self.powers.prior, self.powers.mean_w)
        along = self.powers.covariance_w2 @ flat
        guess = float(prior.variances_j2(of_all, mean_w))
        of_kernel = float(slope @ self._spread @ slope) * self.sharing.found.widening
        within = float(prior.within_j2(of_all, mean_w)) if prior.has_parts else 0.0
        mean_along = np.add.reduce(along.reshape(d.shape)) / len(d)
        return float(self.powers.as_carried(flat @ along, mean_along, np.array(guess))) + within, of_kernel, guess

    def _is_hidden(self, bridge: float, cuts: float) -> bool:
        """True for what lies inside intervals where the run does not tell what power does there.

        It is not known where nobody knows how the sensor smooths, or where phases are so short that their parts are not
        told apart: power that varies within them is taken for that of others, however long the run is.
        """
        known_s = KNOWN_EMA_S
        if self.powers.prior.has_parts:
            known_s = min(KNOWN_IN_PARTS * self._mean_s, KNOWN_IN_PARTS_S)
        is_unknown = self._hides or self.found.u_ema_s > known_s
        return is_unknown and bridge > INSIDE * self._mean_s * (cuts + 2)

    def _at(self, place: int) -> int:
        """The block of powers of a block of intervals: later ones have those of the last."""
        return min(place, len(self.powers.power_w) - 1)

    @cached_property
    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.float64]]:
        """Accounts, blocks of powers, and D, of all blocks together."""
        blocks, width = self.split.blocks, self.powers.power_w.shape[1]
        if not blocks:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.intp), np.empty((0, width))
        place = np.repeat([self._at(i) for i in range(len(blocks))], [len(block.code) for block in blocks])
        rows = np.concatenate([wide(block.d, width) for block in blocks])
        return np.concatenate([block.code for block in blocks]), place, rows

    def _sensitivity_s(self, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Change of the joules of some accounts by the powers of each block: shape (blocks, classes)."""
        d = np.zeros(self.powers.power_w.shape)
        code, place, rows = self._rows
        mine = wanted.take(code)
        np.add.at(d, place.compress(mine), rows.compress(mine, axis=0))
        d[-1] += np.add.reduce(self._ahead.seconds_s.compress(wanted.take(self._ahead.code), axis=0))
        return d

    @cached_property
    def _beyond_scatter(self) -> float:
        """Scatter of the intervals in which the stage changes, beyond that of all about the same powers."""
        return _beyond_scatter(self.split, self.powers)

    def _kernel_slopes(self, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Changes of all accounts by what is not known of the kernel, its covariance, and a change that is told."""
        split, found = self.split, self.found
        if not self.sharing.kernels_w or not split.n:
            return np.zeros((2, n)), np.zeros((2, 2)), np.zeros(n)
        width, (code, _, rows) = self.powers.power_w.shape[1], self._rows
        powers_w = _wide_by_kernel(self.sharing.kernels_w, width, self.powers.mean_w)
        by_kernel = _by_kernel(split, code, rows, powers_w)
        if split.turns is None:
            self._beside_w = powers_w, None
            return _changes(by_kernel), self.sharing.spread, np.zeros(n)
        closer = self.sharing.closer or Closer.as_found(found)
        self._beside_w = powers_w, closer
        self.found = closer.found
        power_w = np.maximum(self.powers.power_w + closer.beyond([*powers_w]), 0.0)
        self.powers = self.powers._replace(power_w=power_w)
        if any(closer.at):
            parts = closer.beyond([*np.eye(len(split.kernels))]).tolist()
            self.beside = tuple(map(Beside, split.kernels, parts, powers_w))
        slopes, shift_j = closer.changes_and_beyond([*by_kernel])
        return slopes, closer.covariance, shift_j


def _changes(by_kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Changes of figures by what is not known of a kernel that was not looked for closely, from those by each."""
    at_0, down, up, less, more = by_kernel
    return changes((Parabola(-1.0, down, at_0, up), Parabola(-1.0, less, at_0, more)), (0.0, 0.0))


def _wide_by_kernel(powers_w: Sequence[NDArray[np.float64]], width: int, mean_w: float) -> NDArray[np.float64]:
    """Powers of all classes by each kernel, of those that have none the mean power: shape (kernels, classes)."""
    result = np.empty((len(powers_w), width))
    result.fill(mean_w)
    for row, power_w in zip(result, powers_w, strict=True):
        row[: len(power_w)] = power_w
    return result


def _by_kernel(
    split: Split, code: NDArray[np.int64], rows: NDArray[np.float64], powers_w: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Joules of all accounts by each kernel, without the time ahead: shape (kernels, accounts).

    Args:
        split: of the intervals.
        code: the accounts of the rows of all of its blocks.
        rows: D of these.
        powers_w: the powers of all classes by each kernel.
    """
    width = split.d.shape[2]
    d = split.d.copy()  # there is none by the first kernel, but that of the blocks
    np.add.at(d[0], code, rows[:, :width])
    result: NDArray[np.float64] = split.line_j + (d @ powers_w[:, :width, None])[:, :, 0]
    return result


def _beyond_scatter(split: Split, powers: Powers) -> float:
    changes, whole, scatter = split.stages.changes, split.normals[0], powers.scatter
    if changes.n <= FEW_CHANGES:
        return 0.0
    power_w = np.average(powers.power_w, axis=0)
    of_all = max(whole.squares(power_w) / whole.n, scatter)  # more than the scatter where powers wander
    at_changes = changes.squares(power_w) / changes.n
    return max(at_changes / max(of_all, 1e-12) - 1 - 2 * math.sqrt(2 / changes.n), 0.0) * scatter
