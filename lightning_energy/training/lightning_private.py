"""The private parts of Lightning that cannot be avoided, all of them, each with its reason.

``tests/test_lightning_private.py`` fails when one of them changes.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning.pytorch import loggers
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Checkpoint,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    ModelSummary,
    Timer,
)
from lightning.pytorch.profilers import PassThroughProfiler, Profiler
from torch.distributed import distributed_c10d

from lightning_energy.training.fitting import is_fitting

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import FrameType

    from lightning.pytorch import LightningModule, Trainer

__all__ = [
    "Actions",
    "called_in",
    "collective_s",
    "forget_logged",
    "gives_together",
    "is_accumulation_scheduler",
    "is_by_start_and_stop",
    "is_checkpoint",
    "is_early_stopping",
    "is_finder",
    "is_logger",
    "is_monitor",
    "is_of_lightning",
    "is_of_lightning_alone",
    "is_passed_through",
    "is_quiet",
    "is_summary",
    "is_timer",
    "keeps_batches",
    "last_validation_s",
    "loader_at_work",
    "logged_hyperparameters",
    "logged_name",
    "logged_place",
    "logger_step",
    "logs_twice",
    "promises_fraction",
    "saving",
    "searches",
    "shows_progress",
    "store_of_ranks",
    "validation_every_s",
    "writes_hparams",
]


USUAL_COLLECTIVE_S = 1800.0
PACKAGES = ("lightning.", "lightning_fabric.", "pytorch_lightning.")


class Actions(NamedTuple):
    """The names that a Trainer gives its profiler for what it does.

    They are shown to users, but not documented: no hook tells when waiting for a batch ends and copying it begins.

    Attributes:
        data: it waits for the next batch.
        copy: it copies the batch to the device.
        forward: it calls ``training_step``.
        before_backward: our hook of that name.
        after_backward: our hook of that name.
        before_optimizer: our hook before an optimizer's step.
        automatic_step: all of an automatic optimizer's step, with the closures in it.
        manual_step: the step of an optimizer that the module calls itself.
        saving: it writes a checkpoint.
    """

    data: str
    copy: str
    forward: str
    before_backward: str
    after_backward: str
    before_optimizer: str
    automatic_step: str
    manual_step: str
    saving: str

    @classmethod
    def of(cls, trainer: Trainer, module: LightningModule, state_key: str) -> Actions:
        """The names in a Trainer's run.

        Args:
            trainer: the Trainer.
            module: the module that it runs.
            state_key: the name by which it calls our callback.
        """
        strategy, ours = f"[Strategy]{type(trainer.strategy).__name__}", f"[Callback]{state_key}"
        return cls(
            data=f"[{type(trainer.fit_loop.epoch_loop).__name__}].train_dataloader_next",
            copy=f"{strategy}.batch_to_device",
            forward=f"{strategy}.training_step",
            before_backward=f"{ours}.on_before_backward",
            after_backward=f"{ours}.on_after_backward",
            before_optimizer=f"{ours}.on_before_optimizer_step",
            automatic_step=f"[LightningModule]{type(module).__name__}.optimizer_step",
            manual_step="optimizer_step",
            saving="save_checkpoint",
        )


def is_passed_through(profiler: Any) -> bool:
    """True for a profiler that does nothing, Lightning's default, of either of its two packages."""
    twin = sys.modules.get("pytorch_lightning.profilers")
    return type(profiler) in {PassThroughProfiler, getattr(twin, "PassThroughProfiler", None)}


def is_by_start_and_stop(profiler: Any) -> bool:
    """True for a profiler whose context manager is Lightning's, which calls ``start`` and ``stop``."""
    twin = sys.modules.get("pytorch_lightning.profilers")
    usual = {Profiler.profile, getattr(getattr(twin, "Profiler", None), "profile", None)}
    return type(profiler).profile in usual and "profile" not in vars(profiler)


