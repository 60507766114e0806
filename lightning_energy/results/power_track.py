"""The power of a run beside the kernels of a profile: counter tracks in a Chrome trace of PyTorch's profiler.

Such a trace has the time of its events in microseconds since ``baseTimeNanoseconds``, itself in nanoseconds since 1970
(PyTorch 2.4 and later; before, since 1970 at once). Readings have the machine's monotonic clock, and a record some
moments by both clocks.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_energy.meters.units import NS
from lightning_energy.results.plain import printable
from lightning_energy.results.record_ranks import rank_file
from lightning_energy.results.trace_files import read_curve, read_steps
from lightning_energy.results.work_track import WORK, slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from lightning_energy.curves.power_series import PowerSeries
    from lightning_energy.ledger.how_shared import HowShared
    from lightning_energy.meters.clock import Anchor
    from lightning_energy.results.record import Record

__all__ = ["Merged", "TrackError", "merge", "read_profile"]

OURS = "Power (lightning-energy)"
BASE = "baseTimeNanoseconds"
ABSOLUTE_US = 1e15  # in 2001; a time since the start of a machine or a year is less
ABOVE_GPUS = 4_999_999  # place of our rows: those of GPUs are from 5,000,000 on
SOURCE = "give the file that torch.profiler's export_chrome_trace() wrote"
SAME_S = 0.01  # difference between the first point of a curve and that of its means, at most
GZIP = b"\x1f\x8b"


class TrackError(ValueError):
    """A trace or a record that gives no track. The text, of one line, names the file and a remedy."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class Merged(NamedTuple):
    """A trace with tracks of power.

    Attributes:
        document: the trace.
        tracks: the number of devices.
        values: the number of values in all tracks.
        spacing_s: the time between two values in seconds.
        slices: the number of slices of stages, steps and phases.
    """

    document: dict[str, Any]
    tracks: int
    values: int
    spacing_s: float
    slices: int


class _Window(NamedTuple):
    """The time of a profile in microseconds since its base, and that base in nanoseconds since 1970."""

    start_us: float
    end_us: float
    base_ns: int


class _Piece(NamedTuple):
    """Mean powers between neighbouring times, in microseconds as a profile has them; NaN is unknown."""

    time_us: NDArray[np.float64]
    mean_w: NDArray[np.float64]


def read_profile(file: Path) -> dict[str, Any]:
    """Read a Chrome trace of PyTorch's profiler, compressed by gzip or not.

    Raises:
        TrackError: it is none.
        OSError: it cannot be read.
    """
    content = file.read_bytes()
    try:
        if content.startswith(GZIP):
            content = gzip.decompress(content)
        document = json.loads(content.decode("utf-8", "surrogateescape"), strict=False)
    except (EOFError, ValueError, RecursionError, gzip.BadGzipFile, zlib.error) as error:
        raise TrackError(f"{file} is no JSON, or only a part of one ({type(error).__name__}): {SOURCE}") from error
    if not isinstance(document, dict) or not isinstance(document.get("traceEvents"), list):
        raise TrackError(f"{file} is no Chrome trace of PyTorch (no traceEvents): {SOURCE}")
    return document


def merge(profile: dict[str, Any], file: Path, record: Record, place: Path) -> Merged:
    """Add tracks of power to a profile: one for each device whose power is known at its time.

    Of a run with a trace of its own (``trace="csv"`` or ``"parquet"``) the values are those between two readings, else
    the means in the record. They stand where the energy was spent, as far as the run tells how late a counter shows it.
    Where nothing is known there is a slice that says so, as a track cannot have a gap. Of a run with a trace there are
    also slices of its stages, steps and phases, a row for each rank.

    Args:
        profile: from :func:`read_profile`; its events are taken over.
        file: its file, for messages.
        record: the record of the run that was profiled.
        place: the file of the record.

    Raises:
        TrackError: the profile does not tell its time, has such tracks already, or is not of the time of the run; or
            the record has no power.
    """
    events = profile["traceEvents"]
    window = _window(profile, file)
    if any(isinstance(e, dict) and e.get("ph") == "M" and _label(e) == OURS for e in events):
        raise TrackError(f"{file} has tracks of power already: give the file that PyTorch wrote")
    devices = _devices(record, place, window.base_ns)
    if not devices:
        raise TrackError(
            f"{place} has no power over time (a model's is not kept, nor had earlier releases any): give the record of "
            f"a run whose energy was measured"
        )
    pid = 1 + max((e["pid"] for e in events if isinstance(e, dict) and type(e.get("pid")) is int), default=0)
    added: list[dict[str, Any]] = [
        _named("process_name", pid, 0, window, name=OURS),
        _named("process_sort_index", pid, 0, window, sort_index=ABOVE_GPUS),
    ]
    spacings_s, tracks, values = [], 0, 0
    for number, (label, pieces) in enumerate(devices.items(), 1):
        inside = [p for p in (_clipped(piece, window) for piece in pieces) if p is not None]
        known = [p for p in inside if np.isfinite(p.mean_w).any()]
        if not known:
            continue
        counters = [*_counters(label, pid, known)]
        added += [*counters, *_unknown(label, pid, number, inside, window)]
        tracks, values = tracks + 1, values + len(counters)
        spacings_s.append(float(np.median(np.concatenate([np.diff(p.time_us) for p in known]))) * 1e-6)
    if not tracks:
        raise TrackError(f"{file} is not of the time of the run {place}: give the record of the run that was profiled")
    work = [*_work(record, place, window, pid + 1)]
    document = {**profile, "traceEvents": [*events, *added, *work]}
    return Merged(document, tracks, values, min(spacings_s), sum(e["ph"] == "X" for e in work))


