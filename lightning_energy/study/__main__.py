"""The processes of a study: ``python -m lightning_energy.study run FOLDER``, ``… idle SECONDS``, ``… template N``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from lightning_energy.study import child, idle, template

__all__: list[str] = []

if __name__ == "__main__":
    what, argument = sys.argv[1:]
    if what == "run":
        sys.exit(child.main(Path(argument)))
    if what == "template":
        folder = template.serve(int(argument))
        sys.exit(0 if folder is None else child.main(folder))
    print(json.dumps([asdict(row) for row in idle.main(float(argument))]))  # noqa: T201 - the answer
