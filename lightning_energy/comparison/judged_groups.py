"""The groups of a comparison, judged, and what follows for their runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_energy.comparison.groups import group_runs
from lightning_energy.comparison.student import FEWEST
from lightning_energy.comparison.verdicts import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import By, Group
    from lightning_energy.comparison.run import Run
    from lightning_energy.comparison.verdicts import Verdict

__all__ = ["judged_groups"]


def judged_groups(
    fit: Sequence[Run], rest: Sequence[Run], by: By, level: float, margin: float, *, baseline: str | None = None
) -> tuple[list[Run], list[Run], list[Group], list[Verdict]]:
    """Find the groups, judge those that were repeated often enough, and tell each run.

    Args:
        fit: runs of one metric that can be compared.
        rest: the other runs.
        by: the way to find the groups.
        level: the probability that at least one of all decisions is false, at most.
        margin: the loss of the metric that counts as none.
        baseline: the group that all others are compared with; ``None``: all with all.

    Returns:
        Both lists of runs, with their groups and what dominates these; the groups; and the verdicts.
    """
    groups = group_runs([*fit, *rest], by)
    often = [group for group in groups if group.n >= FEWEST]
    verdicts = judge(often, level=level, margin=margin, baseline=baseline)
    lost: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.kind == "dominated":
            lost.setdefault(verdict.other, []).append(verdict.one)
    told: dict[str, Run] = {}
    for group in groups:
        for run in group.runs:
            told[run.name] = replace(run, group=group.name, dominated_by=tuple(lost.get(group.name, ())))
        for run, _ in group.left_out:
            told[run.name] = replace(run, group=group.name)
    groups = [
        replace(
            group,
            runs=tuple(told[run.name] for run in group.runs),
            left_out=tuple((told[run.name], reason) for run, reason in group.left_out),
        )
        for group in groups
    ]
    return [told[run.name] for run in fit], [told[run.name] for run in rest], groups, verdicts
