from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy import energy_penalized_accuracy
from lightning_energy.comparison.pareto import dominations, fronts, goodness, iso_scores, kinds, on_front, window
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.run_source import Source
from lightning_energy.scores.formula import EnergyPenalized


def run(
    metric: float,
    kwh: float,
    *,
    u: float = 0.0,
    gain: float = 0.05,
    sensors: str = "a",
    slack: float = 0.0,
    run_id: str = "",
    quality: str = "measured",
) -> Run:
    return Run(
        "",
        "",
        metric=metric,
        energy_kwh=kwh,
        u_repeat_kwh=u * kwh,
        u_kwh=math.hypot(u, gain) * kwh,
        quality=quality,
        source=Source(sensors, slack, run_id),
    )


# few values, so that ties are common
accuracies = st.sampled_from([0.0, 0.5, 0.6, 0.9, 0.91, 1.0]) | st.floats(0, 1)
energies = st.sampled_from([0.0, 0.1, 1.0, 1.05, 2.0]) | st.floats(0, 1e3)
relative = st.sampled_from([0.0, 0.01, 0.3])
runs = st.builds(
    run,
    accuracies,
    energies,
    u=relative,
    gain=relative,
    sensors=st.sampled_from(["", "a", "b"]),
    slack=st.sampled_from([0.0, 0.0, 0.5, math.inf]),
    quality=st.sampled_from(["measured", "measured", "estimated"]),
)
some = st.lists(runs, min_size=1, max_size=12)


def dominates(a: Run, b: Run) -> bool:
    """By the figures of like runs, written down once more as the definition says it."""
    if not a.source.sensors or (a.source.sensors, a.quality) != (b.source.sensors, b.quality):
        return False
    no_worse = a.metric >= b.metric and a.energy_kwh <= b.energy_kwh
    return no_worse and (a.metric > b.metric or a.energy_kwh < b.energy_kwh)


def front_of(runs: list[Run]) -> list[bool]:
    return fronts(runs).tolist()


def test_each_kind_has_a_front_of_its_own():
    """A GPU alone spends less than the GPU with its CPU, an estimate less than a meter: that is no merit."""
    whole, part = (replace(run(0.9, kwh), covers=covers) for kwh, covers in ((3.0, "cpu + gpu"), (1.0, "gpu")))
    dear, estimate, top5 = replace(whole, energy_kwh=4.0), run(0.95, 0.5, quality="estimated"), run(0.99, 0.1)
    top5 = replace(top5, metric_name="val_top5")
    assert front_of([whole, part, dear, estimate, top5]) == [True, True, False, True, True]
    assert dominations([whole, part, dear, estimate, top5])[2] == ([0], [])
    assert kinds([whole, part, dear, estimate, top5]).tolist() == [1, 2, 1, 3, 4]
    parts = [replace(run(0.9, 1.0), metric_n=n) for n in (540, 360, None, 360)]
    assert kinds(parts).tolist() == [2, 1, 1, 1]
    unknown = run(0.9, 1.0, sensors="")
    assert kinds([unknown, unknown]).tolist() == [1, 2]
    points = np.array([0.9, 0.9, 0.8]), np.array([1.0, 1.0, 0.5])
    assert on_front(*points).tolist() == [True, True, True]  # equals are on it together


@settings(deadline=None)
@given(some)
def test_the_front_is_what_no_other_dominates(runs):
    front = front_of(runs)
    assert front == [not any(dominates(a, b) for a in runs) for b in runs]
    members = [r for r, is_on in zip(runs, front, strict=True) if is_on]
    for run, is_on in zip(runs, front, strict=True):
        assert is_on or any(dominates(member, run) for member in members)


@pytest.mark.slow
@settings(deadline=None)
@given(some)
def test_where_less_is_better_the_front_is_that_of_the_opposite_values(runs):
    turned = [replace(r, metric=-r.metric, mode="min") for r in runs]
    assert goodness(turned).tolist() == [r.metric for r in runs]
    assert front_of(turned) == front_of(runs)
    assert dominations(turned) == dominations(runs)


