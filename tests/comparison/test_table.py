from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from lightning_energy import Comparison, compare
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.table import as_csv, markdown, text
from lightning_energy.results.write import write_record
from tests.records import put, record


@pytest.fixture
def comparison(tmp_path) -> Comparison:
    put(tmp_path / "small", 1.0, 0.80)
    put(tmp_path / "medium", 2.0, 0.85)
    put(tmp_path / "large", 20.0, 0.95)
    put(tmp_path / "waste", 40.0, 0.79)
    put(tmp_path / "close", 20.01, 0.94)
    put(tmp_path / "unscored", 3.0, None)
    return compare(tmp_path)


def row(table: str, name: str) -> str:
    return next(line for line in table.splitlines() if line.startswith(name))


def test_front_and_dominations_can_be_read(comparison):
    table = text(comparison)
    assert row(table, "large").endswith("* on it")
    assert row(table, "waste").endswith("~ small +2")
    assert row(table, "close").endswith("~ large")
    assert "no other run like it is as good for less energy, or better for as much." in table
    near = "those that are ahead of it are so by less than the uncertainty of their energies (k=2)"
    for shown in (" ".join(table.split()), markdown(comparison)):
        assert f"Caveat of close: {near}" in shown  # 20.01 and 20 kWh, of which each may be wrong by 0.1 %
    assert row(table, "unscored").endswith("–")  # noqa: RUF001
    for sign in "*~":
        assert any(line.startswith(f"{sign} ") for line in table.splitlines())
    assert "score: energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=1)" in table
    assert "Caveat of unscored: it has no metric" in table


def test_figures(comparison):
    cells = row(text(comparison, 130), "large").split()
    sam = 5 * 0.95**5 / 1.30103
    assert cells[:5] == ["large", "0.9500", "20", "1", "2"]  # accuracy, kWh, ±, mJ per sample
    assert f"{sam:.4f}" in cells
    assert f"{comparison.runs[4].score:.4f}" not in cells
    assert "1.00 h" in row(text(comparison, 130), "large")


def test_energy_per_unit_of_the_users_own(tmp_path):
    """A kWh is 3.6 MJ."""
    put(tmp_path / "a", 1.0, units={"train": {"samples": 10, "tokens": 3_600_000}})
    put(tmp_path / "b", 2.0, units={"train": {"samples": 10, "tokens": 3_600_000_000}})
    put(tmp_path / "c", 3.0, units={"train": {"samples": 10, "tokens": None}})
    put(tmp_path / "d", 3.0)
    comparison = compare(tmp_path)
    sentence = "Energy of training per 1 of tokens: a 1 J, b 2 mJ, c –, d –."  # noqa: RUF001
    assert sentence in text(comparison).splitlines()
    assert f"- {sentence}" in markdown(comparison).splitlines()
    rows = {row["name"]: row["unit_j"] for row in csv.DictReader(io.StringIO(as_csv(comparison)))}
    assert rows == {"a": "tokens=1.0", "b": "tokens=0.002", "c": "tokens=", "d": ""}
    assert comparison.to_plain()["runs"][0]["unit_j"] == {"tokens": 1.0}


@pytest.mark.parametrize("width", [80, 100, 120])
def test_lines_fit_and_columns_stand_under_their_heads(comparison, width):
    lines = text(comparison, width).splitlines()
    assert max(map(len, lines)) <= width
    head = next(line for line in lines if line.startswith("run "))
    place = head.index("Pareto front")
    assert row("\n".join(lines), "small")[place:] == "* on it"
    assert ("power" in head) == (width == 120)
    assert {"accuracy", "kWh", "SAM", "score"} <= {*head.split()}


