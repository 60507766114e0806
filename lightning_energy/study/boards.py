"""The NVIDIA boards that trainings see: whether they are cool and idle, and the wait until they are."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from lightning_energy.meters.base import MeterError, MeterUnavailable
from lightning_energy.meters.nvml_boards import handle_of, resolve_visible
from lightning_energy.meters.nvml_library import library
from lightning_energy.meters.nvml_sensors import Board

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["COOLDOWN_S", "WARMER_C", "Ready", "look_at_boards", "wait_until_ready"]

COOLDOWN_S = 120.0
"""The longest wait for boards before a run, in seconds, where none is given."""

WARMER_C = 3.0
"""Degrees Celsius above the coolest beginning of a run up to which a board counts as cool."""

LOOK_S = 1.0


@dataclass(frozen=True)
class Ready:
    """The state of the boards before a run.

    Attributes:
        waited_s: seconds that were waited.
        is_ready: whether they were cool and idle then; ``None`` where no temperature is known.
        temperatures_c: their temperatures, by UUID.
    """

    waited_s: float = 0.0
    is_ready: bool | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)


def look_at_boards() -> tuple[dict[str, float], bool]:
    """Temperatures of the boards that ``CUDA_VISIBLE_DEVICES`` shows, by UUID; and whether other programs use them.

    Nothing is known of a board that does not say its temperature.
    """
    temperatures_c: dict[str, float] = {}
    is_used = False
    try:
        nvml = library()
        for index in count():
            uuid = resolve_visible(index, os.environ)
            handle = handle_of(nvml, uuid)
            board = Board(nvml, handle.value)
            condition = board.condition() if handle.is_known else None
            if condition is not None and condition.temperature_c is not None:
                temperatures_c[uuid] = condition.temperature_c
            is_used |= bool(board.others().value) if handle.is_known else False
    except (MeterUnavailable, MeterError):  # no further board, or no NVML
        pass
    return temperatures_c, is_used


def wait_until_ready(
    coolest_c: Mapping[str, float],
    cooldown_s: float | None,
    *,
    look: Callable[[], tuple[dict[str, float], bool]] = look_at_boards,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Ready:
    """Wait until every board is at most :data:`WARMER_C` warmer than at its coolest beginning, and nobody uses it.

    Where no temperature can be read, ``cooldown_s`` is waited as it is.

    Args:
        coolest_c: temperatures of the boards at their coolest beginning of a run, by UUID.
        cooldown_s: the longest wait in seconds; ``None`` is :data:`COOLDOWN_S` for boards, and nothing without one.
        look: gives the temperatures, and whether others use the boards.
        sleep: waits.
        clock: seconds.
    """
    start_s = clock()
    temperatures_c, is_used = look()
    if not temperatures_c:
        sleep(cooldown_s or 0.0)
        return Ready(clock() - start_s)
    longest_s = COOLDOWN_S if cooldown_s is None else cooldown_s
    while True:
        warm = [t for uuid, t in temperatures_c.items() if t > coolest_c.get(uuid, t) + WARMER_C]
        waited_s = clock() - start_s
        if not (warm or is_used) or waited_s >= longest_s:
            return Ready(waited_s, not (warm or is_used), temperatures_c)
        sleep(min(LOOK_S, longest_s - waited_s))
        temperatures_c, is_used = look()
