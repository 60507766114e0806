"""Classes of work: what has one mean power. The stage, and in it its opening, its steps, and the gaps between them.

Where steps and gaps are divided into phases, each phase is a class.
"""

from __future__ import annotations

import threading
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.accounts import OTHER, OUTSIDE, REST, SAVING, Accounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.accounts import Account

__all__ = ["AFTER", "BEFORE", "Classes", "Position"]

BEFORE, AFTER = 0, 1  # the time outside of accounts: an idle device after a run is warmer than before it
PHASES = ("opening", "step", "gap")
OPENING, STEP, GAP = range(3)
Key = tuple[str, int, str, int]
"""Stage, place among PHASES or behind them a kind of steps, a step's or a gap's phase, and the part of that."""


class Position(NamedTuple):
    """State at a moment: the account, its class, and its phase."""

    code: int = OUTSIDE
    of_class: int = BEFORE
    phase: int = OPENING


class Classes:
    """The table of classes; they are added, and none is ever removed.

    The opening of a stage is the time from its beginning to its first step: a device that idles there, while workers
    start, would else be taken for the gaps between steps. Phases there are classes of their own, too: waiting for the
    first batch is not waiting for the next. A checkpoint is written alike anywhere, and what is left of a step is work
    as that between steps.

    Attributes:
        names: (stage, phase) by class.

    Args:
        accounts: the table of accounts. Its lock is held in every call here.
    """

    def __init__(self, accounts: Accounts) -> None:
        self.names: list[tuple[str, str]] = [("outside", "before"), ("outside", "after")]
        self._accounts = accounts
        self._stages: dict[str, int] = {}
        self._of: dict[Key, int] = {}
        self._by_code = np.empty((len(PHASES), 0), dtype=np.int64)
        self._is_step = self._is_inner = np.empty(0, dtype=bool)

    def __getstate__(self) -> dict[str, object]:
        """The table as it is now, for a process that works out bookings; takes the lock."""
        with self._accounts.lock:
            return {name: copy(value) for name, value in self.__dict__.items() if name != "_accounts"}

    def has_taken(self, grown: Classes) -> bool:
        """Take what a copy of this table has come to since; takes the lock.

        Args:
            grown: the copy.

        Returns:
            False where this one has come to other classes meanwhile, which have the same numbers: nothing is taken.
        """
        with self._accounts.lock:
            n = len(self.names)
            news = [(key, number) for key, number in grown._of.items() if key not in self._of]
            if any(number < n for _, number in news) or any(
                grown._of.get(key, number) != number for key, number in self._of.items()
            ):
                return False
            self.names += grown.names[n:]  # first, as in _class
            self._of.update(news)
        return True

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _accounts=Accounts(threading.RLock()))

    @property
    def size(self) -> tuple[int, int]:
        """The numbers of classes, and of accounts whose classes are known."""
        return len(self.names), self._by_code.shape[1]

    @property
    def steps(self) -> list[int]:
        """The classes of steps."""
        return [of_class for (_, place, _, part), of_class in self._of.items() if place == STEP and not part]

    @property
    def has_phases(self) -> bool:
        """True where steps or gaps are divided."""
        return any(phase not in REST for _, _, phase, _ in [*self._of])

    def kinds(self, of_class: int, n: int) -> tuple[int, ...]:
        """The classes of the kinds of steps of a class, itself the first; takes the lock.

        Args:
            of_class: a class of steps.
            n: the number of kinds.
        """
        with self._accounts.lock:
            stage, _, phase, _ = self._key_of(of_class)
            return (of_class, *(self._class((stage, len(PHASES) + kind, phase, 0)) for kind in range(n - 1)))

    @property
    def divided(self) -> list[int]:
        """The classes of stages that have phases, but for openings and for parts of other classes."""
        have = {stage for stage, _, phase, _ in self._of if phase not in REST}
        return [
            of_class
            for (stage, place, _, part), of_class in self._of.items()
            if stage in have and place != OPENING and not part
        ]

    def parts(self, of_class: int, n: int) -> tuple[int, ...]:
        """The classes of the parts of a class, itself the first; takes the lock.

        Args:
            of_class: the class.
            n: the number of parts.
        """
        with self._accounts.lock:
            return (of_class, *(self._class((*self._key_of(of_class)[:3], part)) for part in range(1, n)))

    @property
    def is_step(self) -> NDArray[np.bool_]:
        """True for the accounts of steps, by code."""
        self.extend()
        return self._is_step

    @property
    def is_inner(self) -> NDArray[np.bool_]:
        """True for the accounts of phases of steps and of gaps, but not of the rest of these, by code."""
        self.extend()
        return self._is_inner

    @property
    def stage(self) -> NDArray[np.int64]:
        """The number of the stage of each class; before and after are stages of their own."""
        return np.array([0, 1, *[2 + self._stages[stage] for stage, _ in self.names[2:]]], dtype=np.int64)

    def of(self, codes: NDArray[np.int64], before: Position) -> tuple[NDArray[np.int64], Position]:
        """The classes that begin with marks, and what is in force after them.

        Args:
            codes: the accounts of the marks.
            before: what is in force before the first.
        """
        if not codes.size:
            return np.empty(0, dtype=np.int64), before
        self.extend()
        earlier = np.empty(len(codes), dtype=np.int64)
        earlier[0], earlier[1:] = before.code, codes[:-1]
        is_step, group = self._is_step[codes], self._group
        opens = group[codes] != group[earlier]
        goes_on = ~(is_step | opens | self._is_step[earlier])  # a gap after a gap: no step came between
        phase = np.where(is_step, STEP, np.where(opens, OPENING, GAP))
        if goes_on.any():
            place = np.maximum.accumulate(np.where(goes_on, -1, np.arange(len(codes))))
            phase = np.where(place >= 0, phase[place], before.phase)
        classes = self._by_code[phase, codes]
        if not codes.all():  # some are OUTSIDE
            has_begun = before.of_class != BEFORE or before.code != OUTSIDE
            begun = np.logical_or.accumulate(codes != OUTSIDE) | has_begun
            classes = np.where(codes == OUTSIDE, np.where(begun, AFTER, BEFORE), classes)
        return classes, Position(codes.item(-1), classes.item(-1), phase.item(-1))

    def extend(self) -> None:
        """Add the classes of accounts that are new."""
        rows, have = self._accounts.rows, self._by_code.shape[1]
        if have >= len(rows):  # a copy in another process has no table of accounts
            return
        news = np.zeros((len(PHASES), len(rows) - have), dtype=np.int64)
        for code in range(have, len(rows)):
            for place in range(len(PHASES)) if code != OUTSIDE else ():
                news[place, code - have] = self._class(_key(rows[code], place))
        arrays = self._accounts.arrays
        self._group, self._is_inner, self._is_step = arrays.group, arrays.is_inner, self._accounts.columns.is_step
        # last: where a signal handler raises before, all of it is done again
        self._by_code = np.concatenate([self._by_code, news], axis=1)

    def _class(self, key: Key) -> int:
        stage, place, phase, part = key
        if phase not in REST and place in {STEP, GAP}:  # a phase is the same work in steps and between them
            elsewhere = (stage, STEP + GAP - place, phase, part)
            key = elsewhere if elsewhere in self._of else key
        if key not in self._of:
            self._stages.setdefault(stage, len(self._stages))
            number, name = len(self.names), (stage, _name(place, phase))
            self.names.append(name)  # first: where a signal handler raises then, its number is given to nothing
            self._of[key] = number
        return self._of[key]

    def _key_of(self, of_class: int) -> Key:
        return next(key for key, known in self._of.items() if known == of_class)


def _key(account: Account, place: int) -> Key:
    """The class of an account at a place: see :class:`Classes`."""
    _, stage, kind, phase = account
    if phase == SAVING or (phase == OTHER and kind == "step"):
        return stage, GAP, phase, 0
    if phase and kind == "step":
        return stage, STEP, phase, 0
    if phase and place == STEP:
        return stage, GAP, phase, 0
    return stage, place, "" if phase == OTHER and place == OPENING else phase, 0


def _name(place: int, phase: str) -> str:
    if place >= len(PHASES):
        return f"{phase or PHASES[STEP]} {place - len(PHASES) + 2}"
    return PHASES[place] if not phase else f"{PHASES[OPENING]}/{phase}" if place == OPENING else phase
