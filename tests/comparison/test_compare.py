from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
from lightning.pytorch.loggers import CSVLogger

import lightning_energy
from lightning_energy import Comparison, compare, energy_penalized_accuracy, load_record, sustainable_accuracy
from lightning_energy.comparison.columns import SORTABLE
from lightning_energy.results.record import NAME
from tests.modules import Classifier, energy_callback, loader, make_trainer
from tests.records import put, record


@pytest.fixture
def folder(tmp_path):
    """Four runs: two on the front, one dominated, one too close to tell."""
    put(tmp_path / "small", 1.0, 0.80)
    put(tmp_path / "large", 20.0, 0.95)
    put(tmp_path / "waste", 40.0, 0.90)
    put(tmp_path / "close", 20.01, 0.94)
    return tmp_path


def names(comparison: Comparison) -> list[str]:
    return [run.name for run in comparison.runs]


def by_name(comparison: Comparison) -> dict:
    return {run.name: run for run in comparison.runs}


def test_front_and_dominations(folder):
    comparison = compare(folder)
    assert names(comparison) == ["small", "large", "close", "waste"]
    assert [run.name for run in comparison.front] == ["small", "large"]
    runs = by_name(comparison)
    assert runs["waste"].dominated_by == runs["close"].dominated_by == ()  # single runs decide nothing
    assert runs["waste"].perhaps_dominated_by == ("large",)
    assert runs["close"].perhaps_dominated_by == ("large",)
    assert runs["close"].caveats == ("behind large by less than the uncertainty of their energies (k=2)",)
    assert not runs["close"].on_front
    assert comparison.problems == comparison.caveats == []


def test_estimates_are_behind_but_never_for_sure(tmp_path):
    estimated = {"quality": "estimated", "u_absolute": 0.01}
    put(tmp_path / "good", 1.0, 0.9, spent=estimated)
    put(tmp_path / "waste", 50.0, 0.8, spent=estimated)
    comparison = compare(tmp_path)
    waste = by_name(comparison)["waste"]
    assert (waste.dominated_by, waste.perhaps_dominated_by, waste.caveats) == ((), ("good",), ())
    assert any("a difference of estimates is decided only" in caveat for caveat in comparison.caveats)
    assert "~ good" in str(comparison)
    assert "<" not in str(comparison)


def test_a_resumed_run_is_not_ranked_against_its_own_beginning(tmp_path):
    put(tmp_path / "begun", 1.0, 0.9, run_id="a")
    put(tmp_path / "resumed", 9.0, 0.8, run_id="a")
    put(tmp_path / "other", 20.0, 0.7, run_id="b")
    runs = by_name(compare(tmp_path))
    assert runs["resumed"].dominated_by == runs["resumed"].perhaps_dominated_by == ()
    assert runs["resumed"].caveats == (
        "it is the same run as begun, resumed or copied: one's energy includes the other's",
    )
    assert runs["other"].perhaps_dominated_by == ("begun",)


def test_scores_have_one_formula(folder):
    comparison = compare([folder], alpha=3, beta=2, reference_kwh=0.5)
    for run in comparison.runs:
        expected = energy_penalized_accuracy(run.metric, run.energy_kwh, 3, 2, 0.5)
        assert run.score == pytest.approx(expected)
    runs = by_name(comparison)
    assert runs["small"].sam is None  # 1 kWh: not defined
    assert runs["large"].sam == pytest.approx(sustainable_accuracy(0.95, 20.0, 3, 2))
    assert str(comparison.formula) == "energy_penalized_accuracy(alpha=3, beta=2, reference_kwh=0.5)"


