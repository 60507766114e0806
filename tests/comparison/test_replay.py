"""Rules on a finished training, by hand."""

from __future__ import annotations

import math

import pytest

from lightning_energy.comparison.replay import LastPoint, Played, Rule, Seen, last_point, replay, signed
from tests.comparison.replays import KWH, VALUES

POINT = 0.03125


def played(values=VALUES, kwh=KWH, *, mode="max", u=0.5, gain_u=None, whole=None) -> Played:
    course = [Seen(i, value, e, None if u is None else u) for i, (value, e) in enumerate(zip(values, kwh, strict=True))]
    return Played(mode, course, kwh[-1] if whole is None else whole, u, gain_u)


def play(rule: Rule, of: Played | None = None):
    return replay("run", of or played(), rule, POINT)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("r", "metric", {"patience": 2}), (5, 0.8125, 3, 0.78125, -1.0, 12.0, 0.25)),
        (Rule("r", "metric", {"patience": 1}), (4, 0.8125, 3, 0.8125, -1.0, 10.0, 0.375)),
        (Rule("r", "metric", {"patience": 1, "min_delta": 0.125}), (3, 0.8125, 3, 0.8125, -1.0, 8.0, 0.5)),
        # prices over two validations: 3 kWh for 16 points, 6 for 10, 6 for 2, then without end
        (Rule("r", "efficiency", {"patience": 2, "max_kwh_per_point": 0.5}), (3, 0.8125, 3, 0.8125, -1.0, 8.0, 0.5)),
        (Rule("r", "efficiency", {"patience": 2, "max_kwh_per_point": 0.6}), (4, 0.8125, 3, 0.8125, -1.0, 10.0, 0.375)),
        (Rule("r", "efficiency", {"patience": 2, "max_kwh_per_point": 3.0}), (5, 0.8125, 3, 0.78125, -1.0, 12.0, 0.25)),
        (Rule("r", "budget", {"budget_kwh": 5.0}), (3, 0.75, 2, 0.75, -3.0, 5.0, 0.6875)),
        (Rule("r", "budget", {"budget_kwh": 4.0}), (2, 0.75, 2, 0.75, -3.0, 4.0, 0.75)),  # spent in its last step
        (Rule("r", "budget", {"budget_kwh": 0.5}), (0, None, None, None, None, 0.5, 0.96875)),
        (Rule("r", "score", {"patience": 2}, [None, 3, 2, 1, 4, 4, 4, 4]), (3, 0.8125, 3, 0.8125, -1.0, 8.0, 0.5)),
        (Rule("r", "best", {}, [None, 3, 2, 4, 4, 0, -1, None]), (3, 0.8125, 3, 0.8125, -1.0, 8.0, 0.5)),
        (Rule("r", "best", {}, [-1, -2, -3, 0, -4, -5, -5, -5]), (3, 0.8125, 3, 0.8125, -1.0, 8.0, 0.5)),
        (Rule("r", "best", {}, [None, -3, -2, -4, -4, -5, -5, -5]), (2, 0.75, 2, 0.75, -3.0, 4.0, 0.75)),
    ],
)
def test_a_stop(rule, expected):
    """Epoch, best value with its epoch, last value, points, kWh, share that is saved."""
    found = play(rule)
    assert found.stops
    assert (found.epoch, found.kept, found.kept_epoch, found.last, found.points, found.kwh, found.saved) == expected
    assert found.saved_kwh == 16.0 * found.saved


@pytest.mark.parametrize(
    "rule",
    [
        Rule("r", "metric", {"patience": 3}),
        Rule("r", "score", {"patience": 8}, VALUES),
        Rule("r", "best", {}, KWH),  # the last epoch
        Rule("r", "efficiency", {"patience": 7, "max_kwh_per_point": 100.0}),
        Rule("r", "budget", {"budget_kwh": 16.0}),
    ],
)
def test_a_training_that_goes_to_its_end(rule):
    found = play(rule)
    assert not found.stops
    assert (found.epoch, found.kept, found.last, found.points) == (7, 0.84375, 0.75, 0.0)
    assert (found.kwh, found.saved_kwh, found.u_saved_kwh, found.saved, found.u_saved) == (16.0, 0.0, 0.0, 0.0, 0.0)
    assert found.sentence() == "it goes to the end"


def test_less_is_better():
    found = play(Rule("r", "metric", {"patience": 2}), played([-v for v in VALUES], mode="min"))
    assert (found.epoch, found.kept, found.points) == (5, -0.8125, -1.0)
    whole = play(Rule("r", "metric", {"patience": 3}), played([-v for v in VALUES], mode="min"))
    assert signed(whole.points) == "+0.0"


