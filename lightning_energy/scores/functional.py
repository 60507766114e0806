"""Scores of accuracy and energy: pure functions of numbers or tensors.

Reduce accuracy and energy over batches and ranks first, then score once: every score here is non-linear,
and a mean of scores is no score. Report a score with its formula's name and constants, the accuracy and the energy.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

import torch
from torch import Tensor

from lightning_energy.scores.formula import (
    ALPHA,
    BETA,
    REFERENCE_KWH,
    EnergyPenalized,
    Formula,
    LogPenalized,
    Sustainable,
    is_number,
)

__all__ = [
    "OnInvalid",
    "energy_penalized_accuracy",
    "log_penalized_accuracy",
    "marginal_accuracy_per_kwh",
    "sustainable_accuracy",
]

OnInvalid = Literal["raise", "nan"]
"""Answer to an energy for which a score is not defined."""

Value: TypeAlias = float | Tensor
Score = TypeVar("Score", float, Tensor)  # two numbers give a number, a tensor among them gives a tensor

_ROUNDING = 1e-6  # a weighted mean of perfect classes in float32 may end a little above 1
_SAFE_KWH = 10.0  # every score is defined here


def sustainable_accuracy(
    accuracy: Score | float,
    energy_kwh: Score | float,
    alpha: float = ALPHA,
    beta: float = BETA,
    *,
    on_invalid: OnInvalid = "raise",
) -> Score:
    r"""Score a finished run as "Watt For What" does: ``beta * accuracy**alpha / log10(energy_kwh)``.

    Defined for more than 1 kWh only. At 1 kWh it has a pole and below it is negative and *prefers the lower
    accuracy*; its rankings depend on the unit of energy. It is therefore a report on runs well above 1 kWh
    and nothing to monitor while training: use :func:`energy_penalized_accuracy` for that.

    Source: Gowda et al., "Watt For What", ECCV 2024 Workshops, part XXII, pp. 388-405, Springer 2025; arXiv 2310.06522
    (called GQI in version 1 and SAM in version 2; energy is that of CPU, GPU and RAM together). The form is confirmed
    by two independent texts; the constants ``alpha = beta = 5`` only indirectly. No claim is made to reproduce the
    tables of the paper.

    Args:
        accuracy: a fraction in [0, 1]; a number or a tensor of any floating dtype.
        energy_kwh: energy in kWh, a number or a tensor that broadcasts with ``accuracy``.
        alpha: exponent of the accuracy, above 0.
        beta: scale of the score, above 0. It does not change a ranking.
        on_invalid: ``"raise"``, or ``"nan"`` to give NaN, where the energy is 1 kWh or less.

    Returns:
        A float for two numbers. Otherwise a tensor of the broadcast shape, computed in float64 (float32 on
        devices without it) and returned as float64 if the accuracy (or the energy, when the accuracy is a
        number) is float64, else as float32. Differentiable in both. The checks wait for the device.

    Raises:
        ValueError: ``energy_kwh`` is 1 or less and ``on_invalid="raise"``; or an argument is no fraction, is
            NaN, infinite, or negative.
        TypeError: an argument is no number and no floating tensor.

    Example:
        >>> round(sustainable_accuracy(0.8, 10.0), 4)
        1.6384
        >>> round(sustainable_accuracy(0.8, 2.0), 3)
        5.443
        >>> sustainable_accuracy(0.8, 0.5, on_invalid="nan")
        nan
    """
    _check_accuracy(accuracy)
    _check_energy("energy_kwh", energy_kwh)
    formula = Sustainable(alpha, beta)
    check_on_invalid(on_invalid)
    if on_invalid == "raise" and _any(energy_kwh <= formula.above_kwh):
        raise ValueError(
            f"energy_kwh={_show(energy_kwh)}: sustainable_accuracy is defined above 1 kWh only (at 1 kWh it"
            " has a pole, below it a lower accuracy scores higher). Use energy_penalized_accuracy, or"
            " on_invalid='nan'"
        )
    return cast("Score", _scored(formula, accuracy, energy_kwh))


def energy_penalized_accuracy(
    accuracy: Score | float,
    energy_kwh: Score | float,
    alpha: float = ALPHA,
    beta: float = BETA,
    reference_kwh: float = REFERENCE_KWH,
) -> Score:
    """Score accuracy and energy at any time: ``beta * accuracy**alpha / (1 + log10(1 + E/reference_kwh))``.

    The idea of :func:`sustainable_accuracy` without its pole: defined from zero energy on, always rising in
    accuracy and falling in energy, within [0, ``beta``]. The formula is this library's own.

    Args:
        accuracy: a fraction in [0, 1]; a number or a tensor of any floating dtype.
        energy_kwh: energy in kWh, 0 or more; a number or a tensor that broadcasts with ``accuracy``.
        alpha: exponent of the accuracy, above 0.
        beta: the largest score, above 0.
        reference_kwh: energy in kWh at which the penalty begins to bite: far below it the score is one of
            accuracy alone, at nine times it the score is halved. Scores compare only under one reference.

    Returns:
        A float for two numbers. Otherwise a tensor of the broadcast shape, computed in float64 (float32 on
        devices without it) and returned as float64 if the accuracy (or the energy, when the accuracy is a
        number) is float64, else as float32. Differentiable in both. The checks wait for the device.

    Raises:
        ValueError: an argument is no fraction, is NaN, infinite, or negative.
        TypeError: an argument is no number and no floating tensor.

    Example:
        >>> round(energy_penalized_accuracy(0.8, 0.0), 4), round(energy_penalized_accuracy(0.8, 9.0), 4)
        (1.6384, 0.8192)
        >>> import torch
        >>> energy_penalized_accuracy(torch.tensor([0.8, 0.9]), 1.0)
        tensor([1.2593, 2.2693])
    """
    _check_accuracy(accuracy)
    _check_energy("energy_kwh", energy_kwh)
    return cast("Score", _scored(EnergyPenalized(alpha, beta, reference_kwh), accuracy, energy_kwh))


def log_penalized_accuracy(
    accuracy: Score | float,
    energy_kwh: Score | float,
    alpha: float = ALPHA,
    beta: float = BETA,
    reference_kwh: float = REFERENCE_KWH,
) -> Score:
    """Score accuracy and energy by ``beta * accuracy**alpha / log10(1 + energy_kwh/reference_kwh)``.

    With the reference of 1 kWh it meets :func:`sustainable_accuracy` for large energies (4 % below it at
    10 kWh, 0.2 % at 100 kWh). Always rising in accuracy and falling in energy, without an upper bound: it
    grows like 1/energy far below the reference. Followers of the paper patch in a ``log(1 + E)`` of this kind.

    Args:
        accuracy: a fraction in [0, 1]; a number or a tensor of any floating dtype.
        energy_kwh: energy in kWh, above 0; a number or a tensor that broadcasts with ``accuracy``.
        alpha: exponent of the accuracy, above 0.
        beta: scale of the score, above 0.
        reference_kwh: energy scale in kWh, above 0. Scores compare only under one reference.

    Returns:
        A float for two numbers. Otherwise a tensor of the broadcast shape, computed in float64 (float32 on
        devices without it) and returned as float64 if the accuracy (or the energy, when the accuracy is a
        number) is float64, else as float32. Differentiable in both. The checks wait for the device.

    Raises:
        ValueError: the energy is 0; or an argument is no fraction, is NaN, infinite, or negative.
        TypeError: an argument is no number and no floating tensor.

    Example:
        >>> round(log_penalized_accuracy(0.8, 1.0), 3), round(log_penalized_accuracy(0.8, 10.0), 3)
        (5.443, 1.573)
    """
    _check_accuracy(accuracy)
    _check_energy("energy_kwh", energy_kwh)
    formula = LogPenalized(alpha, beta, reference_kwh)
    if _any(energy_kwh <= formula.above_kwh):
        raise ValueError(
            f"energy_kwh={_show(energy_kwh)}: log_penalized_accuracy is infinite at zero energy. Use"
            " energy_penalized_accuracy, which is defined there"
        )
    return cast("Score", _scored(formula, accuracy, energy_kwh))


def marginal_accuracy_per_kwh(
    accuracy: float, energy_kwh: float, previous_accuracy: float, previous_energy_kwh: float
) -> float:
    """Return the accuracy gained for each kWh spent since an earlier point of the same run.

    The difference quotient ``(accuracy - previous_accuracy) / (energy_kwh - previous_energy_kwh)``: it
    answers "is the last bit of accuracy worth it?". It is noisy between single epochs and negative when
    accuracy fell; take points some epochs apart.

    Args:
        accuracy: accuracy now, a fraction in [0, 1].
        energy_kwh: energy of the run up to now in kWh.
        previous_accuracy: accuracy at the earlier point, a fraction in [0, 1].
        previous_energy_kwh: energy of the run up to that point in kWh, less than ``energy_kwh``.

    Returns:
        Accuracy (a fraction) per kWh.

    Raises:
        ValueError: no energy lies between the points; or an argument is no fraction, is NaN, infinite, or
            negative.
        TypeError: an argument is no number.

    Example:
        >>> round(marginal_accuracy_per_kwh(0.90, 3.0, 0.86, 1.0), 6)
        0.02
    """
    for value in (accuracy, previous_accuracy):
        _check_accuracy(value)
    _check_energy("energy_kwh", energy_kwh)
    _check_energy("previous_energy_kwh", previous_energy_kwh)
    spent_kwh = energy_kwh - previous_energy_kwh
    if spent_kwh <= 0:
        raise ValueError(
            f"energy_kwh={energy_kwh!r} is not above previous_energy_kwh={previous_energy_kwh!r}: give two"
            " points of one run, the later one first, with energy spent between them"
        )
    return float((accuracy - previous_accuracy) / spent_kwh)


def kernel(formula: Formula, accuracy: Tensor, energy_kwh: Tensor) -> Tensor:
    """Compute a score of checked tensors, NaN where it is not defined; waits for no device."""
    weighed = formula.beta * accuracy.clamp(max=1.0) ** formula.alpha
    if formula.above_kwh is None:
        return cast("Tensor", weighed / formula.penalty(energy_kwh, torch))
    valid = energy_kwh > formula.above_kwh
    # the inner where keeps the pole's infinite slope out of the gradients of the other elements
    penalty = formula.penalty(torch.where(valid, energy_kwh, _SAFE_KWH), torch)
    return torch.where(valid, weighed / penalty, math.nan)


def check_on_invalid(on_invalid: str) -> None:
    """Raise unless ``on_invalid`` is one of its choices."""
    if on_invalid not in get_args(OnInvalid):
        raise ValueError(f"on_invalid={on_invalid!r}: give one of {', '.join(get_args(OnInvalid))}")


def accuracy_tolerance(accuracy: Value) -> float:
    """Rounding by which an accuracy may exceed 1 and still be 1."""
    return max(_ROUNDING, torch.finfo(accuracy.dtype).eps) if isinstance(accuracy, Tensor) else _ROUNDING


def working_dtype(device: torch.device) -> torch.dtype:
    """Give the dtype that scores are computed in: float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def _any(condition: bool | Tensor) -> bool:
    return bool(condition.any()) if isinstance(condition, Tensor) else bool(condition)