def test_the_reference_is_the_runs_own_where_they_agree(tmp_path):
    put(tmp_path / "a", reference_kwh=0.25)
    put(tmp_path / "b", 2.0, 0.95, reference_kwh=0.25)
    assert compare(tmp_path).formula.reference_kwh == 0.25
    put(tmp_path / "c", 3.0, 0.96, score_name="my_own")
    assert compare(tmp_path).formula.reference_kwh == 0.25
    put(tmp_path / "d", 4.0, 0.97, reference_kwh=2)
    comparison = compare(tmp_path)
    assert comparison.formula.reference_kwh == 1.0
    assert any("different references (0.25, 2 kWh): here all are scored with 1 kWh" in c for c in comparison.caveats)
    hint = "Choose another with reference_kwh=2 (on the command line: --reference-kwh 2)."
    assert any(caveat.endswith(hint) for caveat in comparison.caveats)
    given = compare(tmp_path, reference_kwh=3.0)
    assert given.formula.reference_kwh == 3.0
    assert not any("different references" in c for c in given.caveats)


@pytest.mark.parametrize(
    ("sort", "reverse", "expected"),
    [
        ("energy_kwh", False, ["small", "large", "close", "waste"]),
        ("energy", True, ["waste", "close", "large", "small"]),
        ("accuracy", False, ["large", "close", "waste", "small"]),
        ("accuracy", True, ["small", "waste", "close", "large"]),
        ("name", False, ["close", "large", "small", "waste"]),
        ("sam", False, ["large", "close", "waste", "small"]),  # what has none comes last
        ("sam", True, ["waste", "close", "large", "small"]),
        ("parameters", False, ["close", "large", "small", "waste"]),  # equals by name
        ("parameters", True, ["close", "large", "small", "waste"]),
    ],
)
def test_sorting(folder, sort, reverse, expected):
    assert names(compare(folder, sort=sort, reverse=reverse)) == expected


@pytest.mark.parametrize("column", SORTABLE)
def test_every_column_sorts_also_what_is_not_known(folder, column):
    put(folder / "nothing", None, None)
    assert {*names(compare(folder, sort=column))} == {"small", "large", "close", "waste", "nothing"}


def test_best_epochs(tmp_path):
    put(tmp_path / "a", 1.0, 0.7, epochs=(0.6, 0.9, 0.7))
    put(tmp_path / "b", 2.0, 0.8)
    assert [run.name for run in compare(tmp_path).front] == ["a", "b"]
    best = compare(tmp_path, epoch="best")
    assert best.runs[0].metric == 0.9
    assert best.runs[1].perhaps_dominated_by == ("a",)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"sort": "colour"}, ValueError, "sort='colour': give one of name, module"),
        ({"epoch": "mean"}, ValueError, "epoch='mean': give one of last, best"),
        ({"scale": "%"}, ValueError, "scale='%': give one of fraction, percent, raw"),
        ({"target": float("nan")}, ValueError, "target=nan: give a finite number, a value of the metric"),
        ({"target": "0.9"}, ValueError, "target='0': give a finite number"),
        ({"reference_kwh": 0}, ValueError, "reference_kwh=0: give a finite number above 0"),
        ({"alpha": "5"}, TypeError, "alpha='5': give a number above 0"),
        ({"paths": []}, ValueError, "there is no path"),
        ({"paths": [1]}, TypeError, "1 is no path"),
    ],
)
def test_wrong_arguments(folder, kwargs, error, match):
    with pytest.raises(error, match=match):
        compare(**({"paths": folder} | kwargs))


@pytest.fixture
def perplexities(tmp_path):
    """Three runs of which less is better: two on the front, one dominated."""
    for name, kwh, value, epochs in (
        ("small", 1.0, 40.0, (90.0, 50.0, 40.0)),
        ("large", 20.0, 20.0, (70.0, 30.0, 20.0)),
        ("waste", 40.0, 30.0, (80.0, 25.0, 30.0)),
    ):
        each_kwh = (kwh / 4, kwh / 2, kwh)
        put(tmp_path / name, kwh, value, name="val_ppl", mode="min", scale="raw", epochs=epochs, epochs_kwh=each_kwh)
    return tmp_path


