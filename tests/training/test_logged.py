from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.carbon import Conversion
from lightning_energy.training import log_keys
from lightning_energy.training.logged import log, log_late, read_metrics, to_loggers, total_values
from tests.modules import MemoryLogger
from tests.training.parts import ModuleLike, Warned, joules, trainer_like, two_ranks

TOTAL = Energy(7.2e6, 3.6, 3.6e6, 10.0, 0.5, "measured", 100.0)


def test_the_values_of_a_total():
    assert total_values(TOTAL) == {
        log_keys.TOTAL_KWH: 2.0,
        log_keys.TOTAL_U_KWH: 1.0,
        log_keys.MISSING_S: 0.5,
    }


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
    log(module, {"energy/x": 0.1, "energy/y": 2.0}, ranks)
    assert module.logged == {"energy/x": 0.1, "energy/y": 2.0}  # 0.1 is no float32
    for _, value, settings in module.calls:
        assert value.dtype == torch.float64
        assert settings == {"batch_size": 1, "sync_dist": ranks.size > 1}


def test_a_device_without_float64_logs_from_the_cpu():
    module = ModuleLike()
    log(module, {"energy/x": 0.1}, Ranks(device=torch.device("mps")))
    assert module.calls[0][1].device == torch.device("cpu")


def test_a_late_value_is_where_self_log_would_have_left_it():
    memory, warn = MemoryLogger(), Warned()
    trainer = trainer_like(loggers=[memory], step=7)
    log_late(trainer, {"energy/score": 0.5}, warn)
    assert trainer.callback_metrics == trainer.logged_metrics == {"energy/score": torch.tensor(0.5)}
    assert memory.rows == [(7, {"energy/score": 0.5})]
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
    assert memory.rows == [(2, {"energy/power_w": 5.0})]
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