def _show(value: object) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    if value.numel() == 1:
        return repr(value.item())
    return f"tensor of shape {tuple(value.shape)} from {value.min().item()!r} to {value.max().item()!r}"


def _check_accuracy(accuracy: Value) -> None:
    if isinstance(accuracy, Tensor) and not accuracy.is_floating_point():
        raise TypeError(f"accuracy is a tensor of {accuracy.dtype}: give fractions as a floating tensor")
    if not isinstance(accuracy, Tensor) and not is_number(accuracy):
        raise TypeError(f"accuracy={accuracy!r}: give a number from 0 to 1, or a floating tensor")
    if _any(accuracy != accuracy):  # noqa: PLR0124 - NaN, of numbers and tensors alike
        raise ValueError(f"accuracy={_show(accuracy)} is NaN: compute the accuracy before scoring it")
    if _any(accuracy < 0) or _any(accuracy > 1 + accuracy_tolerance(accuracy)):
        percent = _any(accuracy > 1) and not _any(accuracy < 0) and not _any(accuracy > 100)  # noqa: PLR2004
        remedy = "it looks like a percentage: divide by 100" if percent else "an accuracy lies from 0 to 1"
        raise ValueError(f"accuracy={_show(accuracy)} is no fraction; {remedy}")


def _check_energy(name: str, energy_kwh: Value) -> None:
    if isinstance(energy_kwh, Tensor):
        if energy_kwh.dtype == torch.bool or energy_kwh.is_complex():
            raise TypeError(f"{name} is a tensor of {energy_kwh.dtype}: give kWh as a floating tensor")
        bad = not bool((torch.isfinite(energy_kwh) & (energy_kwh >= 0)).all())
    elif not is_number(energy_kwh):
        raise TypeError(f"{name}={energy_kwh!r}: give a number of kWh, or a tensor")
    else:
        bad = not (math.isfinite(energy_kwh) and energy_kwh >= 0)
    if bad:
        raise ValueError(
            f"{name}={_show(energy_kwh)}: give a finite energy in kWh, 0 or more (1 kWh = 3.6e6 J). Where the"
            " energy is not known there is no score"
        )


def _scored(formula: Formula, accuracy: Value, energy_kwh: Value) -> Any:
    """Score two numbers as a number; a tensor among them gives a tensor."""
    if not isinstance(accuracy, Tensor) and not isinstance(energy_kwh, Tensor):
        return formula(accuracy, energy_kwh)
    a, e, dtype = _prepare(accuracy, energy_kwh)
    return kernel(formula, a, e).to(dtype)


def _prepare(accuracy: Value, energy_kwh: Value) -> tuple[Tensor, Tensor, torch.dtype]:
    lead = accuracy if isinstance(accuracy, Tensor) else torch.as_tensor(energy_kwh)
    work = working_dtype(lead.device)
    given = lead.dtype if lead.is_floating_point() else torch.float32
    # numbers straight to the working dtype: by way of a default tensor they would lose half their digits
    a, e = (
        value.to(lead.device, work)
        if isinstance(value, Tensor)
        else torch.tensor(value, dtype=work, device=lead.device)
        for value in (accuracy, energy_kwh)
    )
    return a, e, torch.promote_types(given, torch.float32)