def test_a_stop_at_the_last_validation_of_a_training_that_went_on():
    found = play(Rule("r", "metric", {"patience": 1}), played([0.5, 0.25], [1.0, 2.0], whole=4.0))
    assert (found.stops, found.epoch, found.saved) == (True, 1, 0.5)


def test_uncertainties():
    """The gain of 5 % leaves 5 % of the difference, and nothing of the ratio; the rest of each energy adds up."""
    whole, stop = math.hypot(0.05 * 16, 0.3), math.hypot(0.05 * 8, 0.4)
    course = [Seen(0, 0.5, 8.0, stop), Seen(1, 0.5, 16.0, whole)]
    of = Played("max", course, 16.0, whole, 0.05)
    found = play(Rule("r", "budget", {"budget_kwh": 8.0}), of)
    assert found.stops
    found = replay("run", Played("max", [*course, Seen(2, 0.5, 16.0, whole)], 16.0, whole, 0.05),
                   Rule("r", "best", {}, [1.0, 0.0, 0.0]), POINT)  # fmt: skip
    assert (found.kwh, found.u_kwh, found.saved) == (8.0, stop, 0.5)
    assert found.u_saved_kwh == pytest.approx(math.hypot(0.05 * 8, 0.4, 0.3), rel=1e-12)
    assert found.u_saved == pytest.approx(math.hypot(0.4, 0.5 * 0.3) / 16, rel=1e-12)
    alone = replay("run", Played("max", [*course, Seen(2, 0.5, 16.0, whole)], 16.0, whole, None),
                   Rule("r", "best", {}, [1.0, 0.0, 0.0]), POINT)  # fmt: skip
    assert alone.u_saved == pytest.approx(math.hypot(stop, 0.5 * whole) / 16, rel=1e-12)


def test_of_estimates_no_uncertainty_is_known():
    of = Played("max", [Seen(0, 0.5, 8.0, 0.5), Seen(1, 0.5, 16.0, 0.5)], 16.0, 0.5, 0.01, is_estimated=True)
    found = replay("run", of, Rule("r", "budget", {"budget_kwh": 12.0}), POINT)
    assert (found.saved, found.u_saved, found.saved_kwh, found.u_saved_kwh) == (0.25, None, 4.0, None)


def test_energies_that_are_not_known():
    kwh = [1.0, None, 4.0, None, 8.0, 9.0, 10.0, 16.0]
    found = play(Rule("r", "metric", {"patience": 1, "min_delta": 0.125}), played(kwh=kwh, u=None))
    assert (found.stops, found.epoch, found.points, found.kwh, found.saved, found.u_saved) == (
        True, 3, -1.0, None, None, None
    )  # fmt: skip
    assert "the energy is not known" in found.sentence()
    found = play(Rule("r", "budget", {"budget_kwh": 5.0}), played(kwh=kwh, u=None))
    assert (found.epoch, found.kwh, found.saved, found.u_kwh, found.u_saved) == (4, 5.0, 0.6875, None, None)
    found = play(Rule("r", "budget", {"budget_kwh": 4.0}), played(kwh=kwh, u=None))
    assert (found.epoch, found.kept_epoch, found.kwh) == (2, 2, 4.0)


def test_sentences():
    minus = "\N{MINUS SIGN}"
    assert play(Rule("r", "metric", {"patience": 2})).sentence() == (
        f"stopping at epoch 5: {minus}1.0 points, {minus}25 % ± 3.9 % of the energy"
    )
    assert play(Rule("r", "budget", {"budget_kwh": 0.5})).sentence().startswith(
        "stopping at epoch 0: nothing is kept, as no validation came before"
    )  # fmt: skip
    assert play(Rule("r", "budget", {"budget_kwh": 15.5})).sentence().startswith(
        f"stopping at epoch 7: no point given up, {minus}3.1 %"
    )  # fmt: skip


def test_the_last_point():
    """Within a point of the best one (0.84375) from epoch 3 on: 6 of 16 kWh up to epoch 6, and 2 after it."""
    assert last_point(played(), POINT) == LastPoint(0.8125, 3, 0.84375, 6, 6.0, 0.375, 0.125)
    jump = played([0.25, 0.5, 0.25, 0.75], [1.0, 2.0, 5.0, 8.0])
    assert last_point(jump, POINT) == LastPoint(0.25, 2, 0.75, 3, 3.0, 0.375, 0.0)
    assert last_point(played(), 1.0) is None  # the first validation is within it
    assert last_point(played(kwh=[None] * 8), POINT) is None
    assert last_point(played(kwh=[1, 2, 4, None, 10, 12, 14, 16]), POINT) is None


def test_the_mean_price():
    assert played().mean_point_kwh(POINT) == 15.0 / 19
    assert played([0.5, 0.5], [1.0, 2.0]).mean_point_kwh(POINT) is None
    assert played([0.5], [1.0]).mean_point_kwh(POINT) is None
