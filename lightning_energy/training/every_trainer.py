"""An EnergyCallback for every Trainer of an environment, without a change of code: ``LIGHTNING_ENERGY=1``.

``pyproject.toml`` declares these functions as entry points, which Lightning calls whenever a Trainer is made.
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Callback

__all__ = ["SWITCH", "callbacks", "callbacks_of_pytorch_lightning"]

SWITCH = "LIGHTNING_ENERGY"
"""The variable of the environment that switches it on by ``1``."""

TAKES_OURS = (2, 6)  # since when pytorch_lightning takes callbacks that are not its own


def callbacks() -> list[Callback]:
    """Make an EnergyCallback with its defaults where ``LIGHTNING_ENERGY`` is 1.

    It stands aside in a Trainer that has one already. Whatever goes wrong is a warning, never an error.

    Returns:
        The callback, or nothing.
    """
    value = os.environ.get(SWITCH, "")
    if value in {"", "0"}:
        return []
    try:
        if value != "1":
            return _nothing(f"{SWITCH}={value!r} switches nothing on: set it to 1, or to 0 for off")
        from lightning_energy import EnergyCallback  # noqa: PLC0415 - loads nothing where it is off

        return [EnergyCallback()]
    except Exception as error:  # noqa: BLE001 - a Trainer that nobody asked us about must be made
        return _nothing(f"{SWITCH}=1 has no effect, EnergyCallback cannot be made: {type(error).__name__}: {error}")


def callbacks_of_pytorch_lightning() -> list[Callback]:
    """Make the same for a Trainer of ``pytorch_lightning``, from its version 2.6 on.

    Returns:
        The callback, or nothing.
    """
    with suppress(Exception):
        if tuple(int(part) for part in version("pytorch-lightning").split(".")[:2]) >= TAKES_OURS:
            return callbacks()
    return []


def _nothing(text: str) -> list[Callback]:
    with suppress(Exception):  # where warnings are errors
        warnings.warn(text, stacklevel=4)
    return []
