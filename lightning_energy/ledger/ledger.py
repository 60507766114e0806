"""Books the joules of every curve to accounts: epoch x stage x step-or-gap.

The training thread only leaves marks (a time stamp and an account). Later, in the sampler's thread, each
mark is looked up on each curve, and the energy between two neighbouring marks goes to the account that was in
force between them. Every account is a difference on a curve, so together they are the curve's rise exactly.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.book import Book, Marks, no_pause
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lightning_energy.curves.curve import Curve, Knots
    from lightning_energy.ledger.book import Due, Pause, Span, Sums
    from lightning_energy.ledger.device_clock import DeviceClock, Token
    from lightning_energy.ledger.trace import Columns, Trace

__all__ = ["Account", "Inbox", "Kind", "Ledger", "Steps", "Totals"]

Kind = Literal["step", "gap"]
OUTSIDE = 0
LATE_NS = 20_000_000  # a mark is in the inbox at most this long after its time stamp was taken


class Account(NamedTuple):
    """Where joules are booked. ``epoch`` is -1 outside epochs (before the first and after the last)."""

    epoch: int
    stage: str
    kind: Kind


class Steps(NamedTuple):
    """Training steps, each from its start to the start of the next, whose energy has become known.

    Attributes:
        energy_j: joules per step, shape (n,).
        duration_s: seconds per step, shape (n,).
        u_j: standard uncertainty of the sum of ``energy_j`` in joules (its outer ends).
    """

    energy_j: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    u_j: float


class _Known(NamedTuple):
    """For each account, the first one of its group, and whether it is of training steps or of the gaps between."""

    group: NDArray[np.int64]
    is_step: NDArray[np.bool_]
    is_gap: NDArray[np.bool_]


class Totals:
    """What the accounts held at one moment.

    Args:
        accounts: the accounts in the order of their codes; the first is the time outside.
        sums: per device, what its book held.
        calibration_u: per device, the relative standard uncertainty of its gain.
        names: per device, its name.
        missing_ns: per device, when its energy is not known: (from, to) of the monotonic clock.
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
        level = "account" if kind else "group" if stage or epoch is not None else "total"
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


class Inbox(NamedTuple):
    """What it takes to leave a mark, for who does so at every step: ``marks.append((now_ns, code, stamp(now_ns)))``.

    Attributes:
        marks: what the training thread left and the ledger has not taken. From a mark's time on, joules belong to the
            account of its code (0: none). A list, as the interpreter appends to one by itself: with cold caches, a
            mark left in a deque takes twice as long. Appending, and taking from the front, is atomic.
        clock: the monotonic clock in nanoseconds.
        stamp: for the mark's host time, what will tell when the device reached it; ``None`` where no device is behind.
    """

    marks: list[tuple[int, int, Token | None]]
    clock: Callable[[], int]
    stamp: Callable[[int], Token | None] | None


class _Nowhere(list[tuple[int, int, "Token | None"]]):
    """Takes marks where there is no device to share out: no thread would ever come for them."""

    def append(self, mark: object, /) -> None:
        """Keep nothing."""


