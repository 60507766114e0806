"""The choice of the meters that measure a training."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from lightning_energy.meters.accelerators import unread
from lightning_energy.meters.base import Meter, MeterError, MeterInfo, MeterUnavailable, Source
from lightning_energy.meters.estimate import EstimateSource
from lightning_energy.meters.nvml import NvmlMeter, NvmlSource
from lightning_energy.meters.patience import NoAnswerError, NoThreadError, ask
from lightning_energy.meters.rapl import RaplSource

if TYPE_CHECKING:
    import torch

__all__ = ["FALLBACK", "SOURCES", "MeterName", "Meters", "OpenMeters", "check_meters", "open_meters"]

MeterName = Literal["auto", "nvml", "rapl", "estimate"]
Meters: TypeAlias = "MeterName | Meter | Sequence[MeterName | Meter]"

SOURCES: tuple[Source, ...] = (NvmlSource(), RaplSource())
"""Sources of ``"auto"``, in order: accelerators first, as the counter of a whole module includes the CPUs."""

FALLBACK: Source = EstimateSource()
"""Source of ``"auto"`` where nothing can be measured."""

OPEN_S = 30.0  # longest wait for a meter that is opened: a driver that nobody uses may take seconds per board to start
STILL_S = 0.5  # longest time for which a register that moves at any poll stands still
LOOK_S = 0.002  # time between two looks at it
ANY_POLL_S = 0.005  # longest period of such a register


@dataclass
class OpenMeters:
    """Opened meters, and the reasons for those that are absent.

    Attributes:
        meters: the open meters, each with its description.
        absent: sentences about devices that could not be read, with remedies.
    """

    meters: list[tuple[Meter, MeterInfo]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def close(self, but: Sequence[Meter] = ()) -> None:
        """Close all of them. One that fails in it must not end a training.

        Args:
            but: meters that are closed by others.
        """
        for meter, _ in self.meters:
            if not any(meter is other for other in but):
                _close(meter)

    def drop(self, keep: Sequence[bool]) -> None:
        """Close those for which ``keep`` is false."""
        for (meter, _), kept in zip(self.meters, keep, strict=True):
            if not kept:
                _close(meter)
        self.meters = [m for m, kept in zip(self.meters, keep, strict=True) if kept]


def check_meters(meters: Meters) -> list[MeterName | Meter]:
    """Check the user's ``meters``, and return them as a list.

    Raises:
        TypeError: something in it is neither a name nor a meter.
        ValueError: a name is unknown, or the list is empty.
    """
    wanted: list[MeterName | Meter] = []
    if isinstance(meters, (str, Meter)):
        wanted = [meters]
    elif isinstance(meters, Sequence) and all(isinstance(m, (str, Meter)) for m in meters):
        wanted = [*meters]
    else:
        raise TypeError(f"meters={meters!r}: give a name, a Meter, or a list of these")
    names = get_args(MeterName)
    unknown = [m for m in wanted if isinstance(m, str) and m not in names]
    if unknown or not wanted:
        raise ValueError(f"meters={meters!r}: give at least one of {', '.join(map(repr, names))} or a Meter object")
    return wanted


def open_meters(
    wanted: Sequence[MeterName | Meter],
    *,
    device: torch.device,
    allow_estimate: bool = True,
    helper: bool = False,
) -> OpenMeters:
    """Open the meters of the device that is trained on, and of its node's CPU and memory.

    ``"auto"`` is the accelerator, plus RAPL's packages and DRAM where they can be read, and the estimate only
    where nothing can be measured. A counter that covers a whole module (GPU and CPU) stands alone.

    Args:
        wanted: names or meters.
        device: the device that this rank trains on.
        allow_estimate: true where ``"auto"`` may end in an estimate.
        helper: true to have NVIDIA boards read by a helper process, also those of meters that do not ask for one.

    Raises:
        MeterUnavailable: a meter that was asked for by name or given as an object cannot be read, or nothing
            can be read and an estimate is refused.
    """
    found = OpenMeters()
    try:
        for item in wanted:
            if item == "auto":
                _open_auto(found, device, allow_estimate=allow_estimate)
            else:
                for meter in [item] if isinstance(item, Meter) else _of_name(item, device):
                    _open(found, meter)
    except BaseException:
        found.close()
        raise
    for meter, _ in found.meters:
        if helper and isinstance(meter, NvmlMeter):
            meter.helper = True
    return found


def _open(found: OpenMeters, meter: Meter) -> MeterInfo | None:
    try:
        info: Any = _opened(meter)  # of a user's meter it may be anything
    except MeterError:
        raise
    except NoAnswerError as error:
        text = f"{type(meter).__name__}: its open() does not return within {OPEN_S:g} s (does the driver hang?)."
        raise MeterUnavailable(text) from error
    except Exception as error:  # a driver's surprise must not end a training that could go on without it
        text = f"{type(meter).__name__}: {type(error).__name__}: {error}."
        raise MeterUnavailable(text) from error
    if not isinstance(info, MeterInfo):
        _close(meter)
        raise MeterUnavailable(f"{type(meter).__name__}: its open() returned {reprlib.repr(info)}, not a MeterInfo.")
    if any(info.device_id == other.device_id for _, other in found.meters):
        _close(meter)  # one device read twice would be counted twice
        return None
    found.meters.append((meter, info))
    return info


def _opened(meter: Meter) -> MeterInfo:
    try:
        return ask(meter.open, OPEN_S, late=lambda _: _close(meter))
    except NoThreadError:
        return meter.open()


def _close(meter: Meter) -> None:
    with suppress(Exception):  # nothing is read from it any more
        meter.close()


def _of_name(name: MeterName, device: torch.device) -> Sequence[Meter]:
    (source,) = (source for source in (*SOURCES, FALLBACK) if source.name == name)
    not_read = unread(device, {source.accelerator}) if source.accelerator == device.type else ""
    if not_read:
        raise MeterUnavailable(f"meters={name!r}: {not_read}")
    try:
        return source.of(device)
    except MeterUnavailable as error:
        raise MeterUnavailable(f"meters={name!r}: {error}") from error


def _open_auto(found: OpenMeters, device: torch.device, *, allow_estimate: bool) -> None:
    not_read = unread(device, {source.accelerator for source in SOURCES})
    if not_read:
        found.absent.append(not_read)
    for source in SOURCES:
        if source.accelerator and (not_read or source.accelerator != device.type):
            continue
        modules = [info for _, info in found.meters if info.scope == "module"]
        if not source.accelerator and modules:  # the module's counter has the node's CPUs in it, or may have
            found.absent += _left_out(source, device, modules)
            continue
        _open_all(found, source, device)
        if not source.accelerator:
            _leave_out_still(found, source)
    if found.meters:
        return
    if not allow_estimate:
        raise MeterUnavailable("allow_estimate=False, and nothing can be measured here. " + " ".join(found.absent))
    for meter in FALLBACK.of(device):
        _open(found, meter)


def _left_out(source: Source, device: torch.device, modules: Sequence[MeterInfo]) -> list[str]:
    """Say that meters are left out beside a counter of which it is not known yet whether it covers their devices."""
    unknown = [info.name for info in modules if not info.scope_known]
    with suppress(MeterUnavailable):
        if unknown and source.of(device):
            text = (
                f"It cannot be told yet whether the counter of {', '.join(unknown)} covers the CPU, too, so the meters "
                f"of {source.name!r} are left out of this run; meters=['nvml', {source.name!r}] takes them in."
            )
            return [text]
    return []


def _open_all(found: OpenMeters, source: Source, device: torch.device) -> None:
    """Open a source's meters for ``device``, and keep the reasons of those that cannot be read."""
    try:
        meters = source.of(device)
    except MeterUnavailable as error:
        found.absent.append(str(error))
        return
    for meter in meters:
        try:
            _open(found, meter)
        except MeterUnavailable as error:
            found.absent.append(source.explain(error))


def _leave_out_still(found: OpenMeters, source: Source) -> None:
    """Leave out registers that can be read and never move, though they should at any poll: they tell nothing."""
    first: dict[Meter, float] = {}
    for meter, info in found.meters:
        if info.update_period_s is not None and info.update_period_s <= ANY_POLL_S:
            _note_register(first, meter)
    still, end_s = {*first}, time.monotonic() + STILL_S
    while still and time.monotonic() < end_s:
        time.sleep(LOOK_S)
        now: dict[Meter, float] = {}
        for meter in still:
            _note_register(now, meter)
        still = {meter for meter in still if now.get(meter) == first[meter]}
    for meter, info in found.meters:
        if meter in still:
            text = f"{info.name} ({info.device_id}): its energy counter reads {first[meter]:g} J and does not move"
            found.absent.append(source.explain(MeterUnavailable(text)))
    found.drop([meter not in still for meter, _ in found.meters])


def _note_register(registers: dict[Meter, float], meter: Meter) -> None:
    with suppress(MeterError):  # it is told when it is read for good
        register_j = meter.read().register_j
        if register_j is not None:
            registers[meter] = register_j
