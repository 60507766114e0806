"""Groups whose runs differ in settings, and when two of these may be set against each other."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.listing import some_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from lightning_energy.comparison.groups import Group

__all__ = ["OTHER_SHARES", "mixed_words", "other_shares"]

NUMBERS = re.compile(r"[\[\],.+\-eE\s]*\d[\[\],.+\-eE\s\d]*")
COUNTS = ("parameters", "trainable_parameters")
"""Counts of a module in its record: each module makes numbers of its own of settings such as a width."""
OTHER_NUMBERS = "other numbers"
OTHER_SHARES = "their runs are of several configurations, in other shares on both sides"


def other_shares(one: Group, other: Group, pairs: Sequence[tuple[int, int]] = ()) -> str:
    """Say in which settings the runs of two groups have other shares; empty where they have the same.

    Seven narrow models and a wide one against one narrow model and seven wide ones: the means tell how models were
    mixed, and may have the opposite order of narrow models and of wide ones (Simpson 1951, *Journal of the Royal
    Statistical Society* B 13, 238-241). Where the groups have a value of a setting in common, also in runs that are not
    compared, the shares of all its values must be the same, and where they have all values of several settings in
    common, those of these together. Else texts may be the same ones with another name, so that the sizes of their
    shares are compared, and a text that no two runs of a group share is taken for a label there; numbers are neither,
    also where the other group has none. Numbers of parameters that follow in each group from settings whose values both
    have are no setting of their own.

    Args:
        one: a group.
        other: another group.
        pairs: indices of runs that are compared; none: all are.
    """
    if not (one.differs_in or other.differs_in):
        return ""
    if len(pairs) in {0, one.n} and one.differs_in == other.differs_in and one.mixture == other.mixture:
        return ""
    chosen = [[i for i, _ in pairs], [j for _, j in pairs]] if pairs else [range(one.n), range(other.n)]
    columns: dict[str, list[list[str]]] = {}
    found: dict[str, str] = {}
    for name in dict.fromkeys([*one.differs_in, *other.differs_in]):
        of_all = [group.values_of(name) for group in (one, other)]
        columns[name] = [[own[i] for i in of] for own, of in zip(of_all, chosen, strict=True)]
        unequal = _in_numbers if {*of_all[0]} & {*of_all[1]} else _with_other_names
        if words := unequal(*columns[name]):
            found[name] = words
    alike = [name for name, (own, others) in columns.items() if {*own} == {*others} and len({*own}) > 1]
    for name in COUNTS if alike else ():
        if found.get(name) == OTHER_NUMBERS and _follows(columns, name, alike):
            del found[name]
    if not found and len(alike) > 1 and _together(columns, alike):
        for names in (*combinations(alike, 2), alike):
            if words := _together(columns, names):
                return f"{' with '.join(names)}: {words}"
    return "; ".join(f"{name}: {words}" for name, words in found.items())


def _follows(columns: Mapping[str, Sequence[Sequence[str]]], name: str, settings: Sequence[str]) -> bool:
    """True where in each of two groups runs with the same values of some settings have one value of another."""
    for side in (0, 1):
        keys = [*zip(*(columns[of][side] for of in settings), strict=True)]
        if len({*keys}) < len({*zip(keys, columns[name][side], strict=True)}):
            return False
    return True


def _together(columns: Mapping[str, Sequence[Sequence[str]]], names: Sequence[str]) -> str:
    """The numbers of runs with each combination of the values of some settings, where the shares are not the same."""
    return _in_numbers(*([*zip(*of, strict=True)] for of in zip(*(columns[name] for name in names), strict=True)))


def _with_other_names(one: Sequence[str], other: Sequence[str]) -> str:
    """The numbers of runs with each value of a setting, where no names make the shares the same; else empty."""
    with_numbers = [any(_has_number(json.loads(value)) for value in {*values}) for values in (one, other)]
    if any(with_numbers):
        return OTHER_NUMBERS if all(with_numbers) else "numbers on one side alone"
    if all(len({*values}) in {1, len(values)} for values in (one, other)):
        return ""
    sizes = [sorted(Counter(values).values(), reverse=True) for values in (one, other)]
    shares = [[n / sum(of) for n in of] for of in sizes]
    return _listed(sizes) if shares[0] != shares[1] else ""


def _in_numbers(one: Sequence[Hashable], other: Sequence[Hashable]) -> str:
    """The numbers of runs with each value, where their shares are not the same; else empty."""
    counts = (Counter(one), Counter(other))
    if all(counts[0][c] * len(other) == counts[1][c] * len(one) for c in counts[0] | counts[1]):
        return ""
    kinds = dict.fromkeys(kind for of in counts for kind, _ in of.most_common())
    return _listed([[of[kind] for kind in kinds] for of in counts])


def _has_number(value: Any) -> bool:
    """True for a number, or the text of one or of several, also within a list."""
    if isinstance(value, (list, dict)):
        return any(map(_has_number, value.values() if isinstance(value, dict) else value))
    if isinstance(value, str):
        return bool(NUMBERS.fullmatch(value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _listed(numbers: Sequence[Sequence[int]]) -> str:
    return " against ".join(some_of([*map(str, of)], between=" and ") for of in numbers)


def mixed_words(groups: Sequence[Group], of_some: Sequence[tuple[str, str]] = ()) -> str:
    """Say which groups have runs of several configurations, as far as records say; empty of none.

    Args:
        groups: the groups.
        of_some: the names of each two of which the runs with shared seeds alone were tested.
    """
    mixed = [f"{group.name} ({some_of(group.differs_in)})" for group in groups if group.differs_in]
    if not mixed:
        return ""
    within = f"Runs differ in settings within {some_of(mixed)}"
    names = {group.name for group in groups if group.differs_in}
    others = [" and ".join(two) for two in of_some if names & {*two}]
    if not others:
        return f"{within}: figures and decisions of these are of runs in this mixture, and of no single configuration."
    return (
        f"{within}: figures of these are of runs in this mixture, and of no single configuration. So are decisions, "
        f"but those on {some_of(others, between='; ')}: these, with their savings, are of the runs with shared seeds "
        "alone, whatever settings these have."
    )
