"""What TensorBoard, Weights & Biases and MLflow hold after a run, read back with their own packages."""

from __future__ import annotations

import json
import math
import re
import struct
import time
from argparse import Namespace
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from tensorboard.backend.event_processing import data_provider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from lightning_energy import EnergyCallback
from lightning_energy.results.rendering import as_markdown
from lightning_energy.scores.metric import Metric
from lightning_energy.training import log_keys
from lightning_energy.training.dashboards import Dashboards
from lightning_energy.training.dashboards.axis import UNITS, axis_units
from lightning_energy.training.dashboards.names import Configuration, Point
from lightning_energy.training.dashboards.tensorboard import TensorBoardDashboard
from lightning_energy.training.dashboards.text import flat
from tests.modules import Classifier, MemoryLogger, Working, energy_callback, loader, make_trainer, meter

pytestmark = pytest.mark.slow

SMALL = {"energy_axis/accuracy_by_micro_wh", "energy_axis/score_by_micro_wh"}  # runs of some joules


class WithHyperparameters(Working):
    def __init__(self, width: int = 4, optimizer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=["kwargs"])


def tensorboard(tmp_path: Path, version: str = "run", **kwargs: Any) -> TensorBoardLogger:
    return TensorBoardLogger(tmp_path, name="", version=version, **kwargs)


def fit(tmp_path: Path, logger: Any, module: Any = None, **kwargs: Any) -> L.Trainer:
    callbacks = kwargs.pop("callbacks", None) or [energy_callback()]
    trainer = make_trainer(tmp_path, logger=logger, callbacks=callbacks, **kwargs)
    trainer.fit(module or Classifier(), loader(), loader(8))
    return trainer


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def curve(accumulator: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(e.step, e.value) for e in accumulator.Scalars(tag)]


def charts(accumulator: EventAccumulator) -> dict[str, list[str]]:
    content = accumulator.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0]
    parts = layout_pb2.Layout.FromString(content).category
    return {chart.title: [*chart.multiline.tag] for part in parts for chart in part.chart}


def hparams_tab(folder: Path) -> tuple[Any, dict[str, Any]]:
    """What TensorBoard's own HParams plugin makes of a folder: the table's columns, and its rows by run."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    backend = Context(TBContext(data_provider=provider, logdir=str(folder)))
    everything = RequestContext(), ""
    tags = backend.hparams_metadata(*everything)
    nothing = SimpleNamespace(hyperparameters=[], session_groups=[])
    table = backend.experiment_from_metadata(*everything, True, tags, nothing)  # noqa: FBT003 - TensorBoard's own
    statuses = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING]
    request = api_pb2.ListSessionGroupsRequest(allowed_statuses=statuses, slice_size=100)
    answer = list_session_groups.Handler(RequestContext(), backend, "", request).run()
    return table, {group.name: group for group in answer.session_groups}


def plain(hparams: Any) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams.items()}


def columns(table: Any) -> list[str]:
    return [info.name.tag for info in table.metric_infos]


# ----------------------------------------------------------------------------------------- TensorBoard


def test_a_run_leaves_layout_curve_configuration_outcome_and_report(tmp_path):
    trainer = fit(tmp_path, tensorboard(tmp_path), Working(), max_epochs=8)
    found = events(tmp_path / "run")
    assert len([*(tmp_path / "run").glob("**/events*")]) == 1  # no runs below the run
    total = [e.value for e in found.Scalars("energy/total_wh")]
    for tag, logged in (("accuracy", "energy/accuracy"), ("score", "energy/score")):
        points = curve(found, f"energy_axis/{tag}_by_micro_wh")
        assert [step for step, _ in points] == [pytest.approx(wh * 1e6, abs=1) for wh in total]
        assert [value for _, value in points] == [e.value for e in found.Scalars(logged)]
        assert [step for step, _ in points] == sorted({step for step, _ in points})
    # every chart finds its curves
    shown = charts(found)
    tags = found.Tags()["scalars"]
    assert [*shown] == [
        "Energy of the training so far in Wh",
        "Power in W",
        "Accuracy",
        "Score",
        "Accuracy against energy in µWh",
        "Score against energy in µWh",
        "Training of an epoch in J",
        "Validation of an epoch in J",
        "Training step in J",
    ]
    for title, patterns in shown.items():
        for pattern in patterns:
            assert [tag for tag in tags if re.search(pattern, tag)] == [pattern.strip("^$")], title
    report = found.Tensors("energy/report/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert as_markdown(trainer.callbacks[0].report, details=True) in report
    table, rows = hparams_tab(tmp_path)
    assert columns(table) == ["energy/total_wh", "energy/accuracy", "energy/score"]
    assert rows["run"].sessions[0].status == api_pb2.STATUS_SUCCESS
    assert {name: group.hparams["run/parameters"].number_value for name, group in rows.items()} == {"run": 10}
    assert not [*(tmp_path / "run").glob("*/")]


def test_runs_are_compared_by_energy_accuracy_and_score(tmp_path):
    """Three runs in TensorBoard's HParams tab: every one has every column, so parallel coordinates draw them all."""
    for width in (1, 2, 3):
        fit(tmp_path, tensorboard(tmp_path, f"width-{width}"), WithHyperparameters(width), max_epochs=width)
    table, rows = hparams_tab(tmp_path)
    names = {info.name for info in table.hparam_infos}
    assert columns(table) == ["energy/total_wh", "energy/accuracy", "energy/score", "hp_metric"]
    assert [*sorted(rows)] == ["width-1", "width-2", "width-3"]
    for width, (name, row) in enumerate(sorted(rows.items()), 1):
        assert {*row.hparams} == names
        assert row.hparams["width"].number_value == width
        scalars = events(tmp_path / name)
        figures = {value.name.tag: value.value for value in row.metric_values}
        assert {*figures} == {*columns(table)}
        for tag in columns(table)[:3]:  # the last point of the curve; hp_metric is Lightning's own -1
            assert figures[tag] == scalars.Scalars(tag)[-1].value


