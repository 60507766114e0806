"""Booking of the intervals of one curve that became known: arithmetic that needs no lock and changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.curves.curve import Knots
from lightning_energy.curves.energy import MISSING, OF_A_REGISTER
from lightning_energy.ledger.accounts import OUTSIDE
from lightning_energy.ledger.held import Held
from lightning_energy.ledger.lines import line_shares
from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.pieces import Marked, Pieces
from lightning_energy.ledger.sharing.closer import Closer, with_squares
from lightning_energy.ledger.sharing.contents import Contents
from lightning_energy.ledger.sharing.delay import ENOUGH, EXACT, MOST_HELD, MOST_HELD_IN_PARTS, Belief
from lightning_energy.ledger.sharing.kernel import AT_ONCE, Kernel
from lightning_energy.ledger.sharing.kinds import find_kinds, have_durations
from lightning_energy.ledger.sharing.parts import FEWEST, Parts, ends_of
from lightning_energy.ledger.sharing.powers import fit, fit_beside, median
from lightning_energy.ledger.sharing.prior import Prior, believed
from lightning_energy.ledger.sharing.sharing import Sharing
from lightning_energy.ledger.sharing.split import Split, kernels_of
from lightning_energy.ledger.spans import joined
from lightning_energy.ledger.sums import Sums
from lightning_energy.ledger.tail import Tail
from lightning_energy.ledger.told import energy_at_marks
from lightning_energy.ledger.uncertainty import SQRT3
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.sharing.classes import Classes
    from lightning_energy.ledger.sharing.closer import Turns
    from lightning_energy.ledger.sharing.kinds import Kinds
    from lightning_energy.ledger.sharing.powers import Powers
    from lightning_energy.ledger.sharing.stretch import Stretch
    from lightning_energy.ledger.since import Since
    from lightning_energy.ledger.spans import Span

__all__ = [
    "CHUNK",
    "Booking",
    "Due",
    "Pause",
    "State",
    "contents",
    "hides_phases",
    "kernels_to_book_by",
    "no_pause",
    "still_held",
    "still_holds",
    "way_to_share",
    "work_out",
]

Pause = Callable[[], None]

LOOKS_AT = (64, 128, 256, 512, MOST_HELD)
"""Numbers of intervals at which delay and kinds of steps are looked for, as long as they are held."""
LOOKS_IN_PARTS_AT = (64, 256, MOST_HELD, MOST_HELD_IN_PARTS)
"""The same where phases are cut: each look takes longer."""
MOST_MARKS = 2**18  # marks that are held until the delay is known, at most: those of short steps in phases take memory
SURE = 256  # fewest intervals that decide on it, or exclude any: a single change of load looks smoothed by chance
CHUNK = 64  # intervals that are booked together
HISTORY_NS = 3_000_000_000  # time before the intervals to book, whose marks are kept: counters are late, and remember
MEMORY_S, FADED = 0.3, 25.0  # time that is looked at before intervals, beside the delay and so many times the smoothing
LATE = tuple(Kernel(lag_s=lag_s) for lag_s in (0.05, 0.1, 0.15))  # counters for which kinds of steps are tried, too
FIT_AGAIN = 1.1  # factor by which the intervals grow until powers are fitted anew


def no_pause() -> None:
    """Go on at once."""


class State(NamedTuple):
    """All that is booked of a curve, and what is kept for later. Never changed, only replaced as a whole.

    Attributes:
        held: knots and marks that are kept.
        sums: times of the accounts, and joules of intervals that are shared out by straight lines.
        split: the other intervals.
        sharing: how these are shared out.
        joined: how often blocks of the split were joined when powers were fitted.
        told_j: energy that was told of the last mark, and how much more that is than the curve's own.
        missing_ns: stretches of missing time within accounts.
        passed: how many marks of the run are in :attr:`held`, or were.
    """

    held: Held
    sums: Sums
    split: Split
    sharing: Sharing
    joined: int = 0
    told_j: tuple[float, float] = (0.0, 0.0)
    missing_ns: tuple[Span, ...] = ()
    passed: int = 0

    @classmethod
    def empty(cls) -> State:
        """Nothing booked yet."""
        return cls(Held.empty(), Sums.zeros(), Split([AT_ONCE]), Sharing())


class Due(NamedTuple):
    """Knots and marks that are known.

    Attributes:
        state: what is booked.
        held: all knots and marks that are kept, the new ones included.
        passed: how many marks of the run are among them, or were.
        classes: the table of classes.
        stage: the stage of each class.
        until_ns: the end of the time whose marks are all known; ``None``: all.
        is_all: true to book every interval now.
        is_exact: true where the curve's register shows the energy at once: its delay is not looked for.
        bounds_w: least and greatest power that the device may have had.
        power_w: mean power of the last interval; ``None`` when it is not known.
        tells_all: true where the energy of every mark is asked for, ends of steps included.
    """

    state: State
    held: Held
    passed: int
    classes: Classes
    stage: NDArray[np.int64]
    until_ns: int | None
    is_all: bool
    is_exact: bool
    bounds_w: tuple[float, float]
    power_w: float | None
    tells_all: bool = True

    @property
    def for_now(self) -> bool:
        """True where nothing is booked: the contents are asked for."""
        return self.is_all and not self.is_last

    @property
    def is_last(self) -> bool:
        """True where nothing comes any more."""
        return self.is_all and self.until_ns is None

    def last(self, lag_ns: int) -> int:
        """The number of the last knot all of whose marks are known, with a counter that is late by ``lag_ns``."""
        times_ns = self.held.knots.time_ns
        if not times_ns.size or self.is_last:
            return self.held.n
        limit_ns = times_ns.item(-1) if self.until_ns is None else self.until_ns
        if not self.is_all:
            limit_ns = min(limit_ns, int(times_ns[-1]))
            open_ns = self.held.open_ns if self.held.n - self.held.booked < MOST_HELD else None
            limit_ns = limit_ns if open_ns is None else min(limit_ns, open_ns)
        return max(int((times_ns - lag_ns).searchsorted(limit_ns, side="right")) - 1, 0)


class Booking(NamedTuple):
    """The state after intervals were booked.

    Attributes:
        due: the knots and marks.
        state: the state.
        groups: for each account, the first one of its group.
        booked: number of the knot of ``due`` up to which intervals are booked then.
        at_marks: the state of the curve at marks that were not told before.
    """

    due: Due
    state: State
    groups: NDArray[np.int64]
    booked: int
    at_marks: AtMarks


def work_out(due: Due, groups: NDArray[np.int64], pause: Pause = no_pause) -> Booking:
    """Book the intervals that are due.

    Args:
        due: knots and marks.
        groups: for each account, the first one of its group.
        pause: called between parts of the work.
    """
    is_known = due.held.is_known
    sharing, is_anew = way_to_share(due, is_known, pause)
    if is_anew and (sharing.rules, sharing.parts) != due.held.ways:
        due = due._replace(held=due.held.told_apart(sharing.rules, sharing.parts), stage=due.classes.stage)
    held = due.held
    if sharing.is_final and is_anew and is_known.sum() < ENOUGH:
        is_known = np.zeros(held.n, dtype=bool)  # too few to fit anything: straight lines
    lag_ns = sharing.lag_ns
    first, last = 0 if is_anew else held.booked, due.last(lag_ns)
    known = last  # marks up to there are told: whatever goes on behind it may turn out to be of another kind
    if not (is_anew or due.is_all or last - first >= CHUNK):
        last = first
    sums = Sums.zeros() if is_anew else due.state.sums
    split = due.state.split
    if is_anew or not split.n:
        split = Split(kernels_to_book_by(sharing), is_fine=sharing.found.is_fine)
    missing_ns = [] if is_anew else [*due.state.missing_ns]
    if last > first:
        rows = slice(first, last)
        sums, split = sums.copy(), split.copy()
        missing_ns = _add_lines(sums, due, rows, sharing, groups, by_line=~is_known, missing_ns=missing_ns)
        pause()
        _add_split(split, due, rows, is_known, sharing, groups=groups, pause=pause)
        pause()
    sharing, joins = _fitted(split, sharing, due, pause)
    pause()
    told = held.told
    if held.n:
        until_ns = int(held.knots.time_ns[-1] if due.is_last else held.knots.time_ns[known] - lag_ns)
        told = max(int(np.searchsorted(held.time_ns, until_ns, side="right")), told)
    at_marks, told_j = _told(due, slice(held.told, held.told if due.for_now else told), sharing, groups, pause)
    pause()
    booked = max(last, first)
    kept = still_held(held, sharing, booked=booked, told=told)
    state = State(kept, sums, split, sharing, joins, told_j, tuple(missing_ns), due.passed)
    return Booking(due, state, groups, booked, at_marks)


def still_held(held: Held, sharing: Sharing, *, booked: int, told: int) -> Held:
    """Knots and marks that are kept after a booking.

    Args:
        held: what was booked.
        sharing: how.
        booked: number of the knot up to which intervals are booked.
        told: number of the marks whose energy was told.
    """
    if held.ways != (sharing.rules, sharing.parts):
        held = held.told_apart(sharing.rules, sharing.parts)
    return _trimmed(held._replace(booked=booked, told=told), sharing.lag_ns, sharing)


def contents(
    due: Due,
    booking: Booking,
    groups: NDArray[np.int64],
    now_ns: int,
    known: tuple[Since, Contents] | None = None,
) -> tuple[Sums, list[Span]]:
    """The contents of the accounts at a moment, and the missing time.

    Args:
        due: knots and marks, those behind the last knot included.
        booking: of the intervals: that of :func:`work_out`, or an earlier one that :func:`still_holds`.
        groups: for each account, the first one of its group.
        now_ns: the moment. Behind the last knot the power is assumed to go on.
        known: the time since the booking, with the intervals that are not in it, and the contents without it.
    """
    if booking.due.held.ways != due.held.ways:  # found just now
        due = booking.due
    held, state, sharing = due.held, booking.state, booking.state.sharing
    sums = state.sums.copy()
    sums.grow(len(groups))
    since_ns, half_width_ns = None, 0
    if held.n:
        last, knots = booking.booked, held.knots
        u_ns = SQRT3 * sharing.found.u_lag_s / NS * (knots.quality.item(last) in OF_A_REGISTER)
        since_ns = _shown_ns(held, last, sharing)
        half_width_ns = round(math.hypot(knots.half_width_ns.item(last), u_ns))
    tail = Tail(held, since_ns, now_ns, due.power_w, due.bounds_w, half_width_ns=half_width_ns)
    tail.add_time(sums)
    if sharing.powers is None:
        if state.split.n:  # too few to fit powers to: straight lines, for now
            rows = slice(0, booking.booked)
            _add_lines(sums, due, rows, sharing, groups, by_line=held.is_known, with_time=False)
        tail.add_line(sums, groups)
    else:
        kernels = state.split.kernels if sharing.kernels_w else []  # each with powers of its own
        later_s = [(k.lag_s + k.ema_s) - (kernels[0].lag_s + kernels[0].ema_s) for k in kernels]
        since = None if known is None else known[0]
        ahead = tail.ahead(len(due.stage), sharing.found.kernel.ema_s, since, later_s)
        if known is not None:
            sums.fitted = known[1].going_on(ahead, lambda: held.stretches)
        else:
            hides = hides_phases(due, sharing)
            sums.fitted = Contents(state.split, sharing, sharing.powers, ahead, lambda: held.stretches, hides=hides)
    return sums, tail.missing_ns([*state.missing_ns])


def hides_phases(due: Due, sharing: Sharing) -> bool:
    """True where steps have phases, but none is cut: they are too short to be told apart."""
    return due.classes.has_phases and not sharing.parts


def still_holds(booking: Booking, due: Due, groups: NDArray[np.int64]) -> bool:
    """True where a booking for a moment is also that for a later one: no knot has come, and no mark that it looks at.

    Args:
        booking: of the earlier moment, with marks that may lie behind its last knot.
        due: knots and marks at the later one.
        groups: for each account at the later one, the first one of its group.
    """
    old, lag_ns = booking.due, booking.state.sharing.lag_ns
    if due.held.n != old.held.n or due.last(lag_ns) != old.last(lag_ns):
        return False
    return _is_of_same(booking, due, groups)


def _is_of_same(booking: Booking, due: Due, groups: NDArray[np.int64]) -> bool:
    """True where a booking looked at what is known now of its intervals, too."""
    old, sharing, knots = booking.due, booking.state.sharing, booking.due.held.knots
    if old.state is not due.state or (old.is_exact, old.bounds_w) != (due.is_exact, due.bounds_w):
        return False
    if not old.held.n or due.held.ways != old.held.ways:
        return False
    first_s = min(kernel.lag_s for kernel in booking.state.split.kernels)
    reach_ns = int(knots.time_ns[-1]) - round(first_s / NS) + int(knots.half_width_ns.max())
    n, then = (int(held.time_ns.searchsorted(reach_ns, side="right")) for held in (due.held, old.held))
    end = n + 1 if sharing.parts else n  # where the last stretch ends, its parts end
    return n == then and all(
        now[:k].tobytes() == before[:k].tobytes()
        for now, before, k in (
            (due.held.time_ns, old.held.time_ns, end),
            (due.held.code, old.held.code, n),
            (due.held.of_class, old.held.of_class, n),
            (due.stage, old.stage, len(old.stage)),
            (groups, booking.groups, len(booking.groups)),
        )
    )


def way_to_share(
    due: Due, is_known: NDArray[np.bool_], pause: Pause = no_pause, *, with_kinds: bool = True
) -> tuple[Sharing, bool]:
    """The way to share, and whether intervals that are held are to be booked anew by it.

    Args:
        due: knots and marks.
        is_known: true for intervals that tell of powers.
        pause: called between parts of the work.
        with_kinds: false where it does not matter whether steps are of kinds.
    """
    sharing, held, n = due.state.sharing, due.held, int(is_known.sum())
    if sharing.is_final or (due.for_now and not due.is_exact):  # whoever asks for the contents waits for no search
        return sharing, False
    most = MOST_HELD_IN_PARTS if sharing.parts else MOST_HELD
    looks_at = LOOKS_IN_PARTS_AT if sharing.parts else LOOKS_AT
    is_full = held.n >= most or (held.n >= LOOKS_AT[0] and len(held.time_ns) >= MOST_MARKS)
    is_last = due.is_last and n >= ENOUGH and n > sharing.looked
    if not (is_full or is_last or any(sharing.looked < number <= n for number in looks_at)):
        if due.is_exact:
            exact = Sharing(
                EXACT, looked=sharing.looked, rules=sharing.rules, untold=sharing.untold, parts=sharing.parts
            )
            return exact, sharing.found is not EXACT
        return sharing, False
    one_kind = held.told_apart(()) if held.rules or held.parts else held
    origin_ns = int(held.knots.time_ns[0])
    stretch = one_kind.stretch(origin_ns, due.stage, origin_ns - HISTORY_NS)
    parts = _parts_of_phases(due, one_kind) if due.classes.has_phases else ()
    in_parts = stretch
    if parts:
        in_parts = one_kind._replace(parts=parts).stretch(origin_ns, due.classes.stage, origin_ns - HISTORY_NS)
    belief = Belief()
    earlier = sharing.belief if sharing.looked >= SURE else None
    found = EXACT if due.is_exact else belief.find(in_parts, earlier, pause, is_fine=bool(parts))
    if found is None:
        return sharing._replace(is_final=is_full), is_full
    rules, is_told, untold = sharing.rules, False, sharing.untold
    if with_kinds and not due.for_now and n >= LOOKS_AT[0]:
        kinds = _kinds_of_steps(due, one_kind, stretch, (found.kernel, AT_ONCE), pause)
        rules, is_told, untold = kinds.rules, kinds.is_told, kinds.untold
    apart = one_kind.told_apart(rules) if rules else one_kind
    if rules and parts:
        parts = _parts_of_phases(due, apart)
    if rules and not due.is_exact:  # which a counter's delay is told from, too
        known = apart._replace(parts=parts).stretch(origin_ns, due.classes.stage, origin_ns - HISTORY_NS)
        found = Belief().find(known, None, pause, is_fine=bool(parts)) or found
    is_final = is_full or (found.is_enough and is_told and (due.is_exact or (n >= SURE and not parts)))
    is_anew = not due.is_exact or sharing.found is not EXACT or (rules, parts) != (sharing.rules, sharing.parts)
    belief_kept = None if is_final or due.is_exact else belief
    return Sharing(found, None, (), n, is_final, rules, belief_kept, untold, parts), is_anew


def _parts_of_phases(due: Due, held: Held) -> tuple[Parts, ...]:
    """The way in which phases are cut that last as long as updates of the counter do; none if none is."""
    (n, seconds_s), classes = held.stretches, due.classes
    kinds = [of_class for rule in held.rules for of_class in rule.classes]
    mine = [c for c in sorted({*classes.divided, *kinds}) if c < len(n) and n[c] >= FEWEST]
    ends = ends_of([float(seconds_s[c] / n[c]) for c in mine], median(np.diff(held.knots.time_ns)) * NS)
    if not any(ends):
        return ()
    return tuple(Parts(e, classes.parts(c, len(e) + 1)) for c, e in zip(mine, ends, strict=True))


def _kinds_of_steps(due: Due, held: Held, stretch: Stretch, kernels: Sequence[Kernel], pause: Pause) -> Kinds:
    """The kinds of steps that explain the rises best, by one of some kernels."""
    more = len(stretch.classes.column) - len(held.number)  # the first column is that before the marks
    number = np.concatenate([np.zeros(max(more, 0), dtype=np.int64), held.number[max(-more, 0) :]])
    tried = [find_kinds(stretch, kernel, number, due.classes.steps, pause) for kernel in dict.fromkeys(kernels)]
    best = max(tried, key=lambda kinds: kinds.log_evidence)
    if not best.rules and have_durations(stretch, due.classes.steps):  # behind a late counter: they look like a delay
        tried = [best, *(find_kinds(stretch, kernel, number, due.classes.steps, pause) for kernel in LATE)]
        best = max(tried, key=lambda kinds: kinds.log_evidence)
    return best._replace(
        rules=tuple(rule._replace(classes=due.classes.kinds(rule.of_class, rule.n)) for rule in best.rules)
    )


def _add_lines(
    sums: Sums,
    due: Due,
    rows: slice,
    sharing: Sharing,
    groups: NDArray[np.int64],
    *,
    by_line: NDArray[np.bool_],
    with_time: bool = True,
    missing_ns: Sequence[Span] = (),
) -> list[Span]:
    """Add times, and the joules of some intervals by straight lines, to ``sums``.

    Returns:
        ``missing_ns``, and the stretches of missing time within the accounts of these intervals.
    """
    held = due.held
    knots = _shifted(held, rows, sharing)
    begin, end = (int(x) for x in np.searchsorted(held.time_ns, knots.time_ns[[0, -1]], side="right"))
    marked = Marked(knots, held.time_ns[begin:end], held.code[begin:end])
    pieces = Pieces.of(marked, held.code_before(int(knots.time_ns[0])))
    shares = line_shares(
        knots, pieces, groups, due.bounds_w, by_line=by_line[rows], with_time=with_time, u_delay_s=sharing.found.u_lag_s
    )
    sums.add(shares, len(groups))
    is_missing = (pieces.quality == MISSING) & (pieces.code != OUTSIDE)
    return joined([*missing_ns], pieces.cut_ns, is_missing) if is_missing.any() else [*missing_ns]


def _add_split(
    split: Split,
    due: Due,
    rows: slice,
    is_known: NDArray[np.bool_],
    sharing: Sharing,
    *,
    groups: NDArray[np.int64],
    pause: Pause,
) -> None:
    """Add intervals whose joules are shared out by fitted powers to ``split``."""
    held = due.held
    origin_ns = int(held.knots.time_ns[rows.start])
    before_ns = int(held.knots.time_ns[max(rows.start - 1, 0)])  # the interval before is looked at, too
    memory_s = MEMORY_S + max(max(k.lag_s, 0.0) + FADED * k.ema_s for k in split.kernels)
    since_ns = before_ns - min(round(memory_s / NS), HISTORY_NS)
    timeline, columns = of = held.timeline(origin_ns, since_ns)
    stretch = held.stretch(origin_ns, due.stage, since_ns, is_known=is_known, of=of)
    powers = sharing.powers or due.state.sharing.powers
    split.add(
        stretch,
        columns,
        timeline,
        rows,
        None if powers is None else powers.overall_w,
        for_now=due.for_now and powers is not None,
        groups=groups,
        pause=pause,
    )
    if split.blocks:
        split.blocks[-1].end_ns = int(held.knots.time_ns[rows.stop])


def _fitted(split: Split, sharing: Sharing, due: Due, pause: Pause) -> tuple[Sharing, int]:
    """The sharing with powers that are fitted anew where enough has come since."""
    old = sharing.powers
    if not split.n or (split.n < ENOUGH and not sharing.is_final):
        return sharing._replace(powers=None), split.joined
    if old is not None and split.joined == due.state.joined:
        is_grown = due.is_last and split.n > old.n
        if not is_grown and (due.is_all or split.n < FIT_AGAIN * old.n):
            return _looked_again(split, sharing, old), split.joined
    tried, closer = Prior.of(sharing.parts, due.classes.divided).tried, None
    if split.turns is not None and sharing.parts:
        closer = _closer(split, split.turns, sharing, tried, pause)
        tried = [believed(tried, closer.log_of)] if closer.log_of else tried
    blocks = [block.normals for block in split.blocks]
    stages = [*split.stages.of.values()]
    powers = fit(blocks, priors=tried, fourth=copy(split.fourth), by_stage=stages, pause=pause)
    pause()
    kernels_w = []
    for normals in split.normals if len(split.normals) > 1 else ():
        kernels_w.append(fit_beside(normals, powers))
        pause()
    spread = with_squares(sharing.found.along_axes)
    fitted = sharing._replace(powers=powers, kernels_w=tuple(kernels_w), spread=spread, closer=closer)
    return fitted, split.joined


def _looked_again(split: Split, sharing: Sharing, powers: Powers) -> Sharing:
    """The sharing with the kernel's own powers of all intervals: what differs from those fitted before is not known."""
    if not sharing.kernels_w:
        return sharing
    return sharing._replace(kernels_w=(fit_beside(split.normals[0], powers), *sharing.kernels_w[1:]))


