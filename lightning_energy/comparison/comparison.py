"""The result of ``compare``, for a person: a table, a picture, a page, a data frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_energy.comparison.columns import FIELDS
from lightning_energy.comparison.group_table import latex
from lightning_energy.comparison.judgement import Judgement
from lightning_energy.comparison.page import render_page
from lightning_energy.comparison.picture import plot
from lightning_energy.comparison.table import markdown, text

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison(Judgement):
    """Runs side by side. Made by :func:`~lightning_energy.compare`; ``str()`` of it is a table.

    Attributes:
        runs: the runs, sorted.
        problems: a sentence, with the file, for everything that could not be compared: the reason and the remedy.
        caveats: differences between the runs that a reader must know, in sentences.
        subject: the metric that is compared, with its direction, its unit, and the epoch it is taken of.
        formula: the formula of the score, with its constants; ``str()`` of it names them. ``None`` where the metric
            is no accuracy.
        sort: the column that the runs are sorted by.
        groups: the same runs in groups of one configuration, by mean energy.
        verdicts: a verdict for each pair of groups with three repeats or more.
        level: the probability that at least one of all decisions in ``verdicts`` is false, at most.
    """

    def to_pandas(self) -> Any:
        """The runs as a ``pandas.DataFrame``: a row each, columns as in :class:`~lightning_energy.comparison.run.Run`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_pandas() needs pandas: pip install pandas") from error
        return pd.DataFrame([run.to_plain() for run in self.runs], columns=FIELDS)

    def plot(self, ax: Any = None) -> Any:
        """Draw the metric against energy: error bars (absolute, k=1), the Pareto front, and lines of equal score.

        Args:
            ax: a matplotlib axis to draw on; by default one on a new figure.

        Returns:
            The figure and the axis, as torchmetrics does.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        return plot(self, ax)

    def to_html(self, *, title: str | None = None) -> str:
        """A page of its own that loads nothing: see :func:`~lightning_energy.comparison.page.render_page`.

        Args:
            title: its heading; by default the name of the metric, against energy.

        Returns:
            The document, to be written as UTF-8.
        """
        return render_page(self.to_plain(), title=title)

    def to_latex(self) -> str:
        r"""A table of the groups for a paper: it needs ``\usepackage{booktabs}``."""
        return latex(self)

    def __str__(self) -> str:
        return "\n".join([text(self), *(f"Not compared: {problem}" for problem in self.problems)])

    def _repr_markdown_(self) -> str:
        """The table as a notebook shows it."""
        return "\n".join([markdown(self), *(f"- Not compared: {problem}" for problem in self.problems)])
