"""Readings of a board that contradict each other, judged by the windows in which they were seen."""

from __future__ import annotations

import random

import pytest

from lightning_energy.meters.nvml_agreement import Look, Window, covers_module, disagreement, odd_ones


def window(seconds=5.0, counter_w=None, every_s=0.1, **of_time):
    """Looks at random moments; each reading is a function of seconds."""
    rng, looks, at_s = random.Random(0), [], 0.0
    while at_s < seconds:
        looks.append(Look(round(at_s * 1e9), **{f"{name}_w": f(at_s) for name, f in of_time.items()}))
        at_s += every_s * rng.uniform(0.5, 1.5)
    return Window(seconds, looks, counter_w)


def steady(power_w):
    return lambda _: power_w


def bursts(at_s):
    return 350.0 if at_s % 0.3 < 0.2 else 50.0  # 250 W on average


@pytest.mark.parametrize(
    ("counter_w", "instant_w", "average_w", "odd"),
    [
        (300.0, 300.0, 300.0, set()),
        (300.0, 1.0, 300.0, {"instant"}),
        (300.0, 2000.0, 300.0, {"instant"}),
        (60.0, 1.0, 62.0, {"instant"}),
        (300.0, 300.0, 20.0, {"average"}),
        (3.0, 300.0, 290.0, {"counter"}),
        (0.0, 300.0, 290.0, {"counter"}),
        (900.0, 300.0, 290.0, {"counter"}),
        (187.0, 327.0, 330.0, set()),  # seen, and nobody knows which is right
        (300.0, 100.0, 20.0, set()),  # nobody agrees with anybody
        (3.0, 1.0, 2.0, set()),  # a few watts are no difference
        (None, 1.0, 300.0, {"instant"}),
        (None, 300.0, 280.0, set()),
        (300.0, None, 20.0, set()),
        (300.0, 1.0, None, set()),
    ],
)
def test_the_odd_one_of_three(counter_w, instant_w, average_w, odd):
    named = {"instant": instant_w, "average": average_w}
    seen = window(counter_w=counter_w, **{k: steady(w) for k, w in named.items() if w is not None})
    assert odd_ones(seen) == odd


@pytest.mark.parametrize("seconds", [1.2, 5.0])
def test_a_load_in_bursts_and_a_step_of_the_load_are_no_contradiction(seconds):
    assert odd_ones(window(seconds, 250.0, instant=bursts, average=steady(250.0))) == set()
    # a step from 60 to 360 W in the middle; the average follows within a second
    half_s = seconds / 2

    def step(at_s):
        return 360.0 if at_s > half_s else 60.0

    def late(at_s):
        return 60.0 + 300.0 * min(max(at_s - half_s, 0.0), 1.0)

    assert odd_ones(window(seconds, 210.0, instant=step, average=late)) == set()


@pytest.mark.parametrize("seconds", [0.0, 0.9])
def test_a_short_look_says_nothing(seconds):
    assert odd_ones(window(seconds, 300.0, instant=steady(1.0), average=steady(300.0))) == set()
    assert covers_module(window(seconds, 300.0, instant=steady(300.0), module=steady(500.0))) is None
    assert disagreement(window(seconds, 300.0, instant=steady(100.0))) == ""


def test_a_difference_that_cannot_be_settled_is_said():
    seen = window(counter_w=187.0, instant=steady(327.0), average=steady(330.0))
    assert "its counter and its power sensor differ by more than 20 %" in disagreement(seen)
    assert disagreement(window(counter_w=300.0, instant=steady(290.0))) == ""


@pytest.mark.parametrize(
    ("counter_w", "gpu_w", "module_w", "answer"),
    [
        (500.0, 300.0, 500.0, True),
        (470.0, 300.0, 500.0, True),
        (300.0, 300.0, 500.0, False),
        (330.0, 300.0, 500.0, False),
        (400.0, 300.0, 500.0, None),  # in the middle
        (900.0, 300.0, 500.0, None),  # like neither
        (250.0, 300.0, 500.0, False),
        (50.0, 300.0, 500.0, None),
        (10.0, 300.0, 500.0, None),
        (310.0, 300.0, 310.0, False),  # the module is the GPU
        (500.0, None, 500.0, True),
        (300.0, None, 500.0, False),
        (400.0, None, 500.0, None),
    ],
)
def test_what_a_counter_covers(counter_w, gpu_w, module_w, answer):
    named = {"instant": gpu_w, "module": module_w}
    seen = window(counter_w=counter_w, **{k: steady(w) for k, w in named.items() if w is not None})
    assert covers_module(seen) is answer


def test_a_load_that_hides_the_difference_is_watched_on():
    """Bursts of 300 W hide 40 W for seconds, not for ever."""

    def module(at_s):
        return bursts(at_s) + 40.0

    assert covers_module(window(2.0, 290.0, instant=bursts, module=module)) is None
    assert covers_module(window(60.0, 290.0, every_s=0.02, instant=bursts, module=module)) is True
