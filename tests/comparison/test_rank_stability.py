from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy.comparison.rank_stability import Candidate, ranks_at, stability
from lightning_energy.scores.formula import EnergyPenalized, Sustainable

# a^alpha / (1 + log10(1 + E)): penalties 1, 2 and 3 at 0, 9 and 99 kWh
CHEAP, MIDDLE, DEAR = Candidate("cheap", 0.5, 0.0), Candidate("middle", 0.8, 9.0), Candidate("dear", 0.9, 99.0)


def test_winners_change_where_two_scores_are_equal():
    """Cheap and middle are equal where 1.6^alpha = 2, middle and dear where 1.125^alpha = 1.5."""
    found = stability([MIDDLE, CHEAP, DEAR], EnergyPenalized(), alphas=(1.0, 20.0))
    first, second = math.log(2) / math.log(1.6), math.log(1.5) / math.log(1.125)
    assert [w.name for w in found.over_alpha] == ["cheap", "middle", "dear"]
    assert [w.low for w in found.over_alpha] == pytest.approx([1.0, first, second])
    assert [w.high for w in found.over_alpha] == pytest.approx([first, second, 20.0])
    # cheap and dear: 1.8^alpha = 3, at 1.87, is a change of order as well
    assert (found.pairs, found.pairs_that_change) == (3, 3)


def test_the_sentence():
    found = stability([MIDDLE, CHEAP, DEAR], EnergyPenalized(), alphas=(1.0, 20.0), references_kwh=(1.0, 1.0))
    assert found.sentences()[0] == (
        "Three winners over alpha 1 to 20 (reference 1 kWh): cheap up to 1.47, middle from 1.47 to 3.44, dear from "
        "3.44; 3 of 3 pairs change places."
    )
    by_figures, beta = found.sentences()[-2:]
    assert by_figures == (
        "Winners and places are by the figures that were seen (means of repeats): neither their scatter, nor the "
        "uncertainty of the energies, nor energy that is missing is in it."
    )
    assert beta == "Beta multiplies every score alike: it changes no order."
    alone = stability([DEAR, Candidate("worse", 0.8, 100.0)], EnergyPenalized())
    assert alone.sentences()[:2] == [
        "One winner over alpha 1 to 20 (reference 1 kWh): dear; none of 1 pair changes places.",
        "One winner over references of 0.001 to 1000 kWh (alpha 5): dear.",
    ]


def test_winners_over_the_reference():
    """At alpha 1, 0.8 / (1 + log10(1 + 1/r)) and 1 / (1 + log10(1 + 10/r)): the penalties are near each other for a
    large reference, and for a tiny one too, so that accuracy alone decides at both ends."""
    cheap, dear = Candidate("cheap", 0.8, 1.0), Candidate("dear", 1.0, 10.0)
    found = stability([cheap, dear], EnergyPenalized(alpha=1), references_kwh=(1e-9, 1e6))
    assert [w.name for w in found.over_reference] == ["dear", "cheap", "dear"]
    for winner in found.over_reference[1:]:
        formula = EnergyPenalized(1, 1, winner.low)
        assert formula(0.8, 1.0) == pytest.approx(formula(1.0, 10.0))


def test_a_formula_without_a_reference_has_no_range_of_it():
    found = stability([Candidate("a", 0.8, 2.0), Candidate("b", 0.9, 10.0)], Sustainable())
    assert found.over_reference == []
    assert not any("reference" in sentence for sentence in found.sentences())


def test_beta_changes_no_order():
    found = [stability([MIDDLE, CHEAP, DEAR], EnergyPenalized(beta=beta)).to_plain() for beta in (0.1, 5.0, 50.0)]
    assert found[0] == found[1] == found[2]


def test_equals_share_a_rank_and_scores_of_zero_are_last():
    alike = [Candidate("a", 0.8, 9.0), Candidate("b", 0.8, 9.0), Candidate("zero", 0.0, 0.1)]
    assert ranks_at(alike, EnergyPenalized()).tolist() == [1, 1, 3]
    found = stability(alike, EnergyPenalized())
    assert [(w.name, w.tied) for w in found.over_alpha + found.over_reference] == [("a", ("b",))] * 2
    assert found.sentences()[:2] == [
        "One winner over alpha 1 to 20 (reference 1 kWh): a (equal: b); none of 3 pairs change places.",
        "One winner over references of 0.001 to 1000 kWh (alpha 5): a (equal: b).",
    ]
    assert found.to_plain()["over_alpha"][0]["tied"] == ["b"]
    assert found.pairs_that_change == 0
    nothing = stability([Candidate(name, 0.0, kwh) for name, kwh in (("a", 1.0), ("b", 2.0))], EnergyPenalized())
    assert nothing.over_alpha[0].tied == nothing.over_reference[0].tied == ("b",)
    between = stability([CHEAP, MIDDLE, MIDDLE._replace(name="again")], EnergyPenalized())
    assert [(w.name, w.tied) for w in between.over_alpha] == [("cheap", ()), ("middle", ("again",))]
    assert stability([], EnergyPenalized()) is stability(alike[:1], EnergyPenalized()) is None
    undefined = stability([Candidate("a", 0.8, 0.5), Candidate("b", 0.9, 0.4)], Sustainable())
    assert undefined is None  # at 1 kWh or less it has no score


@given(st.lists(st.tuples(st.floats(0.05, 1.0), st.floats(1e-4, 1e3)), min_size=2, max_size=6))
@settings(max_examples=25)
def test_the_winners_are_those_of_a_scan(points):
    runs = [Candidate(f"{i}", a, e) for i, (a, e) in enumerate(points)]
    found = stability(runs, EnergyPenalized())
    for alpha in np.linspace(1.01, 19.99, 60):
        scores = {run.name: EnergyPenalized(alpha)(run.accuracy, run.energy_kwh) for run in runs}
        winner = next(w.name for w in found.over_alpha if w.low <= alpha <= w.high)
        assert scores[winner] == pytest.approx(max(scores.values()), rel=1e-6)


def test_a_thousand_runs_take_no_time():
    rng = np.random.default_rng(1)
    runs = [Candidate(f"{i}", a, e) for i, (a, e) in enumerate(zip(rng.random(1000), rng.random(1000), strict=True))]
    before = time.process_time()
    assert stability(runs, EnergyPenalized()).pairs == 499_500
    assert time.process_time() - before < 5.0  # of the processor, whatever else runs