def test_a_lower_loss_dominates():
    small, large, waste = (replace(run(m, kwh), mode="min", scale="raw") for m, kwh in ((2.0, 1), (1.5, 4), (1.6, 9)))
    assert front_of([small, large, waste]) == [True, True, False]
    assert dominations([small, large, waste]) == [([], []), ([], []), ([1], [])]


@pytest.mark.slow
@settings(deadline=None)
@given(some, st.randoms(use_true_random=False))
def test_the_order_of_the_runs_does_not_matter(runs, random):
    order = [*range(len(runs))]
    random.shuffle(order)
    shuffled = [runs[i] for i in order]
    front, again = front_of(runs), front_of(shuffled)
    assert again == [front[i] for i in order]
    told = [tuple({*names} for names in pair) for pair in dominations(runs)]
    for i, pair in zip(order, dominations(shuffled), strict=True):
        assert tuple({order[j] for j in names} for names in pair) == told[i]


@pytest.mark.slow
@settings(deadline=None)
@given(some)
def test_dominations_are_told_by_the_front_and_only_where_they_are_ones(runs):
    front = front_of(runs)
    for b, (sure, perhaps) in enumerate(dominations(runs)):
        assert bool(sure or perhaps) == (not front[b])
        assert all(dominates(runs[a], runs[b]) for a in [*sure, *perhaps])
        assert all(front[a] for a in perhaps)
        assert all(front[a] for a in sure) or not any(front[a] for a in sure)
        assert not {*sure} & {*perhaps}
        assert not (sure and runs[b].quality == "estimated")
        assert [runs[a].energy_kwh for a in sure] == sorted(runs[a].energy_kwh for a in sure)


@pytest.mark.slow
@settings(deadline=None)
@given(some)
def test_what_is_sure_stays_sure_when_figures_move_within_their_uncertainty(runs):
    """The dominating run at its upper end and the other at its lower: still the cheaper one (k=1 of each)."""
    for b, (sure, _) in enumerate(dominations(runs)):
        for a in sure:
            one, other = runs[a], runs[b]
            same = one.source.sensors and one.source.sensors == other.source.sensors
            u, v = (one.u_repeat_kwh, other.u_repeat_kwh) if same else (one.u_kwh, other.u_kwh)
            assert one.energy_kwh + u + one.source.slack_kwh <= other.energy_kwh - v + 1e-9 * other.energy_kwh


def test_on_the_same_sensors_the_gain_cancels():
    cheap, dear = run(0.9, 1.0), run(0.9, 1.1)
    assert dominations([cheap, dear])[1] == ([0], [])
    elsewhere = run(0.9, 1.1, sensors="b")
    assert dominations([cheap, elsewhere])[1] == ([], [])  # not ranked: the gains differ
    unknown = run(0.9, 1.0, sensors=""), run(0.9, 1.1, sensors="")
    assert dominations(unknown)[1] == ([], [])


def test_the_limit_is_twice_the_uncertainty_of_the_difference():
    u = 0.01
    for factor, sure in ((1.9, False), (2.1, True)):
        dear = 1 + factor * math.sqrt(2) * u
        told = dominations([run(0.9, 1.0, u=u), run(0.8, dear, u=u / dear)])[1]
        assert told == (([0], []) if sure else ([], [0]))


def test_a_run_with_missing_time_may_have_spent_more():
    assert dominations([run(0.9, 1.0, slack=0.3), run(0.9, 1.2)])[1] == ([], [0])
    assert dominations([run(0.9, 1.0), run(0.9, 1.2, slack=0.3)])[1] == ([0], [])
    assert dominations([run(0.9, 1.0, slack=math.inf), run(0.9, 99.0)])[1] == ([], [0])


