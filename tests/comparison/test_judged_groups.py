from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_energy import compare
from lightning_energy.comparison.judged_groups import judged_groups
from tests.comparison.groups import repeats
from tests.records import put


def test_every_run_is_told_its_group_and_what_dominates_it():
    good = repeats("good", [1.0, 1.01, 0.99], [0.90, 0.91, 0.89])
    poor = repeats("poor", [2.0, 2.03, 2.01], [0.70, 0.69, 0.71])
    crashed = replace(poor.runs[0], name="poor/9", outcome="interrupted")
    rest = [replace(poor.runs[0], name="poor/8", metric=None)]
    fit = [*good.runs, *poor.runs, crashed]
    told, others, groups, verdicts = judged_groups(fit, rest, lambda run: run.name.partition("/")[0], 0.05, 0.0)
    assert [run.name for run in told] == [run.name for run in fit]
    assert [run.group for run in (*told, *others)] == ["good"] * 3 + ["poor"] * 5
    assert [run.dominated_by for run in told] == [()] * 3 + [("good",)] * 3 + [()]
    assert [(group.name, group.n, len(group.left_out)) for group in groups] == [("good", 3, 0), ("poor", 3, 2)]
    assert groups[1].runs[0].dominated_by == ("good",)
    assert [(v.one, v.other, v.kind) for v in verdicts] == [("good", "poor", "dominated")]


def test_the_picture_has_a_front_for_each_kind(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    for name, kwh, device in (("a", 1.0, "GPU-1"), ("b", 2.0, "GPU-1"), ("c", 1.5, "GPU-2"), ("d", 3.0, "GPU-2")):
        put(tmp_path / name, kwh, 0.5 + kwh / 10, device=device)
    comparison = compare(tmp_path)
    assert [(run.name, run.kind, run.on_front) for run in comparison.runs] == [
        ("a", 1, True),
        ("c", 2, True),
        ("b", 1, True),
        ("d", 2, True),
    ]
    ax = Figure().add_subplot()
    comparison.plot(ax)
    steps = [line.get_xdata()[:-1].tolist() for line in ax.lines if line.get_drawstyle() == "steps-post"]
    assert steps == [pytest.approx([1.0, 2.0]), pytest.approx([1.5, 3.0])]


def test_a_run_like_no_other_says_so(tmp_path):
    for name, device in (("a", "GPU-1"), ("b", "GPU-1"), ("c", "GPU-2")):
        put(tmp_path / name, device=device)
    table = str(compare(tmp_path))
    assert any(line.startswith("c ") and line.endswith("≠ alone") for line in table.splitlines())
    assert "≠ no other run is like it: it is ranked against none." in table
