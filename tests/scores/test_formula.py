"""Formulas: bit for bit the expressions they are known by, their inverses, printed forms and tensors."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.scores import functional
from lightning_energy.scores.formula import (
    FORMULAS,
    SIGNS,
    WORDS,
    EnergyPenalized,
    Formula,
    LogPenalized,
    Sustainable,
    parse,
)
from lightning_energy.scores.functional import kernel

accuracies = st.floats(0, 1)
energies_kwh = st.just(0.0) | st.floats(1e-30, 1e9)
constants = st.floats(0.1, 20)
formulas = st.builds(EnergyPenalized, constants, constants, constants) | st.builds(
    LogPenalized, constants, constants, constants
)
formulas |= st.builds(Sustainable, constants, constants)


@given(accuracies, energies_kwh, constants, constants, st.floats(1e-9, 1e9))
def test_bit_for_bit_what_the_expressions_give(a, e, alpha, beta, reference):
    assert EnergyPenalized(alpha, beta, reference)(a, e) == beta * a**alpha / (
        1 + math.log1p(e / reference) / math.log(10)
    )
    if e > 0:
        assert LogPenalized(alpha, beta, reference)(a, e) == beta * a**alpha / (
            math.log1p(e / reference) / math.log(10)
        )
    if e > 1:
        assert Sustainable(alpha, beta)(a, e) == beta * a**alpha / math.log10(e)


@given(accuracies, st.floats(1.001, 1e9))
def test_the_functions_are_the_formulas_with_the_constants_of_the_paper(a, e):
    assert functional.energy_penalized_accuracy(a, e) == EnergyPenalized()(a, e) == EnergyPenalized(5, 5, 1)(a, e)
    assert functional.log_penalized_accuracy(a, e) == LogPenalized()(a, e) == LogPenalized(5, 5, 1)(a, e)
    assert functional.sustainable_accuracy(a, e) == Sustainable()(a, e) == Sustainable(5, 5)(a, e)


@given(formulas, accuracies, energies_kwh)
def test_tensors_agree_with_numbers(formula, a, e):
    number = formula(a, e)
    if not math.isfinite(number):
        assert math.isnan(number)
        assert not formula.is_defined(e)
    tensor = kernel(formula, torch.tensor(a, dtype=torch.float64), torch.tensor(e, dtype=torch.float64))
    assert tensor.item() == pytest.approx(number, rel=1e-9, nan_ok=True)


@given(formulas, st.floats(0.05, 1), st.floats(1.01, 1e6))
def test_the_inverses_give_back_what_was_scored(formula, a, e):
    score = formula(a, e)
    if score < 1e-300:
        return
    assert formula.accuracy_at(e, score) == pytest.approx(a, rel=1e-9)
    assert formula.energy_kwh_at(a, score) == pytest.approx(e, rel=1e-6)


@pytest.mark.parametrize("formula", FORMULAS.values())
def test_a_score_beyond_reach_is_at_no_energy_and_one_of_almost_nothing_at_a_huge_one(formula):
    assert formula().energy_kwh_at(0.9, 1e-9) > 1e100
    assert formula().energy_kwh_at(0.9, 1e-300) < math.inf
    assert EnergyPenalized().energy_kwh_at(0.5, 4.0) == 0.0


@given(formulas)
def test_what_is_printed_is_read_again(formula):
    again = parse(str(formula))
    assert type(again) is type(formula)
    assert [*again.constants.values()] == pytest.approx([*formula.constants.values()], rel=1e-5)
    assert str(again) == str(formula)


@pytest.mark.parametrize("formula", [kind(alpha=2.5) for kind in FORMULAS.values()])
def test_an_accuracy_that_rounding_brought_below_0_is_0(formula):
    assert formula(-0.0005, 2.0) == 0.0


def test_how_a_formula_is_printed():
    assert str(EnergyPenalized()) == "energy_penalized_accuracy(alpha=5, beta=5, reference_kwh=1)"
    assert EnergyPenalized(reference_kwh=0.1).words == "α=5, β=5, reference 0.1 kWh"  # noqa: RUF001
    assert str(Sustainable(alpha=2.5)) == "sustainable_accuracy(alpha=2.5, beta=5)"
    assert EnergyPenalized(reference_kwh=1e-5).to_plain() == {
        "name": "energy_penalized_accuracy",
        "alpha": 5.0,
        "beta": 5.0,
        "reference_kwh": 1e-5,
    }


@pytest.mark.parametrize("text", ["", "my_score", "my_score(alpha=5)", "energy_penalized_accuracy", "a(b) c(d)"])
def test_another_text_is_no_formula(text):
    assert parse(text) is None


@pytest.mark.parametrize("inside", ["reference_kwh=zero", "reference_kwh=0", "alpha=nan", "gamma=5", "5", "beta=-1"])
def test_a_formula_with_other_constants_is_refused(inside):
    with pytest.raises(ValueError, match=r"."):
        parse(f"energy_penalized_accuracy({inside})")


def concrete(kind):
    found = {kind} if not kind.__abstractmethods__ else set()
    return found.union(*(concrete(below) for below in kind.__subclasses__()))


def test_no_formula_is_forgotten():
    assert {*FORMULAS.values()} == concrete(Formula)
    for name, formula in FORMULAS.items():
        assert callable(getattr(functional, name))
        assert {field.name for field in fields(formula)} <= {*SIGNS} == {*WORDS}
        assert formula().markup.startswith("<i>&beta;</i> · <i>a</i><sup><i>&alpha;</i></sup> / ")


def test_formulas_and_the_choice_of_a_metric_need_no_torch():
    code = (
        "import sys, lightning_energy.scores.formula, lightning_energy.scores.scorer\n"
        "sys.exit(bool({'torch', 'numpy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
