"""The picture of replays: the quality that each rule keeps against the energy that it saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from lightning_energy.comparison.labels import Label, place
from lightning_energy.comparison.legend import put_legend
from lightning_energy.comparison.picture import INCHES, new_axes, written
from lightning_energy.comparison.replay import RuleKind

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_energy.comparison.replay import Replay
    from lightning_energy.comparison.what_if_runs import PlayedRun, Replays

__all__ = ["draw_whatif", "plot"]

GREY = "#6E6E6E"
# name, colour of the palette of Okabe and Ito, shape and size of each kind of rule: hollow, as many share a place
KINDS = dict(
    zip(
        get_args(RuleKind),
        (
            ("EarlyStopping on the metric", "#0072B2", "o", 11),
            ("EarlyStopping on the score", "#E69F00", "s", 8),
            ("best score", "#D55E00", "D", 6),
            ("a point is too dear", "#009E73", "^", 5),
            ("budget", "#CC79A7", "x", 7),
        ),
        strict=True,
    )
)
FEW = 3  # runs whose stops have names
NEAR = 0.004  # stops that share a name: as a share of the axes


def plot(found: Replays, ax: Any = None) -> Any:
    """Draw replays; see :meth:`~lightning_energy.comparison.whatif.WhatIf.plot`."""
    ax = new_axes(1, INCHES) if ax is None else ax
    runs = [of for of in found.runs if of.played.kwh]
    ax.set_xlabel("energy saved in % of the whole training")
    ax.set_ylabel(f"points given up\n(a point is {found.point:g} of the metric; 0: as good as the whole training)")
    ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")  # what is kept grows upwards
    if not runs:
        ax.text(0.5, 0.5, "no run with a metric and energies", transform=ax.transAxes, ha="center", color=GREY)
        return ax.figure, ax
    for of in runs:
        shares, points = _course(of, found.point)
        ax.plot(shares, points, drawstyle="steps-post", color=GREY, linewidth=0.9, alpha=0.7, zorder=1)
    stops = [r for of in runs for r in of.replays if r.stops and r.saved is not None and r.points is not None]
    for kind, (name, colour, shape, size) in KINDS.items():
        alike = [r for r in stops if r.kind == kind]
        if alike:
            ax.errorbar(
                [100 * (r.saved or 0.0) for r in alike], [r.points for r in alike],
                xerr=[100 * (r.u_saved or 0.0) for r in alike] if any(r.u_saved for r in alike) else None,
                fmt=shape, color=colour, markerfacecolor="none", markersize=size if len(runs) <= FEW else size / 2,
                markeredgewidth=1.6, elinewidth=1.0, capsize=2.5, label=name, zorder=3,
            )  # fmt: skip
    ax.axhline(0, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    ax.set_xlim(-3, 103)
    low = min((r.points or 0.0 for r in stops), default=-1.0)
    ax.set_ylim(min(low, -0.5) * 1.15, max(-0.12 * min(low, -0.5), 0.05))
    ax.grid(visible=True, color="#EDEDED", linewidth=0.6)
    ax.set_axisbelow(True)
    names = ", ".join(of.name for of in runs[:FEW]) + (f" and {len(runs) - FEW} more" if len(runs) > FEW else "")
    estimated = "; energies estimated" if any(of.run.quality == "estimated" for of in runs) else ""
    title = f"{names}: grey, a stop after each validation{estimated}"
    ax.set_title(title, loc="left", fontsize="small", parse_math=False)
    legend = [put_legend(ax)] if stops else []
    hidden = place(ax, _labels(ax, stops), legend) if len(runs) <= FEW else 0
    if hidden:
        more = f"; {hidden} place{'s' * (hidden != 1)} without room for a name"
        ax.set_title(f"{title}{more}", loc="left", fontsize="small", parse_math=False)
    return ax.figure, ax


def draw_whatif(found: Replays, file: Path) -> None:
    """Write the picture to a file; see :func:`~lightning_energy.comparison.picture.draw`."""
    written(file, lambda figure: plot(found, figure.add_subplot()))


def _course(of: PlayedRun, point: float) -> tuple[list[float], list[float]]:
    """The energy that a stop after each validation would save, and the points that it would keep."""
    played = of.played
    best = played.best_of(len(played.course))
    whole_kwh = played.kwh or 1.0
    shares, points = [], []
    for n, seen in enumerate(played.course, 1):
        kept = played.best_of(n)
        if seen.kwh is not None and kept is not None and best is not None:
            shares.append(100 * (1 - seen.kwh / whole_kwh))
            points.append(played.sign * (kept.value - best.value) / point)
    return shares, points


def _labels(ax: Any, stops: list[Replay]) -> list[Label]:
    """The names of the stops; those at one place share a label."""
    places: list[tuple[float, float, list[str]]] = []
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    for replay in sorted(stops, key=lambda r: (-(r.saved or 0.0), r.points or 0.0)):
        x, y = 100 * (replay.saved or 0.0), replay.points or 0.0
        near = next(
            (p for p in places if abs(p[0] - x) < NEAR * (right - left) and abs(p[1] - y) < NEAR * (high - low)), None
        )
        if near is None:
            places.append((x, y, [_short(replay)]))
        elif _short(replay) not in near[2]:
            near[2].append(_short(replay))
    radius = max(size for _, _, _, size in KINDS.values()) / 2 + 1
    return [Label(("\n".join(names),), x, y, on_front=False, mode="max", radius=radius) for x, y, names in places]


def _short(replay: Replay) -> str:
    if replay.kind in {"metric", "score"}:
        return f"patience {replay.settings['patience']:g}"
    return replay.rule.removesuffix(" of its energy").replace("a point for more than ", "dearer than ")
