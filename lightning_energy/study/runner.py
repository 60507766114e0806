"""Many trainings, one after the other, each in a process of its own, so that they can be compared."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from unicodedata import normalize

from lightning_energy.results.readable import duration
from lightning_energy.study.boards import wait_until_ready
from lightning_energy.study.child import MODULE
from lightning_energy.study.idle import IDLE_S, measure_idle
from lightning_energy.study.manifest import MANIFEST, NAMES, Attempt, Manifest, StudyError, read_manifest
from lightning_energy.study.plan import Order, in_order, part_of
from lightning_energy.study.process import judge, run_in_process
from lightning_energy.study.template import Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lightning_energy.study.boards import Ready
    from lightning_energy.study.manifest import Kind, State

__all__ = ["run"]

LOCK = ".lock"
OURS = re.compile(r"[\d ]{0,40}")  # what is written into it
LONGEST_NAME = 200  # bytes: file systems take 255, of which an attempt needs some
NAMED = 20
DEEPEST = 100  # levels of configurations
MOST_SEEDS = 10_000
NEW = "give a new folder"


def run(
    configs: Mapping[str, Mapping[str, Any]],
    *,
    train: str | Callable[[dict[str, Any], int, Path], Any],
    out: str | Path,
    seeds: int | Sequence[int] = 5,
    order: Order = "randomized blocks",
    order_seed: int = 0,
    cooldown_s: float | None = None,
    warmup: int = 1,
    idle_s: float = IDLE_S,
    part: str = "",
    retry_failed: bool = False,
    preload: Sequence[str] = (),
    tell: Callable[[str], None] | None = None,
) -> Manifest:
    """Train every configuration with every seed, each run in a process of its own, and keep all records in one folder.

    A study that was ended in the middle goes on where it was: runs that are done stay, and one that was cut off is
    repeated. A run that failed stays failed, and the others go on. More seeds may be given later.

    Args:
        configs: the configurations, by name, each of values that JSON has.
        train: the function that trains, called with the configuration, the seed and a folder of its own: its Trainer
            needs an :class:`~lightning_energy.EnergyCallback` and a logger in that folder. A function of a module, or
            its place as ``FILE.py:NAME`` or ``module:NAME``. Python, NumPy and torch are seeded before it is called.
        out: the folder of the study: a new or empty one, or that of the same study.
        seeds: the seeds, or their number.
        order: ``"randomized blocks"``, ``"random"`` or ``"as given"``; see
            :data:`~lightning_energy.study.plan.Order`.
        order_seed: the seed of the random order.
        cooldown_s: the longest wait before a run, in seconds, until the boards are cool and idle, at most 3 °C warmer
            than at their coolest beginning; 120 by default. Where no temperature can be read, the wait itself, by
            default none.
        warmup: number of runs at the beginning of each call that are discarded.
        idle_s: seconds to watch the idle devices before the first run, with a CUDA context where there is CUDA.
        part: the part of the configurations for this machine, such as ``"1/4"``, each with a folder of its own.
        retry_failed: repeat runs that failed, too.
        preload: modules that are loaded once, such as ``["lightning", "sklearn.datasets"]``, in a process of which each
            run is a fork: for short runs, which else take longer to load them than to train. What your file sets
            before it imports them then comes too late. Without them, where the system is not Linux, and where one of
            them began a thread or opened a GPU, each run is a new process.
        tell: takes a line for each run; by default it goes to stderr.

    Returns:
        The manifest with all that was done; it lies in the folder as ``study.json``.

    Raises:
        StudyError: an argument is wrong, the folder holds other things or is damaged, another runner works in it, or
            the warm-up failed, or a module cannot be loaded.
    """
    if getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "") == f"{MODULE}.__main__":
        raise StudyError(
            "study.run() was called while a run loaded its file: put the call below `if __name__ == '__main__':`"
        )
    configs = _checked(configs, part)
    wanted = Manifest(
        train=_reference(train),
        configs=configs,
        seeds=_seeds(seeds),
        order=order,
        order_seed=order_seed,
        plan=(),
        warmup=warmup,
        cooldown_s=cooldown_s,
        part=part,
        created_unix_s=time.time(),
    )
    _check(wanted, idle_s)
    _check_modules(preload)
    folder = _folder(out)
    try:
        with _alone(folder) as lock, _ended_by_signals():
            study = _Study(folder, wanted, lock, tell or _to_stderr)
            study.repair()
            left = study.left(retry_failed=retry_failed)
            with study.loaded(preload if left else ()):
                return study.go_on(left, idle_s)
    except OSError as error:
        what = error.strerror or error
        raise StudyError(f"{folder} cannot be written: {what}: mend that, and the same command goes on") from error


class _Study:
    """A study in its folder, of which no other process is at work."""

    def __init__(self, folder: Path, wanted: Manifest, lock: int, tell: Callable[[str], None]) -> None:
        self.folder, self._lock, self._tell = folder, lock, tell
        self._template: Template | None = None
        if (folder / MANIFEST).exists():
            self.manifest = _going_on(folder, read_manifest(folder), wanted)
        else:
            plan = tuple(in_order([*wanted.configs], wanted.seeds, wanted.order, wanted.order_seed))
            self.manifest = replace(wanted, plan=plan)
        self.manifest.write(folder)

    def repair(self) -> None:
        """Judge runs that a runner left in the middle: their process may have come to its end without it."""
        for attempt in self.manifest.attempts:
            if attempt.state == "running":
                record, why = judge(self.folder / attempt.folder, None)
                self._note(replace(attempt, state="broken" if why else "done", why=why), record)

    @contextmanager
    def loaded(self, modules: Sequence[str]) -> Iterator[None]:
        """Keep modules loaded for the runs that are begun meanwhile."""
        template = Template(modules, [self._lock])
        try:
            if modules and (unfit := template.begin()):
                self._tell(f"preload={[*modules]!r}: {unfit}: every run is a new process")
            elif modules:
                self._template = template
            yield
        finally:
            self._template = None
            template.end()

    def left(self, *, retry_failed: bool) -> list[tuple[str, int]]:
        """The runs that are to be made."""
        again = {"broken", None, *(["failed"] if retry_failed else [])}
        return [run for run in self.manifest.plan if self.manifest.state_of(*run) in again]

    def go_on(self, left: Sequence[tuple[str, int]], idle_s: float) -> Manifest:
        """Make the runs that are left."""
        if left and idle_s and not self.manifest.idle:
            self.manifest = replace(self.manifest, idle=tuple(measure_idle(idle_s)))
            self.manifest.write(self.folder)
        for n in range(self.manifest.warmup if left else 0):
            if self._attempt("warm-up", *left[0], f"[warm-up {n + 1}/{self.manifest.warmup}]") != "done":
                why = self.manifest.attempts[-1].why
                raise StudyError(f"the warm-up of {left[0][0]} failed, and nothing else was begun: {why}")
        for n, (config, seed) in enumerate(left, 1 + len(self.manifest.plan) - len(left)):
            self._attempt("run", config, seed, f"[{n}/{len(self.manifest.plan)}]")
        return self.manifest

    def _attempt(self, kind: Kind, config: str, seed: int, number: str) -> State:
        ready = wait_until_ready(_coolest(self.manifest), self.manifest.cooldown_s)
        attempt = self._begun(kind, config, seed, ready)
        folder, values = self.folder / attempt.folder, self.manifest.configs[config]
        try:
            code = run_in_process(
                folder, self.manifest.train, values, seed, keep=[self._lock], template=self._template, watch=self._watch
            )
        except BaseException:
            record, _ = judge(folder, None)
            ended = replace(attempt, state="broken", why="it was interrupted", ended_unix_s=time.time())
            self._note(ended, record)
            raise
        record, why = judge(folder, code)
        state: State = "failed" if why else "done"
        self._note(replace(attempt, state=state, why=why, ended_unix_s=time.time()), record)
        took = duration(time.time() - attempt.started_unix_s)
        self._tell(f"{number} {config}, seed {seed}: {state} in {took}{f': {why}' if why else ''}")
        return state

    def _watch(self, pid: int, *, is_ending: bool) -> None:
        """Note the process that trains, or say that it is to end."""
        if is_ending:
            self._tell("ending the training that runs, which may take a while; the same command goes on later")
        else:
            _write_lock(self._lock, f"{os.getpid()} {pid}")

    def _begun(self, kind: Kind, config: str, seed: int, ready: Ready) -> Attempt:
        """Begin an attempt in a folder that nobody has used."""
        top = "warm-up" if kind == "warm-up" else "runs"
        n, name = 1, f"{top}/{config}/seed-{seed}"
        while (self.folder / name).exists() or (self.folder / name).is_symlink():
            n += 1
            name = f"{top}/{config}/seed-{seed}.attempt-{n}"
        (self.folder / name).mkdir(parents=True)
        attempt = Attempt(
            kind, config, seed, name, "running", time.time(),
            waited_s=ready.waited_s, was_ready=ready.is_ready, temperatures_c=ready.temperatures_c,
        )  # fmt: skip
        self._note(attempt, None)
        return attempt

    def _note(self, attempt: Attempt, record: Path | None) -> None:
        name = "" if record is None else record.relative_to(self.folder).as_posix()
        self.manifest = self.manifest.with_attempt(replace(attempt, record=name))
        self.manifest.write(self.folder)


def _coolest(manifest: Manifest) -> dict[str, float]:
    coolest: dict[str, float] = {}
    for attempt in manifest.attempts:
        for uuid, temperature_c in attempt.temperatures_c.items():
            coolest[uuid] = min(temperature_c, coolest.get(uuid, temperature_c))
    return coolest


def _going_on(folder: Path, old: Manifest, wanted: Manifest) -> Manifest:
    """The manifest of a study that goes on, with further seeds if some were given.

    Raises:
        StudyError: it is another study.
    """
    same = ("configs", "order", "order_seed", "part")
    unlike = [name for name in same if getattr(old, name) != getattr(wanted, name)]
    unlike += ["train"] * (_name_of(old.train) != _name_of(wanted.train))
    lost = [*{*old.seeds} - {*wanted.seeds}]
    if unlike or lost:
        what = ", ".join([*unlike, *(["seeds"] if lost else [])])
        raise StudyError(f"{folder} holds a study with other {what}: give the same, or {NEW}")
    new = [seed for seed in wanted.seeds if seed not in old.seeds]
    plan = (*old.plan, *in_order([*old.configs], new, old.order, old.order_seed))
    return replace(
        old, train=wanted.train, seeds=[*old.seeds, *new], plan=plan, warmup=wanted.warmup, cooldown_s=wanted.cooldown_s
    )


def _name_of(train: str) -> str:
    """The function and its file without the folder, which may have been moved."""
    place, _, name = train.rpartition(":")
    return f"{Path(place).name if place.endswith('.py') else place}:{name}"


def _folder(out: Any) -> Path:
    problem = StudyError(f"out={out!r}: give the path of a folder")
    if not isinstance(out, (str, Path)) or "\0" in str(out):
        raise problem
    try:
        return Path(out).expanduser().absolute()
    except RuntimeError as error:  # a home that is not known
        raise problem from error


def _check_name(name: Any) -> None:
    if isinstance(name, str) and (n := len(name.encode("utf-8", "replace"))) > LONGEST_NAME:
        short = f"{name[:NAMED]}…"
        raise StudyError(
            f"configs: {short!r} cannot be the name of a folder: it has {n} bytes, and may have {LONGEST_NAME}"
        )
    if not isinstance(name, str) or not NAMES.fullmatch(name):
        raise StudyError(
            f"configs: {name!r} cannot be the name of a folder: begin with a letter or digit, and give letters, "
            f"digits, and . + = @ , - _"
        )


def _checked(configs: Mapping[str, Mapping[str, Any]], part: str) -> dict[str, dict[str, Any]]:
    """The configurations of this part, as JSON gives them back."""
    if not hasattr(configs, "items") or not configs:
        raise StudyError("configs: give configurations by name, such as {'small': {'width': 8}}")
    configs = {normalize("NFC", name) if isinstance(name, str) else name: config for name, config in configs.items()}
    for name, config in configs.items():
        _check_name(name)
        if not isinstance(config, Mapping) or any(not isinstance(key, str) for key in config):
            raise StudyError(f"configs[{name!r}]={config!r}: give a mapping from names to values")
    try:
        if not isinstance(part, str):
            raise ValueError(f"part={part!r}: give a text such as '1/4', or ''")  # noqa: TRY004 - as its values
        mine = part_of([*configs], part)
    except ValueError as error:
        raise StudyError(str(error)) from error
    if not mine:
        raise StudyError(f"part={part!r}: there are only {len(configs)} configurations: give fewer parts")
    try:
        plain: dict[str, dict[str, Any]] = json.loads(json.dumps({n: {**configs[n]} for n in mine}, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        what = "it nests too deeply" if isinstance(error, RecursionError) else error
        raise StudyError(f"configs: {what}: give finite numbers, texts, lists and mappings of these") from error
    level: list[Any] = [plain]
    for _ in range(DEEPEST):
        level = [v for part in level for v in (part.values() if isinstance(part, dict) else part)]
        level = [v for v in level if isinstance(v, (dict, list))]
    if level:
        raise StudyError("configs: it nests too deeply: give finite numbers, texts, lists and mappings of these")
    return plain


def _seeds(seeds: Any) -> list[int]:
    if isinstance(seeds, int) and seeds > MOST_SEEDS:
        raise StudyError(f"seeds={seeds!r}: give at most {MOST_SEEDS}; a single seed is given as [{seeds!r}]")
    each = range(seeds) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds
    is_list = hasattr(each, "__iter__") and not isinstance(each, str)
    found = [s.item() if hasattr(s, "item") else s for s in each] if is_list else []  # NumPy's are as good
    is_whole = all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < 2**32 for s in found)
    if not found or not is_whole or len({*found}) < len(found):
        raise StudyError(f"seeds={seeds!r}: give their number, or different whole numbers from 0 on")
    return found


def _check(wanted: Manifest, idle_s: float) -> None:
    if wanted.order not in get_args(Order):
        raise StudyError(f"order={wanted.order!r}: give one of {', '.join(map(repr, get_args(Order)))}")
    for name, value in (("order_seed", wanted.order_seed), ("warmup", wanted.warmup)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise StudyError(f"{name}={value!r}: give a whole number from 0 on")
    for name, seconds in (("cooldown_s", 0.0 if wanted.cooldown_s is None else wanted.cooldown_s), ("idle_s", idle_s)):
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e6:  # noqa: PLR2004 - eleven days
            raise StudyError(f"{name}={seconds!r}: give seconds from 0 on")


def _check_modules(names: Any) -> None:
    is_list = hasattr(names, "__iter__") and not isinstance(names, str)
    if not is_list or any(not isinstance(n, str) or not all(map(str.isidentifier, n.split("."))) for n in names):
        raise StudyError(f"preload={names!r}: give names of modules, such as ['lightning', 'sklearn.datasets']")


def _reference(train: str | Callable[..., Any]) -> str:
    """The place of a function, by which another process finds it.

    Raises:
        StudyError: it has none.
    """
    if isinstance(train, str):
        place, _, name = train.rpartition(":")
        if not place or not name:
            raise StudyError(f"train={train!r}: give FILE.py:NAME or module:NAME")
        if place.endswith(".py"):
            if not Path(place).is_file():
                raise StudyError(f"train={train!r}: {place} does not exist: give FILE.py:NAME")
            return f"{Path(place).absolute()}:{name}"
        return train
    name, module = getattr(train, "__qualname__", ""), sys.modules.get(getattr(train, "__module__", "") or "")
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not name or found is not train or module is None:
        raise StudyError(
            f"train={train!r}: another process cannot find it: give a function that a file defines at its top level "
            f"(no lambda, no function within another, no method of an object), and its arguments in configs"
        )
    if module.__name__ != "__main__":
        return f"{module.__name__}:{name}"
    file = getattr(module, "__file__", None)
    if file is None:
        raise StudyError("train: a function of a notebook has no file: put it into one, and give 'FILE.py:train'")
    return f"{Path(file).absolute()}:{name}"


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Hold the lock of a study's folder. A training keeps it, too: one that its runner left is waited for by nobody.

    Raises:
        StudyError: it cannot be had, or the folder holds other things.
    """
    import fcntl  # noqa: PLC0415 - not on all systems

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MANIFEST).exists():
            read_manifest(folder)
        elif {p.name for p in folder.iterdir()} - {LOCK}:
            raise StudyError(f"{folder} holds other things, and no {MANIFEST}: {NEW}")
        if not _is_our_lock(folder / LOCK):
            raise StudyError(f"{folder} holds other things, among them a {LOCK} of another program: {NEW}")
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise StudyError(f"{folder} cannot be used: {error.strerror or error}: {NEW}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            runner, _, training = os.pread(lock, 40, 0).decode("ascii", "replace").strip().partition(" ")
            who = f"another runner works in {folder} (process {runner or 'unknown'}): wait for its end"
            if training and not _lives(int(runner)):
                who = f"a training that a runner left works in {folder} (process {training}): wait for its end, end it"
            raise StudyError(f"{who}, or {NEW}") from error
        except OSError:
            pass  # a file system without locks
        _write_lock(lock, str(os.getpid()))
        yield lock
    finally:
        os.close(lock)


def _is_our_lock(file: Path) -> bool:
    """True for a lock that a runner wrote, and where there is none."""
    try:
        status = file.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISREG(status.st_mode) and status.st_size <= 40 and bool(OURS.fullmatch(file.read_text("latin-1")))  # noqa: PLR2004 - see OURS


def _write_lock(lock: int, text: str) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, text.encode(), 0)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, and the SIGHUP of a terminal that is closed, end the training that runs, too: as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    ours = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _to_stderr(line: str) -> None:
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
