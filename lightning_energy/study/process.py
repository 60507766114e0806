"""A training in a process of its own: started, waited for, ended with its runner, and judged by what it left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from lightning_energy.comparison.study_folders import TUNING
from lightning_energy.results.own_files import kept_places
from lightning_energy.results.read import RecordError, read_record
from lightning_energy.results.record import NAME
from lightning_energy.results.write import write_whole
from lightning_energy.study.child import JOB, MODULE, OUTPUT, RESULT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lightning_energy.results.record import Record
    from lightning_energy.study.template import Fork, Template

__all__ = ["OUTPUT", "TUNING", "Watch", "judge", "records_of", "run_in_process"]

GRACE_S = 30.0  # time that a training has to end after Ctrl-C
TAIL_S = 10.0
RECORD = "its Trainer needs an EnergyCallback and a logger in the folder that the function is given"


class Watch(Protocol):
    """Whoever wants to know of a training's process."""

    def __call__(self, pid: int, *, is_ending: bool) -> None:
        """Take its number when it has begun, and when it is asked to end."""


def run_in_process(
    folder: Path,
    train: str,
    config: Mapping[str, Any],
    seed: int,
    *,
    keep: Sequence[int],
    template: Template | None = None,
    watch: Watch | None = None,
) -> int:
    """Run one training in a process of its own, and wait for it. What it prints goes to ``output.txt``.

    Args:
        folder: its new folder.
        train: the function, as ``FILE.py:NAME`` or ``module:NAME``.
        config: its configuration.
        seed: its seed.
        keep: open files that the process keeps open while it lives.
        template: the process that it is a fork of; without one it is a new one.
        watch: is told the number of the process when it has begun, and when it is asked to end.

    Returns:
        The exit code; negative for a signal.

    Raises:
        BaseException: what this process was asked to end by; the training has ended then.
    """
    path = [p or os.getcwd() for p in sys.path]  # noqa: PTH109 - a text
    job = {"train": train, "config": {**config}, "seed": seed, "path": path}
    job["preload"] = [] if template is None else [*template.modules]
    write_whole(folder / JOB, json.dumps(job, indent=1))
    process = _new(folder, keep) if template is None else template.fork(folder)
    try:
        if watch is not None:
            watch(process.pid, is_ending=False)
        return process.wait()
    except BaseException:
        if watch is not None:
            watch(process.pid, is_ending=True)
        _end(process)
        raise
    finally:
        with suppress(OSError):  # whatever it started and left would take part in the next run
            if process.pid > 0:
                os.killpg(process.pid, signal.SIGKILL)


def _new(folder: Path, keep: Sequence[int]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", MODULE, "run", str(folder)]
    with (folder / OUTPUT).open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[*keep],
            start_new_session=True,  # Ctrl-C comes to it once, from here
        )


def _end(process: subprocess.Popen[bytes] | Fork) -> None:
    """End a training with its own children: as Ctrl-C does, and where that does not help for good."""
    for number, seconds in ((signal.SIGINT, GRACE_S), (signal.SIGTERM, TAIL_S)):
        with suppress(OSError):
            process.send_signal(number)
        try:
            process.wait(seconds)
            break
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            continue
    with suppress(OSError):
        process.kill()
    process.wait()


def judge(folder: Path, code: int | None) -> tuple[Path | None, str]:
    """The record of a run that has ended, and the reason why it is not done.

    Args:
        folder: its folder.
        code: the exit code of its process; ``None`` where nobody waited for it.

    Returns:
        The record, ``None`` without one, and the reason, empty where the run is done.
    """
    records, problems = records_of(folder)
    fits = [file for file, record in records if record.total is not None and TUNING not in _parts(file, folder)]
    record = fits[0] if len(fits) == 1 else None
    result = _result(folder)
    if code is None and result is None:
        return record, "it was ended from outside, as by a kill or a shutdown"
    why = str((result or {}).get("why", ""))
    code = code or (result or {}).get("code", 0)
    if code:
        ended = f"signal {-code} ended it" if code < 0 else f"it ended with exit code {code}"
        return record, f"{why or ended}: see {folder / OUTPUT}"
    if len(fits) > 1:
        return None, (
            f"it left {len(fits)} records of trainings, and a run has one: put those of a search into the folder "
            f"{TUNING!r} within the one that the function is given"
        )
    if record is None:
        return None, f"it left no record{f' that can be read ({problems[0]})' if problems else ''}: {RECORD}"
    outcome = next(r.outcome for file, r in records if file == record)
    return record, "" if outcome == "completed" else f"its record says {outcome!r}: see {folder / OUTPUT}"


def records_of(folder: Path) -> tuple[list[tuple[Path, Record]], list[str]]:
    """All records below a folder, also those that a later training in the same place moved aside; and problems."""
    found: list[tuple[Path, Record]] = []
    problems = []
    for file in sorted(folder.rglob(NAME)):
        for each in (file, *kept_places(file)):
            try:
                found.append((each, read_record(each)))
            except RecordError as error:
                problems.append(str(error))
    return found, problems


def _parts(file: Path, folder: Path) -> tuple[str, ...]:
    return file.relative_to(folder).parts[:-1]


def _result(folder: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        if isinstance(result, dict) and isinstance(result.get("code"), int):
            return result
    return None
