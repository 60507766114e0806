"""Runs of one configuration, trained several times: a group with its mean and its spread."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lightning_energy.comparison.once import standing_for
from lightning_energy.comparison.run_files import short_names
from lightning_energy.comparison.seeds import come_twice, labels_of
from lightning_energy.comparison.student import quantile
from lightning_energy.results.record import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lightning_energy.comparison.run import Run
    from lightning_energy.comparison.seeds import Seed
    from lightning_energy.scores.metric import Mode

__all__ = [
    "SAME_RUN",
    "By",
    "Group",
    "Mean",
    "checked_by",
    "differing_settings",
    "group_runs",
    "mean_of",
    "one_length",
    "unlike_energies",
    "unlike_metrics",
    "unsaid_words",
    "without_settings",
]

By: TypeAlias = "str | Sequence[str] | Mapping[str, str] | Callable[[Run], str] | None"
"""A way to group runs: see :func:`group_runs`."""

CONFIDENCE = 0.95
ROUNDING = 1e-12  # relative, of a standard deviation that is none
NAMED = 4  # settings in a name
MOST_EXACT = 2**53  # whole numbers below it are floats, too
MOST_NAMES = 20  # of settings in a sentence
_OF_A_REPEAT = re.compile(r"[\W_]*((seed|rep|repeat|run|version|s|v)[\W_]*)?\d*$", re.IGNORECASE)  # "cnn/seed_1"
_LABEL = re.compile(
    r"(^|[/.])(((slurm_?)?(array_?)?job|run|trial|attempt|rep|repeat|repetition|replicate|replica)"
    r"(_?(name|id|idx|index|no|nr|num|number))?|uuid|pid|start_?(time|date)|time_?stamp|"
    r"(log|logs|save|out|output|run|default_root)_?(dir|folder|path))$|^(id|port|date)$",  # but "model/id"
    re.IGNORECASE,
)
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+$")  # a number that YAML reads as a text: "1e-3"
FOLDER = "folder"
SAME_RUN = "it is the same run as"
"""The beginning of the reason why another record of a run, or a copy, is left out."""
ALONE = "none"
ALL_STOPPED = "all runs stopped early after as many epochs: others may take more or fewer"
ONE_SEED = "runs share a seed, as far as records say, and runs of one seed do not show what another one brings"
SEEDS_STOP = (
    "runs share a seed, as far as records say, and not all had as many epochs: where that hangs on the seed, so does "
    "the energy, and runs of one seed show less than as many seeds would"
)
SEEDS_MAY_STOP = (
    "runs share a seed, as far as records say, and nothing tells whether all had as many epochs: where that hangs on "
    "the seed, so does the energy, and runs of one seed show less than as many seeds would"
)
UNLIKE_ENERGIES = "runs are unlike in what their joules cover, in their quality or in their sensors"
UNLIKE_METRICS = "runs were validated on different numbers of samples"


@dataclass(frozen=True)
class Mean:
    """The mean of a figure over the runs of a group.

    Attributes:
        n: number of runs.
        mean: their arithmetic mean.
        sd: their standard deviation (with n - 1); ``None`` for one run.
        low: lower end of the 95 % interval of the mean, no lower than the figure can be; ``None`` for one run, where
            repeats have no spread, or where they do not show how others would scatter.
        high: its upper end; ``None`` likewise.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def has_spread(self) -> bool:
        """True when the values are not equal to the last digit."""
        return self.sd is not None and self.sd > ROUNDING * abs(self.mean)


