"""Exchanges between ranks and their cost: measured for a few ranks, extrapolated to many.

    python benchmarks/ranks.py                         # 2, 4 and 8 processes of gloo on this machine
    python benchmarks/ranks.py --json FILE

Run from the repository's root. Processes share this machine's cores, so that times are too long rather than too short
for ranks with cores of their own; over a network latencies are other ones. The model is a + b * log2(ranks), as a
reduction goes up and down a tree.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

sys.path.insert(0, str(Path(__file__).parent.parent))

from lightning_energy import Energy, __version__
from lightning_energy.ledger.ranks import FIELDS, Ranks

ENERGY = Energy(1e6, 10.0, 5e4, 3600.0, 0.0, "measured", 277.0)
VALIDATION, EPOCH, RECORD = 2, 3, 6  # energies in the reductions of one epoch
LOGGED = 8  # scalars that Lightning reduces once more for self.log(sync_dist=True)
ROUNDS = 60


def reduce(tensor: torch.Tensor) -> torch.Tensor:
    dist.all_reduce(tensor)
    return tensor


def worker(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store{size}", rank=rank, world_size=size)
    ranks = Ranks(size, rank, node="boot-id", _sum=reduce)
    begin = time.perf_counter()
    gathered: list = [None] * size
    dist.all_gather_object(gathered, ("0" * 36, [f"GPU-{rank:036d}", "package-0", "dram-0"], ""))
    gather_ms = (time.perf_counter() - begin) * 1e3
    ours_ms, logged_ms = [], []
    for _ in range(ROUNDS):
        dist.barrier()
        begin = time.perf_counter()
        for n in (VALIDATION, EPOCH, RECORD):
            ranks.sum([ENERGY] * n, 0.9)
        middle = time.perf_counter()
        for _ in range(LOGGED):
            reduce(torch.tensor(1.0))
        ours_ms.append((middle - begin) * 1e3)
        logged_ms.append((time.perf_counter() - middle) * 1e3)
    if rank == 0:
        row = {
            "ranks": size,
            "start_ms": gather_ms,
            "epoch_ours_ms": float(np.median(ours_ms)),
            "epoch_ours_ms_p90": float(np.quantile(ours_ms, 0.9)),
            "epoch_logged_ms": float(np.median(logged_ms)),
        }
        Path(folder, f"{size}.json").write_text(json.dumps(row))
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            mp.spawn(partial(worker), args=(size, folder), nprocs=size)
            rows.append(json.loads(Path(folder, f"{size}.json").read_text()))
    sent = [8 * (2 + FIELDS * n) for n in (VALIDATION, EPOCH, RECORD)]
    bytes_sent = " + ".join(map(str, sent))
    print(f"bytes per rank and epoch: {bytes_sent} in 3 reductions; none per step, none after an exception")
    print(f"{'ranks':>6} {'start ms':>9} {'ours ms':>9} {'p90':>7} {'self.log ms':>12}   per epoch")
    for row in rows:
        print(
            f"{row['ranks']:>6} {row['start_ms']:>9.2f} {row['epoch_ours_ms']:>9.2f} {row['epoch_ours_ms_p90']:>7.2f} "
            f"{row['epoch_logged_ms']:>12.2f}"
        )
    b, a = np.polyfit([math.log2(r["ranks"]) for r in rows], [r["epoch_ours_ms"] for r in rows], 1)
    print(f"model: {a:.2f} ms + {b:.2f} ms * log2(ranks); at 1,024 ranks {a + 10 * b:.1f} ms per epoch")
    if args.json:
        result = {
            "what": "benchmarks/ranks.py",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "lightning_energy": __version__,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, gloo on one machine",
            "bytes": sent,
            "rows": rows,
            "model": {"a_ms": float(a), "b_ms": float(b), "at_1024_ms": float(a + 10 * b)},
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
