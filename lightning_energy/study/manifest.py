"""The manifest of a study: what was to be run, in which order, and what became of it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from lightning_energy._version import __version__
from lightning_energy.comparison.study_folders import FORMAT, MANIFEST, document_of, is_of_study
from lightning_energy.results.node import DamagedError, Node
from lightning_energy.results.plain import printable
from lightning_energy.results.write import write_whole
from lightning_energy.study.plan import Order, part_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "MANIFEST",
    "NAMES",
    "Attempt",
    "Idle",
    "Kind",
    "Manifest",
    "State",
    "StudyError",
    "is_manifest",
    "read_manifest",
]

VERSION = 1
NAMES = re.compile(r"\w[\w.+=@,-]{0,99}")
"""Names of configurations: they are those of folders."""

Kind: TypeAlias = Literal["run", "warm-up"]
State: TypeAlias = Literal["running", "done", "failed", "broken"]
"""``failed``: the training's own doing; ``broken``: it was ended from outside, and is repeated."""


class StudyError(ValueError):
    """A study cannot be run or reported as asked. The text, of one line, says the problem and a remedy."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


@dataclass(frozen=True)
class Idle:
    """The power of a device while nothing was asked of it, in a process with a CUDA context where there is CUDA.

    Attributes:
        device_id: its identity on its machine.
        name: its name for people.
        power_w: its mean power in watts; ``None`` unknown.
        seconds: the time that it was watched.
    """

    device_id: str
    name: str
    power_w: float | None
    seconds: float


@dataclass(frozen=True)
class Attempt:
    """One run that was begun.

    Attributes:
        kind: ``run``, or ``warm-up`` for one that is discarded.
        config: the name of its configuration.
        seed: its seed.
        folder: its folder within the study's.
        state: what became of it.
        started_unix_s: its beginning in seconds since 1970.
        ended_unix_s: its end; ``None`` unknown.
        why: the reason why it is not done; empty where it is.
        record: its record within the study's folder; empty without one.
        waited_s: seconds that were waited before it until the boards were cool and idle.
        was_ready: whether they were then; ``None`` where that is not known.
        temperatures_c: temperatures of the boards at its beginning, by UUID.
    """

    kind: Kind
    config: str
    seed: int
    folder: str
    state: State
    started_unix_s: float
    ended_unix_s: float | None = None
    why: str = ""
    record: str = ""
    waited_s: float = 0.0
    was_ready: bool | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A study.

    Attributes:
        train: the function that trains, as ``FILE.py:NAME`` or ``module:NAME``.
        configs: the configurations, by name.
        seeds: the seeds.
        order: the way in which the runs follow each other.
        order_seed: the seed of that order.
        plan: configuration and seed of each run, in that order.
        warmup: number of runs that are discarded at the beginning of each call.
        cooldown_s: the longest wait between two runs in seconds; ``None`` for the default.
        part: the part of the configurations that this folder holds, such as ``1/4``; empty for all.
        created_unix_s: its beginning in seconds since 1970.
        version: version of this package.
        attempts: the runs that were begun, in the order of time.
        idle: idle powers of the devices.
    """

    train: str
    configs: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int]
    order: Order
    order_seed: int
    plan: Sequence[tuple[str, int]]
    warmup: int
    cooldown_s: float | None
    part: str
    created_unix_s: float
    version: str = __version__
    attempts: Sequence[Attempt] = ()
    idle: Sequence[Idle] = ()

    def state_of(self, config: str, seed: int) -> State | None:
        """The state of the last attempt of a run; ``None`` where it was not begun."""
        states = [a.state for a in self.attempts if (a.kind, a.config, a.seed) == ("run", config, seed)]
        return states[-1] if states else None

    def with_attempt(self, attempt: Attempt) -> Manifest:
        """The same with an attempt that is new, or knows more than one in the same folder."""
        kept = [a for a in self.attempts if a.folder != attempt.folder]
        return replace(self, attempts=(*kept, attempt))

    def write(self, folder: Path) -> None:
        """Write it into the study's folder, so that a reader finds the old one or the new one, whole.

        Raises:
            OSError: it cannot be written.
        """
        document = {"format": FORMAT, "manifest_version": VERSION, **asdict(self)}
        write_whole(folder / MANIFEST, json.dumps(document, indent=1, allow_nan=False) + "\n")


