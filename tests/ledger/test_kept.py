from __future__ import annotations

import numpy as np

from lightning_energy.ledger.booking import State
from lightning_energy.ledger.kept import Kept, packed
from lightning_energy.ledger.sharing.delay import EXACT
from tests.sim.virtual_run import Sensor, Work, play


def test_a_state_that_was_packed_is_the_same_when_it_is_opened():
    (book,) = play(1, Work(epochs=2), Sensor(update_s=0.02)).ledger.books
    state, kept = book.state, Kept(Kept(book.state).packed)
    assert kept.facts == book.kept.facts
    assert kept.facts.passed == state.passed
    assert kept.state is kept.state
    opened = kept.state
    for name in ("time_ns", "code", "of_class", "number"):
        np.testing.assert_array_equal(getattr(opened.held, name), getattr(state.held, name))
    np.testing.assert_array_equal(opened.held.knots.energy_j, state.held.knots.energy_j)
    np.testing.assert_array_equal(opened.sharing.powers.power_w, state.sharing.powers.power_w)
    np.testing.assert_array_equal(opened.sums.time_s, state.sums.time_s)
    assert (opened.told_j, opened.split.n, opened.sharing.found.kernel) == (
        state.told_j,
        state.split.n,
        state.sharing.found.kernel,
    )


def test_the_kernel_of_a_register_is_known_by_its_identity():
    empty = State.empty()
    assert Kept(packed(empty)).state.sharing.found is not EXACT
    exact = empty._replace(sharing=empty.sharing._replace(found=EXACT))
    assert Kept(packed(exact)).state.sharing.found is EXACT
    assert Kept(packed(exact)).facts.is_exact


def test_powers_that_were_packed_are_not_again():
    (book,) = play(1, Work(epochs=1), Sensor(update_s=0.02)).ledger.books
    first = packed(book.state)
    again = packed(book.state, first.powers)
    assert again == first
    assert len(first.powers) > 1000 > len(packed(book.state, b"").powers)
