"""Functions that train, as users write them: good ones and bad ones. Each is called in a process of its own."""

from __future__ import annotations

import atexit
import json
import os
import random
import signal
import sys
import threading
import time
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
    if does == "tells":
        tell(folder)
    if does == "searches":
        put(folder / "tuning" / "trial", 0.25, 0.5, seed=seed)
    put(folder / "version_0", config.get("kwh", 1.0) + 0.001 * seed, 0.9, run_id=str(folder), seed=seed)
    if does == "trains twice":
        put(folder / "version_1", 1.0, 0.9, seed=seed)
    if does == "hangs once" and not Path(config["mark"]).exists():
        Path(config["mark"]).write_text("begun")
        signal.pause()


def tell(folder: Path) -> None:
    """Says what a process is and has, and leaves something in it."""
    heavy = sys.modules.get("tests.study.heavy")
    told = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "loaded": heavy is not None,
        "left by others": len(getattr(heavy, "left", ())),
        "leads its session": os.getsid(0) == os.getpid() == os.getpgrp(),
        "arguments": sys.argv[1:],
        "folder": str(Path.cwd()),
        "threads": threading.active_count(),
        "cpu_s": time.process_time(),
    }
    (folder / "told.json").write_text(json.dumps(told))
    if heavy is not None:
        heavy.left.append(folder)
    name = folder.parent.name
    sys.stdout.write(f"print of {name}\n")
    sys.stdout.flush()
    os.write(1, f"write of {name}\n".encode())
    atexit.register(sys.stdout.write, f"end of {name}\n")