def _work(record: Record, place: Path, window: _Window, pid: int) -> Iterator[dict[str, Any]]:
    """Slices of what each rank did, with the names of their rows; nothing where no run kept it."""
    clocks = {
        (device.rank, number): device.power.clock
        for number, devices in enumerate(record.devices_by_session)
        for device in devices
        if device.power is not None
    }
    ranks = sorted({rank for rank, _ in clocks})
    found: dict[int, list[dict[str, Any]]] = {}
    for rank in ranks:
        for number, rows in read_steps(rank_file(place, rank) if rank else place).items():
            clock = clocks.get((rank, number))
            if clock is not None:
                ends_s = np.array([[r.start_s for r in rows], [r.start_s + r.duration_s for r in rows]])
                times_us = _time_us(np.rint(ends_s * 1e9), clock, window.base_ns)
                made = slices(rows, times_us, (window.start_us, window.end_us), pid, rank + 1)
                found.setdefault(rank, []).extend(made)
    if any(found.values()):
        yield _named("process_name", pid, 0, window, name=WORK)
        yield _named("process_sort_index", pid, 0, window, sort_index=ABOVE_GPUS - 1)
    for rank, events in found.items():
        if events:
            name = "steps and phases" if len(ranks) == 1 else f"steps and phases, rank {rank}"
            yield _named("thread_name", pid, rank + 1, window, name=name)
            yield from events


def _window(profile: dict[str, Any], file: Path) -> _Window:
    """The time of the profile.

    Raises:
        TrackError: it cannot be told.
    """
    complete = (e for e in profile["traceEvents"] if isinstance(e, dict) and e.get("ph") == "X")
    times: Iterator[tuple[Any, Any]] = ((e.get("ts"), e.get("dur", 0)) for e in complete)
    spans = [(float(ts), float(dur)) for ts, dur in times if _is_number(ts) and _is_number(dur)]
    if not spans:
        raise TrackError(f"{file} has no events with a time: {SOURCE}")
    start_us, end_us = min(ts for ts, _ in spans), max(ts + dur for ts, dur in spans)
    base_ns = profile.get(BASE, 0 if start_us > ABSOLUTE_US else None)
    if type(base_ns) is not int or not 0 <= base_ns < 10**19:
        raise TrackError(f"{file} does not say when its time begins (no {BASE}): {SOURCE}, of PyTorch 2.4 or later")
    return _Window(start_us, end_us, base_ns)


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and abs(value) < 1e18  # noqa: PLR2004 - microseconds; false for NaN


def _label(event: dict[str, Any]) -> Any:
    arguments = event.get("args")
    return arguments.get("name") if isinstance(arguments, dict) else None


# ------------------------------------------------------------------------------------------------ power by device


def _devices(record: Record, place: Path, base_ns: int) -> dict[str, list[_Piece]]:
    """The power of each device over all sessions."""
    found: dict[str, list[_Piece]] = {}
    curves: dict[int, dict[tuple[int, str], _Knots]] = {}
    for number, devices in enumerate(record.devices_by_session):
        for device in devices:
            if device.power is None:
                continue
            if device.rank not in curves:
                curves[device.rank] = read_curve(rank_file(place, device.rank) if device.rank else place)
            knots = curves[device.rank].get((number, device.device_id))
            if knots is not None and _is_of(knots, device.power):
                piece = _of_curve(knots, device.power.clock, base_ns)
            else:
                piece = _of_series(device.power, base_ns)
            piece = piece._replace(time_us=piece.time_us - 1e6 * _late_s(device.shared))
            label = printable(device.name_among(devices))
            found.setdefault(label, []).append(piece)
    return found


