"""Replays of records: real ones of real Trainers, and some that were made to be hard."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import EarlyStopping, LambdaCallback

from lightning_energy import EnergyEfficiencyStopping, load_record, whatif
from lightning_energy.comparison.what_if_table import as_csv, markdown
from lightning_energy.results.record import NAME
from lightning_energy.results.write import write_record
from tests.comparison.replays import KWH, VALUES, course
from tests.modules import energy_callback, loader, make_trainer
from tests.records import put
from tests.training.test_efficiency_stopping import Known

DATA = Path(__file__).parents[1] / "data/v1"


class Curve(Known):
    """Learns quickly, then hardly, with some noise."""

    VALUES = (0.5, 0.6, 0.7, 0.75, 0.74, 0.76, 0.75, 0.755, 0.758, 0.765, 0.76, 0.75)

    def value(self) -> float:
        return self.VALUES[min(self.validations, len(self.VALUES)) - 1]


@pytest.mark.filterwarnings("ignore:EnergyCallback. this training will spend")
@pytest.mark.parametrize("monitor", ["val_acc", "energy/score"])
def test_a_replay_stops_where_the_real_stopping_does(tmp_path, monitor):
    """Played on the record of a training without it, then trained with it."""

    def train(name, *callbacks):
        energy = energy_callback(accuracy="val_acc", record=str(tmp_path / name))
        trainer = make_trainer(tmp_path, max_epochs=12, callbacks=[energy, *callbacks])
        trainer.fit(Curve(), loader(8), loader(8))
        return trainer

    train("whole")
    # where the energy is far below the reference, the score goes by the accuracy alone, on any machine
    kind = "metric" if monitor == "val_acc" else "score"
    found = whatif(tmp_path / "whole", rules=kind, patience=(1, 2, 3)).replays
    assert [(r.stops, r.epoch) for r in found] == [(True, 4), (True, 7), (True, 8)]
    trainer = train("stopped", EarlyStopping(monitor, mode="max", patience=2))
    assert trainer.current_epoch - 1 == found[1].epoch


def test_it_stops_where_the_efficiency_stopping_did(tmp_path):
    """One training, judged at each validation and again from its record: at the energies as they were logged."""
    stopping = EnergyEfficiencyStopping(max_kwh_per_point=1e9, patience=2)
    trainer = make_trainer(tmp_path, max_epochs=12, min_epochs=12, callbacks=[
        stopping, energy_callback(accuracy="val_acc", record=str(tmp_path))
    ])  # fmt: skip
    first = []
    trainer.callbacks.append(LambdaCallback(on_validation_end=lambda *_: first.append(stopping.kwh_per_point)))
    trainer.fit(Curve(), loader(8), loader(8))
    prices = [price for price in first[-12:] if price is not None]
    for limit in (*(1.000001 * price for price in prices[:3]), 1e9):  # a record rounds
        (found,) = whatif(tmp_path, rules="efficiency", max_kwh_per_point=limit, window=2).replays
        too_dear = next(i for i, price in enumerate(first[-12:]) if price is not None and price > limit)
        assert (found.stops, found.epoch) == (True, too_dear)


def test_every_rule_on_a_record(tmp_path):
    course(tmp_path / "a", reference_kwh=2.0)
    found = whatif(
        tmp_path, patience=2, alpha=(1, 20), reference_kwh=(2.0, 50), max_kwh_per_point=0.6, window=2, point=0.03125,
        budget_kwh=5,
    )  # fmt: skip
    assert {r.rule: (r.epoch, r.points) for r in found.replays if r.stops} == {
        "EarlyStopping(metric, patience=2)": (5, -1.0),
        "EarlyStopping(score(alpha=1), patience=2)": (4, -1.0),
        "EarlyStopping(score(alpha=1, reference_kwh=50), patience=2)": (5, -1.0),
        "EarlyStopping(score(alpha=20), patience=2)": (5, -1.0),
        "EarlyStopping(score(alpha=20, reference_kwh=50), patience=2)": (5, -1.0),
        "best score(alpha=1)": (2, -3.0),
        "best score(alpha=1, reference_kwh=50)": (3, -1.0),
        "best score(alpha=20)": (6, 0.0),
        "best score(alpha=20, reference_kwh=50)": (6, 0.0),
        "a point for more than 600 Wh": (4, -1.0),
        "budget of 5 kWh": (3, -3.0),
    }
    by_alpha = {r.settings["alpha"]: r.epoch for r in found.replays if r.kind == "best"}
    assert by_alpha == {1.0: 3, 20.0: 6}
    (played,) = found.runs
    assert (played.last_point.kwh, played.last_point.share) == (6.0, 0.375)
    assert played.prices_kwh(0.03125, 2)[2:4] == [3 / 16, 6 / 10]


def test_a_rule_that_stops_nothing_keeps_all_and_saves_nothing(tmp_path):
    course(tmp_path / "a")
    lines = str(whatif(tmp_path, rules="metric", patience=50)).splitlines()
    (rule,) = (line for line in lines if "patience=50" in line)
    kept, energy = f"{max(VALUES):.4f}", f"{KWH[-1]:g}"
    assert rule.split()[2:] == ["its", "end", kept, "+0.0", energy, "kWh", "0", "%"]


def test_a_price_that_is_infinite_is_not_one_that_is_unknown(tmp_path):
    """Plain JSON has no infinity: what is not known in the first two validations is something else than no gain."""
    course(tmp_path, (0.5, 0.5, 0.75, 0.75), (1.0, 2.0, None, 4.0))
    (run,) = whatif(tmp_path, window=1, point=0.25).to_plain()["runs"]
    prices = [(row["kwh_per_point"], row["is_price_infinite"]) for row in run["course"]]
    assert prices == [(None, False), (None, True), (None, False), (None, False)]
    (run,) = whatif(tmp_path, window=3, point=0.25).to_plain()["runs"]
    assert [(row["kwh_per_point"], row["is_price_infinite"]) for row in run["course"]][3] == (3.0, False)


def test_defaults_are_of_the_runs_own(tmp_path):
    course(tmp_path / "a")
    found = whatif(tmp_path, point=0.03125)
    budgets = [r.settings["budget_kwh"] for r in found.replays if r.kind == "budget"]
    limits = [r.settings["max_kwh_per_point"] for r in found.replays if r.kind == "efficiency"]
    assert (budgets, limits) == ([4.0, 8.0, 12.0], [15 / 19, 10 * (15 / 19)])
    assert {r.rule for r in found.replays if r.kind == "best"} == {"best score"}
    assert found.runs[0].caveats == ()


def test_other_metrics_are_played_in_their_own_direction(tmp_path):
    course(tmp_path / "acc")
    course(tmp_path / "ppl", [-v for v in VALUES], name="val_ppl", mode="min", scale="raw")
    course(tmp_path / "pct", [100 * v for v in VALUES], scale="percent")
    found = whatif(tmp_path, rules=("metric", "score"), patience=2, point=0.03125)
    assert {(r.run, r.points) for r in found.replays if r.kind == "metric"} == {
        (n, -1.0) for n in ("acc", "ppl", "pct")
    }
    assert {r.run for r in found.replays if r.kind == "score"} == {"acc", "pct"}
    ppl = next(of for of in found.runs if of.name == "ppl")
    assert ppl.caveats == ("no rules on a score: val_ppl is no accuracy, and scores are made of these",)
    assert {(of.metric, of.n) for of in found.of_rules if of.rule.startswith("EarlyStopping(m")} == {
        ("val_acc", 2), ("val_ppl", 1)
    }  # fmt: skip
    assert "EarlyStopping(metric, patience=2) (val_ppl)" in str(found)
    found = whatif(tmp_path, metric="valid/accuracy")
    assert [of.name for of in found.runs] == ["acc", "pct"]
    (problem,) = found.cannot
    assert problem == (
        f"{tmp_path}/ppl/{NAME} cannot be replayed: its metric is val_ppl, not valid/accuracy: leave the metric out to "
        f"replay each run on its own"
    )


def test_a_score_of_the_users_own_is_played_as_it_was_logged(tmp_path):
    record = load_record(course(tmp_path))
    scores = [3.0, 2.0, 1.0, *[4.0] * 5]
    rows = [replace(row, score=score) for row, score in zip(record.epochs, scores, strict=True)]
    write_record(tmp_path / NAME, replace(record, epochs=rows, score=replace(record.score, formula="mine")))
    found = whatif(tmp_path, rules=("score", "best"), patience=2)
    assert [(r.rule, r.epoch) for r in found.replays] == [("EarlyStopping(mine, patience=2)", 2), ("best mine", 3)]
    (found,) = whatif(tmp_path, rules="best", alpha=5.0).replays
    assert found.rule == "best score"
    (found,) = whatif(tmp_path, rules="best", score="sustainable").replays
    assert found.rule == "best score"


def test_the_published_score_takes_the_first_epoch_past_its_pole(tmp_path):
    course(tmp_path / "past", (0.5, 0.6, 0.7, 0.8), (0.4, 0.8, 1.01, 4.0))
    course(tmp_path / "below", (0.5, 0.6, 0.7, 0.8), (0.1, 0.2, 0.3, 0.4))
    found = whatif(tmp_path, rules="best", score="sustainable")
    assert [(r.run, r.epoch, r.kept) for r in found.replays] == [("past", 2, 0.7)]
    below = next(of for of in found.runs if of.name == "below")
    assert below.caveats == ("no rules on a score: sustainable_accuracy is defined above 1 kWh only",)


def test_a_reference_is_also_a_finished_run(tmp_path):
    file = put(tmp_path / "small", 2.0)
    course(tmp_path / "a")
    (found,) = whatif(tmp_path / "a", rules="best", reference_kwh=file).replays
    assert found.settings["reference_kwh"] == 2.0
    with pytest.raises(ValueError, match="nowhere does not exist.*Give a number of kWh"):
        whatif(tmp_path / "a", reference_kwh="nowhere")


def test_records_that_tell_too_little(tmp_path):
    course(tmp_path / "good")
    put(tmp_path / "no-epochs", 1.0, 0.9)
    put(tmp_path / "no-metric", 1.0, None)
    put(tmp_path / "no-energy", None, 0.9, epochs=(0.9,))
    put(tmp_path / "no-energies", 1.0, 0.9, epochs=(0.8, 0.9))
    put(tmp_path / "wrong-scale", 1.0, 91.0, epochs=(91.0,), epochs_kwh=(1.0,))
    put(tmp_path / "evaluation", 1.0, 0.9, total=None)
    (tmp_path / "truncated").mkdir()
    (tmp_path / "truncated" / NAME).write_text((tmp_path / "good" / NAME).read_text()[:-500])
    found = whatif([tmp_path, tmp_path / "nowhere"])
    assert [of.name for of in found.runs] == ["good"]
    assert [p.partition(":")[0].removeprefix(f"{tmp_path}/").partition("/")[0] for p in found.problems] == [
        "nowhere does not exist", "truncated"
    ]  # fmt: skip
    told = {text.removeprefix(f"{tmp_path}/").partition("/")[0]: text for text in found.cannot}
    assert {name: words in told[name] for name, words in {
        "no-epochs": "its record has no epoch with a value of the metric",
        "no-metric": "it has no metric: log an accuracy in validation",
        "no-energy": "the energy of its training is not known",
        "no-energies": "its record does not know the energy up to any of its epochs",
        "wrong-scale": "read it with scale='percent'",
        "evaluation": "nothing was fitted",
    }.items()} == dict.fromkeys(told, True)  # fmt: skip
    assert len(whatif(tmp_path / "wrong-scale", scale="percent").runs) == 1


@pytest.mark.parametrize("name", ["fit", "resumed", "killed", "ranks", "derived", "running"])
def test_records_of_older_versions(name):
    found = whatif(DATA / name)
    assert found.problems == []
    assert len(found.runs) + len(found.cannot) == 1
    for replay in found.replays:
        assert replay.saved is None or 0 <= replay.saved <= 1
    assert json.loads(json.dumps(found.to_plain(), allow_nan=False))["problems"] == []


def test_a_run_that_is_not_validated_in_every_epoch(tmp_path):
    """A budget is spent in the epoch whose energy reaches it, validated or not: also behind the last validation."""
    values = (None, None, None, 0.5, None, None, None, 0.75, None, None)
    put(tmp_path, 10.0, 0.75, epochs=values, epochs_kwh=tuple(float(n) for n in range(1, 11)))
    found = whatif(tmp_path, rules="budget", budget_kwh=(2.5, 5.5, 8.5, 9.5, 10.0))
    assert [(r.stops, r.epoch, r.kept, r.kwh, r.saved) for r in found.replays] == [
        (True, 2, None, 2.5, 0.75),
        (True, 5, 0.5, 5.5, 0.45),
        (True, 8, 0.75, 8.5, 0.15),
        (True, 9, 0.75, 9.5, 0.05),
        (False, 9, 0.75, 10.0, 0.0),
    ]
    assert str(found).startswith("run: val_acc, best 0.7500 in epoch 7 of 10; ".replace("run", tmp_path.name))


def test_a_value_that_is_not_finite_ends_early_stopping_on_the_metric(tmp_path):
    """As Lightning's check_finite does, in a real training; the score of that validation is missing, and waited for."""

    class Breaks(Known):
        def value(self) -> float:
            return (0.5, 0.6, math.nan, 0.7, 0.8, 0.8)[min(self.validations, 6) - 1]

    for name, stopping in (("whole", []), ("stopped", [EarlyStopping("val_acc", mode="max", patience=5)])):
        energy = energy_callback(accuracy="val_acc", record=str(tmp_path / name))
        trainer = make_trainer(tmp_path, max_epochs=6, callbacks=[energy, *stopping])
        with pytest.warns(match="val_acc=nan is not finite"):
            trainer.fit(Breaks(), loader(8), loader(8))
    assert trainer.current_epoch == 3
    found = whatif(tmp_path / "whole", rules=("metric", "score"), patience=5).replays
    assert [(r.kind, r.stops, r.epoch, r.kept) for r in found] == [
        ("metric", True, 2, pytest.approx(0.6)), ("score", False, 5, pytest.approx(0.8))
    ]  # fmt: skip


