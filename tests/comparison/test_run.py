from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger

from lightning_energy import compare
from lightning_energy.comparison import run as runs_module
from lightning_energy.comparison.run import NothingFittedError, Run, run_of
from lightning_energy.results.notes import Note, NoteKind
from lightning_energy.results.read import RecordError
from lightning_energy.results.record_ranks import rank_file
from lightning_energy.results.rows import SessionRow
from lightning_energy.results.write import write_record
from tests.modules import Classifier, energy_callback, loader, make_trainer
from tests.records import energy, put, record

if TYPE_CHECKING:
    from pathlib import Path


def read(tmp_path: Path, *args, choice="last", **kwargs) -> Run:
    return run_of(put(tmp_path, *args, **kwargs), "name", choice)


def test_the_figures_of_a_record(tmp_path):
    run = read(tmp_path, 2.0, 0.9, scopes=("gpu", "package"), run_id="abc", reference_kwh=0.25)
    assert (run.metric, run.metric_name, run.mode, run.scale) == (0.9, "val_acc", "max", "fraction")
    assert run.energy_kwh == pytest.approx(2.0)
    assert run.u_kwh == pytest.approx(0.1)
    assert run.u_repeat_kwh == pytest.approx(0.002)
    assert (run.quality, run.duration_s, run.power_w) == ("measured", 3600.0, pytest.approx(2000.0))
    assert (run.sample_j, run.module, run.parameters) == (0.002, "my.models.Net", 1234)
    assert run.covers == "gpu + package"
    assert run.hardware == "NVIDIA A100, driver 550.54, AMD EPYC 7742 with 64 threads"
    assert run.caveats == ()
    assert run.is_comparable
    assert (run.source.run_id, run.source.reference_kwh, run.source.slack_kwh) == ("abc", 0.25, 0.0)


def test_its_energy_is_that_of_all_sessions(tmp_path):
    run = read(tmp_path, 2.0, session=energy(0.5), total=energy(7.0), sessions=3)
    assert run.energy_kwh == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("choice", "last", "epochs", "expected"),
    [
        ("last", 0.8, (0.5, 0.9, 0.8), 0.8),
        ("best", 0.8, (0.5, 0.9, 0.8), 0.9),
        ("best", 0.95, (0.5, None), 0.95),  # validated in the middle of an epoch
        ("last", 1.0005, (), 1.0),  # a mean in bfloat16
    ],
)
def test_last_and_best_accuracy(tmp_path, choice, last, epochs, expected):
    assert read(tmp_path, 1.0, last, epochs=epochs, choice=choice).metric == expected


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"accuracy": None}, r"it has no metric: .*EnergyCallback\(metric=…\)"),
        ({"accuracy": None, "epochs": (0.9,)}, "does not name its metric, as its last session validated nothing"),
        ({"accuracy": 91.2}, "its val_acc=91.2 is no fraction in .* if it is a percentage, .*scale='percent'"),
        ({"accuracy": 0.9, "epochs": (91.2,)}, "its val_acc=91.2 is no fraction in .* if it is a percentage"),
        ({"accuracy": 910.0}, "its val_acc=910 is no fraction in .* if it is no accuracy, read it with scale='raw'"),
        ({"accuracy": -0.3}, "its val_acc=-0.3 is no fraction in .* if it is no accuracy"),
        ({"accuracy": 130.0, "scale": "percent"}, r"its val_acc=130 is no percentage in \[0, 100\]: .*scale='raw'"),
        ({"kwh": None}, "energy of its training is not known"),
    ],
)
def test_what_it_lacks_is_told_and_nothing_is_invented(tmp_path, settings, reason):
    import re

    run = read(tmp_path, **settings)
    assert not run.is_comparable
    assert any(re.search(reason, caveat) for caveat in run.caveats)
    assert run.source.lacks == run.caveats
    assert run.score is None


def test_values_that_are_refused_are_in_no_course(tmp_path):
    """One that logged percentages as fractions would be 50 times the best of all others in areas and hypervolume."""
    of_percentages = {"epochs": (50.0, 91.2), "epochs_kwh": (0.5, 1.0), "accuracy": 91.2}
    assert read(tmp_path, **of_percentages).source.course == ()
    assert [v.value for v in read(tmp_path, scale="percent", **of_percentages).source.course] == [0.5, 0.912]