def test_of_a_perplexity_less_is_better(perplexities):
    comparison = compare(perplexities, sort="metric")
    assert names(comparison) == ["large", "waste", "small"]
    assert names(compare(perplexities, sort="metric", reverse=True)) == ["small", "waste", "large"]
    assert [run.name for run in comparison.front] == ["small", "large"]
    assert by_name(comparison)["waste"].perhaps_dominated_by == ("large",)
    assert {(run.score, run.sam, run.per_kwh) for run in comparison.runs} == {(None, None, None)}
    assert comparison.formula is None
    assert comparison.problems == comparison.caveats == []
    plain = comparison.to_plain()
    assert plain["metric"] == {"name": "val_ppl", "mode": "min", "scale": "raw", "epoch": "last", "targets": []}
    assert (plain["formula"], plain["iso_scores"]) == (None, [])


def test_the_best_epoch_of_a_perplexity(perplexities):
    runs = by_name(compare(perplexities, epoch="best"))
    assert [runs[name].metric for name in ("small", "large", "waste")] == [40.0, 20.0, 25.0]


def test_energy_to_reach_a_value(perplexities):
    comparison = compare(perplexities, target=(30, 5), sort="target")
    assert [(run.name, run.target_kwh) for run in comparison.runs] == [
        ("large", 10.0),
        ("waste", 20.0),
        ("small", None),
    ]
    assert comparison.subject.targets == (30.0, 5.0)
    large = comparison.runs[0].targets
    assert [(result.is_reached, result.kwh, result.over_kwh) for result in large] == [
        (True, 10.0, 5.0),
        (False, None, 20.0),
    ]


def test_a_percentage_to_reach_is_told_from_a_fraction(folder):
    assert compare(folder, target=90).problems == [
        "target=90 is no fraction in [0, 1], as accuracy is shown: give 0.9 for 90 %"
    ]
    assert compare(folder, target=0.9).problems == []
    put(folder / "errors" / "a", 1.0, 12.0, name="val_err", mode="min", scale="percent")
    put(folder / "errors" / "b", 2.0, 11.0, name="val_err", mode="min", scale="percent")
    assert compare(folder / "errors", target=12).problems == [
        "target=12 is no fraction in [0, 1], as val_err is shown: give 0.12 for 12 %"
    ]
    assert compare(folder / "errors", target=0.12).problems == []


def test_a_margin_in_points_is_no_loss_of_a_fraction(tmp_path):
    """Who logs percentages and means a point would have a model dominate that is thirty points worse."""
    for model, kwh, accuracy in (("small", 1.0, 60.0), ("large", 2.0, 90.0)):
        for seed in range(3):
            what = {"hyperparameters": {"model": model}}
            off = (0.0, 0.1, -0.2)[seed]
            put(tmp_path / f"{model}{seed}", kwh + off / 9, accuracy + off, scale="percent", seed=seed, what=what)
    found = compare(tmp_path, margin=1.0)
    assert found.margin == 0.0
    assert [v.kind for v in found.verdicts] == ["cheaper"]
    (problem,) = found.problems
    assert problem.startswith("margin=1: accuracy is shown as a fraction, which loses no more than 1: give 0.01 for 1 ")
    assert problem.endswith("; it counts as 0")
    half = compare(tmp_path, margin=0.5)
    assert (half.margin, [v.kind for v in half.verdicts]) == (0.0, ["cheaper"])
    (problem,) = half.problems
    assert problem.startswith(
        "margin=0.5: accuracy is shown as a fraction, also where percentages were logged: give 0.005 "
    )
    assert compare(tmp_path, margin=0.005).margin == 0.005
    raw = compare(tmp_path, margin=1.0, scale="raw")
    assert (raw.margin, raw.problems) == (1.0, [])


def test_quality_per_kwh(tmp_path):
    put(tmp_path / "a", 0.5, 90.0, scale="percent")
    put(tmp_path / "b", 2.0, 0.8)
    put(tmp_path / "c", 0.0, 0.8)
    comparison = compare(tmp_path, sort="per_kwh")
    assert [(run.name, run.per_kwh) for run in comparison.runs] == [("a", 1.8), ("b", 0.4), ("c", None)]
    put(tmp_path / "r2" / "a", 2.0, 0.5, name="val_r2", scale="raw")
    put(tmp_path / "r2" / "b", 1.0, -0.5, name="val_r2", scale="raw")
    runs = by_name(compare(tmp_path / "r2"))
    assert (runs["a"].per_kwh, runs["b"].per_kwh) == (0.25, None)


