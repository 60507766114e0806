"""EnergyEfficiencyStopping in real Trainers.

An epoch takes something between 1e-8 kWh (0.2 ms at 200 W) and 1e-4 kWh (half an hour), however busy the machine is: a
point of ten that came at once is cheaper than 1e-5 kWh, one at the pace of 1e-4 points an epoch is dearer.
"""

from __future__ import annotations

import math
import pickle
import time
import warnings

import pytest

from lightning_energy import EnergyCallback, EnergyEfficiencyStopping
from lightning_energy.results.notes import Note
from lightning_energy.scores.metric import Metric
from lightning_energy.scores.stopping import Reached
from lightning_energy.training import log_keys
from lightning_energy.training.scored import Scored
from tests import modules
from tests.modules import Classifier, MemoryLogger, loader, make_trainer
from tests.training.parts import replay

LIMIT_KWH = 1e-5
CHEAP, DEAR = 0.1, 1e-6


class Known(Classifier):
    """Waits before each validation until the energy is known, as it is in a training whose epochs take a while."""

    def on_validation_start(self) -> None:
        super().on_validation_start()
        runs = [c._run for c in self.trainer.callbacks if isinstance(c, EnergyCallback)]
        if runs and runs[0].books.session is not None:
            runs[0].books.session._sampler.wait_until_known(time.monotonic_ns(), 60)


class Rising(Known):
    """Its value rises in each validation as it is told."""

    def __init__(self, *rises: float, start: float = 0.1, sign: float = 1.0) -> None:
        super().__init__()
        self.rises, self.start, self.sign = rises, start, sign

    def value(self) -> float:
        return self.start + self.sign * sum(self.rises[: self.validations - 1]) if self.validations else self.start


def energy_callback(**kwargs):
    """With a register that always moves: a validation waits for no update of it."""
    return modules.energy_callback(meters=replay(), **kwargs)


def fit(folder, module, *callbacks, **kwargs):
    trainer = make_trainer(folder, **({"max_epochs": 9, "callbacks": [*callbacks]} | kwargs))
    trainer.fit(module, loader(8), loader(8))
    return trainer


@pytest.mark.parametrize("order", ["energy-first", "stopping-first"])
def test_it_stops_when_the_next_point_is_too_dear(tmp_path, order):
    """Ten points an epoch up to the fourth validation, then next to nothing: two such make it too dear."""
    stopping, energy = EnergyEfficiencyStopping(max_kwh_per_point=LIMIT_KWH, patience=2), energy_callback()
    callbacks = [energy, stopping] if order == "energy-first" else [stopping, energy]
    trainer = fit(tmp_path, Rising(CHEAP, CHEAP, CHEAP, DEAR, DEAR), *callbacks)
    assert (stopping.stopped_epoch, trainer.current_epoch) == (5, 6)
    rows = energy.history
    spent_kwh = rows[5]["logged_total_kwh"] - rows[3]["logged_total_kwh"]
    assert stopping.kwh_per_point == pytest.approx(spent_kwh / (rows[5]["metric"] - rows[3]["metric"]) * 0.01, rel=1e-9)
    assert f"the last 2 validations, with the training before each, took {spent_kwh:.3g} kWh" in stopping.reason
    assert "max_kwh_per_point=1e-05" in stopping.reason
    assert Note("ended", f"Ended by EnergyEfficiencyStopping: {stopping.reason}") in energy.report.notes


@pytest.mark.parametrize(
    ("scale", "module"),
    [
        ({"metric": "val_acc", "mode": "min"}, Rising(CHEAP, CHEAP, DEAR, DEAR, start=5.0, sign=-1.0)),
        ({"accuracy": "val_acc", "scale": "percent"}, Rising(10.0, 10.0, 0.0, start=40.0)),
    ],
)
def test_any_metric_in_its_own_direction(tmp_path, scale, module):
    """A perplexity that falls; percentages, whose point is one of them."""
    stopping = EnergyEfficiencyStopping(max_kwh_per_point=LIMIT_KWH, patience=1)
    fit(tmp_path, module, energy_callback(**scale), stopping)
    assert stopping.stopped_epoch == 3
    assert stopping.kwh_per_point > LIMIT_KWH


def test_the_price_is_logged_where_a_metric_is_named(tmp_path):
    logger, found = MemoryLogger(), MemoryLogger()
    energy = energy_callback(accuracy="val_acc")
    trainer = fit(tmp_path, Rising(0.1, 0.1, 0.1, 0.0, 0.0, 0.0), energy, max_epochs=7, logger=logger)
    rows = energy.history
    points = [value for _, value in logger.points(log_keys.POINT_WH)]
    kwh = [row["logged_total_kwh"] for row in rows]
    rises = [30, 20, 10]  # points from the first to the fourth validation, and so on; none in the last four
    assert points == pytest.approx([1e3 * (kwh[i + 3] - kwh[i]) / rises[i] for i in range(3)], rel=1e-5)
    assert log_keys.POINT_WH not in trainer.callback_metrics  # infinite at the end
    fit(tmp_path, Rising(0.1, 0.1, 0.1, 0.1), energy_callback(), max_epochs=4, logger=found)
    assert found.points(log_keys.POINT_WH) == []


