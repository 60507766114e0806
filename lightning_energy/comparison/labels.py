"""Names beside the points of a picture, where there is room."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.scores.metric import Mode

__all__ = ["LABEL_POINTS", "PAPER", "Label", "place", "shortened", "taken"]

LABEL_POINTS = 8.0
LONGEST = 28
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}  # under letters: lines stay behind
# places of a label beside its point: offset in points, and the label's corner that is there; a front leaves its upper
# left free, or its lower left where less is better
PLACES = [
    (-6, 5, "right", "bottom"),
    (6, 5, "left", "bottom"),
    (6, -5, "left", "top"),
    (-6, -5, "right", "top"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
]
BEHIND = (PLACES[1], PLACES[0], *PLACES[2:])
OTHER_SIDE = {"top": "bottom", "bottom": "top"}


class Label(NamedTuple):
    """The label of a point.

    Attributes:
        texts: what it may say, the best first: a shorter one is taken where there is no room.
        x: the energy of its point in kWh.
        y: the metric of its point.
        on_front: the point is on the front.
        mode: the better direction of the metric.
    """

    texts: Sequence[str]
    x: float
    y: float
    on_front: bool
    mode: Mode


def shortened(name: str) -> str:
    """A name with its middle left out where it is long.

    Example:
        >>> shortened("a" * 20 + "b" * 20)
        'aaaaaaaaaaaaa…bbbbbbbbbbbbb'
    """
    return name if len(name) <= LONGEST else f"{name[:13]}…{name[-13:]}"


def place(ax: Any, labels: Sequence[Label], boxes: list[Any]) -> int:
    """Write labels where they cover nothing.

    Args:
        ax: the axis, whose layout is settled.
        labels: the labels, the most important first.
        boxes: boxes in pixels that labels must not cover; those of the labels are added.

    Returns:
        The number of labels for which there was no room.
    """
    frame = ax.get_window_extent()
    return sum(not any(_fits(ax, label, text, boxes, frame) for text in label.texts) for label in labels)


def _fits(ax: Any, label: Label, text: str, boxes: list[Any], frame: Any) -> bool:
    """Write a text at the first place with room for it, if there is one."""
    for dx, up, ha, side in PLACES if label.on_front else BEHIND:
        dy, va = (up, side) if label.mode == "max" else (-up, OTHER_SIDE[side])
        written = ax.annotate(
            text,
            (label.x, label.y),
            (dx, dy),
            textcoords="offset points",
            ha=ha,
            va=va,
            fontsize=LABEL_POINTS,
            color="black" if label.on_front else "#3A3A3A",
            parse_math=False,  # a run may be called "$x"
            bbox=PAPER,
            zorder=5,
        )
        box = written.get_window_extent()
        if frame.contains(*box.min) and frame.contains(*box.max) and not box.count_overlaps(boxes):
            boxes.append(box)
            return True
        written.remove()
    return False


def taken(ax: Any, points: Sequence[Label], bars: Sequence[tuple[float, float]] = ()) -> list[Any]:
    """List the boxes that labels must not cover, in pixels: points, steps of the front, and bars.

    Args:
        ax: the axis, whose layout is settled.
        points: all points.
        bars: for each point half the length of its bars, of the energy in kWh and of the metric; none: few stay free.
    """
    from matplotlib.transforms import Bbox  # noqa: PLC0415 - an extra

    def box(x: float, y: float, to_x: float, to_y: float, wide: float) -> Bbox:
        return Bbox.from_extents(min(x, to_x) - wide, min(y, to_y) - wide, max(x, to_x) + wide, max(y, to_y) + wide)

    pixels = [tuple(ax.transData.transform((point.x, point.y))) for point in points]
    boxes = [box(x, y, x, y, 3.5 * ax.figure.dpi / 72) for x, y in pixels]
    front = sorted(pixel for pixel, point in zip(pixels, points, strict=True) if point.on_front)
    for (x, y), (to_x, to_y) in pairwise(front):
        boxes += [box(x, y, to_x, y, 1.0), box(to_x, y, to_x, to_y, 1.0)]
    if front:  # its last step ends at the frame
        x, y = front[-1]
        boxes.append(box(x, y, ax.get_window_extent().x1, y, 1.0))
    for point, (wide, high), (x, y) in zip(points, bars, pixels, strict=False):
        to_x, to_y = ax.transData.transform((point.x + wide, point.y + high))
        boxes += [box(2 * x - to_x, y, to_x, y, 1.0), box(x, 2 * y - to_y, x, to_y, 1.0)]
    return boxes
