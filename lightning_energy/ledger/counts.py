"""The numbers of samples, and of the user's own units, by which runs with other batches can be compared."""

from __future__ import annotations

import math
import reprlib
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.batch_size import describe, first_size, look, place_of_size, regular
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.meters.units import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MOST", "SAMPLES", "Counts", "SampleCount", "StageCounts", "UnitCount"]

UNCOUNTED = {"tune", "sanity_check"}  # stages whose batches are tried, not worked off
FIRST_LOOKS = 4
LOOK_EVERY = 256
SINCE, UNTIL, ABOUT = slice(1, 3), 3, slice(4, 7)  # of what is seen: see there
MOST = 10**15  # of a batch: sums of larger ones are not exact, or no number of a record
ADVICE = "Give EnergyCallback(batch_size_fn=…), a function of the batch that returns its number of samples"


def _no_loaders(_stage: str = "") -> Any:
    return None


def _told(error: Exception) -> str:
    name = type(error).__name__
    with suppress(Exception):  # it may have no text: this must not raise in the middle of a training
        name += f": {error}"
    return name


class SampleCount:
    """Counts the samples of batches; once a batch cannot be counted, the number is not known any more.

    The first batches, the first of every epoch, and one of 256 are looked at carefully; see
    :func:`~lightning_energy.ledger.batch_size.size_of` for the rule. Of the others, the first tensor is taken.

    Attributes:
        problem: the reason why samples could not be counted; empty when they could.
        seen: in one list, so that a hook adds a usual batch to it without a call: the number of the batch that the hook
            attends to next; the samples so far, and the shapes of first tensors that are not among them yet, since
            PyTorch takes longer to give a shape's first number than the shape; the number of the batch that is looked
            at next, the type of the last one that was, the place of its first tensor (``None``: elsewhere), and the
            size of all until the next look where that is sure (else 0). Also when the number is not known any more:
            then :attr:`n` is ``None``.

    Args:
        loaders: gives the DataLoaders of the batches; ``None`` where they are not known.
        together: whether several loaders give their batches together, as those of a training do.

    Example:
        >>> import torch
        >>> count = SampleCount()
        >>> count.add([torch.zeros(4, 2), torch.zeros(4)], 0)
        >>> count.n
        4
    """

    def __init__(self, loaders: Callable[[], Any] = _no_loaders, *, together: bool = False) -> None:
        self.problem = ""
        self.seen: list[Any] = [math.inf, 0, [], 0, None, None, 0]
        self._loaders = loaders
        self._together = together
        self._looks = 0
        self._is_sure = False

    @property
    def n(self) -> int | None:
        """The number of samples; ``None`` when it is not known."""
        return None if self.problem else self._so_far()

    def _so_far(self) -> int:
        n, shapes = self.seen[SINCE]
        so_far: int = n + sum(shape[0] for shape in shapes)
        return so_far

    def look_again(self) -> None:
        """Look carefully at the next batch."""
        self.seen[UNTIL] = 0

    def add(self, batch: Any, batch_idx: int) -> None:
        """Count one batch. Never raises."""
        if self.problem:
            return
        try:
            n = None
            if 0 < batch_idx < self.seen[UNTIL]:
                kind, _place, size = self.seen[ABOUT]
                n = size or (first_size(batch) if type(batch) is kind else None)
            self._add(self._look(batch, batch_idx) if n is None else n)
        except Exception as error:  # a batch that cannot be looked into
            if raised_by_handler(error):
                raise
            self.problem = f"a batch (a {type(batch).__name__}) raised {_told(error)}. {ADVICE}"

    def _add(self, n: int) -> None:
        self.seen[SINCE] = self._so_far() + n, []  # at once: a signal's handler may raise wherever it likes

    def _look(self, batch: Any, batch_idx: int) -> int:
        self.seen[ABOUT] = None, None, 0
        self._looks += 1
        self.seen[UNTIL] = batch_idx + (1 if self._looks < FIRST_LOOKS else LOOK_EVERY)
        loaders = self._loaders()
        n, is_full = look(batch, loaders, together=self._together, is_sure=self._is_sure)
        self._is_sure |= is_full
        if isinstance(n, str):
            self.problem = f"{n}. {ADVICE}"
            return 0
        self.seen[ABOUT] = type(batch), place_of_size(batch), 0
        size, batches = (regular(loaders) if is_full else None) or (0, 0)
        if n == size and batch_idx < batches - 1:
            self.seen[UNTIL] = min(self.seen[UNTIL], batches - 1)  # the last one may be smaller
            self.seen[ABOUT] = None, None, size
        return n


