from __future__ import annotations

import pytest

from lightning_energy.results.plain import cell, plain


class Odd:
    def __str__(self) -> str:
        raise ValueError("mine")


def test_an_odd_value_costs_that_value_alone():
    assert plain({"a": 1, "b": Odd(), Odd(): 2}) == {"a": 1, "b": "(Odd)", "(Odd)": 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-2+3", "'-2+3"),
        (" =1", "' =1"),
        ("a\x1b[31m\u202eb", "a\ufffd[31m\ufffdb"),
        ("val_acc", "val_acc"),
        ("", ""),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_a_cell_is_no_formula(value, expected):
    assert cell(value) == expected
