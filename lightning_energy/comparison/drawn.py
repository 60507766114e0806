"""Boxes, in pixels, of all that is drawn on an axis: names and legends must not cover it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["BACKGROUND", "Box", "Drawn", "along", "box_of", "drawn", "hits"]

BACKGROUND = 1.0  # greatest zorder of lines that may be covered: those of equal score, grids, courses
PIECE = 8.0  # pixels of a slanting line in one box
MOST_PIECES = 400  # of one segment, which may end far outside
NOTHING = {None, "", " ", "None", "none"}  # no line, or no marker
Box = tuple[float, float, float, float]  # left, bottom, right, top


class Drawn(NamedTuple):
    """Boxes of what is drawn, of shape (n, 4): left, bottom, right and top in pixels.

    Attributes:
        marks: points, bars, and lines in the foreground.
        behind: lines in the background.
    """

    marks: NDArray[np.float64]
    behind: NDArray[np.float64]


def drawn(ax: Any) -> Drawn:
    """List the boxes of all lines, points and bars on an axis.

    Args:
        ax: the axis, whose layout is settled.
    """
    marks: list[Box] = []
    behind: list[Box] = []
    dot = ax.figure.dpi / 72
    for line in ax.lines:
        of = behind if line.get_zorder() <= BACKGROUND else marks
        points = _vertices(line)
        if line.get_linestyle() not in NOTHING:
            of += along(points, line.get_linewidth() * dot / 2)
        if line.get_marker() not in NOTHING:
            half = (line.get_markersize() + line.get_markeredgewidth()) * dot / 2
            of += [(x - half, y - half, x + half, y + half) for x, y in points]
    for collection in ax.collections:
        is_bars = hasattr(collection, "get_segments") and collection.get_zorder() > BACKGROUND
        half = max((float(width) for width in collection.get_linewidths()), default=0.0) * dot / 2
        for path in collection.get_paths():
            points = collection.get_transform().transform(path.vertices)
            (marks if is_bars else behind).extend(along(points, half))
    return Drawn(_array(marks), _array(behind))


def box_of(artist: Any) -> Box:
    """The box of a legend or a text, with the paper under it."""
    found, paper = artist.get_window_extent(), getattr(artist, "get_bbox_patch", lambda: None)()
    # the paper itself has its place only once it was drawn
    pad = 0.0 if paper is None else paper.get_boxstyle().pad * artist.get_fontsize() * artist.figure.dpi / 72
    return found.x0 - pad, found.y0 - pad, found.x1 + pad, found.y1 + pad


def hits(box: Box, boxes: NDArray[np.float64]) -> int:
    """Count the boxes that a box overlaps.

    Example:
        >>> import numpy as np
        >>> hits((0, 0, 2, 2), np.array([[1, 1, 3, 3], [2, 2, 3, 3]]))
        1
    """
    left, bottom, right, top = box
    apart = (boxes[:, 0] >= right) | (boxes[:, 2] <= left) | (boxes[:, 1] >= top) | (boxes[:, 3] <= bottom)
    return int(np.count_nonzero(~apart))


def along(points: NDArray[np.float64], half: float) -> Iterator[Box]:
    """Boxes along a line: one for each segment that is level or upright, else one for each piece of it."""
    for (x0, y0), (x1, y1) in pairwise(points.tolist()):
        is_straight = min(abs(x1 - x0), abs(y1 - y0)) <= 1.0
        n = 1 if is_straight else min(math.ceil(math.hypot(x1 - x0, y1 - y0) / PIECE), MOST_PIECES)
        for i in range(n):
            (xa, xb), (ya, yb) = ((a + (b - a) * i / n, a + (b - a) * (i + 1) / n) for a, b in ((x0, x1), (y0, y1)))
            yield min(xa, xb) - half, min(ya, yb) - half, max(xa, xb) + half, max(ya, yb) + half


def _vertices(line: Any) -> NDArray[np.float64]:
    """The corners of a line in pixels, those of its steps among them."""
    from matplotlib.cbook import pts_to_poststep  # noqa: PLC0415 - an extra

    x, y = np.asarray(line.get_xydata(), dtype=np.float64).reshape(-1, 2).T
    if line.get_drawstyle() == "steps-post" and len(x):
        x, y = pts_to_poststep(x, y)
    found: NDArray[np.float64] = line.get_transform().transform(np.column_stack([x, y]))
    return found[np.isfinite(found).all(axis=1)]


def _array(boxes: Iterable[Box]) -> NDArray[np.float64]:
    return np.array([*boxes], dtype=np.float64).reshape(-1, 4)
