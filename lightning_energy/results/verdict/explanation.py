"""A verdict that can say itself."""

from __future__ import annotations

from lightning_energy.results.verdict.saving import Verdict
from lightning_energy.results.verdict.words import as_markdown, as_text

__all__ = ["Explanation"]


class Explanation(Verdict):
    """A ranked list of changes that would have saved energy in a run; ``str()`` of it is a text.

    Made by :func:`~lightning_energy.explain`.

    Attributes: see :class:`~lightning_energy.results.verdict.saving.Verdict`.
    """

    def __str__(self) -> str:
        return as_text(self)

    def _repr_markdown_(self) -> str:
        """The list as a notebook shows it."""
        return as_markdown(self)
