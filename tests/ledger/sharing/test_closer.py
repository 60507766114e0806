from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.ledger.sharing.closer import Closer, Parabola, Turns, changes, with_squares
from lightning_energy.ledger.sharing.delay import Found
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.parts import Parts
from lightning_energy.ledger.sharing.powers import Normals, fit, fit_beside
from lightning_energy.ledger.sharing.prior import Prior
from lightning_energy.ledger.sharing.timeline import Timeline

LENGTH_S = 0.02
PHASES_MS, WATTS = (14.0, 21.0, 5.0, 10.0), np.array([270.0, 330.0, 210.0, 90.0])


def test_a_parabola_through_three_points():
    square = Parabola(-1.0, *(np.array([3 * (t - 0.5) ** 2]) for t in (-1.0, 0.0, 1.0)))
    assert square.beyond(0.5) == pytest.approx(-0.75)
    assert np.ravel(square.changes(0.5)) == pytest.approx([0.0, 3.0])
    beyond = Parabola(2.0, *(np.array([4 * t + t**2]) for t in (2.0, 0.0, 1.0)))  # both others on one side
    assert beyond.beyond(3.0) == pytest.approx(21.0)
    assert np.ravel(beyond.changes(-1.0)) == pytest.approx([2.0, 1.0])


TRIED = Prior.of((Parts((0.5,), (0, 4)), Parts((1 / 3, 2 / 3), (1, 5, 6)))).tried


def seen_by(found: Found, n: int, *, true: Kernel, seed: int) -> tuple[list[Normals], Turns]:
    """The normal equations of n intervals of 20 ms by the kernel and by those beside it; two phases are cut."""
    rng = np.random.default_rng(seed)
    steps = int(n * LENGTH_S / 0.05) + 40
    length_s = np.repeat(PHASES_MS, (2, 3, 1, 1)) * 1e-3 / np.repeat((2, 3, 1, 1), (2, 3, 1, 1))
    length_s = (length_s * (1 + 0.04 * rng.standard_normal((steps, 7)))).ravel()
    start_s = np.concatenate([[-1.0], np.cumsum(length_s)])
    of_class = np.array([0, 4, 1, 5, 6, 2, 3])
    timeline = Timeline(start_s, np.concatenate([[3], np.tile(of_class, steps)])[: len(start_s)], 7)
    watts = np.append(WATTS, [270.0, 330.0, 330.0])
    knot_s = 0.5 + LENGTH_S * np.arange(n + 1)
    rise_j = true.seconds(knot_s, timeline)[0] @ watts + 0.3 * rng.standard_normal(n)
    length_s, weight, nothing, turns = np.full(n, LENGTH_S), np.full(n, 1 / LENGTH_S), np.zeros((7, 7)), Turns()
    seconds = [kernel.seconds(knot_s, timeline)[0] for kernel in (found.kernel, *found.beside)]
    normals = [Normals.of(x, rise_j, length_s, weight, nothing) for x in seconds]
    for part in (slice(0, n // 2), slice(n // 2, n)):
        turns.add([x[part] for x in seconds], weight[part])
    return normals, turns


def closer_of(found: Found, normals: list[Normals], turns: Turns) -> Closer:
    return Closer.of(found, normals, TRIED, turns, scatter=0.09 / LENGTH_S, of_times_j2=0.0)


FOUND = Found(Kernel(0.0006, 0.0002), np.array([[9e-7, -4e-7], [-4e-7, 4e-7]]), fine_n=1024)
"""Delay and smoothing together are known to 0.7 ms."""


@pytest.mark.parametrize("true", [Kernel(0.0), Kernel(0.001), Kernel(0.0, 0.0008)])
def test_all_intervals_tell_the_kernel_better_than_the_first(true):
    shows_s = true.lag_s + true.ema_s
    errors, sure = [], []
    for seed in range(4):
        closer = closer_of(FOUND, *seen_by(FOUND, 8192, true=true, seed=seed))
        kernel = closer.found.kernel
        errors.append(kernel.lag_s + kernel.ema_s - shows_s)
        sure.append(np.sqrt(closer.found.covariance_s2.sum()))
        assert abs(kernel.ema_s - true.ema_s) < 2 * closer.found.u_ema_s
    assert np.median(sure) < np.sqrt(FOUND.covariance_s2.sum())
    assert np.mean(np.abs(errors) <= 2 * np.array(sure)) >= 0.75


def test_until_there_are_more_intervals_the_kernel_is_that_which_was_found():
    normals, turns = seen_by(FOUND, 1024, true=Kernel(), seed=0)
    closer = closer_of(FOUND, normals, turns)
    assert closer.found is FOUND
    assert closer.at == (0.0, 0.0)
    assert closer.log_of == ()
    powers_w = [normal.b for normal in normals]
    assert closer.beyond(powers_w) == pytest.approx(np.zeros(7))


@pytest.mark.parametrize(
    "found",
    [
        FOUND._replace(kernel=Kernel(0.0006, 0.004)),  # a sensor that smooths by more
        FOUND._replace(kernel=Kernel(0.004, 0.0002)),  # so far off that three kernels tell nothing
    ],
)
def test_what_three_kernels_do_not_tell_stays_as_it_was_found(found):
    assert closer_of(found, *seen_by(found, 8192, true=Kernel(), seed=1)).found is found


def test_figures_go_to_where_the_kernel_is():
    normals, turns = seen_by(FOUND, 8192, true=Kernel(), seed=2)
    closer = closer_of(FOUND, normals, turns)
    powers = fit(normals[:1], priors=TRIED)
    powers_w = [fit_beside(each, powers) for each in normals]
    assert (
        np.abs(powers_w[0] + closer.beyond(powers_w) - [*WATTS, 270, 330, 330])[:4].max()
        < np.abs(powers_w[0][:4] - WATTS).max()
    )
    by_way, beyond = closer.changes_and_beyond(powers_w)
    assert by_way.shape == (4, 7)
    assert beyond == pytest.approx(closer.beyond(powers_w))
    assert closer.covariance.shape == (4, 4)
    assert max(closer.log_of) == closer.log_of[0]  # power does not vary within phases


def test_a_figure_that_is_the_greatest_of_all_that_may_be_is_not_sure():
    """Of ways of standard deviation 0.5 and 2 it falls by their squares, and rises by the second one itself."""
    axes = [Parabola(-1.0, np.array([7.0]), np.array([10.0]), np.array([7.0])) for _ in range(2)]
    axes[1] = axes[1]._replace(at_1=np.array([9.0]), at_low=np.array([5.0]))
    found = changes(axes, (0.0, 0.0))
    assert found.ravel() == pytest.approx([0.0, 2.0, -3.0, -3.0])
    covariance = with_squares(np.diag([0.5**2, 2.0**2]))
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 0.5, 200_000), rng.normal(0, 2.0, 200_000)
    figures = 10 - 3 * first**2 + 2 * second - 3 * second**2
    assert found[:, 0] @ covariance @ found[:, 0] == pytest.approx(figures.var(), rel=0.02)
