"""Agreement of several ranks: on the reader of each device, and on the energy of all of them."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist

from lightning_energy.curves.energy import MISSING, QUALITIES, Energy, together_j
from lightning_energy.meters.base import MeterUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning.pytorch import Trainer

    from lightning_energy.meters.find import OpenMeters

__all__ = ["Ranks", "replicas_of"]

T = TypeVar("T")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FIELDS = 10  # numbers that stand for one energy in a reduction
QUALITY_BASE = 10**6  # base of the powers whose sum shows the worst quality of up to as many ranks


def node_identity() -> str:
    """An identity of this node: the boot id, since containers share and alias host names."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


@dataclass(frozen=True)
class Ranks:
    """The processes of one run.

    Attributes:
        size: their number.
        rank: the number of this one.
        device: the device on which this rank trains.
        node: identity of this rank's node.
        left: the number of other ranks before this one had to go on alone.
        replicas: the number of ranks with batches of their own; the others share theirs (tensor parallelism). 0: all.
    """

    size: int = 1
    rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    node: str = ""
    left: int = 0
    replicas: int = 0
    _sum: Callable[[torch.Tensor], torch.Tensor] | None = None

    @classmethod
    def of(cls, trainer: Trainer) -> Ranks:
        """The ranks of a Trainer's run."""
        strategy = trainer.strategy
        return cls(
            trainer.world_size,
            trainer.global_rank,
            strategy.root_device,
            node_identity(),
            replicas=replicas_of(strategy),
            _sum=partial(_reduce_sum, strategy),
        )

    @classmethod
    def of_fabric(cls, fabric: Any) -> Ranks:
        """The ranks of a Fabric's program."""
        reduce = partial(fabric.all_reduce, reduce_op="sum")
        return cls(fabric.world_size, fabric.global_rank, fabric.device, node_identity(), _sum=reduce)

    @property
    def is_zero(self) -> bool:
        """True for the rank that speaks for all."""
        return self.rank == 0

    def alone(self) -> Ranks:
        """This rank without the others, who may not come to a collective any more."""
        return replace(self, size=1, left=self.size - 1)

    def of_all(self, mean: float | None) -> int | None:
        """A count of all ranks, each batch once, from its mean over ranks; ``None`` when that is not known."""
        return None if mean is None else round(mean * (self.replicas or self.size if self.size > 1 else 1))

    def claim(self, open_meters: Callable[[], OpenMeters]) -> OpenMeters:
        """Open meters, and keep those that no lower rank of the same node has opened.

        Several ranks may see the same board, CPU package or memory; each device is read by one of them. A meter of
        a rank's own processes is kept by each. All ranks take part, so that a rank whose meters fail does not leave
        the others waiting.

        Raises:
            MeterUnavailable: a rank's meters could not be opened.
        """
        if self.size == 1:
            return open_meters()
        try:
            found, failure = open_meters(), ""
        except MeterUnavailable as error:
            found, failure = None, f"rank {self.rank}: {error}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the other ranks must not wait for ever
            found, failure = None, f"rank {self.rank}: {type(error).__name__}: {error}"
        infos = [info for _, info in found.meters] if found else []
        mine = [f"{i.device_id} of rank {self.rank}" if i.scope == "processes" else i.device_id for i in infos]
        everyone = _gather((self.node, mine, failure), self.size)
        failures = [text for _, _, text in everyone if text]
        if failures or found is None:
            if found is not None:
                found.close()
            raise MeterUnavailable("; ".join(failures))
        taken = {(node, d) for node, devices, _ in everyone[: self.rank] for d in devices}
        found.drop([(self.node, d) not in taken for d in mine])
        return found

    def gather(self, mine: T) -> list[T]:
        """One object from every rank, in the order of ranks. All ranks take part."""
        return [mine] if self.size == 1 else _gather(mine, self.size)

    def sum(
        self, energies: Sequence[Energy], value: float | None = None, *, or_of_zero: bool = False
    ) -> tuple[list[Energy], float | None]:
        """Energies summed over ranks; the mean of a value (an accuracy), or ``None`` if a rank has none.

        One reduction. All ranks take part. Missing time adds up over ranks.

        Args:
            energies: this rank's energies.
            value: this rank's value; ``None`` when it has none.
            or_of_zero: whether a value that rank zero alone has stands for all.
        """
        sums, (all_, zero) = self._reduce(energies, [value, value if self.is_zero else None])
        stands = or_of_zero and all_.n == zero.n == 1
        return sums, zero.total if stands else all_.mean(self.size)

    def sum_all(
        self, energies: Sequence[Energy], values: Sequence[float | None]
    ) -> tuple[list[Energy], list[float | None]]:
        """The same for several values (counts), each with its mean. One reduction; all ranks take part."""
        sums, known = self._reduce(energies, values)
        return sums, [value.mean(self.size) for value in known]

    def _reduce(self, energies: Sequence[Energy], values: Sequence[float | None]) -> tuple[list[Energy], list[_Known]]:
        """Sum energies and values over ranks by one reduction of ``10 * len(energies) + 2 * len(values)`` float64."""
        if self.size == 1 or self._sum is None:
            return [*energies], [_Known(self.size * (v is not None), self.size * (v or 0.0)) for v in values]
        rows = [number for value in values for number in (float(value is not None), value or 0.0)]
        for e in energies:
            u_cal = math.sqrt(max(e.u_absolute_j**2 - e.u_j**2, 0.0))
            known = e.energy_j is not None
            quality = float(QUALITY_BASE ** QUALITIES.index(e.quality)) if known else 0.0
            metered = float(e.duration_s > 0)
            rows += [
                float(known),
                e.energy_j or 0.0,
                e.u_j**2,
                e.u_j,
                u_cal,
                metered,
                e.duration_s,
                e.missing_s,
                quality,
                e.power_w or 0.0,
            ]
        summed = self._sum(torch.tensor(rows, dtype=torch.float64, device=self.device)).tolist()
        first = 2 * len(values)
        found = [_Known(summed[i], summed[i + 1]) for i in range(0, first, 2)]
        return [_energy(summed[i : i + FIELDS]) for i in range(first, len(summed), FIELDS)], found


