"""Figures of a run at one moment: the contents of its accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.accounts import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.ledger.accounts import Account, Kind
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Level, Sums

__all__ = ["Totals"]


class Totals:
    """The contents of the accounts at one moment.

    Args:
        accounts: the accounts in the order of their codes; the first is the time outside.
        sums: per device, the contents of its book.
        calibration_u: per device, the relative standard uncertainty of its gain.
        names: per device, its name.
        missing_ns: per device, the times at which its energy is not known: (from, to) of the monotonic clock.
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        sums: Sequence[Sums],
        calibration_u: Sequence[float],
        names: Sequence[str],
        missing_ns: Sequence[Sequence[Span]] = (),
    ) -> None:
        self.accounts = [*accounts]
        self.names = [*names]
        self.missing_ns = [*missing_ns]
        self._sums = [*sums]
        self._calibration_u = [*calibration_u]

    def energy(
        self,
        *,
        stage: str | None = None,
        epoch: int | None = None,
        kind: Kind | None = None,
        device: int | None = None,
    ) -> Energy:
        """Joules of all accounts that match, over all devices or one.

        Args:
            stage: only this stage.
            epoch: only this epoch.
            kind: only steps, or only gaps.
            device: only the device at this place of :attr:`names`.
        """
        wanted = np.array(
            [
                code != OUTSIDE and stage in {None, a.stage} and epoch in {None, a.epoch} and kind in {None, a.kind}
                for code, a in enumerate(self.accounts)
            ]
        )
        level: Level = "account" if kind else "group" if stage or epoch is not None else "total"
        devices = range(len(self._sums)) if device is None else [device]
        return Energy.total(self._sums[d].energy(wanted, level, self._calibration_u[d]) for d in devices)

    @property
    def stages(self) -> list[str]:
        """The stages that have accounts, in order of appearance."""
        return [*dict.fromkeys(a.stage for a in self.accounts[1:])]

    @property
    def epochs(self) -> list[int]:
        """The epochs that have accounts, in order of appearance; without -1."""
        return [*dict.fromkeys(a.epoch for a in self.accounts[1:] if a.epoch >= 0)]