NAN = "val_acc=nan is not finite"


@pytest.mark.parametrize("is_older", [False, True])
def test_a_run_that_diverged_is_not_compared_by_the_last_value_before(tmp_path, is_older):
    made = record(1.0, 0.5, epochs=(0.5, None), no_score=NAN if is_older else "")
    rows = [made.epochs[0], replace(made.epochs[1], no_metric=None if is_older else NAN)]
    write_record(tmp_path / "energy.json", replace(made, epochs=rows))
    why = NAN if is_older else f"in epoch 1 {NAN}"
    last = run_of(tmp_path / "energy.json", "x")
    assert (last.metric, last.source.lacks) == (None, last.caveats)
    best = "its best epoch has one, epoch='best' (on the command line: --epoch best)"
    assert last.caveats == (f"its last validation has no metric, as {why}: {best}",)
    best = run_of(tmp_path / "energy.json", "x", "best")
    assert best.metric == 0.5
    assert best.caveats == (f"its last validation has no metric, as {why}: this is the best before it",)


def test_later_validations_without_the_metric_are_told(tmp_path):
    made = record(1.0, 0.5, epochs=(0.5, None, None))
    rows = [replace(row, val_s=2.0 if row.epoch < 2 else 0.0) for row in made.epochs]
    write_record(tmp_path / "energy.json", replace(made, epochs=rows))
    run = run_of(tmp_path / "energy.json", "x")
    assert run.metric == 0.5
    assert run.caveats == ("its metric is of epoch 0: its validations since then, up to epoch 1, have none",)


def test_a_run_that_never_had_a_finite_metric_is_not_told_to_log_one(tmp_path):
    made = record(1.0, None, epochs=(None,))
    write_record(tmp_path / "energy.json", replace(made, epochs=[replace(made.epochs[0], no_metric=NAN)]))
    run = run_of(tmp_path / "energy.json", "x")
    assert run.caveats == (f"its last validation has no metric, as in epoch 0 {NAN}",)


def test_an_evaluation_is_no_run(tmp_path):
    with pytest.raises(NothingFittedError, match="of validations, tests or predictions alone: nothing was fitted"):
        read(tmp_path, total=None)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"accuracy": 91.2, "scale": "percent"}, 0.912),
        ({"accuracy": 100.05, "scale": "percent"}, 1.0),  # a mean in bfloat16
        ({"accuracy": 23.5, "name": "val_ppl", "mode": "min", "scale": "raw"}, 23.5),
        ({"accuracy": -0.5, "name": "val_r2", "scale": "raw"}, -0.5),
        ({"accuracy": 130.0, "name": "val_wer", "mode": "min", "scale": "percent"}, 1.3),
        ({"accuracy": 1.3, "name": "val_wer", "mode": "min"}, 1.3),
    ],
)
def test_fractions_and_percentages_are_fractions_and_others_what_was_logged(tmp_path, settings, expected):
    run = read(tmp_path, **settings)
    assert run.metric == expected
    assert run.is_comparable
    assert (run.mode, run.scale) == (settings.get("mode", "max"), settings.get("scale", "fraction"))


def test_the_best_epoch_of_a_loss_is_the_least(tmp_path):
    loss = {"name": "val_loss", "mode": "min", "scale": "raw", "epochs": (0.9, 0.2, 0.4)}
    assert read(tmp_path, 1.0, 0.4, **loss).metric == 0.4
    assert read(tmp_path, 1.0, 0.4, choice="best", **loss).metric == 0.2


@pytest.mark.parametrize(
    ("value", "recorded", "given", "expected"),
    [
        (91.2, "fraction", "percent", 0.912),
        (0.6, "fraction", "percent", 0.006),
        (0.9, "raw", "fraction", 0.9),
        (23.5, "percent", "raw", 23.5),
        (0.9, "percent", None, 0.009),
    ],
)
def test_a_scale_that_is_given_corrects_the_record(tmp_path, value, recorded, given, expected):
    run = run_of(put(tmp_path, 1.0, value, scale=recorded), "x", scale=given)
    assert run.metric == pytest.approx(expected)
    assert (run.scale, run.source.scale) == (given or recorded, recorded)


