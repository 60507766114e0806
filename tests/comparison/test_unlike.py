from __future__ import annotations

import pytest

from lightning_energy.comparison.pareto import kinds
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.run_source import Source
from lightning_energy.comparison.unlike import with_caveats

LIKE = {
    "metric": 0.9,
    "metric_name": "val_acc",
    "energy_kwh": 1.0,
    "quality": "measured",
    "hardware": "A100",
    "covers": "gpu",
}


def run(name: str, *, sensors: str = "a", run_id: str = "", slack_kwh: float = 0.0, **other) -> Run:
    return Run(name, f"/runs/{name}", **(LIKE | other), source=Source(sensors, slack_kwh, run_id=run_id))


def test_missing_energy_is_said_first():
    """Pictures have room for three caveats."""
    whole = with_caveats([run("a", slack_kwh=0.05), run("b"), run("c", quality="integrated", hardware="T4")], 1.0)[1]
    assert whole[0] == (
        "Energy of 1 of 3 runs is missing (up to 5 % of theirs, if it was spent at their mean power): figures, "
        "energies to a target, pictures and orders are of what is known, and decisions are not taken where it could "
        "turn them."
    )
    (only,) = with_caveats([run("a", slack_kwh=float("inf")), run("b")], 1.0)[1]
    assert only.startswith("Energy of 1 of 2 runs is missing (an unknown amount): figures")


def test_lists_are_bounded():
    """Forty machines, of which one is usual; one run in as many records; as many names of one metric."""
    runs = [run(f"r{i}", hardware=f"machine {i // 2:02}", metric_name=f"val_acc_{i:02}", run_id="1") for i in range(80)]
    runs += [run(f"s{i}", hardware="usual") for i in range(3)]
    told, (names, machines) = with_caveats(runs, 1.0)
    assert "(usual: 3; machine 00: 2; machine 01: 2; machine 02: 2; machine 03: 2 and 36 more)" in machines
    assert "(val_acc: 3; val_acc_00: 1; val_acc_01: 1; val_acc_02: 1; val_acc_03: 1 and 76 more)" in names
    assert told[0].caveats[-1].startswith("it is the same run as r1, r2, r3, r4, r5 and 74 more, resumed or copied")


def test_like_runs_have_no_caveat():
    runs, whole = with_caveats([run("a"), run("b"), run("c", quality="integrated")], 1.0)
    assert whole == []
    assert all(r.caveats == () for r in runs)


@pytest.mark.parametrize(
    ("other", "of_run", "of_all"),
    [
        (
            {"metric_name": "valid/accuracy"},
            "its metric was logged as valid/accuracy (most others: val_acc)",
            "under different names (val_acc: 2; valid/accuracy: 1), which are taken to mean the same",
        ),
        (
            {"scale": "percent"},
            "its metric was read as a percentage (most others: fraction)",
            "(fraction: 2; percentage: 1), as far as records know: 0.6 may be a fraction or 0.6 %. If all were perc",
        ),
        ({"covers": "gpu + package"}, "its joules cover gpu + package (most others: gpu)", "do not cover the same"),
        (
            {"quality": "estimated"},
            "its energy is estimated by a model (most others: measured)",
            "not ranked against each other",
        ),
        (
            {"metric_n": 360},
            "its metric is of 360 validation samples (most others: 540)",
            "not of as many validation samples (360: 1; 540: 1; unknown, and taken for that of most runs like it: 1)",
        ),
        (
            {"hardware": "H100"},
            "it ran on H100 (most others: A100)",
            "hardware or drivers (A100: 2; H100: 1)",
        ),
    ],
)
def test_unlike_things_have_one_each_and_one_of_all(other, of_run, of_all):
    (a, b, c), (whole,) = with_caveats([run("a", metric_n=540), run("b"), run("c", **other)], 1.0)
    assert a.caveats == b.caveats == ()
    assert c.caveats == (of_run,)
    assert of_all in whole


def test_a_number_of_samples_that_is_not_known_is_that_of_most_runs_like_it():
    """Of the same coverage, as their fronts have it: 360 on the CPU, where most of all have 540."""
    of_gpu = [run(f"g{i}", metric_n=540) for i in range(3)]
    of_cpu = [run(f"c{i}", metric_n=n, covers="package") for i, n in enumerate((360, 360, None))]
    runs, whole = with_caveats([*of_gpu, *of_cpu], 1.0)
    (told,) = [caveat for caveat in whole if "validation samples" in caveat]
    assert "(540: 3; 360: 2; unknown, and taken for that of most runs like it: 1)" in told
    assert "its metric is of 360 validation samples" in runs[-1].caveats
    assert kinds([*of_gpu, *of_cpu]).tolist() == [1, 1, 1, 2, 2, 2]
    assert "unknown" not in " ".join(with_caveats([*of_gpu, *of_cpu[:2]], 1.0)[1])


def test_without_a_majority_each_is_told():
    runs, _ = with_caveats([run("a"), run("b", metric_name=None)], 1.0)
    assert [r.caveats for r in runs] == [
        ("its metric was logged as val_acc",),
        ("its metric was logged as a metric without a name",),
    ]


def test_a_run_that_was_resumed_elsewhere_is_in_both():
    runs, _ = with_caveats([run("a", run_id="1"), run("b", run_id="1"), run("c", run_id="2"), run("d"), run("e")], 1.0)
    assert runs[0].caveats == ("it is the same run as b, resumed or copied: one's energy includes the other's",)
    assert [r.caveats for r in runs[2:]] == [(), (), ()]


@pytest.mark.parametrize("sensors", [("a", "b"), ("", "")])
def test_sensors_that_are_not_known_to_be_the_same(sensors):
    _, (whole,) = with_caveats([run(s or str(i), sensors=s) for i, s in enumerate(sensors)], 1.0)
    assert "not all measured by the same sensors" in whole


def test_estimates_alone_are_told_as_such():
    _, (whole,) = with_caveats([run("a", quality="estimated"), run("b", quality="estimated")], 1.0)
    assert "All energies are estimated by a model, none is measured" in whole


def test_a_reference_far_above_all_runs():
    assert with_caveats([run("a"), run("b")], 99.0)[1] == []
    _, (whole,) = with_caveats([run("a"), run("b")], 101.0)
    assert "far less than the reference of the score (101 kWh): it ranks them by accuracy alone" in whole


def test_the_reference_that_is_proposed_does_what_it_is_for():
    small = [run(str(kwh), energy_kwh=kwh) for kwh in (1e-6, 1.84e-5, 4e-5, 0.0)]
    _, (whole,) = with_caveats(small, 1.0)
    assert whole.endswith(
        "Give a reference of their size: reference_kwh=2e-05 (on the command line: --reference-kwh 2e-05)."
    )
    assert with_caveats(small, 2e-5)[1] == []
    _, (whole,) = with_caveats([run("a", energy_kwh=0.0)], 1.0)
    assert "reference_kwh=1 " in whole


def test_nothing_and_one_run():
    assert with_caveats([], 1.0) == ([], [])
    assert with_caveats([run("a", sensors="")], 1.0)[1] == []
