"""Charts of a page as SVG without scripts, whose text keeps its size however wide the screen is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.meters.units import NS
from lightning_energy.results.markup import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.curves.power_series import PowerSeries

__all__ = ["Axis", "Bar", "Dot", "bars", "dots", "power_over_time", "time_axis"]

WIDE = 1000  # units of a chart's width, which is stretched to that of the screen
MOST_TICKS = 5  # as many as a phone has room for
LEAST = 1e-12  # part of its values that an axis is long at least
EDGE = 0.06  # of the width, at either end, in which the text of a tick would stand over the edge
LETTER = 0.026  # width of a letter of a tick on a phone, as a part of a chart's
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
UNITS_S = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Axis(NamedTuple):
    """An axis.

    Attributes:
        low: its first value.
        high: its last value, above the first.
        ticks: values with their texts.
    """

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    @classmethod
    def of(cls, low: float, high: float, text: Callable[[float], str], most: int = MOST_TICKS) -> Axis:
        """An axis from a value to another, with ticks at round values between them.

        Example:
            >>> Axis.of(0, 430, lambda v: f"{v:g} W").ticks
            [(0.0, '0 W'), (100.0, '100 W'), (200.0, '200 W'), (300.0, '300 W'), (400.0, '400 W')]
        """
        if not high - low > max(LEAST * max(abs(low), abs(high)), LEAST**9):  # no room for a tick
            high = low + (abs(low) if abs(low) > LEAST**9 else 1.0)
        step = _round_up((high - low) / most)
        return cls(low, high, _ticks(low, high, step, text))

    def part(self, value: float) -> float:
        """The place of a value, from 0 to 1."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def _round_up(raw: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    unit = 10.0 ** math.floor(math.log10(raw))
    return float(next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * (1 - NS)))


def _ticks(low: float, high: float, step: float, text: Callable[[float], str]) -> list[tuple[float, str]]:
    first, last = math.ceil(low / step - NS), math.floor(high / step + NS)
    values = [float(f"{k * step:.12g}") for k in range(first, last + 1)]
    return [(value, text(value)) for value in values]


def time_axis(length_s: float) -> Axis:
    """An axis of time from 0 on, with ticks at round times.

    Example:
        >>> time_axis(5400.0).ticks
        [(0.0, '0'), (1800.0, '0.5 h'), (3600.0, '1 h'), (5400.0, '1.5 h')]
    """
    if length_s <= STEPS_S[0] * MOST_TICKS:
        return Axis.of(0.0, length_s, lambda v: f"{v:g} s" if v else "0")
    raw = length_s / MOST_TICKS
    step = next((s for s in STEPS_S if s >= raw), STEPS_S[-1] * math.ceil(raw / STEPS_S[-1]))
    factor, unit = next((f, u) for f, u in UNITS_S if length_s >= f)
    return Axis(0.0, length_s, _ticks(0.0, length_s, step, lambda v: f"{v / factor:.3g} {unit}" if v else "0"))


def _frame(body: str, x: Axis, y: Axis, *, height: int, label: str) -> str:
    """A chart with its axes.

    Args:
        body: what is drawn, in units of :data:`WIDE` by ``height``.
        x: the axis below.
        y: the axis on the left.
        height: its height in pixels.
        label: all of it in a sentence, for those who do not see it.
    """
    lines, texts = [], []
    for value, text in y.ticks:
        at = round(height * (1 - y.part(value)), 1)
        lines.append(f"M0 {at}H{WIDE}")
        texts.append(f'<text x="-8" y="{at + 12:g}" text-anchor="end">{escaped(text)}</text>')
    free = -1.0  # place from which on there is room for a text
    for value, text in x.ticks:
        part, wide = x.part(value), LETTER * len(text)
        anchor, before = ("start", 0.0) if part < EDGE else ("end", 1.0) if part > 1 - EDGE else ("middle", 0.5)
        if part - before * wide < free:
            continue
        free = part + (1 - before) * wide
        texts.append(f'<text x="{100 * part:.2f}%" y="{height + 26}" text-anchor="{anchor}">{escaped(text)}</text>')
    return (
        f'<div class="plot"><svg class="chart" height="{height + 32}" role="img" aria-label="{escaped(label)}">'
        f'<svg y="8" width="100%" height="{height}" viewBox="0 0 {WIDE} {height}" preserveAspectRatio="none">'
        f'<path class="grid" d="{"".join(lines)}"/>{body}<path class="axis" d="M0 {height}H{WIDE}"/></svg>'
        f"{''.join(texts)}</svg></div>"
    )