def logger_step(trainer: Trainer) -> int:
    """The step that Lightning itself gives its loggers now.

    There is no public name for it: ``global_step`` counts every optimizer's steps. Lightning's own monitors
    (LearningRateMonitor, DeviceStatsMonitor) read this name, too.
    """
    return trainer.fit_loop.epoch_loop._batches_that_stepped  # noqa: SLF001 - the reason stands above


def validation_every_s(trainer: Trainer) -> float | None:
    """Seconds between two validations, with a ``val_check_interval`` of time; ``None`` with one of batches.

    Lightning keeps it under no public name; before 2.6 there is none.
    """
    every_s: float | None = getattr(trainer, "_val_check_time_interval", None)
    return every_s if every_s is not None and trainer.enable_validation else None


def last_validation_s(trainer: Trainer) -> float:
    """The moment of ``time.monotonic()`` from which such a ``val_check_interval`` counts."""
    return float(trainer._last_val_time)  # type: ignore[attr-defined]  # noqa: SLF001 - same


def promises_fraction(trainer: Trainer, name: str) -> bool:
    """True if the metric that was logged by this name is of a class that promises a fraction of which more is better.

    torchmetrics' classes say so by their ``plot_lower_bound``, ``plot_upper_bound`` and ``higher_is_better``. Lightning
    has no public way from a logged name to the Metric behind it.
    """
    results = getattr(trainer, "_results", None) or {}
    base = name.partition("/dataloader_idx_")[0]
    names = {base, base.removesuffix("_epoch")}
    logged = (result.value for result in results.values() if not result.is_tensor and result.meta.name in names)
    return any(m.higher_is_better is True and (m.plot_lower_bound, m.plot_upper_bound) == (0.0, 1.0) for m in logged)


def logs_twice(trainer: Trainer, name: str) -> bool:
    """True if this validation logged a name in more than one hook: the later value replaces the earlier one.

    Lightning has no public way from a logged name to the hooks that logged it.
    """
    results = getattr(trainer, "_results", None) or {}
    base = name.partition("/dataloader_idx_")[0]
    names = {base, base.removesuffix("_epoch")}
    return len({result.meta.fx for result in results.values() if result.meta.name in names}) > 1


def forget_logged(trainer: Trainer, names: Collection[str]) -> None:
    """Let values that this validation logged be replaced: Lightning would bring them back whenever metrics are read."""
    results = getattr(trainer, "_results", None) or {}
    for key in [key for key, result in results.items() if result.meta.name in names]:
        del results[key]


def logged_place(trainer: Trainer) -> tuple[int, dict[str, float]]:
    """The step of the row that Lightning has just written for a validation, and its columns besides the values.

    A value that the module logged as ``step`` is the step then, and the row has no epoch. Whether this validation
    logged one has no public name.
    """
    results = getattr(trainer, "_results", None) or {}
    if any(result.meta.name == "step" for result in results.values()):
        return int(trainer.logged_metrics["step"]), {}
    return logger_step(trainer), {"epoch": trainer.current_epoch}


def is_monitor(callback: Any) -> bool:
    """True for a callback that stops or saves by a monitored value, of either of Lightning's two packages."""
    return isinstance(callback, (EarlyStopping, Checkpoint, *_twins("EarlyStopping", "Checkpoint")))


def is_early_stopping(callback: Any) -> bool:
    """True for an EarlyStopping of either of Lightning's two packages."""
    return isinstance(callback, (EarlyStopping, *_twins("EarlyStopping")))


def is_timer(callback: Any) -> bool:
    """True for a Timer, which ``max_time`` makes, of either of Lightning's two packages."""
    return isinstance(callback, (Timer, *_twins("Timer")))


def is_accumulation_scheduler(callback: Any) -> bool:
    """True for a GradientAccumulationScheduler of either of Lightning's two packages."""
    return isinstance(callback, (GradientAccumulationScheduler, *_twins("GradientAccumulationScheduler")))


