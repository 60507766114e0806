"""One run of a study in a process of its own: ``python -m lightning_energy.study run FOLDER``, or a fork."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import random
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.results.plain import printable
from lightning_energy.results.write import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JOB", "MODULE", "OUTPUT", "RESULT", "function_of", "main"]

MODULE = "lightning_energy.study"  # that python -m runs
JOB, OUTPUT, RESULT = "job.json", "output.txt", "result.json"
LONGEST = 300


def main(folder: Path) -> int:
    """Call the function of a job with its configuration, its seed and its folder, and leave a result beside it.

    Returns:
        The exit code of the process.
    """
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    sys.path[:0] = [path for path in job["path"] if path not in sys.path]
    code, why = 0, ""
    try:
        train = function_of(job["train"])
        _sow(job["seed"])
        train(job["config"], job["seed"], folder)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        why = f"it called sys.exit({leaving.code!r})" if code else ""
    except KeyboardInterrupt:
        code, why = 130, "it was interrupted"
    except BaseException as error:  # noqa: BLE001 - whatever the user's function raises
        traceback.print_exc()
        code, why = 1, f"{type(error).__name__}: {error}"
    if os.environ.get("LOCAL_RANK", "0") == "0":  # further ranks are started as copies of this process
        write_whole(folder / RESULT, json.dumps({"code": code, "why": printable(" ".join(why.split()))[:LONGEST]}))
    sys.stdout.flush()
    return code


def function_of(reference: str) -> Callable[[dict[str, Any], int, Path], Any]:
    """The function behind ``FILE.py:NAME`` or ``module:NAME``.

    Raises:
        AttributeError: there is no such name.
        Exception: whatever the file raises.
    """
    place, _, name = reference.rpartition(":")
    if place.endswith(".py"):
        file = Path(place).absolute()
        sys.path.insert(0, str(file.parent))  # as for a script
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[[dict[str, Any], int, Path], Any] = found
    return function


def _sow(seed: int) -> None:
    """Seed what Lightning's ``seed_everything`` does, so that the seed in the record is the one that was used."""
    import numpy as np  # noqa: PLC0415 - here, the training's process
    import torch  # noqa: PLC0415 - same

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global one, which others use
    torch.manual_seed(seed)
    os.environ["PL_GLOBAL_SEED"] = str(seed)
    os.environ["PL_SEED_WORKERS"] = "1"