def test_the_users_hyperparameters_are_as_lightning_writes_them(tmp_path):
    values = {"lr": 0.1, "betas": (0.9, 0.99), "nested": {"on": True, "size": 3}, "none": None, "name": "x"}
    module = WithHyperparameters(8, values)
    fit(tmp_path, tensorboard(tmp_path, "ours"), module)
    make_trainer(tmp_path, logger=tensorboard(tmp_path / "theirs")).fit(module, loader(), loader(8))
    _, ours = hparams_tab(tmp_path)
    _, theirs = hparams_tab(tmp_path / "theirs")
    here, there = plain(ours["ours"].hparams), plain(theirs["run"].hparams)
    assert {k: v for k, v in here.items() if not k.startswith("run/")} == there
    assert len(there) == 7
    run = {k.removeprefix("run/"): v for k, v in here.items() if k.startswith("run/")}
    assert run == {
        "module": "tests.training.test_dashboards.WithHyperparameters",
        "parameters": 10,
        "precision": "32-true",
    }


def test_the_batch_size_is_the_loaders_or_what_is_known_before_there_is_one(tmp_path):
    class Data(L.LightningDataModule):
        batch_size = 4

        def train_dataloader(self):
            return loader()

        def val_dataloader(self):
            return loader(8)

    for version, module in (("late", Classifier()), ("early", WithHyperparameters())):
        trainer = make_trainer(tmp_path, logger=tensorboard(tmp_path, version), callbacks=[energy_callback()])
        trainer.fit(module, datamodule=Data())
    _, rows = hparams_tab(tmp_path)
    assert [row.hparams["run/batch_size"].number_value for row in rows.values()] == [4, 4]


@pytest.mark.parametrize("early", [True, False])
def test_hyperparameters_that_are_not_for_loggers_stay_unlogged(tmp_path, early):
    class Secret(Classifier):
        def __init__(self, token: str = "secret") -> None:
            super().__init__()
            self.save_hyperparameters(logger=False)

    class Open(WithHyperparameters):
        pass

    settings = {} if early else {"enable_autolog_hparams": False}
    if not early and "enable_autolog_hparams" not in signature(L.Trainer).parameters:
        pytest.skip("this Lightning always logs hyperparameters")
    fit(tmp_path, tensorboard(tmp_path), Secret() if early else Open(), **settings)
    _, rows = hparams_tab(tmp_path)
    assert all(name.startswith("run/") for name in rows["run"].hparams)


