"""The arguments of EnergyCallback, checked."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.arguments import check_idle, check_switches
from lightning_energy.meters.find import check_meters
from lightning_energy.results.carbon import Conversion
from lightning_energy.results.trace_files import check_trace
from lightning_energy.scores.formula import REFERENCE_KWH

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.meters.find import Meters
    from lightning_energy.results.trace_files import TraceFormat

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """The arguments of :class:`~lightning_energy.EnergyCallback`, which documents them.

    Raises:
        TypeError: one has the wrong type.
        ValueError: one has an impossible value.
        ModuleNotFoundError: one asks for an extra that is not installed.
    """

    meters: Meters
    accuracy: str | None
    score: Callable[[float, float], float] | None
    reference_kwh: float
    batch_size_fn: Callable[[Any], int] | None
    idle_s: float
    allow_estimate: bool
    print_report: bool | None
    record: bool | str | Path
    trace: TraceFormat | None
    carbon_intensity: float | str | None
    pue: float
    price: float | None
    dashboards: bool
    progress_bar: bool
    log_uncertainty: bool

    @classmethod
    def of(cls, owner: object) -> Settings:
        """The settings that stand as attributes of ``owner``."""
        return cls(**{field.name: getattr(owner, field.name) for field in fields(cls)})

    @cached_property
    def conversion(self) -> Conversion | None:
        """The inputs of CO2e and cost; ``None`` when neither is asked for."""
        return Conversion.of(self.carbon_intensity, self.pue, self.price)

    def __post_init__(self) -> None:
        _check_score(self.accuracy, self.score, self.reference_kwh)
        check_idle(self.idle_s)
        check_switches(
            allow_estimate=self.allow_estimate,
            dashboards=self.dashboards,
            progress_bar=self.progress_bar,
            log_uncertainty=self.log_uncertainty,
        )
        if not isinstance(self.record, (bool, str, Path)) or self.record == "":
            raise TypeError(f"record={self.record!r}: give True, False, or the path of a file or folder")
        if self.batch_size_fn is not None and not callable(self.batch_size_fn):
            raise TypeError(f"batch_size_fn={self.batch_size_fn!r}: give a function of a batch, or None")
        if self.print_report is not None and not isinstance(self.print_report, bool):
            raise TypeError(
                f"print_report={self.print_report!r}: give True, False, or None to be as quiet as the Trainer"
            )
        check_meters(self.meters)
        check_trace(self.trace)
        _ = self.conversion  # raises where its inputs are wrong


def _check_score(accuracy: Any, score: Any, reference_kwh: Any) -> None:
    if accuracy is not None and (not isinstance(accuracy, str) or not accuracy):
        raise TypeError(f"accuracy={accuracy!r}: give the name of a logged metric, such as 'val_acc', or None")
    if score is not None and not callable(score):
        raise TypeError(f"score={score!r}: give a function of (accuracy, energy_kwh), or None")
    if score is not None:
        _check_call(score)
    if isinstance(reference_kwh, bool) or not isinstance(reference_kwh, (int, float)):
        raise TypeError(f"reference_kwh={reference_kwh!r}: give a number of kWh above 0")
    if not 0 < reference_kwh < math.inf:
        raise ValueError(f"reference_kwh={reference_kwh!r}: give a finite number of kWh above 0")
    if score is not None and reference_kwh != REFERENCE_KWH:
        raise ValueError(f"reference_kwh={reference_kwh!r} belongs to the default score: omit it beside your own score")


def _check_call(score: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(score)
    except (TypeError, ValueError):  # some that are written in C have none
        return
    try:
        signature.bind(0.0, 0.0)
    except TypeError as error:
        raise TypeError(
            f"score={score!r}: give a function that can be called as score(accuracy, energy_kwh); this one: {error}"
        ) from error
