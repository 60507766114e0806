"""The report of a study: its comparison, what failed, what was spent apart, and the checklist."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.comparison.compare import compare
from lightning_energy.comparison.group_table import groups_csv
from lightning_energy.comparison.listing import some_of
from lightning_energy.comparison.picture import SUFFIXES, draw
from lightning_energy.comparison.table import as_csv, markdown
from lightning_energy.results.plain import printable
from lightning_energy.results.prefixes import significant
from lightning_energy.results.readable import duration, percent
from lightning_energy.results.write import write_whole
from lightning_energy.study.checklist import Item, checklist
from lightning_energy.study.gather import Gathered, Spent, Use, gather
from lightning_energy.study.manifest import StudyError

if TYPE_CHECKING:
    from lightning_energy.comparison.comparison import Comparison
    from lightning_energy.comparison.groups import By
    from lightning_energy.comparison.run import Run

__all__ = ["StudyReport", "report"]

SIGNS = {"known": "x", "partly": "~", "unknown": "?"}
WIDTH = 120
NAME = "comparison"  # of the files that are written
LISTED = 20  # configurations in a sentence


@dataclass(frozen=True)
class StudyReport:
    """The report of a study; ``str()`` of it is a text.

    Attributes:
        comparison: the runs that are done, side by side; ``None`` without one.
        failed: sentences on runs that failed, were cut off, or were not begun.
        spent: energies by use: ``runs``, ``warm-ups``, ``failed``, ``cut off``, ``tuning``.
        checklist: the points that reviewers ask for.
        problems: sentences on what could not be read.
    """

    comparison: Comparison | None
    failed: tuple[str, ...]
    spent: dict[Use, Spent]
    checklist: tuple[Item, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        table = "No run is done." if self.comparison is None else str(self.comparison)
        return "\n".join([table, "", *self.below()])

    def below(self, *, markdown: bool = False) -> list[str]:
        """The lines that stand below the table: what failed, what was spent apart, and the checklist.

        Args:
            markdown: whether they are Markdown.
        """
        head, point = ("### ", "- ") if markdown else ("", "  ")
        lines = []
        if self.failed:
            lines += [f"{head}Not in the comparison", *(f"{point}{line}" for line in self.failed), ""]
        lines += [f"{head}Energy", *(f"{point}{line}" for line in _energies(self.spent)), ""]
        lines += [f"{head}Checklist (x known, ~ partly, ? unknown)"]
        lines += [f"{point}[{SIGNS[i.answer]}] {i.name}: {i.text}" for i in self.checklist]
        return lines if markdown else [part for line in lines for part in _wrapped(line)]

    def write(self, folder: str | Path) -> tuple[list[Path], list[str]]:
        """Write all of it into a folder: the report as text, Markdown and JSON, and the comparison.

        That is a CSV of the groups and one of the runs, a table in LaTeX, a page and pictures.

        Args:
            folder: the folder; files of these names there are replaced.

        Returns:
            The files, and a sentence for each that could not be written.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder = Path(folder)
        table = "No run is done." if self.comparison is None else markdown(self.comparison)
        texts = {
            "report.txt": str(self),
            "report.md": "\n".join([table, "", *self.below(markdown=True)]),
            "report.json": json.dumps(self.to_plain(), indent=1, allow_nan=False),
        }
        if self.comparison is not None:
            texts |= {
                f"{NAME}.csv": groups_csv(self.comparison),
                f"{NAME}.tex": self.comparison.to_latex(),
                f"{NAME}.html": self.comparison.to_html(),
                "runs.csv": as_csv(self.comparison),
            }
        for name, text in texts.items():
            write_whole(folder / name, text.rstrip("\n") + "\n")
        files, problems = [folder / name for name in texts], []
        for suffix in SUFFIXES:
            file = folder / f"{NAME}{suffix}"
            if self.comparison is None:
                break
            try:
                draw(self.comparison, file)
                files.append(file)
            except ModuleNotFoundError as error:
                problems.append(f"{file} is not written: {error}")
        return files, problems

    def to_plain(self) -> dict[str, Any]:
        """The report in JSON's types."""
        return {
            "comparison": None if self.comparison is None else self.comparison.to_plain(),
            "failed": [*self.failed],
            "spent": {use: asdict(spent) for use, spent in self.spent.items()},
            "checklist": [asdict(item) for item in self.checklist],
            "problems": [*self.problems],
        }