def power_over_time(
    series: Sequence[tuple[float, PowerSeries]], x: Axis, y: Axis, *, height: int, label: str, begins_s: Sequence[float]
) -> str:
    """The power of a device: steps, with bands where nothing is known.

    Args:
        series: each with the second at which it begins.
        x: the axis of time.
        y: that of power.
        height: in pixels.
        label: the chart in a sentence.
        begins_s: seconds at which the run was resumed.
    """
    lines: list[str] = []
    areas: list[str] = []
    lost = []
    for begin_s, power in series:
        ends = [
            round(WIDE * x.part(begin_s + i * power.bin_s + min(s or power.bin_s, power.bin_s)), 1)
            for i, s in enumerate(power.known_s)
        ]
        starts = [round(WIDE * x.part(begin_s + i * power.bin_s), 1) for i in range(len(power.mean_w))]
        piece: list[str] = []
        first = 0.0
        for start, end, power_w in zip(starts, ends, power.mean_w, strict=True):
            if power_w is None:
                lost.append(f"M{start:g} 0H{end:g}V{height}H{start:g}Z")
                _close(piece, first, height, lines, areas)
                piece = []
                continue
            at = f"{height * (1 - y.part(power_w)):.1f}"
            first = first if piece else start
            piece += [f"V{at}H{end:g}"] if piece else [f"M{start:g} {at}H{end:g}"]
        _close(piece, first, height, lines, areas)
    resumed = "".join(f"M{WIDE * x.part(s):.1f} 0V{height}" for s in begins_s)
    body = (
        f'<path class="lost" d="{"".join(lost)}"/><path class="area" d="{"".join(areas)}"/>'
        f'<path class="step" d="{"".join(lines)}"/><path class="resumed" d="{resumed}"/>'
    )
    return _frame(body, x, y, height=height, label=label)


def _close(piece: list[str], first: float, height: int, lines: list[str], areas: list[str]) -> None:
    """End a stretch of known power, of which ``first`` is the beginning."""
    if piece:
        lines.append("".join(piece))
        areas.append(f"{lines[-1]}V{height}H{first:g}Z")


class Dot(NamedTuple):
    """A point with its uncertainty along x.

    Attributes:
        x: its value.
        y: its value.
        u: the standard uncertainty of ``x``; ``None`` unknown.
        text: it in words, shown under the pointer.
        is_best: true for the one that stands out.
    """

    x: float
    y: float
    u: float | None
    text: str
    is_best: bool = False


def dots(points: Sequence[Dot], x: Axis, y: Axis, *, height: int, label: str) -> str:
    """Points in their order with a line between them; see :func:`power_over_time` for the arguments."""
    at = [(round(WIDE * x.part(p.x), 1), round(height * (1 - y.part(p.y)), 1)) for p in points]
    line = "L".join(f"{px:g} {py:g}" for px, py in at)
    spans = [
        (WIDE * x.part(p.x - p.u), WIDE * x.part(p.x + p.u), py) for p, (_, py) in zip(points, at, strict=True) if p.u
    ]
    drawn = sorted(zip(points, at, strict=True), key=lambda pair: pair[0].is_best)  # the best on top
    body = "".join(
        f'<path class="dots{" best" if point.is_best else ""}" d="M{px:g} {py:g}h0">'
        f"<title>{escaped(point.text)}</title></path>"
        for point, (px, py) in drawn
    )
    bars_ = "".join(f"M{low:.1f} {py:g}H{high:.1f}" for low, high, py in spans)
    return _frame(
        f'<path class="line" d="M{line}"/><path class="bar" d="{bars_}"/>{body}', x, y, height=height, label=label
    )


class Bar(NamedTuple):
    """A stacked bar.

    Attributes:
        label: the text beneath it.
        parts: by the class of each part its size; ``None`` unknown.
        text: it in words, shown under the pointer.
    """

    label: str
    parts: dict[str, float | None]
    text: str


def bars(stacks: Sequence[Bar], y: Axis, *, height: int, label: str) -> str:
    """Stacked bars side by side; see :func:`power_over_time` for the arguments."""
    wide = WIDE / len(stacks)
    gap = 0.15 * wide
    body = []
    for i, stack in enumerate(stacks):
        base, rects = 0.0, []
        for kind, size in stack.parts.items():
            if size:
                top = height * (1 - y.part(base + size))
                tall = height * (1 - y.part(base)) - top
                place = f'x="{i * wide + gap / 2:.1f}" y="{top:.1f}" width="{wide - gap:.1f}" height="{tall:.1f}"'
                rects.append(f'<rect class="{kind}" {place}/>')
                base += size
        body.append(f"<g><title>{escaped(stack.text)}</title>{''.join(rects)}</g>")
    every = max(math.ceil(len(stacks) / (2 * MOST_TICKS)), 1)
    x = Axis(0.0, len(stacks), [(i + 0.5, s.label) for i, s in enumerate(stacks) if i % every == 0])
    return _frame("".join(body), x, y, height=height, label=label)