def test_what_a_module_writes_to_the_hparams_tab_itself_stands(tmp_path):
    """Lightning's recipe for metrics of one's own in that tab."""

    class Recipe(WithHyperparameters):
        def on_train_start(self) -> None:
            self.logger.log_hyperparams(self.hparams, {"val_acc": 0})

    fit(tmp_path, tensorboard(tmp_path, default_hp_metric=False), Recipe())
    table, rows = hparams_tab(tmp_path)
    assert columns(table) == ["val_acc"]
    assert {*rows["run"].hparams} == {"width", "optimizer"}


def test_a_failed_fit_is_a_failure(tmp_path):
    class Fails(Classifier):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                raise ArithmeticError("the user's own")

    with pytest.raises(ArithmeticError, match="own"):
        fit(tmp_path, tensorboard(tmp_path), Fails())
    _, rows = hparams_tab(tmp_path)
    assert rows["run"].sessions[0].status == api_pb2.STATUS_FAILURE
    text = events(tmp_path / "run").Tensors("energy/report/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert "Energy until the run was interrupted" in text


def test_a_resumed_run_goes_on_in_the_same_folder_and_unit(tmp_path):
    first = fit(tmp_path, tensorboard(tmp_path), max_epochs=2)
    first.save_checkpoint(tmp_path / "x.ckpt")
    strong = energy_callback(meters=meter(script=2e5))  # from here on, a first point would take mWh
    second = make_trainer(tmp_path, logger=tensorboard(tmp_path), callbacks=[strong], max_epochs=4)
    second.fit(Classifier(), loader(), loader(8), ckpt_path=tmp_path / "x.ckpt")
    found = events(tmp_path / "run")
    assert {tag for tag in found.Tags()["scalars"] if tag.startswith("energy_axis")} == SMALL
    steps = [step for step, _ in curve(found, "energy_axis/accuracy_by_micro_wh")]
    total = [e.value for e in found.Scalars("energy/total_wh")]
    assert len(steps) == 4
    assert steps == sorted(steps) == [pytest.approx(wh * 1e6, abs=1, rel=1e-6) for wh in total]  # a float32's error
    assert axis_units(total[-1] / 1000)[0].name in {"milli_wh", "wh"}  # as long as its epochs took
    assert len([title for title in charts(found) if "against energy" in title]) == 2


def test_a_first_point_of_some_kilojoules_is_drawn_in_two_units(tmp_path):
    fit(tmp_path, tensorboard(tmp_path), callbacks=[energy_callback(meters=meter(script=2e4))])
    found = events(tmp_path / "run")
    coarse, fine = (curve(found, f"energy_axis/accuracy_by_{unit}") for unit in ("milli_wh", "micro_wh"))
    assert [(step / 1000, value) for step, value in fine] == [(pytest.approx(s, abs=0.51), v) for s, v in coarse]


def test_names_have_the_loggers_prefix(tmp_path):
    fit(tmp_path, tensorboard(tmp_path, prefix="night"), WithHyperparameters(), max_epochs=8)
    found = events(tmp_path / "run")
    tags = found.Tags()["scalars"]
    assert "night-energy_axis/accuracy_by_micro_wh" in tags
    for patterns in charts(found).values():
        assert all([tag for tag in tags if re.search(pattern, tag)] for pattern in patterns)
    table, rows = hparams_tab(tmp_path)
    assert {v.name.tag for v in rows["run"].metric_values} == {*columns(table)}
    assert {"night-energy/total_wh", "night-hp_metric"} <= {*columns(table)}


def test_the_twin_packages_logger_gets_the_same(tmp_path):
    import pytorch_lightning as pl

    fit(tmp_path, pl.loggers.TensorBoardLogger(tmp_path, name="", version="run"))
    assert {*events(tmp_path / "run").Tags()["scalars"]} >= SMALL


# ----------------------------------------------------------------------------------------- when nothing is written


def test_dashboards_can_be_declined(tmp_path):
    fit(tmp_path, tensorboard(tmp_path), callbacks=[energy_callback(dashboards=False)])
    found = events(tmp_path / "run")
    assert "energy/score" in found.Tags()["scalars"]
    assert not [tag for tag in found.Tags()["scalars"] if tag.startswith("energy_axis")]
    assert found.Tags()["tensors"] == []
    assert hparams_tab(tmp_path)[1] == {}


@pytest.mark.parametrize("settings", [{"fast_dev_run": True}, {"barebones": True}], ids=["fast_dev_run", "barebones"])
@pytest.mark.filterwarnings("ignore:.*barebones.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*self.log.*:UserWarning")
def test_a_run_without_loggers_writes_nothing(tmp_path, settings):
    logger = tensorboard(tmp_path) if "fast_dev_run" in settings else None
    names = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "log_every_n_steps")
    unset = dict.fromkeys(names) if "barebones" in settings else {}
    fit(tmp_path, logger, **(settings | unset))
    assert not [*tmp_path.glob("**/events*")]


