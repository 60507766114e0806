"""Groups whose runs differ in settings, and when two of these may be set against each other."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from lightning_energy.comparison.listing import some_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.comparison.groups import Group

__all__ = ["OTHER_SHARES", "other_shares"]

OTHER_SHARES = "their runs are of several configurations, in other shares on both sides"


def other_shares(one: Group, other: Group, pairs: Sequence[tuple[int, int]] = ()) -> str:
    """Say in which settings the runs of two groups have other shares; empty where they have the same.

    Seven narrow models and a wide one against one narrow model and seven wide ones: the means tell how models were
    mixed, and may have the opposite order of narrow models and of wide ones (Simpson 1951, *Journal of the Royal
    Statistical Society* B 13, 238-241). Of the values of a setting that both groups have, the share must be the same;
    others may be the same ones with another name, so that the sizes of their shares are compared alone. A setting that
    no two runs of a group share is taken for a label there, such as the name of a run.

    Args:
        one: a group.
        other: another group.
        pairs: indices of runs that are compared; none: all are.
    """
    if not (one.differs_in or other.differs_in):
        return ""
    chosen = [[i for i, _ in pairs], [j for _, j in pairs]] if pairs else [range(one.n), range(other.n)]
    differing = dict.fromkeys([*one.differs_in, *other.differs_in])
    columns: dict[str, list[list[str]]] = {}
    for name in differing:
        of_all = [group.values_of(name) for group in (one, other)]
        values = [[own[i] for i in of] for own, of in zip(of_all, chosen, strict=True)]
        if any(map(_has_shares, values)):
            columns[name] = values
    found = {name: words for name, values in columns.items() if (words := _unequal(*values))}
    if not found and len(columns) > 1:
        joint = [["\n".join(row) for row in zip(*of, strict=True)] for of in zip(*columns.values(), strict=True)]
        has_names = all({*own} == {*others} for own, others in columns.values())
        if any(map(_has_shares, joint)) and (words := _unequal(*joint, has_names=has_names)):
            found[" with ".join(columns)] = words
    return "; ".join(f"{name}: {words}" for name, words in found.items())


def _has_shares(values: Sequence[str]) -> bool:
    """True where some runs, not all, have one value."""
    return 1 < len({*values}) < len(values)


def _unequal(one: Sequence[str], other: Sequence[str], *, has_names: bool = False) -> str:
    """The numbers of runs with each value in both groups, where the shares are not the same; else empty.

    Args:
        one: the values of the first group.
        other: those of the second.
        has_names: values that one of both alone has are known to be no others with another name.
    """
    counts = (Counter(one), Counter(other))
    sizes = [sorted(of.values(), reverse=True) for of in counts]
    shares = [[n / sum(of) for n in of] for of in sizes]
    compared = counts[0] | counts[1] if has_names else counts[0] & counts[1]
    if any(counts[0][c] * len(other) != counts[1][c] * len(one) for c in compared):
        kinds = dict.fromkeys(kind for of in counts for kind, _ in of.most_common())
        return _listed([[of[kind] for kind in kinds] for of in counts])
    return _listed(sizes) if shares[0] != shares[1] else ""


def _listed(numbers: Sequence[Sequence[int]]) -> str:
    return " against ".join(some_of([*map(str, of)], between=" and ") for of in numbers)