class _Known(NamedTuple):
    """A value summed over the ranks that have it."""

    n: float
    total: float

    def mean(self, ranks: int) -> float | None:
        """Its mean; ``None`` if a rank has none."""
        return self.total / ranks if self.n == ranks else None


def replicas_of(strategy: Any) -> int:
    """The number of ranks of a strategy that get batches of their own; 0 where it does not say."""
    settings = getattr(strategy, "distributed_sampler_kwargs", None) or {}
    return int(settings.get("num_replicas", 0))


def _energy(row: list[float]) -> Energy:
    known, energy_j, u2_j2, u_sum_j, u_cal, metered, duration_s, missing_s, quality, power_w = row
    worst = next((q for q in reversed(range(MISSING)) if quality >= QUALITY_BASE**q), 0)
    u_j = together_j(u_sum_j, u2_j2)  # ranks see the same steps
    return Energy(
        energy_j=energy_j if known else None,
        u_j=u_j,
        u_absolute_j=math.hypot(u_j, u_cal),
        duration_s=duration_s / max(metered, 1.0),
        missing_s=missing_s,
        quality=QUALITIES[worst] if known else "missing",
        power_w=power_w if known else None,
    )


def _reduce_sum(strategy: Any, tensor: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = strategy.reduce(tensor, reduce_op="sum")
    return result


def _gather(mine: T, size: int) -> list[T]:
    if not (dist.is_available() and dist.is_initialized()):
        raise MeterUnavailable(
            f"{size} ranks without torch.distributed cannot agree on a reader for each device. Use a strategy "
            f"that sets up torch.distributed"
        )
    everyone: list[Any] = [None] * size
    dist.all_gather_object(everyone, mine)
    return everyone
