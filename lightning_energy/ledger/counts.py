"""The numbers of samples, and of the user's own units, by which runs with other batches can be compared."""

from __future__ import annotations

import reprlib
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.batch_size import describe
from lightning_energy.ledger.batch_source import Source
from lightning_energy.ledger.sample_count import KEPT, SEVERAL, SampleCount, told
from lightning_energy.meters.handlers import forgive, raised_by_handler
from lightning_energy.meters.units import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MOST", "SAMPLES", "Counts", "StageCounts", "UnitCount"]

UNCOUNTED = {"tune", "sanity_check"}  # stages whose batches are tried, not worked off
MISSED = (
    "no batch came to EnergyCallback. If there were any, let the hooks at the ends of batches, in the class that "
    "derives from it, call those of super()"
)
MOST = 10**15  # of a batch: sums of larger ones are not exact, or no number of a record


def _no_source(_stage: str) -> Source:
    return Source()


class UnitCount:
    """Counts by a function of the user's; once it cannot, the number is not known any more.

    Attributes:
        problem: the reason why it could not; empty when it could.

    Args:
        fn: a function of a batch.
        name: the argument that it was given as.
        source: gives the source of the batches.

    Example:
        >>> count = UnitCount(len, "per['words']")
        >>> count.add(["a", "b"], 0)
        >>> count.n
        2
    """

    def __init__(self, fn: Callable[[Any], int], name: str, source: Callable[[], Source] = Source) -> None:
        self.problem = ""
        self._n = 0
        self._fn = fn
        self._name = name
        self._source = source
        self._is_taken = False
        self._last = -1

    @property
    def n(self) -> int | None:
        """The number of units; ``None`` when it is not known."""
        return None if self.problem else self._n

    def look_again(self) -> None:
        """Ask whether steps take their batches themselves. Never raises."""
        with forgive(Exception):  # whoever cannot tell it has no such steps
            self._is_taken = self._source().is_taken

    def add(self, batch: Any, batch_idx: int) -> None:
        """Count one batch. Never raises."""
        if batch_idx not in {0, self._last + 1} and (self._is_taken or self._last >= 0):
            self.problem = self.problem or (SEVERAL if self._is_taken else KEPT)
        self._last = batch_idx
        if self.problem:
            return
        try:
            given = self._fn(batch)
            n = int(given)
            if n != given or not 0 <= n <= MOST:
                self.problem = (
                    f"{self._name} gave {reprlib.repr(given)} for a batch ({describe(batch)}): give a whole number"
                    f"{f' up to {MOST:g}' if n > MOST else ''}"
                )
            else:
                self._n += n
        except Exception as error:  # the user's function may raise anything; the training goes on
            if raised_by_handler(error):
                raise
            self.problem = f"{self._name} raised {told(error)}"


class StageCounts:
    """The counts of one stage.

    Attributes:
        units: a count for each unit, of samples first.
        samples: that of samples, where the batch itself is looked at for them and there is no other unit; else
            ``None``: every batch then goes through a function of the user's.
        add: counts one batch, given its number in the epoch. Never raises.

    Args:
        units: see there.
    """

    def __init__(self, units: Mapping[str, SampleCount | UnitCount]) -> None:
        self.units = units
        samples = units[SAMPLES]
        is_alone = len(units) == 1
        self.samples = samples if is_alone and isinstance(samples, SampleCount) else None
        self.add: Callable[[Any, int], None] = samples.add if is_alone else self._add

    def look_again(self) -> None:
        """Look carefully at the next batch."""
        for unit in self.units.values():
            unit.look_again()

    def _add(self, batch: Any, batch_idx: int) -> None:
        for unit in self.units.values():
            unit.add(batch, batch_idx)


class Counts:
    """Samples and the user's own units, by stage; those of searches and of the sanity check are not counted.

    Args:
        batch_size_fn: the user's way to count the samples of a batch; by default a :class:`SampleCount` does.
        per: the user's own units: a name, and a function from a batch to their number in it.
        sources: gives the source of a stage's batches, by its name.

    Attributes:
        passes: by stage the number of samples in the last pass through its loader that ended; ``None`` when not known.
        steps: the number of training steps that were seen to end; those without any batch are of a class of the user's.

    Example:
        >>> counts = Counts(per={"tokens": lambda batch: batch.numel()})
        >>> import torch
        >>> counts.of("test").add(torch.zeros(2, 8), 0)
        >>> counts.units["test"]
        {'samples': 2, 'tokens': 16}
    """

    def __init__(
        self,
        batch_size_fn: Callable[[Any], int] | None = None,
        per: Mapping[str, Callable[[Any], int]] | None = None,
        sources: Callable[[str], Source] = _no_source,
    ) -> None:
        self._batch_size_fn = batch_size_fn
        self._per = {**per} if per else {}
        self._sources = sources
        self._stages: dict[str, StageCounts] = {}
        self._before: dict[str, int | None] = {}  # by stage the number before the pass that has begun
        self.passes: dict[str, int | None] = {}
        self.steps = 0
        self.of("train")  # there on every rank, so that all know the names of the units

    def of(self, stage: str) -> StageCounts | None:
        """The counts of a stage; ``None`` where its batches are not counted."""
        if stage in UNCOUNTED:
            return None
        if stage not in self._stages:
            source = partial(self._sources, stage)
            samples = (
                SampleCount(source, together=stage == "train")
                if self._batch_size_fn is None
                else UnitCount(self._batch_size_fn, "batch_size_fn", source)
            )
            own = {name: UnitCount(fn, f"per[{name!r}]", source) for name, fn in self._per.items()}
            self._stages[stage] = StageCounts({SAMPLES: samples, **own})
        return self._stages[stage]

    def begin_pass(self, stage: str) -> None:
        """Begin a pass through the loader of a stage."""
        self._before[stage] = self._samples(stage)

    def end_pass(self, stage: str, *, is_one: bool = True) -> None:
        """End it: the samples since it began are those of a pass.

        Args:
            stage: the stage.
            is_one: false where it went through several loaders, so that no number is that of the metric.
        """
        before, n = self._before.pop(stage, None), self._samples(stage)
        known = is_one and before is not None and n is not None and n > before
        self.passes[stage] = n - before if known and n is not None and before is not None else None

    def _samples(self, stage: str) -> int | None:
        counts = self.of(stage)
        return None if counts is None else counts.units[SAMPLES].n

    def _is_missed(self, stage: str) -> bool:
        """True for a stage that has had batches, none of which came here."""
        has_had = self.steps > 1 if stage == "train" else stage in self.passes  # an exception may end the first step
        return has_had and self._samples(stage) == 0

    @property
    def units(self) -> dict[str, dict[str, int | None]]:
        """By stage and unit the number so far; ``None`` when it is not known."""
        return {
            stage: {name: None if missed else unit.n for name, unit in counts.units.items()}
            for stage, counts in self._stages.items()
            for missed in (self._is_missed(stage),)
        }

    @property
    def problems(self) -> list[str]:
        """A sentence for each unit that could not be counted, with the reason."""
        stages: dict[tuple[str, str], list[str]] = {}
        for stage, counts in self._stages.items():
            missed = MISSED if self._is_missed(stage) else ""
            for name, unit in counts.units.items():
                if problem := unit.problem or missed:
                    stages.setdefault((name, problem), []).append(stage)
        return [
            f"{'Samples' if name == SAMPLES else name} of {' and '.join(of)} were not counted: {problem}"
            for (name, problem), of in stages.items()
        ]