def test_metrics_are_never_mixed(folder):
    put(folder / "gpt", 1.0, 0.2, name="val_loss", mode="min", scale="raw")
    comparison = compare(folder, sort="accuracy")
    assert names(comparison) == ["large", "close", "waste", "small", "gpt"]
    assert [run.name for run in comparison.front] == ["small", "large"]
    (problem,) = comparison.problems
    assert problem.startswith(f"{folder}/gpt/energy.json is listed, but not compared: its metric is val_loss (less is")
    gpt = by_name(comparison)["gpt"]
    assert (gpt.metric, gpt.score, gpt.on_front, gpt.dominated_by) == (None, None, False, ())
    chosen = compare(folder, metric="val_loss")
    assert chosen.problems == [f"{folder}/gpt/energy.json is the only run that can be compared: give at least one more"]
    assert [run.name for run in chosen.front] == ["gpt"]


def test_a_wrong_scale_is_corrected(tmp_path):
    """A run of percent that ended before a value above 1 showed it."""
    put(tmp_path / "died", 0.5, 0.6)
    put(tmp_path / "done", 1.0, 71.2, scale="percent")
    before = compare(tmp_path)
    assert by_name(before)["died"].metric == 0.6
    assert by_name(before)["died"].caveats == ("its metric was read as a fraction",)
    assert any("If all were percentages, give scale='percent'" in caveat for caveat in before.caveats)
    after = compare(tmp_path, scale="percent")
    assert {run.name: run.metric for run in after.runs} == pytest.approx({"died": 0.006, "done": 0.712})
    # 5 · 0.712^5 / (1 + lg 2) = 5 · 0.182979 / 1.301030
    assert by_name(after)["done"].score == pytest.approx(0.703209, abs=1e-5)
    assert after.caveats == [
        "All values are read with scale='percent', as was asked for; the records of died say otherwise."
    ]


def test_a_metric_of_no_known_scale_becomes_an_accuracy_when_asked(tmp_path):
    put(tmp_path / "a", 1.0, 0.8, name="val_f1", scale="raw")
    put(tmp_path / "b", 2.0, 0.9, name="val_f1", scale="raw")
    assert compare(tmp_path).formula is None
    comparison = compare(tmp_path, scale="fraction")
    # 5 · 0.8^5 / (1 + lg 2) = 1.6384 / 1.301030
    assert by_name(comparison)["a"].score == pytest.approx(1.259310, abs=1e-5)


def test_a_reference_is_no_subject_of_metrics_without_a_score(perplexities):
    put(perplexities / "tiny", 1e-6, 99.0, name="val_ppl", mode="min", scale="raw", reference_kwh=7)
    assert compare(perplexities).caveats == []


def test_bad_files_are_named_and_the_rest_is_compared(folder):
    good = record().to_plain()
    bad = {
        "truncated": (json.dumps(good)[:500], "is no JSON, or only the beginning of one"),
        "foreign": ('{"loss": 0.1}', "is not a record of lightning-energy"),
        "newer": (json.dumps(good | {"version": 99}), "has version 99, .* upgrade lightning-energy"),
        "damaged": (json.dumps(good | {"total": {"energy_j": 1}}), "is damaged"),
        "nan": (json.dumps(good | {"metric": good["metric"] | {"value": float("nan")}}), "is damaged"),
    }
    for name, (content, _) in bad.items():
        (folder / name).mkdir()
        (folder / name / "energy.json").write_text(content)
    (folder / "bytes").mkdir()
    (folder / "bytes" / "energy.json").write_bytes(b"\xff\xfe\x00")
    put(folder / "no-accuracy", 5.0, None)
    comparison = compare([folder, folder / "nowhere"])
    assert [run.name for run in comparison.front] == ["small", "large"]
    assert len(comparison.runs) == 5
    problems = "\n".join(comparison.problems)
    import re

    for name, (_, reason) in bad.items():
        assert re.search(f"{name}/energy.json {reason}", problems), (name, problems)
    assert f"{folder}/bytes/energy.json is no text file, so no record" in problems
    assert f"{folder}/nowhere does not exist" in problems
    assert f"{folder}/no-accuracy/energy.json is listed, but not compared: it has no metric" in problems
    assert len(comparison.problems) == len(bad) + 3


