from __future__ import annotations

import math

import pytest

from lightning_energy.curves.refusal import refusal
from lightning_energy.meters import Reading

S = 10**9
ASKED, ANSWERED = 100 * S, 100 * S + 3_000_000


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (Reading(ASKED, ANSWERED, register_j=1.0), ""),
        (Reading(ASKED, ASKED, power_w=1.0), ""),
        (Reading(ASKED - 9 * S, ASKED - 8 * S, register_j=1.0), ""),  # of a service that asks now and then
        (Reading(ASKED - 11 * S, ASKED, register_j=1.0), "from another clock (11 s before the call)"),
        (Reading(ASKED, ANSWERED + 2 * S, register_j=1.0), "from another clock (2 s after the call)"),
        (Reading(ASKED + 10**18, ANSWERED + 10**18), "from another clock (1e+09 s after the call)"),
        (Reading(ANSWERED, ASKED, register_j=1.0), "ends 0.003 s before it begins"),
        (Reading(ASKED, ANSWERED, register_j=math.nan), "its energy counter reads nan J"),
        (Reading(ASKED, ANSWERED, register_j=math.inf), "its energy counter reads inf J"),
    ],
)
def test_a_reading_that_says_nothing_is_refused_with_the_reason(reading, words):
    assert (words in refusal(reading, ASKED, ANSWERED)) if words else refusal(reading, ASKED, ANSWERED) == ""


@pytest.mark.parametrize(("took_s", "why"), [(1.9, ""), (2.1, "its read has not returned for 2 s")])
def test_an_answer_that_took_long_is_none(took_s, why):
    end_ns = ASKED + round(took_s * S)
    assert refusal(Reading(ASKED, end_ns, register_j=1.0), ASKED, end_ns) == why