@pytest.mark.filterwarnings("ignore:EnergyEfficiencyStopping stops nothing, as this training has 3 validations")
def test_it_goes_on_from_a_checkpoint(tmp_path):
    """Two of three validations in the first session: the third is the first of the second."""
    energy, stopping = energy_callback(accuracy="val_acc"), EnergyEfficiencyStopping(max_kwh_per_point=LIMIT_KWH)
    trainer = fit(tmp_path, Rising(), energy, stopping, max_epochs=3)
    assert stopping.stopped_epoch is None
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    reached, stopping._reached = stopping._reached, [*stopping._reached, Reached(0.5, 1.0)]
    trainer.test(Rising(), loader(8), ckpt_path=tmp_path / "one.ckpt", verbose=False)  # does not undo what came later
    assert stopping._reached == [*reached, Reached(0.5, 1.0)]
    logger = MemoryLogger()
    again = [energy_callback(accuracy="val_acc"), EnergyEfficiencyStopping(max_kwh_per_point=LIMIT_KWH)]
    trainer = make_trainer(tmp_path, max_epochs=9, callbacks=again, logger=logger)
    trainer.fit(Rising(0.1, start=0.1), loader(8), loader(8), ckpt_path=tmp_path / "one.ckpt")
    assert again[1].stopped_epoch == 3
    assert math.isinf(again[1].kwh_per_point)
    assert len(again[1]._reached) == 4
    assert logger.points(log_keys.POINT_WH) == []
    fresh = pickle.loads(pickle.dumps(EnergyEfficiencyStopping(max_kwh_per_point=1.0)))
    with pytest.warns(UserWarning, match="its state in the checkpoint is damaged"):
        fresh.load_state_dict({"reached": [[0.5]]})
    assert fresh._reached == []


def test_another_run_begins_anew(tmp_path):
    stopping = EnergyEfficiencyStopping(max_kwh_per_point=LIMIT_KWH, patience=1)
    for _ in range(2):
        fit(tmp_path, Rising(CHEAP, DEAR), energy_callback(), stopping)
        assert stopping.stopped_epoch == 2
    stopping._reached = [Reached(0.99, 1e3)]  # of a run that spent more
    stopping._take(Scored(Metric("val_acc", 0.5), None, 1.0))
    assert stopping._reached == [Reached(0.5, 1.0)]


def test_an_energy_that_stays_unknown_is_told_once():
    stopping = EnergyEfficiencyStopping(max_kwh_per_point=1.0, patience=1)
    stopping._reached = [Reached(0.5, None)] * 2
    with pytest.warns(UserWarning, match="stops nothing while the energy of the training is not known"):
        stopping._say_unknown()
    stopping._say_unknown()  # warnings are errors here
    stopping._take(Scored(Metric("val_acc", 0.5), None, None))
    assert stopping.kwh_per_point is None


def test_min_epochs_win(tmp_path):
    stopping = EnergyEfficiencyStopping(max_kwh_per_point=1e-12, patience=1)
    trainer = fit(tmp_path, Rising(), energy_callback(), stopping, min_epochs=4)
    assert trainer.current_epoch == 4


def test_without_an_energy_callback_or_a_metric_it_says_so_once(tmp_path):
    with pytest.warns(UserWarning, match="stops nothing, as the Trainer has no EnergyCallback") as caught:
        trainer = fit(tmp_path, Rising(), EnergyEfficiencyStopping(max_kwh_per_point=1e-12), max_epochs=3)
    assert trainer.current_epoch == 3
    assert len([w for w in caught if "EnergyEfficiency" in str(w.message)]) == 1
    callbacks = [energy_callback(score=None), EnergyEfficiencyStopping(max_kwh_per_point=1e-12, patience=1)]
    with pytest.warns(UserWarning, match="EnergyCallback found no metric in this validation: name one") as caught:
        trainer = fit(tmp_path, Classifier("nowhere"), *callbacks, max_epochs=3)
    assert trainer.current_epoch == 3
    assert len([w for w in caught if "EnergyEfficiency" in str(w.message)]) == 1


class Odd(Rising):
    """Has a value that is none in its second validation."""

    def value(self) -> float:
        return math.nan if self.validations == 2 else super().value()


@pytest.mark.filterwarnings("ignore:EnergyCallback. no energy/score, as val_acc=nan")
def test_a_named_metric_without_a_value_is_told_as_it_is(tmp_path):
    stopping = EnergyEfficiencyStopping(max_kwh_per_point=1e3, patience=2)
    with pytest.warns(UserWarning, match="EnergyEfficiencyStopping") as caught:
        fit(tmp_path, Odd(0.1), energy_callback(accuracy="val_acc"), stopping, max_epochs=3)
    (said,) = (str(w.message) for w in caught if "EnergyEfficiency" in str(w.message))
    assert said == "EnergyEfficiencyStopping passes over a validation: val_acc=nan is no number"