def test_epochs_that_were_trained_again_count_once_for_a_stopping(tmp_path):
    """A crash in epoch 4, resumed from the checkpoint of epoch 1: its stopping forgot the first epochs 2, 3."""
    values = (0.5, 0.6, 0.65, 0.7, 0.65, 0.7, 0.75, 0.75, 0.75)
    record = load_record(course(tmp_path, values, tuple(float(n) for n in range(1, 10))))
    places = ((0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6))
    rows = [replace(r, session=s, epoch=e) for r, (s, e) in zip(record.epochs, places, strict=True)]
    write_record(tmp_path / NAME, replace(record, epochs=rows))
    found = whatif(tmp_path, patience=2, max_kwh_per_point=1.0, window=2, budget_kwh=4.5)
    assert [(r.kind, r.stops, r.epoch, r.kwh) for r in found.replays] == [
        ("metric", False, 6, 9.0), ("score", False, 6, 9.0), ("best", True, 4, 7.0), ("efficiency", False, 6, 9.0),
        ("budget", True, 2, 4.5),
    ]  # fmt: skip
    (caveat,) = found.runs[0].caveats
    assert caveat == (
        "it was resumed: the replay supposes that a stopping went on from the state in its checkpoint, so that of the "
        "2 epochs that were trained again the first trainings do not count for it"
    )