def test_other_loggers_get_the_logged_names_alone(tmp_path):
    memory, table = MemoryLogger(), CSVLogger(tmp_path)
    fit(tmp_path, [memory, tensorboard(tmp_path), table])
    names = {name for _, values in memory.rows for name in values}
    assert "energy/score" in names
    assert not [name for name in names if name.startswith("energy_axis")]
    header = Path(table.log_dir, "metrics.csv").read_text().splitlines()[0]
    assert "energy/score" in header
    assert "energy_axis" not in header
    assert {*events(tmp_path / "run").Tags()["scalars"]} >= SMALL


def test_a_validation_outside_of_fit_adds_no_point(tmp_path):
    trainer = fit(tmp_path, tensorboard(tmp_path))
    trainer.validate(Classifier(), loader(8), verbose=False)
    trainer.test(Classifier(), loader(8), verbose=False)
    assert len(curve(events(tmp_path / "run"), "energy_axis/accuracy_by_micro_wh")) == 3


def test_without_an_accuracy_there_is_no_curve_but_all_else(tmp_path):
    with pytest.warns(UserWarning, match="no energy/score"):
        fit(tmp_path, tensorboard(tmp_path), Classifier(where="nowhere"))
    found = events(tmp_path / "run")
    assert not [tag for tag in found.Tags()["scalars"] if tag.startswith("energy_axis")]
    assert "Power in W" in charts(found)
    _, rows = hparams_tab(tmp_path)
    assert {v.name.tag for v in rows["run"].metric_values} == {"energy/total_wh"}  # and no 0 for what is not known


def test_of_an_estimate_there_is_no_chart_of_a_power_that_is_not_logged(tmp_path):
    with pytest.warns(UserWarning, match="ESTIMATED"):
        fit(
            tmp_path,
            tensorboard(tmp_path),
            Working(),
            callbacks=[EnergyCallback(meters="estimate", reference_kwh=1e-5)],
        )
    found = events(tmp_path / "run")
    assert "energy/power_w" not in found.Tags()["scalars"]
    assert {"Energy of the training so far in Wh", "Training step in J"} <= {*charts(found)}
    assert "Power in W" not in charts(found)


def points_of(tmp_path, *points: tuple[Metric, float | None], figures: tuple[str, ...]) -> EventAccumulator:
    """What a dashboard of its own leaves, at 1, 2, 3 … Wh."""
    logger = tensorboard(tmp_path)
    dashboard = TensorBoardDashboard(logger)
    dashboard.announce(Configuration(None, {"precision": "16-mixed"}, figures), early=False)
    for wh, (metric, score) in enumerate(points, 1):
        dashboard.point(Point(wh / 1000, metric, score, wh, UNITS[1:2]))
    logger.finalize("success")
    return events(tmp_path / "run")


def test_a_metric_that_is_no_accuracy_is_drawn_as_one(tmp_path):
    values = [(Metric("val_ppl", 30.0, "min", "raw"), None), (Metric("val_ppl", 20.0, "min", "raw"), None)]
    found = points_of(tmp_path, *values, figures=(log_keys.METRIC,))
    assert curve(found, "energy_axis/metric_by_milli_wh") == [(1000, 30.0), (2000, 20.0)]
    assert [tag for tag in found.Tags()["scalars"] if tag.startswith("energy_axis")] == [
        "energy_axis/metric_by_milli_wh"
    ]
    assert {"Metric", "Metric against energy in mWh"} <= {*charts(found)}
    assert not [title for title in charts(found) if "Accuracy" in title or "Score" in title]
    table, _ = hparams_tab(tmp_path)
    assert columns(table) == ["energy/total_wh", "energy/metric"]


def test_percent_is_drawn_as_a_fraction_and_a_score_from_where_it_is(tmp_path):
    values = [(Metric("val_acc", 60.0, scale="percent"), None), (Metric("val_acc", 80.0, scale="percent"), 1.5)]
    found = points_of(tmp_path, *values, figures=(log_keys.ACCURACY, log_keys.SCORE))
    points = curve(found, "energy_axis/accuracy_by_milli_wh")
    assert points == [(1000, pytest.approx(0.6)), (2000, pytest.approx(0.8))]
    assert curve(found, "energy_axis/score_by_milli_wh") == [(2000, 1.5)]
    assert {"Accuracy against energy in mWh", "Score against energy in mWh"} <= {*charts(found)}