def _late_s(shared: HowShared | None) -> float:
    """Seconds by which a counter shows energy late; 0 where the run does not tell that it is."""
    if shared is None or shared.delay_s is None or shared.delay_s <= 2 * (shared.delay_u_s or 0.0):
        return 0.0
    return shared.delay_s


def _is_of(knots: _Knots, power: PowerSeries) -> bool:
    """True where points of a curve begin when the power in the record does: they are of one session."""
    return bool(abs(float(knots[0][0]) - (power.start_ns - power.clock[0].monotonic_ns) * NS) < SAME_S)


_Knots = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.bool_]"]


def _of_series(power: PowerSeries, base_ns: int) -> _Piece:
    bins = np.arange(len(power.mean_w) + 1) * power.bin_s
    if power.known and power.known[-1][0] == len(power.mean_w) - 1:  # the run ended within the last bin
        bins[-1] = bins[-2] + min(power.known[-1][1], power.bin_s)
    time_ns = power.start_ns - power.clock[0].monotonic_ns + np.rint(bins * 1e9)
    mean_w = np.array([np.nan if w is None else w for w in power.mean_w])
    return _Piece(_time_us(time_ns, power.clock, base_ns), mean_w)


def _of_curve(knots: _Knots, clock: Sequence[Anchor], base_ns: int) -> _Piece:
    time_s, energy_j, is_missing = knots
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_w = np.where(is_missing[1:], np.nan, np.diff(energy_j) / np.diff(time_s))
    return _Piece(_time_us(np.rint(time_s * 1e9), clock, base_ns), mean_w)


def _time_us(since_ns: NDArray[np.float64], clock: Sequence[Anchor], base_ns: int) -> NDArray[np.float64]:
    """Times of a profile, of monotonic times since the first of the moments that are known by both clocks."""
    first = clock[0]
    monotonic = np.array([moment.monotonic_ns - first.monotonic_ns for moment in clock], dtype=np.float64)
    unix = np.array([moment.unix_ns - first.unix_ns for moment in clock], dtype=np.float64)
    outside = np.minimum(since_ns, 0.0) + np.maximum(since_ns - monotonic[-1], 0.0)
    result: NDArray[np.float64] = (first.unix_ns - base_ns + np.interp(since_ns, monotonic, unix) + outside) * 1e-3
    return result


# ------------------------------------------------------------------------------------------------ events


def _clipped(piece: _Piece, window: _Window) -> _Piece | None:
    """The part of a piece within the profile; ``None`` where there is none."""
    inside = (piece.time_us[1:] > window.start_us) & (piece.time_us[:-1] < window.end_us)
    if not inside.any():
        return None
    first, last = int(np.argmax(inside)), len(inside) - int(np.argmax(inside[::-1]))
    time_us = np.clip(piece.time_us[first : last + 1], window.start_us, window.end_us)
    return _Piece(time_us, piece.mean_w[first:last])


def _counters(label: str, pid: int, pieces: Sequence[_Piece]) -> Iterator[dict[str, Any]]:
    for piece in pieces:
        for time_us, power_w in zip(piece.time_us.tolist(), piece.mean_w.tolist(), strict=False):
            if math.isfinite(power_w):
                ts, watts = round(time_us, 3), round(power_w, 2)
                yield {"ph": "C", "cat": "power", "name": f"{label} power", "pid": pid, "ts": ts, "args": {"W": watts}}


def _unknown(label: str, pid: int, tid: int, pieces: Sequence[_Piece], window: _Window) -> list[dict[str, Any]]:
    """Slices of the time in which the power is not known, and the name of their row."""
    gaps, at_us = [], window.start_us
    for piece in sorted(pieces, key=lambda p: p.time_us[0]):
        for start_us, end_us, power_w in zip(piece.time_us, piece.time_us[1:], piece.mean_w, strict=False):
            if np.isfinite(power_w):
                gaps.append((at_us, float(start_us)))
                at_us = float(end_us)
    gaps.append((at_us, window.end_us))
    slices = [
        {
            "ph": "X",
            "cat": "power",
            "name": "power unknown",
            "pid": pid,
            "tid": tid,
            "ts": round(start_us, 3),
            "dur": round(end_us - start_us, 3),
        }
        for start_us, end_us in gaps
        if end_us - start_us > 1.0
    ]
    return [_named("thread_name", pid, tid, window, name=label), *slices] if slices else []


def _named(kind: str, pid: int, tid: int, window: _Window, **arguments: Any) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": window.start_us, "args": arguments}
