"""Parts of a run without a Trainer: real sessions and ranks, and stand-ins for the little they read of Lightning."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from hypothesis import strategies as st

from lightning_energy.curves.energy import QUALITIES, Energy
from lightning_energy.ledger.counts import Counts
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.ledger.session import Session
from lightning_energy.meters import Meter, MeterInfo, ReplayMeter, open_meters
from lightning_energy.meters.find import OpenMeters
from lightning_energy.scores.choice import choose_metric
from lightning_energy.scores.scorer import Scorer
from lightning_energy.training.outputs import Outputs
from lightning_energy.training.rank_books import RankBooks
from lightning_energy.training.recorder import Recorder
from lightning_energy.training.reporter import Reporter
from lightning_energy.training.run_memory import RunMemory
from lightning_energy.training.score_metrics import ScoreMetrics
from lightning_energy.training.stages import Stages
from lightning_energy.training.step_log import StepLog
from lightning_energy.training.validations import Validations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lightning_energy.results.carbon import Conversion

CPU = torch.device("cpu")
INFO = MeterInfo("replay-0", "replayed device", "measured", "gpu", power_max_w=300.0, update_period_s=0.001)
POWER_W = 200.0


class Warned(list[tuple[str, str]]):
    """Takes warnings: (topic, text)."""

    def __call__(self, topic: str, text: str) -> None:
        self.append((topic, text))

    @property
    def topics(self) -> list[str]:
        return [topic for topic, _ in self]


def replay(power_w: float = POWER_W) -> ReplayMeter:
    """A device whose register always moves, so that every moment is known as soon as it is read."""
    return ReplayMeter(power_w, counter_period_s=0, info=INFO)


def session_of(*meters: Meter) -> Session:
    return Session(open_meters(meters, device=CPU) if meters else OpenMeters())


def two_ranks(rank: int = 0) -> Ranks:
    """Ranks whose other one spends the same, and has the same accuracy."""
    return TwoRanks(2, rank, _sum=lambda tensor: 2 * tensor)


class TwoRanks(Ranks):
    """Two ranks that know the same."""

    def gather(self, mine: Any) -> list[Any]:
        return [mine, mine]


def books_of(*meters: Meter, ranks: Ranks | None = None, memory: RunMemory | None = None, **kwargs: Any) -> RankBooks:
    warn = kwargs.pop("warn", Warned())
    return RankBooks(session_of(*meters), ranks or Ranks(), memory or RunMemory(), warn, **kwargs)


def spend(session: Session, epoch: int = 0, stage: str = "train", steps: int = 1) -> None:
    """Leave marks around some work, long enough to be seen by the register."""
    step, gap = session.code(epoch, stage, "step"), session.code(epoch, stage, "gap")
    for _ in range(steps):
        session.mark(step)
        session._sampler.wait_until_known(time.monotonic_ns() + 3_000_000, 0.5)
        session.mark(gap)


class Parts:
    """The parts of a run, made as a TrainerRun makes them.

    Args:
        meters: the meters; by default one that replays.
        stage: ``fit`` or another run.
        record: where the record lies; ``None`` keeps none.
        steps: the class of the step log.
        conversion: the inputs of CO2e and cost.
        batch_size_fn: counts the samples of a batch.
    """

    def __init__(
        self,
        *meters: Meter,
        stage: str = "fit",
        record: Path | None = None,
        steps: type[StepLog] = StepLog,
        conversion: Conversion | None = None,
        batch_size_fn: Callable[[Any], int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.warn = Warned()
        self.memory: RunMemory = kwargs.setdefault("memory", RunMemory())
        self.books = books_of(*meters, warn=self.warn, is_fit=stage == "fit", **kwargs)
        self.stages = Stages(Counts(batch_size_fn), stage)
        self.metrics = ScoreMetrics(self.books)
        self.validations = Validations(self.books, Scorer(choose_metric("val_acc")), self.memory, self.warn, conversion)
        self.outputs = Outputs(self.warn)
        self.outputs._recorder = None if record is None else Recorder(record, {}, self.books.ranks.rank)
        self.reporter = Reporter(
            self.books,
            self.stages,
            self.validations,
            memory=self.memory,
            outputs=self.outputs,
            conversion=conversion,
        )
        self.steps = steps(
            self.books,
            self.stages.marks,
            self.metrics,
            reporter=self.reporter,
            outputs=self.outputs,
            warn=self.warn,
        )

    @property
    def session(self) -> Session:
        assert self.books.session is not None
        return self.books.session


class Looked(StepLog):
    """Knows the batches that it logged at, and those that it kept up at."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logged: list[tuple[int, int]] = []
        self.kept: list[tuple[int, int]] = []
        self.seen = 0

    def attend(self, trainer: Any, batch_idx: int) -> None:
        self.seen += 1
        self.now = (trainer.current_epoch, batch_idx)
        super().attend(trainer, batch_idx)

    def log(self, trainer: Any, step: int) -> None:
        self.logged.append(self.now)

    def keep_up(self) -> None:
        self.kept.append(self.now)


def trainer_like(**kwargs: Any) -> SimpleNamespace:
    """The attributes of a Trainer that the parts read."""
    step = kwargs.pop("step", 0)
    settings = {
        "callback_metrics": {},
        "logged_metrics": {},
        "loggers": [],
        "callbacks": [],
        "sanity_checking": False,
        "is_last_batch": False,
        "current_epoch": 0,
        "log_every_n_steps": 50,
        "num_training_batches": 10,
        "progress_bar_callback": None,
        "fit_loop": SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=step)),
    }
    return SimpleNamespace(**(settings | kwargs))


class ModuleLike:
    """Logs as a module does: into the metrics of its Trainer."""

    def __init__(self, trainer: Any = None) -> None:
        self.trainer = trainer or trainer_like()
        self.calls: list[tuple[str, torch.Tensor, dict[str, Any]]] = []

    def log(self, name: str, value: torch.Tensor, **kwargs: Any) -> None:
        self.calls.append((name, value, kwargs))
        self.trainer.callback_metrics[name] = self.trainer.logged_metrics[name] = value

    @property
    def logged(self) -> dict[str, float]:
        return {name: float(value) for name, value, _ in self.calls}


def joules(energy_j: float | None, *, duration_s: float = 1.0, missing_s: float = 0.0) -> Energy:
    if energy_j is None:
        return Energy(None, 0.0, 0.0, duration_s, duration_s, "missing")
    return Energy(energy_j, 0.1, 0.2, duration_s, missing_s, "measured", energy_j / duration_s)


@st.composite
def energies(draw: Any) -> Energy:
    """Any energy that a session can have."""
    duration_s = draw(st.floats(1e-3, 1e6))
    if draw(st.booleans()) and draw(st.booleans()):
        return Energy(None, 0.0, 0.0, duration_s, duration_s, "missing")
    energy_j, u_j = draw(st.just(0.0) | st.floats(1e-3, 1e9)), draw(st.just(0.0) | st.floats(1e-6, 1e3))
    u_absolute_j = (u_j**2 + (draw(st.floats(0, 0.1)) * energy_j) ** 2) ** 0.5
    missing_s = draw(st.floats(0, 0.9)) * duration_s
    quality = draw(st.sampled_from(QUALITIES[:-1]))
    return Energy(energy_j, u_j, u_absolute_j, duration_s, missing_s, quality, energy_j / (duration_s - missing_s))
