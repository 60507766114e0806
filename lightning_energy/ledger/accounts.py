"""Accounts that joules are booked to: epoch x stage x step-or-gap, perhaps by phases, and their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "NO_ACCOUNT",
    "OTHER",
    "OUTSIDE",
    "REST",
    "SAVING",
    "Account",
    "AccountArrays",
    "AccountColumns",
    "Accounts",
    "Kind",
]

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


class AccountColumns(NamedTuple):
    """The things that tell accounts apart, as arrays by code.

    Attributes:
        epoch: the epochs.
        is_step: true for steps of any stage.
        stage: the numbers of the stages, by :attr:`names`.
        phase: the numbers of the phases.
        names: the number of each name of a stage or a phase; more come, but none changes.
    """

    epoch: NDArray[np.int64]
    is_step: NDArray[np.bool_]
    stage: NDArray[np.int64]
    phase: NDArray[np.int64]
    names: dict[str, int]

    def number(self, name: str) -> int:
        """The number of a stage or a phase; -1 where none has that name."""
        return self.names.get(name, -1)


def columns_of(accounts: Sequence[Account]) -> AccountColumns:
    """The things that tell some accounts apart."""
    room = _Room(len(accounts))
    for code, account in enumerate(accounts):
        room.put(code, account, code)
    return room.columns(len(accounts))


class _Room:
    """Arrays with room for more accounts. What was put is never changed."""

    def __init__(self, n: int, names: dict[str, int] | None = None) -> None:
        self.n = n
        self._group, self._epoch, self._stage, self._phase = np.zeros((4, n), dtype=np.int64)
        self._is_step, self._is_gap, self._is_inner, self._is_any_step = np.zeros((4, n), dtype=bool)
        self._names: dict[str, int] = {} if names is None else names

    def put(self, code: int, account: Account, group: int) -> None:
        """Put an account, and its group."""
        epoch, stage, kind, phase = account
        is_train, is_step, names = stage == "train", kind == "step", self._names
        self._group[code], self._epoch[code] = group, epoch
        self._stage[code] = names.setdefault(stage, len(names))
        self._phase[code] = names.setdefault(phase, len(names))
        self._is_step[code], self._is_gap[code] = is_train and is_step, is_train and not is_step
        self._is_inner[code], self._is_any_step[code] = phase not in REST, is_step

    def arrays(self, n: int) -> AccountArrays:
        """Those of the first accounts."""
        return AccountArrays(self._group[:n], self._is_step[:n], self._is_gap[:n], self._is_inner[:n])

    def columns(self, n: int) -> AccountColumns:
        """The same."""
        return AccountColumns(self._epoch[:n], self._is_any_step[:n], self._stage[:n], self._phase[:n], self._names)

    def grown(self, n: int) -> _Room:
        """The same in arrays of their own, with room for ``n`` accounts."""
        result = _Room(n, self._names)
        for name, array in self.__dict__.items():
            if name.startswith(("_group", "_epoch", "_stage", "_phase", "_is_")):
                result.__dict__[name][: self.n] = array
        return result


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
        self._group_of: dict[tuple[int, str], int] = {}  # a group is known by its first account
        self._room = _Room(8)
        self._room.put(OUTSIDE, NO_ACCOUNT, OUTSIDE)
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
            account, self._room = self.rows[code]._replace(stage=stage), self._room.grown(self._room.n)
            self._room.put(code, account, int(self.arrays.group[code]))
            self.rows[code], self._arrays = account, None

    @property
    def arrays(self) -> AccountArrays:
        """The accounts as arrays, made anew after a change. The lock is held."""
        if self._arrays is None or len(self._arrays.group) != len(self.rows):
            self._arrays = self._room.arrays(len(self.rows))
        return self._arrays

    @property
    def columns(self) -> AccountColumns:
        """The things that tell them apart. The lock is held."""
        return self._room.columns(len(self.rows))

    def _add(self, account: Account, group: int) -> None:
        code = len(self.rows)
        if code == self._room.n:
            self._room = self._room.grown(2 * code)
        self._room.put(code, account, group)
        self.rows.append(account)
