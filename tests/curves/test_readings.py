from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lightning_energy.curves.readings import believed, believed_w
from lightning_energy.meters import Reading

BEFORE, AFTER, LAST = 10**15 + 100, 10**15 + 300, 10**15
S = 10**9


def answer(start_ns=BEFORE + 1, end_ns=AFTER - 1, register_j=5.0, power_w=None) -> Reading:
    return Reading(start_ns, end_ns, register_j, power_w)


@pytest.mark.parametrize(
    "reading",
    [
        answer(),
        answer(register_j=None, power_w=0.0),
        answer(register_j=None),  # no answer of the sensor, which is told as such
        answer(register_j=-3.0),  # only its differences count
        answer(start_ns=LAST, end_ns=LAST),  # an answer that it has kept since the last one
        answer(start_ns=BEFORE - 9 * S),  # of a service that asks now and then
    ],
)
def test_what_can_be_is_taken_as_it_is(reading):
    assert believed(reading, BEFORE, AFTER, LAST) == (reading, "")


@pytest.mark.parametrize("number", [np.float32(7.0), torch.tensor(7.0), np.int64(7), 7, "7"])
def test_other_numbers_become_plain_ones(number):
    reading, problem = believed(answer(np.int64(BEFORE), float(AFTER), number), BEFORE, AFTER, LAST)
    assert (reading, problem) == (Reading(BEFORE, AFTER, 7.0), "")
    assert {type(v) for v in (reading.start_ns, reading.end_ns)} == {int}
    assert type(reading.register_j) is float
    assert believed_w(number) == 7.0


@pytest.mark.parametrize(
    ("reading", "problem"),
    [
        (None, "it gives None for a reading"),
        ((1, 2, 3.0), "it gives (1, 2, 3.0) for a reading"),
        (answer(register_j=math.nan), "its energy counter reads nan J"),
        (answer(register_j=math.inf), "its energy counter reads inf J"),
        (answer(register_j=-math.inf), "its energy counter reads -inf J"),
        (answer(register_j="much"), "its reading is 'much' J and None W"),
        (answer(register_j=torch.zeros(2)), "its reading is tensor([0., 0.]) J and None W"),
        (answer(register_j=None, power_w=-5.0), "its power reads -5 W"),
        (answer(register_j=None, power_w=math.nan), "its power reads nan W"),
        (answer(end_ns=AFTER + 10**9), "it lies 1 s in the future"),
        (answer(end_ns=AFTER + 2 * S), "from another clock (2 s after the call)"),
        (answer(BEFORE + 10**18, AFTER + 10**18), "from another clock (1e+09 s after the call)"),
        (answer(start_ns=1, end_ns=AFTER), "from another clock (1e+06 s before the call)"),
        (answer(start_ns=BEFORE - 11 * S, end_ns=AFTER), "from another clock (11 s before the call)"),
        (answer(start_ns=LAST - 3 * 10**9, end_ns=LAST - 2 * 10**9), "it is 2 s older than the one before it"),
        (answer(start_ns=AFTER, end_ns=AFTER - 10**9), "it ends 1 s before it begins"),
        (answer(start_ns=math.nan), "its reading is from nan to 1000000000000299 ns"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(reading, problem):
    refused, why = believed(reading, BEFORE, AFTER, LAST)
    assert refused is None
    assert problem in why


@pytest.mark.parametrize(("took_s", "why"), [(1.9, ""), (2.1, "its read has not returned for 2 s")])
def test_an_answer_that_took_long_is_none(took_s, why):
    after_ns = BEFORE + round(took_s * S)
    reading = answer(end_ns=after_ns)
    assert believed(reading, BEFORE, after_ns, LAST) == (None if why else reading, why)


@pytest.mark.parametrize("power_w", [None, math.nan, math.inf, -1.0, "much", torch.zeros(2), object()])
def test_a_power_that_cannot_be_is_none(power_w):
    assert believed_w(power_w) is None
