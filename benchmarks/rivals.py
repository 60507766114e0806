"""The tools that benchmarks/overhead.py compares, each used in a Lightning loop as its own documentation says.

Each is a callback that keeps the tool's figures, with the moments between which the tool was measuring: the truth
is taken over the same time. The simulated board is a GPU, so that only the GPU's part of a figure is compared.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from lightning.pytorch.callbacks import Callback, DeviceStatsMonitor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KWH = 3.6e6
OURS = "lightning_energy.callback"  # the module that a user's import of EnergyCallback loads


def installed(package: str) -> str | None:
    """The version of a package; ``None`` when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass
class Reported:
    """Figures of a tool: rows of ``(start_ns, end_ns, joules)``."""

    steps: list[tuple[int, int, float]] = field(default_factory=list)
    epochs: list[tuple[int, int, float]] = field(default_factory=list)
    total: tuple[int, int, float] | None = None


class NoOp(Callback):
    """Overrides the hooks that the others override, with nothing in them."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        pass

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        pass


class Bare(Callback):
    """Two time stamps per step, and two values to each logger at each logging step, by hand: the least there can be.

    Args:
        keeps_shapes: true to keep the shape of each batch as well, as whoever counts samples that nobody promises.
    """

    def __init__(self, *, keeps_shapes: bool = False) -> None:
        self.stamps: list[tuple[int, int]] = []
        self.shapes: list[tuple[int, ...]] | None = [] if keeps_shapes else None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.stamps.append((time.monotonic_ns(), 1))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.stamps.append((time.monotonic_ns(), 2))
        if self.shapes is not None:
            self.shapes.append(batch[0].shape)
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        if (step + 1) % trainer.log_every_n_steps == 0:
            (begin_ns, _), (end_ns, _) = self.stamps[-2:]
            values = {"epoch": trainer.current_epoch, "step_s": (end_ns - begin_ns) * 1e-9, "stamps": len(self.stamps)}
            for logger in trainer.loggers:
                logger.log_metrics(values, step=step)


class CodeCarbon(Callback):
    """start() and stop() around the training; or its tasks, one per epoch."""

    def __init__(self, folder: Path, *, tasks: bool) -> None:
        from codecarbon import OfflineEmissionsTracker

        self.reported, self.tasks = Reported(), tasks
        self.tracker = OfflineEmissionsTracker(country_iso_code="USA", output_dir=str(folder), log_level="error")

    def on_fit_start(self, trainer, pl_module) -> None:
        if not self.tasks:
            self.tracker.start()
        self.start_ns = time.monotonic_ns()

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if self.tasks:
            self.tracker.start_task(f"epoch {trainer.current_epoch}")
            self.epoch_ns = time.monotonic_ns()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if self.tasks:
            end_ns = time.monotonic_ns()
            energy_j = self.tracker.stop_task().gpu_energy * KWH
            self.reported.epochs.append((self.epoch_ns, end_ns, energy_j))

    def on_fit_end(self, trainer, pl_module) -> None:
        end_ns = time.monotonic_ns()
        self.tracker.stop()
        self.reported.total = (self.start_ns, end_ns, self.tracker.final_emissions_data.gpu_energy * KWH)


class Zeus(Callback):
    """A window per epoch, and one around all; ``sync`` waits for the device at both ends, as Zeus does by default."""

    def __init__(self, index: int = 0, *, sync: bool = False) -> None:
        from zeus.monitor import ZeusMonitor

        self.reported, self.sync = Reported(), sync
        self.monitor = ZeusMonitor(gpu_indices=[index])
        self.started: dict[str, int] = {}

    def begin(self, name: str) -> None:
        self.monitor.begin_window(name, sync_execution=self.sync)
        self.started[name] = time.monotonic_ns()

    def end(self, name: str) -> tuple[int, int, float]:
        end_ns = time.monotonic_ns()
        return self.started[name], end_ns, self.monitor.end_window(name, sync_execution=self.sync).total_energy

    def on_fit_start(self, trainer, pl_module) -> None:
        self.begin("training")

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.begin("epoch")

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.reported.epochs.append(self.end("epoch"))

    def on_fit_end(self, trainer, pl_module) -> None:
        self.reported.total = self.end("training")


class ZeusSteps(Zeus):
    """With a window per step as well, as in its guide."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.begin("step")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.reported.steps.append(self.end("step"))


class CarbonTracker(Callback):
    """epoch_start() and epoch_end(); its figures without the data centre's overhead that it multiplies by."""

    def __init__(self, folder: Path, epochs: int) -> None:
        from carbontracker import constants
        from carbontracker.tracker import CarbonTracker as Tracker

        self.reported = Reported()
        self.tracker = Tracker(epochs=epochs, components="gpu", log_dir=str(folder / "carbontracker"), verbose=0)
        self.thread, self.pue = self.tracker.tracker, constants.PUE_2023  # the tracker forgets its thread at the end
        self.times: list[tuple[int, int]] = []

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.tracker.epoch_start()
        self.start_ns = time.monotonic_ns()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.times.append((self.start_ns, time.monotonic_ns()))
        self.tracker.epoch_end()

    def on_fit_end(self, trainer, pl_module) -> None:
        self.tracker.stop()
        joules = (self.thread.total_energy_per_epoch() * KWH / self.pue).tolist()
        self.reported.epochs = [(a, b, j) for (a, b), j in zip(self.times, joules, strict=True)]
        self.reported.total = (self.times[0][0], self.times[-1][1], sum(joules))