def test_constants_that_are_almost_alike_are_rules_of_their_own(tmp_path):
    course(tmp_path / "a")
    course(tmp_path / "b")
    found = whatif(tmp_path, rules=("budget", "best"), budget_kwh=(5.0001, 5.0002), alpha=(1.00000001, 1.00000002))
    assert [(of.rule, of.n) for of in found.of_rules] == [
        ("best score(alpha=1) (alpha=1.00000001)", 2),
        ("best score(alpha=1) (alpha=1.00000002)", 2),
        ("budget of 5 kWh (budget_kwh=5.0001)", 2),
        ("budget of 5 kWh (budget_kwh=5.0002)", 2),
    ]


def test_one_validation_and_energies_that_fall(tmp_path):
    course(tmp_path / "one", (0.5,), (1.0,))
    course(tmp_path / "falls", (0.5, 0.6, 0.6), (3.0, 2.0, 1.0))  # of a damaged record: nothing is sure
    found = whatif(tmp_path)
    assert not any(r.stops for r in found.replays if r.run == "one" and r.kind != "budget")
    falls, one = ({text for text in of.caveats if "contradicts itself" in text} for of in found.runs)
    assert (len(falls), one) == (1, set())
    assert str(found)
    json.dumps(found.to_plain(), allow_nan=False)


