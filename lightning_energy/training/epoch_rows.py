"""Rows of epochs: as they are when an epoch ends, and as they are known later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.totals import OF_EPOCHS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.ledger.totals import Totals
    from lightning_energy.results.rows import EpochRow

__all__ = ["EpochEnds", "Known"]

LATELY = 64  # rows whose uncertainties are worked out at a checkpoint, at most; all of them at the end


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
        >>> ends.now([EpochRow(epoch=0)], Totals([], [], [], []), Ranks(), is_final=True).rows[0].is_final
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
        self,
        rows: Sequence[EpochRow],
        totals: Totals,
        ranks: Ranks,
        *,
        after: Callable[[Energy], Energy] | None = None,
        derive: Callable[[float | None], Mapping[str, float | None]] | None = None,
        is_final: bool = False,
        is_known: bool = True,
        without: Collection[str] = (),
    ) -> Known:
        """The rows with the energies that are known now. All ranks take part; one that is alone knows no other's.

        Args:
            rows: all rows of the run.
            totals: the totals of this rank's accounts.
            ranks: the ranks.
            after: the run's energy up to a moment of this session, of this session's energy until then; ``None`` leaves
                the totals as they were logged.
            derive: CO2e and cost of a total in kWh, as far as they were asked for.
            is_final: true at the end of the session: nothing will be known better.
            is_known: false where this rank stopped measuring, so that it cannot say.
            without: stages that are no part of the run.
        """
        has_code = {epoch: end.code is not None for epoch, end in self._ends.items()}
        everyone = ranks.gather(has_code if is_known and not ranks.left else None)
        known = [epochs for epochs in everyone if epochs is not None]
        if len(known) < len(everyone):
            return Known([*rows])
        epochs = [*known[0]][0 if is_final else -LATELY :]  # those of rank zero, whose rows are kept
        mine = [self._energies(totals, e, to_its_end=all(of.get(e, False) for of in known)) for e in epochs]
        (between, *sums), _ = ranks.sum([totals.between(epochs, without), *(e for of_epoch in mine for e in of_epoch)])
        result = [*rows]
        for i, epoch in enumerate(epochs):
            train, validation, until = sums[3 * i : 3 * i + 3]
            total = None if after is None or until.duration_s == 0 else after(until)
            if epoch not in self._ends:
                continue
            at = self._ends[epoch].row
            row = result[at].with_energies(train, validation, total)
            derived = row.derived if derive is None or total is None else derive(row.total_kwh)
            result[at] = replace(row, derived=derived, is_final=is_final)
        for at in self._earlier if is_final else ():
            result[at] = replace(result[at].with_energies(NOTHING, NOTHING), is_final=True)
        # the older rows are not known as well as the rest
        return Known(result, between if len(epochs) == len(known[0]) else None)

    def _energies(self, totals: Totals, epoch: int, *, to_its_end: bool) -> tuple[Energy, Energy, Energy]:
        """Training and validation of an epoch, and all until its end."""
        code = self._ends[epoch].code if to_its_end else None
        train, validation = (totals.energy(stage=stage, epoch=epoch) for stage in OF_EPOCHS)
        return train, validation, NOTHING if code is None else totals.until(code)
