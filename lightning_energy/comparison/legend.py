"""The legend of a picture, where it covers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_energy.comparison.drawn import box_of, drawn, hits

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["put_legend"]

# by matplotlib's names, the first that is free is taken
PLACES = {
    "upper left": (0.0, 1.0),
    "upper right": (1.0, 1.0),
    "lower right": (1.0, 0.0),
    "lower left": (0.0, 0.0),
    "center left": (0.0, 0.5),
    "center right": (1.0, 0.5),
    "upper center": (0.5, 1.0),
    "lower center": (0.5, 0.0),
}


def put_legend(ax: Any, others: Sequence[Any] = (), **how: Any) -> Any:
    """Give an axis its legend, where it covers no point, bar or line; beside the axis where there is no such place.

    An axis of a figure without a layout of its own keeps it inside, where it covers least.

    Args:
        ax: the axis, with all that is drawn on it.
        others: texts on it that the legend must not cover either.
        **how: as for ``ax.legend``.

    Returns:
        The legend.
    """
    how = {"fontsize": "small", "framealpha": 0.9} | how
    legend = _legend(ax, loc="upper left", **how)
    ax.figure.draw_without_rendering()  # the layout is settled: only now are positions in pixels known
    found, frame = drawn(ax), ax.get_window_extent()
    marks = np.vstack([found.marks, *(box_of(other) for other in others)])
    left, bottom, right, top = box_of(legend)
    wide, high = right - left, top - bottom
    pad = left - frame.x0
    costs = {}
    for name, (across, up) in PLACES.items():
        x = frame.x0 + pad + across * (frame.width - wide - 2 * pad)
        y = frame.y0 + pad + up * (frame.height - high - 2 * pad)
        box = (x, y, x + wide, y + high)
        costs[name] = (hits(box, marks), hits(box, found.behind))
    best = min(costs, key=lambda name: costs[name])
    if costs[best][0] and ax.figure.get_layout_engine() is not None:
        return _legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0), **how)
    return _legend(ax, loc=best, **how)


def _legend(ax: Any, **how: Any) -> Any:
    legend = ax.legend(**how)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run may be called "$x"
    return legend