def test_a_logged_energy_below_zero_is_not_known(tmp_path):
    """As older releases could log it before a sensor's first update: the energy that was known later counts."""
    file = course(tmp_path)
    rows = load_record(file).epochs
    write_record(file, replace(load_record(file), epochs=[replace(rows[0], logged_total_kwh=-1.0), *rows[1:]]))
    (run,) = whatif(tmp_path, rules="best").runs
    assert run.played.course[0].then_kwh == 1.0
    assert run.replays[0].stops


def test_caveats(tmp_path):
    record = load_record(course(tmp_path, spent={"quality": "estimated"}))
    rows = [replace(row, session=int(row.epoch > 3), total_kwh=None if row.epoch == 1 else row.total_kwh)
            for row in record.epochs][:-1]  # fmt: skip
    write_record(tmp_path / NAME, replace(record, epochs=rows, outcome="interrupted"))
    (of,) = whatif(tmp_path).runs
    assert of.caveats == (
        "it was interrupted: these are its figures up to then",
        "its energies are estimated by a model, not measured: how sure these savings are is not known",
        "2 kWh, 14 % more, were spent after its last epoch and are in none of these figures",
        "it was resumed: the replay supposes that a stopping went on from the state in its checkpoint",
        "the energy up to 1 of 7 validations is not known: rules by energy pass over them",
    )


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        ({"patience": 0}, ValueError, "patience=0: give a whole number"),
        ({"patience": -1}, ValueError, "patience=-1: give a whole number"),
        ({"patience": 1.5}, TypeError, "patience=1.5: give a whole number"),
        ({"window": 0}, ValueError, "window=0: give a whole number"),
        ({"min_delta": -0.1}, ValueError, "min_delta=-0.1: give a finite number from 0 on"),
        ({"min_delta": math.nan}, ValueError, "min_delta=nan: give a finite number from 0 on"),
        ({"min_delta": "0"}, TypeError, "min_delta='0': give a number"),
        ({"point": 0}, ValueError, "point=0: give a finite number above 0"),
        ({"budget_kwh": 0.0}, ValueError, "budget_kwh=0.0: give a finite number above 0"),
        ({"budget_kwh": [1.0, -1.0]}, ValueError, "budget_kwh=-1.0: give a finite number above 0"),
        ({"budget_kwh": math.nan}, ValueError, "budget_kwh=nan: give a finite number above 0"),
        ({"max_kwh_per_point": math.inf}, ValueError, "max_kwh_per_point=inf: give a finite number above 0"),
        ({"alpha": 0}, ValueError, "alpha=0: give a finite number above 0"),
        ({"beta": -5}, ValueError, "beta=-5: give a finite number above 0"),
        ({"reference_kwh": -1}, ValueError, "reference_kwh=-1: give a finite number above 0"),
        ({"score": "sam"}, ValueError, "score='sam': give one of 'penalized', 'sustainable', or omit it"),
        ({"score": "sustainable", "reference_kwh": 2.0}, ValueError, "belongs to score='penalized'"),
        ({"reference_kwh": "run"}, ValueError, "reference_kwh='run' is for a training: give a number of kWh, or the"),
        ({"reference_kwh": "nowhere"}, ValueError, "nowhere does not exist. Give a number of kWh, or the"),
        ({"score": ["penalized"]}, ValueError, "give one of 'penalized', 'sustainable', or omit it"),
        ({"metric": 3}, TypeError, "metric=3: give the name of a logged metric, or omit it"),
        ({"rules": []}, ValueError, "rules: None is no rule: give 'metric'"),
        ({"rules": "luck"}, ValueError, "rules: 'luck' is no rule: give 'metric'"),
        ({"scale": "%"}, ValueError, "scale='%': give one of fraction"),
    ],
)  # fmt: skip
def test_wrong_arguments(tmp_path, wrong, error, match):
    course(tmp_path)
    with pytest.raises(error, match=match):
        whatif(tmp_path, **wrong)