def _closer(split: Split, turns: Turns, sharing: Sharing, tried: Sequence[Prior], pause: Pause) -> Closer:
    """The kernel as all intervals tell it."""
    whole = split.normals[0]
    powers = sharing.powers or fit([block.normals for block in split.blocks], wanders=(), priors=tried, pause=pause)
    power_w = np.full(len(whole.b), whole.mean_w)
    power_w[: powers.power_w.shape[1]] = np.average(powers.power_w, axis=0)
    scatter = max(powers.scatter, whole.squares(power_w) / whole.n)
    pause()
    return Closer.of(sharing.found, split.normals, tried, turns, scatter=scatter, of_times_j2=split.of_times_j2)


def _told(
    due: Due, which: slice, sharing: Sharing, groups: NDArray[np.int64], pause: Pause
) -> tuple[AtMarks, tuple[float, float]]:
    """The state of the curve at marks, whose energy goes on from the last even if powers or delay changed.

    An end of a step of which nobody asks where it lies is told as the mark behind it: steps run from start to start.
    """
    held, start, (told_j, more_j) = due.held, which.start, due.state.told_j
    if which.stop <= start:
        return AtMarks.none(), due.state.told_j
    goes_on = start > 0 and bool(held.time_ns[start - 1] >= held.knots.time_ns[0] - sharing.lag_ns)
    which = slice(start - goes_on, which.stop)
    asked = which.start + np.arange(which.stop - which.start)
    if not due.tells_all and sharing.found.kernel.look == 1:
        asked = asked[_is_asked(due, which, groups)]
    found = energy_at_marks(held, asked, due.stage, sharing, bounds_w=due.bounds_w, pause=pause).part(
        np.searchsorted(asked, np.arange(which.start, which.stop))
    )
    if goes_on:
        more_j = told_j - float(found.energy_j[0])
    energy_j = found.energy_j + more_j
    return found._replace(energy_j=energy_j).part(slice(int(goes_on), None)), (float(energy_j[-1]), more_j)


