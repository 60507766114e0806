"""Figures of a run at one moment: the contents of its accounts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.accounts import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.accounts import Account, Kind
    from lightning_energy.ledger.sharing.contents import Contents
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Level, Sums

__all__ = ["OF_EPOCHS", "Totals"]

OF_EPOCHS = ("train", "validate")  # the stages that an epoch consists of


class _Columns(NamedTuple):
    """The accounts as arrays."""

    epoch: NDArray[np.int64]
    stage: NDArray[np.str_]
    kind: NDArray[np.str_]
    is_inside: NDArray[np.bool_]


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
        of, wanted = self._columns, self._columns.is_inside
        for values, value in ((of.stage, stage), (of.epoch, epoch), (of.kind, kind)):
            wanted = wanted if value is None else wanted & (values == value)
        return self._of(wanted, "account" if kind else "group" if stage or epoch is not None else "total", device)

    def until(self, code: int) -> Energy:
        """Joules of all accounts that are older than one: of all the time before it, where none was entered again.

        Args:
            code: the account.
        """
        return self._of(self._columns.is_inside & (np.arange(len(self.accounts)) < code), "until")

    def between(self, epochs: Collection[int], without: Collection[str] = ()) -> Energy:
        """Joules of all that is neither training nor validation of some epochs.

        Args:
            epochs: these epochs.
            without: stages that do not count, either.
        """
        of = self._columns
        in_epochs = np.isin(of.epoch, np.array([*epochs], dtype=np.int64)) & np.isin(of.stage, OF_EPOCHS)
        return self._of(of.is_inside & ~in_epochs & ~np.isin(of.stage, [*without]), "group")

    def fitted(self, device: int) -> Contents | None:
        """The joules of a device that are shared out by fitted powers; ``None`` where straight lines share out all."""
        return self._sums[device].fitted

    @property
    def stages(self) -> list[str]:
        """The stages that have accounts, in order of appearance."""
        return [*dict.fromkeys(a.stage for a in self.accounts[1:])]

    @property
    def epochs(self) -> list[int]:
        """The epochs that have accounts, in order of appearance; without -1."""
        return [*dict.fromkeys(a.epoch for a in self.accounts[1:] if a.epoch >= 0)]

    @cached_property
    def _columns(self) -> _Columns:
        return _Columns(
            np.array([a.epoch for a in self.accounts], dtype=np.int64),
            np.array([a.stage for a in self.accounts], dtype=str),
            np.array([a.kind for a in self.accounts], dtype=str),
            np.arange(len(self.accounts)) != OUTSIDE,
        )

    def _of(self, wanted: NDArray[np.bool_], level: Level, device: int | None = None) -> Energy:
        devices = range(len(self._sums)) if device is None else [device]
        return Energy.total(self._sums[d].energy(wanted, level, self._calibration_u[d]) for d in devices)
