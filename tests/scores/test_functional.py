"""The formulas, against worked values, their own mathematics, and nonsense."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.scores.functional import (
    energy_penalized_accuracy,
    log_penalized_accuracy,
    marginal_accuracy_per_kwh,
    sustainable_accuracy,
)

FORMULAS = [sustainable_accuracy, energy_penalized_accuracy, log_penalized_accuracy]
fractions = st.floats(0.01, 1)
energies_kwh = st.floats(1.01, 1e6)


@pytest.mark.parametrize(
    ("energy_kwh", "sustainable", "log", "bounded"),
    [
        (1e-5, None, 377257, 1.6384),
        (0.001, None, 3774, 1.6377),
        (0.1, None, 39.58, 1.5733),
        (0.99, None, 5.482, 1.2614),
        (1, None, 5.443, 1.2593),
        (1.01, 379.1, 5.404, 1.2572),
        (2, 5.443, 3.434, 1.1092),
        (10, 1.638, 1.573, 0.8026),
        (100, 0.819, 0.817, 0.5453),
        (1000, 0.546, 0.546, 0.4096),
    ],
)
def test_worked_values_at_accuracy_08(energy_kwh, sustainable, log, bounded):
    if sustainable is None:
        assert math.isnan(sustainable_accuracy(0.8, energy_kwh, on_invalid="nan"))
    else:
        assert sustainable_accuracy(0.8, energy_kwh) == pytest.approx(sustainable, rel=7e-4)
    assert log_penalized_accuracy(0.8, energy_kwh) == pytest.approx(log, rel=7e-4)
    assert energy_penalized_accuracy(0.8, energy_kwh) == pytest.approx(bounded, abs=6e-5)


@pytest.mark.parametrize(
    ("energy_kwh", "log_wh", "bounded_wh"),
    [(1e-5, 379.1, 1.6314), (0.1, 0.817, 0.5453), (1000, 0.273, 0.2341)],
)
def test_worked_values_with_a_reference_of_1_wh(energy_kwh, log_wh, bounded_wh):
    assert log_penalized_accuracy(0.8, energy_kwh, reference_kwh=1e-3) == pytest.approx(log_wh, rel=2e-3)
    assert energy_penalized_accuracy(0.8, energy_kwh, reference_kwh=1e-3) == pytest.approx(bounded_wh, abs=6e-5)


@pytest.mark.parametrize(("accuracy", "squared"), [(0.9117, 0.031882), (0.8726, 0.046177), (0.8077, 0.031476)])
def test_published_rows_of_the_joule_variant_square_to_their_other_column(accuracy, squared):
    # (accuracy / log10(E in J))**2: alpha would act on the accuracy alone, so the whole is squared here
    energy_j = {0.9117: 127631.526, 0.8726: 11500.232, 0.8077: 35697.650}[accuracy]
    assert sustainable_accuracy(accuracy, energy_j, alpha=1, beta=1) ** 2 == pytest.approx(squared, rel=3e-5)


@pytest.mark.parametrize("formula", FORMULAS)
@given(accuracy=fractions, other=fractions, energy_kwh=energies_kwh, alpha=st.floats(0.5, 8))
def test_a_higher_accuracy_never_scores_lower(formula, accuracy, other, energy_kwh, alpha):
    low, high = sorted((accuracy, other))
    assert formula(low, energy_kwh, alpha) <= formula(high, energy_kwh, alpha)
    if high > low * 1.001:
        assert formula(low, energy_kwh, alpha) < formula(high, energy_kwh, alpha)


@pytest.mark.parametrize("formula", FORMULAS)
@given(accuracy=fractions, energy_kwh=energies_kwh, factor=st.floats(1.001, 1e3))
def test_more_energy_scores_lower(formula, accuracy, energy_kwh, factor):
    assert formula(accuracy, energy_kwh * factor) < formula(accuracy, energy_kwh)


@given(
    accuracy=st.floats(0, 1),
    energy_kwh=st.floats(0, 1e300),
    alpha=st.floats(1e-3, 1e3),
    beta=st.floats(1e-3, 1e3),
    reference_kwh=st.floats(1e-12, 1e12),
)
def test_the_penalized_score_stays_between_0_and_beta(accuracy, energy_kwh, alpha, beta, reference_kwh):
    assert 0 <= energy_penalized_accuracy(accuracy, energy_kwh, alpha, beta, reference_kwh) <= beta


def test_the_penalized_score_without_energy_is_that_of_accuracy_alone():
    assert energy_penalized_accuracy(1.0, 0.0) == 5.0
    assert energy_penalized_accuracy(0.5, 0, alpha=2, beta=4) == 1.0


@pytest.mark.parametrize("formula", FORMULAS)
@given(accuracy=fractions, energy_kwh=energies_kwh)
def test_numbers_and_tensors_agree(formula, accuracy, energy_kwh):
    number = formula(accuracy, energy_kwh)
    assert type(number) is float
    for a, e in (
        (torch.tensor(accuracy, dtype=torch.float64), energy_kwh),
        (accuracy, torch.tensor(energy_kwh, dtype=torch.float64)),
    ):
        tensor = formula(a, e)
        assert tensor.dtype == torch.float64
        # log10 just above 1 kWh loses digits alike in both, but not the same ones
        assert tensor.item() == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_broadcast_and_low_precision_comes_back_as_float32(formula, dtype):
    accuracy = torch.tensor([[0.25], [0.5], [1.0]], dtype=dtype)
    energy_kwh = torch.tensor([2, 1000])
    score = formula(accuracy, energy_kwh)
    assert score.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected = [[formula(a, e) for e in (2.0, 1000.0)] for a in (0.25, 0.5, 1.0)]
    torch.testing.assert_close(score, torch.tensor(expected, dtype=score.dtype))


@pytest.mark.parametrize("formula", FORMULAS)
def test_gradients_of_accuracy_and_energy(formula):
    accuracy = torch.tensor([0.3, 0.6, 0.95], dtype=torch.float64, requires_grad=True)
    energy_kwh = torch.tensor([1.5, 20.0, 300.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(formula, (accuracy, energy_kwh))


def test_an_energy_at_the_pole_leaves_the_gradients_of_others_finite():
    energy_kwh = torch.tensor([0.0, 1.0, 10.0], dtype=torch.float64, requires_grad=True)
    score = sustainable_accuracy(0.8, energy_kwh, on_invalid="nan")
    assert score.isnan().tolist() == [True, True, False]
    score[2].backward()
    torch.testing.assert_close(energy_kwh.grad[:2], torch.zeros(2, dtype=torch.float64))
    assert energy_kwh.grad[2] == pytest.approx(-5 * 0.8**5 / (10 * math.log(10)))


@pytest.mark.parametrize("energy_kwh", [0, 0.5, 1, 1.0, torch.tensor([10.0, 0.5])])
def test_the_published_score_refuses_1_kwh_and_less(energy_kwh):
    with pytest.raises(ValueError, match=r"above 1 kWh only.*energy_penalized_accuracy"):
        sustainable_accuracy(0.8, energy_kwh)


def test_the_log_score_refuses_zero_energy():
    with pytest.raises(ValueError, match="infinite at zero energy"):
        log_penalized_accuracy(0.8, 0.0)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    ("accuracy", "energy_kwh", "error", "text"),
    [
        (91.2, 10.0, ValueError, r"91\.2.*percentage: divide by 100"),
        (torch.tensor([0.5, 91.2]), 10.0, ValueError, "percentage: divide by 100"),
        (-0.1, 10.0, ValueError, r"-0\.1.*from 0 to 1"),
        (1e4, 10.0, ValueError, r"10000\.0.*from 0 to 1"),
        (math.nan, 10.0, ValueError, "NaN: compute the accuracy"),
        (torch.tensor([0.5, math.nan]), 10.0, ValueError, "NaN"),
        (True, 10.0, TypeError, "accuracy=True"),
        ("0.9", 10.0, TypeError, "accuracy='0.9'"),
        (None, 10.0, TypeError, "accuracy=None"),
        (torch.tensor(1), 10.0, TypeError, "int64.*floating"),
        (0.9, -1.0, ValueError, r"energy_kwh=-1\.0.*0 or more"),
        (0.9, math.nan, ValueError, "energy_kwh=nan.*not known"),
        (0.9, math.inf, ValueError, "energy_kwh=inf.*finite"),
        (0.9, torch.tensor([2.0, -2.0]), ValueError, r"from -2\.0 to 2\.0"),
        (0.9, torch.tensor([True]), TypeError, "bool"),
        (0.9, True, TypeError, "energy_kwh=True"),
        (0.9, "10", TypeError, "energy_kwh='10'"),
        (0.9, None, TypeError, "energy_kwh=None"),
    ],
)
def test_nonsense_is_refused_with_its_value_and_a_remedy(formula, accuracy, energy_kwh, error, text):
    with pytest.raises(error, match=text):
        formula(accuracy, energy_kwh)


@pytest.mark.parametrize("name", ["alpha", "beta", "reference_kwh"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (True, TypeError),
        ("5", TypeError),
    ],
)
def test_constants_must_be_finite_numbers_above_0(name, value, error):
    with pytest.raises(error, match=name):
        energy_penalized_accuracy(0.9, 10.0, **{name: value})
    if name != "reference_kwh":
        with pytest.raises(error, match=name):
            sustainable_accuracy(0.9, 10.0, **{name: value})


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match=r"on_invalid='clamp'.*raise, nan"):
        sustainable_accuracy(0.9, 10.0, on_invalid="clamp")


def test_rounding_just_above_1_is_1():
    above = float(torch.nextafter(torch.tensor(1.0), torch.tensor(2.0)))
    for accuracy in (above, torch.tensor(above), torch.tensor(1.0078125, dtype=torch.bfloat16)):
        assert float(energy_penalized_accuracy(accuracy, 0.0)) == 5.0


def test_numpy_numbers_are_numbers():
    assert energy_penalized_accuracy(np.float32(0.5), np.int64(9)) == pytest.approx(5 / 64)


@given(fractions, fractions, st.floats(0, 1e3), st.floats(1e-3, 1e3))
def test_the_marginal_gain_times_the_energy_spent_is_the_gain(accuracy, previous, before_kwh, spent_kwh):
    energy_kwh = before_kwh + spent_kwh
    gain = marginal_accuracy_per_kwh(accuracy, energy_kwh, previous, before_kwh)
    assert gain * (energy_kwh - before_kwh) == pytest.approx(accuracy - previous, abs=1e-12)


def test_the_marginal_gain_needs_energy_between_its_points():
    assert marginal_accuracy_per_kwh(0.8, 3.0, 0.9, 1.0) == pytest.approx(-0.05)
    with pytest.raises(ValueError, match="later one first"):
        marginal_accuracy_per_kwh(0.9, 1.0, 0.8, 1.0)
    with pytest.raises(ValueError, match="percentage"):
        marginal_accuracy_per_kwh(0.9, 2.0, 80.0, 1.0)
