"""The verdict at the end of a training is that of its record."""

from __future__ import annotations

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


def test_a_loop_of_ones_own_knows_it_too(tmp_path):
    with EnergyMonitor(meters=replay(), record=str(tmp_path), print_report=False) as monitor:
        for epoch in range(2):
            with monitor.stage("train", epoch), monitor.step():
                pass
    assert monitor.report.verdict.to_plain() == explain(tmp_path).to_plain()
    assert {unseen.rule for unseen in monitor.report.verdict.unseen} >= {"stopping"}
