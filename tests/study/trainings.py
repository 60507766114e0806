"""Functions that train, as users write them: good ones and bad ones. Each is called in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

from tests.records import put


def train(config: dict, seed: int, folder: Path) -> None:
    """Leaves a record as a training of ``config["kwh"]`` would, or does what ``config["does"]`` says."""
    assert os.environ["PL_GLOBAL_SEED"] == os.environ["TORCH_SEED"] == str(seed)
    assert random.random() == random.Random(seed).random()
    does = config.get("does", "")
    if does == "raises":
        raise ValueError("no such\nmodel")
    if does == "fails once" and not Path(config["mark"]).exists():
        Path(config["mark"]).write_text("failed")
        raise RuntimeError("out of memory")
    if does == "exits":
        sys.exit(3)
    if does == "leaves nothing":
        return
    if does == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "searches":
        put(folder / "tuning" / "trial", 0.25, 0.5, seed=seed)
    put(folder / "version_0", config.get("kwh", 1.0) + 0.001 * seed, 0.9, run_id=f"{config}-{seed}", seed=seed)
    if does == "trains twice":
        put(folder / "version_1", 1.0, 0.9, seed=seed)
    if does == "hangs once" and not Path(config["mark"]).exists():
        Path(config["mark"]).write_text("begun")
        signal.pause()
