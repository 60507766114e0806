"""Stretches of missing time, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MOST_SPANS", "Span", "joined"]

Span = tuple[int, int]  # from, to in nanoseconds of the monotonic clock

MOST_SPANS = 1000  # stretches that are kept one by one; sums hold the time of all of them


def joined(spans: list[Span], cut_ns: NDArray[np.int64], wanted: NDArray[np.bool_]) -> list[Span]:
    """``spans`` and the wanted pieces between cuts; neighbours become one, and the shortest are dropped for room."""
    result = [*spans]
    for start_ns, end_ns in zip(cut_ns[:-1][wanted].tolist(), cut_ns[1:][wanted].tolist(), strict=True):
        if result and result[-1][1] == start_ns:
            result[-1] = (result[-1][0], end_ns)
        else:
            result.append((start_ns, end_ns))
    if len(result) > MOST_SPANS:
        long = sorted(sorted(result, key=lambda s: s[0] - s[1])[:MOST_SPANS])
        # the last one may go on
        return long if long[-1] == result[-1] else [*long, result[-1]]
    return result