def _is_asked(due: Due, which: slice, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for marks that are no mere end of a step, nor inside one or a gap, and for the first and the last."""
    code, is_step = due.held.code[which], due.classes.is_step
    before, after = code[:-1], code[1:]
    is_inner = due.classes.is_inner
    begins = is_step[after] & ~is_inner[after] & ~(is_step[before] & is_inner[before])
    ends = ~begins & (is_step[before] | is_inner[before] | is_inner[after]) & (groups[before] == groups[after])
    ends[-1:] = False
    return np.concatenate([[True], ~ends])


def kernels_to_book_by(sharing: Sharing) -> list[Kernel]:
    """The kernels to book by: that of a register which shows the energy at once has no neighbours."""
    return [sharing.found.kernel] if sharing.found is EXACT else kernels_of(sharing.found)


def _shifted(held: Held, rows: slice, sharing: Sharing) -> Knots:
    """The knots of some intervals, at the moments whose energy they show."""
    part = held.knots.part(slice(rows.start, rows.stop + 1))
    time_ns = part.time_ns - sharing.lag_ns
    time_ns[0] = _shown_ns(held, rows.start, sharing)
    return Knots(time_ns, part.energy_j, part.half_width_ns, part.quality, part.variance_j2)


def _shown_ns(held: Held, knot: int, sharing: Sharing) -> int:
    """The moment whose energy a knot shows.

    Those of a counter that seems to be early are later than its updates: the very first is not after the first mark,
    as the time between belongs to an account.
    """
    time_ns: int = held.knots.time_ns.item(knot)
    if knot == 0 and held.time_ns.size:
        return min(time_ns - sharing.lag_ns, max(held.time_ns.item(0), time_ns))
    return time_ns - sharing.lag_ns


def _trimmed(held: Held, lag_ns: int, sharing: Sharing) -> Held:
    """The part that is kept: all until the delay is known, then what is not booked or told, and a little before."""
    if not sharing.is_final or held.n == 0:
        return held
    first_ns = int(held.knots.time_ns[held.booked]) - HISTORY_NS
    if held.told < len(held.time_ns):
        first_ns = min(first_ns, int(held.time_ns[held.told]) - HISTORY_NS)
    keep = max(min(int(np.searchsorted(held.knots.time_ns, first_ns)), held.booked) - 1, 0)
    return held.trimmed(keep, int(held.knots.time_ns[keep]) - lag_ns - HISTORY_NS)
