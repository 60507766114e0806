"""What benchmarks compute from what they measure: a run on a GPU cannot be repeated here, its arithmetic can."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from benchmarks import accuracy, phases, phases_cost, sharing
from benchmarks.gpu_counter import lateness, looks, worked_before
from benchmarks.gpu_steps import limits
from tests.test_docs import ROOT

REST_W, WORK_W = 100.0, 700.0


def counter(worked, *, late_s=0.0, looks_at=1.0, until_s=14.0):
    """Updates every 0.1 s of a board that works when it is told; each seen within 4 ms."""
    time_s = np.arange(0.03, until_s, 0.1)
    begin_s, end_s = time_s[:-1] - late_s, time_s[1:] - late_s
    begin_s = end_s - looks_at * (end_s - begin_s)
    share = (worked_before(end_s, worked) - worked_before(begin_s, worked)) / (end_s - begin_s)
    joules = np.concatenate([[0.0], np.cumsum((REST_W + (WORK_W - REST_W) * share) * np.diff(time_s))])
    return np.stack([time_s - 0.002, time_s + 0.002, joules], axis=1)


@pytest.mark.parametrize("late_s", [0.0, 0.013, 0.031])
def test_how_late_a_counter_is(late_s):
    begin_s = np.array([1.0, 3.017, 5.031, 7.048, 9.063, 11.079])
    worked = np.stack([begin_s, begin_s + 1.004], axis=1)
    found = lateness(counter(worked, late_s=late_s), worked)
    assert (found["rest_w"], found["work_w"]) == pytest.approx((REST_W, WORK_W))
    # where delay and end meet in one interval more than in the next, the delay shows in part
    assert found["late_ms"] == pytest.approx(1e3 * late_s, abs=max(3.0, 0.35 * 1e3 * late_s))


@pytest.mark.parametrize("looks_at", [1.0, 0.25])
def test_whether_a_counter_looks_all_the_time(looks_at):
    begin_s = 1.0 + 0.11 * np.arange(100)
    worked = np.stack([begin_s, begin_s + 0.055], axis=1)
    found = looks(counter(worked, looks_at=looks_at), worked, WORK_W - REST_W)
    all_the_time_w, quarter_w = found["scatter_all_the_time_w"], found["scatter_a_quarter_of_the_time_w"]
    assert 3 * all_the_time_w < min(quarter_w)
    assert found["scatter_w"] == pytest.approx(all_the_time_w if looks_at == 1.0 else quarter_w[-1], rel=0.01)


def test_a_perfect_curve_errs_by_as_much_as_its_straight_lines_hide():
    step_s, block, steps = 0.02, 25, 500
    starts_s = step_s * np.arange(steps)
    total = {
        "block": block,
        "steps_s_j_u": np.stack([starts_s, starts_s, starts_s], axis=1).tolist(),
        "knots_s_j_half_s": [[0.1 * k, 0.0, 0.0] for k in range(100)],
    }
    truth = [{"step_j": 10.0}, {"step_j": 2.0}]
    errors = limits({"truth": truth, "totals": [total]})
    # an update in which a kind begins at its share s gives each kind's steps in it the mean of both
    share = np.arange(0.0, 1.0, 0.001)
    per_block = 2 * np.mean(share * (1 - share)) * 0.1 / step_s * (10.0 - 2.0) ** 2
    assert errors[0] * 10.0 == pytest.approx((0.5 * per_block / block) ** 0.5, rel=0.25)
    assert errors[1] * 2.0 == pytest.approx(errors[0] * 10.0, rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_claimed(warm):
    done = warm.run(ROOT / "benchmarks/gpu.py")
    assert done.returncode == 1
    assert done.stdout == "No CUDA device here: nothing was measured, nothing is claimed.\n"


@pytest.mark.slow
def test_the_table_of_sharing_is_of_whole_runs(tmp_path, capsys, monkeypatch):
    """Straight lines favour the weaker stage; what is fitted is nearer, and no joule is lost."""
    monkeypatch.setattr(sys, "argv", ["sharing.py", "--quick", "--json", str(tmp_path / "sharing.json")])
    sharing.main()
    found = json.loads((tmp_path / "sharing.json").read_text())
    assert found["runs"] == 2 * len(sharing.QUICK)
    assert found["conserved"] < 1e-9
    assert [row["case"] for row in found["rows"]] == [*sharing.QUICK, "all"]
    validation = found["rows"][0]["validation"]
    assert validation["line_bias"] > 0.03
    assert validation["rms"] < 0.3 * validation["line_rms"]
    assert capsys.readouterr().out.count("run 0.") == len(found["rows"])


def test_the_table_of_phases_says_which_are_told():
    """Those of steps that are not locked to the counter; what is resolved is right, however power varies in phases."""
    found = json.loads((ROOT / "benchmarks/results/phases.json").read_text())
    assert {row["case"] for row in found["rows"]} == {*phases.cases()}
    assert found["within_2u"] >= phases.WITHIN_2U
    assert found["sums_to_stage"] < 1e-9
    rows = {row["case"]: row for row in found["rows"]}
    assert found["within_2u_of_resolved"] >= 0.95
    for case in ("20 ms counter, 0 ms late: 50 ms steps, 10 min", "100 ms counter, 0 ms late: 200 ms steps, 10 min"):
        assert rows[case]["large_resolved"] == 1.0
        for name, most_u in (("forward", 0.02), ("backward", 0.01), ("optimizer", 0.06), ("data", 0.12)):
            assert rows[case]["phases"][name]["median_u"] <= most_u
    assert rows["100 ms counter, 0 ms late: 50 ms steps locked to it, 1 min"]["large_resolved"] < 0.25


@pytest.mark.slow
def test_the_table_of_phases_is_of_whole_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["phases.py", "--quick", "--json", str(tmp_path / "phases.json")])
    phases.main()
    found = json.loads((tmp_path / "phases.json").read_text())
    assert found["runs"] == len(found["rows"]) == 2
    assert found["sums_to_stage"] < 1e-9
    backward = found["rows"][0]["phases"]["backward"]
    assert backward["resolved"] == 1.0
    assert backward["rms"] < 0.02
    assert capsys.readouterr().out.count("resolved 100") >= 1


def test_phases_take_no_more_of_a_step_than_they_are_to():
    """Of steps without work, which tell it: of the others the rest of the machine is in the figures."""
    rows = json.loads((ROOT / "benchmarks/results/phases-cost.json").read_text())["rows"]
    assert [(row["work"], row["profiler"]) for row in rows] == [
        (work, profiler) for work in phases_cost.STEPS for profiler in phases_cost.PROFILERS
    ]
    assert all(row["least_cpu_us"]["interval"][1] <= phases_cost.AT_MOST_US for row in rows if row["work"] == "none")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_cost_of_phases_is_that_of_steps_in_turns():
    """It raises where the phases of a training are not those of its divided steps."""
    row = phases_cost.compared("none", "simple", 0.02)
    assert row["steps"] == 24 * (phases_cost.TURN - phases_cost.FIRST)
    low, high = row["cpu_us"]["interval"]
    assert low <= high


@pytest.mark.slow
def test_schedules_go_through_real_channels_and_leave_other_results_alone(tmp_path, monkeypatch):
    """Slow calls see fewer updates, so straight lines are worse with them; what is fitted is near the truth."""
    path = tmp_path / "accuracy.json"
    path.write_text(json.dumps({"steps": ["as they were"]}))
    only = ["20 ms: validations of 80 ms", "20 ms: slow calls, validations of 80 ms", "100 ms: busy 6 s, 8 boards"]
    arguments = ["--parts", "schedules", "--runs", "1", "--seeds", "1", "--only", *only, "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["accuracy.py", *arguments])
    accuracy.main()
    found = json.loads(path.read_text())
    assert found["steps"] == ["as they were"]
    rows = {row["case"]: row for row in found["schedules"]["rows"]}
    assert {*rows} == {*only, "all"}
    fast, slow = (rows[name]["validation"] for name in only[:2])
    assert slow["line_rms"] > 3 * fast["line_rms"]
    for x in (fast, slow):
        assert x["rms"] < 0.3 * x["line_rms"]
    assert rows[only[2]]["run"]["rms"] < 0.001


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"within_u": 0.5}, ["50% within u"]),
        ({"within_u": 0.92}, ["92% within u"]),
        ({"within_2u": 0.9}, ["90% within 2 u"]),
        ({"u_over_error": 3.4, "u_over_error_least": 3.1}, ["u 3.4 times the error"]),
        ({"bias": -0.004}, ["bias -0.40%"]),
        ({"median_u": 0.012}, ["not resolved: u 1.2%"]),
    ],
)
def test_a_case_falls_short(changed, said):
    good = {"windows": 600, "runs": 600, "within_u": 0.7, "within_2u": 0.96, "u_over_error": 2.0}
    good |= {"u_over_error_least": 1.9, "bias": 0.001, "u_bias": 0.0002, "median_u": 0.004}
    assert sharing.falls_short(good | changed, "train") == said


def test_a_share_that_was_counted_is_known_within_an_interval():
    """Of 8 of 10: Wilson's interval is 49 to 94 %."""
    assert sharing.wilson(0.8, 10) == pytest.approx((0.490, 0.943), abs=0.001)
