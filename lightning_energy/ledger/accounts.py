"""Accounts that joules are booked to: epoch x stage x step-or-gap, perhaps by phases, and their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import threading

    from numpy.typing import NDArray

__all__ = ["NO_ACCOUNT", "OTHER", "OUTSIDE", "REST", "SAVING", "Account", "AccountArrays", "Accounts", "Kind"]

Kind = Literal["step", "gap"]
OUTSIDE = 0  # the code of the time that belongs to no account
OTHER = "other"
"""The phase of what is none of the others: callbacks, logging, and whatever else there is between marks."""
REST = frozenset({"", OTHER})
"""The phases that are the rest: of a step or a gap that is divided by the one who marks it, or by the other."""
SAVING = "saving"
"""The phase in which a checkpoint is written."""


class Account(NamedTuple):
    """One place to book joules to.

    Attributes:
        epoch: the epoch; -1 outside epochs (before the first and after the last).
        stage: the stage.
        kind: ``step`` or ``gap``.
        phase: the part of a step, or of a gap; empty where they are not divided.
    """

    epoch: int
    stage: str
    kind: Kind
    phase: str = ""


NO_ACCOUNT = Account(-1, "outside", "gap")  # the row of ``OUTSIDE``


class AccountArrays(NamedTuple):
    """The accounts as arrays, by code.

    Attributes:
        group: the first account of its group, ``int64``.
        is_step: true for training steps.
        is_gap: true for the gaps between training steps.
        is_inner: true for the phases of steps and of gaps, but not for the rest of these.
    """

    group: NDArray[np.int64]
    is_step: NDArray[np.bool_]
    is_gap: NDArray[np.bool_]
    is_inner: NDArray[np.bool_]


class Accounts:
    """The table of accounts: they are added, and some are renamed, but none is ever removed.

    Accounts of one epoch and stage form a group: they share their ends, and so their uncertainty.

    Attributes:
        rows: the accounts in the order of their codes; the first is the time outside.

    Args:
        lock: held while the table changes.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self.rows = [NO_ACCOUNT]
        self.lock = lock
        self._codes: dict[Account, int] = {}
        self._groups: list[int] = [OUTSIDE]
        self._group_of: dict[tuple[int, str], int] = {}  # a group is known by its first account
        self._arrays: AccountArrays | None = None

    def code(self, epoch: int, stage: str, kind: Kind, phase: str = "") -> int:
        """The number of an account, which is added if it is new."""
        key = Account(epoch, stage, kind, phase)
        code = self._codes.get(key)
        if code is None:
            with self.lock:
                code = self._codes[key] = len(self.rows)
                self._add(key, self._group_of.setdefault((epoch, stage), code))
        return code

    def apart(self, code: int) -> int:
        """Add an account beside ``code``, of the same epoch and stage, which :meth:`rename` may move later."""
        with self.lock:
            apart = len(self.rows)
            self._add(self.rows[code]._replace(kind="gap"), apart)
            return apart

    def rename(self, code: int, stage: str) -> None:
        """Move an account from :meth:`apart`, with all that was and will be booked to it, to another stage."""
        with self.lock:
            self.rows[code] = self.rows[code]._replace(stage=stage)
            self._arrays = None

    @property
    def arrays(self) -> AccountArrays:
        """The accounts as arrays, made anew after a change. The lock is held."""
        if self._arrays is None:
            train = [a.kind if a.stage == "train" else "" for a in self.rows]
            self._arrays = AccountArrays(
                np.array(self._groups, dtype=np.int64),
                np.array([kind == "step" for kind in train]),
                np.array([kind == "gap" for kind in train]),
                np.array([a.phase not in REST for a in self.rows]),
            )
        return self._arrays

    def _add(self, account: Account, group: int) -> None:
        self.rows.append(account)
        self._groups.append(group)
        self._arrays = None
