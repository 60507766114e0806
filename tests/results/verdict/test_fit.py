"""The verdict at the end of a training is that of its record."""

from __future__ import annotations

import math
import re

import pytest
from lightning.pytorch.callbacks import EarlyStopping

from lightning_energy import EnergyCallback, EnergyMonitor, explain
from tests.modules import Classifier, loader, make_trainer
from tests.training.parts import replay


class Level(Classifier):
    """Is as good as ever after its first epoch, and takes much energy to stay so."""

    def value(self) -> float:
        return 0.5


def test_a_training_knows_its_verdict(tmp_path):
    energy = EnergyCallback(meters=replay(), record=tmp_path / "energy.json", metric="val_acc", score=None)
    make_trainer(tmp_path, max_epochs=12, logger=False, callbacks=[energy]).fit(Level(), loader(), loader(8))
    verdict = energy.report.verdict
    assert verdict.to_plain() == explain(tmp_path).to_plain()
    (stopping,) = (s for s in (*verdict.savings, *verdict.small) if s.rule == "stopping")
    assert "ends in epoch 3;" in stopping.next_step
    rows = energy.history
    assert abs(stopping.energy_kwh - (energy.report.total.energy_kwh - rows[3]["total_kwh"])) < 1e-12
    validate = make_trainer(tmp_path, logger=False, callbacks=[energy])
    validate.validate(Level(), loader(8), verbose=False)
    assert energy.evaluations[-1].verdict is None


class Course(Classifier):
    """Logs these values of the metric, one after the other, and the last of them from then on."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = values

    def value(self) -> float:
        return self.values[min(self.validations, len(self.values)) - 1]


NAN = math.nan


@pytest.mark.parametrize(
    ("settings", "values", "ends"),
    [
        ({}, (0.5, 0.9, 0.6), 4),
        ({}, (0.5, 0.9, NAN, 0.6), 2),  # check_finite ends it there
        ({"check_val_every_n_epoch": 2}, (0.5, 0.9, 0.6), 9),  # three validations later
        ({"val_check_interval": 0.5}, (0.5, 0.6, 0.9, 0.8, 0.9, 0.7), 4),  # of each epoch the last: 0.6, 0.8, 0.7
        ({"val_check_interval": 0.5}, (0.5, 0.9, 0.6, 0.6, 0.6, NAN, 0.6), 2),
        ({"val_check_interval": 0.5}, (0.5, 0.9, 0.6, 0.6, NAN, 0.6), 3),  # at the end of no epoch
    ],
)
def test_a_stop_that_is_promised_is_what_lightning_does(tmp_path, settings, values, ends):
    """The next step is a line of code: the same training with it ends in the epoch that it says."""
    energy = EnergyCallback(meters=replay(), record=tmp_path / "energy.json", metric="val_acc", score=None)
    more = {"max_epochs": 14, "logger": False, "num_sanity_val_steps": 0, **settings}
    make_trainer(tmp_path, **more, callbacks=[energy]).fit(Course(*values), loader(), loader(8))
    verdict = explain(tmp_path)
    (stopping,) = (s for s in (*verdict.savings, *verdict.small) if s.rule == "stopping")
    rule, epoch = re.search(r"stop sooner: (EarlyStopping\(.*?\)) ends in epoch (\d+);", stopping.next_step).groups()
    again = make_trainer(tmp_path, **more, callbacks=[eval(rule, {"EarlyStopping": EarlyStopping})])
    again.fit(Course(*values), loader(), loader(8))
    assert (int(epoch), again.current_epoch - 1) == (ends, ends)


@pytest.mark.parametrize(
    ("settings", "values", "why"),
    [
        ({}, (0.5, NAN, 0.9, 0.6), "in epoch 1 val_acc=nan is not finite: EarlyStopping ends before the best one"),
        ({"check_val_every_n_epoch": 2, "val_check_interval": 0.5}, (0.5, 0.9, 0.6), "some of its epochs may have"),
        ({}, (0.5, 0.9, 1.7, 0.6), "the validation of epoch 2 has no value of its metric"),
    ],
)
def test_a_stop_that_nobody_knows_is_not_promised(tmp_path, settings, values, why):
    energy = EnergyCallback(meters=replay(), record=False, metric="val_acc", score=None, scale="fraction")
    more = {"max_epochs": 8, "logger": False, "num_sanity_val_steps": 0, **settings}
    make_trainer(tmp_path, **more, callbacks=[energy]).fit(Course(*values), loader(), loader(8))
    (unseen,) = (u for u in energy.report.verdict.unseen if u.rule == "stopping")
    assert unseen.why.startswith(why)


def test_a_loop_of_ones_own_knows_it_too(tmp_path):
    with EnergyMonitor(meters=replay(), record=str(tmp_path), print_report=False) as monitor:
        for epoch in range(2):
            with monitor.stage("train", epoch), monitor.step():
                pass
    assert monitor.report.verdict.to_plain() == explain(tmp_path).to_plain()
    assert {unseen.rule for unseen in monitor.report.verdict.unseen} >= {"stopping"}