def test_records_without_a_training_are_no_runs(folder, tmp_path_factory):
    put(folder / "tested", 1.0, 0.99, total=None)
    one = compare(folder)
    assert names(one) == ["small", "large", "close", "waste"]
    assert one.problems == []
    (caveat,) = one.caveats
    assert caveat == (
        f"{folder}/tested/energy.json is left out, as it is of validations, tests or predictions alone: "
        f"nothing was fitted"
    )
    put(folder / "predicted", 1.0, None, total=None)
    two = "2 records of validations, tests or predictions alone are left out: nothing was fitted"
    assert compare(folder).caveats == [two]
    alone = tmp_path_factory.mktemp("alone")
    put(alone, 1.0, 0.99, total=None)
    assert compare(alone).runs == []
    assert [problem.partition(", as it is")[0] for problem in compare(alone).problems] == [
        f"{alone}/energy.json is left out"
    ]


def test_one_run_and_none(tmp_path):
    file = put(tmp_path / "a", 1.0, 0.9)
    comparison = compare(str(file))
    assert names(comparison) == ["a"]
    assert comparison.problems == [f"{file} is the only run that can be compared: give at least one more"]
    assert comparison.front == comparison.runs
    (tmp_path / "empty").mkdir()
    nothing = compare(tmp_path / "empty")
    assert nothing.runs == nothing.front == []
    assert str(nothing).startswith("There is no run to compare.\nNot compared: ")
    assert nothing.to_plain()["iso_scores"] == []


def test_no_energy_at_all_has_no_place_in_a_picture(tmp_path):
    put(tmp_path / "zero", 0.0, 0.5)
    put(tmp_path / "one", 1.0, 0.9)
    comparison = compare(tmp_path)
    assert [run.name for run in comparison.front] == ["zero", "one"]
    assert [run.name for run in comparison.drawable] == ["one"]
    assert any("0 kWh has no place" in caveat for caveat in comparison.caveats)


def test_plain_types(folder):
    put(folder / "no-accuracy", 5.0, None)
    plain = compare(folder).to_plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["formula"] == {"name": "energy_penalized_accuracy", "alpha": 5.0, "beta": 5.0, "reference_kwh": 1.0}
    assert plain["front"] == ["small", "large"]
    promised = {
        "name", "path", "module", "parameters", "outcome", "metric", "metric_name", "mode", "scale", "energy_kwh",
        "u_kwh", "quality", "duration_s", "power_w", "sample_j", "target_kwh", "per_kwh", "sam", "score", "on_front",
        "dominated_by", "caveats", "hardware", "covers",
    }  # fmt: skip
    assert all(promised <= {*row} for row in plain["runs"])
    assert all({*line} == {"score", "points"} for line in plain["iso_scores"])
    unscored = next(row for row in plain["runs"] if row["name"] == "no-accuracy")
    assert unscored["metric"] is unscored["score"] is None


def test_pandas(folder):
    pytest.importorskip("pandas")
    put(folder / "no-accuracy", 5.0, None)
    frame = compare(folder, sort="name").to_pandas()
    assert [*frame["name"]] == ["close", "large", "no-accuracy", "small", "waste"]
    assert frame["metric"].isna().tolist() == [False, False, True, False, False]
    assert frame.loc[frame["on_front"], "energy_kwh"].sum() == pytest.approx(21.0)


