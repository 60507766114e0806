"""How every test runs."""

from __future__ import annotations

import os

# Before torch is loaded, and for the processes that tests start: small models gain nothing by threads, and threads that
# wait for each other in a loop take the time of those that work, many times over on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
