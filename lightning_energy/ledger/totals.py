"""Figures of a run at one moment: the contents of its accounts."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.energy import NOTHING, Energy
from lightning_energy.ledger.accounts import OTHER, OUTSIDE, REST, columns_of
from lightning_energy.ledger.distinct import distinct_places, is_one_of
from lightning_energy.ledger.phases import TOLD_U, PhaseEnergy

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.accounts import Account, AccountColumns, Kind
    from lightning_energy.ledger.sharing.contents import Contents
    from lightning_energy.ledger.spans import Span
    from lightning_energy.ledger.sums import Level, Sums

__all__ = ["OF_EPOCHS", "Totals"]

OF_EPOCHS = ("train", "validate")  # the stages that an epoch consists of
LITTLE = 0.02  # part of a phase's joules of a device that does not count for whether they are told


class Totals:
    """The contents of the accounts at one moment.

    Args:
        accounts: the accounts in the order of their codes; the first is the time outside.
        sums: per device, the contents of its book.
        calibration_u: per device, the relative standard uncertainty of its gain.
        names: per device, its name.
        missing_ns: per device, the times at which its energy is not known: (from, to) of the monotonic clock.
        columns: the accounts as arrays, where they are made already.
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        sums: Sequence[Sums],
        calibration_u: Sequence[float],
        names: Sequence[str],
        missing_ns: Sequence[Sequence[Span]] = (),
        *,
        columns: AccountColumns | None = None,
    ) -> None:
        self.accounts = [*accounts]
        self._columns = columns_of(self.accounts) if columns is None else columns
        self.names = [*names]
        self.missing_ns = [*missing_ns]
        self._sums = [*sums]
        self._calibration_u = [*calibration_u]
        self._known: dict[tuple[object, ...], Energy] = {}  # figures that were asked for

    def energy(
        self,
        *,
        stage: str | None = None,
        epoch: int | None = None,
        kind: Kind | None = None,
        phase: str | None = None,
        device: int | None = None,
    ) -> Energy:
        """Joules of all accounts that match, over all devices or one.

        Args:
            stage: only this stage.
            epoch: only this epoch.
            kind: only steps, or only gaps.
            phase: only this phase of them.
            device: only the device at this place of :attr:`names`.
        """
        asked = (stage, epoch, kind, phase, device)
        if asked not in self._known:
            wanted = self._wanted(stage, epoch, kind, phase)
            is_part, is_group = kind or phase is not None, stage or epoch is not None
            self._known[asked] = self._of(wanted, "account" if is_part else "group" if is_group else "total", device)
        return self._known[asked]

    def phases(self, stage: str, epoch: int | None = None, *, looks_ahead: bool = True) -> list[PhaseEnergy]:
        """The phases of a stage, in order of appearance; together they are the stage.

        Args:
            stage: the stage.
            epoch: only this epoch of it.
            looks_ahead: false where it does not matter how long a run would have to be to tell what this one does not.

        Returns:
            Nothing where the stage is not divided.
        """
        here = [self.accounts[code] for code in self._wanted(stage, epoch, None, None).nonzero()[0].tolist()]
        if all(a.phase in REST for a in here):
            return []
        names = dict.fromkeys(OTHER if a.phase in REST else a.phase for a in here)
        found = [self._phase(stage, epoch, name, looks_ahead=looks_ahead) for name in names]
        return [phase for phase in found if phase.energy.duration_s > 0]

    def _phase(self, stage: str, epoch: int | None, name: str, *, looks_ahead: bool) -> PhaseEnergy:
        energy, wanted = self.energy(stage=stage, epoch=epoch, phase=name), self._wanted(stage, epoch, None, name)
        longer, is_told, is_one = 0.0, True, len(self._sums) == 1
        for device, sums in enumerate(self._sums):
            part = energy if is_one else self.energy(stage=stage, epoch=epoch, phase=name, device=device)
            if (part.energy_j or 0.0) <= LITTLE * (energy.energy_j or 0.0):
                continue
            is_told &= sums.fitted is not None
            if sums.fitted is None:
                continue
            asked = wanted, part.u_j**2, (TOLD_U * (part.energy_j or 0.0)) ** 2
            if looks_ahead:
                longer = max(longer, sums.fitted.length_to_tell(*asked))
            elif not sums.fitted.tells(*asked):
                longer = math.inf
        return PhaseEnergy.of(name, energy, longer if is_told else None)

    def _wanted(self, stage: str | None, epoch: int | None, kind: Kind | None, phase: str | None) -> NDArray[np.bool_]:
        """True for the accounts that match."""
        of, wanted = self._columns, self._is_inside
        if stage is not None:
            wanted = wanted & (of.stage == of.number(stage))
        if epoch is not None:
            wanted = wanted & (of.epoch == epoch)
        if kind is not None:
            wanted = wanted & (of.is_step == (kind == "step"))
        if phase is not None:
            wanted = wanted & is_one_of(of.phase, [*map(of.number, REST if phase in REST else {phase})])
        return wanted

    def until(self, code: int) -> Energy:
        """Joules of all accounts that are older than one: of all the time before it, where none was entered again.

        Args:
            code: the account.
        """
        return self._of(self._is_inside & (np.arange(len(self.accounts)) < code), "until")

    def between(self, epochs: Collection[int], without: Collection[str] = ()) -> Energy:
        """Joules of all that is neither training nor validation of some epochs.

        Args:
            epochs: these epochs.
            without: stages that do not count, either.
        """
        epoch = self._columns.epoch
        chosen = np.array(sorted({*epochs}), dtype=np.int64)
        place = chosen.searchsorted(epoch)
        place[place == len(chosen)] = 0
        in_epochs = (chosen[place] == epoch if chosen.size else np.zeros(len(epoch), dtype=bool)) & self._is_of(
            OF_EPOCHS
        )
        return self._of(self._is_inside & ~in_epochs & ~self._is_of(without), "group")

    def joules_by_epoch(self, stage: str) -> dict[int, float]:
        """Joules of a stage by epoch, over all devices, without their uncertainties; of epochs that have any."""
        energy_j, is_known = self._joules
        wanted = is_known & self._is_of([stage]) & (self._columns.epoch >= 0)
        epochs, place = distinct_places(self._columns.epoch[wanted])
        return dict(zip(epochs.tolist(), np.bincount(place, energy_j[wanted], len(epochs)).tolist(), strict=True))

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
    def _is_inside(self) -> NDArray[np.bool_]:
        result = np.ones(len(self.accounts), dtype=bool)
        result[OUTSIDE : OUTSIDE + 1] = False
        return result

    @cached_property
    def _joules(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Joules of each account, and true where some are known."""
        n = len(self.accounts)
        energy_j, is_known = np.zeros(n), np.zeros(n, dtype=bool)
        for sums in self._sums:
            energy_j += sums.joules(n)
            is_known |= sums.is_known(n)
        return energy_j, is_known

    def _is_of(self, stages: Collection[str]) -> NDArray[np.bool_]:
        """True for the accounts of some stages."""
        of = self._columns
        return is_one_of(of.stage, [*map(of.number, stages)]) if stages else np.zeros(len(of.stage), dtype=bool)

    def _of(self, wanted: NDArray[np.bool_], level: Level, device: int | None = None) -> Energy:
        if not wanted.any():
            return NOTHING
        devices = range(len(self._sums)) if device is None else [device]
        parts = [self._sums[d].energy(wanted, level, self._calibration_u[d]) for d in devices]
        if len(parts) == 1:
            return parts[0]
        known = [(d, part.u_j) for d, part in zip(devices, parts, strict=True) if part.energy_j is not None]
        total = Energy.total(parts)
        if len(known) < 2:  # noqa: PLR2004 - nothing to add
            return total
        u_j = _together_j([(u_j, self._sums[d].alike_j2(wanted, level)) for d, u_j in known])
        gain2_j2 = max(total.u_absolute_j**2 - total.u_j**2, 0.0)
        return replace(total, u_j=u_j, u_absolute_j=math.hypot(u_j, math.sqrt(gain2_j2)))


def _together_j(devices: Sequence[tuple[float, float]]) -> float:
    """Standard uncertainty of a sum over devices: what is alike adds linearly, the rest in quadrature.

    Args:
        devices: of each its standard uncertainty, and the part of its square that is alike.
    """
    alike_j = sum(math.sqrt(alike_j2) for _, alike_j2 in devices)
    return math.sqrt(alike_j**2 + sum(max(u_j**2 - alike_j2, 0.0) for u_j, alike_j2 in devices))
