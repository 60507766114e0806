from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.carbon import Conversion
from lightning_energy.training import log_keys
from lightning_energy.training.logged import log, log_late, read_metrics, to_loggers, total_values
from tests.modules import Classifier, MemoryLogger, energy_callback, loader, make_trainer
from tests.training.parts import ModuleLike, Warned, joules, trainer_like, two_ranks

TOTAL = Energy(7.2e6, 3.6, 3.6e6, 10.0, 0.5, "measured", 100.0)


def test_the_values_of_a_total():
    assert total_values(TOTAL) == {log_keys.TOTAL_WH: 2000.0, log_keys.MISSING_S: 0.5}
    whole = replace(TOTAL, missing_s=0.0)
    assert total_values(whole) == {log_keys.TOTAL_WH: 2000.0}
    assert total_values(whole, log_uncertainty=True) == {log_keys.TOTAL_WH: 2000.0, log_keys.TOTAL_U_WH: 1000.0}


@pytest.mark.parametrize(
    ("conversion", "more"),
    [
        (Conversion.of(carbon_intensity=100), {log_keys.CO2EQ_G: 200.0}),
        (Conversion.of(price=0.5), {log_keys.COST: 1.0}),
        (Conversion.of(carbon_intensity=100, pue=1.5, price=0.5), {log_keys.CO2EQ_G: 300.0, log_keys.COST: 1.5}),
    ],
)
def test_derived_values_are_logged_where_they_are_asked_for(conversion, more):
    values = total_values(TOTAL, conversion)
    assert {k: values[k] for k in values.keys() - total_values(TOTAL).keys()} == pytest.approx(more)


def test_no_total_is_not_a_total_of_zero():
    assert total_values(joules(None), Conversion.of(price=0.5)) == {}


@pytest.mark.parametrize("ranks", [Ranks(), two_ranks()])
def test_the_module_logs_float64(ranks):
    module = ModuleLike()
    log(module, {"energy/x": 0.1, "energy/y": 2.0}, ranks, Warned())
    assert module.logged == {"energy/x": 0.1, "energy/y": 2.0}  # 0.1 is no float32
    for _, value, settings in module.calls:
        assert value.dtype == torch.float64
        assert settings == {"batch_size": 1, "sync_dist": ranks.size > 1, "logger": None}


def test_a_device_without_float64_logs_from_the_cpu():
    module = ModuleLike()
    log(module, {"energy/x": 0.1}, Ranks(device=torch.device("mps")), Warned())
    assert module.calls[0][1].device == torch.device("cpu")


def test_a_late_value_is_where_self_log_would_have_left_it():
    memory, warn = MemoryLogger(), Warned()
    trainer = trainer_like(loggers=[memory], step=7, current_epoch=2)
    log_late(trainer, {"energy/score": 0.5}, warn)
    assert trainer.callback_metrics == trainer.logged_metrics == {"energy/score": torch.tensor(0.5)}
    assert memory.rows == [(7, {"energy/score": 0.5, "epoch": 2})]
    log_late(trainer, {}, warn)
    assert len(memory.rows) == 1
    assert warn == []


class Refuses(MemoryLogger):
    def log_metrics(self, metrics, step=None) -> None:
        raise ConnectionError("down")


class Adds(MemoryLogger):
    """Adds its own to what it is given, as some loggers do."""

    def log_metrics(self, metrics, step=None) -> None:
        metrics["epoch"] = 3


def test_a_loggers_fault_is_its_own():
    memory, warn, values = MemoryLogger(), Warned(), {"energy/power_w": 5.0}
    to_loggers(trainer_like(loggers=[Refuses(), Adds(), memory], step=2), values, warn)
    assert memory.rows == [(2, {"energy/power_w": 5.0, "epoch": 0})]
    assert values == {"energy/power_w": 5.0}
    ((_, text),) = warn
    assert "Refuses did not take energy/power_w (ConnectionError: down)" in text


def test_lightning_reduces_before_us_where_there_is_something_to_reduce():
    class Counts(SimpleNamespace):
        reads = 0

        @property
        def callback_metrics(self):
            self.reads += 1
            return {}

    for ranks, reads in ((Ranks(), 0), (two_ranks(), 1), (two_ranks().alone(), 0)):
        trainer = Counts()
        read_metrics(trainer, ranks)
        assert trainer.reads == reads


def table_of(tmp_path, module, **settings) -> pd.DataFrame:
    logger = CSVLogger(tmp_path)
    callbacks = [energy_callback(accuracy="val_acc")]
    trainer = make_trainer(tmp_path, logger=logger, callbacks=callbacks, max_epochs=2, **settings)
    trainer.fit(module, loader(), loader(8))
    return pd.read_csv(Path(logger.log_dir, "metrics.csv"))


