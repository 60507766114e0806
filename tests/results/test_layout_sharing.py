from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_energy.ledger.how_shared import ClassPower, HowShared, Moved, StepKinds
from lightning_energy.results.brief import in_brief
from lightning_energy.results.figures import Device
from lightning_energy.results.layout_sharing import facts_of_sharing
from tests.records import energy, record

SHARED = HowShared(
    method="fitted",
    intervals=412,
    delay_s=0.098,
    delay_u_s=0.002,
    smoothing_s=0.0,
    smoothing_u_s=0.0004,
    look=1.0,
    classes=(
        ClassPower("outside", "before", 60.0, 3.0),
        ClassPower("train", "step", 300.0, 2.0),
        ClassPower("train", "gap", 90.0, 70.0),
        ClassPower("sanity_check", "opening", 65.0, 5.0),
    ),
)


def text(shared: HowShared | None, n: int = 1) -> list[str]:
    devices = [Device("NVIDIA H100", f"GPU-{i}", "gpu", energy(1.0), 0.1, shared=shared) for i in range(n)]
    return [f"{label}: {words}" for label, words in facts_of_sharing(record(devices=devices).report)]


def test_the_delay_and_the_powers_in_words():
    (line,) = text(SHARED)
    assert line == (
        "Mean powers of NVIDIA H100: before the run 60 ± 3 W, train (steps) 300 ± 2 W, sanity check (before its first "
        "step) 65 ± 5 W; not known, as too rare or too short: train (between steps). They follow from 412 updates, and "
        "divide the energy between two of them. The counter shows energy 98 ± 2 ms late"
    )


def test_where_no_power_is_known_the_line_says_so():
    late = ". The counter shows energy 98 ± 2 ms late"
    assert text(replace(SHARED, classes=())) == [f"Mean powers of NVIDIA H100: none is known{late}"]
    (line,) = text(replace(SHARED, classes=SHARED.classes[2:3]))
    assert line == f"Mean powers of NVIDIA H100: not known, as too rare or too short: train (between steps){late}"


def test_parts_that_had_less_than_nothing_by_powers_alone():
    moved = (Moved(3, "validate", "step", 1.53), Moved(3, "train", "step", -1.53))
    assert text(replace(SHARED, moved=moved))[0].endswith(
        ". By powers alone, parts of the run had less than nothing or too much: up to 1.5 J moved"
    )


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            StepKinds("train", 2, (0, 1), (), (240, 239), (0.25, 0.031), (0.238, 0.0301), (0.003, 0.0009)),
            (
                "by their number in the epoch, from 0 on, modulo 2: kind 1 is 0, 240 steps of 238 ± 3 mJ each; kind 2 "
                "is 1, 239 steps of 30.1 ± 0.9 mJ each"
            ),
        ),
        (
            StepKinds("train", 8, (0, 0, 0, 1, 0, 0, 0, 0)),
            "by their number in the epoch, from 0 on, modulo 8: kind 1 is the others; kind 2 is 3",
        ),
        (
            StepKinds("train", limits_s=(0.25,), n=(5, 6), step_s=(0.1, 0.4), step_j=(1.5, 20), step_u_j=(0.25, 1)),
            (
                "by duration: kind 1 is below 250 ms, 5 steps of 1.5 ± 0.25 J each; kind 2 is from 250 ms on, 6 steps "
                "of 20 ± 1 J each"
            ),
        ),
    ],
)
def test_kinds_of_steps_have_a_power_each_and_say_which_they_are(rule, words):
    kinds = (ClassPower("train", "step", 300.0, 2.0), ClassPower("train", "step 2", 120.0, 3.0))
    shared = replace(SHARED, classes=kinds, step_kinds=(rule,))
    assert text(shared)[0].endswith(
        "of them. The counter shows energy 98 ± 2 ms late. Steps of train are of kinds " + words
    )
    assert ": train (steps of kind 1) 300 ± 2 W, train (steps of kind 2) 120 ± 3 W. They" in text(shared)[0]
    devices = [Device("NVIDIA H100", "GPU-1", "gpu", energy(1.0), 0.1, shared=shared)]
    (row,) = in_brief(replace(record(devices=devices).report, steps=10, step_j=0.134)).rows
    assert "134 mJ/step, the mean of kinds" in row[-1]


def test_a_delay_that_is_not_seen_and_a_register_that_shows_energy_at_once():
    assert "The counter is not seen to be late (3 ± 2 ms)" in text(replace(SHARED, delay_s=0.003))[0]
    assert "The counter shows energy at once" in text(replace(SHARED, delay_s=0.0, delay_u_s=0.001))[0]


def test_smoothing_and_a_sensor_that_looks_at_a_part_of_the_time():
    smooth = replace(SHARED, smoothing_s=0.02, smoothing_u_s=0.003, look=0.25)
    assert "98 ± 2 ms late, and smoothed over 20 ± 3 ms. It seems to look at 25 % of the time" in text(smooth)[0]


def test_what_is_shared_by_time_alone_says_why():
    lines = HowShared("lines", "its counter was seen to move too seldom for more")
    (line,) = text(lines)
    assert line == (
        "Mean powers of NVIDIA H100: not known, so that the energy between two updates is divided by time alone: its "
        "counter was seen to move too seldom for more"
    )
    assert text(None) == []  # of an earlier release


def test_many_devices_are_in_the_record():
    assert [line.partition(":")[0] for line in text(SHARED, 8)][3:] == [
        "Mean powers of NVIDIA H100",
        "Mean powers",
    ]
    assert text(SHARED, 8)[-1] == "Mean powers: of 4 more devices: see the record"
