"""Keeps the record of a Trainer's run on disk, up to date."""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.curves.energy import NOTHING, Energy
from lightning_energy.ledger.ranks import replicas_of
from lightning_energy.meters.handlers import forgive
from lightning_energy.results.machine import Machine, describe_machine
from lightning_energy.results.own_files import chosen_place, free_place, is_record, kept_place
from lightning_energy.results.read import RecordError, read_record
from lightning_energy.results.record import NAME, Record, make_record
from lightning_energy.results.record_ranks import load_record, rank_file, rank_files
from lightning_energy.results.rows import EpochRow, Evaluation, SessionRow
from lightning_energy.results.write import remove_leftovers, write_record
from lightning_energy.training.hyperparameters import global_seed, recorded_hyperparameters, recorded_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.results.report import Report

__all__ = [
    "Recorder",
    "batch_size_of",
    "keep_other_run",
    "look_at_place",
    "what_is_trained",
    "where_to_record",
    "workers_of",
]

EVERY_S = 50.0  # logging steps look every ten seconds whether it is time: at least once a minute
SHORT_ROWS = 500  # most rows of a record that is written at every epoch's end, in about 20 ms
POINTS_PER_ROW = 10  # points of power that take the time of a row
S_PER_ROW = 0.001  # time between two writes of a longer one, at most EVERY_S: twenty times the time of writing


class Recorder:
    """Writes one record.

    Args:
        path: the file; ``None`` writes nothing.
        what: a description of the training.
        rank: the rank that the figures are of; those of rank zero are the run's.
        old: the record that lies there, whose evaluations are kept if it is of the same run: the same Trainer may go
            on training.

    Attributes:
        place: the file of the run's record, on all ranks.
        path: the file of this rank's record.
        rank: the rank.
        what: the description.
    """

    def __init__(self, path: Path | None, what: Mapping[str, Any], rank: int = 0, old: Record | None = None) -> None:
        self.place = path
        self.path = path if path is None or rank == 0 else rank_file(path, rank)
        self.rank = rank
        self.what = {**what}
        self._seed = recorded_seed(what.get("hyperparameters", {}))
        self._global_seed = global_seed()
        self._started_unix_s = time.time()
        self._where: Machine | None = None
        self._evaluations: list[Evaluation] = [] if old is None else [*old.evaluations]
        self._evaluated = "" if old is None else old.run_id  # the run that they are of
        self._written_s = time.monotonic()
        self._finalizer: weakref.finalize[..., Recorder] | None = None
        self._turn = _Turn()
        if self.path is not None:
            with forgive(Exception):  # whatever lies there, the training goes on
                remove_leftovers(self.path)

    @property
    def is_due(self) -> bool:
        """True when the last record is a minute old."""
        return self.path is not None and time.monotonic() - self._written_s > EVERY_S

    def write(
        self,
        report: Report,
        *,
        run_id: str = "",
        before: Energy = NOTHING,
        epochs: Sequence[EpochRow] = (),
        sessions: Sequence[SessionRow] = (),
    ) -> None:
        """Write the record of a training; a long one is not written after every short epoch while the run goes on.

        Raises:
            OSError: it cannot be written; the next time may succeed.
        """
        devices = [*report.devices, *(device for session in sessions for device in session.devices)]
        points = sum(len(device.power.mean_w) for device in devices if device.power is not None)
        rows = len(epochs) + len(sessions) + len(self._evaluations) + points // POINTS_PER_ROW
        if self.path is None or (report.outcome == "running" and self._is_too_early(rows)):
            return
        self._where = self._where or describe_machine(report)
        if self._evaluated not in {"", run_id}:
            self._evaluations = []
        self._evaluated = run_id
        record = make_record(
            report,
            started_unix_s=self._started_unix_s,
            run_id=run_id,
            rank=self.rank,
            before=before,
            what=self.what,
            where=self._where,
            epochs=epochs,
            sessions=sessions,
            evaluations=self._evaluations,
            seed=self._seed,
            global_seed=self._global_seed,
        )
        self._write(record)

    def _is_too_early(self, rows: int) -> bool:
        """True when writing would take more than a twentieth of the time: after hundreds of short epochs."""
        return rows > SHORT_ROWS and time.monotonic() - self._written_s < min(EVERY_S, rows * S_PER_ROW)

    def abandon(self) -> None:
        """Set the outcome of a run that nobody will end to ``interrupted``. From any thread, at any time."""
        if self._finalizer is not None:
            self._finalizer()

    def discard(self) -> None:
        """Remove this rank's own record: the run has completed, and rank zero's record has everything."""
        if self._finalizer is not None:
            self._finalizer.detach()
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def forget_other_ranks(self) -> None:
        """Remove the records that other ranks left of an earlier session."""
        if self.path is not None:
            with suppress(OSError):
                for path in rank_files(self.path):
                    path.unlink()

    def add_evaluation(self, report: Report) -> None:
        """Add a validation, test or prediction outside of ``fit`` to the record that is there, or make one.

        Raises:
            OSError: it cannot be written; the next time may succeed.
        """
        if self.path is None:
            return
        self._evaluations.append(Evaluation(self._started_unix_s, report.outcome, report.stages, report.units))
        try:
            record = read_record(self.path)
        except RecordError:
            with suppress(OSError):  # a training's figures may be in what cannot be read
                if is_record(self.path):
                    self.path.rename(kept_place(self.path, self.path.stat().st_mtime))
            self.write(report)
            return
        record = record if report.n_test is None else replace(record, n_test=report.n_test)
        self._write(replace(record, evaluations=[*self._evaluations], updated_unix_s=time.time()))

    def _write(self, record: Record) -> None:
        if self.path is None:
            return
        with self._turn.lock:
            if record.outcome == "running" and self._turn.is_over:
                return
            self._written_s = time.monotonic()
            if record.outcome == "running" and self._finalizer is None:
                # a second net: when neither teardown nor on_exception is called, it must not say "running" for ever
                self._finalizer = weakref.finalize(self, _abandon, self.path, self._turn)
            elif record.outcome != "running" and self._finalizer is not None:
                self._finalizer.detach()
                self._finalizer = None
            write_record(self.path, record)