def test_a_training_without_a_validation_is_told(tmp_path):
    stopping = EnergyEfficiencyStopping(max_kwh_per_point=1e3)
    trainer = make_trainer(tmp_path, max_epochs=1, limit_val_batches=0, callbacks=[energy_callback(), stopping])
    with pytest.warns(UserWarning, match="EnergyEfficiencyStopping stops nothing, as this training has no validation"):
        trainer.fit(Classifier(), loader(8), loader(8))


@pytest.mark.parametrize(
    ("settings", "validations"),
    [
        ({"max_epochs": 2, "check_val_every_n_epoch": 3}, "no validation"),
        ({"max_epochs": 3}, "3 validations"),
        ({"max_epochs": -1, "max_steps": 3, "val_check_interval": 2}, "1 validation"),
        ({"max_epochs": 3, "val_check_interval": 0.5}, ""),
        ({"max_epochs": 4}, ""),
        ({"max_epochs": 4, "check_val_every_n_epoch": 3, "fast_dev_run": True}, ""),
    ],
)
def test_a_training_with_too_few_validations_is_told(tmp_path, settings, validations):
    """A price takes patience + 1 of them: 4."""
    stopping = EnergyEfficiencyStopping(max_kwh_per_point=1e3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = make_trainer(tmp_path, callbacks=[energy_callback(accuracy="val_acc"), stopping], **settings)
        trainer.fit(Classifier(), loader(8), loader(8))
    told = [str(w.message) for w in caught if "EnergyEfficiency" in str(w.message)]
    expected = f"EnergyEfficiencyStopping stops nothing, as this training has {validations} and a price takes 4"
    assert [text.partition(":")[0] for text in told] == ([expected] if validations else [])


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        ({}, TypeError, "max_kwh_per_point"),
        ({"max_kwh_per_point": 0}, ValueError, "max_kwh_per_point=0: give a finite number above 0"),
        ({"max_kwh_per_point": -1.0}, ValueError, "max_kwh_per_point=-1.0: give a finite number above 0"),
        ({"max_kwh_per_point": math.nan}, ValueError, "max_kwh_per_point=nan: give a finite number above 0"),
        ({"max_kwh_per_point": math.inf}, ValueError, "max_kwh_per_point=inf: give a finite number above 0"),
        ({"max_kwh_per_point": 10**400}, ValueError, "max_kwh_per_point=10+: give a finite number above 0"),
        ({"max_kwh_per_point": "1"}, TypeError, "max_kwh_per_point='1': give a number above 0"),
        ({"max_kwh_per_point": 1.0, "point": 0.0}, ValueError, "point=0.0: give a finite number above 0"),
        ({"max_kwh_per_point": 1.0, "patience": 0}, ValueError, "patience=0: give a whole number of validations"),
        ({"max_kwh_per_point": 1.0, "monitor": "val_acc"}, TypeError, "no argument monitor: omit it: the metric"),
        ({"max_kwh_per_points": 1.0}, TypeError, "write max_kwh_per_point=1.0"),
    ],
)
def test_wrong_arguments(wrong, error, match):
    with pytest.raises(error, match=match):
        EnergyEfficiencyStopping(**wrong)


def test_two_with_different_settings_stand_in_one_trainer(tmp_path):
    both = [EnergyEfficiencyStopping(max_kwh_per_point=kwh, patience=1) for kwh in (1e3, LIMIT_KWH)]
    fit(tmp_path, Rising(CHEAP, DEAR), energy_callback(), *both)
    assert [s.stopped_epoch for s in both] == [None, 2]


RANKS = """
import sys, warnings
warnings.simplefilter("ignore")
from lightning_energy import EnergyEfficiencyStopping
from tests.modules import MemoryLogger, energy_callback, loader, make_trainer
from tests.training.test_efficiency_stopping import Rising

class OfRank(Rising):
    def value(self):
        return super().value() + 0.01 * self.global_rank

stopping = EnergyEfficiencyStopping(max_kwh_per_point=1e-5, patience=1)
energy, logger = energy_callback(accuracy="val_acc"), MemoryLogger()
callbacks = [stopping, energy]
trainer = make_trainer(sys.argv[1], max_epochs=9, callbacks=callbacks, strategy="ddp", devices=2, logger=logger)
trainer.fit(OfRank(0.1, 0.1, 0.1, 1e-6), loader(8), loader(8))
priced = len(logger.points("energy/point_wh"))
print("stopped", trainer.global_rank, stopping.stopped_epoch, trainer.current_epoch, priced, flush=True)
"""


@pytest.mark.slow
def test_all_ranks_stop_together(tmp_path, warm):
    """The price is logged on both."""
    said = []
    for done in warm.run_ranks(RANKS, 2, tmp_path, cwd=tmp_path):
        assert "stopped" in done.stdout, done.stderr
        said += [line for line in done.stdout.splitlines() if line.startswith("stopped")]
    assert sorted(said) == ["stopped 0 4 5 2", "stopped 1 4 5 2"]
