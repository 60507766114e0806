"""The part of a checkpoint that a budget goes on from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BudgetState", "states_in"]


class BudgetState(NamedTuple):
    """The energy of a run until a checkpoint.

    Attributes:
        spent_j: joules of all its sessions.
        run_id: a name of the run.

    Example:
        >>> BudgetState.of(BudgetState(12.5, "a").to_plain())
        BudgetState(spent_j=12.5, run_id='a')
    """

    spent_j: float
    run_id: str

    def to_plain(self) -> dict[str, Any]:
        """The same in plain types."""
        return {"version": 1, "run_id": self.run_id, "spent_j": self.spent_j}

    @classmethod
    def of(cls, plain: Any) -> BudgetState:
        """Read what :meth:`to_plain` made.

        Raises:
            KeyError: a part is missing.
            TypeError: it is something else.
            ValueError: there cannot be so many joules.
        """
        spent_j, run_id = float(plain["spent_j"]), str(plain["run_id"])
        if not 0 <= spent_j < math.inf:
            raise ValueError(f"spent_j={spent_j}")
        return cls(spent_j, run_id)


def states_in(checkpoint: Mapping[str, Any], name: str) -> list[Any]:
    """The states of all callbacks of a class, whatever their settings.

    Args:
        checkpoint: the checkpoint.
        name: the name of the class.
    """
    return [state for key, state in checkpoint.get("callbacks", {}).items() if key.partition("{")[0] == name]
