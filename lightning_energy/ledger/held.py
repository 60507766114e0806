"""Knots and marks of one curve that are kept: to book, to tell the counter's delay from, and a little before these."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.curve import Knots
from lightning_energy.curves.energy import MISSING, OF_A_REGISTER
from lightning_energy.ledger.distinct import distinct_places, is_one_of
from lightning_energy.ledger.sharing.classes import Position
from lightning_energy.ledger.sharing.parts import cut
from lightning_energy.ledger.sharing.prior import Prior
from lightning_energy.ledger.sharing.split import Columns
from lightning_energy.ledger.sharing.stretch import Stretch
from lightning_energy.ledger.sharing.timeline import Timeline, in_seconds
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.kinds import Rule
    from lightning_energy.ledger.sharing.parts import Parts

__all__ = ["Held", "numbers"]

BLURRED = 0.5  # half brackets of both ends, as a share of an interval, from which on it tells nothing of powers
REMEMBERED = 32  # accounts whose number of marks is kept: those of an epoch, and some more


class Held(NamedTuple):
    """Knots and marks in the order of time. Arrays are never changed, only replaced.

    Attributes:
        knots: the knots.
        time_ns: times of the marks.
        code: the account that begins at each mark.
        of_class: its class.
        number: how often its account began before, which of steps is their number in the epoch.
        begin: what is in force before the first mark.
        end: what is in force after the last mark.
        booked: number of the knot up to which intervals are booked.
        told: number of the marks here whose energy was told.
        missing_ns: nanoseconds that are missing before the first knot.
        rules: the way in which kinds of steps are told apart.
        begun: how often each of the accounts that were in force last began.
        gone: number and seconds of the stretches of each class whose marks are kept no more, shape (2, classes).
        parts: the way in which phases are cut.
    """

    knots: Knots
    time_ns: NDArray[np.int64]
    code: NDArray[np.int64]
    of_class: NDArray[np.int64]
    number: NDArray[np.int64]
    begin: Position = Position()
    end: Position = Position()
    booked: int = 0
    told: int = 0
    missing_ns: int = 0
    rules: tuple[Rule, ...] = ()
    begun: tuple[tuple[int, int], ...] = ()
    gone: NDArray[np.float64] = np.zeros((2, 0))
    parts: tuple[Parts, ...] = ()

    @classmethod
    def empty(cls) -> Held:
        """Nothing."""
        i, f = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(Knots(i, f, i, i, f), i, i, i, i)

    @property
    def n(self) -> int:
        """The number of intervals."""
        return max(len(self.knots.time_ns) - 1, 0)

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """True for intervals that are a difference of a register: only these tell of mean powers."""
        knots = self.knots
        is_exact = knots.variance_j2[1:] == knots.variance_j2[:-1]
        length_ns = knots.time_ns[1:] - knots.time_ns[:-1]
        is_sharp = knots.half_width_ns[1:] + knots.half_width_ns[:-1] < BLURRED * length_ns
        result: NDArray[np.bool_] = is_one_of(knots.quality[1:], OF_A_REGISTER) & is_exact & is_sharp
        return result

    def followed_by(
        self,
        knots: Knots,
        time_ns: NDArray[np.int64],
        code: NDArray[np.int64],
        of_class: NDArray[np.int64],
        end: Position,
    ) -> Held:
        """The same with more knots and marks."""
        number, begun = numbers(code, self.begun)
        result = self._replace(
            knots=self.knots.followed_by(knots),
            time_ns=np.concatenate([self.time_ns, time_ns]),
            code=np.concatenate([self.code, code]),
            of_class=np.concatenate([self.of_class, of_class]),
            number=np.concatenate([self.number, number]),
            end=end,
            begun=begun,
        )
        return result.told_apart(self.rules, self.parts, len(self.time_ns) - 1) if self.rules and len(code) else result

    def told_apart(self, rules: tuple[Rule, ...], parts: tuple[Parts, ...] = (), since: int = 0) -> Held:
        """The same with kinds of steps told apart, and phases cut.

        Args:
            rules: the way to tell them.
            parts: the way to cut phases.
            since: the first mark that is looked at; the kinds of those before are as they were.
        """
        first = max(since, 0)
        of_class = self.of_class.copy()
        mine, time_ns = of_class[first:], self.time_ns[first:]
        duration_s = np.empty(len(mine))
        duration_s[:-1], duration_s[-1:] = (time_ns[1:] - time_ns[:-1]) * NS, np.nan
        for rule in self.rules:
            mine[is_one_of(mine, rule.classes)] = rule.of_class
        for rule in rules:
            at = mine == rule.of_class
            mine[at] = np.array(rule.classes)[rule.of(self.number[first:][at], duration_s[at])]
        return self._replace(of_class=of_class, rules=rules, parts=parts)

    def trimmed(self, keep: int, before_ns: int) -> Held:
        """The same without its first ``keep`` knots, and without marks up to ``before_ns`` that were told.

        The last mark stays: nobody knows yet how long what it began goes on.
        """
        drop = min(int(np.searchsorted(self.time_ns, before_ns, side="right")), self.told, len(self.time_ns) - 1)
        drop = max(drop, 0)
        missing_ns = int(self.missing_at_knots_ns[keep])
        begin = self.begin
        if drop:
            begin = Position(int(self.code[drop - 1]), int(self.of_class[drop - 1]))
        return self._replace(
            knots=self.knots.part(slice(keep, None)),
            time_ns=self.time_ns[drop:],
            code=self.code[drop:],
            of_class=self.of_class[drop:],
            number=self.number[drop:],
            begin=begin,
            booked=self.booked - keep,
            told=self.told - drop,
            missing_ns=missing_ns,
            gone=self._stretches(drop),
        )

    @property
    def stretches(self) -> NDArray[np.float64]:
        """Number and seconds of all stretches of each class that are over, shape (2, classes)."""
        return self._stretches(max(len(self.time_ns) - 1, 0))

    def _stretches(self, n: int) -> NDArray[np.float64]:
        """Those that are gone with the first ``n`` that are kept."""
        of_class, width = self.of_class[:n], self.gone.shape[1]
        width = max(width, int(of_class.max(initial=-1)) + 1)
        seconds_s = np.diff(self.time_ns[: n + 1]) * NS
        both = [np.bincount(of_class, weights, width) for weights in (np.ones(n), seconds_s[:n])]
        result: NDArray[np.float64] = np.array(both, dtype=np.float64)
        result[:, : self.gone.shape[1]] += self.gone
        return result

    @property
    def ways(self) -> tuple[tuple[Rule, ...], tuple[Parts, ...]]:
        """The ways in which kinds of steps are told apart, and phases cut."""
        return self.rules, self.parts

    @property
    def open_ns(self) -> int | None:
        """The beginning of the last stretch, if its kind is told by its duration, or its parts by its end."""
        last = self.of_class[-1:]
        is_open = any(not rule.every and bool(is_one_of(last, rule.classes).any()) for rule in self.rules)
        if not is_open and not any(each.ends and each.classes[0] in last for each in self.parts):
            return None
        return int(self.time_ns[-1])

    @property
    def missing_at_knots_ns(self) -> NDArray[np.int64]:
        """Nanoseconds that are missing up to each knot."""
        missing_ns = np.where(self.knots.quality[1:] == MISSING, np.diff(self.knots.time_ns), 0)
        return self.missing_ns + np.concatenate([[0], np.cumsum(missing_ns)])

    def code_before(self, time_ns: int) -> int:
        """The account in force up to a moment."""
        k = int(np.searchsorted(self.time_ns, time_ns, side="right"))
        return int(self.code[k - 1]) if k else self.begin.code

    def timeline(self, origin_ns: int, since_ns: int) -> tuple[Timeline, Columns]:
        """Account and class in force since a moment, one column for each pair of them, in seconds from the origin."""
        first = int(np.searchsorted(self.time_ns, since_ns, side="right"))
        code, of_class = self.code[first:], self.of_class[first:]
        before = (self.code[first - 1], self.of_class[first - 1]) if first else self.begin[:2]
        code, of_class = np.concatenate([[before[0]], code]), np.concatenate([[before[1]], of_class])
        begin_ns = np.concatenate([[since_ns], self.time_ns[first:]])
        if self.parts:
            begin_ns[0] = self.time_ns[first - 1] if first else since_ns  # parts are of whole stretches
            begin_ns, of_class, stretch = cut(self.parts, begin_ns, of_class)
            begin_ns, code = np.maximum(begin_ns, since_ns), code[stretch]
        width = int(of_class.max()) + 1
        code *= width  # in place, as short steps make long arrays
        code += of_class
        pairs, column = distinct_places(code)
        start_s = in_seconds(begin_ns - origin_ns)
        return Timeline(start_s, column, len(pairs)), Columns(pairs // width, pairs % width)

    def stretch(
        self,
        origin_ns: int,
        stage: NDArray[np.int64],
        since_ns: int,
        *,
        is_known: NDArray[np.bool_] | None = None,
        of: tuple[Timeline, Columns] | None = None,
    ) -> Stretch:
        """All intervals, with the classes in force since a moment well before.

        Args:
            origin_ns: the moment that counts as second 0.
            stage: the stage of each class.
            since_ns: that moment before.
            is_known: true for intervals that tell of powers; by default :attr:`is_known`.
            of: :meth:`timeline` of these moments, where it was made already.
        """
        timeline, columns = self.timeline(origin_ns, since_ns) if of is None else of
        return Stretch(
            in_seconds(self.knots.time_ns - origin_ns),
            np.diff(self.knots.energy_j),
            in_seconds(self.knots.half_width_ns),
            self.is_known if is_known is None else is_known,
            Timeline(timeline.start_s, columns.of_class[timeline.column], len(stage)),
            stage,
            Prior.of(self.parts),
        )


def numbers(
    code: NDArray[np.int64], begun: tuple[tuple[int, int], ...]
) -> tuple[NDArray[np.int64], tuple[tuple[int, int], ...]]:
    """Count how often the account of each mark began before, and how often each began in all.

    Args:
        code: the accounts of the marks.
        begun: how often accounts began before these marks.
    """
    n, counts = len(code), dict(begun)
    number = np.arange(n, dtype=np.int64)
    if not n:
        return number, begun
    order = code.argsort(kind="stable")
    once, place = distinct_places(code[order])
    first = place.searchsorted(np.arange(len(once) + 1)).tolist()  # of each account, in that order
    shift = []
    for one, begin, end in zip(once.tolist(), first, first[1:], strict=False):
        before = counts.pop(one, 0)
        shift.append(before - begin)
        counts[one] = before + end - begin
    number[order] = np.arange(n) + np.array(shift)[place]
    return number, tuple(counts.items())[-REMEMBERED:]