def test_a_run_whose_energy_is_estimated_is_never_dominated_for_sure():
    estimated = run(0.9, 1.0, quality="estimated"), run(0.8, 99.0, quality="estimated")
    assert dominations(estimated)[1] == ([], [0])
    # and never ranked against one that is measured
    assert dominations([run(0.9, 1.0), estimated[1]])[1] == ([], [])
    assert dominations([estimated[0], run(0.8, 99.0)])[1] == ([], [])


def test_records_of_one_run_are_not_ranked_against_each_other():
    begun, resumed, other = run(0.9, 1.0, run_id="a"), run(0.8, 5.0, run_id="a"), run(0.7, 9.0, run_id="b")
    assert dominations([begun, resumed]) == [([], []), ([], [])]
    assert dominations([begun, resumed, other])[2] == ([0], [])
    between = run(0.9, 3.0, u=0.5)  # behind the first, which is not for it to be told of by the second
    assert dominations([begun, resumed, between])[1] == ([], [2])
    unknown = run(0.9, 1.0), run(0.8, 5.0)
    assert dominations(unknown)[1] == ([0], [])


@pytest.mark.slow
@settings(deadline=None)
@given(some, st.data())
def test_who_is_told_is_never_the_same_run(runs, data):
    ids = data.draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=len(runs), max_size=len(runs)))
    runs = [replace(r, source=replace(r.source, run_id=i)) for r, i in zip(runs, ids, strict=True)]
    for b, (sure, perhaps) in enumerate(dominations(runs)):
        others = [a for a in range(len(runs)) if not ids[a] or ids[a] != ids[b]]
        assert {*sure, *perhaps} <= {*others}
        assert bool(sure or perhaps) == any(dominates(runs[a], runs[b]) for a in others)


def test_a_surer_run_behind_the_front_is_named_where_the_front_is_not_sure():
    vague, sure, dear = run(0.9, 1.0, u=0.5), run(0.9, 1.1, u=0.001), run(0.9, 1.5, u=0.001)
    assert dominations([vague, sure, dear])[2] == ([1], [0])


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.builds(run, accuracies, st.floats(1e-9, 1e6)), min_size=1, max_size=5), st.floats(1e-9, 1e6))
def test_lines_of_equal_score_have_it_and_lie_in_the_window(runs, reference_kwh):
    (left, right), (bottom, top) = window(runs)
    for score, points in iso_scores(runs, EnergyPenalized(reference_kwh=reference_kwh)):
        for energy_kwh, accuracy in points:
            assert left * (1 - 1e-9) <= energy_kwh <= right * (1 + 1e-9)
            assert bottom - 1e-6 <= accuracy <= min(top, 1.0) + 1e-6
            assert energy_penalized_accuracy(accuracy, energy_kwh, reference_kwh=reference_kwh) == pytest.approx(
                score, rel=1e-4
            )


def test_there_are_a_few_round_lines():
    lines = iso_scores([run(0.8, 0.1), run(0.95, 10.0)], EnergyPenalized())
    assert 2 <= len(lines) <= 8
    assert [score for score, _ in lines] == [float(f"{score:.2g}") for score, _ in lines]
    assert all(len(points) > 10 for _, points in lines)


def test_the_window_of_other_metrics_is_of_their_size():
    def of(*values: float) -> tuple[float, float]:
        return window([replace(run(v, 1.0), mode="min", scale="raw") for v in values])[1]

    assert of(20.0, 30.0) == pytest.approx((18.4, 31.6))  # 2 times 8 % of 10 around them
    assert of(-1.0, 1.0) == pytest.approx((-1.32, 1.32))
    assert of(0.01, 2.0)[0] == 0.0  # no loss below zero where none is
    assert of(50.0) == pytest.approx((49.68, 50.32))  # 2 times 8 % of 4 % of 50
    bottom, top = of(0.0)
    assert bottom == 0.0 < top


def test_the_window_shows_bars_as_far_as_a_logarithm_can():
    (left, right), (bottom, top) = window([run(0.9, 1.0, gain=0.5), run(0.8, 10.0, gain=2.0)])
    assert left < 0.5
    assert right > 30
    assert bottom < 0.8
    assert top > 0.9
