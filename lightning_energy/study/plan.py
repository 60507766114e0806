"""The runs of a study in the order in which they are made."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Order", "in_order", "part_of"]

Order: TypeAlias = Literal["randomized blocks", "random", "as given"]
"""``randomized blocks``: each seed is a block, in which every configuration comes once, in random order, so that a
drift (warmth, other programs) hits all alike; ``random``: all runs in random order; ``as given``: one configuration
after the other."""


def in_order(configs: Sequence[str], seeds: Sequence[int], order: Order, order_seed: int) -> list[tuple[str, int]]:
    """The runs of all configurations and seeds in their order.

    Args:
        configs: names of the configurations.
        seeds: the seeds.
        order: the way in which they follow each other.
        order_seed: the seed of the random order. A block depends on it and on the block's own seed alone, so that
            further seeds do not change earlier blocks.

    Example:
        >>> in_order(["a", "b"], [0, 1], "as given", 0)
        [('a', 0), ('a', 1), ('b', 0), ('b', 1)]
        >>> blocks = in_order(["a", "b", "c"], [0, 1], "randomized blocks", 0)
        >>> [sorted(config for config, s in blocks if s == seed) for seed in (0, 1)]
        [['a', 'b', 'c'], ['a', 'b', 'c']]
    """
    if order == "as given":
        return [(config, seed) for config in configs for seed in seeds]
    if order == "random":
        runs = [(config, seed) for config in configs for seed in seeds]
        random.Random(order_seed).shuffle(runs)  # noqa: S311 - an order, no secret
        return runs
    runs = []
    for seed in seeds:
        block = [*configs]
        random.Random(f"{order_seed}/{seed}").shuffle(block)  # noqa: S311 - same
        runs += [(config, seed) for config in block]
    return runs


def part_of(configs: Sequence[str], part: str) -> list[str]:
    """The configurations of one of several machines.

    Args:
        configs: names of all configurations.
        part: number of the machine and number of machines, ``1/4`` to ``4/4``; empty for all configurations.

    Raises:
        ValueError: there is no such part.

    Example:
        >>> part_of(["a", "b", "c"], "1/2"), part_of(["a", "b", "c"], "2/2")
        (['a', 'c'], ['b'])
    """
    if not part:
        return [*configs]
    number, _, of = part.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise ValueError(f"part={part!r}: give the number of this machine and the number of machines, such as '1/4'")
    return [*configs][int(number) - 1 :: int(of)]