@dataclass(frozen=True)
class Group:
    """Runs of one configuration.

    Attributes:
        name: its name.
        runs: its runs that ended and have the metric and an energy, each run once.
        left_out: its other runs, each with the reason: they are shown, and in no mean.
        energy: the energies of their trainings in kWh; ``None`` without a run.
        metric: their metrics; ``None`` without a run.
        seeds: the seed of each of ``runs``, of several the one in which they differ (a split of the data has one, too):
            a number, or several that differ as text; ``None`` where it is unknown.
        settings: those that all its runs share and that not all groups have, and those that it was found by; ``None``:
            no run of it has that setting.
    """

    name: str
    runs: tuple[Run, ...]
    left_out: tuple[tuple[Run, str], ...] = ()
    energy: Mean | None = None
    metric: Mean | None = None
    seeds: tuple[Seed, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """The same in JSON's types, with names of runs."""
        return {
            "name": self.name,
            "n": self.n,
            "runs": [run.name for run in self.runs],
            "left_out": [{"run": run.name, "reason": reason} for run, reason in self.left_out],
            "energy_kwh": None if self.energy is None else asdict(self.energy),
            "metric": None if self.metric is None else asdict(self.metric),
            "no_energy_interval": self.no_energy_interval if self.n > 1 else "",
            "no_metric_interval": self.no_metric_interval if self.n > 1 else "",
            "seeds": [*self.seeds],
            "settings": {**self.settings},
            "differs_in": self.differs_in,
        }

    @property
    def n(self) -> int:
        """Number of its runs that are in its means."""
        return len(self.runs)

    @property
    def stops_alike(self) -> bool:
        """True when its runs all stopped early after as many epochs: others may take more or fewer."""
        lengths = {run.source.stopped_after for run in self.runs}
        return len(lengths) == 1 and None not in lengths

    @property
    def lengths(self) -> frozenset[tuple[int | None, int]]:
        """Of each of its runs after how many epochs it was stopped, if it was, and how many it had; 0 unknown."""
        return frozenset((r.source.stopped_after, r.source.epochs or len(r.source.course)) for r in self.runs)

    @property
    def has_one_length(self) -> bool | None:
        """True when its runs are known to have had one number of epochs; ``None`` unknown."""
        return one_length(self.lengths)

    @property
    def no_energy_interval(self) -> str:
        """The reason why its energies have no interval, whatever they scatter by; empty where they may have one."""
        if unlike_energies(self.runs):
            return UNLIKE_ENERGIES
        if self.stops_alike:
            return ALL_STOPPED
        if self.repeats_a_seed and not self.has_one_length:
            return SEEDS_STOP if self.has_one_length is False else SEEDS_MAY_STOP
        return ""

    @property
    def no_metric_interval(self) -> str:
        """The reason why its metrics have no interval; empty where they may have one."""
        if unlike_metrics(self.runs):
            return UNLIKE_METRICS
        return ONE_SEED if self.repeats_a_seed else ""

    @property
    def all_runs(self) -> list[Run]:
        """Its runs, each once: those that were interrupted are in no mean, but spent their energy."""
        records = [*self.runs, *(run for run, _ in self.left_out)]
        of_each = zip(records, standing_for(records, _run_id, _energy_kwh), strict=True)
        return [run for run, same in of_each if same is run]

    @property
    def lost(self) -> int:
        """Number of its runs that are left out, other records of its runs not counted."""
        return sum(not reason.startswith(SAME_RUN) for _, reason in self.left_out)

    @cached_property
    def repeats_a_seed(self) -> bool:
        """True when two of its runs have one seed, as far as records say: they do not show what another one brings.

        Whatever other settings these have: of a precision, or a number of workers, that changes little, runs of one
        seed have almost one metric. Trainings after one call of ``seed_everything`` all have it in their records.
        """
        return come_twice(self.all_seeds)

    @property
    def all_seeds(self) -> list[dict[str, int]]:
        """All known seeds of each of its runs, by name."""
        return _seeds_of(self.runs)

    @cached_property
    def differs_in(self) -> list[str]:
        """Names of the settings in which its runs differ, the seed excepted: its means are of such a mixture.

        Settings that are called like a run's label or folder, and that no two runs share, tell runs apart, and not how
        they were trained.
        """
        names = differing_settings(self.runs)
        return [name for name in names if not _is_label(name, [run.source.settings.get(name) for run in self.runs])]

    def values_of(self, name: str) -> list[str]:
        """The values of a setting of its runs, as text that tells unlike ones apart.

        Args:
            name: the setting.
        """
        if name not in self._texts:
            self._texts[name] = [_value_text(run.source.settings.get(name)) for run in self.runs]
        return self._texts[name]

    @cached_property
    def mixture(self) -> list[tuple[str, ...]]:
        """The values of ``differs_in`` of each of its runs, in no order of theirs: equal for groups mixed alike."""
        return sorted(zip(*map(self.values_of, self.differs_in), strict=True))

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        return {}

    @property
    def mode(self) -> Mode:
        """The better direction of its metric."""
        return self.runs[0].mode if self.runs else "max"


def group_runs(runs: Sequence[Run], by: By = None) -> list[Group]:
    """Find the runs of one configuration.

    Args:
        runs: runs of one metric, and runs that cannot be compared.
        by: the way to find them:

            - ``None``: runs whose records say the same of the training, the seed excepted. A record without
              hyperparameters and without a seed says too little: its run is a group of its own. So does one with a
              seed that comes twice among such runs that look alike: see :func:`unsaid_words`.
            - ``"folder"``: runs whose folders lie in one folder (``cnn/version_0`` and ``cnn/version_1``).
            - ``"none"``: every run is a group of its own.
            - a sequence of names of settings (``["model", "lr"]``), or a text (``"model,lr"``): runs in which these
              are equal. A run that has none of them is a group of its own.
            - a mapping of names of runs to names of groups; a run that it does not name is a group of its own.
            - a function of a run that returns the name of its group.

    Returns:
        The groups by mean energy, those without an energy last.
    """
    found: dict[Any, list[Run]] = {}
    unsaid = {run.name for run in _unsaid(runs, by)}
    for run in runs:
        key = ("alone", _run_id(run) or run.name) if run.name in unsaid else _key(run, by)
        found.setdefault(key, []).append(run)
    members = [*found.values()]
    shared = [_shared_settings(of_one) for of_one in members]
    asked = _names_in(by)
    chosen = dict.fromkeys([*asked, *_differing([of_one for of_one, _ in shared])])
    settings = [{name: of_one.get(name) for name in chosen if name not in mixed} for of_one, mixed in shared]
    of_asked = [{name: of_one[name] for name in asked if name in of_one} for of_one, _ in shared]
    names = _names([*found], members, settings, of_asked)
    groups = [_group(*parts) for parts in zip(names, members, settings, strict=True)]
    return sorted(groups, key=lambda g: (g.energy is None, 0.0 if g.energy is None else g.energy.mean, g.name))


def checked_by(runs: Sequence[Run], by: By) -> tuple[By, str]:
    """A way to group runs whose names of settings are known.

    Args:
        runs: all runs.
        by: the way: see :func:`group_runs`. A text with commas has several names.

    Returns:
        The way, and a problem. Where no run has one of the names, every run is a group of its own: grouped by a name
        that is misspelt, runs of different configurations would have one mean.
    """
    names = _names_in(by)
    if not names:
        return by, ""
    known = dict.fromkeys(name for run in runs for name in run.source.settings)
    if isinstance(by, str) and by not in known:
        names = [name.strip() for name in by.split(",")]
    unknown = [name for name in names if name not in known]
    if not unknown or not runs:
        return names, ""
    some = f"{', '.join(islice(known, MOST_NAMES))}{', …' * (len(known) > MOST_NAMES)}" if known else "none"
    return ALONE, (
        f"no run has a setting {' or '.join(map(repr, unknown))}, so that no runs are put together: give names of "
        f"their settings ({some})"
    )


def without_settings(runs: Sequence[Run], by: By) -> str:
    """Say how many runs have none of the settings that runs are grouped by; empty where all have one.

    Args:
        runs: all runs.
        by: the way to group them, of which :func:`checked_by` knows the names.
    """
    names = _names_in(by)
    n = sum(not any(name in run.source.settings for name in names) for run in runs) if names else 0
    if not n:
        return ""
    lacks = f"{n} of {len(runs)} runs {'has' if n == 1 else 'have'} no setting {' or '.join(map(repr, names))}"
    return f"{lacks}, so that each of these is a group of its own."


def unsaid_words(runs: Sequence[Run], by: By) -> str:
    """Say how many runs without hyperparameters are not put together, as seeds come twice among them; empty of none.

    One seed for all runs, or the same seeds for each configuration, are what most people have: without hyperparameters
    runs of two learning rates look like repeats.

    Args:
        runs: all runs.
        by: the way to group them.
    """
    n = len(_unsaid(runs, by))
    if not n:
        return ""
    return (
        f"{n} of {len(runs)} runs have no hyperparameters in their records, and seeds come twice among those that look "
        "alike, so that they may be of several configurations: each of these is a group of its own. Name groups "
        "(--group-by folder, if each configuration has a folder of its own), or call save_hyperparameters() in the "
        "module."
    )


def _unsaid(runs: Sequence[Run], by: By) -> list[Run]:
    """The runs without hyperparameters among which a seed comes twice, although they look alike."""
    alike: dict[Any, list[Run]] = {}
    for run in runs if by is None else ():
        if run.source.all_seeds and not run.source.has_hyperparameters:
            alike.setdefault(_key(run, by), []).append(run)
    return [run for of_one in alike.values() if _repeat_a_seed(of_one) for run in of_one]


def _repeat_a_seed(runs: Sequence[Run]) -> bool:
    """True where a seed comes twice among runs that ended or go on; one that was interrupted may have begun anew."""
    kept, _ = _once([run for run in runs if run.outcome == "running" or not _reason(run)])
    return come_twice(_seeds_of(kept))


def _seeds_of(runs: Iterable[Run]) -> list[dict[str, int]]:
    return [run.source.all_seeds for run in runs]


def one_length(lengths: frozenset[tuple[int | None, int]]) -> bool | None:
    """True when runs are known to have had one number of epochs; ``None`` unknown.

    Args:
        lengths: see :attr:`Group.lengths`.
    """
    if len(lengths) > 1:
        return False
    return None if lengths == {(None, 0)} else True


def unlike_energies(runs: Sequence[Run]) -> bool:
    """True when the energies of runs are known to be of other coverage, quality or sensors: no repeats of one figure.

    Args:
        runs: the runs.
    """
    sensors = {run.source.sensors for run in runs} - {""}
    return max(len({run.covers for run in runs}), len({run.quality for run in runs}), len(sensors)) > 1


def unlike_metrics(runs: Sequence[Run]) -> bool:
    """True when the metrics of runs are known to be of different numbers of samples.

    Args:
        runs: the runs.
    """
    return len({run.metric_n for run in runs} - {None}) > 1


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """Names of the settings in which runs differ, the seed excepted."""
    return _differing([run.source.settings for run in runs])


def mean_of(values: Iterable[float], confidence: float = CONFIDENCE) -> Mean | None:
    """The mean of values with its interval by Student's t; ``None`` of none.

    Args:
        values: the values.
        confidence: probability of the interval.

    Example:
        >>> mean_of([1.0, 2.0, 3.0]).sd
        1.0
    """
    values = [*values]
    n = len(values)
    if not n:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Mean(1, mean)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    if not Mean(n, mean, sd).has_spread:
        return Mean(n, mean, sd)
    half = quantile((1 + confidence) / 2, n - 1) * sd / math.sqrt(n)
    return Mean(n, mean, sd, mean - half, mean + half)


def _key(run: Run, by: By) -> Any:
    """The group of a run: text where that names it."""
    source, alone = run.source, ("alone", run.name)
    if by is None:
        known = source.all_seeds or source.has_hyperparameters
        return ("settings", _text(source.settings)) if known else alone
    if by == ALONE:
        return alone
    if by == FOLDER:
        file = Path(run.path)
        return ("folder", file.parent.parent if file.name == NAME else file.parent)
    if isinstance(by, Mapping):
        return by.get(run.name, alone)
    if callable(by):
        return str(by(run))
    own = {name: source.settings[name] for name in _names_in(by) if name in source.settings}
    return ("settings", _text(own)) if own else alone


def _names_in(by: By) -> list[str]:
    """The names of settings that runs are grouped by; none where they are grouped in another way."""
    if by is None or callable(by) or isinstance(by, Mapping) or by in (ALONE, FOLDER):
        return []
    return [by] if isinstance(by, str) else [*by]


def _shared_settings(runs: Sequence[Run]) -> tuple[dict[str, Any], set[str]]:
    """The settings that all runs have with one value, and the names of those that they have not."""
    mixed = {*differing_settings(runs)}
    return {name: value for name, value in runs[0].source.settings.items() if name not in mixed}, mixed


def _is_label(name: str, values: Sequence[Any]) -> bool:
    """True for a setting that tells runs apart, and not how they were trained: by its name, if no two runs share it."""
    return bool(_LABEL.search(name)) and len({*map(repr, values)}) == len(values)


def _text(settings: Mapping[str, Any]) -> str:
    known = {name: _by_value(value) for name, value in settings.items() if value is not None}
    return json.dumps(known, sort_keys=True, default=str)


def _value_text(value: Any) -> str:
    return json.dumps(_by_value(value), default=str)


def _by_value(value: Any) -> Any:
    """A setting in one form: 1 and 1.0 are one number, also in a list, and so are 0.001 and the text 1e-3."""
    if isinstance(value, (list, tuple)):
        return [*map(_by_value, value)]
    if isinstance(value, str) and _EXPONENT.match(value):
        return float(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_EXACT else value


def _names(
    keys: Sequence[Any],
    members: Sequence[Sequence[Run]],
    settings: Sequence[Mapping[str, Any]],
    asked: Sequence[Mapping[str, Any]],
) -> list[str]:
    """A name for each group, each once: that which was given or asked for, what names of its runs share, or settings.

    Args:
        keys: the key of each group.
        members: the runs of each.
        settings: the settings of each that not all groups have.
        asked: the settings that each was found by, where it was found by some.
    """
    if keys and all(not isinstance(key, str) and key[0] == "folder" for key in keys):
        return short_names([key[1] / NAME for key in keys])
    names = [
        key if isinstance(key, str) else _of_settings(found_by, len(found_by)) or _named_by(runs, own)
        for key, runs, own, found_by in zip(keys, members, settings, asked, strict=True)
    ]
    twice = Counter(names)
    names = [n if twice[n] == 1 else _of_settings(own) or n for n, own in zip(names, settings, strict=True)]
    twice = Counter(names)
    return [n if twice[n] == 1 else f"{n} ({i + 1})" for i, n in enumerate(names)]


def _named_by(runs: Sequence[Run], settings: Mapping[str, Any]) -> str:
    """A name by what the names of the runs share, or by settings."""
    return _shared([run.name for run in runs]) or _of_settings(settings) or _one_of_them(runs)


def _one_of_them(runs: Sequence[Run]) -> str:
    """A name for runs that share nothing to be named by."""
    return runs[0].name if len(runs) == 1 else f"{runs[0].name} and {len(runs) - 1} more"


def _shared(names: Sequence[str]) -> str:
    """The beginning that names share, without a word for the repeats."""
    if len(names) == 1:
        return names[0]
    alike = takewhile(lambda letters: len({*letters}) == 1, zip(*names, strict=False))
    return _OF_A_REPEAT.sub("", "".join(letters[0] for letters in alike))


def _of_settings(settings: Mapping[str, Any], most: int = NAMED) -> str:
    return ", ".join(f"{name.rpartition('/')[2]}={value}" for name, value in [*settings.items()][:most])


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for s in settings for name in s)
    return [name for name in names if len({_value_text(s.get(name)) for s in settings}) > 1]


def _group(name: str, runs: Sequence[Run], settings: Mapping[str, Any]) -> Group:
    kept, left_out = _once([run for run in runs if not _reason(run)])
    names = {_run_id(run): run.name for run in kept if _run_id(run)}
    others = [(run, names.get(_run_id(run)), reason) for run in runs if (reason := _reason(run))]
    left_out += [(run, _same_run(name) if name else reason) for run, name, reason in others]
    metric = mean_of(run.metric for run in kept if run.metric is not None)
    most = 1.0 if all(run.mode == "max" for run in kept) else math.inf
    group = Group(
        name,
        tuple(kept),
        tuple(left_out),
        _cut(mean_of(run.energy_kwh for run in kept if run.energy_kwh is not None), math.inf),
        _cut(metric, most) if all(run.scale != "raw" for run in kept) else metric,
        labels_of(_seeds_of(kept)),
        settings,
    )
    return replace(
        group,
        energy=_without_interval(group.energy) if group.no_energy_interval else group.energy,
        metric=_without_interval(group.metric) if group.no_metric_interval else group.metric,
    )


def _without_interval(mean: Mean | None) -> Mean | None:
    return None if mean is None else replace(mean, low=None, high=None)


def _cut(mean: Mean | None, most: float) -> Mean | None:
    """A mean whose interval has no values that the figure cannot have: below 0, or above the most."""
    if mean is None or mean.low is None or mean.high is None:
        return mean
    return replace(mean, low=max(mean.low, 0.0), high=min(mean.high, most))


def _once(runs: Sequence[Run]) -> tuple[list[Run], list[tuple[Run, str]]]:
    """Keep one record of each run: of a run that was resumed or copied, the one with the most energy."""
    of_each = [*zip(runs, standing_for(runs, _run_id, _energy_kwh), strict=True)]
    copies = sorted((pair for pair in of_each if pair[0] is not pair[1]), key=lambda pair: -(pair[0].energy_kwh or 0.0))
    left_out = [(run, _same_run(same.name)) for run, same in copies]
    return [run for run, same in of_each if same is run], left_out


def _same_run(name: str) -> str:
    return f"{SAME_RUN} {name}, resumed or copied"


def _run_id(run: Run) -> str:
    return run.source.run_id


def _energy_kwh(run: Run) -> float | None:
    return run.energy_kwh


def _reason(run: Run) -> str:
    """The reason why a run by itself is in no mean; empty where it is."""
    if run.outcome != "completed":
        return f"it is {run.outcome}" if run.outcome == "running" else f"it was {run.outcome}"
    if run.is_comparable:
        return ""
    if run.source.lacks:
        return "; ".join(run.source.lacks)
    return "its metric is not known" if run.metric is None else "its energy is not known"
