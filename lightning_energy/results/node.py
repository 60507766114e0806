"""A value of a JSON document and its place there, read with a check of its type and range."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LARGEST", "DamagedError", "Node", "shortened"]

T = TypeVar("T")
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 60
LARGEST = 1e100  # no count or amount of a run; the squares and sums of such are finite
POSSIBLE = f"a number up to {LARGEST:g}"


class DamagedError(ValueError):
    """A document lacks a field, or has a wrong value there. The text names the field."""


def shortened(value: Any) -> str:
    """A value as Python writes it, the middle of a long one left out: files are other people's."""
    return SHORT.repr(value)


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its name.

    Attributes:
        value: the value, of any type.
        name: its place, such as ``epochs[3].train_j``; empty for the document itself.

    Example:
        >>> document = Node({"total": {"energy_j": -1.0}})
        >>> document["total"]["energy_j"].amount()
        Traceback (most recent call last):
        ...
        lightning_energy.results.node.DamagedError: total.energy_j=-1.0 is not a finite number from 0 on
    """

    value: Any
    name: str = ""

    def __getitem__(self, key: str) -> Node:
        row = self.mapping()
        if key not in row:
            raise DamagedError(f"{self._name_of(key)} is not there")
        return Node(row[key], self._name_of(key))

    def get(self, key: str) -> Node:
        """The value of a key; ``None`` where there is no such key."""
        return Node(self.mapping().get(key), self._name_of(key))

    def maybe(self, read: Callable[[Node], T]) -> T | None:
        """``None``, or the value as ``read`` takes it."""
        return None if self.value is None else read(self)

    def mapping(self) -> dict[str, Any]:
        """An object of JSON."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return self.value

    def entries(self) -> Iterator[tuple[str, Node]]:
        """The keys and values of an object."""
        return ((key, Node(value, self._name_of(key))) for key, value in self.mapping().items())

    def items(self) -> Iterator[Node]:
        """The values of an array."""
        if not isinstance(self.value, list):
            raise self.wrong("an array")
        return (Node(value, f"{self.name}[{i}]") for i, value in enumerate(self.value))

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return self.value

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def one_of(self, texts: tuple[T, ...]) -> T:
        """One of the texts that are known, from :func:`typing.get_args`."""
        if not isinstance(self.value, str) or self.value not in texts:
            raise self.wrong(f"one of {', '.join(map(str, texts))}")
        return self.value

    def integer(self, low: int = 0) -> int:
        """A whole number from ``low`` on."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < low:
            raise self.wrong(f"a whole number from {low} on")
        if self.value > LARGEST:
            raise self.wrong(POSSIBLE)
        return self.value

    def number(self, low: float = -math.inf) -> float:
        """A finite number from ``low`` on."""
        what = "a finite number" if low == -math.inf else f"a finite number from {low:g} on"
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.wrong(what)
        try:
            number = float(self.value)
        except OverflowError as error:
            raise self.wrong(what) from error
        if not (math.isfinite(number) and number >= low):
            raise self.wrong(what)
        return number

    def amount(self) -> float:
        """A finite number that is not negative: joules, seconds, uncertainties."""
        amount = self.number(0.0)
        if amount > LARGEST:
            raise self.wrong(POSSIBLE)
        return amount

    def amounts(self) -> list[float | None]:
        """An array of amounts and nulls; of thousands it takes much less time than one by one."""
        values = self.value
        if isinstance(values, list) and all(
            value is None or (type(value) in {float, int} and 0 <= value <= LARGEST) for value in values
        ):
            return [None if value is None else float(value) for value in values]
        return [item.maybe(Node.amount) for item in self.items()]

    def some(self, n: int, wanted: str) -> list[Node]:
        """The values of an array of so many; ``wanted`` says of what."""
        found = [*self.items()]
        if len(found) != n:
            raise self.wrong(wanted)
        return found

    def wrong(self, wanted: str) -> DamagedError:
        """The error that says what the value should be."""
        return DamagedError(f"{self.name or 'the document'}={shortened(self.value)} is not {wanted}")

    def _name_of(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key
