"""The configurations of a comparison, for pictures and pages: groups of runs, and single runs as groups of one."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_energy.comparison.facts import Facts, are_mixed_alike, pairs_of
from lightning_energy.comparison.front_probability import front_probabilities
from lightning_energy.comparison.groups import Group, group_runs
from lightning_energy.comparison.mixtures import other_shares
from lightning_energy.comparison.pareto import on_front
from lightning_energy.comparison.seeds import fixed_otherwise
from lightning_energy.results.plain import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.run import Run

__all__ = [
    "configurations_of",
    "has_repeats",
    "kinds_of",
    "left_out_of_ranks",
    "of_main_kind",
    "of_one_kind",
    "on_front_of_means",
    "plain_groups",
    "probabilities_of",
    "with_means",
]


def configurations_of(runs: Sequence[Run]) -> list[Group]:
    """The configurations of the runs whose metric and energy are known, by rising mean energy."""
    return group_runs([run for run in runs if run.is_comparable])


def with_means(groups: Sequence[Group]) -> list[Group]:
    """The configurations of which a run ended, so that they have means."""
    return [group for group in groups if group.energy is not None and group.metric is not None]


def has_repeats(groups: Sequence[Group]) -> bool:
    """True when a configuration was trained more than once."""
    return any(group.n > 1 for group in groups)


def kinds_of(groups: Sequence[Group]) -> list[int]:
    """Number groups so that equal numbers are of like runs; one of unlike runs is a kind of its own."""
    found = [{run.kind for run in group.runs} for group in groups]
    return [kinds.pop() or 0 if len(kinds) == 1 else -1 - i for i, kinds in enumerate(found)]


def of_one_kind(groups: Sequence[Group]) -> list[Group]:
    """The groups of the kind that most of them have: unlike things are not set against each other."""
    kinds = kinds_of(groups)
    main = Counter(kinds).most_common(1)
    return [group for group, kind in zip(groups, kinds, strict=True) if main and kind == main[0][0]]


def of_main_kind(groups: Sequence[Group]) -> list[Group]:
    """Those of :func:`of_one_kind` whose means may be ranked against each other.

    Groups of several configurations are among them where all runs of all groups of the kind are mixed alike: their
    means, which are ranked, are of all runs, also where decisions are of pairs.
    """
    chosen = of_one_kind(groups)
    if not any(other_shares(one, other) for one, other in combinations(chosen, 2)):
        return chosen
    return [group for group in chosen if not group.differs_in]


def left_out_of_ranks(groups: Sequence[Group]) -> tuple[int, int]:
    """The number of groups that are not among those of :func:`of_main_kind`: of another kind, and mixed otherwise."""
    alike = len(of_one_kind(groups))
    return len(groups) - alike, alike - len(of_main_kind(groups))


def on_front_of_means(groups: Sequence[Group]) -> list[bool]:
    """Tell for each group if no other one that it may be set against has means ahead of its own.

    Where some runs alone are paired and only these are mixed alike, their means have to be ahead, too.
    """
    means = [(group.metric, group.energy, group.mode) for group in groups]
    good = np.array([(1 if mode == "max" else -1) * metric.mean for metric, _, mode in means if metric is not None])
    energy = np.array([kwh.mean for _, kwh, _ in means if kwh is not None])
    of_kind, found = np.array(kinds_of(groups)), np.zeros(len(groups), dtype=np.bool_)
    is_mixed = np.array([bool(group.differs_in) for group in groups], dtype=np.bool_)
    for kind in np.unique(of_kind):
        alike = (of_kind == kind) & ~is_mixed
        found[alike] = on_front(good[alike], energy[alike])
    found[is_mixed] = True  # but where another one that is mixed alike is ahead
    for i, j in permutations(range(len(groups)), 2) if is_mixed.any() else ():
        if found[i] and (is_mixed[i] or is_mixed[j]) and of_kind[i] == of_kind[j]:
            gain, saved = good[j] - good[i], energy[i] - energy[j]
            found[i] = not (_is_ahead(gain, saved) and _is_ahead_alike(groups[j], groups[i]))
    return [bool(on) for on in found]


def _is_ahead(gain: float, saved: float) -> bool:
    return min(gain, saved) >= 0 and max(gain, saved) > 0


def _is_ahead_alike(one: Group, other: Group) -> bool:
    """True where the runs of two groups that a test is of are mixed alike, and the means of the first one's ahead."""
    pairs = pairs_of(Facts.of(one), Facts.of(other))
    if other_shares(one, other, pairs):
        return False
    of_each = [(one.runs[i], other.runs[j]) for i, j in pairs]
    sign = 1 if one.mode == "max" else -1
    gain = sign * math.fsum((a.metric or 0.0) - (b.metric or 0.0) for a, b in of_each)
    saved = math.fsum((b.energy_kwh or 0.0) - (a.energy_kwh or 0.0) for a, b in of_each)
    return not pairs or _is_ahead(gain, saved)


def probabilities_of(groups: Sequence[Group]) -> list[float | None]:
    """The probability of each group that its means are on the front of those that it may be set against.

    ``None`` for groups whose runs differ in settings, and for those that may be set against such a group; likewise
    where a seed, as of a split of the data, is one in all runs of a group and not in all of another one of its kind.
    """
    kinds, seeds = kinds_of(groups), [group.all_seeds for group in groups]
    found: list[float | None] = [None] * len(groups)
    mixed = [(kind, group) for kind, group in zip(kinds, groups, strict=True) if group.differs_in]
    for kind in dict.fromkeys(kinds):
        places = [i for i, other in enumerate(kinds) if other == kind and not groups[i].differs_in]
        unlike = [both for both in combinations(places, 2) if fixed_otherwise(*(seeds[i] for i in both))]
        of_other_splits = {i for both in unlike for i in both}
        for i, p in zip(places, front_probabilities([groups[i] for i in places]), strict=True):
            is_beside = any(of == kind and are_mixed_alike(groups[i], other) for of, other in mixed)
            found[i] = None if is_beside or i in of_other_splits else p
    return found


def plain_groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The groups in JSON's types, with the probability that each is on the front."""
    known = with_means(groups)
    places = zip(known, kinds_of(known), on_front_of_means(known), probabilities_of(known), strict=True)
    more = {group.name: {"kind": kind, "on_front": on, "front_probability": p} for group, kind, on, p in places}
    unknown = {"kind": None, "on_front": False, "front_probability": None}
    return [plain(group.to_plain()) | more.get(group.name, unknown) for group in groups]