@pytest.mark.parametrize(("module", "use"), [("pandas", Comparison.to_pandas), ("matplotlib", Comparison.plot)])
def test_a_package_that_is_not_there_is_named(folder, monkeypatch, module, use):
    """By its own name, which can be installed whether this package is published or not."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install {module}$"):
        use(compare(folder))


def test_what_a_notebook_shows(folder):
    shown = compare([folder, "nowhere"])._repr_markdown_()
    assert "| small | 0.8000 | 1 |" in shown
    assert "- Not compared: nowhere does not exist" in shown


def test_runs_that_were_trained(tmp_path):
    """What a real Trainer leaves is what is compared."""
    spent = {}
    for name in ("one", "two"):
        energy = energy_callback(reference_kwh=0.125)
        logger = CSVLogger(tmp_path, name="", version=name)
        trainer = make_trainer(tmp_path, logger=logger, callbacks=[energy], max_epochs=1 if name == "one" else 2)
        trainer.fit(Classifier(), loader(128), loader(8))
        spent[name] = energy.report
    comparison = compare(tmp_path)
    assert comparison.formula.reference_kwh == 0.125
    runs = by_name(comparison)
    for name, report in spent.items():
        assert runs[name].energy_kwh == report.total.energy_kwh
        assert runs[name].metric == report.metric.value
        at_its_end = energy_penalized_accuracy(report.metric.value, report.total.energy_kwh, reference_kwh=0.125)
        assert runs[name].score == pytest.approx(at_its_end)
        # which was scored at the last validation, before the end, with what its last milliseconds were supposed to take
        assert runs[name].score <= report.score * 1.001
        assert runs[name].sample_j == report.sample_j is not None
    assert runs["one"].source.sensors == runs["two"].source.sensors != ""
    assert comparison.problems == []
    first = load_record(tmp_path / "two").epochs[0]
    reached = by_name(compare(tmp_path, target=first.metric))["two"]
    assert reached.target_kwh == first.total_kwh
    assert 0 < reached.target_kwh < reached.energy_kwh


def test_many_runs(tmp_path):
    """How long a thousand take is seen with their epochs: see test_more_pictures.py."""
    for i in range(200):
        made = record(0.1 + (i * 7919 % 1000) / 10, 0.5 + (i * 104_729 % 997) / 2000)
        folder = tmp_path / f"run{i:04d}" / "version_0"
        folder.mkdir(parents=True)
        (folder / NAME).write_text(json.dumps(made.to_plain()))  # not one by one onto the disk, as runs are
    comparison = compare(tmp_path)
    text, plain = str(comparison), comparison.to_plain()
    grouped = compare(tmp_path, by=lambda run: run.name[:-1])
    assert len(grouped.groups) == 20
    assert len(grouped.verdicts) == 19 * 10
    assert "dominated by" in str(grouped)
    assert len(plain["runs"]) == 200
    assert text.count("* on it") == len(comparison.front)
    assert 1 < len(comparison.front) < 100


def test_the_public_names():
    assert lightning_energy.compare is compare
    assert lightning_energy.Comparison is Comparison


def test_a_run_is_a_value(folder):
    one, again = compare(folder).runs[0], compare(folder).runs[0]
    assert one == again
    assert replace(one, metric=0.1) != one


def test_the_page_shows_what_the_table_does(folder):
    comparison = compare(folder)
    page = comparison.to_html(title="Four runs")
    assert "<title>Four runs</title>" in page
    for run in comparison.runs:
        assert f'<bdi dir="auto">{run.name}</bdi>' in page
        assert f"{run.score:.3f}" in page
    assert 'by the meter: <bdi dir="auto">large</bdi>' in page
    assert "behind large by less than the uncertainty of their energies" in page


def test_single_runs_are_told_apart_in_samples_and_repeats_are_not(tmp_path):
    put(tmp_path / "a", 1.0, 0.90, n_val=540)
    put(tmp_path / "b", 2.0, 0.85, n_val=540)
    for seed in (1, 2):
        put(tmp_path / f"c{seed}", 3.0, 0.80, n_val=540, seed=seed, what={"hyperparameters": {"lr": 0.1}})
    comparison = compare(tmp_path)
    assert [group.n for group in comparison.groups] == [1, 1, 2]
    told = {run.name: [c for c in run.caveats if "samples of 540" in c] for run in comparison.runs}
    assert [caveat.partition(";")[0] for caveat in told["b"]] == ["a is better by 27 samples of 540"]
    assert told["a"] == told["c1"] == told["c2"] == []
