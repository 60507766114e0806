"""Rows of epochs: as they are when an epoch ends, and as they are known later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.totals import OF_EPOCHS
from lightning_energy.results.rows import EpochPhase, known_j, of_energy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import TypeAlias

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.results.rows import EpochRow

    After: TypeAlias = Callable[[Energy], Energy]
    Derive: TypeAlias = Callable[[float | None], Mapping[str, float | None]]
    _OfEpoch: TypeAlias = tuple[Energy, Energy, Energy]  # training, validation, all until its end
    _Resolved: TypeAlias = Mapping[str, bool]  # the phases of an epoch's training

__all__ = ["EpochEnds", "Known"]

EXACT = 32  # epochs whose phases are worked out anew at the end: each takes some ten milliseconds
NO_END: tuple[bool, _Resolved] = (False, {})
LATELY = 2  # rows whose uncertainties are worked out at a checkpoint; all of them at the end


@dataclass(frozen=True)
class Known:
    """Rows of epochs as they are known at some moment.

    Attributes:
        rows: all rows of the run.
        between: energy of this session that is in none of its rows; ``None`` where that is not known.
    """

    rows: list[EpochRow]
    between: Energy | None = None


class End(NamedTuple):
    """The end of an epoch.

    Attributes:
        row: the place of its row.
        code: the account that was opened then; ``None`` where none was.
    """

    row: int
    code: int | None


class EpochEnds:
    """The epochs of this session that have a row.

    Example:
        >>> from lightning_energy.ledger.ranks import Ranks
        >>> from lightning_energy.ledger.totals import Totals
        >>> from lightning_energy.results.rows import EpochRow
        >>> ends = EpochEnds()
        >>> ends.add(0, row=0)
        >>> ends.final([EpochRow(epoch=0)], Totals([], [], [], []), Ranks()).rows[0].is_final
        True
    """

    def __init__(self) -> None:
        self._ends: dict[int, End] = {}
        self._earlier: set[int] = set()

    def add(self, epoch: int, row: int, code: int | None = None) -> None:
        """Remember the end of an epoch. The energies of an epoch with several rows are those of its last.

        Args:
            epoch: the epoch.
            row: the place of its row.
            code: the account that was opened then; ``None`` where none was.
        """
        if epoch in self._ends:
            self._earlier.add(self._ends[epoch].row)
        self._ends[epoch] = End(row, code)

    def clear(self) -> None:
        """Forget them, with their rows."""
        self._ends.clear()
        self._earlier.clear()

    def now(
        self, rows: Sequence[EpochRow], totals: Totals, after: After | None = None, derive: Derive | None = None
    ) -> Known:
        """The rows with the energies that are known now, for a checkpoint of a single rank.

        Of older rows uncertainties and totals stay, which hardly change any more: a checkpoint must not take long.

        Args:
            rows: all rows of the run.
            totals: the totals of this rank's accounts.
            after: see :meth:`final`.
            derive: see there.
        """
        result = [*rows]
        by_stage = [totals.joules_by_epoch(stage) for stage in OF_EPOCHS]
        of_run = after if after is not None else _nothing
        # in a signal handler the last one may not have its row yet
        ends = {epoch: end for epoch, end in self._ends.items() if end.row < len(result)}
        for epoch, end in [*ends.items()][:-LATELY]:
            train_j, val_j = (known_j(joules.get(epoch)) for joules in by_stage)
            phases = of_energy(result[end.row].phases, train_j)
            result[end.row] = replace(result[end.row], train_j=train_j, val_j=val_j, phases=phases)
        for epoch in [*ends][-LATELY:]:
            self._set(result, epoch, self._energies(totals, epoch), of_run, derive)
            row = result[ends[epoch].row]
            found = [EpochPhase.of(p.name, p.energy, resolved=p.resolved) for p in totals.phases("train", epoch)]
            result[ends[epoch].row] = replace(row, phases=of_energy(found, row.train_j))
        return Known(result, totals.between(ends))

    def final(
        self,
        rows: Sequence[EpochRow],
        totals: Totals,
        ranks: Ranks,
        *,
        after: After | None = None,
        derive: Derive | None = None,
        is_known: bool = True,
        without: Collection[str] = (),
    ) -> Known:
        """The rows with the energies that are known at the end. All ranks take part, but after an exception.

        Args:
            rows: all rows of the run.
            totals: the totals of this rank's accounts.
            ranks: the ranks; one that is alone knows no other's energy, and leaves its rows as they are.
            after: the run's energy up to a moment of this session, of this session's energy until then; ``None`` leaves
                the totals as they were logged.
            derive: CO2e and cost of a total in kWh, as far as they were asked for.
            is_known: false where this rank stopped measuring, so that it cannot say.
            without: stages that are no part of the run.
        """
        ends = {e: end for e, end in self._ends.items() if end.row < len(rows)}  # a handler may raise before the row is
        lately = [*ends][-EXACT:]
        of_mine = {e: (n.code is not None, _resolved(totals, e) if e in lately else {}) for e, n in ends.items()}
        everyone = ranks.gather(of_mine if is_known and not ranks.left else None)
        known = [epochs for epochs in everyone if epochs is not None]
        if len(known) < len(everyone):
            return Known([*rows])
        epochs = [*known[0]]  # those of rank zero, whose rows are kept
        mine = [self._energies(totals, e, to_its_end=all(of.get(e, NO_END)[0] for of in known)) for e in epochs]
        resolved = {e: _together([of.get(e, NO_END)[1] for of in known]) for e in epochs}
        phases = [totals.energy(stage="train", epoch=e, phase=name) for e in epochs for name in resolved[e]]
        (between, *sums), _ = ranks.sum(
            [totals.between(epochs, without), *(e for of_epoch in mine for e in of_epoch), *phases]
        )
        result, of_phases = [*rows], iter(sums[3 * len(epochs) :])
        for i, epoch in enumerate(epochs):
            self._set(result, epoch, (sums[3 * i], sums[3 * i + 1], sums[3 * i + 2]), after or _nothing, derive)
            found = tuple(EpochPhase.of(name, next(of_phases), resolved=told) for name, told in resolved[epoch].items())
            if epoch in ends:
                row = result[ends[epoch].row]
                phases_now = of_energy(found if epoch in lately else row.phases, row.train_j)
                result[ends[epoch].row] = replace(row, phases=phases_now)
        for at in self._earlier:
            result[at] = replace(result[at].with_energies(NOTHING, NOTHING), phases=())
        for at in [*self._earlier, *(end.row for end in ends.values())]:
            result[at] = replace(result[at], is_final=True)
        return Known(result, between)

    def _energies(self, totals: Totals, epoch: int, *, to_its_end: bool = True) -> _OfEpoch:
        code = self._ends[epoch].code if to_its_end and epoch in self._ends else None
        train, validation = (totals.energy(stage=stage, epoch=epoch) for stage in OF_EPOCHS)
        return train, validation, NOTHING if code is None else totals.until(code)

    def _set(self, rows: list[EpochRow], epoch: int, energies: _OfEpoch, after: After, derive: Derive | None) -> None:
        """Give the row of an epoch its energies, if this rank has one."""
        end = self._ends.get(epoch)
        if end is None:
            return
        train, validation, until = energies
        total = after(until) if until.duration_s > 0 else NOTHING
        row = rows[end.row].with_energies(train, validation, None if total == NOTHING else total)
        if derive is not None and total != NOTHING:
            row = replace(row, derived=derive(row.total_kwh))
        rows[end.row] = row


def _resolved(totals: Totals, epoch: int) -> _Resolved:
    """The phases of an epoch's training on this rank; true for those that it tells."""
    return {phase.name: phase.resolved for phase in totals.phases("train", epoch)}


def _together(ranks: Sequence[_Resolved]) -> _Resolved:
    """The same of all ranks: a phase is told where each that has it tells it."""
    names = dict.fromkeys(name for rank in ranks for name in rank)
    return {name: all(rank.get(name, True) for rank in ranks) for name in names}


def _nothing(_until: Energy) -> Energy:
    """Leave a total as it was logged."""
    return NOTHING
