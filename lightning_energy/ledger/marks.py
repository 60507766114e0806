"""Marks: moments from which on joules belong to an account."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.device_clock import Token

__all__ = ["AtMarks", "Inbox", "Mark", "Marks", "Told"]

Mark = tuple[int, int, "Token | None"]  # host time in nanoseconds, code of the account, token for the device's time


class Inbox(NamedTuple):
    """Everything a hook needs to leave a mark: ``marks.extend((now_ns, code))``, or ``(now_ns, code, stamp(now_ns))``.

    Attributes:
        marks: the marks that the training thread left and the ledger has not taken: of each the host's time in
            nanoseconds, the account's code and, where there is :attr:`stamp`, the token. From that time on, joules
            belong to that account (0: none). One after the other, as a hook's tuple is gone at once then: nothing but
            the time is kept, the garbage collector is not woken up, and the ledger reads them in half the time. A
            list, as with cold caches a mark left in a deque takes twice as long. Extending it by a tuple, and taking
            from the front, is atomic.
        clock: the monotonic clock in nanoseconds; each call makes a new number, so that a mark is known by it.
        stamp: makes of the mark's host time a token that later says when the device reached the mark; ``None`` where
            no device runs behind the host.
    """

    marks: list[Any]
    clock: Callable[[], int]
    stamp: Callable[[int], Token | None] | None

    @property
    def width(self) -> int:
        """The number of values of a mark."""
        return 2 if self.stamp is None else 3

    @classmethod
    def nowhere(cls, clock: Callable[[], int]) -> Inbox:
        """An inbox that keeps nothing, for a run without devices: no thread would ever empty it."""
        return cls(_Nowhere(), clock, None)


class _Nowhere(list[Any]):
    """A list that stays empty."""

    def extend(self, mark: object, /) -> None:
        """Keep nothing."""


@dataclass
class Marks:
    """Boundaries in time that not every book has passed yet.

    Attributes:
        time_ns: their times, ``int64``, never falling.
        code: the account that begins at each, ``int64``.
        dropped: how many marks came before the first of these.
        closed_ns: the end of the time that is booked, or is being booked: no mark moves in there.
    """

    time_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    code: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    dropped: int = 0
    closed_ns: int = 0

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int]]) -> Marks:
        """Marks from rows of time and account."""
        time_ns, code = np.array(rows, dtype=np.int64).reshape(-1, 2).T
        return cls().followed_by_more(time_ns, code)

    def followed_by_more(self, time_ns: NDArray[np.int64], code: NDArray[np.int64]) -> Marks:
        """These marks, followed by others; none is before ``closed_ns`` or the last one.

        Args:
            time_ns: times of the others.
            code: their accounts.
        """
        n, n_more = len(self.time_ns), len(time_ns)
        if not n_more:
            return replace(self)
        times_ns, codes = np.empty(n + n_more, dtype=np.int64), np.empty(n + n_more, dtype=np.int64)
        times_ns[:n], times_ns[n:], codes[:n], codes[n:] = self.time_ns, time_ns, self.code, code
        times_ns[n] = max(times_ns.item(n), self.closed_ns, times_ns.item(n - 1) if n else 0)
        np.maximum.accumulate(times_ns[n:], out=times_ns[n:])
        return Marks(times_ns, codes, self.dropped, self.closed_ns)

    def close(self, until_ns: int) -> None:
        """Let no mark move into the time before ``until_ns`` any more."""
        self.closed_ns = max(self.closed_ns, until_ns)

    def drop_before(self, number: int) -> None:
        """Forget the marks before the one of this number in the run."""
        n = max(number - self.dropped, 0)
        # at once: a signal handler may raise between any two lines
        self.__dict__.update(time_ns=self.time_ns[n:], code=self.code[n:], dropped=self.dropped + n)

    def after(self, passed: int) -> Marks:
        """All but the first ``passed`` marks of the run."""
        begin = passed - self.dropped
        return Marks(self.time_ns[begin:], self.code[begin:], passed, self.closed_ns)

    def followed_by(self, others: Marks) -> Marks:
        """These marks, followed by others that are not before them."""
        times = np.maximum.accumulate(np.concatenate([self.time_ns, others.time_ns]))
        return Marks(times, np.concatenate([self.code, others.code]), self.dropped, self.closed_ns)


NOTHING = np.empty(0)


class AtMarks(NamedTuple):
    """The state of a curve at marks, shape (n,) each.

    Attributes:
        energy_j: its energy.
        missing_s: the seconds that were missing by then.
        variance_j2: variance of the energy.
        alike_j2: the part of it by errors that are the same for all devices, as they do the same steps.
    """

    energy_j: NDArray[np.float64]
    missing_s: NDArray[np.float64]
    variance_j2: NDArray[np.float64]
    alike_j2: NDArray[np.float64]

    @classmethod
    def none(cls) -> AtMarks:
        """The state at no marks."""
        return cls(NOTHING, NOTHING, NOTHING, NOTHING)

    @classmethod
    def together(cls, curves: Sequence[AtMarks]) -> AtMarks:
        """The state of all curves together, at the same marks: what is alike adds linearly, the rest in quadrature."""
        if len(curves) == 1:
            return curves[0]
        energy_j, missing_s, variance_j2, alike_j2 = (np.sum(column, axis=0) for column in zip(*curves, strict=True))
        linear_j2 = np.sum([np.sqrt(c.alike_j2) for c in curves], axis=0) ** 2
        return cls(energy_j, missing_s, variance_j2 - alike_j2 + linear_j2, linear_j2)

    def followed_by(self, others: AtMarks) -> AtMarks:
        """The state at these marks, followed by that at others."""
        return AtMarks(
            np.concatenate([self.energy_j, others.energy_j]),
            np.concatenate([self.missing_s, others.missing_s]),
            np.concatenate([self.variance_j2, others.variance_j2]),
            np.concatenate([self.alike_j2, others.alike_j2]),
        )

    def part(self, rows: slice | NDArray[np.intp]) -> AtMarks:
        """The state at some of these marks."""
        return AtMarks(*(column[rows] for column in self))


class Told(NamedTuple):
    """The state of a curve at the last marks of the run that were told.

    Attributes:
        at_marks: the state.
        first: how many marks of the run were told before these, and are forgotten.
    """

    at_marks: AtMarks
    first: int = 0

    @property
    def end(self) -> int:
        """The number of marks of the run that were told."""
        return self.first + len(self.at_marks.energy_j)

    def followed_by(self, others: AtMarks) -> Told:
        """These, followed by others."""
        return self._replace(at_marks=self.at_marks.followed_by(others))

    def continued(self, others: Told) -> Told:
        """These, followed by others; those alone where marks between were forgotten."""
        if others.first > self.end:
            return others
        return self._replace(at_marks=self.until(others.first).followed_by(others.at_marks))

    def behind(self, number: int) -> Told:
        """Those from the mark of this number in the run on."""
        n = number - self.first
        if n <= 0:
            return self
        return Told(self.at_marks.part(slice(n, None)), self.first + n)

    def until(self, number: int) -> AtMarks:
        """The state at those before the mark of this number in the run."""
        return self.at_marks.part(slice(max(number - self.first, 0)))
