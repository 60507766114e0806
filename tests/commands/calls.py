"""Calls of the command in an interpreter of its own, as a shell makes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import lightning_energy

HEAVY = {"torch", "torchmetrics", "lightning", "pytorch_lightning"}
CODE = """
import atexit, json, sys, time

def leave():
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps([time.process_time(), loaded]), file=sys.stderr)

atexit.register(leave)
from lightning_energy.commands.main import main
sys.exit(main())
"""


class Call(NamedTuple):
    code: int
    out: str
    err: str
    cpu_s: float
    loaded: set[str]


def call(*arguments: object) -> Call:
    """Run the command; its packages and its CPU time are those at its exit."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(Path(lightning_energy.__file__).parents[1]), "PYTHONUTF8": "1"},
        timeout=280,
    )
    *err, last = done.stderr.splitlines()
    cpu_s, loaded = json.loads(last)
    return Call(done.returncode, done.stdout, "\n".join(err), cpu_s, {*loaded})