@pytest.mark.parametrize(
    ("settings", "target", "expected"),
    [
        ({"epochs": (0.5, 0.91, 0.95)}, 0.9, 0.2),
        ({"epochs": (0.5, 0.91, 0.95)}, 0.96, None),
        ({"epochs": (0.5, 0.8999999762, 0.95)}, 0.9, 0.2),  # 0.9 in single precision
        ({"epochs": (0.5, 0.8999, 0.95)}, 0.9, 0.3),
        ({"epochs": (0.5, 7.0, 30.0), "accuracy": 30.0, "scale": "percent"}, 0.07, 0.2),
        ({"epochs": (90.0, 24.9, 20.0), "accuracy": 20.0, "mode": "min", "scale": "raw"}, 25, 0.2),
        ({"epochs": (90.0, 25.0000001, 20.0), "accuracy": 20.0, "mode": "min", "scale": "raw"}, 25, 0.2),
        ({"epochs": (-3.0, -1.0, 0.1), "accuracy": 0.1, "scale": "raw"}, -1.0, 0.2),
        ({"epochs": (None, 0.95)}, 0.9, 0.2),
        ({"epochs": ()}, 0.9, None),  # validated in the middle of an epoch: its energy then is not known
        ({"epochs": (0.95,), "epochs_kwh": (None,)}, 0.9, None),
    ],
)
def test_energy_to_reach_a_value(tmp_path, settings, target, expected):
    settings = {"epochs_kwh": (0.1, 0.2, 0.3), "accuracy": 0.95} | settings
    assert run_of(put(tmp_path, 0.4, **settings), "x", targets=[target]).target_kwh == expected


def test_runs_that_did_not_end(tmp_path, monkeypatch):
    assert read(tmp_path, outcome="interrupted").caveats == ("it was interrupted: these are its figures up to then",)
    file = put(tmp_path, outcome="running")
    assert run_of(file, "x", "last").caveats == ("it is running: these are its figures so far",)
    now = time.time()
    monkeypatch.setattr(runs_module.time, "time", lambda: now + 7200)
    (caveat,) = run_of(file, "x", "last").caveats
    assert "nothing was written for 120 min, so it was killed, or its epochs are long" in caveat


def test_missing_time_and_absent_ranks(tmp_path):
    run = read(tmp_path, 2.0, spent={"missing_s": 36.0, "power_w": 2000.0})
    assert run.caveats == ("the energy of 36.00 s of 1.00 h is missing: it spent more than this",)
    assert run.source.slack_kwh == pytest.approx(36 * 2000 / 3.6e6)
    notes = [Note("incomplete", "Incomplete: these are the figures of rank 0 alone")]
    notes.append(Note("unresolved", "GPU: steps are unresolved"))
    file = tmp_path / "other" / "energy.json"
    write_record(file, record(ranks=4, absent_ranks=3, notes=notes, outcome="running"))
    run = run_of(file, "x", "last")
    assert run.source.slack_kwh == float("inf")
    assert any(caveat.startswith("Incomplete: 3 rank(s) left no record") for caveat in run.caveats)
    assert not any("unresolved" in caveat for caveat in run.caveats)
    for kind in ("killed_session", "unknown_before", "after_checkpoint"):
        write_record(file, record(notes=[Note(kind, "Nobody knows by how much the total is too low")]))
        run = run_of(file, "x", "last")
        assert run.source.slack_kwh == float("inf")
        assert run.caveats == ("Nobody knows by how much the total is too low",)


@pytest.mark.parametrize("kind", get_args(NoteKind))
def test_notes_are_chosen_by_their_kind(tmp_path, kind):
    """Whatever their words: those that say that the total is too low, and that the sensor may be wrong."""
    run = read(tmp_path, notes=[Note(kind, "some words")])
    matters = {"incomplete", "killed_session", "unknown_before", "after_checkpoint", "gave_up", "sensor", "aliasing"}
    assert run.caveats == (("some words",) if kind in matters else ())


def test_a_run_of_ranks_that_broke_off_is_put_together(tmp_path):
    file = put(tmp_path, 1.0, run_id="a", ranks=2, absent_ranks=1, outcome="interrupted")
    write_record(rank_file(file, 1), record(2.0, run_id="a", rank=1, outcome="interrupted"))
    run = run_of(file, "x", "last")
    assert run.energy_kwh == pytest.approx(3.0)
    assert run.hardware.startswith("2 x NVIDIA A100")
    with pytest.raises(RecordError, match="the record of rank 1 alone: give rank zero's record beside it"):
        run_of(rank_file(file, 1), "x", "last")


