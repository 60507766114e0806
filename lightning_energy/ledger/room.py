"""Arrays with room for more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["with_room"]


def with_room(array: NDArray[np.float64], *shape: int) -> NDArray[np.float64]:
    """The array with zeros behind it along each axis, up to a shape: ``numpy.pad`` takes dozens of calls for it.

    Args:
        array: the array; itself where it has the shape already.
        shape: at least as long as the array along every axis.

    Example:
        >>> with_room(np.array([1.0, 2.0]), 3).tolist()
        [1.0, 2.0, 0.0]
    """
    if array.shape == shape:
        return array
    result = np.zeros(shape)
    result[tuple(map(slice, array.shape))] = array
    return result
