"""The contract between a thing that can be read and everything that turns readings into energy.

A meter reads one device. It says what it is (:class:`MeterInfo`), is opened, read many times from one
thread, and closed. Vendor units end here: a :class:`Reading` holds joules and watts, and times of
:func:`~lightning_energy.meters.clock.monotonic_ns`. A reading by another clock is refused.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

__all__ = [
    "BOARDS",
    "Condition",
    "Meter",
    "MeterError",
    "MeterInfo",
    "MeterLost",
    "MeterUnavailable",
    "Quality",
    "Reading",
    "Scope",
    "Source",
    "Survey",
]

Quality = Literal["measured", "integrated", "estimated", "missing"]
"""Origin of a figure: a hardware energy counter, a hardware power sensor integrated by us, a model, or none."""

Scope = Literal["gpu", "board", "module", "package", "dram", "psys", "machine", "processes"]
"""Coverage of a figure. ``board`` is a GPU board of which the training uses a part (MIG, MPS, shared), ``processes``
the processes of one rank on the CPU, so that each rank reads its own; all others cover a device, whoever uses it."""

QUALITIES: Final[tuple[Quality, ...]] = ("measured", "integrated", "estimated")
"""The qualities that a meter may have."""

BOARDS: Final[frozenset[Scope]] = frozenset({"gpu", "board", "module"})
"""The scopes of accelerator boards."""


class MeterError(RuntimeError):
    """Failure of a meter. The text says the problem, then the remedy."""


class MeterUnavailable(MeterError):  # noqa: N818 - an availability, said as such
    """The device or its sensor cannot be read on this machine (raised by ``open``)."""


class MeterLost(MeterError):  # noqa: N818 - same
    """The device was readable and is not any more (raised by ``read``). May come back."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer of a meter, and the two moments between which it was given.

    Attributes:
        start_ns: ``lightning_energy.meters.monotonic_ns()`` just before the device was asked.
        end_ns: the same just after it answered.
        register_j: the cumulative energy register in joules, or ``None`` where there is none.
        power_w: the instantaneous power in watts, or ``None`` where it was not asked or not known.
    """

    start_ns: int
    end_ns: int
    register_j: float | None = None
    power_w: float | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """The settings and the temperature of a board when it was first read; ``None`` is unknown.

    Attributes:
        power_limit_w: the power limit that was in force, in watts.
        temperature_c: the temperature of the chip in degrees Celsius.
        sm_clock_mhz: the clock of the processors in MHz, at that moment.
        sm_clock_max_mhz: the highest clock that they can have.
        memory_clock_mhz: the clock of the memory in MHz, at that moment.
    """

    power_limit_w: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    sm_clock_max_mhz: float | None = None
    memory_clock_mhz: float | None = None


@dataclass(frozen=True, slots=True)
class MeterInfo:
    """A meter's description of itself and its device.

    Attributes:
        device_id: identity of the physical device within its node (``GPU-…`` UUID, ``package-0``). Two meters
            with one ``device_id`` on one node read the same joules.
        name: its name for a person (``NVIDIA H100 PCIe``).
        quality: quality of its joules as long as all goes well.
        scope: coverage of its joules.
        per_node: true when it covers more than the device of one rank, so that one rank of the node reads it.
        power_max_w: power above which a reading is implausible, in watts; ``None`` when unknown.
        power_min_w: power it never falls below while it is on, in watts (0 when unknown).
        update_period_s: time between two updates of its register or sensor in seconds, if known.
        calibration_u: relative standard uncertainty of its gain (k=1), e.g. ``0.05``.
        instant_power: true when :meth:`Meter.read_power_w` gives the power of the moment, not a mean of seconds.
        power_lag_s: time by which a power may be told late, in seconds: the ends of integrated power are as uncertain.
        scope_known: false while it cannot be told whether ``module`` or ``gpu`` is meant (see :meth:`Meter.revised`).
        coverage: share of time the sensor looks at (1 when continuous, 0.25 on A100/H100); ``None`` when unknown.
        note: anything a reader of the figure must know, in a sentence; empty when nothing.
        condition: settings and temperature of the device at the beginning; ``None`` unknown.
    """

    device_id: str
    name: str
    quality: Quality
    scope: Scope
    per_node: bool = False
    power_max_w: float | None = None
    power_min_w: float = 0.0
    update_period_s: float | None = None
    calibration_u: float = 0.05
    instant_power: bool = False
    power_lag_s: float = 0.0
    scope_known: bool = True
    coverage: float | None = None
    note: str = ""
    condition: Condition | None = None

    def __post_init__(self) -> None:
        for name in ("device_id", "name", "note"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}={getattr(self, name)!r}: give a text")  # noqa: TRY004 - one error for all
        for name, known in (("quality", QUALITIES), ("scope", get_args(Scope))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}: give one of {', '.join(known)}")
        for name in ("update_period_s", "calibration_u", "power_lag_s", "coverage"):
            value = getattr(self, name)
            is_unknown = value is None and name in {"update_period_s", "coverage"}
            if not is_unknown and not (_is_number(value) and 0 <= value < math.inf):
                raise ValueError(f"{name}={value!r}: give a number from 0 on")
        # limits that are not finite bound nothing
        if not _is_number(self.power_min_w):
            raise ValueError(f"power_min_w={self.power_min_w!r}: give a number")
        if self.power_max_w is not None and (not _is_number(self.power_max_w) or self.power_max_w <= 0):
            raise ValueError(f"power_max_w={self.power_max_w!r}: give a number above 0, or None")


def _is_number(value: object) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, str)


class Meter(ABC):
    """Reads one device.

    Construction stores settings only and never needs hardware. ``open`` and ``close`` are called by
    the owner of the meter; between them ``read`` is called from one thread. A closed meter can be opened again.
    """

    @abstractmethod
    def open(self) -> MeterInfo:
        """Start, and describe the device. Idempotent.

        Raises:
            MeterUnavailable: the device cannot be read; the text gives the reason and the remedy.
        """

    @abstractmethod
    def read(self) -> Reading:
        """Read the energy register, or the power where the device has no register.

        Raises:
            MeterLost: the device does not answer (any more).
        """

    def is_unchanged(self) -> bool:
        """Read the energy register, and return true if it shows what :meth:`read` has shown last, and nothing is new.

        Else, the next ``read`` may give what was read now. A meter that is polled often may override this: most polls
        see nothing new, and need no :class:`Reading`.
        """
        return False

    def read_power_w(self) -> float | None:
        """Power in watts beside the register, or ``None``. Called rarely; may be slow."""
        return None

    def revised(self) -> MeterInfo | None:
        """A new description, once, where reading has shown something that ``open`` could not know; else ``None``.

        Called from the thread that reads, after every reading; must be cheap.
        """
        return None

    def other_processes(self) -> list[int] | None:
        """Other processes whose work is in this meter's joules; ``None`` when they are unknown. Slow."""
        return None

    def twin(self) -> Meter:
        """A closed meter of the same device."""
        return deepcopy(self)

    @abstractmethod
    def close(self) -> None:
        """Stop. Never raises; may be called twice."""


@dataclass(frozen=True)
class Survey:
    """Everything that a source finds on a machine.

    Attributes:
        meters: closed meters, one per device.
        absent: sentences about devices that cannot be read, with remedies.
        driver: name and version of the driver; empty without one.
        notes: by ``device_id``, a sentence that a reader of the device's figures must know.
    """

    meters: Sequence[Meter] = ()
    absent: Sequence[str] = ()
    driver: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


class Source(ABC):
    """A vendor's meters, under one name. Touches no hardware until it is asked.

    Attributes:
        name: its name in ``meters=``.
        accelerator: torch's type of the devices that it reads (``cuda``); empty when it reads the node.
    """

    name: ClassVar[str]
    accelerator: ClassVar[str] = ""

    @abstractmethod
    def of(self, device: torch.device) -> Sequence[Meter]:
        """Closed meters for a training on ``device``.

        Raises:
            MeterUnavailable: there is none; the text says why.
        """

    @abstractmethod
    def survey(self) -> Survey:
        """Look for everything on this machine."""

    def explain(self, error: MeterUnavailable) -> str:
        """A sentence that stands alone, about a meter of this source that could not be opened."""
        return str(error)
