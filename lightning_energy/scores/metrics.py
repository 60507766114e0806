"""TorchMetrics metrics of accuracy and energy.

Each wraps the accuracy metric of your choice and holds the energy beside it. Both are reduced over batches
and ranks by themselves, then scored once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import rank_zero_warn
from torchmetrics.wrappers import MetricTracker
from torchmetrics.wrappers.abstract import WrapperMetric

from lightning_energy.meters.units import J_PER_KWH
from lightning_energy.scores.formula import (
    ALPHA,
    BETA,
    REFERENCE_KWH,
    EnergyPenalized,
    Formula,
    Sustainable,
    is_number,
)
from lightning_energy.scores.functional import OnInvalid, accuracy_tolerance, check_on_invalid, kernel, working_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.nn import Module

__all__ = ["EnergyPenalizedAccuracy", "EnergyScore", "SustainableAccuracy", "energy_scores"]

_UJ_PER_J = 1_000_000
_UJ_PER_KWH = J_PER_KWH * _UJ_PER_J
_UJ_PER_MJ = 10**12
_MAX_J = 3.6e18  # of one energy
_ROUNDING = 1e-12  # relative, of a product
_MAX_MJ = 9 * 10**12  # of a rank: a million of them are below the largest int64
_SYNC_SETTINGS = (
    "dist_sync_on_step",
    "process_group",
    "dist_sync_fn",
    "distributed_available_fn",
    "sync_on_compute",
)


class _EnergySpent(Metric):
    """Energy of this rank, summed over ranks.

    A metric of its own inside the score, so that the score itself has no states: MetricCollection merges
    metrics whose states are equal after the first update (two scores of other constants, at the same energy).
    """

    full_state_update = False
    energy_mj: Tensor
    energy_uj: Tensor
    known: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # whole numbers: Trainer(precision="bf16-true") rounds floating states (3000 x 1 J became 256 J); megajoules and
        # the microjoules beyond them, as those of a few ranks alone may be more than an int64 holds
        self.add_state("energy_mj", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("energy_uj", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")
        # one rank without a figure makes the sum too small: the total is known only if every rank knows
        self.add_state("known", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="min")

    @property
    def update_called(self) -> bool:
        """Always true: a rank without energy takes part in the reduction; the score says what is missing."""
        return True

    def update(self, energy_uj: int, *, absolute: bool = False) -> None:
        """Add microjoules, or set them."""
        mj, uj = divmod(energy_uj, _UJ_PER_MJ)
        # no in-place addition: after a reset under inference mode that would fail outside of it
        low = torch.full_like(self.energy_uj, uj) if absolute else self.energy_uj + uj
        high = torch.full_like(self.energy_mj, mj) if absolute else self.energy_mj + mj
        carry = low // _UJ_PER_MJ
        self.energy_uj = low - carry * _UJ_PER_MJ
        self.energy_mj = (high + carry).clamp(max=_MAX_MJ + 1)  # more stays too much
        self.known = (self.energy_mj <= _MAX_MJ).to(self.known.dtype)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give the whole megajoules of all ranks, the microjoules beyond them, and whether they are known."""
        return self.energy_mj, self.energy_uj, self.known

    @property
    def energy_j(self) -> float:
        """Joules of this rank, or while it is synced of all."""
        return (int(self.energy_mj) * _UJ_PER_MJ + int(self.energy_uj)) / _UJ_PER_J


