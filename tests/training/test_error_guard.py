from __future__ import annotations

import gc
import inspect
import pickle
import warnings
import weakref
from contextlib import nullcontext

import lightning as L
import pytest
from lightning.pytorch.utilities import rank_zero_only

from lightning_energy import EnergyCallback
from lightning_energy.scores.scorer import AccuracyError
from lightning_energy.training.error_guard import WarnOnce, guarded, never_fatal, warn_here
from tests.modules import Classifier, Data


class Owner:
    """Has a hook that does as it is told."""

    def __init__(self) -> None:
        self.given_up = []

    def _give_up(self, where, error) -> None:
        self.given_up.append((where, error))

    @never_fatal
    def hook(self, act, *args, **kwargs):
        """Act."""
        return act(*args, **kwargs)


def fail(error):
    raise error


def test_a_hook_without_a_defect_is_as_it_was():
    owner = Owner()
    assert owner.hook(max, 1, 5, key=lambda n: -n) == 1
    assert owner.given_up == []
    assert (Owner.hook.__name__, Owner.hook.__doc__) == ("hook", "Act.")


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), ValueError("ours"), OSError("ours"), AssertionError()])
def test_a_defect_is_given_up_at(error):
    owner = Owner()
    assert owner.hook(fail, error) is None
    assert owner.given_up == [("hook", error)]
    guarded(lambda _trainer, _batch_idx: fail(error), owner)(None, 0)
    assert owner.given_up[1:] == [("attend", error)]


@pytest.mark.parametrize(
    "error", [AccuracyError("no fraction"), UserWarning("as error"), KeyboardInterrupt(), SystemExit(1)]
)
def test_what_is_meant_for_the_user_passes(error):
    owner = Owner()
    with pytest.raises(type(error)):
        owner.hook(fail, error)
    with pytest.raises(type(error)):
        guarded(lambda _trainer, _batch_idx: fail(error), owner)(None, 0)
    assert owner.given_up == []


def test_a_function_that_is_guarded_keeps_no_owner_alive():
    owner, done = Owner(), []
    attend = guarded(lambda trainer, batch_idx: done.append((trainer, batch_idx)) or fail(OSError("ours")), owner)
    there = weakref.ref(owner)
    del owner
    gc.collect()
    assert there() is None
    attend("trainer", 3)  # nobody is left to give up
    assert done == [("trainer", 3)]


def texts(warn, *pairs) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for topic, text in pairs:
            warn(topic, text)
    return [str(w.message) for w in caught]


def test_each_topic_is_warned_of_once():
    warn = WarnOnce()
    assert texts(warn, ("a", "first"), ("a", "second"), ("b", "other")) == ["first", "other"]
    assert texts(warn, ("b", "again"), ("c", "new")) == ["new"]


def test_with_a_new_run_all_is_said_again():
    warn = WarnOnce()
    assert texts(warn, ("a", "first")) == ["first"]
    warn.begin_anew()
    assert texts(warn, ("a", "again"), ("a", "once more")) == ["again"]


def test_a_copy_knows_what_was_warned_of():
    warn = WarnOnce()
    assert texts(warn, ("a", "first")) == ["first"]
    assert texts(pickle.loads(pickle.dumps(warn)), ("a", "first"), ("b", "other")) == ["other"]


def test_other_ranks_are_silent(monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert texts(WarnOnce(), ("a", "first")) == []


def test_a_warning_that_is_an_error_was_given():
    warn = WarnOnce()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="first"):
            warn("a", "first")
        warn("a", "first")


@pytest.mark.parametrize("may_raise", [True, False])
def test_a_warning_is_an_error_only_where_the_user_has_asked_for_us(may_raise):
    warn = WarnOnce(may_raise=may_raise)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in (lambda: warn("topic", "text"), lambda: warn_here(warn, "text")):
            with pytest.raises(UserWarning, match="text") if may_raise else nullcontext():
                call()


def test_a_warning_names_the_users_line(tmp_path):
    """Of a Trainer, through all of Lightning: the line of ``fit``."""
    trainer = L.Trainer(
        max_epochs=1,
        logger=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=[EnergyCallback(meters="estimate")],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Classifier(), Data())
        line = inspect.currentframe().f_lineno - 1
    places = {(w.filename, w.lineno) for w in caught if str(w.message).startswith("EnergyCallback")}
    assert places == {(__file__, line)}