def test_a_gain_cancels_only_where_all_sessions_had_the_same_sensors(tmp_path):
    """A run that went on elsewhere has the gains of two sensors."""
    own = record()
    elsewhere = replace(own.devices[0], device_id="GPU-2")

    def sensors(*of_sessions) -> str:
        rows = [SessionRow(float(i), "completed", energy(1.0), devices=d) for i, d in enumerate(of_sessions)]
        write_record(tmp_path / "energy.json", replace(own, sessions=rows))
        return run_of(tmp_path, "a").source.sensors

    same = sensors(own.devices)
    assert same == sensors(own.devices, own.devices) != ""
    assert same == sensors((), own.devices)  # as far as it says
    assert sensors((elsewhere,), own.devices) == ""


def test_sensors_are_the_same_only_as_far_as_records_tell(tmp_path):
    def sensors(**kwargs) -> str:
        return read(tmp_path, **kwargs).source.sensors

    assert sensors() == sensors(kwh=7.0, accuracy=0.1)
    assert len({sensors(), sensors(device="GPU-2"), sensors(where={"nvidia_driver": "560"})}) == 3
    assert sensors(ranks=2) == sensors(ranks=2) != ""
    for outcome in ("running", "interrupted", "completed"):  # given up, a record tells the devices of rank zero alone
        alone = {"ranks": 2, "outcome": outcome, "spent": {}, "session": energy(2.0)}
        assert sensors(**alone) == ""
        assert read(tmp_path, **alone).hardware.startswith("2 ranks, the first with NVIDIA A100, driver")
    assert sensors(ranks=2, absent_ranks=1, outcome="interrupted") == ""
    assert sensors(ranks=2, kwh=None, total=energy(1.0)) == ""  # of an earlier session: this one's is not known
    assert sensors(devices=[]) == ""


def test_several_boards_and_none(tmp_path):
    file = tmp_path / "two.json"
    write_record(file, record(scopes=("gpu", "board")))
    assert run_of(file, "x", "last").hardware.startswith("2 x NVIDIA A100, driver")
    run = read(tmp_path, devices=[], where={"nvidia_driver": None})
    assert run.hardware == "AMD EPYC 7742 with 64 threads"
    assert run.covers == "unknown parts"


def test_a_score_of_ones_own_has_no_reference(tmp_path):
    assert read(tmp_path, score_name="my_score").source.reference_kwh is None
    assert read(tmp_path, accuracy=None).source.reference_kwh is None


def test_names_from_a_record_cannot_move_the_cursor(tmp_path):
    run = read(tmp_path, name="val\x1b[2J", board="GPU\n")
    assert run.metric_name.isprintable()
    assert run.hardware.isprintable()


def change(path: str, value):
    def apply(r: dict) -> None:
        *keys, last = path.split(".")
        for key in keys:
            r = r[key]
        r[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metric.value", "0.9"),
        ("metric.value", float("nan")),
        ("metric.value", True),
        ("total.energy_j", float("inf")),
        ("total.energy_j", -1.0),
        ("total.energy_j", "many"),
        ("total.u_absolute_j", None),
        ("total.quality", 3),
        ("score.formula", "energy_penalized_accuracy(reference_kwh=zero)"),
        ("score.formula", "energy_penalized_accuracy(reference_kwh=0)"),
        ("what", None),
        ("where", []),
        ("epochs", [{}]),
        ("samples.mean_j", [1]),
        ("ranks", "two"),
        ("updated_unix_s", None),
        ("what", {"parameters": -3}),
    ],
)
def test_a_damaged_record_is_named(tmp_path, path, value):
    damaged = record(outcome="running").to_plain()
    change(path, value)(damaged)
    file = tmp_path / "energy.json"
    file.write_text(json.dumps(damaged))
    with pytest.raises(RecordError, match="damaged") as error:
        run_of(file, "x", "last")
    assert str(file) in str(error.value)