def test_a_hyperparameter_of_the_users_takes_the_place_of_ours(tmp_path):
    class Sized(WithHyperparameters):
        def __init__(self, batch_size: int = 4) -> None:
            super().__init__()
            self.save_hyperparameters()

    fit(tmp_path, tensorboard(tmp_path), Sized())
    _, rows = hparams_tab(tmp_path)
    names = {*rows["run"].hparams}
    assert "batch_size" in names
    assert "run/batch_size" not in names
    assert "run/precision" in names


def test_a_faulty_logger_gives_one_warning_and_the_others_all_they_get(tmp_path):
    class Faulty(TensorBoardLogger):
        """A full disk, met at our calls alone."""

        @property
        def experiment(self) -> Any:
            class Writer:
                def __getattr__(self, name: str) -> Any:
                    if name in {"add_scalar", "flush", "close"}:
                        return lambda *args, **kwargs: None
                    raise OSError(28, "No space left on device")

            return Writer()

    faulty, sound = Faulty(tmp_path, name="", version="faulty"), tensorboard(tmp_path)
    with pytest.warns(UserWarning, match="Faulty did not take") as caught:
        trainer = fit(tmp_path, [faulty, sound])
    ours = [str(w.message) for w in caught if "EnergyCallback" in str(w.message)]
    assert ours == [
        "EnergyCallback: Faulty did not take the configuration (OSError: [Errno 28] No space left on device)"
    ]
    assert trainer.current_epoch == 3
    assert len(curve(events(tmp_path / "run"), "energy_axis/accuracy_by_micro_wh")) == 3


def test_no_loggers_no_dashboards():
    assert Dashboards().point(None, "wh", total_kwh=1.0, metric=Metric("val_acc", 0.5), score=1.0) == "wh"


# ----------------------------------------------------------------------------------------- Weights & Biases


def wandb_records(path: Path) -> list[Any]:
    """What wandb keeps of an offline run: protocol buffers in LevelDB's log format (7 bytes of header first)."""
    from wandb.proto import wandb_internal_pb2

    data, offset, records, parts = path.read_bytes(), 7, [], b""
    while offset < len(data):
        left = 32768 - offset % 32768
        if left < 7:  # a record's header never crosses a block
            offset += left
            continue
        if offset + 7 > len(data):
            break
        _, size, kind = struct.unpack_from("<IHB", data, offset)
        if offset + 7 + size > len(data):  # not whole yet
            break
        parts += data[offset + 7 : offset + 7 + size]
        offset += 7 + size
        if kind in {1, 4}:  # a whole record, or the last part of one
            records.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return records


def items(record: Any) -> dict[str, Any]:
    return {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record}


