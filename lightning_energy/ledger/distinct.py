"""The distinct values of an array: ``numpy.unique`` takes dozens of calls, and loads a part of NumPy for 40 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["distinct", "distinct_places", "is_one_of"]


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The values, each once, in order.

    Example:
        >>> distinct(np.array([3, 1, 3])).tolist()
        [1, 3]
    """
    if not values.size:
        return values
    ordered = values.copy()
    ordered.sort()
    result: NDArray[np.int64] = ordered[_is_first(ordered)]
    return result


def distinct_places(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The values, each once, in order, and the place of each value among them.

    Example:
        >>> once, places = distinct_places(np.array([3, 1, 3]))
        >>> once.tolist(), places.tolist()
        ([1, 3], [1, 0, 1])
    """
    once = distinct(values)
    return once, once.searchsorted(values)


def is_one_of(values: NDArray[np.int64], few: Sequence[int]) -> NDArray[np.bool_]:
    """True for the values that are among a few.

    Example:
        >>> is_one_of(np.array([3, 1, 2]), (1, 3)).tolist()
        [True, True, False]
    """
    result: NDArray[np.bool_] = values == few[0]
    for one in few[1:]:
        result |= values == one
    return result


def _is_first(ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for the values that are not those before them."""
    result = np.empty(len(ordered), dtype=bool)
    result[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=result[1:])
    return result