class EnergyScore(WrapperMetric):
    """Base class of scores of an accuracy and an energy: a subclass gives the formula.

    The energy comes from one of two sources: by hand, as ``update(preds, target, energy_kwh=...)``, or from
    an ``EnergyCallback``, which finds the scores of the module and calls :meth:`set_energy`. Use one of them:
    the callback replaces energy that was added by hand with what it measured. Energy that was never given is
    unknown: the score is then NaN, with one warning, and never that of a free run. In a distributed run it is
    unknown as long as it is unknown on any rank; a rank whose device another one meters gives 0. Mind that
    ``EarlyStopping`` ends a run at a NaN in what it monitors, unless ``check_finite=False``.

    ``reset`` forgets accuracy *and* energy. Lightning resets logged metrics at each epoch's end while the
    energy of a run goes on: give it again with :meth:`set_energy`, as the callback does at each validation.

    Args:
        accuracy: the metric to score, giving one fraction in [0, 1]. It is used as it is, not copied: it is
            updated, reset and reduced through the score, and can be logged beside it as ``score.accuracy``.
        formula: the formula of the score, with its constants.
        kwargs: settings of ``torchmetrics.Metric`` for the reduction of the energy; those of ``accuracy``
            where not given.

    Raises:
        TypeError: ``accuracy`` is no metric, or is a score itself.
    """

    is_differentiable: ClassVar[bool] = False  # type: ignore[misc]
    higher_is_better: ClassVar[bool] = True  # type: ignore[misc]
    full_state_update: ClassVar[bool] = False  # type: ignore[misc]
    plot_lower_bound: ClassVar[float] = 0.0  # type: ignore[misc]
    accuracy: Metric

    def __init__(self, accuracy: Metric, formula: Formula, **kwargs: Any) -> None:
        if not isinstance(accuracy, Metric) or isinstance(accuracy, EnergyScore):
            raise TypeError(
                f"accuracy={accuracy!r}: give a torchmetrics Metric of one accuracy, such as"
                " MulticlassAccuracy(num_classes=10)"
            )
        settings = {name: getattr(accuracy, name) for name in _SYNC_SETTINGS} | kwargs
        super().__init__(**settings)
        self.accuracy = accuracy
        self.formula = formula
        self._energy = _EnergySpent(**settings)
        self._energy_u_j: float | None = None
        self._warned = False

    @property
    def energy_j(self) -> float | None:
        """Energy of *this rank* since the last reset in joules, or ``None`` where it is unknown."""
        return self._energy.energy_j if bool(self._energy.known) else None

    @property
    def energy_u_j(self) -> float | None:
        """Standard uncertainty of :attr:`energy_j` as given to :meth:`set_energy`, in joules; or ``None``."""
        return self._energy_u_j

    @property
    def metric_state(self) -> dict[str, Any]:
        """States of the accuracy and of the energy."""
        return {"accuracy": self.accuracy.metric_state, "energy": self._energy.metric_state}

    def set_energy(self, energy_j: float | Tensor, *, u_j: float | Tensor | None = None) -> None:
        """Set the energy that this rank has spent so far, in place of anything given before.

        In a distributed run call it on every rank, with each rank's own joules (0 where another rank meters
        the device): they are summed.

        Args:
            energy_j: energy in joules, 0 or more: a number, or a tensor of one.
            u_j: standard uncertainty of it in joules, kept as :attr:`energy_u_j`; ``None`` when unknown.

        Raises:
            ValueError: one of them is negative, NaN, infinite or above 3.6e18 J.
            TypeError: one is no number.
        """
        energy_uj = _microjoules("energy_j", energy_j, 1.0)
        self._energy_u_j = None if u_j is None else _amount("u_j", u_j, 1.0)
        self._energy.update(energy_uj, absolute=True)

    def update(self, *args: Any, energy_kwh: float | Tensor | None = None, **kwargs: Any) -> None:
        """Update the accuracy, and add energy.

        Args:
            args: arguments of the accuracy's ``update``.
            energy_kwh: energy of this rank since the previous update in kWh, where it is given by hand: a number,
                or a tensor of one, for which the host waits; ``None`` adds nothing.
            kwargs: arguments of the accuracy's ``update``.

        Raises:
            ValueError: the energy is negative, NaN, infinite or above 1e12 kWh.
            TypeError: it is no number.
        """
        self._add_energy(energy_kwh)
        self.accuracy.update(*args, **self.accuracy._filter_kwargs(**kwargs))  # noqa: SLF001 - their own way

    def forward(self, *args: Any, energy_kwh: float | Tensor | None = None, **kwargs: Any) -> Tensor:
        """Update, and score the accuracy of this batch at the energy spent *so far* (see :meth:`update`).

        The accuracy of a batch has cost all the energy so far, not the batch's own share.
        Outside the formula's domain this value is NaN without a warning: it never waits for the device.
        """
        self._add_energy(energy_kwh)
        accuracy = self.accuracy(*args, **self.accuracy._filter_kwargs(**kwargs))  # noqa: SLF001 - same
        spent = self._energy
        energy = spent.compute() if self.dist_sync_on_step else (spent.energy_mj, spent.energy_uj, spent.known)
        score = self._score(self._scalar(accuracy), *energy)
        self._forward_cache = score  # type: ignore[assignment]  # Lightning logs this with on_step=True
        return score

    def compute(self) -> Tensor:
        """Score the accuracy at the energy, each reduced over all batches and ranks.

        Returns:
            A scalar tensor (float32, or float64 for a float64 accuracy); NaN where there is no score.

        Raises:
            ValueError: the wrapped metric gives no fraction.
        """
        accuracy = self._scalar(self.accuracy.compute())
        energy = self._energy.compute()
        if accuracy < 0 or accuracy > 1 + accuracy_tolerance(accuracy):
            raise ValueError(
                f"{type(self.accuracy).__name__} gave {accuracy.item()!r}, which is no fraction from 0 to 1:"
                " wrap a metric of accuracy"
            )
        if not energy[-1]:
            self._warn(
                "no energy was given (on at least one rank), or more than 2.5e12 kWh, so there is no score. Add"
                " an EnergyCallback to the Trainer, or give energy_kwh to update(), or call set_energy()"
            )
        return self._score(accuracy, *energy)

    def reset(self) -> None:
        """Forget accuracy and energy."""
        super().reset()
        self.accuracy.reset()
        self._energy.reset()
        self._energy_u_j = None

    @property
    def update_called(self) -> bool:
        """True once the accuracy was updated after a reset."""
        return self.accuracy.update_called

    @property
    def update_count(self) -> int:
        """Number of updates of the accuracy since the last reset."""
        return self.accuracy.update_count

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Merge the accuracy and the energy of another score of this class.

        Raises:
            TypeError: ``incoming_state`` is no score of this class.
        """
        if not isinstance(incoming_state, type(self)):
            raise TypeError(f"incoming_state is a {type(incoming_state).__name__}: give a {type(self).__name__}")
        self.accuracy.merge_state(incoming_state.accuracy)
        self._energy.merge_state(incoming_state._energy)  # noqa: SLF001 - another of our own

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Reduce accuracy and energy over ranks; arguments as in ``torchmetrics.Metric.sync``."""
        self.accuracy.sync(*args, **kwargs)
        self._energy.sync(*args, **kwargs)
        self._is_synced = self._energy._is_synced  # noqa: SLF001 - torchmetrics' own flag

    def unsync(self, should_unsync: bool = True) -> None:
        """Go back to the states of this rank alone."""
        self.accuracy.unsync(should_unsync)
        self._energy.unsync(should_unsync)
        self._is_synced = self._energy._is_synced  # noqa: SLF001 - same

    def persistent(self, mode: bool = False) -> None:
        """Make the states part of a ``state_dict``, or not (the default)."""
        self.accuracy.persistent(mode)
        self._energy.persistent(mode)

    def extra_repr(self) -> str:
        """Name the constants, without which a score means nothing."""
        return ", ".join(f"{name}={value}" for name, value in self.formula.constants.items())

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Plot one value or a series of them (the current one by default), as any torchmetrics metric.

        Args:
            val: a value of ``compute`` or ``forward``, or a list of such values.
            ax: a matplotlib axis to draw on.

        Returns:
            The figure and the axis.
        """
        return self._plot(val, ax)

    def _filter_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        own = {"energy_kwh": kwargs["energy_kwh"]} if "energy_kwh" in kwargs else {}
        return self.accuracy._filter_kwargs(**kwargs) | own  # noqa: SLF001 - their own way

    def _add_energy(self, energy_kwh: float | Tensor | None) -> None:
        if energy_kwh is not None:
            self._energy.update(_microjoules("energy_kwh", energy_kwh, J_PER_KWH))
            self._energy_u_j = None

    def _score(self, accuracy: Tensor, energy_mj: Tensor, energy_uj: Tensor, known: Tensor) -> Tensor:
        work = working_dtype(accuracy.device)
        valid = (known > 0) & (accuracy >= 0) & (accuracy <= 1 + accuracy_tolerance(accuracy))
        energy_kwh = energy_mj.to(work) / (_UJ_PER_KWH / _UJ_PER_MJ) + energy_uj.to(work) / _UJ_PER_KWH
        score = kernel(self.formula, accuracy.to(work), energy_kwh)
        return torch.where(valid, score, math.nan).to(torch.promote_types(accuracy.dtype, torch.float32))

    def _scalar(self, accuracy: Any) -> Tensor:
        if isinstance(accuracy, Tensor) and accuracy.numel() == 1 and accuracy.is_floating_point():
            return accuracy.reshape(())
        given = f"a tensor of shape {tuple(accuracy.shape)}" if isinstance(accuracy, Tensor) else repr(accuracy)
        raise ValueError(
            f"{type(self.accuracy).__name__} gave {given}: a score needs one accuracy. Wrap a metric that"
            " gives one number, for instance with average='macro' or 'micro'"
        )

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            rank_zero_warn(f"{type(self).__name__}: {text}", UserWarning)


class EnergyPenalizedAccuracy(EnergyScore):
    """Accuracy penalized by energy, defined at any energy: good to log and to monitor while training.

    ``beta * accuracy**alpha / (1 + log10(1 + energy_kwh / reference_kwh))``, see
    :func:`~lightning_energy.functional.energy_penalized_accuracy`, and :class:`EnergyScore` for the source of the
    energy.

    Args:
        accuracy: the metric to score, giving one fraction in [0, 1]; used as it is, not copied.
        alpha: exponent of the accuracy, above 0.
        beta: the largest score, above 0.
        reference_kwh: energy in kWh at which the penalty begins to bite.
        kwargs: settings of ``torchmetrics.Metric`` for the reduction of the energy.

    Raises:
        TypeError: ``accuracy`` is no metric, or a constant is no number.
        ValueError: a constant is not above 0.

    Example:
        >>> import torch
        >>> from torchmetrics.classification import MulticlassAccuracy
        >>> score = EnergyPenalizedAccuracy(MulticlassAccuracy(num_classes=3, average="micro"))
        >>> preds, target = torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 1, 2, 2, 0])
        >>> score.update(preds, target, energy_kwh=9.0)
        >>> score.compute()
        tensor(0.8192)
    """

    def __init__(
        self,
        accuracy: Metric,
        *,
        alpha: float = ALPHA,
        beta: float = BETA,
        reference_kwh: float = REFERENCE_KWH,
        **kwargs: Any,
    ) -> None:
        super().__init__(accuracy, EnergyPenalized(alpha, beta, reference_kwh), **kwargs)


class SustainableAccuracy(EnergyScore):
    """The score of "Watt For What", for the end of runs well above 1 kWh.

    Source: ECCV 2024 Workshops, part XXII, pp. 388-405, Springer 2025; arXiv 2310.06522.

    ``beta * accuracy**alpha / log10(energy_kwh)``, see
    :func:`~lightning_energy.functional.sustainable_accuracy`, and :class:`EnergyScore` for the source of the
    energy. ``higher_is_better`` is true above 1 kWh only, where alone it is defined. Do not monitor it
    while training: it is largest just after 1 kWh, and a NaN ends a run under
    ``EarlyStopping(check_finite=True)``.

    Args:
        accuracy: the metric to score, giving one fraction in [0, 1]; used as it is, not copied.
        alpha: exponent of the accuracy, above 0.
        beta: scale of the score, above 0.
        on_invalid: ``"nan"`` to give NaN and warn once where the energy is 1 kWh or less, or ``"raise"``.
        kwargs: settings of ``torchmetrics.Metric`` for the reduction of the energy.

    Raises:
        TypeError: ``accuracy`` is no metric, or a constant is no number.
        ValueError: a constant is not above 0; at ``compute``, the energy is 1 kWh or less and ``on_invalid``
            is ``"raise"``.

    Example:
        >>> import torch
        >>> from torchmetrics.classification import MulticlassAccuracy
        >>> score = SustainableAccuracy(MulticlassAccuracy(num_classes=3, average="micro"))
        >>> score.update(torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 1, 2, 2, 0]), energy_kwh=10.0)
        >>> score.compute()
        tensor(1.6384)
    """

    def __init__(
        self,
        accuracy: Metric,
        *,
        alpha: float = ALPHA,
        beta: float = BETA,
        on_invalid: OnInvalid = "nan",
        **kwargs: Any,
    ) -> None:
        formula = Sustainable(alpha, beta)
        check_on_invalid(on_invalid)
        super().__init__(accuracy, formula, **kwargs)
        self.on_invalid = on_invalid

    def compute(self) -> Tensor:
        """Score the accuracy at the energy, each reduced over all batches and ranks.

        Returns:
            A scalar tensor (float32, or float64 for a float64 accuracy); NaN where there is no score.

        Raises:
            ValueError: the energy is 1 kWh or less and ``on_invalid="raise"``; or the wrapped metric gives no
                fraction.
        """
        score = super().compute()
        energy_mj, energy_uj, known = self._energy.compute()
        spent_uj = int(energy_mj) * _UJ_PER_MJ + int(energy_uj)
        if known and spent_uj <= _UJ_PER_KWH:
            text = (
                f"{spent_uj / _UJ_PER_KWH:.6g} kWh were spent, and this score is defined above 1 kWh"
                " only. EnergyPenalizedAccuracy is defined at any energy"
            )
            if self.on_invalid == "raise":
                raise ValueError(text)
            self._warn(text)
        return score


def energy_scores(module: Module) -> Iterator[EnergyScore]:
    """Find the scores in a module to which the energy of the current run is to be given.

    Of a ``MetricTracker`` only the last score: the earlier ones belong to epochs that are over.
    """
    if isinstance(module, EnergyScore):
        yield module
        return
    children = [module[-1]] if isinstance(module, MetricTracker) else module.children()
    for child in children:
        yield from energy_scores(child)


def _microjoules(name: str, energy: Any, joules_per_unit: float) -> int:
    return round(_amount(name, energy, joules_per_unit) * _UJ_PER_J)


def _amount(name: str, given: Any, joules_per_unit: float) -> float:
    """Joules of one number, in whatever form: in double precision from here on."""
    number = _number(given)
    if number is None:
        raise TypeError(f"{name}={given!r}: give a number, or a tensor of one; omit it where it is not known")
    amount_j = number * joules_per_unit
    if not 0 <= amount_j <= _MAX_J * (1 + _ROUNDING):
        raise ValueError(f"{name}={given!r}: give a finite energy, 0 or more and at most 3.6e18 J (1e12 kWh)")
    return amount_j


def _number(given: Any) -> float | None:
    """The number that is given, also as a tensor or array of one; ``None`` where it is none."""
    if isinstance(given, Tensor) and (given.numel() != 1 or given.is_meta):
        return None
    is_held = isinstance(given, Tensor) or getattr(given, "size", None) == 1
    value = given.item() if is_held else given  # a 16-bit float keeps its value, and carries no gradient
    try:
        return float(value) if is_number(value) else None
    except OverflowError:  # of a whole number or a fraction
        return math.inf