@pytest.mark.filterwarnings("default:::wandb")
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="W&B is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, offline=True, project="p", prefix="night")
    monkeypatch.setenv("WANDB_MODE", "offline")  # the logger sets it for good: put back afterwards
    trainer = fit(tmp_path, logger, WithHyperparameters(8))
    total_wh = trainer.callback_metrics["energy/total_wh"].item()
    wandb.finish()
    file = next(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    until = time.monotonic() + 60  # another process writes it, and finish() does not wait for that
    records = wandb_records(file)
    while not records or records[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < until, "wandb did not finish its file"
        time.sleep(0.05)
        records = wandb_records(file)

    rows = [items(r.history.item) for r in records if r.WhichOneof("record_type") == "history"]
    points = [row for row in rows if "night-energy_axis/accuracy" in row]
    assert [p["night-energy_axis/accuracy"] for p in points] == pytest.approx([0.51, 0.52, 0.53])
    wh = [p["night-energy_axis/total_wh"] for p in points]
    logged = [row["night-energy/total_wh"] for row in rows if "night-energy/total_wh" in row]
    assert wh == pytest.approx(logged)
    assert wh[-1] == pytest.approx(total_wh)
    assert wh == sorted(wh)

    axes = {r.metric.name: r.metric.step_metric for r in records if r.WhichOneof("record_type") == "metric"}
    for figure in ("accuracy", "score"):
        assert axes[f"night-energy_axis/{figure}"] == "night-energy_axis/total_wh"

    config: dict[str, Any] = {}
    for r in records:
        if r.WhichOneof("record_type") == "config":
            config |= items(r.config.update)
        elif r.WhichOneof("record_type") == "run":
            config |= items(r.run.config.update)
    assert config["width"] == 8
    assert config["run"]["parameters"] == 10
    assert config["run"]["batch_size"] == 4

    summary: dict[str, Any] = {}
    for r in records:
        if r.WhichOneof("record_type") == "summary":
            summary |= items(r.summary.update)
    assert summary["night-energy/outcome"] == "completed"
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/**/*.table.json")
    assert as_markdown(trainer.callbacks[0].report, details=True) in json.loads(table.read_text())["data"][0][0]


# ----------------------------------------------------------------------------------------- MLflow


def test_mlflow_in_a_local_folder(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # newer ones prefer a data base
    uri = (tmp_path / "mlruns").as_uri()
    logger = MLFlowLogger(tracking_uri=uri)
    trainer = fit(tmp_path, logger, WithHyperparameters(8))
    trainer.save_checkpoint(tmp_path / "x.ckpt")

    again = MLFlowLogger(tracking_uri=uri, run_id=logger.run_id)  # goes on with the same run
    second = make_trainer(tmp_path, logger=again, callbacks=[energy_callback()], max_epochs=4, precision="bf16-true")
    second.fit(WithHyperparameters(8), loader(), loader(8), ckpt_path=tmp_path / "x.ckpt")

    client = MlflowClient(uri)
    run = client.get_run(logger.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["width"] == "8"
    assert run.data.params["run/parameters"] == "10"
    assert run.data.params["run/batch_size"] == "4"
    assert run.data.params["run/precision"] == "32-true"  # of the start: parameters never change
    assert run.data.tags["energy/outcome"] == "completed"
    assert run.data.metrics["energy/total_wh"] > 0
    points = client.get_metric_history(logger.run_id, "energy_axis/accuracy_by_micro_wh")
    assert [p.value for p in points] == pytest.approx([0.51, 0.52, 0.53, 0.51])
    total = [p.value for p in client.get_metric_history(logger.run_id, "energy/total_wh")]
    assert [p.step for p in points] == [pytest.approx(wh * 1e6, abs=1) for wh in total]
    (report,) = (tmp_path / "mlruns").glob("**/artifacts/energy/report.md")
    assert as_markdown(second.callbacks[0].report, details=True) in report.read_text()


# ----------------------------------------------------------------------------------------- the axis


@given(st.floats(min_value=1e-7, max_value=1e6))
def test_rounding_to_a_step_errs_by_half_a_percent_at_most(first_kwh):
    units = axis_units(first_kwh)
    for unit in units:
        assert unit.steps(first_kwh) * unit.kwh == pytest.approx(first_kwh, rel=0.0051)
    coarser = UNITS[: UNITS.index(units[0])]
    assert not [unit for unit in coarser if unit.steps(first_kwh) >= 100]


@given(st.floats(min_value=1e-7, max_value=1e6), st.floats(min_value=1e-3, max_value=1.0))
def test_a_run_that_costs_up_to_a_thousand_times_less_shares_a_unit(first_kwh, share):
    assert {*axis_units(first_kwh)} & {*axis_units(first_kwh * share)}


@given(st.floats(min_value=0.0, max_value=1e6), st.sampled_from(UNITS))
def test_the_unit_of_the_first_point_stays(total_kwh, unit):
    assert axis_units(total_kwh, unit.name)[0] == unit


@dataclass
class Settings:
    depth: int = 2
    where: Path = Path("x")


def test_values_are_named_and_told_as_lightning_does(tmp_path):
    values = {
        "a": [{"b": 1}, {"c": Namespace(d=2.5)}],
        "settings": Settings(),
        "numpy": np.float32(0.5),
        "tensor": torch.ones(2, 2),
        "inf": math.inf,
        5: None,
    }
    found = flat(values)
    logger = tensorboard(tmp_path)
    logger.log_hyperparams(values)
    logger.finalize("success")
    _, rows = hparams_tab(tmp_path)
    assert found == plain(rows["run"].hparams) | {"inf": math.inf}  # which TensorBoard does not show
    assert flat({"scalar": torch.tensor(3.0)}) == {"scalar": 3.0}  # at which torch's SummaryWriter fails
