"""The arguments of EnergyCallback, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning_energy.ledger.arguments import check_idle, check_record, check_switches
from lightning_energy.meters.find import check_meters
from lightning_energy.meters.units import SAMPLES
from lightning_energy.results.carbon import Conversion
from lightning_energy.results.reference import reference_of
from lightning_energy.results.trace_files import check_trace
from lightning_energy.scores.choice import choose_metric, choose_score

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lightning_energy.meters.find import Meters
    from lightning_energy.results.trace_files import TraceFormat
    from lightning_energy.scores.choice import MetricChoice, ScoreRule, ScoreSetting
    from lightning_energy.scores.metric import Mode, Scale

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
    metric: str | None
    accuracy: str | None
    mode: Mode | None
    scale: Scale | None
    score: ScoreSetting
    reference_kwh: float | str | Path
    batch_size_fn: Callable[[Any], int] | None
    per: Mapping[str, Callable[[Any], int]] | None
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
    phases: bool
    helper: bool

    @classmethod
    def of(cls, owner: object) -> Settings:
        """The settings that stand as attributes of ``owner``."""
        return cls(**{field.name: getattr(owner, field.name) for field in fields(cls)})

    @cached_property
    def conversion(self) -> Conversion | None:
        """The inputs of CO2e and cost; ``None`` when neither is asked for."""
        return Conversion.of(self.carbon_intensity, self.pue, self.price)

    @cached_property
    def choice(self) -> MetricChoice:
        """The metric that is asked for."""
        return choose_metric(self.accuracy, self.metric, self.mode, self.scale)

    @cached_property
    def score_rule(self) -> ScoreRule:
        """The score that is asked for."""
        return choose_score(self.score, self.reference)

    @cached_property
    def reference(self) -> float | str:
        """The reference of the score as it is asked for, but of the path of a record the energy of its training."""
        reference: float | str = reference_of(self.reference_kwh)
        return reference

    def __post_init__(self) -> None:
        _ = self.choice, self.score_rule  # these, and the conversion below, raise where their inputs are wrong
        check_idle(self.idle_s)
        check_switches(
            allow_estimate=self.allow_estimate,
            dashboards=self.dashboards,
            progress_bar=self.progress_bar,
            log_uncertainty=self.log_uncertainty,
            phases=self.phases,
            helper=self.helper,
        )
        check_record(self.record)
        if self.batch_size_fn is not None and not callable(self.batch_size_fn):
            raise TypeError(f"batch_size_fn={self.batch_size_fn!r}: give a function of a batch, or None")
        _check_units(self.per)
        if self.print_report is not None and not isinstance(self.print_report, bool):
            raise TypeError(
                f"print_report={self.print_report!r}: give True, False, or None to be as quiet as the Trainer"
            )
        check_meters(self.meters)
        check_trace(self.trace)
        _ = self.conversion


def _check_units(per: Any) -> None:
    if per is None:
        return
    if not isinstance(per, Mapping):
        raise TypeError(
            f"per={per!r}: give names of units with functions of a batch, such as {{'tokens': count_tokens}}"
        )
    for name, fn in per.items():
        if not isinstance(name, str):
            raise TypeError(f"per: the name {name!r} of a unit is no text: give one such as 'tokens'")
        if not name.strip() or name == SAMPLES:
            raise ValueError(
                f"per: {name!r} cannot be the name of a unit: give another one, such as 'tokens'; samples are counted "
                f"anyway, by batch_size_fn if it is given"
            )
        if not callable(fn):
            raise TypeError(f"per[{name!r}]={fn!r}: give a function from a batch to the number of {name} in it")
