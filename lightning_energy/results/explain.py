"""The changes that would have saved energy in a finished run, as far as its record knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_energy.results.record import Record
from lightning_energy.results.record_ranks import load_record

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_energy.results.verdict.explanation import Explanation

__all__ = ["explain"]


def explain(run: str | Path | Record, *, beside: str | Path | Record | None = None) -> Explanation:
    """Say what would have saved energy in a run: a ranked list, each change with its joules, ± and the next step.

    A change is listed where it would have saved more than 2 % of the run and more than twice its uncertainty. Nothing
    is guessed: where the record does not know enough for a rule, ``unseen`` says so, with what would let it look.

    Args:
        run: the record of a run: the file ``energy.json``, the folder that it lies in, or what
            :func:`~lightning_energy.load_record` returned.
        beside: the record of another run of the same training, a short one, with another precision or batch size: only
            two runs know what these save.

    Returns:
        The verdict.

    Raises:
        RecordError: there is no record, or it cannot be read. The text names the file and a remedy.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from lightning_energy import EnergyMonitor, ReplayMeter
        >>> folder = mkdtemp()
        >>> with EnergyMonitor(meters=ReplayMeter(100.0), record=folder, print_report=False) as monitor:
        ...     with monitor.stage("train", 0), monitor.step():
        ...         pass
        >>> [unseen.rule for unseen in explain(folder).unseen][:1]
        ['waiting']
    """
    return _record(run).verdict(None if beside is None else _record(beside))


def _record(run: str | Path | Record) -> Record:
    return run if isinstance(run, Record) else load_record(run)
