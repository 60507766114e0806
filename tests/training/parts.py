"""Parts of a run without a Trainer: real sessions and ranks, and stand-ins for the few things of Lightning they read."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import strategies as st

from lightning_energy.curves.curve import QUALITIES, Energy
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.ledger.session import Session
from lightning_energy.meters import Meter, MeterInfo, ReplayMeter, open_meters
from lightning_energy.meters.find import OpenMeters
from lightning_energy.training.rank_books import RankBooks
from lightning_energy.training.run_memory import RunMemory

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
    """A device whose register moves so often that the first millisecond is known."""
    return ReplayMeter(power_w, counter_period_s=0.001, info=INFO)


def session_of(*meters: Meter) -> Session:
    return Session(open_meters(meters, device=CPU) if meters else OpenMeters())


def two_ranks(rank: int = 0) -> Ranks:
    """Ranks whose other one spends the same, and has the same accuracy."""
    return Ranks(2, rank, _sum=lambda tensor: 2 * tensor)


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


def trainer_like(**kwargs: Any) -> SimpleNamespace:
    """The attributes of a Trainer that the parts read."""
    step = kwargs.pop("step", 0)
    settings = {
        "callback_metrics": {},
        "logged_metrics": {},
        "loggers": [],
        "callbacks": [],
        "sanity_checking": False,
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
