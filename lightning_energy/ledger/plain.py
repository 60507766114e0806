"""Arrays of a booking in plain values: with cold caches, each class or array that is unpickled takes long."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.steps import Look, Steps, SumsOfSteps

__all__ = ["PlainLook", "PlainState", "look_of", "plain_look", "plain_state", "state_of"]

PlainState: TypeAlias = "tuple[bytes, ...]"
"""The columns of the state at marks; nothing where there are no marks."""

PlainLook: TypeAlias = "tuple[tuple[tuple[bytes, bytes, float, tuple[Any, ...]], ...], Any]"
"""The steps of a look, and the rest of it."""


def plain_state(at_marks: AtMarks) -> PlainState:
    """The state at marks in plain values.

    Example:
        >>> len(plain_state(AtMarks.none()))
        0
    """
    return tuple(column.tobytes() for column in at_marks) if len(at_marks.energy_j) else ()


def state_of(plain: PlainState) -> AtMarks:
    """The state whose :func:`plain_state` this is."""
    return AtMarks(*map(np.frombuffer, plain)) if plain else AtMarks.none()


def plain_look(look: Look) -> PlainLook:
    """A look and its steps in plain values."""
    steps = tuple((s.energy_j.tobytes(), s.duration_s.tobytes(), s.u_j, tuple(s.sums)) for s in look.steps)
    return steps, look[1:]


def look_of(plain: PlainLook) -> Look:
    """The look whose :func:`plain_look` this is."""
    steps, others = plain
    return Look(
        tuple(
            Steps(np.frombuffer(energy_j), np.frombuffer(duration_s), u_j, SumsOfSteps(*sums))
            for energy_j, duration_s, u_j, sums in steps
        ),
        *others,
    )
