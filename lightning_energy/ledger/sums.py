"""The joules, seconds and uncertainties of one device, accumulated per account."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from lightning_energy.curves.energy import MISSING, QUALITIES, Energy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.contents import Contents
    from lightning_energy.ledger.uncertainty import Uncertainty

__all__ = ["Level", "Shares", "Sums"]

Level = Literal["account", "group", "until", "total"]
"""Reach of a figure, as the errors of accounts that share their ends cancel; ``until``: all up to some moment."""

ARRAYS = (  # fields that are arrays
    "energy_j",
    "time_s",
    "u_account_j",
    "u2_account_j2",
    "u_group_j",
    "u2_group_j2",
    "alike_account_j2",
    "alike_group_j2",
)


class Shares(NamedTuple):
    """The additions of one booking to the accounts that it touches.

    Attributes:
        used: these accounts.
        energy_j: joules of each.
        time_s: seconds by quality, shape (qualities, used accounts).
        uncertainty: from the intervals that they share.
    """

    used: NDArray[np.int64]
    energy_j: NDArray[np.float64]
    time_s: NDArray[np.float64]
    uncertainty: Uncertainty


@dataclass
class Sums:
    """Sums per account (last axis: its code) and per group of accounts (epoch x stage).

    Attributes:
        energy_j: joules by straight lines, shape (codes,).
        time_s: seconds by quality, shape (qualities, codes).
        u_account_j: uncertainty of an account; linear, as lines err the same way wherever the load changes.
        u2_account_j2: the independent part of it, as a variance.
        u_group_j: uncertainty of a group, linear.
        u2_group_j2: the independent part of it.
        u_total_j: uncertainty of everything together, linear: only the outer ends of the run add to it.
        u2_total_j2: the independent part of it, and the variance that integrated knots carry themselves.
        alike_account_j2: the part of :attr:`u2_account_j2` that is the same for all devices.
        alike_group_j2: the part of :attr:`u2_group_j2`.
        alike_total_j2: the part of :attr:`u2_total_j2`.
        fitted: the joules that are shared out by fitted powers, beside those above; ``None`` without any.
    """

    energy_j: NDArray[np.float64]
    time_s: NDArray[np.float64]
    u_account_j: NDArray[np.float64]
    u2_account_j2: NDArray[np.float64]
    u_group_j: NDArray[np.float64]
    u2_group_j2: NDArray[np.float64]
    alike_account_j2: NDArray[np.float64]
    alike_group_j2: NDArray[np.float64]
    u_total_j: float = 0.0
    u2_total_j2: float = 0.0
    alike_total_j2: float = 0.0
    fitted: Contents | None = None

    @classmethod
    def zeros(cls, n: int = 8) -> Sums:
        """Nothing booked yet."""
        return cls(np.zeros(n), np.zeros((len(QUALITIES), n)), *np.zeros((6, n)))

    def copy(self) -> Sums:
        """The same sums in arrays of their own."""
        result = Sums.__new__(Sums)
        result.__dict__.update(self.__dict__)
        result.__dict__.update([(name, self.__dict__[name].copy()) for name in ARRAYS])
        return result

    def grow(self, n: int) -> None:
        """Make room for ``n`` accounts."""
        for name in ARRAYS if len(self.energy_j) < n else ():
            setattr(self, name, _grown(getattr(self, name), n))

    def add(self, shares: Shares, accounts: int) -> None:
        """Add the shares of a booking.

        Args:
            shares: the additions.
            accounts: the number of accounts at its time.
        """
        used, u = shares.used, shares.uncertainty
        self.grow(accounts)
        self.energy_j[used] += shares.energy_j
        self.time_s[:, used] += shares.time_s
        self.u_account_j[used] += u.account_j
        self.u2_account_j2[used] += u.account_j2
        self.u_group_j[u.groups] += u.group_j
        self.u2_group_j2[u.groups] += u.group_j2
        self.alike_account_j2[used] += u.account_alike_j2
        self.alike_group_j2[u.groups] += u.group_alike_j2
        self.u_total_j += u.total_j
        self.u2_total_j2 += u.total_j2
        self.alike_total_j2 += u.total_alike_j2

    def energy(self, wanted: NDArray[np.bool_], level: Level, calibration_u: float) -> Energy:
        """Joules of the wanted accounts.

        Args:
            wanted: a mask of shape (accounts,).
            level: picks the uncertainty.
            calibration_u: relative standard uncertainty of the device's gain.
        """
        n, fitted = len(wanted), self.fitted
        time_s = np.add.reduce(self.time_s[:, :n][:, wanted], axis=1)
        duration_s, missing_s = float(np.add.reduce(time_s)), time_s.item(MISSING)
        present = [quality for quality, seconds in enumerate(time_s[:MISSING].tolist()) if seconds > 0]
        if not present:
            return Energy(None, 0.0, 0.0, duration_s, missing_s, "missing")
        return Energy.of_device(
            math.fsum(self.energy_j[:n][wanted]) + (0.0 if fitted is None else math.fsum(fitted.of(wanted))),
            math.hypot(self._u_j(wanted, level), 0.0 if fitted is None else math.sqrt(fitted.variance_j2(wanted))),
            calibration_u=calibration_u,
            duration_s=duration_s,
            missing_s=missing_s,
            quality=QUALITIES[present[-1]],
        )

    def alike_j2(self, wanted: NDArray[np.bool_], level: Level) -> float:
        """The part of the variance of the wanted accounts that is the same for all devices, in J².

        Straight lines err alike, as devices change their load at the same moments, and so do counters whose delay is
        not known.

        Args:
            wanted: a mask of shape (accounts,).
            level: as for :meth:`energy`.
        """
        of_lines_j2 = self._linear_j(wanted, level) ** 2
        if level in {"total", "until"}:
            of_lines_j2 += self.alike_total_j2
        else:
            of_level = self.alike_account_j2 if level == "account" else self.alike_group_j2
            of_lines_j2 += float(of_level[: len(wanted)][wanted].sum())
        return of_lines_j2 + (0.0 if self.fitted is None else self.fitted.alike_j2(wanted))

    def joules(self, n: int) -> NDArray[np.float64]:
        """Joules of the first ``n`` accounts, one by one."""
        result = np.zeros(n)
        result[: len(self.energy_j)] = self.energy_j[:n]
        if self.fitted is not None:
            fitted_j = self.fitted.energy_j[:n]
            result[: len(fitted_j)] += fitted_j
        return result

    def is_known(self, n: int) -> NDArray[np.bool_]:
        """True for those of the first ``n`` accounts of which some joules are known."""
        result = np.zeros(n, dtype=bool)
        result[: self.time_s.shape[1]] = self.time_s[:MISSING, :n].sum(axis=0) > 0
        return result

    def _u_j(self, wanted: NDArray[np.bool_], level: Level) -> float:
        if level in {"total", "until"}:
            j2 = self.u2_total_j2
        else:
            of_level = self.u2_account_j2 if level == "account" else self.u2_group_j2
            j2 = float(np.add.reduce(of_level[: len(wanted)][wanted]))
        return math.hypot(self._linear_j(wanted, level), math.sqrt(j2))

    def _linear_j(self, wanted: NDArray[np.bool_], level: Level) -> float:
        """The part of the uncertainty by straight lines that adds up linearly."""
        if level == "total":
            return self.u_total_j
        if level == "until":  # its outer ends alone; groups before the last one share theirs
            return self.u_total_j + float(self.u_account_j[np.flatnonzero(wanted)[-1:]].sum())
        of_level = self.u_account_j if level == "account" else self.u_group_j
        return float(np.add.reduce(of_level[: len(wanted)][wanted]))


def _grown(array: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """``array`` with at least ``n`` columns; twice as many when it has to grow, as epochs keep coming."""
    if array.shape[-1] >= n:
        return array
    result = np.zeros((*array.shape[:-1], max(n, 2 * array.shape[-1])))
    result[..., : array.shape[-1]] = array
    return result
