"""The steps and phases of a run beside the kernels of a profile: slices in a Chrome trace, from ``energy.steps``."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.results.plain import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lightning_energy.results.trace_files import StepRow

__all__ = ["WORK", "slices"]

WORK = "Training (lightning-energy)"


class _Slice(NamedTuple):
    start_us: float
    end_us: float
    row: StepRow


def slices(
    rows: Iterable[StepRow], time_us: Callable[[float], float], window_us: tuple[float, float], pid: int, tid: int
) -> Iterator[dict[str, Any]]:
    """Give a slice for each stage of an epoch, and within it one for each step, gap or phase.

    No slice has joules: a step or a phase alone is seldom resolved by a sensor.

    Args:
        rows: the rows of a session in the order of time.
        time_us: the time of the profile in microseconds, of seconds since the session began.
        window_us: first and last time of the profile; what is outside is cut off.
        pid: the process of the slices.
        tid: their row.
    """
    first, last = window_us
    ends = ((max(time_us(r.start_s), first), min(time_us(r.start_s + r.duration_s), last), r) for r in rows)
    seen = (_Slice(round(start, 3), round(end, 3), row) for start, end, row in ends if end > start)
    for (epoch, stage), group in groupby(seen, key=lambda s: (s.row.epoch, s.row.stage)):
        inner = [*group]
        name = stage if epoch < 0 else f"{stage}, epoch {epoch}"
        whole = _Slice(inner[0].start_us, inner[-1].end_us, inner[0].row)
        yield _event(whole, name, pid, tid)
        for found in inner:
            row = found.row
            event = _event(found, row.phase or f"{stage} {row.kind}", pid, tid)
            yield event | {"args": {"epoch": epoch, "stage": printable(stage), "kind": row.kind, "number": row.number}}


def _event(of: _Slice, name: str, pid: int, tid: int) -> dict[str, Any]:
    times = {"ts": of.start_us, "dur": round(of.end_us - of.start_us, 3)}
    return {"ph": "X", "cat": "training", "name": printable(name), "pid": pid, "tid": tid, **times}