def test_a_validation_is_one_row_of_a_table(tmp_path):
    table = table_of(tmp_path, Classifier("step"), log_every_n_steps=4)
    rows = table[table["val_acc"].notna()]
    assert [*rows["epoch"]] == [0, 1]
    assert rows[["energy/score", "energy/accuracy", "energy/total_wh", "energy/val_j"]].notna().all(axis=None)
    assert table["epoch"].notna().all()


def test_a_late_accuracy_has_a_row_of_the_same_epoch_and_step(tmp_path):
    table = table_of(tmp_path, Classifier("epoch_end"))
    early, late = table[table["val_acc"].notna()], table[table["energy/score"].notna()]
    assert [*early["epoch"]] == [*late["epoch"]] == [0, 1]
    assert [*early["step"]] == [*late["step"]] == [7, 15]


def test_a_step_that_the_module_logs_is_that_of_late_values_too(tmp_path):
    """A known recipe for epochs as the x-axis: Lightning then writes that step, and no epoch."""

    class OverEpochs(Classifier):
        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            self.log("step", 10.0 * self.current_epoch)

    table = table_of(tmp_path, OverEpochs("epoch_end"))
    early, late = table[table["val_acc"].notna()], table[table["energy/score"].notna()]
    assert [*early["step"]] == [*late["step"]] == [0, 10]
    assert early["epoch"].isna().all()
    assert late["epoch"].isna().all()


@pytest.mark.parametrize("wanted", [True, False])
def test_the_totals_uncertainty_is_logged_where_it_is_asked_for(tmp_path, wanted):
    memory = MemoryLogger()
    energy = energy_callback(log_uncertainty=wanted)
    make_trainer(tmp_path, logger=memory, callbacks=[energy], max_epochs=1).fit(Classifier(), loader(), loader(8))
    total, u = memory.points(log_keys.TOTAL_WH), memory.points(log_keys.TOTAL_U_WH)
    assert [step for step, _ in u] == ([step for step, _ in total] if wanted else [])
    assert not memory.points(log_keys.MISSING_S)


# ------------------------------------------------------------------------------------------------ others' ways


def test_a_module_whose_log_passes_the_batch_size_itself_ends_nothing(tmp_path):
    class Own(Classifier):
        def log(self, name, value, **kwargs):
            super().log(name, value, batch_size=4, **{k: v for k, v in kwargs.items() if k != "batch_size"})

        def log_dict(self, *args, **kwargs):
            raise NotImplementedError

    class Broken(Classifier):
        def log(self, name, value, **kwargs):
            super().log(name, value, batch_size=4, **kwargs)  # a second one

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().log("val_acc", 0.75, batch_size=4)

    energy, memory = energy_callback(), MemoryLogger()
    trainer = make_trainer(tmp_path, max_epochs=2, logger=memory, callbacks=[energy])
    with pytest.warns(UserWarning, match=r"Broken\.log did not take energy/.*batch_size") as caught:
        trainer.fit(Broken(), loader(), loader(8))
    assert sum("Broken.log" in str(w.message) for w in caught) == 1
    assert [row["metric"] for row in energy.history] == [0.75, 0.75]
    assert energy.report.outcome == "completed"
    assert memory.points("energy/total_wh")
    assert "energy/score" in trainer.callback_metrics
    energy = energy_callback()
    make_trainer(tmp_path, max_epochs=1, callbacks=[energy]).fit(Own(), loader(), loader(8))
    assert energy.report.score is not None


def test_a_logger_that_refuses_names_with_a_slash_ends_nothing(tmp_path):
    class NoSlash(MemoryLogger):
        def log_metrics(self, metrics, step=None) -> None:
            if any("/" in name for name in metrics):
                raise ValueError("no slash in a name")
            super().log_metrics(metrics, step)

    energy, refuses, other = energy_callback(), NoSlash(), MemoryLogger()
    trainer = make_trainer(tmp_path, max_epochs=2, logger=[refuses, other], callbacks=[energy])
    with pytest.warns(
        UserWarning, match=r"NoSlash did not take energy/.* \(ValueError: no slash in a name\)"
    ) as caught:
        trainer.fit(Classifier(), loader(), loader(8))
    assert sum("NoSlash" in str(w.message) for w in caught) == 1
    assert trainer.current_epoch == 2
    assert refuses.points("val_acc")  # the user's own values go there as ever
    assert [step for step, _ in other.points("energy/score")] == [step for step, _ in other.points("val_acc")]
    assert [step for step, _ in other.points("energy/train_j")] == [step for step, _ in other.points("val_acc")]


def test_a_logger_is_called_by_name_as_lightning_does(tmp_path):
    class ByName(MemoryLogger):
        def log_metrics(self, *, metrics, step) -> None:
            super().log_metrics(metrics, step)

    logger = ByName()
    make_trainer(tmp_path, logger=logger, callbacks=[energy_callback()]).fit(Classifier(), loader(), loader(8))
    assert logger.points("energy/accuracy")
