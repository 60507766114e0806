"""Everything that is booked of a curve, which may have come from a process beside: opened when somebody looks at it."""

from __future__ import annotations

import pickle
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lightning_energy.ledger.sharing.delay import EXACT

if TYPE_CHECKING:
    from lightning_energy.ledger.booking import State

__all__ = ["Facts", "Kept", "Packed", "packed"]


class Facts(NamedTuple):
    """Everything that is asked of a state at each booking.

    Attributes:
        passed: how many marks of the run are in it, or were.
        knots: the number of knots that are held.
        settled_ns: time of the last of them; ``None`` without any.
        is_exact: true where it is booked as a register that shows the energy at once.
    """

    passed: int
    knots: int
    settled_ns: int | None
    is_exact: bool

    @classmethod
    def of(cls, state: State) -> Facts:
        """Those of a state."""
        times_ns = state.held.knots.time_ns
        settled_ns = int(times_ns[-1]) if times_ns.size else None
        return cls(state.passed, len(times_ns), settled_ns, state.sharing.found is EXACT)


class Packed(NamedTuple):
    """A state in few bytes.

    Attributes:
        facts: of it.
        rest: the state without its powers.
        powers: these, which are fitted now and then only.
    """

    facts: Facts
    rest: bytes
    powers: bytes


class Kept:
    """A state that may be closed.

    Attributes:
        facts: of it.

    Args:
        of: the state, as it is or packed.
    """

    def __init__(self, of: State | Packed) -> None:
        self.facts = of.facts if isinstance(of, Packed) else Facts.of(of)
        self._of = of

    @property
    def state(self) -> State:
        """The state, from now on open."""
        of = self._of
        if isinstance(of, Packed):
            self._of = of = _opened(of)
        return of

    @property
    def packed(self) -> Packed:
        """The state in few bytes."""
        of = self._of
        return of if isinstance(of, Packed) else packed(of)


def packed(state: State, powers: bytes | None = None) -> Packed:
    """A state in few bytes.

    Args:
        state: the state.
        powers: its powers, where they were packed already.
    """
    held, sharing = state.held, state.sharing
    if powers is None:
        powers = pickle.dumps(sharing.powers, pickle.HIGHEST_PROTOCOL)
    rest = state._replace(
        # numbers that hardly change from one mark to the next take little room
        held=held._replace(time_ns=np.diff(held.time_ns, prepend=0), number=np.diff(held.number, prepend=0)),
        sharing=sharing._replace(powers=None),
    )
    data = zlib.compress(pickle.dumps(rest, pickle.HIGHEST_PROTOCOL), 1)
    return Packed(Facts.of(state), data, powers)


def _opened(of: Packed) -> State:
    """The state, whose exact kernel is known by its identity."""
    state: State = pickle.loads(zlib.decompress(of.rest))  # noqa: S301 - of a process of ours
    powers = pickle.loads(of.powers)  # noqa: S301 - same
    held, found = state.held, EXACT if of.facts.is_exact else state.sharing.found
    return state._replace(
        held=held._replace(time_ns=np.cumsum(held.time_ns), number=np.cumsum(held.number)),
        sharing=state.sharing._replace(powers=powers, found=found),
    )
