"""Names beside the points of a picture, where there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_energy.comparison.drawn import along, box_of, drawn, hits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from lightning_energy.comparison.drawn import Box
    from lightning_energy.scores.metric import Mode

__all__ = ["LABEL_POINTS", "PAPER", "Label", "place", "shortened"]

LABEL_POINTS = 8.0
LONGEST = 28
PAPER_PAD = 0.5  # points
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": PAPER_PAD}  # under letters: lines stay behind
SPARE = 1.5  # pixels around a label: letters are a little larger or smaller in a file of another resolution
GREY = "#6E6E6E"
# directions of a label from its point, the best first: a front leaves its upper left free, or its lower left where
# less is better
PLACES = [(-1, 1), (1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0)]
BEHIND = [PLACES[1], PLACES[0], *PLACES[2:]]
ACROSS = {-1: "right", 0: "center", 1: "left"}  # the label's side that is at its point
UP = {-1: "top", 0: "center", 1: "bottom"}
NEAR = 0.0
FAR = (NEAR, 14.0, 28.0, 44.0)  # points from where a label stands by right; a line then leads to it
CLEAR = 3.0  # points by which a label should be nearer to its own point than to any other
FEW = 25  # more labels are as short as they can be, and stand at their points: lines would be a tangle


class Label(NamedTuple):
    """The label of a point.

    Attributes:
        texts: what it may say, the best first: a shorter one is taken where there is no room.
        x: the horizontal place of its point, as the axis has it.
        y: the vertical place of its point.
        on_front: the point is on the front.
        mode: the better direction of the vertical axis.
        radius: half the size of the point in points, with some space around it.
    """

    texts: Sequence[str]
    x: float
    y: float
    on_front: bool
    mode: Mode
    radius: float = 4.0


class _Place(NamedTuple):
    """A place of a label: its point in pixels, its offset in points and direction from there, its box, its line."""

    point: tuple[float, float]
    offset: tuple[float, float]
    across: int
    up: int
    box: Box
    leader: list[Box]


def shortened(name: str) -> str:
    """A name with its middle left out where it is long.

    Example:
        >>> shortened("a" * 20 + "b" * 20)
        'aaaaaaaaaaaaa…bbbbbbbbbbbbb'
    """
    return name if len(name) <= LONGEST else f"{name[:13]}…{name[-13:]}"


def place(ax: Any, labels: Sequence[Label], others: Sequence[Any] = ()) -> int:
    """Write labels where they cover no point, bar, line in the foreground or other label.

    Args:
        ax: the axis, with all that is drawn on it.
        labels: the labels, the most important first.
        others: other things on it that no label may cover: its legend, texts.

    Returns:
        The number of labels for which there was no room.
    """
    ax.figure.draw_without_rendering()  # the layout is settled: only now are positions in pixels known
    room = _Room(ax, labels, others)
    is_crowd = len(labels) > FEW
    ways = (NEAR,) if is_crowd else FAR

    def is_written(label: Label) -> bool:
        texts = label.texts[-1:] if is_crowd else label.texts
        return any(_fits(ax, label, text, room, way) for text in texts for way in ways)

    return sum(not is_written(label) for label in labels)


class _Room:
    """The free room on an axis.

    Args:
        ax: the axis, whose layout is settled.
        labels: all labels that are to stand on it.
        others: things on it besides lines and points.
    """

    def __init__(self, ax: Any, labels: Sequence[Label], others: Sequence[Any]) -> None:
        self._frame = ax.get_window_extent()
        self._clear = CLEAR * ax.figure.dpi / 72
        self._points = ax.transData.transform(np.array([(of.x, of.y) for of in labels]).reshape(-1, 2))
        self._marks, self._behind = drawn(ax)
        self._texts = np.array([box_of(other) for other in others], dtype=np.float64).reshape(-1, 4)

    def best(self, places: Iterable[_Place]) -> _Place | None:
        """The free place that is clearest and covers least of the background; ``None`` where there is none."""
        free = [p for p in places if self._is_free(p)]
        return min(free, key=lambda p: (not self._is_of(p, self._clear), hits(p.box, self._behind)), default=None)

    def take(self, chosen: _Place) -> None:
        """Leave this place to no other label."""
        self._texts = np.vstack([self._texts, chosen.box])
        self._marks = np.vstack([self._marks, *chosen.leader])

    def _is_free(self, p: _Place) -> bool:
        frame = self._frame
        return (
            frame.x0 <= p.box[0]
            and p.box[2] <= frame.x1
            and frame.y0 <= p.box[1]
            and p.box[3] <= frame.y1
            and not hits(p.box, self._marks)
            and not hits(p.box, self._texts)
            and self._is_of(p)
        )

    def _is_of(self, p: _Place, clear: float = 0.0) -> bool:
        """True where no other point is as near to the label as its own, or a line leads to that and meets no other."""
        others = self._points[np.abs(self._points - p.point).max(axis=1) > 1.0]  # points at one place are one
        if len(p.leader):
            is_met = any((_away(others, piece) < 2 * self._clear).any() for piece in p.leader)
            return not is_met and not any(hits(piece, self._texts) for piece in p.leader)
        own = _away(np.array([p.point]), p.box)[0]
        return not (_away(others, p.box) < own + clear).any()


def _away(points: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """The distances of points from a box."""
    x, y = points.T
    across = np.maximum(0.0, np.maximum(box[0] - x, x - box[2]))
    found: NDArray[np.float64] = np.hypot(across, np.maximum(0.0, np.maximum(box[1] - y, y - box[3])))
    return found


def _fits(ax: Any, label: Label, text: str, room: _Room, way: float) -> bool:
    """Write a text at the best place so far from its point, if there is room."""
    looks = {
        "textcoords": "offset points",
        "fontsize": LABEL_POINTS,
        "color": "black" if label.on_front else "#3A3A3A",
        "parse_math": False,  # a run may be called "$x"
        "bbox": PAPER,
        "zorder": 5,
    }
    measured = ax.annotate(text, (label.x, label.y), (0, 0), **looks)
    left, bottom, right, top = box_of(measured)
    measured.remove()
    chosen = room.best(_places(ax, label, (right - left + 2 * SPARE, top - bottom + 2 * SPARE), way))
    if chosen is None:
        return False
    room.take(chosen)
    if way:
        start = ((1 - chosen.across) / 2, (1 - chosen.up) / 2)  # of the line, on the label
        lead = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": label.radius}
        looks["arrowprops"] = lead | {"relpos": start}
    where = {"ha": ACROSS[chosen.across], "va": UP[chosen.up]}
    ax.annotate(text, (label.x, label.y), chosen.offset, **where, **looks)
    return True


def _places(ax: Any, label: Label, size: tuple[float, float], way: float) -> Iterator[_Place]:
    """The places around a point for a label of this size in pixels, the best first."""
    dot = ax.figure.dpi / 72
    wide, high = size
    pad = PAPER_PAD * dot + SPARE
    x, y = ax.transData.transform((label.x, label.y))
    for across, upward in PLACES if label.on_front else BEHIND:
        up = upward if label.mode == "max" else -upward
        # at a corner of the label its point is nearer than beside it
        beside = 2.0 if across and up else 4.0
        offset = across * (label.radius + 2.0 + way), up * (label.radius + beside - 1.0 + way)
        at_x, at_y = x + offset[0] * dot, y + offset[1] * dot
        left, bottom = at_x + (across - 1) / 2 * wide - across * pad, at_y + (up - 1) / 2 * high - up * pad
        leader = [*along(np.array([(x, y), (at_x, at_y)]), 0.5)] if way else []
        yield _Place((x, y), offset, across, up, (left, bottom, left + wide, bottom + high), leader)
