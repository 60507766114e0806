from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.ledger.sharing.closer import Closer, Parabola, Turns
from lightning_energy.ledger.sharing.delay import Found
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.powers import Normals
from lightning_energy.ledger.sharing.timeline import Timeline

LENGTH_S = 0.02
PHASES_MS, WATTS = (14.0, 21.0, 5.0, 10.0), np.array([270.0, 330.0, 210.0, 90.0])


def test_a_parabola_through_three_points():
    square = Parabola(-1.0, *(np.array([3 * (t - 0.5) ** 2]) for t in (-1.0, 0.0, 1.0)))
    assert square.beyond(0.5) == pytest.approx(-0.75)
    assert square.slope(0.5) == pytest.approx(0.0)
    beyond = Parabola(2.0, *(np.array([4 * t + t**2]) for t in (2.0, 0.0, 1.0)))  # both others on one side
    assert beyond.beyond(3.0) == pytest.approx(21.0)
    assert beyond.slope(-1.0) == pytest.approx(2.0)


def seen_by(found: Found, n: int, *, true: Kernel, seed: int) -> tuple[list[Normals], list[np.ndarray], Turns]:
    """The normal equations of n intervals of 20 ms by the kernel and by those beside it, and the powers by each."""
    rng = np.random.default_rng(seed)
    length_s = np.tile(PHASES_MS, int(n * LENGTH_S / 0.05) + 40) * 1e-3
    start_s = np.concatenate([[-1.0], np.cumsum(length_s * (1 + 0.04 * rng.standard_normal(len(length_s))))])
    timeline = Timeline(start_s, np.concatenate([[3], np.arange(1, len(start_s)) % 4]), 4)
    knot_s = 0.5 + LENGTH_S * np.arange(n + 1)
    rise_j = true.seconds(knot_s, timeline)[0] @ WATTS + 0.3 * rng.standard_normal(n)
    length_s, weight, nothing, turns = np.full(n, LENGTH_S), np.full(n, 1 / LENGTH_S), np.zeros((4, 4)), Turns()
    seconds = [kernel.seconds(knot_s, timeline)[0] for kernel in (found.kernel, *found.beside)]
    normals = [Normals.of(x, rise_j, length_s, weight, nothing) for x in seconds]
    for part in (slice(0, n // 2), slice(n // 2, n)):
        turns.add([x[part] for x in seconds], weight[part])
    return normals, [np.linalg.solve(each.a, each.b) for each in normals], turns


FOUND = Found(Kernel(0.0006, 0.0002), np.array([[9e-7, -4e-7], [-4e-7, 4e-7]]), fine_n=1024)
"""Delay and smoothing together are known to 0.7 ms."""


@pytest.mark.parametrize("true", [Kernel(0.0), Kernel(0.001), Kernel(0.0, 0.0008)])
def test_all_intervals_tell_the_kernel_better_than_the_first(true):
    shows_s = true.lag_s + true.ema_s
    errors, sure = [], []
    for seed in range(4):
        closer = Closer.of(FOUND, *seen_by(FOUND, 8192, true=true, seed=seed), 0.0)
        kernel = closer.found.kernel
        errors.append(kernel.lag_s + kernel.ema_s - shows_s)
        sure.append(np.sqrt(closer.found.covariance_s2.sum()))
        assert abs(kernel.ema_s - true.ema_s) < 2.5 * closer.found.u_ema_s + 2e-4
    assert np.median(sure) < 0.0002
    assert np.mean(np.abs(errors) <= 2 * np.array(sure)) >= 0.75


def test_the_uncertainty_falls_with_the_root_of_the_length():
    found = [Closer.of(FOUND, *seen_by(FOUND, n, true=Kernel(), seed=1), 0.0).found for n in (4096, 16384)]
    short_s, long_s = (np.sqrt(each.covariance_s2.sum() - 2 * 2e-5**2) for each in found)
    assert long_s == pytest.approx(short_s / 2, rel=0.4)


def test_until_there_are_many_more_intervals_the_kernel_is_that_which_was_found():
    normals, powers_w, turns = seen_by(FOUND, 2048, true=Kernel(), seed=0)
    closer = Closer.of(FOUND, normals, powers_w, turns, 0.0)
    assert closer.found is FOUND
    assert closer.at == (0.0, 0.0)
    assert closer.beyond(powers_w) == pytest.approx(np.zeros(4))


def test_figures_go_to_where_the_kernel_is():
    normals, powers_w, turns = seen_by(FOUND, 8192, true=Kernel(), seed=2)
    closer = Closer.of(FOUND, normals, powers_w, turns, 0.0)
    assert powers_w[0] + closer.beyond(powers_w) == pytest.approx(WATTS, rel=0.06)
    assert powers_w[0] != pytest.approx(WATTS, rel=0.1)
    assert closer.slopes(powers_w).shape == (2, 4)
