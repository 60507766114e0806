"""Figures in the progress bars of Lightning."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar

from lightning_energy import EnergyCallback
from lightning_energy.curves.energy import Energy
from lightning_energy.training.progress import EVERY_S, BarFigures
from tests.modules import Working, energy_callback, loader, make_trainer, meter

WATTS, KWH = r"(\d[\d.]*) W\b", r"(\d[\d.e-]*) kWh"


class Shown(Working):
    """Shows its loss in the bar."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss, prog_bar=True)
        return loss


def fit(tmp_path, bar, **kwargs):
    energy = energy_callback(progress_bar=kwargs.pop("progress_bar", True))
    trainer = make_trainer(tmp_path, enable_progress_bar=True, max_epochs=8, callbacks=[energy, bar], **kwargs)
    trainer.fit(Shown(), loader(), loader(8))
    return energy, trainer


@pytest.mark.slow
def test_tqdm_shows_watts_and_kwh(tmp_path, capsys):
    energy, _ = fit(tmp_path, TQDMProgressBar(refresh_rate=1))
    shown = capsys.readouterr()
    last = (shown.out + shown.err).split("\r")[-1]
    assert float(re.search(f"power={WATTS}", last)[1]) == pytest.approx(200, rel=0.2)
    row = energy.history[-1]  # final, where the bar showed what was known then
    assert float(re.search(f"energy={KWH}", last)[1]) == pytest.approx(row["total_kwh"], abs=3 * row["total_u_kwh"])
    assert "loss=" in last


@pytest.mark.slow
def test_rich_shows_watts_and_kwh(tmp_path):
    screen = io.StringIO()
    bar = RichProgressBar(refresh_rate=1, console_kwargs={"file": screen, "force_terminal": True, "width": 200})
    energy, _ = fit(tmp_path, bar)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.getvalue())
    shown = [float(kwh) for kwh in re.findall(f"energy: {KWH}", text)]
    assert re.search(f"power: {WATTS}", text)
    row = energy.history[-1]  # final, where the bar showed what was known then
    assert shown[-1] == pytest.approx(row["total_kwh"], abs=3 * row["total_u_kwh"])
    assert shown == sorted(shown)
    assert shown[0] > 0


@pytest.mark.slow
def test_it_is_shown_to_who_asks_for_it_alone(tmp_path, capsys):
    _, trainer = fit(tmp_path, TQDMProgressBar(refresh_rate=1), progress_bar=False)
    shown = capsys.readouterr()
    assert "loss=" in shown.out + shown.err
    assert "kWh" not in shown.out + shown.err
    assert {*trainer.progress_bar_metrics} == {"loss"}


def test_without_a_bar_nothing_is_shown_and_nothing_breaks(tmp_path):
    energy = energy_callback(progress_bar=True)
    trainer = make_trainer(tmp_path, callbacks=[energy])
    trainer.fit(Shown(), loader(), loader(8))
    assert {*trainer.progress_bar_metrics} == {"loss"}
    assert len(energy.history) == 3


def test_a_bar_that_is_disabled_is_none(tmp_path, capsys):
    """Neither is anything shown or summed up for it, nor is a report printed where the Trainer prints nothing."""
    for bar in (TQDMProgressBar(), RichProgressBar()):
        bar.disable()
        energy = EnergyCallback(meters=meter(), progress_bar=True)
        trainer = make_trainer(tmp_path, enable_progress_bar=True, callbacks=[energy, bar])
        trainer.fit(Shown(), loader(), loader(8))
        assert {*trainer.progress_bar_metrics} == {"loss"}
        assert energy.report.outcome == "completed"
    assert "\nEnergy: " not in "\n" + capsys.readouterr().out
    bar.enable()
    energy = EnergyCallback(meters=meter())
    make_trainer(tmp_path, enable_progress_bar=True, callbacks=[energy, bar]).fit(Shown(), loader(), loader(8))
    assert "Energy: " in capsys.readouterr().out


@pytest.mark.slow
def test_any_other_bar_gets_it(tmp_path):
    class Own(ProgressBar):
        seen: dict

        def on_train_epoch_end(self, trainer, pl_module) -> None:
            self.seen = self.get_metrics(trainer, pl_module)

        def disable(self) -> None: ...

        def enable(self) -> None: ...

    bar = Own()
    fit(tmp_path, bar)
    assert {"power", "energy", "loss"} <= {*bar.seen}


def test_unknown_energy_is_not_shown_as_the_last_known_one():
    trainer = SimpleNamespace(progress_bar_callback=object(), progress_bar_metrics={})
    figures = BarFigures()
    figures.show_energy(Energy(3.6e6, 0.0, 0.0, 1.0, 0.0, "measured"))  # before the first batch: nowhere to show it
    figures.after_batch(trainer)
    figures.show_energy(Energy(3.6e6, 0.0, 0.0, 1.0, 0.0, "measured"))
    assert trainer.progress_bar_metrics == {"energy": "1 kWh"}
    figures.show_energy(Energy(None, 0.0, 0.0, 1.0, 1.0, "missing"))
    assert trainer.progress_bar_metrics == {}


def test_the_sum_is_due_once_a_second(monkeypatch):
    figures, now = BarFigures(), [100.0]
    assert not figures.is_due  # there is no bar
    figures.after_batch(SimpleNamespace(progress_bar_callback=object(), progress_bar_metrics={}))
    monkeypatch.setattr("lightning_energy.training.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    assert figures.is_due
    figures.show_energy(Energy(1.0, 0.0, 0.0, 1.0, 0.0, "measured"))
    assert not figures.is_due
    now[0] += EVERY_S + 0.1
    assert figures.is_due