def keep_other_run(path: Path | None, old: Record | None, run_id: str) -> Path | None:
    """Move the record of another training, which lies where this run's will, to a name of its own.

    Args:
        path: the place.
        old: the record that lies there; ``None`` where there is none that can be read.
        run_id: this run.

    Returns:
        The new name; ``None`` where there is no such record.

    Raises:
        OSError: it cannot be moved.
    """
    if path is None or old is None or old.run_id == run_id or old.total is None or not path.exists():
        return None
    place = kept_place(path, old.started_unix_s)
    path.rename(place)
    return place


class _Turn:
    """The turn to write a record, which the thread that writes and the end of the process may ask for together."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.is_over = False  # from then on nothing says that the run goes on
        self.pid = os.getpid()


def _abandon(path: Path | None, turn: _Turn) -> None:
    if path is None or os.getpid() != turn.pid:
        return
    with turn.lock, suppress(RecordError, OSError):
        turn.is_over = True
        record = read_record(path)
        if record.outcome == "running":
            write_record(path, replace(record, outcome="interrupted"))


def where_to_record(trainer: Trainer, record: bool | str | Path) -> Path | None:
    """The file of the record; ``None`` for none. All ranks take part, and get the same.

    By default beside what the first logger writes, as Lightning places checkpoints: in ``log_dir`` where it has one,
    else in ``save_dir/name/version``. No record without a logger, in a ``fast_dev_run``, or in a remote folder.
    """
    if isinstance(record, (str, Path)):
        return chosen_place(record)
    if not record or not trainer.loggers or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
        return None
    folder = None
    with forgive(Exception):  # a logger that does not know its folder is no reason not to train
        folder = _folder(trainer.loggers[0])
    folder = trainer.strategy.broadcast(folder)
    return Path(folder).absolute() / NAME if folder and "://" not in folder else None


def look_at_place(trainer: Trainer, path: Path | None) -> tuple[Path | None, Record | None]:
    """The place where nothing of others lies, and the record that an earlier session left there. All ranks take part.

    Args:
        trainer: the Trainer.
        path: the place that is asked for. A disk that cannot be looked at is told when the record is written.

    Returns:
        ``path``, or another name beside it; and the record, ``None`` where there is none that can be read.
    """
    place, record = path, None
    if path is not None and trainer.is_global_zero:
        with forgive(Exception):  # whatever lies there, the training goes on
            record = load_record(path)
        if record is None:
            with suppress(OSError, ValueError):  # the latter of a null byte
                place = free_place(path)
        if place is not None and place != path:
            with forgive(Exception):
                record = load_record(place)
    agreed: tuple[Path | None, Record | None] = trainer.strategy.broadcast((place, record))
    return agreed


def _folder(logger: Any) -> str | None:
    folder = getattr(logger, "log_dir", None)
    if isinstance(folder, (str, Path)):
        return str(folder)
    if not logger.save_dir:
        return None
    if "://" in str(logger.save_dir):
        return str(logger.save_dir)
    version = logger.version
    return str(Path(logger.save_dir, str(logger.name), version if isinstance(version, str) else f"version_{version}"))


def what_is_trained(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Model, precision and parallelism, as far as they are known; the batch size follows once there is a loader."""
    what: dict[str, Any] = {
        "module": f"{type(module).__module__}.{type(module).__qualname__}",
        "precision": str(trainer.precision),
        "strategy": type(trainer.strategy).__name__,
        "accelerator": type(trainer.accelerator).__name__,
        "devices": trainer.world_size,
        "nodes": trainer.num_nodes,
        "data_parallel_replicas": replicas_of(trainer.strategy) or trainer.world_size,
        "batch_size": None,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "max_epochs": trainer.max_epochs,
        "max_steps": trainer.max_steps,
        "hyperparameters": {},
    }
    with forgive(Exception):  # parameters may not be there yet
        what["parameters"] = sum(p.numel() for p in module.parameters())
        what["trainable_parameters"] = sum(p.numel() for p in module.parameters() if p.requires_grad)
    with forgive(Exception):  # whatever the user's hyperparameters are, the training goes on
        what["hyperparameters"] = recorded_hyperparameters(trainer)
    return what


def batch_size_of(trainer: Trainer) -> int | None:
    """Samples per batch and rank: of the DataLoader, or while there is none, where a BatchSizeFinder would look."""
    loader = trainer.train_dataloader
    module, datamodule = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]  # set by a connector
    places = [loader, getattr(loader, "batch_sampler", None)]
    if loader is None:
        places = [module, getattr(module, "hparams", None), datamodule]
    sizes = (getattr(place, "batch_size", None) for place in places)
    return next((n for n in sizes if isinstance(n, int) and not isinstance(n, bool)), None)


def workers_of(trainer: Trainer) -> dict[str, Any]:
    """The workers of a DataLoader for training, and whether they live on between epochs; nothing of several loaders."""
    loader = trainer.train_dataloader
    workers, stay = getattr(loader, "num_workers", None), getattr(loader, "persistent_workers", None)
    if isinstance(workers, bool) or not isinstance(workers, int) or not isinstance(stay, bool):
        return {}
    return {"num_workers": workers, "persistent_workers": stay}
