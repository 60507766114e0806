"""One rank's books during a run of the Trainer: its session, its ranks, its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.curves.energy import NOTHING, Energy
from lightning_energy.ledger.accounts import NO_ACCOUNT
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.steps import KnownSteps
from lightning_energy.ledger.totals import Totals
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.find import OpenMeters
from lightning_energy.meters.handlers import forgive, raised_by_handler
from lightning_energy.meters.units import NS
from lightning_energy.results.notes import Note
from lightning_energy.training.epoch_rows import EpochEnds
from lightning_energy.training.error_guard import warn_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.steps import SumsOfSteps
    from lightning_energy.training.error_guard import Warn
    from lightning_energy.training.run_memory import RunMemory

__all__ = ["EMPTY", "RankBooks"]

EMPTY = Totals([NO_ACCOUNT], [], [], [])
LATELY_NS = 100_000_000  # age up to which totals of a validation's end are those of its epoch's end


def _nothing() -> None:
    return None


class RankBooks:
    """One rank's measurements, and its part of the sums over all ranks.

    Attributes:
        session: the session that measures; ``None`` once the books are closed.
        ranks: the ranks that come to a reduction.
        known: the training steps whose energy becomes known.
        epochs: the epochs of this session that have a row.
        ended_lately: whether the last epoch's end had its totals from the end of its validation.
        is_fit: whether this is a ``fit``: the energies of other runs are not those of a training.
        is_power_seen: as of the session, when totals were asked for last: a step of the training has no time to ask.

    Args:
        session: a running session, closed by :meth:`close`.
        ranks: the ranks.
        memory: the energy of the run over its sessions.
        warn: takes a topic's first warning.
        is_fit: whether this is a ``fit``.
        left: called when the session is left, before it is closed, so that nobody marks in it any more.

    Example:
        >>> import torch
        >>> from lightning_energy.ledger.ranks import Ranks
        >>> from lightning_energy.meters import ReplayMeter, open_meters
        >>> from lightning_energy.training.run_memory import RunMemory
        >>> session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
        >>> books = RankBooks(session, Ranks(), RunMemory(), warn=print)
        >>> session.mark(session.code(0, "train", "step"))
        >>> books.finish()
        >>> books.live(session.totals()).quality
        'measured'
        >>> books.close()
    """

    def __init__(
        self,
        session: Session,
        ranks: Ranks,
        memory: RunMemory,
        warn: Warn,
        *,
        is_fit: bool = True,
        left: Callable[[], None] = _nothing,
    ) -> None:
        self.session: Session | None = session
        self.ranks = ranks
        self.known = session.ledger.steps
        self.epochs = EpochEnds()
        self.ended_lately = False
        self.is_fit, self.is_power_seen = is_fit, session.is_power_seen
        self._memory = memory
        self._warn = warn
        self._left = left
        self._given_up: tuple[Energy, int] | None = None
        self._lately: tuple[Totals, int] | None = None
        self._successor: Session | None = None  # measures nothing, after a defect

    @property
    def is_ours(self) -> bool:
        """False in a forked child, and when the books are closed."""
        session = self.of_report
        return session is not None and session.is_ours

    @property
    def of_report(self) -> Session | None:
        """The session that the last report is of: after a defect one that measures nothing; ``None`` when closed."""
        return self.session or self._successor

    @property
    def has_given_up(self) -> bool:
        """True after a defect: what was spent since is not known."""
        return self._given_up is not None

    def live(self, totals: Totals) -> Energy:
        """Energy of this rank in this session; since it gave up, that is not known."""
        if self._given_up is None:
            return totals.energy()
        known, since_ns = self._given_up
        silent_s = (monotonic_ns() - since_ns) * NS
        return Energy.sequence([known, Energy(None, 0.0, 0.0, silent_s, silent_s, "missing")])

    def of_fit(self, totals: Totals) -> Energy:
        """Energy of this rank in this session of ``fit``; nothing in other runs."""
        return self.live(totals) if self.is_fit else NOTHING

    def own(self, totals: Totals) -> Energy:
        """This rank's part of the energy that a score is about: all of ``fit``."""
        return self._memory.own(self.of_fit(totals), self.ranks)

    def total_of(self, reduced: Energy, totals: Totals) -> Energy:
        """The run's energy from a reduction of this session; checkpoints and records go on from there."""
        if self.is_fit:
            self._memory.remember(reduced, self.live(totals))
        return self._memory.after(reduced)

    def reduce(
        self,
        wanted: Callable[[Totals], list[Energy]],
        value: float | None = None,
        *,
        keeps: bool = False,
        or_lately: bool = False,
    ) -> tuple[Totals, list[Energy], float | None]:
        """Energies summed over ranks, and the mean of a value. All ranks take part.

        Whatever fails here, this rank takes part: the others wait for it.

        Args:
            wanted: this rank's energies, from the totals of its accounts.
            value: this rank's value; ``None`` when it has none.
            keeps: keep the totals, as no step of the epoch follows.
            or_lately: take the totals that were kept, if they are a tenth of a second old at most: working them out
                takes milliseconds, and what follows on a validation is the time between epochs.

        Returns:
            This rank's totals, the sums, and the mean as :meth:`mean` gives it.
        """
        try:
            self.report_troubles()
            totals = self._totals(keeps=keeps, or_lately=or_lately)
            mine = wanted(totals)
        except Warning:
            raise
        except Exception as error:
            if self.ranks.size == 1 or raised_by_handler(error):
                raise
            self.give_up("a reduction", error)
            totals, mine = EMPTY, wanted(EMPTY)
        sums, mean = self.ranks.sum(mine, value, or_of_zero=True)
        return totals, sums, mean

    def _totals(self, *, keeps: bool, or_lately: bool) -> Totals:
        """This rank's totals, as of now or as they were kept."""
        kept, self._lately = self._lately, None
        if self.session is None:
            return EMPTY
        now_ns = monotonic_ns()
        is_lately = or_lately and kept is not None and now_ns - kept[1] <= LATELY_NS
        self.ended_lately = is_lately if or_lately else self.ended_lately
        if is_lately and kept is not None:
            return kept[0]
        totals, self.is_power_seen = self.session.totals(), self.session.is_power_seen
        self._lately = (totals, now_ns) if keeps else None
        return totals

    def foresee(self) -> None:
        """Let the totals that a reduction needs in a moment be worked out in the background."""
        if self.session is not None:
            self.session.foresee()

    def mean(self, value: float | None) -> float | None:
        """The mean of a value over ranks, or rank zero's if it alone has one; else ``None``. All ranks take part."""
        return self.ranks.sum([], value, or_of_zero=True)[1]

    @property
    def notes(self) -> list[Note]:
        """The remark of a rank that gave up."""
        if self._given_up is None:
            return []
        return [Note("gave_up", f"Rank {self.ranks.rank} gave up measuring: its energy since then is missing")]

    def remark(self, text: str) -> None:
        """Let the reports of this session say a sentence."""
        if self.session is not None and text not in self.session.notes:
            self.session.notes.append(text)

    def take_steps(self) -> SumsOfSteps | None:
        """Training steps that became known since the last call; ``None`` when there are none."""
        return None if self.session is None else self.session.take_sums_of_steps()

    @property
    def steps(self) -> SumsOfSteps:
        """The sums of all training steps whose energy has become known."""
        return self.known.found.sums

    def report_troubles(self) -> None:
        """Warn of sensors that failed: each rank of its own, as the others do not know."""
        rank = self.ranks.rank
        for text in self.session.new_troubles() if self.session is not None else ():
            if rank:
                warn_here(self._warn, f"EnergyCallback on rank {rank}: {text}")
            else:
                self._warn(text, f"EnergyCallback: {text}")

    def finish(self) -> None:
        """End the last account, and wait shortly until its energy is known."""
        if self.session is not None:
            self.session.finish()
            self.report_troubles()
            self.take_steps()

    def leave_ranks(self) -> None:
        """Go on without the other ranks, which may not come to a reduction any more."""
        self.ranks = self.ranks.alone()

    def give_up(self, where: str, error: Exception) -> None:
        """Stop measuring after a defect of ours. With several ranks, go on coming to reductions with nothing to say.

        The last report says so: what was known until then stays known; where it cannot be read any more, all the time
        of the session is missing.
        """
        self._warn(
            "defect",
            f"EnergyCallback stops measuring after {type(error).__name__} in {where}: {error}. The training goes "
            f"on; please report this as a bug of lightning-energy",
        )
        if self.session is None:
            return
        silent_s = self.session.age_s
        known = Energy(None, 0.0, 0.0, silent_s, silent_s, "missing")
        with forgive(Exception):
            known = self.live(self.session.totals())
        successor = Session(OpenMeters())
        successor.started_unix_s = self.session.started_unix_s
        self._successor = successor  # before it is needed: at any moment a signal handler may save a checkpoint
        self._given_up = known, monotonic_ns()
        self._leave()
        if self.ranks.size > 1:
            self.session = successor

    def close(self) -> None:
        """Stop the session and close its meters, for good. Idempotent."""
        self._leave()
        self._successor = None
        self._left = _nothing  # its owner holds these books: a circle, which only Python's garbage collector would free

    def _leave(self) -> None:
        session, self.session = self.session, None
        self.known = KnownSteps(sums=self.steps)  # there will be no more
        self._left()
        if session is not None:
            session.close()
