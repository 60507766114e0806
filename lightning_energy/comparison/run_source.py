"""The origin of a run's energy as its record has it: hardware, sensors, and the energy that may be missing."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.base import BOARDS
from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.results.node import DamagedError, shortened
from lightning_energy.results.plain import printable
from lightning_energy.results.seeds import global_seed_of
from lightning_energy.scores.formula import EnergyPenalized, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightning_energy.comparison.course import Validation
    from lightning_energy.curves.energy import Energy
    from lightning_energy.results.figures import Device
    from lightning_energy.results.record import Record
    from lightning_energy.scores.metric import Scale

__all__ = ["OF_LIGHTNING", "Source", "hardware_of", "settings_of", "source_of", "training_seed"]

OF_LIGHTNING = "seed_everything"
"""The name of Lightning's own seed among those of a run."""
SEED = re.compile(r"(^|[/_.-])(seed|seed_everything|random_state)$", re.IGNORECASE)
SETTINGS = (
    "module",
    "parameters",
    "trainable_parameters",
    "precision",
    "batch_size",
    "accumulate_grad_batches",
    "max_epochs",
    "max_steps",
    "strategy",
    "accelerator",
    "devices",
    "nodes",
    "data_parallel_replicas",
)
"""Settings that a record has beside the hyperparameters, and that are the same in all repeats of a training."""


@dataclass(frozen=True)
class Source:
    """Facts of a run that a comparison needs and no table shows.

    Attributes:
        sensors: text that is equal for runs measured by the same sensors, as far as their records say; empty when
            they do not (of several ranks that run, or were given up, only the sensors of the first are known), and
            where sessions of the run had different ones: their gains do not cancel.
        slack_kwh: energy that the run may have spent beyond its known energy: its missing time at its mean power;
            infinite when ranks are absent, or earlier sessions are not wholly known.
        run_id: equal in all records of one run; empty when unknown.
        reference_kwh: the reference of the score it was trained with; ``None`` for another score, or none.
        lacks: the reasons why it cannot be compared, in sentences; empty if it can.
        scale: the scale of its metric as its record has it; ``None`` without a metric.
        settings: the settings that it was trained with: its module, precision, batch size and so on, and its
            hyperparameters, nested names joined by a slash; without the seed.
        has_hyperparameters: hyperparameters are among them, and not a seed alone.
        seed: that of Lightning's ``seed_everything``; ``None`` unknown.
        seeds: those among its hyperparameters by name, such as that of a split of the data.
        metric_n: number of samples that the metric is of; ``None`` unknown.
        course: the validations at the ends of its epochs, in the unit of the comparison.
        stopped_after: number of epochs after which it ended, fewer than it was allowed: by early stopping, a budget, or
            ``max_time``. ``None`` where it had all of them, where a number of steps may have ended it, and where that
            is not known.
        stop_step: number of epochs from the validation before to the one at which it ended; 1 where it ended at none.
        epochs: number of its epochs; ``None`` unknown.
    """

    sensors: str = ""
    slack_kwh: float = 0.0
    run_id: str = ""
    reference_kwh: float | None = None
    lacks: tuple[str, ...] = ()
    scale: Scale | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    has_hyperparameters: bool = False
    seed: int | None = None
    metric_n: int | None = None
    course: tuple[Validation, ...] = ()
    stopped_after: int | None = None
    stop_step: int = 1
    epochs: int | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)

    @property
    def all_seeds(self) -> dict[str, int]:
        """All its seeds that are known, by name."""
        return {**self.seeds, **({} if self.seed is None else {OF_LIGHTNING: self.seed})}


def source_of(record: Record, energy: Energy | None, lacks: tuple[str, ...]) -> Source:
    """The source of a record's figures.

    Args:
        record: the record.
        energy: the energy of its training.
        lacks: the reasons why the run cannot be compared.
    """
    scale = None if record.metric is None else record.metric.scale
    settings, seeds = settings_of(record.what)
    return Source(
        _sensors(record),
        _slack_kwh(record, energy),
        record.run_id or _by_contents(record),
        _reference_kwh(record),
        lacks,
        scale,
        settings,
        _has_more_than_a_seed(record.what.get("hyperparameters")),
        global_seed_of(record),
        record.n_val,
        stopped_after=_stopped_after(record),
        stop_step=_stop_step(record),
        epochs=_epochs(record) or None,
        seeds=seeds,
    )


def _stopped_after(record: Record) -> int | None:
    """Its number of epochs, if nothing that was fixed beforehand ended it: -1 is no limit, which nothing reaches."""
    most = _whole(record.what.get("max_epochs"))
    n = _epochs(record)
    is_within = most is not None and (most < 0 or n < most)
    return n if n and is_within and not _may_have_had_all_steps(record, n) else None


def _epochs(record: Record) -> int:
    return max((row.epoch for row in record.epochs), default=-1) + 1


