"""The report of a run: its figures, which a terminal and a notebook can show."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_energy.results.figures import Figures
from lightning_energy.results.rendering import as_html, as_text

__all__ = ["Report"]


@dataclass(frozen=True)
class Report(Figures):
    """The figures of one run; ``str()`` of it is a short text of at most a dozen lines.

    Attributes: see :class:`~lightning_energy.results.figures.Figures`.
    """

    def __str__(self) -> str:
        return as_text(self)

    def details(self) -> str:
        """All that there is to say, as text: uncertainties (k=1), times, devices, formulas and notes."""
        return as_text(self, details=True)

    def _repr_html_(self) -> str:
        """The report as notebooks show it."""
        return as_html(self)
