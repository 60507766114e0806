"""What a picture covers, asked of matplotlib after it was drawn."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

Bbox = pytest.importorskip("matplotlib.transforms").Bbox


def covered(ax: Any, names: list[Any]) -> list[str]:
    """What lies under names or the legend of an axis, or out of its frame; each in words.

    Args:
        ax: the axis.
        names: texts on it that are to cover nothing.
    """
    ax.figure.canvas.draw()
    found = []
    papers = {f"{text.get_text()!r}": _paper(text) for text in names}
    frame = ax.get_window_extent()
    for name, box in papers.items():
        if not (frame.x0 <= box.x0 <= box.x1 <= frame.x1 and frame.y0 <= box.y0 <= box.y1 <= frame.y1):
            found.append(f"{name} leaves the frame")
    if ax.get_legend() is not None:
        papers["the legend"] = ax.get_legend().get_window_extent()
    found += [f"{a} and {b}" for (a, x), (b, y) in combinations(papers.items(), 2) if x.overlaps(y)]
    for what, meets in [*_lines(ax), *_bars(ax)]:
        found += [f"{name} and {what}" for name, box in papers.items() if meets(box)]
    return found


def strays(ax: Any, names: list[Any]) -> list[str]:
    """Names without a line that are nearer to another name's point than to their own, by more than three pixels."""
    ax.figure.canvas.draw()
    points = {text: ax.transData.transform(text.xy) for text in names}
    found = []
    for text in names:
        box = _paper(text)
        away = {other: _away(point, box) for other, point in points.items() if not np.allclose(point, points[text])}
        if text.arrow_patch is None and min(away.values(), default=np.inf) < _away(points[text], box) - 3.0:
            found.append(text.get_text())
    return found


def _away(point: Any, box: Any) -> float:
    return float(np.hypot(*np.maximum(0.0, np.maximum(box.min - point, point - box.max))))


def _paper(text: Any) -> Any:
    return (text.get_bbox_patch() or text).get_window_extent()


def _lines(ax: Any) -> Any:
    """Points and lines in the foreground, each with a function that is true of a box over it."""
    for line in ax.lines:
        if line.get_zorder() <= 1 or not len(line.get_xdata()):
            continue
        if line.get_linestyle() != "None":
            x, y = np.asarray(line.get_xydata()).T
            if line.get_drawstyle() == "steps-post":
                x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
            path = line.get_transform().transform_path(type(line.get_path())(np.column_stack([x, y])))
            yield "a line", lambda box, path=path: path.intersects_bbox(box, filled=False)
        if line.get_marker() not in {"None", ""}:
            half = line.get_markersize() / 2 * ax.figure.dpi / 72
            for at in line.get_transform().transform(line.get_xydata()):
                yield "a point", Bbox([at - half, at + half]).overlaps


def _bars(ax: Any) -> Any:
    for container in ax.containers:
        for bars in container[2]:
            for path in bars.get_paths():
                pixels = bars.get_transform().transform_path(path)
                yield "a bar", lambda box, path=pixels: path.intersects_bbox(box, filled=False)