class Ledger:
    """Accounts of a run.

    Attributes:
        inbox: where marks are left. All that the training thread does.

    Args:
        curves: one per device; the sampler appends to them under ``lock``.
        lock: guards the curves and everything here except :meth:`mark`.
        clock: the monotonic clock in nanoseconds.
        device_clock: tells when a device that runs behind the host reached a mark; ``None`` without one.
        on_device: for each curve, whether its marks count when that device reached them.
        trace: collects what is booked; ``None`` does not.

    Example:
        >>> from lightning_energy.curves.curve import Curve
        >>> from lightning_energy.meters import ReplayMeter
        >>> curve, now = Curve(ReplayMeter(100.0).open()), iter([10**9, 2 * 10**9, 4 * 10**9])
        >>> ledger = Ledger([curve], clock=lambda: next(now))
        >>> ledger.mark(ledger.code(0, "train", "step"))  # at 1 s
        >>> ledger.mark(ledger.code(0, "train", "gap"))  # at 2 s
        >>> for second in range(6):
        ...     curve.add(second * 10**9, 100.0 * second)
        >>> ledger.settle(final=True)
        >>> ledger.totals(4 * 10**9).energy(kind="step").energy_j
        100.0
    """

    def __init__(
        self,
        curves: Sequence[Curve],
        *,
        lock: threading.RLock | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        device_clock: DeviceClock | None = None,
        on_device: Sequence[bool] = (),
        trace: Trace | None = None,
    ) -> None:
        self.lock = lock or threading.RLock()
        self._clock = clock
        self._device_clock = device_clock
        self.trace = trace
        self._books = [Book(curve, _tap(trace, device)) for device, curve in enumerate(curves)]
        self._marks = {False: Marks(), True: Marks()}  # by the host's clock, and by the device's
        self._on_device = [*on_device] or [False] * len(self._books)
        self._tokens: deque[tuple[int, int, Token | None]] = deque()  # marks that the device has not reached
        self._accounts = [Account(-1, "outside", "gap")]
        self._codes: dict[tuple[int, str, str], int] = {}
        self._groups: list[int] = [OUTSIDE]  # accounts of a group share their ends, and so their uncertainty
        self._group_of: dict[tuple[int, str], int] = {}  # a group is known by its first account
        self._known: _Known | None = None
        self._turn = 0
        # up to where it is booked, or being booked, by the host's clock and by the device's: no mark moves in there
        self._due_ns = {False: 0, True: 0}
        stamp = None if device_clock is None or not self._books else device_clock.stamp
        self.inbox = Inbox([] if self._books else _Nowhere(), clock, stamp)
        self._open: tuple[int, float, float, float] | None = None  # start of the step that has not ended yet
        self._previous_code = OUTSIDE
        self._steps: list[Steps] = []

    def mark(self, code: int) -> None:
        """From now on, joules belong to that account (0: none). Takes no lock."""
        marks, clock, stamp = self.inbox
        now_ns = clock()
        marks.append((now_ns, code, None if stamp is None else stamp(now_ns)))

    def code(self, epoch: int, stage: str, kind: Kind) -> int:
        """The number that stands for an account in :meth:`mark`."""
        key = (epoch, stage, kind)
        code = self._codes.get(key)
        if code is None:
            with self.lock:
                code = self._codes[key] = len(self._accounts)
                self._accounts.append(Account(*key))
                self._groups.append(self._group_of.setdefault((epoch, stage), code))
                self._known = None
        return code

    def apart(self, code: int) -> int:
        """A new account beside ``code``, of the same epoch and stage, which :meth:`rename` may move later."""
        with self.lock:
            apart = len(self._accounts)
            self._accounts.append(self._accounts[code]._replace(kind="gap"))
            self._groups.append(apart)
            self._known = None
            return apart

    def rename(self, code: int, stage: str) -> None:
        """What was and will be booked to an account from :meth:`apart` belongs to another stage."""
        with self.lock:
            self._accounts[code] = self._accounts[code]._replace(stage=stage)
            self._known = None

    @property
    def _columns(self) -> _Known:
        """The accounts as arrays, made anew when there are other ones."""
        if self._known is None:
            train = [a.kind if a.stage == "train" else "" for a in self._accounts]
            self._known = _Known(
                np.array(self._groups, dtype=np.int64),
                np.array([kind == "step" for kind in train]),
                np.array([kind == "gap" for kind in train]),
            )
        return self._known

    def settle(self, *, final: bool = False, pause: Pause = no_pause) -> None:
        """Book what has become known since the last call, with the lock held at the beginning and at the end only.

        Of calls that overlap, the last to begin books.

        Args:
            pause: called between parts of the work.
            final: no mark is on its way any more (nothing else runs), so that the very last knots count, too.
        """
        with self.lock:
            # the time before the inbox is read: later marks are later than this
            until_ns = None if final else self._clock() - LATE_NS
            self._read_inbox()
            groups = self._columns.group
            self._turn = turn = self._turn + 1
            due: list[Due | None] = []
            for book, on_device in zip(self._books, self._on_device, strict=True):
                limit_ns = until_ns
                if on_device and self._tokens:  # the device reaches this mark no sooner than the host set it
                    limit_ns = min(until_ns or self._tokens[0][0], self._tokens[0][0])
                due.append(what := book.due(self._marks[on_device], limit_ns))
                if what is not None:  # a mark that comes late must not move into what is being booked
                    last_ns = int(what.knots.time_ns[-1])
                    self._due_ns[on_device] = max(self._due_ns[on_device], last_ns)
        together = zip(self._books, due, strict=True)
        bookings = [(book, book.work_out(what, groups, pause)) for book, what in together if what is not None]
        with self.lock:
            if turn != self._turn:  # another one began meanwhile, as this thread had been given up: what is due is its
                return
            for book, booking in bookings:
                book.commit(booking, len(groups))
            self._complete()

    def totals(self, now_ns: int | None = None) -> Totals:
        """What the accounts hold at ``now_ns``, which nothing waits for.

        Behind a curve's last knot its last power is supposed to go on, with the uncertainty of that; marks that the
        device has not reached are supposed to be reached now.
        """
        with self.lock:
            now_ns = self._clock() if now_ns is None else now_ns
            self._read_inbox()
            groups = self._columns.group
            pending = Marks.of([(now_ns, code) for _, code, _ in self._tokens])
            marks = {False: self._marks[False], True: self._marks[True].followed_by(pending)}
            found = [
                book.totals(marks[on_device], groups, now_ns)
                for book, on_device in zip(self._books, self._on_device, strict=True)
            ]
            return Totals(
                self._accounts,
                [sums for sums, _ in found],
                [b.curve.info.calibration_u for b in self._books],
                [b.curve.info.name for b in self._books],
                [missing_ns for _, missing_ns in found],
            )

    def take_steps(self) -> Steps | None:
        """The training steps that became known since the last call; ``None`` when there are none.

        Steps with missing time are not among them.
        """
        with self.lock:
            taken, self._steps = self._steps, []
        if not taken:
            return None
        u2 = [s.u_j**2 for s in taken]
        return Steps(
            np.concatenate([s.energy_j for s in taken]),
            np.concatenate([s.duration_s for s in taken]),
            float(np.sqrt(max(u2))),  # neighbouring stretches share their ends: only the outer ones count
        )

    def take_trace(self) -> tuple[Columns, Columns] | None:
        """Curve and steps since the last call; ``None`` without a :class:`~lightning_energy.ledger.trace.Trace`."""
        with self.lock:
            if self.trace is None:
                return None
            return self.trace.take_curve(), self.trace.take_steps(self._accounts)

    def _read_inbox(self) -> None:
        news = self.inbox.marks[:]
        del self.inbox.marks[: len(news)]  # and not what was left meanwhile
        self._marks[False].add([(time_ns, code) for time_ns, code, _ in news], self._due_ns[False])
        if not any(self._on_device):
            return
        self._tokens.extend(news)
        reached = []
        while self._tokens:
            host_ns, code, token = self._tokens[0]
            time_ns = self._device_clock.resolve(token) if self._device_clock and token else host_ns
            if time_ns is None:
                break
            self._tokens.popleft()
            reached.append((time_ns, code))
        self._marks[True].add(reached, self._due_ns[True])

    def _complete(self) -> None:
        """Turn marks that every book has passed into steps, and forget them."""
        marks = self._marks[any(self._on_device)]
        n = min((len(b.passed_j) for b in self._books), default=len(marks.code))
        if n == 0:
            return
        taken = [b.take_passed(n) for b in self._books]
        energy_j, missing_s, u2_j2 = (np.sum([t[i] for t in taken], axis=0) for i in range(3))
        if taken and self.trace is not None:
            self.trace.add_marks(marks.time_ns[:n], marks.code[:n], energy_j, missing_s, u2_j2)
        if taken:
            self._find_steps(marks.time_ns[:n], marks.code[:n], energy_j, missing_s, u2_j2)
        self._marks[False].drop(n)
        if any(self._on_device):
            self._marks[True].drop(n)

    def _find_steps(
        self,
        time_ns: NDArray[np.int64],
        code: NDArray[np.int64],
        energy_j: NDArray[np.float64],
        missing_s: NDArray[np.float64],
        u2_j2: NDArray[np.float64],
    ) -> None:
        """A step runs from its start to the next mark that is not a gap of the same training epoch."""
        group, is_step, is_gap = self._columns
        before = np.concatenate([[self._previous_code], code[:-1]])
        self._previous_code = int(code[-1])
        boundary = ~(is_gap[code] & (group[code] == group[before]))
        rows = np.flatnonzero(boundary)
        if not rows.size:
            return
        t, e, m, u2 = time_ns[rows], energy_j[rows], missing_s[rows], u2_j2[rows]
        starts = is_step[code[rows]]
        if self._open is not None:
            t0, e0, m0, u0 = self._open
            t, starts = np.concatenate([[t0], t]), np.concatenate([[True], starts])
            e, m, u2 = (np.concatenate([[x0], x]) for x0, x in ((e0, e), (m0, m), (u0, u2)))
        self._open = (int(t[-1]), float(e[-1]), float(m[-1]), float(u2[-1])) if starts[-1] else None
        good = starts[:-1] & (np.diff(m) == 0) & (np.diff(t) > 0)
        if good.any():
            u_j = float(np.sqrt(u2[:-1][good][0] + u2[1:][good][-1]))
            self._steps.append(Steps(np.diff(e)[good], np.diff(t)[good] * NS, u_j))


def _tap(trace: Trace | None, device: int) -> Callable[[Knots, int], None] | None:
    return None if trace is None else lambda knots, told: trace.add_knots(device, knots, told=told)
