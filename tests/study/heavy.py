"""A module that takes long to load: it says that it was loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

left: list[Path] = []
sys.stdout.write("a greeting\n")
if "LOADS" in os.environ:
    with Path(os.environ["LOADS"]).open("a") as file:
        file.write("loaded\n")