def _may_have_had_all_steps(record: Record, epochs: int) -> bool:
    """True unless no number of steps was set, or its samples are too few for that many: batches are seldom larger."""
    limit = _whole(record.what.get("max_steps"))
    if limit is None or limit < 0:
        return False
    names = ("batch_size", "data_parallel_replicas", "accumulate_grad_batches")
    sizes = [_whole(record.what.get(name)) for name in names]
    if record.before is not None or not record.samples.n or not all(sizes):
        return True
    at_once = math.prod(size for size in sizes if size)
    return (
        record.samples.n / at_once + 2 * epochs >= limit
    )  # an epoch may end with a batch, and a step, that is not whole


def _stop_step(record: Record) -> int:
    """Epochs from one possible stop to the next: what looks at a validation stops where there is one."""
    rows = record.epochs
    validated = sorted({row.epoch for row in rows if row.val_s or row.metric is not None or row.no_metric is not None})
    if not validated or validated[-1] < max(row.epoch for row in rows):
        return 1
    return validated[-1] - (validated[-2] if len(validated) > 1 else -1)


def _by_contents(record: Record) -> str:
    """An id of a record of before runs had one: a copy has the same contents to the last digit, another run has not."""
    return f"contents {hashlib.sha256(repr(record).encode()).hexdigest()}"


def settings_of(what: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """The settings of a training without its seeds, and the seeds among its hyperparameters.

    Args:
        what: the description of the training in a record.

    Returns:
        The settings by name, those of nested mappings with the names joined by a slash; and the seeds likewise.

    Example:
        >>> settings_of({"module": "Net", "hyperparameters": {"lr": 0.1, "seed": 3}})
        ({'module': 'Net', 'lr': 0.1}, {'seed': 3})
    """
    own = what.get("hyperparameters")
    flat = {name: what[name] for name in SETTINGS if name in what}
    flat |= dict(_flat(own if isinstance(own, Mapping) else {}))
    named = [(printable(name), value) for name, value in flat.items()]
    seeds = {name: seed for name, value in named if SEED.search(name) and (seed := _seed(value)) is not None}
    return {name: value for name, value in named if not SEED.search(name)}, seeds


def training_seed(of_lightning: int | None, own: Mapping[str, int]) -> int | None:
    """The seed of a training, as far as one number tells it; ``None`` unknown.

    Args:
        of_lightning: that of Lightning's ``seed_everything``; ``None`` unknown.
        own: those among its hyperparameters, which may seed a split of the data alone: they count where the other is
            not known, and all are one.
    """
    if of_lightning is not None:
        return of_lightning
    seeds = {*own.values()}
    return seeds.pop() if len(seeds) == 1 else None


def _has_more_than_a_seed(hyperparameters: Any) -> bool:
    """True where hyperparameters say how a run was trained: a seed by itself, which all may have, does not."""
    own = hyperparameters if isinstance(hyperparameters, Mapping) else {}
    return any(not SEED.search(name) for name, _ in _flat(own))


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}/")
        else:
            yield name, value


def _seed(value: Any) -> int | None:
    """A seed, also one that a command line or a table has made a text or a float."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else _whole(value)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def hardware_of(record: Record) -> str:
    """Boards, driver and CPU, in words."""
    where, ranks = record.where, record.ranks
    boards = Counter(d.name for d in record.devices if d.scope in BOARDS)
    words = [name if n == 1 else f"{n} x {name}" for name, n in sorted(boards.items())]
    if ranks > 1 and not record.report.has_all_devices:
        words = [f"{ranks} ranks, the first with " + (", ".join(words) or "no board of its own")]
    if where.nvidia_driver:
        words.append(f"driver {where.nvidia_driver}")
    words.append(f"{where.cpu} with {where.cpu_threads} threads")
    return printable(", ".join(words))


def _sensors(record: Record) -> str:
    """Equal text for equal sensors; the notes hold the constants of models and of calibrations."""
    if not record.devices or not record.report.has_all_devices:
        return ""
    devices = _identities(record.devices)
    if any(row.devices and _identities(row.devices) != devices for row in record.sessions):
        return ""
    where = record.where
    return json.dumps([devices, [where.machine, where.cpu, where.cpu_threads, where.nvidia_driver]])


def _identities(devices: Sequence[Device]) -> list[list[str | int]]:
    return sorted([d.device_id, d.scope, d.note, d.rank] for d in devices)


def _slack_kwh(record: Record, energy: Energy | None) -> float:
    if record.absent_ranks or any(note.is_of_earlier_sessions for note in record.notes):
        return math.inf  # the energy of other ranks, or of earlier sessions, is not known
    if energy is None or not energy.missing_s:
        return 0.0
    return math.inf if energy.power_w is None else energy.missing_s * energy.power_w / J_PER_KWH


def _reference_kwh(record: Record) -> float | None:
    """The reference in a score's formula; ``None`` for another score.

    Raises:
        DamagedError: a constant in it is no number above 0.
    """
    if record.score is None:
        return None
    try:
        formula = parse(record.score.formula)
    except ValueError as error:
        raise DamagedError(f"score.formula={shortened(record.score.formula)} has no reference above 0") from error
    return formula.reference_kwh if isinstance(formula, EnergyPenalized) else None
