"""Runs side by side, and what can be made of them: a table, a picture, a page, a data frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.page import render_page
from lightning_energy.comparison.pareto import iso_scores
from lightning_energy.comparison.picture import plot
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.table import markdown, text

if TYPE_CHECKING:
    from lightning_energy.comparison.run import Choice

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. Made by :func:`~lightning_energy.compare`; ``str()`` of it is a table.

    Attributes:
        runs: the runs, sorted.
        problems: what could not be compared, and what to do: a sentence each, with the file.
        caveats: what makes the runs unlike, in sentences.
        accuracy: which accuracy: the ``last`` that was scored, or that of the ``best`` epoch.
        alpha: exponent of the accuracy in both scores.
        beta: scale of both scores.
        reference_kwh: energy in kWh at which the penalty of the score begins to bite.
        sort: the column that the runs are sorted by.
    """

    runs: list[Run]
    problems: list[str]
    caveats: list[str]
    accuracy: Choice
    alpha: float
    beta: float
    reference_kwh: float
    sort: str = "energy_kwh"

    @property
    def front(self) -> list[Run]:
        """The runs on the Pareto front by rising energy, and so by rising accuracy."""
        return sorted((r for r in self.runs if r.on_front), key=lambda r: (r.energy_kwh or 0.0, r.name))

    @property
    def formula(self) -> str:
        """The formula of the score, with its constants."""
        constants = f"alpha={self.alpha:g}, beta={self.beta:g}, reference_kwh={self.reference_kwh:g}"
        return f"energy_penalized_accuracy({constants})"

    @property
    def drawable(self) -> list[Run]:
        """The runs that a logarithmic axis of energy can show: accuracy known, energy known and above 0."""
        return [r for r in self.runs if r.is_comparable and (r.energy_kwh or 0.0) > 0]

    def iso_scores(self) -> list[tuple[float, list[tuple[float, float]]]]:
        """Scores, and the points (energy in kWh, accuracy) at which they are reached."""
        runs = self.drawable
        return iso_scores(runs, self.alpha, self.beta, self.reference_kwh) if runs else []

    def to_plain(self) -> dict[str, Any]:
        """All of it in JSON's types; ``None`` is what is not known."""
        return {
            "formula": {
                "name": "energy_penalized_accuracy",
                "alpha": self.alpha,
                "beta": self.beta,
                "reference_kwh": self.reference_kwh,
            },
            "accuracy": self.accuracy,
            "runs": [run.to_plain() for run in self.runs],
            "front": [run.name for run in self.front],
            "iso_scores": [{"score": s, "points": [[*p] for p in points]} for s, points in self.iso_scores()],
            "caveats": [*self.caveats],
            "problems": [*self.problems],
        }

    def to_pandas(self) -> Any:
        """The runs as a ``pandas.DataFrame``: a row each, columns as in :class:`~lightning_energy.comparison.run.Run`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('to_pandas() needs pandas: pip install "lightning-energy[pandas]"') from error
        empty = Run("", "").to_plain()
        return pd.DataFrame([run.to_plain() for run in self.runs], columns=[*empty])

    def plot(self, ax: Any = None) -> Any:
        """Draw accuracy against energy: error bars (absolute, k=1), the Pareto front, and lines of equal score.

        Args:
            ax: a matplotlib axis to draw on; by default one on a new figure.

        Returns:
            The figure and the axis, as torchmetrics does.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        return plot(self, ax)

    def to_html(self, *, title: str = "Accuracy against energy") -> str:
        """A page of its own that loads nothing: see :func:`~lightning_energy.comparison.page.render_page`.

        Args:
            title: its heading.

        Returns:
            The document, to be written as UTF-8.
        """
        return render_page(self.to_plain(), title=title)

    def __str__(self) -> str:
        return "\n".join([text(self), *(f"Not compared: {problem}" for problem in self.problems)])

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return "\n".join([markdown(self), *(f"- Not compared: {problem}" for problem in self.problems)])
