"""A legend covers nothing, and stands beside an axis without room."""

from __future__ import annotations

import pytest

from lightning_energy.comparison.legend import put_legend
from tests.comparison.pixels import covered

mpl = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def plt():
    mpl.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def full(ax) -> None:
    """Fill an axis with points, so that no legend finds a place on it."""
    ax.plot([i % 20 for i in range(400)], [i // 20 for i in range(400)], "o", label="points", zorder=3)


def test_a_legend_without_a_place_stands_beside_the_axis(plt):
    figure, ax = plt.subplots(layout="constrained")
    full(ax)
    box = put_legend(ax).get_window_extent
    assert covered(ax, []) == []
    assert box().x0 >= ax.get_window_extent().x1
    assert figure.bbox.x1 >= box().x1


def test_a_legend_stays_inside_where_nothing_lays_the_figure_out(plt):
    _, ax = plt.subplots()
    full(ax)
    ax.set_xlim(-1, 40)  # the right half is free
    put_legend(ax)
    assert covered(ax, []) == []
    ax.set_xlim(-1, 20)
    box = put_legend(ax).get_window_extent()
    frame = ax.get_window_extent()
    assert frame.contains(*box.min)
    assert frame.contains(*box.max)