def report(
    paths: str | Path | Iterable[str | Path], *, tuning: str | Path | Iterable[str | Path] = (), **settings: Any
) -> StudyReport:
    """Report a study, several parts of one, a sweep, or any folder of records.

    Args:
        paths: folders of studies, or records, folders that hold some, or patterns.
        tuning: records of a search: their energy stands apart. Records in a folder ``tuning`` below that of a run are
            so in any case.
        settings: arguments of :func:`~lightning_energy.compare`, such as ``metric``, ``epoch`` and ``margin``. The runs
            of each configuration of a manifest are a group, unless ``by`` says otherwise.

    Raises:
        StudyError: a manifest is damaged, or parts do not fit together.
    """
    found = gather(_several(paths), _several(tuning))
    comparison = compare([*found.files], **{"by": _by(found), **settings}) if found.files else None
    apart = (*_apart(found), *_before_the_end(found))
    if comparison is not None and apart:
        comparison = replace(comparison, apart=apart, caveats=[*apart, *comparison.caveats])
    problems = [*found.problems, *(comparison.problems if comparison is not None else ())]
    return StudyReport(
        comparison=comparison,
        failed=tuple(_not_compared(found)),
        spent=found.spent,
        checklist=tuple(checklist(found)),
        problems=tuple(dict.fromkeys(problems)),
    )


def _by(found: Gathered) -> By:
    """Group runs by the configurations of the manifests; where there is none, by what their records say."""
    configs = {str(file): config for file, config in found.files.items()}
    if not any(configs.values()):
        return None
    names = {*configs.values()}

    def by(run: Run) -> str:
        """The configuration of a run; of one beside the study a name that none has."""
        return configs.get(run.path) or (f"{run.name} (beside the study)" if run.name in names else run.name)

    return by


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False) or [line]


def _several(paths: str | Path | Iterable[str | Path]) -> list[str | Path]:
    several = [paths] if isinstance(paths, (str, Path)) else [*paths] if isinstance(paths, Iterable) else [paths]
    if wrong := [path for path in several if not isinstance(path, (str, Path))]:
        raise StudyError(f"{wrong[0]!r} is no path: give folders of studies, or records")
    return several


def _not_compared(found: Gathered) -> list[str]:
    words = {"failed": "failed", "broken": "cut off", "running": "still runs, or was cut off"}
    lines = [
        f"{a.config}, seed {a.seed}{' (warm-up)' if a.kind == 'warm-up' else ''}: {words[a.state]}"
        f"{f': {a.why}' if a.why else ''}"
        for _, a in found.attempts
    ]
    if found.not_begun:
        n = len(found.not_begun)
        lines.append(f"{n} run(s) of the plan are not done yet: `lightning-energy study run` goes on with them")
    return lines


def _apart(found: Gathered) -> list[str]:
    """Say, for tables and pages that stand alone, how many runs of each configuration are in no figure; or nothing."""
    counted = Counter(attempt.config for _, attempt in found.attempts if attempt.kind == "run")
    if not counted:
        return []
    listed = some_of([f"{printable(config)} {n}" for config, n in counted.items()], LISTED)
    return [f"Runs of the study that failed, were cut off or still run, and are in no figure here: {listed}."]


def _before_the_end(found: Gathered) -> list[str]:
    """Say that what is decided before all runs of the plan are done is a look, of which each has its chance."""
    n, of = len(found.not_begun), sum(len(manifest.plan) for _, manifest in found.studies)
    if not n:
        return []
    looks = "decisions before its end are a look, and the others at its end another one: divide the level among them"
    return [f"{n} of {of} runs of the plan are not done yet: {looks}."]


def _energies(spent: dict[Use, Spent]) -> list[str]:
    words: dict[Use, str] = {
        "runs": "runs that are done",
        "warm-ups": "warm-ups, which are discarded",
        "failed": "runs that failed",
        "cut off": "runs that were cut off, or still run",
        "tuning": "search for hyperparameters",
    }
    lines = []
    for use, text in words.items():
        row = spent.get(use)
        if row is None:
            if use == "tuning":
                lines.append(f"{text}: no record of one is known here")
            continue
        cut = f"; {row.interrupted} of them interrupted" if row.interrupted and use in {"runs", "tuning"} else ""
        lines.append(f"{text}: {_in_words(row)}{cut}")
    if len(spent) > 1:
        together = sum(spent.values(), Spent())
        lines.append(f"all together: {_in_words(together)}{_share_of_search(spent.get('tuning'), together)}")
    return lines


def _share_of_search(search: Spent | None, together: Spent) -> str:
    """Say which share the search is of what was spent: a lower bound where energy of it alone is not known."""
    if search is None or not (search.energy_kwh or search.unknown):
        return ""
    if not search.energy_kwh:
        return "; the share of the search is not known"
    share = percent(search.energy_kwh / together.energy_kwh)
    lacking, of_search = ((row.unknown, row.missing_s) for row in (together, search))
    if lacking == (0, 0.0):
        return f", of which the search is {share}"
    if lacking == of_search:
        return f", of which the search is at least {share}, as not all that it spent is known"
    return f", of which the search is {share} as far as energies are known"


def _in_words(row: Spent) -> str:
    about = "about " if row.is_estimated else ""
    more = f", and {row.unknown} of unknown energy" if row.unknown else ""
    more += f"; {duration(row.missing_s)} are missing" if row.missing_s else ""
    tests = f"{significant(row.evaluated_kwh, 4)} kWh in tests and the like outside of trainings"
    of_tests = f", of it {tests}" if row.evaluated_kwh else ""
    return f"{row.n - row.unknown} with {about}{significant(row.energy_kwh, 4)} kWh{of_tests}{more}"
