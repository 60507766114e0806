from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import pytest
from lightning.pytorch.loggers import CSVLogger

import lightning_energy
from lightning_energy import Comparison, compare, energy_penalized_accuracy, sustainable_accuracy
from lightning_energy.comparison.columns import SORTABLE
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
    assert runs["waste"].dominated_by == ("large",)
    assert runs["close"].dominated_by == ()
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
    assert any("no estimated run is dominated for sure" in caveat for caveat in comparison.caveats)
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
    assert runs["other"].dominated_by == ("begun",)


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
    put(folder / "nothing", None, None, total=None)
    assert {*names(compare(folder, sort=column))} == {"small", "large", "close", "waste", "nothing"}


def test_best_epochs(tmp_path):
    put(tmp_path / "a", 1.0, 0.7, epochs=(0.6, 0.9, 0.7))
    put(tmp_path / "b", 2.0, 0.8)
    assert [run.name for run in compare(tmp_path).front] == ["a", "b"]
    best = compare(tmp_path, epoch="best")
    assert best.runs[0].metric == 0.9
    assert best.runs[1].dominated_by == ("a",)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"sort": "colour"}, ValueError, "sort='colour': give one of name, module"),
        ({"epoch": "mean"}, ValueError, "epoch='mean': give one of last, best"),
        ({"scale": "%"}, ValueError, "scale='%': give one of fraction, percent, raw"),
        ({"reach": float("nan")}, ValueError, "reach=nan: give a finite number, a value of the metric"),
        ({"reach": "0.9"}, ValueError, "reach='0.9': give a finite number"),
        ({"reference_kwh": 0}, ValueError, "reference_kwh=0: give a finite number above 0"),
        ({"alpha": "5"}, TypeError, "alpha='5': give a number above 0"),
        ({"paths": []}, ValueError, "there is no path"),
        ({"paths": [1]}, TypeError, "1 is no path"),
    ],
)
def test_wrong_arguments(folder, kwargs, error, match):
    with pytest.raises(error, match=match):
        compare(**({"paths": folder} | kwargs))


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
        "u_kwh", "quality", "duration_s", "power_w", "sample_j", "reach_kwh", "per_kwh", "sam", "score", "on_front",
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


@pytest.mark.parametrize(
    ("module", "use", "extra"), [("pandas", Comparison.to_pandas, "pandas"), ("matplotlib", Comparison.plot, "plot")]
)
def test_an_extra_that_is_not_there_is_named(folder, monkeypatch, module, use, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf'pip install "lightning-energy\[{extra}\]"'):
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


@pytest.mark.slow
def test_a_thousand_runs(tmp_path):
    for i in range(1000):
        put(tmp_path / f"run{i:04d}" / "version_0", 0.1 + (i * 7919 % 1000) / 10, 0.5 + (i * 104_729 % 997) / 2000)
    start_s = time.process_time()
    comparison = compare(tmp_path)
    text, plain = str(comparison), comparison.to_plain()
    assert time.process_time() - start_s < 10
    assert len(plain["runs"]) == 1000
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
    assert 'perhaps <bdi dir="auto">large</bdi>' in page
    assert "behind large by less than the uncertainty of their energies" in page
