"""Records in the folder of a study that are no repeats of anything: warm-ups, runs that failed, trials of a search."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.results.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["without_discarded"]

MANIFEST, FORMAT = "study.json", "lightning-energy-study"
TUNING = "tuning"


def without_discarded(files: Sequence[Path], given: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Leave out what the manifest of a study says is none of its runs.

    Args:
        files: records.
        given: the paths under which they were found: a record that is one of them stays.

    Returns:
        The records that are left, and a sentence for each study of which some are left out.
    """
    named = {Path(path).expanduser().resolve() for path in given}
    studies: dict[Path, dict[Path, tuple[str, str]]] = {}
    left, counts = [], Counter[tuple[Path, str]]()
    for file in files:
        own = file.resolve()
        study = next((folder for folder in own.parents if _attempts(folder, studies)), None)
        what = "" if study is None or own in named else _what(own, studies[study])
        if study is None or not what:
            left.append(file)
        else:
            counts[study, what] += 1
    sentences = [_sentence(s, {what: n for (of, what), n in counts.items() if of == s}) for s, _ in counts]
    return left, [*dict.fromkeys(sentences)]


def _attempts(folder: Path, known: dict[Path, dict[Path, tuple[str, str]]]) -> dict[Path, tuple[str, str]]:
    """Kind and state of each attempt of a study by its folder; none where the folder is no study's, or damaged."""
    if folder not in known:
        try:
            document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            rows: list[Any] = document["attempts"] if document["format"] == FORMAT else []
            known[folder] = {folder / row["folder"]: (str(row["kind"]), str(row["state"])) for row in rows}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            known[folder] = {}
    return known[folder]


def _what(file: Path, attempts: dict[Path, tuple[str, str]]) -> str:
    """The reason why a record is no run; empty where it is one."""
    for folder in file.parents:
        if folder in attempts:
            kind, state = attempts[folder]
            if TUNING in file.relative_to(folder).parts[:-1]:
                return "trial"
            if kind != "run":
                return "warm-up"
            return {"failed": "failed run", "broken": "run that was cut off"}.get(state, "")
    return ""


def _sentence(study: Path, counts: dict[str, int]) -> str:
    words = [f"{n} {_plural(what) if n > 1 else what}" for what, n in sorted(counts.items())]
    listed = " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])
    verb = "is" if sum(counts.values()) == 1 else "are"
    return f"{listed} of {printable(study)} {verb} left out: lightning-energy study report shows them."


def _plural(what: str) -> str:
    return what.replace("run that was", "runs that were") if "was" in what else f"{what}s"