def test_long_names_keep_their_ends_and_stay_different(tmp_path):
    for letter in "ab":
        put(tmp_path / f"{letter}-{'x' * 60}-end", 1.0, 0.8)
    lines = text(compare(tmp_path), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(bool(re.match(r"[ab]-x+…x+-end ", line)) for line in lines) == 2
    for letter in "ab":
        put(tmp_path / f"{'x' * 30}{letter}{'x' * 30}", 1.0, 0.8)
    assert "xxxaxxx" in text(compare(tmp_path), 80)  # cut they would be the same


def test_sam_stands_in_the_table_only_where_a_run_has_one(tmp_path):
    put(tmp_path / "a", 0.1, 0.8)
    put(tmp_path / "b", 0.2, 0.9)
    table = text(compare(tmp_path))
    assert "SAM" not in next(line for line in table.splitlines() if line.startswith("run "))
    assert "SAM (sustainable_accuracy) is defined above 1 kWh only" in table


@pytest.fixture
def perplexities(tmp_path):
    put(tmp_path / "small", 1.0, 41.5, name="val_ppl", mode="min", scale="raw", epochs=(41.5,), epochs_kwh=(1.0,))
    put(
        tmp_path / "large",
        20.0,
        9.25,
        name="val_ppl",
        mode="min",
        scale="raw",
        epochs=(25.0, 9.25),
        epochs_kwh=(15.0, 20.0),
    )
    return tmp_path


def test_the_table_of_a_metric_without_a_score(perplexities):
    lines = text(compare(perplexities, sort="metric")).splitlines()
    assert lines[0] == "2 runs by val_ppl; val_ppl (less is better): last value"
    assert lines[1].split()[:3] == ["run", "val_ppl", "kWh"]
    assert not {"SAM", "score", "accuracy"} & {*lines[1].split()}
    assert [line.split()[:2] for line in lines[3:5]] == [["large", "9.250"], ["small", "41.50"]]
    assert "No score: val_ppl is no accuracy (less is better), and scores are made of accuracies." in lines
    assert "sustainable_accuracy" not in "\n".join(lines)
    assert r"| run | val\_ppl | kWh |" in markdown(compare(perplexities))


def test_energy_to_reach_a_value_stands_in_the_table(perplexities):
    comparison = compare(perplexities, target=(30, 10, 5))
    table = text(comparison, 130)
    lines = table.splitlines()
    begin = next(i for i, line in enumerate(lines) if "kWh to 30" in line)
    assert lines[begin].split() == ["run", "kWh", "to", "30", "kWh", "to", "10", "kWh", "to", "5"]
    found = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[begin + 2 : begin + 4]}
    assert found == {"small": "> 1 > 1 > 1", "large": "15 20 (> 15) > 20"}
    assert "Energy to reach val_ppl 30 or 10 or 5: that of the training up to the end of the first epoch" in table
    assert "No run reached val_ppl 5." in table
    assert "| large | 15 | 20 (&gt; 15) | &gt; 20 |" in markdown(comparison)
    assert "30=15.0; 10=20.0; 5=>20.0" in as_csv(comparison)


def test_a_single_run_that_diverged_stays_among_the_targets(tmp_path):
    """Of two that ended in NaN one had reached 0.9 at 0.6 kWh, and the other takes more than that."""
    put(tmp_path / "good", 1.0, 0.92, epochs=(0.5, 0.92), epochs_kwh=(0.5, 1.0))
    for name, seen in (("late", 0.91), ("never", 0.5)):
        made = record(1.2, seen, epochs=(seen, None), epochs_kwh=(0.6, 1.2))
        rows = [made.epochs[0], replace(made.epochs[1], no_metric="val_acc=nan is not finite")]
        (tmp_path / name).mkdir()
        write_record(tmp_path / name / "energy.json", replace(made, epochs=rows))
    lines = [" ".join(line.split()) for line in text(compare(tmp_path, target=0.9)).splitlines()]
    begin = lines.index("run kWh to 0.9")
    assert sorted(lines[begin + 2 : begin + 5]) == ["good 1 (> 0.5)", "late 0.6", "never > 0.6"]


def test_repeats_are_advised_where_there_are_none_yet(tmp_path):
    """Two configurations of three seeds each, whose runs stand behind each other one by one; and a single run."""
    for name, kwh in (("a", 1.0), ("b", 1.5)):
        for seed in range(3):
            what = {"hyperparameters": {"model": name}}
            put(
                tmp_path / name / f"{seed}",
                kwh + seed / 100,
                0.8 + seed / 1000,
                seed=seed,
                run_id=f"{name}{seed}",
                what=what,
            )
    shown = " ".join(text(compare(tmp_path)).split())
    assert "~ behind that run (+n: and n more), which is at least as good and cheaper by the meter." in shown
    assert "What repeats show is told of the groups, above." in shown
    assert "train each with three seeds or more" not in shown
    put(tmp_path / "c", 9.0, 0.1, what={"hyperparameters": {"model": "c"}})
    assert "how a repeat would come out: train each with three seeds or more." in " ".join(
        text(compare(tmp_path)).split()
    )


def test_the_same_caveat_of_many_is_one_sentence(tmp_path):
    for i in range(9):
        put(tmp_path / f"run{i}", 1.0 + i, 0.8, outcome="interrupted")
    table = text(compare(tmp_path))
    assert "Caveat of run0, run1, run2, run3, run4 and 4 more: it was interrupted" in table


def test_csv_has_every_figure_unrounded(comparison):
    rows = {r["name"]: r for r in csv.DictReader(io.StringIO(as_csv(comparison)))}
    assert len(rows) == 6
    for run in comparison.runs:
        assert rows[run.name]["energy_kwh"] == repr(run.energy_kwh)
    assert rows["waste"]["perhaps_dominated_by"] == "small; medium; large"
    assert rows["unscored"]["metric"] == ""
    assert rows["large"]["on_front"] == "True"


def test_markdown(comparison):
    lines = markdown(comparison).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 6
    assert len({line.count("|") for line in table}) == 1
    assert "| waste | 0.7900 | 40 |" in "\n".join(table)


def test_markdown_shows_what_it_could_run(comparison):
    run = replace(comparison.runs[0], name="<script>alert(1)</script>|*`x`*")
    shown = markdown(replace(comparison, runs=[run]))
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\|\*\`x\`\*" in shown
    assert "<script" not in shown


def test_nothing(comparison):
    nothing = replace(comparison, runs=[])
    assert text(nothing) == markdown(nothing) == "There is no run to compare."
    assert as_csv(nothing).split(",") == [*Run("", "").to_plain()]