def test_json_without_end_and_files_that_cannot_be_read(tmp_path):
    file = tmp_path / "energy.json"
    file.write_text("[" * 200_000)
    with pytest.raises(RecordError, match=r"energy\.json"):
        run_of(file, "x", "last")
    with pytest.raises(RecordError, match="cannot be read"):
        run_of(tmp_path / ("x" * 300), "x", "last")


def test_energy_per_unit_of_the_users_own(tmp_path):
    """Two kWh are 7.2 MJ."""
    units = {"train": {"samples": 1000, "tokens": 3_600_000, "frames": None}, "test": {"samples": 5, "words": 9}}
    assert read(tmp_path, 2.0, units=units).unit_j == {"tokens": 2.0, "frames": None}
    assert read(tmp_path, 2.0).unit_j == {}


def test_a_record_from_before_samples_were_counted(tmp_path):
    run = read(tmp_path, samples=None, sample_j=None)
    assert run.sample_j is None
    assert run.is_comparable


TEN_AT_ONCE = {"batch_size": 10, "data_parallel_replicas": 1, "accumulate_grad_batches": 2}  # 50 steps


@pytest.mark.parametrize(
    ("what", "stopped_after"),
    [
        ({"max_epochs": 5, "max_steps": -1}, 2),
        ({"max_epochs": 2, "max_steps": -1}, None),
        ({"max_epochs": 5, "max_steps": 40}, None),
        ({"max_epochs": -1, "max_steps": -1}, 2),  # also what Trainer(max_time=…) alone records
        ({"max_epochs": -1, "max_steps": 40}, None),
        ({"max_epochs": -1, "max_steps": 40} | TEN_AT_ONCE, None),
        ({"max_epochs": -1, "max_steps": 60} | TEN_AT_ONCE, 2),
        ({"max_epochs": 5, "max_steps": 60} | TEN_AT_ONCE, 2),
        ({"max_epochs": 2, "max_steps": 60} | TEN_AT_ONCE, None),
        ({"max_epochs": 0, "max_steps": -1}, None),
        ({"max_epochs": None, "max_steps": -1}, None),
        ({}, None),
    ],
)
def test_a_training_that_stopped_early_is_known_as_such(tmp_path, what, stopped_after):
    """Of two epochs, and a thousand samples: fewer than were allowed, unless a number of steps may have ended them."""
    run = run_of(put(tmp_path, 1.0, 0.8, what=what, epochs=(0.7, 0.8)), "a")
    assert run.source.stopped_after == stopped_after


@pytest.mark.parametrize(
    ("epochs", "stop_step"),
    [
        ((0.7, 0.8), 1),
        ((None, None, 0.7, None, None, 0.8), 3),  # check_val_every_n_epoch=3
        ((None, None, 0.7), 3),
        ((None, None, 0.7, None), 1),  # it did not end at a validation
        ((None, None), 1),
    ],
)
def test_a_training_that_validates_seldom_stops_in_steps_of_several_epochs(tmp_path, epochs, stop_step):
    run = run_of(put(tmp_path, 1.0, 0.8, what={"max_epochs": 9, "max_steps": -1}, epochs=epochs), "a")
    assert (run.source.stopped_after, run.source.stop_step) == (len(epochs), stop_step)


@pytest.mark.parametrize(
    ("limits", "stopped_after"),
    [
        ({"max_epochs": -1}, 3),
        ({"max_epochs": -1, "max_time": {"hours": 1}}, 3),
        ({"max_epochs": 9}, 3),
        ({"max_epochs": 3}, None),
        ({"max_epochs": -1, "max_steps": 24}, None),  # 8 batches an epoch
        ({"max_epochs": -1, "max_steps": 900}, 3),
    ],
)
def test_a_training_without_a_limit_of_epochs_is_known_to_have_been_stopped(tmp_path, limits, stopped_after):
    """``EarlyStopping``, of which the third validation is the second without a gain, or the limit itself."""
    stop = EarlyStopping("val_acc", mode="max", patience=2, min_delta=1.0, verbose=False)
    measured = energy_callback(accuracy="val_acc")
    trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path), callbacks=[measured, stop], **limits)
    trainer.fit(Classifier(), loader(), loader(8))
    (found,) = compare(tmp_path).runs
    assert found.outcome == "completed"
    assert (found.source.stopped_after, found.source.epochs) == (stopped_after, 3)
