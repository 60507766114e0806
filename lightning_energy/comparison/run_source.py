"""What a run's record says of where its energy comes from: hardware, sensors, and what may be missing."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.run_files import printable
from lightning_energy.meters.base import BOARDS
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.record import report_of
from lightning_energy.scores.formula import EnergyPenalized, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_energy.curves.energy import Energy

__all__ = ["Source", "hardware_of", "number", "optional", "source_of"]


@dataclass(frozen=True)
class Source:
    """What one must know of a run to compare it, and nobody wants in a table.

    Attributes:
        sensors: text that is equal for runs measured by the same sensors, as far as their records tell; empty when
            they do not tell (of several ranks that run, or were given up, only the sensors of the first are known).
        slack_kwh: what the run may have spent beyond its energy: its missing time at its mean power; infinite when
            ranks are absent.
        run_id: equal in all records of one run; empty when unknown.
        reference_kwh: the reference of the score it was trained with; ``None`` for another score, or none.
        lacks: why it cannot be compared, in sentences; empty if it can.
    """

    sensors: str = ""
    slack_kwh: float = 0.0
    run_id: str = ""
    reference_kwh: float | None = None
    lacks: tuple[str, ...] = ()


def source_of(record: Mapping[str, Any], energy: Energy | None, lacks: tuple[str, ...]) -> Source:
    """What a record says.

    Args:
        record: the record.
        energy: the energy of its training.
        lacks: why the run cannot be compared.
    """
    return Source(
        _sensors(record),
        _slack_kwh(record, energy),
        str(record.get("run_id") or ""),
        _reference_kwh(record),
        lacks,
    )


def hardware_of(record: Mapping[str, Any]) -> str:
    """Boards, driver and CPU, in words."""
    where, ranks = record["where"], int(number("ranks", record["ranks"]))
    boards = Counter(d["name"] for d in record["devices"] if d["scope"] in BOARDS)
    words = [name if n == 1 else f"{n} x {name}" for name, n in sorted(boards.items())]
    if ranks > 1 and not report_of(record).has_all_devices:
        words = [f"{ranks} ranks, the first with " + (", ".join(words) or "no board of its own")]
    if where.get("nvidia_driver"):
        words.append(f"driver {where['nvidia_driver']}")
    words.append(f"{where.get('cpu', 'unknown CPU')} with {where.get('cpu_threads')} threads")
    return printable(", ".join(words))


def _sensors(record: Mapping[str, Any]) -> str:
    """Equal text for equal sensors; the notes tell the constants of models and of calibrations."""
    if not record["devices"] or not report_of(record).has_all_devices:
        return ""
    devices = sorted([d["device_id"], d["scope"], d["note"], d.get("rank", 0)] for d in record["devices"])
    where = [record["where"].get(key) for key in ("machine", "cpu", "cpu_threads", "nvidia_driver")]
    return json.dumps([devices, where])


def _slack_kwh(record: Mapping[str, Any], energy: Energy | None) -> float:
    if record.get("absent_ranks"):
        return math.inf  # what other ranks spent is not known
    if energy is None or not energy.missing_s:
        return 0.0
    return math.inf if energy.power_w is None else energy.missing_s * energy.power_w / J_PER_KWH


def _reference_kwh(record: Mapping[str, Any]) -> float | None:
    formula = parse(record["score"]["formula"]) if record["score"] is not None else None
    return formula.reference_kwh if isinstance(formula, EnergyPenalized) else None


def optional(key: str, value: object) -> float | None:
    """The number that ``value`` is; ``None`` stays."""
    return None if value is None else number(key, value)


def number(key: str, value: object, low: float = 0.0) -> float:
    """The number that ``value`` is: a record may have been damaged, or written by others.

    Raises:
        TypeError: it is none.
        ValueError: it is below ``low``, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{key}={value!r} is no number")
    if not (math.isfinite(value) and value >= low):
        raise ValueError(f"{key}={value!r} is out of range")
    return float(value)
