"""A verdict in words: as text and as Markdown, and in the rows of a table."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from lightning_energy.results.readable import joules, one_line, percent, si, watt_hours
from lightning_energy.results.rendering import in_markdown, note_in_markdown
from lightning_energy.results.verdict.saving import MIN_SHARE, SURE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.results.verdict.saving import Saving, Verdict

__all__ = ["as_markdown", "as_text", "facts_of", "notes_of"]

HEADER = ("what the energy goes to", "would save", "of the run", "figures", "next step")
WIDTH = 120
NARROWEST = 60
INDENT = "   "
LIMITS = (
    f"A saving is listed where it exceeds {percent(MIN_SHARE)} of the run, as runs of one setting differ by so much, "
    f"and {SURE:g} times its uncertainty (±, k=1)."
)


def as_text(verdict: Verdict, width: int = WIDTH) -> str:
    """A numbered list, and what could not be looked at.

    Args:
        verdict: the verdict.
        width: letters of a line, 60 at least.
    """
    width = max(width, NARROWEST)
    lines = [*_wrapped(_title(verdict), width, "")]
    for number, s in enumerate(verdict.savings, 1):
        lines += _wrapped(f"{number}. {s.cause}: {_saved(s)}, {percent(s.share)} of the run", width, INDENT)
        lines += _wrapped(f"{INDENT}{_capital(s.because)}.", width, INDENT)
        lines += _wrapped(f"{INDENT}Next: {s.next_step}.", width, INDENT)
    return "\n".join([*lines, *(line for note in notes_of(verdict) for line in _wrapped(note, width, "  "))])


def as_markdown(verdict: Verdict) -> str:
    """A table, and below it what could not be looked at."""
    parts = [f"### {in_markdown(_title(verdict).removesuffix(':'))}"]
    if verdict.savings:
        rows = [HEADER, ("---", "---:", "---:", "---", "---")]
        cells = [*rows, *([note_in_markdown(cell) for cell in row] for row in _rows(verdict))]
        parts.append("\n".join("| " + " | ".join(row) + " |" for row in cells))
    return "\n\n".join([*parts, "\n".join(f"- {note_in_markdown(note)}" for note in notes_of(verdict))])


def facts_of(verdict: Verdict) -> list[tuple[str, str]]:
    """Lines of (label, text), one per saving, that with the most joules first."""
    return [
        (
            one_line(f"{percent(s.share)}, {s.cause}"),
            one_line(f"{_saved(s)}. {_capital(s.because)}. Next: {s.next_step}."),
        )
        for s in verdict.savings
    ]


def _rows(verdict: Verdict) -> list[tuple[str, ...]]:
    """Rows of a table with the columns of :data:`HEADER`."""
    rows = [(s.cause, _saved(s), percent(s.share), s.because, s.next_step) for s in verdict.savings]
    return [tuple(map(one_line, row)) for row in rows]


def notes_of(verdict: Verdict) -> list[str]:
    """Sentences on what does not add up, what is too small, and what could not be looked at."""
    notes = [f"Do not add up {a.cause} and {b.cause}: in part they are the same joules." for a, b in verdict.overlaps]
    notes += _of_an_estimate(verdict)
    small = [s for s in verdict.small if not (_is_estimated(verdict) and s.share > MIN_SHARE)]
    if small:
        notes.append(
            f"Too little, or not sure: {', '.join(f'{s.cause} ({joules(s.energy_j, s.u_j)})' for s in small)}."
        )
    reasons: dict[tuple[str, str], list[str]] = {}
    for u in verdict.unseen:
        reasons.setdefault((u.why, u.remedy), []).append(u.cause)
    for (why, remedy), causes in reasons.items():
        notes.append(f"Not looked at: {', '.join(causes)}: {why}.{remedy and f' To know: {remedy}.'}")
    return [one_line(note) for note in (*notes, LIMITS)]


def _is_estimated(verdict: Verdict) -> bool:
    return verdict.quality == "estimated" and verdict.energy_j is not None


def _of_an_estimate(verdict: Verdict) -> list[str]:
    """A sentence on energies of a model, with the shares that it alone would give; nothing where they are measured."""
    if not _is_estimated(verdict):
        return []
    u = f" (± {percent(verdict.u_j / verdict.energy_j)}, k=1)" if verdict.u_j and verdict.energy_j else ""
    model = f"The energy is estimated by a model{u}, not measured"
    notes = [f"{model}: so are these savings." if verdict.savings else f"{model}: no saving is sure."]
    shares = ", ".join(f"{percent(s.share)} for {s.cause}" for s in verdict.small if s.share > MIN_SHARE)
    alone = f"By the model alone, these are the shares of the run: {shares}. How sure they are is not known."
    return [*notes, *([alone] if shares else [])]


def _title(verdict: Verdict) -> str:
    if verdict.energy_j is None:
        return "Nothing can be said: the energy of this run is unknown."
    energy = f"{si(verdict.energy_j, 'J', digits=3)} ({watt_hours(verdict.energy_j)})"
    if verdict.savings:
        return f"What would have saved energy in this run of {energy}:"
    if _is_estimated(verdict):
        return f"Nothing is sure that would have saved much of the {energy} that are estimated for this run."
    return f"Nothing is known that would have saved much of the {energy} of this run."


def _saved(s: Saving) -> str:
    return f"{joules(s.energy_j, s.u_j)} ({watt_hours(s.energy_j)})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _wrapped(text: str, width: int, indent: str) -> Sequence[str]:
    return textwrap.wrap(one_line(text) if not text.startswith(" ") else indent + one_line(text), width,
                         subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)  # fmt: skip