def is_checkpoint(callback: Any) -> bool:
    """True for a callback that saves checkpoints by a monitored value, of either of Lightning's two packages."""
    return isinstance(callback, (ModelCheckpoint, *_twins("ModelCheckpoint")))


def is_finder(callback: Any) -> bool:
    """True for a callback that searches for a learning rate or batch size, of either of Lightning's two packages."""
    twins = _twins("LearningRateFinder", "BatchSizeFinder")
    return isinstance(callback, (LearningRateFinder, BatchSizeFinder, *twins))


def searches(trainer: Trainer, *, in_fit: bool) -> bool:
    """True if a callback of this Trainer searches before its work begins.

    A LearningRateFinder does so in ``fit`` only, a BatchSizeFinder in validations, tests and predictions, too.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    kinds = (LearningRateFinder, *_twins("LearningRateFinder"))
    return any(is_finder(c) and (in_fit or not isinstance(c, kinds)) for c in callbacks)


def goes_on_within_epoch(trainer: Trainer) -> bool:
    """True where a training goes on from a checkpoint within an epoch, whose beginning no hook tells then."""
    return bool(getattr(trainer.fit_loop, "restarted_mid_epoch", False))


def is_of_lightning_alone(callback: Any) -> bool:
    """True for a callback of one of Lightning's own classes, and not of a class that was derived from one."""
    return type(callback).__module__.startswith(PACKAGES)


def keeps_batches(owner: Any) -> bool:
    """True for a module or a datamodule whose hooks around the copy to the device are Lightning's own.

    Lightning's ``is_overridden`` does not know those of its other package.
    """
    homes = {f"{package}core.hooks" for package in ("lightning.pytorch.", "pytorch_lightning.")}
    hooks = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    return all(getattr(getattr(owner, hook, None), "__module__", None) in homes for hook in hooks)


def gives_together(trainer: Trainer, loop: str) -> bool:
    """True where each batch has one of each of the loaders of a Trainer's loop of this name: a CombinedLoader's mode.

    Only a step's argument ``dataloader_idx`` tells it publicly, and no hook of ours. Those of a training are always so.
    """
    if loop == "fit_loop":
        return True
    return bool(
        getattr(getattr(_at_work(trainer, loop), "_combined_loader", None), "_mode", "sequential") != "sequential"
    )


def loader_at_work(trainer: Trainer, loop: str) -> Any:
    """The one of several loaders of an evaluation, which take turns, that a batch comes from; ``None`` elsewhere.

    Lightning tells its number to a step, and to hooks that get no more than what they have to do with.
    """
    at_work = _at_work(trainer, loop)
    number = getattr(getattr(at_work, "_results", None), "dataloader_idx", None)
    combined = getattr(at_work, "_combined_loader", None)
    return None if number is None or combined is None else combined.flattened[number]


def _at_work(trainer: Trainer, loop: str) -> Any:
    is_in_fit = loop == "validate_loop" and is_fitting(trainer)
    return trainer.fit_loop.epoch_loop.val_loop if is_in_fit else getattr(trainer, loop, None)


def is_summary(callback: Any) -> bool:
    """True for a callback that prints a table of the model, of either of Lightning's two packages."""
    return isinstance(callback, (ModelSummary, *_twins("ModelSummary")))


def shows_progress(trainer: Trainer) -> bool:
    """True for a Trainer with a progress bar that is not disabled: Lightning's bars have ``is_disabled``."""
    bar = trainer.progress_bar_callback
    return bar is not None and not getattr(bar, "is_disabled", False)