def test_no_path_and_no_run():
    with pytest.raises(ValueError, match="there is no path"):
        whatif([])
    with pytest.raises(TypeError, match="3 is no path"):
        whatif([3])
    with pytest.raises(TypeError, match="None is no path"):
        whatif(None)
    found = whatif("nowhere")
    assert (found.runs, found.limits, found.of_rules) == ([], (), [])
    assert str(found).startswith("There is no run to replay.\nNot replayed: nowhere does not exist")


def test_a_run_without_a_price_of_a_point_says_so(tmp_path):
    course(tmp_path, (0.5, 0.5, 0.25), (1.0, 2.0, 4.0))
    assert whatif(tmp_path, rules="efficiency", max_kwh_per_point=()).runs[0].caveats == ()
    (of,) = whatif(tmp_path, rules="efficiency").runs
    assert (of.replays, of.caveats) == (
        (),
        (
            (
                "no rules on the price of a point: its best value did not rise after the first validation, or the "
                "energy of the first or last one is not known: give max_kwh_per_point"
            ),
        ),
    )


def test_the_energy_of_the_last_epoch_is_not_known(tmp_path):
    course(tmp_path, (0.5, 0.75, 0.75), (1.0, 2.0, None), spent={"energy_j": 4 * 3.6e6})
    (of,) = whatif(tmp_path, rules="budget").runs
    assert of.caveats[0] == (
        "2 kWh, 100 % more, were spent after epoch 1, the last one up to which the energy is known, and are in none of "
        "these figures"
    )


