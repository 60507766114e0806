"""Records of one run: of a run that was copied or went on later, the one with the most energy stands for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["standing_for"]

T = TypeVar("T")


def standing_for(records: Sequence[T], run_id: Callable[[T], str], energy_kwh: Callable[[T], float | None]) -> list[T]:
    """Find for each record the one that stands for its run: the first with the most energy; one without an id, itself.

    Args:
        records: records of runs.
        run_id: the id of a record's run; empty: unknown.
        energy_kwh: its energy in kWh; ``None`` unknown, and less than any.

    Example:
        >>> standing_for([("a", 1.0), ("b", 3.0), ("a", 2.0)], lambda r: r[0], lambda r: r[1])
        [('a', 2.0), ('b', 3.0), ('a', 2.0)]
    """

    def energy(record: T) -> float:
        kwh = energy_kwh(record)
        return -1.0 if kwh is None else kwh

    keys = [run_id(record) or i for i, record in enumerate(records)]
    most: dict[str | int, T] = {}
    for key, record in zip(keys, records, strict=True):
        most[key] = max(most.get(key, record), record, key=energy)
    return [most[key] for key in keys]
