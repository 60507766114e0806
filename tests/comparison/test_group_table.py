from __future__ import annotations

import csv
import io

import pytest

from lightning_energy.comparison.comparison import Comparison
from lightning_energy.comparison.group_table import group_rows, group_sentences, groups_csv, latex
from lightning_energy.comparison.subject import Subject
from lightning_energy.comparison.table import markdown, text
from lightning_energy.comparison.verdicts import judge
from tests.comparison.groups import repeats


def of(*groups):
    runs = [run for group in groups for run in group.runs]
    return Comparison(runs, [], [], Subject("accuracy"), None, groups=[*groups], verdicts=judge(groups))


@pytest.fixture
def comparison():
    small = repeats("small_&_fast", [1.0, 1.1, 1.2], [0.90, 0.91, 0.92])
    large = repeats("large", [2.0, 2.2, 2.1], [0.80, 0.82, 0.81])
    return of(small, large, repeats("single", [3.0], [0.5]))


def test_one_row_per_group(comparison):
    """The half-width of the interval of 1.0, 1.1, 1.2 is 4.303 * 0.1 / root 3 = 0.248 kWh."""
    _, small, large, single = group_rows(comparison)
    assert small == ["small_&_fast", "3", "0.9100 ± 0.0100", "0.8852 to 0.9348", "1100 ± 100", "852 to 1348", "–"]  # noqa: RUF001
    assert large[-1] == "< small_&_fast"
    assert single[1:4] == ["1", "0.5000", "–"]  # noqa: RUF001
    assert group_rows(of(repeats("a", [1.0], [0.5]))) == []


def test_it_stands_above_the_runs(comparison):
    for shown in (text(comparison), markdown(comparison)):
        assert "0.9100 ± 0.0100" in shown
        assert "probability that even one decision is wrong is at most 5 %" in shown
        assert "Nothing is decided about groups of fewer than 3 runs: single." in shown
    assert max(map(len, text(comparison, 120).splitlines())) <= 120


def test_what_is_open_says_how_many_repeats_it_takes():
    a = repeats("a", [1.0, 1.1, 0.9], [0.90, 0.91, 0.89], seeds=[1, 2, 3])
    b = repeats("b", [1.05, 0.95, 1.2], [0.90, 0.88, 0.93], seeds=[4, 5, 6])
    sentences = group_sentences(of(a, b))
    assert any("a and b are not told apart: with this spread" in s and "runs of each." in s for s in sentences)
    assert any("do not all have the same seeds" in s for s in sentences)
    (unknown,) = [
        s for s in group_sentences(of(repeats("a", [1, 2, 3], [0.1, 0.2, 0.3], seeds=[None] * 3))) if "seeds" in s
    ]
    assert unknown.startswith("Some seeds are not known")
    apart = group_sentences(of(a, repeats("b", [9, 9.1, 9.2], [0.1, 0.2, 0.3], sensors="b")))
    assert "a and b are incomparable: they were measured by different sensors, whose gains differ." in apart


def test_latex_is_a_table_of_booktabs(comparison):
    table = latex(comparison)
    assert (
        r"small\_\&\_fast & 3 & 0.9100 $\pm$ 0.0100 & 0.8852 to 0.9348 & 1100 $\pm$ 100 & 852 to 1348 & -- \\" in table
    )
    assert r"\textless{} small\_\&\_fast" in table
    assert r"95 \% interval" in table
    assert table.count("{") == table.count("}")
    assert table == comparison.to_latex()


def test_csv_has_unrounded_figures(comparison):
    rows = {row["group"]: row for row in csv.DictReader(io.StringIO(groups_csv(comparison)))}
    assert float(rows["large"]["energy_kwh_mean"]) == pytest.approx(2.1)
    assert rows["large"]["dominated_by"] == "small_&_fast"
    assert rows["single"]["metric_sd"] == ""
    assert rows["large"]["seeds"] == "0; 1; 2"