class UnitCount:
    """Counts by a function of the user's; once it cannot, the number is not known any more.

    Attributes:
        problem: the reason why it could not; empty when it could.

    Args:
        fn: a function of a batch.
        name: the argument that it was given as.

    Example:
        >>> count = UnitCount(len, "per['words']")
        >>> count.add(["a", "b"], 0)
        >>> count.n
        2
    """

    def __init__(self, fn: Callable[[Any], int], name: str) -> None:
        self.problem = ""
        self._n = 0
        self._fn = fn
        self._name = name

    @property
    def n(self) -> int | None:
        """The number of units; ``None`` when it is not known."""
        return None if self.problem else self._n

    def add(self, batch: Any, _batch_idx: int) -> None:
        """Count one batch. Never raises."""
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
            self.problem = f"{self._name} raised {_told(error)}"


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
        samples = self.units[SAMPLES]
        if isinstance(samples, SampleCount):
            samples.look_again()

    def _add(self, batch: Any, batch_idx: int) -> None:
        for unit in self.units.values():
            unit.add(batch, batch_idx)


class Counts:
    """Samples and the user's own units, by stage; those of searches and of the sanity check are not counted.

    Args:
        batch_size_fn: the user's way to count the samples of a batch; by default a :class:`SampleCount` does.
        per: the user's own units: a name, and a function from a batch to their number in it.
        loaders: gives the DataLoaders of a stage, by its name; ``None`` where they are not known.

    Attributes:
        passes: by stage the number of samples in the last pass through its loader that ended; ``None`` when not known.

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
        loaders: Callable[[str], Any] = _no_loaders,
    ) -> None:
        self._batch_size_fn = batch_size_fn
        self._per = {**per} if per else {}
        self._loaders = loaders
        self._stages: dict[str, StageCounts] = {}
        self._before: dict[str, int | None] = {}  # by stage the number before the pass that has begun
        self.passes: dict[str, int | None] = {}
        self.of("train")  # there on every rank, so that all know the names of the units

    def of(self, stage: str) -> StageCounts | None:
        """The counts of a stage; ``None`` where its batches are not counted."""
        if stage in UNCOUNTED:
            return None
        if stage not in self._stages:
            samples = (
                SampleCount(partial(self._loaders, stage), together=stage == "train")
                if self._batch_size_fn is None
                else UnitCount(self._batch_size_fn, "batch_size_fn")
            )
            own = {name: UnitCount(fn, f"per[{name!r}]") for name, fn in self._per.items()}
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

    @property
    def units(self) -> dict[str, dict[str, int | None]]:
        """By stage and unit the number so far; ``None`` when it is not known."""
        return {stage: {name: unit.n for name, unit in c.units.items()} for stage, c in self._stages.items()}

    @property
    def problems(self) -> list[str]:
        """A sentence for each unit that could not be counted, with the reason."""
        stages: dict[tuple[str, str], list[str]] = {}
        for stage, counts in self._stages.items():
            for name, unit in counts.units.items():
                if unit.problem:
                    stages.setdefault((name, unit.problem), []).append(stage)
        return [
            f"{'Samples' if name == SAMPLES else name} of {' and '.join(of)} were not counted: {problem}"
            for (name, problem), of in stages.items()
        ]