def is_quiet(trainer: Trainer) -> bool:
    """True for a Trainer that prints nothing of its own."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    return not shows_progress(trainer) and not any(map(is_summary, callbacks))


def collective_s(trainer: Trainer) -> float:
    """Seconds for which a collective of this run waits for the other ranks; the usual half an hour where unknown.

    Nothing public tells it.
    """
    timeout = getattr(trainer.strategy, "_timeout", None)
    return float(timeout.total_seconds()) if isinstance(timeout, timedelta) else USUAL_COLLECTIVE_S


def store_of_ranks() -> Any:
    """The store by which the ranks of this process' group found each other; ``None`` where there is none.

    It is the one means of theirs that is no collective, which every rank would have to take part in.
    """
    with suppress(Exception):
        return distributed_c10d._get_default_store()  # noqa: SLF001
    return None


def called_in(function: str) -> bool:
    """True while a function of Lightning of this name is at work further up the stack.

    Two questions have no other answer: whether an entry point makes a callback (``_load_external_callbacks``), and
    whether a Trainer compares the keys of its callbacks (``_validate_callbacks_list``), which it does before any hook.
    Where Lightning renames them, its own error about two callbacks comes back, and nothing else changes.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - Python's documented name
    while frame is not None:
        if frame.f_code.co_name == function and frame.f_globals.get("__name__", "").startswith(PACKAGES):
            return True
        frame = frame.f_back
    return False


def saving() -> tuple[Any, Any]:
    """The Trainer whose ``save_checkpoint`` asks for the states of callbacks, and its file; else ``None`` and ``None``.

    Lightning tells them to no hook. Where Lightning renames it, a checkpoint does not know where its run's record lies.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - Python's documented name
    while frame is not None:
        if frame.f_code.co_name == "save_checkpoint" and frame.f_globals.get("__name__", "").startswith(PACKAGES):
            return frame.f_locals.get("self"), frame.f_locals.get("filepath")
        frame = frame.f_back
    return None, None


def is_logger(logger: Any, name: str) -> bool:
    """True for a logger of Lightning's class of that name, of either of its two packages."""
    return isinstance(logger, (getattr(loggers, name), *_twins(name, package="loggers")))


def is_of_lightning(logger: Any) -> bool:
    """True for a logger of Lightning's own classes, of either of its two packages, which take any name of a value."""
    modules = (loggers, sys.modules.get("pytorch_lightning.loggers"))
    return any(type(logger) is getattr(m, type(logger).__name__, None) for m in modules if m is not None)


def logged_name(logger: Any, key: str) -> str:
    """A logger's name for ``key``: the prefix that the user gave it has no public name."""
    prefix = getattr(logger, "_prefix", "")
    return f"{prefix}{logger.LOGGER_JOIN_CHAR}{key}" if prefix else key


def logged_hyperparameters(trainer: Trainer) -> dict[str, Any] | None:
    """The hyperparameters that Lightning gives its loggers; ``None`` when it gives them none.

    The answer of a module or datamodule to ``save_hyperparameters(logger=False)`` has no public name. ``_class_path``
    is LightningCLI's own, and Lightning leaves it out, too.
    """
    if not getattr(trainer, "enable_autolog_hparams", True):  # Lightning 2.5.0 cannot be told not to
        return None
    owners = [o for o in (trainer.lightning_module, trainer.datamodule) if o is not None and o._log_hyperparams]  # type: ignore[attr-defined]  # noqa: SLF001 - the reason stands above
    if not owners:
        return None
    return {k: v for owner in owners for k, v in owner.hparams_initial.items() if k != "_class_path"}


def writes_hparams(logger: Any) -> bool:
    """True for a TensorBoardLogger that writes hyperparameters with a ``hp_metric`` of its own when given some."""
    return bool(getattr(logger, "_default_hp_metric", True))


def _twins(*names: str, package: str = "callbacks") -> tuple[type, ...]:
    """The classes of these names in ``pytorch_lightning``, which are not those of ``lightning.pytorch``.

    They are looked up without importing a package that nobody uses.
    """
    twin = sys.modules.get(f"pytorch_lightning.{package}")
    return tuple(getattr(twin, name) for name in names) if twin else ()
