"""The scores as functions, under the name that users of torchmetrics expect."""

from lightning_energy.scores.functional import (
    OnInvalid,
    energy_penalized_accuracy,
    log_penalized_accuracy,
    marginal_accuracy_per_kwh,
    sustainable_accuracy,
)

__all__ = [
    "OnInvalid",
    "energy_penalized_accuracy",
    "log_penalized_accuracy",
    "marginal_accuracy_per_kwh",
    "sustainable_accuracy",
]
