from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_energy.comparison.configurations import (
    configurations_of,
    of_main_kind,
    on_front_of_means,
    plain_groups,
    probabilities_of,
)
from lightning_energy.comparison.front_probability import front_probabilities
from lightning_energy.comparison.groups import group_runs
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.run_source import Source


def runs(name, points, **more):
    return [
        Run(f"{name}/seed_{i}", f"/r/{name}/{i}/energy.json", metric=m, energy_kwh=e, **more)
        for i, (m, e) in enumerate(points)
    ]


def groups(*of_each):
    return group_runs([run for of_one in of_each for run in of_one], named)


def by_name(*of_each):
    found = groups(*of_each)
    return dict(zip([group.name for group in found], front_probabilities(found), strict=True))


def named(run):
    return run.name.partition("/")[0]


FAR = [runs("cheap", [(0.80, 1.0), (0.81, 1.1), (0.79, 0.9)]), runs("dear", [(0.90, 9.0), (0.91, 9.1), (0.89, 8.9)])]
WASTE = runs("waste", [(0.60, 20.0), (0.61, 20.1), (0.59, 19.9)])


def test_who_is_far_ahead_is_on_it_and_who_is_far_behind_is_not():
    """With three runs the tails are those of two degrees of freedom: far is some thirty standard errors."""
    found = by_name(*FAR, WASTE)
    assert found["cheap"] > 0.99
    assert found["dear"] > 0.99
    assert found["waste"] < 0.01
    assert by_name(*FAR, WASTE) == found  # the same again


def test_behind_one_that_has_none_there_is_none_but_that_it_is_hardly_on_it():
    """A single run is ahead of ``cheap``, which is behind the front that is drawn: no 0.99 beside it."""
    found = by_name(*FAR, WASTE, runs("single", [(0.85, 0.5)]))
    assert (found["single"], found["cheap"]) == (None, None)
    assert found["dear"] > 0.99
    assert found["waste"] < 0.01


def test_two_alike_at_one_energy_share_it():
    """Energy and metric without correlation, equal means: a is behind where b is cheaper and better, in a quarter."""
    points = [(0.80 + d, 1.0 + e) for d, e in ((-0.01, -0.01), (-0.01, 0.01), (0.01, -0.01), (0.01, 0.01))]
    assert front_probabilities(groups(runs("a", points), runs("b", points))) == [pytest.approx(0.75, abs=0.03)] * 2


def test_less_is_better_the_other_way_round():
    good = runs("good", [(20.0, 1.0), (20.1, 1.1), (19.9, 0.9)], mode="min", scale="raw")
    bad = runs("bad", [(40.0, 9.0), (40.1, 9.1), (39.9, 8.9)], mode="min", scale="raw")
    assert [round(p) for p in front_probabilities(groups(good, bad))] == [1, 0]
    assert on_front_of_means(groups(good, bad)) == [True, False]


def test_below_three_runs_there_is_none():
    two = runs("two", [(0.9, 1.0), (0.9, 1.1)])
    found = by_name(FAR[0], FAR[1], two)
    assert found["two"] is None
    assert found["cheap"] is not None
    assert front_probabilities(groups(FAR[0], two)) == [None, None]  # one alone has no others to be behind


def test_estimates_have_none():
    """One estimate of three is enough: its error, of half, is in no scatter."""
    guess = [replace(run, quality="estimated") for run in WASTE[:1]] + WASTE[1:]
    found = by_name(*FAR, guess)
    assert found["waste"] is None
    assert found["cheap"] > 0.99


def test_what_shows_no_scatter_has_none():
    """Copies, a metric without a spread, one seed, missing energy, and lengths that happen to be one."""
    points = [(0.60 + d, 20.0 + d) for d in (-0.01, 0.0, 0.01)]
    copies, exact = runs("waste", [(0.6, 20.0)] * 3), runs("waste", [(0.6, 20.0 + d) for d in (-1, 0, 1)])
    one_seed = [replace(run, source=Source(seed=42)) for run in runs("waste", points)]
    missing = [replace(run, source=Source(slack_kwh=0.1)) for run in runs("waste", points)]
    stopped = [replace(run, source=Source(stopped_after=5)) for run in runs("waste", points)]
    for none in (copies, exact, one_seed, missing, stopped):
        found = by_name(*FAR, none)
        assert found["waste"] is None
        assert found["cheap"] > 0.99
    stopped[0] = replace(stopped[0], source=Source(stopped_after=6))
    assert by_name(*FAR, stopped)["waste"] < 0.01


def test_the_share_is_right_where_it_can_be_computed():
    """One is cheaper, and better by one standard error of the difference of two means of 40 runs: P(t > 1) with some 39
    degrees of freedom each, nearly normal: 0.16 for the worse."""
    rng = np.random.default_rng(3)
    z = rng.standard_normal(40)
    z = (z - z.mean()) / z.std(ddof=1)
    shift = np.sqrt(2 / 40)
    a = runs("a", [(10 + x, 1.0 + k % 2 / 1e6) for k, x in enumerate(z)], scale="raw")
    b = runs("b", [(10 + x + shift, 0.9 + k % 2 / 1e6) for k, x in enumerate(z)], scale="raw")
    found = by_name(a, b)
    assert found["b"] > 0.99  # for less energy
    assert found["a"] == pytest.approx(0.16, abs=0.025)


def test_in_plain_types_with_the_others():
    (plain,) = plain_groups(configurations_of(FAR[0][:1]))
    assert (plain["name"], plain["n"], plain["on_front"], plain["front_probability"]) == ("cheap/seed_0", 1, True, None)
    assert plain["energy_kwh"]["mean"] == 1.0


def test_unlike_things_have_fronts_of_their_own():
    """A measured and an estimated group: the estimate spent less and is better, which says nothing."""
    measured = [replace(run, kind=1) for run in FAR[0]]
    estimated = [replace(run, kind=2) for run in runs("guess", [(0.95, 0.1), (0.96, 0.11), (0.94, 0.09)])]
    mixed = [replace(run, kind=1 + i % 2) for i, run in enumerate(WASTE)]
    found = groups(measured, estimated, mixed)
    assert on_front_of_means(found) == [True, True, True]
    assert probabilities_of(found) == [None, None, None]
    dear = [replace(run, kind=1) for run in FAR[1]]
    assert of_main_kind(groups(measured, dear, estimated))[0].name == "cheap"
