"""Groups whose runs differ in settings, and when two of these may be set against each other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from lightning_energy.comparison.listing import some_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import Group

__all__ = ["OTHER_SHARES", "mixed_words", "mixture_kinds", "other_shares"]

OTHER_SHARES = "their runs are of several configurations, in other shares on both sides"


def other_shares(one: Group, other: Group, pairs: Sequence[tuple[int, int]] = ()) -> str:
    """Say in which settings the runs of two groups have other shares; empty where they have the same.

    Seven narrow models and a wide one against one narrow model and seven wide ones: the means tell how models were
    mixed, and may have the opposite order of narrow models and of wide ones (Simpson 1951, *Journal of the Royal
    Statistical Society* B 13, 238-241). Where the groups have a value of a setting in common, the shares of all its
    values must be the same; else they may be the same ones with another name, so that the sizes of the shares are
    compared. A setting that no two runs of a group share is taken for a label there, if no value of it is in both.

    Args:
        one: a group.
        other: another group.
        pairs: indices of runs that are compared; none: all are.
    """
    if not (one.differs_in or other.differs_in):
        return ""
    chosen = [[i for i, _ in pairs], [j for _, j in pairs]] if pairs else [range(one.n), range(other.n)]
    columns: dict[str, list[list[str]]] = {}
    for name in dict.fromkeys([*one.differs_in, *other.differs_in]):
        of_all = [group.values_of(name) for group in (one, other)]
        values = [[own[i] for i in of] for own, of in zip(of_all, chosen, strict=True)]
        if any(map(_has_shares, values)) or {*values[0]} & {*values[1]}:
            columns[name] = values
    found = {name: words for name, values in columns.items() if (words := _unequal(*values))}
    if not found and len(columns) > 1:
        joint = [["\n".join(row) for row in zip(*of, strict=True)] for of in zip(*columns.values(), strict=True)]
        are_alike = all({*own} == {*others} for own, others in columns.values())
        if any(map(_has_shares, joint)) and (words := _unequal(*joint, are_alike=are_alike)):
            found[" with ".join(columns)] = words
    return "; ".join(f"{name}: {words}" for name, words in found.items())


def mixed_words(groups: Sequence[Group]) -> str:
    """Say which groups have runs of several configurations, as far as records say; empty of none.

    Args:
        groups: the groups.
    """
    mixed = [f"{group.name} ({some_of(group.differs_in)})" for group in groups if group.differs_in]
    if not mixed:
        return ""
    return (
        f"Runs differ in settings within {some_of(mixed)}: figures and decisions of these are of runs in this mixture, "
        "and of no single configuration."
    )


def mixture_kinds(groups: Sequence[Group]) -> list[int]:
    """Number groups so that equal numbers have the same shares of settings, those of one configuration 0.

    Args:
        groups: the groups.
    """
    kinds: list[Group] = []
    found = []
    for group in groups:
        if not group.differs_in:
            found.append(0)
            continue
        k = next((k for k, of in enumerate(kinds) if not other_shares(of, group)), len(kinds))
        kinds += [group] * (k == len(kinds))
        found.append(k + 1)
    return found


def _has_shares(values: Sequence[str]) -> bool:
    """True where some runs, not all, have one value."""
    return 1 < len({*values}) < len(values)


def _unequal(one: Sequence[str], other: Sequence[str], *, are_alike: bool = False) -> str:
    """The numbers of runs with each value in both groups, where the shares are not the same; else empty.

    Args:
        one: the values of the first group.
        other: those of the second.
        are_alike: also values that are in one of both alone are known to be no others with another name.
    """
    counts = (Counter(one), Counter(other))
    if are_alike or counts[0] & counts[1]:
        if all(counts[0][c] * len(other) == counts[1][c] * len(one) for c in counts[0] | counts[1]):
            return ""
        kinds = dict.fromkeys(kind for of in counts for kind, _ in of.most_common())
        return _listed([[of[kind] for kind in kinds] for of in counts])
    sizes = [sorted(of.values(), reverse=True) for of in counts]
    shares = [[n / sum(of) for n in of] for of in sizes]
    return _listed(sizes) if shares[0] != shares[1] else ""


def _listed(numbers: Sequence[Sequence[int]]) -> str:
    return " against ".join(some_of([*map(str, of)], between=" and ") for of in numbers)