class Eco2Ai(Callback):
    """start_training(), new_epoch(), stop_training()."""

    def __init__(self, folder: Path) -> None:
        import eco2ai

        self.reported = Reported()
        self.tracker = eco2ai.Tracker(
            project_name="benchmark",
            experiment_description="overhead",
            file_name=str(folder / "eco2ai.csv"),
            alpha_2_code="US",
            ignore_warnings=True,
        )

    def on_fit_start(self, trainer, pl_module) -> None:
        self.tracker.start_training()
        self.start_ns = self.first_ns = time.monotonic_ns()
        self.before_j = 0.0

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        end_ns = time.monotonic_ns()
        self.tracker.new_epoch({"loss": 0.0})
        energy_j = self.tracker._gpu.get_consumption() * KWH
        self.reported.epochs.append((self.start_ns, end_ns, energy_j - self.before_j))
        self.start_ns, self.before_j = time.monotonic_ns(), energy_j

    def on_fit_end(self, trainer, pl_module) -> None:
        self.reported.total = (self.first_ns, self.start_ns, self.before_j)
        self.tracker.stop_training()


def ours(uuid: str, *, phases: bool = False) -> Callback:
    """EnergyCallback at its defaults, but for the meter: ``"auto"`` looks where torch trains, and that is a CPU.

    Args:
        uuid: of the board.
        phases: whether steps are divided into phases.
    """
    from lightning_energy import EnergyCallback
    from lightning_energy.meters import NvmlMeter

    class Ours(EnergyCallback):
        """Keeps the moments between which it measures, and the steps as the ledger gives them."""

        def setup(self, trainer, pl_module, stage) -> None:
            super().setup(trainer, pl_module, stage)
            self.reported, self.first_ns = Reported(), time.monotonic_ns()
            self.starts: list[int] = []
            self.taken: list = []
            known = self._run.books.session.ledger.steps
            for name in ("find", "go_on"):  # in the background, so that the hooks are those of a user
                setattr(known, name, partial(self.keep, known, getattr(known, name)))

        def keep(self, known, find, *args, **kwargs) -> None:
            before = known.found.end
            find(*args, **kwargs)
            rows, _, end, _ = known.found
            self.taken += rows[len(rows) - (end - before) :]

        def on_train_epoch_start(self, trainer, pl_module) -> None:
            self.epoch_ns = time.monotonic_ns()
            super().on_train_epoch_start(trainer, pl_module)

        def on_train_epoch_end(self, trainer, pl_module) -> None:
            end_ns = time.monotonic_ns()
            super().on_train_epoch_end(trainer, pl_module)
            self.reported.epochs.append((self.epoch_ns, end_ns, self.history[-1]["train_j"] or 0.0))

        def teardown(self, trainer, pl_module, stage) -> None:
            end_ns = time.monotonic_ns()
            super().teardown(trainer, pl_module, stage)
            self.reported.total = (self.first_ns, end_ns, self.report.session.energy_j or 0.0)

    return Ours(meters=NvmlMeter(uuid), phases=phases)


@dataclass(frozen=True)
class Tool:
    """A configuration of the benchmark.

    Attributes:
        name: as the table shows it.
        package: the package that it needs; the row is left out where that is not installed.
        module: the module to import.
        make: its callback, from (folder for its files, epochs, UUID of the board).
        log_every_n_steps: of the Trainer.
        measures: true when it reports an energy.
        batch: type of the batches.
    """

    name: str
    package: str
    module: str
    make: Callable[[Path, int, str], Callback | None]
    log_every_n_steps: int = 50
    measures: bool = True
    batch: str = "list"

    @property
    def version(self) -> str | None:
        """Its installed version; ``None`` without."""
        return installed(self.package)


TOOLS = [
    Tool("no callback", "lightning", "", lambda f, n, u: None, measures=False),
    Tool("no-op", "lightning", "", lambda f, n, u: NoOp(), measures=False),
    Tool("no-op, log 10", "lightning", "", lambda f, n, u: NoOp(), log_every_n_steps=10, measures=False),
    Tool("no-op, log 1", "lightning", "", lambda f, n, u: NoOp(), log_every_n_steps=1, measures=False),
    Tool("bare, log 10", "lightning", "", lambda f, n, u: Bare(), log_every_n_steps=10, measures=False),
    Tool("bare, tuples", "lightning", "", lambda f, n, u: Bare(keeps_shapes=True), batch="tuple", measures=False),
    Tool("DeviceStatsMonitor", "lightning", "", lambda f, n, u: DeviceStatsMonitor(), measures=False),
    Tool("CodeCarbon", "codecarbon", "codecarbon", lambda f, n, u: CodeCarbon(f, tasks=False)),
    Tool("CodeCarbon tasks", "codecarbon", "codecarbon", lambda f, n, u: CodeCarbon(f, tasks=True)),
    Tool("Zeus epochs", "zeus", "zeus.monitor", lambda f, n, u: Zeus()),
    Tool("Zeus steps", "zeus", "zeus.monitor", lambda f, n, u: ZeusSteps()),
    Tool("carbontracker", "carbontracker", "carbontracker.tracker", lambda f, n, u: CarbonTracker(f, n)),
    Tool("eco2AI", "eco2ai", "eco2ai", lambda f, n, u: Eco2Ai(f)),
    Tool("EnergyCallback", "lightning-energy", OURS, lambda f, n, u: ours(u)),
    Tool("EnergyCallback, log 10", "lightning-energy", OURS, lambda f, n, u: ours(u), log_every_n_steps=10),
    Tool("EnergyCallback, log 1", "lightning-energy", OURS, lambda f, n, u: ours(u), log_every_n_steps=1),
    Tool("EnergyCallback, phases", "lightning-energy", OURS, lambda f, n, u: ours(u, phases=True)),
    Tool("EnergyCallback, tuples", "lightning-energy", OURS, lambda f, n, u: ours(u), batch="tuple"),
    Tool("EnergyCallback, dicts", "lightning-energy", OURS, lambda f, n, u: ours(u), batch="dict"),
]