def is_manifest(file: Path) -> bool:
    """Return true for a manifest of ours, also a damaged one: all but a document that says otherwise."""
    try:
        return is_of_study(document_of(file))
    except ValueError:
        return True


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a study, every field checked.

    Args:
        folder: the study's folder.

    Raises:
        StudyError: there is none, or it was damaged. The text names the file and the field.
    """
    file = folder / MANIFEST
    try:
        document = document_of(file)
    except ValueError as error:
        raise StudyError(f"{file} cannot be read as the manifest of a study: {error}") from error
    if not is_of_study(document):
        raise StudyError(f"{file} is another program's: give the folder of a study, or a new one")
    version = document.get("manifest_version")
    if isinstance(version, int) and version > VERSION:
        raise StudyError(f"{file} is of a newer version ({version}): upgrade lightning-energy")
    try:
        return _manifest(Node(document))
    except DamagedError as error:
        raise StudyError(
            f"{file} is damaged ({error}): restore it from a copy, or begin in another folder; the records of its runs "
            f"can still be compared"
        ) from error


def _manifest(row: Node) -> Manifest:
    row["format"].one_of((FORMAT,))
    if row["manifest_version"].integer() != VERSION:
        raise row["manifest_version"].wrong(f"{VERSION}, which this lightning-energy knows")
    configs = {name: {**config.mapping()} for name, config in row["configs"].entries()}
    for name in configs:
        if not NAMES.fullmatch(name):
            raise Node(name, "a name of configs").wrong("one that a folder can have")
    seeds = [seed.integer() for seed in row["seeds"].items()]
    known = (tuple(configs), seeds)
    if len({*seeds}) < len(seeds):
        raise row["seeds"].wrong("a list of different seeds")
    found = _read(row, configs, seeds, known)
    if sorted(found.plan) != sorted((config, seed) for config in configs for seed in seeds):
        raise row["plan"].wrong("each configuration with each seed, once")
    _check_attempts(row["attempts"], found.attempts)
    return found


def _check_attempts(rows: Node, attempts: Sequence[Attempt]) -> None:
    """Check that attempts do not contradict each other.

    Raises:
        DamagedError: one does.
    """
    folders, done = set(), set()
    for row, attempt in zip(rows.items(), attempts, strict=True):
        if attempt.folder in folders:
            raise row["folder"].wrong("the folder of one attempt")
        folders.add(attempt.folder)
        if attempt.record and PurePosixPath(attempt.folder) not in PurePosixPath(attempt.record).parents:
            raise row["record"].wrong("below the folder of its run")
        if attempt.state != "done" or attempt.kind != "run":
            continue
        if not attempt.record:
            raise row["record"].wrong("there, and its run is done")
        if (attempt.config, attempt.seed) in done:
            raise row["folder"].wrong("the only attempt of its run that is done")
        done.add((attempt.config, attempt.seed))


def _read(
    row: Node, configs: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], known: tuple[tuple[str, ...], list[int]]
) -> Manifest:
    return Manifest(
        train=row["train"].text(),
        configs=configs,
        seeds=seeds,
        order=row["order"].one_of(get_args(Order)),
        order_seed=row["order_seed"].integer(),
        plan=tuple(_planned(item, *known) for item in row["plan"].items()),
        warmup=row["warmup"].integer(),
        cooldown_s=row["cooldown_s"].maybe(Node.amount),
        part=_part(row["part"]),
        created_unix_s=row["created_unix_s"].number(),
        version=row["version"].text(),
        attempts=tuple(_attempt(item, *known) for item in row["attempts"].items()),
        idle=tuple(_idle(item) for item in row["idle"].items()),
    )


def _part(node: Node) -> str:
    try:
        part_of([], node.text())
    except ValueError as error:
        raise node.wrong("a part such as 1/4") from error
    return node.text()


def _planned(item: Node, configs: tuple[str, ...], seeds: Sequence[int]) -> tuple[str, int]:
    pair = [*item.items()]
    if len(pair) != 2:  # noqa: PLR2004 - a pair
        raise item.wrong("a configuration and a seed")
    return pair[0].one_of(configs), _seed(pair[1], seeds)


def _seed(node: Node, seeds: Sequence[int]) -> int:
    seed = node.integer()
    if seed not in seeds:
        raise node.wrong("one of the seeds")
    return seed


def _attempt(row: Node, configs: tuple[str, ...], seeds: Sequence[int]) -> Attempt:
    return Attempt(
        kind=row["kind"].one_of(get_args(Kind)),
        config=row["config"].one_of(configs),
        seed=_seed(row["seed"], seeds),
        folder=_inside(row["folder"]),
        state=row["state"].one_of(get_args(State)),
        started_unix_s=row["started_unix_s"].number(),
        ended_unix_s=row["ended_unix_s"].maybe(Node.number),
        why=row["why"].text(),
        record=_inside(row["record"]) if row["record"].value else "",
        waited_s=row["waited_s"].amount(),
        was_ready=row["was_ready"].maybe(Node.truth),
        temperatures_c={uuid: t.number() for uuid, t in row["temperatures_c"].entries()},
    )


def _inside(node: Node) -> str:
    """A path within the study's folder."""
    path = PurePosixPath(node.text())
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in str(path):
        raise node.wrong("a path within the folder of the study")
    return str(path)


def _idle(row: Node) -> Idle:
    return Idle(
        device_id=row["device_id"].text(),
        name=row["name"].text(),
        power_w=row["power_w"].maybe(Node.amount),
        seconds=row["seconds"].amount(),
    )