def test_many_runs_are_summed_up(tmp_path):
    for i in range(300):
        course(tmp_path / f"run-{i:03}", VALUES[: 8 - i % 2], KWH[: 8 - i % 2])
    found = whatif(tmp_path, point=0.03125, patience=1, rules=("metric", "budget"), budget_kwh=5.0)
    early, budget = found.of_rules
    assert (early.n, early.n_stops, early.points, early.worst_points) == (300, 300, -1.0, -1.0)
    assert early.saved_kwh == 150 * 6.0 + 150 * 4.0
    assert early.saved == (150 * 6.0 + 150 * 4.0) / (150 * 16.0 + 150 * 14.0)
    assert (budget.points, budget.n_stops) == (-3.0, 300)
    text = str(found)
    assert len(text.splitlines()) < 20
    assert "300 runs are too many for a table each: see --format csv" in text
    rows = [*csv.DictReader(io.StringIO(as_csv(found)))]
    assert len(rows) == 600
    assert rows[1]["budget_kwh"] == "5.0"


def test_a_copy_counts_once_and_unlike_energies_are_not_added(tmp_path):
    """A run and its copy, and one whose joules cover the CPU, too: 16 kWh of a board, and 16 kWh of more than that."""
    for name, run_id, covers in (("a", "1", ("gpu",)), ("copy", "1", ("gpu",)), ("cpu", "2", ("gpu", "package"))):
        course(tmp_path / name, run_id=run_id, scopes=covers)
    found = whatif(tmp_path, rules="budget", budget_kwh=5.0)
    assert [played.name for played in found.runs] == ["a", "copy", "cpu"]
    assert len({of.energies for of in found.of_rules}) == 2
    assert [(of.n, of.saved_kwh) for of in found.of_rules] == [(1, 11.0), (1, 11.0)]
    text = " ".join(str(found).split())
    assert "All 2 runs, without 1 copy or part of one, each rule on each of them" in text
    assert all(f"budget of 5 kWh ({of.energies})" in text for of in found.of_rules)


def test_texts(tmp_path):
    course(tmp_path / "=a|b")
    found = whatif(tmp_path, point=0.03125, patience=2)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 120
    assert "EarlyStopping(metric, patience=2)     epoch 5" in text
    assert (
        "Its last point: 0.8125 was reached in epoch 3, 0.8438 in epoch 6; what lies between took 6 kWh, 38 %" in text
    )
    assert "if a checkpoint of that epoch was written" in text
    assert "A learning rate schedule that depends on the length of the training" in text
    assert markdown(found) == found._repr_markdown_()
    assert "| EarlyStopping(metric, patience=2) | epoch 5 | 0.8125 |" in markdown(found)
    (row, *_) = csv.DictReader(io.StringIO(as_csv(found)))
    assert (row["run"], row["patience"], row["alpha"], row["epoch"]) == ("'=a|b", "2", "", "5")
    assert (float(row["points"]), float(row["saved"])) == (-1.0, 0.25)


def test_a_last_point_after_a_worse_validation(tmp_path):
    """0.625 had been reached in epoch 1 already: what the validation before the best one had is no record."""
    course(tmp_path, (0.5, 0.625, 0.5625, 0.75), (1.0, 2.0, 3.0, 4.0))
    assert "Its last point: 0.5625 was the value of epoch 2, 0.7500 was reached in epoch 3" in str(whatif(tmp_path))


def test_a_picture(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    for name in ("a", "b"):
        course(tmp_path / name)
    figure, ax = whatif(tmp_path / "a", point=0.03125, patience=2).plot()
    assert ax.get_xlabel() == "energy saved in % of the whole training"
    lines = {tuple(line.get_xdata()): [*line.get_ydata()] for line in ax.lines}
    grey = next(ys for xs, ys in lines.items() if len(xs) == 8)
    assert grey == [-19.0, -11.0, -3.0, -1.0, -1.0, -1.0, 0.0, 0.0]
    assert figure.axes == [ax]
    assert ax.get_ylabel().startswith("points given up\n")
    assert [ax.yaxis.get_major_formatter()(value, None) for value in (-1.25, 0.0)] == ["1.25", "0"]
    assert "dearer than its mean" in {name for t in ax.texts for name in t.get_text().split("\n")}
    _, ax = whatif("nowhere").plot()
    assert [t.get_text() for t in ax.texts] == ["no run with a metric and energies"]
    plt.close("all")
