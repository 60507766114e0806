"""The raw curves and every stretch between two marks, as they become known, so that figures can be recomputed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_energy.curves.energy import QUALITIES
from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.held import numbers
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Knots
    from lightning_energy.ledger.accounts import Account
    from lightning_energy.ledger.marks import AtMarks

__all__ = ["Columns", "Trace"]

Columns = dict[str, "NDArray[Any]"]
WHOLE = 1e-9  # relative rounding error of the time of a stretch that is missing as a whole
MARK = np.dtype([("time_ns", "i8"), ("code", "i8"), ("energy_j", "f8"), ("missing_s", "f8"), ("variance_j2", "f8")])


class Trace:
    """Collects rows until they are taken. The caller holds the ledger's lock.

    Attributes:
        rows: how many rows wait to be taken.

    Args:
        device_ids: identities of the devices, one per curve.
        started_ns: the moment that counts as second 0, ``monotonic_ns()``.
        has_phases: true where steps and gaps are divided into phases.
    """

    def __init__(self, device_ids: Sequence[str], started_ns: int, *, has_phases: bool = False) -> None:
        self._has_phases = has_phases
        self._device_ids = [*device_ids]
        self._started_ns = started_ns
        self._knots: list[tuple[int, Knots, int]] = []  # device, knots, how many of them came before
        self._marks: list[NDArray[Any]] = []
        self._until_ns: dict[int, int] = {}  # by device, the last knot that was collected
        self._told = 0  # how many marks of the run were collected
        self._begun: set[int] = set()  # devices whose first knot was taken
        self._begun_codes: tuple[tuple[int, int], ...] = ()
        self.rows = 0

    def add_knots(self, device: int, knots: Knots, *, told: int) -> None:
        """Collect knots that were booked, the first ``told`` of which were collected before."""
        if device in self._until_ns:  # a signal handler may have raised before they counted as booked
            told = max(told, int(np.searchsorted(knots.time_ns, self._until_ns[device], side="right")))
        rows = len(knots.time_ns) - told
        if rows > 0:
            until_ns = {**self._until_ns, device: int(knots.time_ns[-1])}
            self.__dict__.update(
                _knots=[*self._knots, (device, knots, told)], rows=self.rows + rows, _until_ns=until_ns
            )

    def add_marks(
        self, time_ns: NDArray[np.int64], code: NDArray[np.int64], at_marks: AtMarks, *, first: int | None = None
    ) -> None:
        """Collect marks, with the state of all curves together at each. Arrays of shape (n,).

        Args:
            time_ns: their times.
            code: their accounts.
            at_marks: the state.
            first: number of the first of them in the run; those that were collected are not again.
        """
        skip = 0 if first is None else max(self._told - first, 0)
        time_ns, code, at_marks = time_ns[skip:], code[skip:], at_marks.part(slice(skip, None))
        marks = np.empty(len(time_ns), dtype=MARK)
        for name, values in zip(MARK.names or (), (time_ns, code, *at_marks[:3]), strict=True):
            marks[name] = values
        rows, told = self.rows + len(marks), self._told + len(marks)
        self.__dict__.update(_marks=[*self._marks, marks], rows=rows, _told=told)

    def take_curve(self) -> Columns:
        """Knots since the last call: ``device_id``, ``time_s``, ``energy_j``, ``half_width_s``, ``quality``.

        The quality is that of the stretch which ends at the knot, as text: ``None`` at the first knot of a device.
        """
        taken, self._knots = self._knots, []
        fresh = [(d, k, slice(told, None)) for d, k, told in taken]
        quality = [np.array(QUALITIES, dtype=object)[k.quality[new]] for _, k, new in fresh]
        for (device, _, _), names in zip(fresh, quality, strict=True):
            if device not in self._begun and len(names):
                names[0] = None
                self._begun.add(device)
        n = [len(k.time_ns[new]) for _, k, new in fresh]
        return {
            "device_id": np.repeat([self._device_ids[d] for d, _, _ in fresh], n) if fresh else np.empty(0, dtype=str),
            "time_s": self._seconds(_joined([k.time_ns[new] for _, k, new in fresh])),
            "energy_j": _joined([k.energy_j[new] for _, k, new in fresh]),
            "half_width_s": _joined([k.half_width_ns[new] for _, k, new in fresh]) * NS,
            "quality": _joined(quality).astype(object),
        }

    def take_steps(self, accounts: Sequence[Account]) -> Columns:
        """Stretches between marks since the last call, all devices together; those outside of accounts are left out.

        Args:
            accounts: the accounts in the order of their codes.

        Returns:
            ``epoch``, ``stage``, ``kind``, ``start_s``, ``duration_s``, ``energy_j`` (NaN where all of it is missing),
            ``u_j``, ``missing_s`` (the devices' together), ``number``: how often its account began before, which of a
            step is its number in the epoch, from 0 on. With phases also ``phase``, and a row for each.
        """
        marks = np.concatenate([*self._marks, np.empty(0, dtype=MARK)])
        self._marks = [marks[-1:]] if len(marks) else []
        self.rows = 0
        start, end = marks[:-1], marks[1:]
        inside = (start["code"] != OUTSIDE) & (end["time_ns"] > start["time_ns"])
        number, self._begun_codes = numbers(start["code"], self._begun_codes)
        start, end, number = start[inside], end[inside], number[inside]
        duration_s = (end["time_ns"] - start["time_ns"]) * NS
        missing_s = end["missing_s"] - start["missing_s"]
        is_missing = missing_s >= len(self._device_ids) * duration_s * (1 - WHOLE)
        of_rows = [accounts[code] for code in start["code"]]
        columns = {
            "epoch": np.array([account.epoch for account in of_rows], dtype=np.int64),
            "stage": np.array([account.stage for account in of_rows], dtype=str),
            "kind": np.array([account.kind for account in of_rows], dtype=str),
            "start_s": self._seconds(start["time_ns"]),
            "duration_s": duration_s,
            "energy_j": np.where(is_missing, np.nan, end["energy_j"] - start["energy_j"]),
            "u_j": np.sqrt(start["variance_j2"] + end["variance_j2"]),
            "missing_s": missing_s,
            "number": number,
        }
        phases = np.array([account.phase for account in of_rows], dtype=str)
        return columns | {"phase": phases} if self._has_phases else columns

    def _seconds(self, time_ns: NDArray[Any]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = (time_ns - self._started_ns) * NS
        return result


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)
