"""Keeps the record of a Trainer's run on disk, up to date."""

from __future__ import annotations

import os
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.record import NAME, RecordError, describe_machine, make_record, read_record, write_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning.pytorch import LightningModule, Trainer

    from lightning_energy.report import Report

__all__ = ["Recorder", "what_is_trained", "where_to_record"]

EVERY_S = 60.0


class Recorder:
    """Writes one record.

    Args:
        path: the file; ``None`` writes nothing.
        what: what is trained.
    """

    def __init__(self, path: Path | None, what: Mapping[str, Any]) -> None:
        self.path = path
        self.what = {**what}
        self._started_unix_s = time.time()
        self._where: dict[str, Any] = {}
        self._evaluations: list[dict[str, Any]] = []
        self._written_s = time.monotonic()
        self._read_old()
        # a second net: when neither teardown nor on_exception is called, the record must not say "running" for ever
        self._finalizer = weakref.finalize(self, _abandon, path, os.getpid())

    @property
    def is_due(self) -> bool:
        """Whether the last record is a minute old."""
        return self.path is not None and time.monotonic() - self._written_s > EVERY_S

    def write(
        self, report: Report, *, epochs: Sequence[Mapping[str, Any]] = (), sessions: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Write the record of a training.

        Raises:
            OSError: it cannot be written; from now on nothing is.
        """
        if self.path is None:
            return
        self._where = self._where or describe_machine(report)
        record = make_record(
            report,
            started_unix_s=self._started_unix_s,
            what=self.what,
            where=self._where,
            epochs=epochs,
            sessions=sessions,
            evaluations=self._evaluations,
        )
        self._write(record)

    def abandon(self) -> None:
        """Nobody will end this run: what says ``running`` is ``interrupted``. From any thread, at any time."""
        self._finalizer()

    def add_evaluation(self, report: Report) -> None:
        """Add a validation, test or prediction outside of ``fit`` to the record that is there, or make one.

        Raises:
            OSError: it cannot be written; from now on nothing is.
        """
        if self.path is None:
            return
        row = {
            "started_unix_s": self._started_unix_s,
            "outcome": report.outcome,
            "stages": {stage: energy.to_plain() for stage, energy in report.stages.items()},
        }
        self._evaluations.append(row)
        try:
            record = read_record(self.path)
        except RecordError:
            self.write(report)
            return
        self._write({**record, "evaluations": self._evaluations, "updated_unix_s": time.time()})

    def _read_old(self) -> None:
        """Evaluations stay when the same Trainer goes on training."""
        if self.path is not None:
            with suppress(RecordError, OSError):
                self._evaluations = [*read_record(self.path)["evaluations"]]

    def _write(self, record: Mapping[str, Any]) -> None:
        if self.path is None:  # the first failure was told
            return
        self._written_s = time.monotonic()
        if record["outcome"] != "running":
            self._finalizer.detach()
        try:
            write_record(self.path, record)
        except OSError:
            self.path = None
            raise


def _abandon(path: Path | None, pid: int) -> None:
    if path is None or os.getpid() != pid:
        return
    with suppress(RecordError, OSError):
        record = read_record(path)
        if record["outcome"] == "running":
            write_record(path, {**record, "outcome": "interrupted"})


def where_to_record(trainer: Trainer, record: bool | str | Path) -> Path | None:
    """The file of the record; ``None`` for none. All ranks take part, and get the same.

    By default beside what the first logger writes, as Lightning places checkpoints: in ``log_dir`` where it has one,
    else in ``save_dir/name/version``. No record without a logger, in a ``fast_dev_run``, or in a remote folder.
    """
    if isinstance(record, (str, Path)):
        path = Path(record)
        return path if path.suffix == ".json" else path / NAME
    if not record or not trainer.loggers or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
        return None
    folder = None
    with suppress(Exception):  # a logger that does not know its folder is no reason not to train
        folder = _folder(trainer.loggers[0])
    folder = trainer.strategy.broadcast(folder)
    return Path(folder) / NAME if folder and "://" not in folder else None


def _folder(logger: Any) -> str | None:
    folder = getattr(logger, "log_dir", None)
    if isinstance(folder, (str, Path)):
        return str(folder)
    if not logger.save_dir:
        return None
    version = logger.version
    return str(Path(logger.save_dir, str(logger.name), version if isinstance(version, str) else f"version_{version}"))


def what_is_trained(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Model, precision and parallelism, as far as they can be told."""
    what: dict[str, Any] = {
        "module": f"{type(module).__module__}.{type(module).__qualname__}",
        "precision": str(trainer.precision),
        "strategy": type(trainer.strategy).__name__,
        "accelerator": type(trainer.accelerator).__name__,
        "devices": trainer.world_size,
        "nodes": trainer.num_nodes,
        "hyperparameters": {},
    }
    with suppress(Exception):  # parameters may not be there yet
        what["parameters"] = sum(p.numel() for p in module.parameters())
        what["trainable_parameters"] = sum(p.numel() for p in module.parameters() if p.requires_grad)
    with suppress(Exception):  # whatever the user's hyperparameters are, the training goes on
        what["hyperparameters"] = {**module.hparams}
    return what
