from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from lightning_energy.training.callback_order import stand_before_monitors
from lightning_energy.training.lightning_private import is_monitor

KINDS = {"other": Callback, "stopping": lambda: EarlyStopping("x"), "checkpoint": ModelCheckpoint}


@given(st.lists(st.sampled_from([*KINDS]), max_size=6), st.integers(0, 6))
def test_it_stands_before_monitors_and_the_others_stand_as_they_stood(kinds, place):
    mine, others = Callback(), [KINDS[kind]() for kind in kinds]
    old = [*others[:place], mine, *others[place:]]
    trainer = SimpleNamespace(callbacks=old)
    before = [*old]
    stand_before_monitors(mine, trainer)
    assert old == before  # Lightning may be iterating over it
    assert [c for c in trainer.callbacks if c is not mine] == others
    at = trainer.callbacks.index(mine)
    assert not any(map(is_monitor, trainer.callbacks[:at]))


def test_a_list_in_order_is_left_alone():
    mine = Callback()
    for callbacks in ([mine, EarlyStopping("x")], [Callback(), mine], [mine]):
        trainer = SimpleNamespace(callbacks=callbacks)
        stand_before_monitors(mine, trainer)
        assert trainer.callbacks is callbacks


def test_a_callback_that_is_not_there_is_not_added():
    callbacks = [EarlyStopping("x"), Callback()]
    trainer = SimpleNamespace(callbacks=callbacks)
    stand_before_monitors(Callback(), trainer)
    assert trainer.callbacks is callbacks


def test_it_moves_no_further_than_it_must():
    first, mine, monitor = Callback(), Callback(), ModelCheckpoint()
    trainer = SimpleNamespace(callbacks=[first, monitor, mine])
    stand_before_monitors(mine, trainer)
    assert trainer.callbacks == [first, mine, monitor]
