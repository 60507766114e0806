"""The seeds of runs that belong together: which differ, which come twice, and which runs of two groups share them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

__all__ = ["Seed", "come_twice", "fixed_otherwise", "labels_of", "may_pair", "names_that_vary"]

Seed: TypeAlias = "int | str | None"
"""The seed that tells a run from others: a number, several that differ as text, or ``None`` unknown."""


def names_that_vary(seeds: Sequence[Mapping[str, int]]) -> list[str]:
    """The names of the seeds in which runs differ, or that not all of them have, sorted.

    Args:
        seeds: all known seeds of each run, by name.

    Example:
        >>> names_that_vary([{"seed_everything": 1, "split_seed": 42}, {"seed_everything": 2, "split_seed": 42}])
        ['seed_everything']
    """
    names = {name for of_run in seeds for name in of_run}
    return sorted(name for name in names if len({of_run.get(name) for of_run in seeds}) > 1)


def labels_of(seeds: Sequence[Mapping[str, int]]) -> tuple[Seed, ...]:
    """The seed of each run: of those in which the runs differ, or else of all that it has.

    Args:
        seeds: all known seeds of each run, by name.

    Example:
        >>> labels_of([{"seed_everything": 1, "split_seed": 42}, {"seed_everything": 2, "split_seed": 42}])
        (1, 2)
        >>> labels_of([{"seed": 1, "split_seed": 42}])
        ('seed=1, split_seed=42',)
    """
    names = names_that_vary(seeds)
    return tuple(_label({name: own[name] for name in names if name in own} or own) for own in seeds)


def _label(seeds: Mapping[str, int]) -> Seed:
    values = {*seeds.values()}
    if len(values) > 1:
        return ", ".join(f"{name}={value}" for name, value in sorted(seeds.items()))
    return next(iter(values), None)


def come_twice(seeds: Iterable[Mapping[str, int]]) -> bool:
    """True where two runs have one seed as far as is known: they have a seed of one name, and all such are equal.

    Likewise where several seeds of one name come, and one of them twice, as of five splits of the data with three
    seeds each: what a split brings is in three runs, which are no more independent than runs of one seed. One split for
    all is part of the data.

    Args:
        seeds: all known seeds of each run, by name.

    Example:
        >>> come_twice([{"seed_everything": 1, "split_seed": 42}, {"seed_everything": 2, "split_seed": 42}])
        False
        >>> come_twice([{"split_seed": 42}, {"seed_everything": 2, "split_seed": 42}, {}])
        True
        >>> come_twice([{"split_seed": i, "seed_everything": j} for i in (1, 2) for j in (3, 4)])
        True
    """
    seeds = [*seeds]
    for name in {name for of_run in seeds for name in of_run}:
        values = [of_run[name] for of_run in seeds if name in of_run]
        if 1 < len({*values}) < len(values):
            return True
    alike: dict[frozenset[str], list[Mapping[str, int]]] = {}
    for of_run in seeds:
        alike.setdefault(frozenset(of_run), []).append(of_run)
    alike.pop(frozenset(), None)
    if any(len(_of_names(each, names)) < len(each) for names, each in alike.items()):
        return True
    pairs = combinations(alike.items(), 2)
    return any(_of_names(each, a & b) & _of_names(others, a & b) for (a, each), (b, others) in pairs if a & b)


def _of_names(seeds: Iterable[Mapping[str, int]], names: Collection[str]) -> set[tuple[int, ...]]:
    ordered = sorted(names)
    return {tuple(of_run[name] for name in ordered) for of_run in seeds}


def may_pair(one: Sequence[Mapping[str, int]], other: Sequence[Mapping[str, int]]) -> bool:
    """True unless runs of one side differ in other seeds than those of the other side, which has these, too.

    Args:
        one: all known seeds of each run of one side, by name.
        other: those of the other side.

    Example:
        >>> folds = [{"seed_everything": 42, "split_seed": i} for i in range(3)]
        >>> may_pair(folds, [{"seed_everything": i, "split_seed": 42} for i in range(3)])
        False
    """
    a, b = ({*names_that_vary(seeds)} for seeds in (one, other))
    has_a, has_b = ({name for of_run in seeds for name in of_run} for seeds in (one, other))
    return bool(a & b) or not (a & has_b or b & has_a)


def fixed_otherwise(one: Sequence[Mapping[str, int]], other: Sequence[Mapping[str, int]]) -> list[str]:
    """The names of the seeds that are one in all runs of one side, and not that one in all of the other side, sorted.

    Args:
        one: all known seeds of each run of one side, by name.
        other: those of the other side.

    Example:
        >>> fixed = [{"seed_everything": i, "split_seed": 1} for i in range(3)]
        >>> fixed_otherwise(fixed, [{"seed_everything": i, "split_seed": 2} for i in range(3)])
        ['split_seed']
        >>> fixed_otherwise(fixed, [{"seed_everything": i, "split_seed": i} for i in range(3)])
        ['split_seed']
    """
    a, b = map(_values, (one, other))
    return sorted(name for name in {*a} & {*b} if a[name] != b[name] and min(len(a[name]), len(b[name])) == 1)


def _values(seeds: Sequence[Mapping[str, int]]) -> dict[str, set[int]]:
    """The values of the seeds that all runs have."""
    names = set.intersection(*({*of_run} for of_run in seeds)) if seeds else set()
    return {name: {of_run[name] for of_run in seeds} for name in names}
