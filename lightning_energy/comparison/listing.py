"""Lists in a sentence that stay short, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["some_of"]


def some_of(words: Collection[str], most: int = 5, between: str = ", ") -> str:
    """The first words of a list, and how many more there are.

    Args:
        words: the words.
        most: the number that is written.
        between: text between two of them.

    Example:
        >>> some_of("abcdefgh"), some_of("abc")
        ('a, b, c, d, e and 3 more', 'a, b, c')
    """
    shown = [*words][:most]
    return between.join(shown) + (f" and {len(words) - most} more" if len(words) > most else "")
