"""The steps and phases of a run beside the kernels of a profile: slices in a Chrome trace, from ``energy.steps``."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_energy.results.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from lightning_energy.results.trace_files import StepRow

__all__ = ["WORK", "slices"]

WORK = "Training (lightning-energy)"


class _Slice(NamedTuple):
    start_us: int
    end_us: int
    row: StepRow


def slices(
    rows: Sequence[StepRow], times_us: NDArray[np.float64], window_us: tuple[float, float], pid: int, tid: int
) -> Iterator[dict[str, Any]]:
    """Give a slice for each stage of an epoch, and within it one for each step, gap or phase.

    No slice has joules: a step or a phase alone is seldom resolved by a sensor.

    Args:
        rows: the rows of a session in the order of time.
        times_us: beginning and end of each by the time of the profile in microseconds, of shape (2, n).
        window_us: first and last time of the profile; what is outside is cut off.
        pid: the process of the slices.
        tid: their row.
    """
    seen = _cut(rows, times_us, window_us)
    for (epoch, stage), group in groupby(seen, key=lambda s: (s.row.epoch, s.row.stage)):
        inner = [*group]
        name = stage if epoch < 0 else f"{stage}, epoch {epoch}"
        whole = _Slice(inner[0].start_us, inner[-1].end_us, inner[0].row)
        yield _event(whole, name, pid, tid)
        for found in inner:
            row = found.row
            event = _event(found, row.phase or f"{stage} {row.kind}", pid, tid)
            yield event | {"args": {"epoch": epoch, "stage": printable(stage), "kind": row.kind, "number": row.number}}


def _cut(rows: Sequence[StepRow], times_us: NDArray[np.float64], window_us: tuple[float, float]) -> Iterator[_Slice]:
    """Slices in whole microseconds, none of which begins before another ends: viewers drop those that overlap."""
    at_us, last_us = math.ceil(window_us[0]), math.floor(window_us[1])
    for row, start, end in zip(rows, *np.rint(times_us).astype(np.int64).tolist(), strict=True):
        start_us, end_us = max(start, at_us), min(end, last_us)
        if end_us > start_us:
            yield _Slice(start_us, end_us, row)
            at_us = end_us


def _event(of: _Slice, name: str, pid: int, tid: int) -> dict[str, Any]:
    times = {"ts": of.start_us, "dur": of.end_us - of.start_us}
    return {"ph": "X", "cat": "training", "name": printable(name), "pid": pid, "tid": tid, **times}
