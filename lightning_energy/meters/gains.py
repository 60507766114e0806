"""Standard uncertainties of sensors' gains: the one list, with its sources in docs/where-the-joules-come-from.md."""

from __future__ import annotations

from typing import Final

__all__ = ["DRAM_U", "ESTIMATE_U", "NVIDIA_U", "PACKAGE_U"]

NVIDIA_U: Final = 0.07
"""NVIDIA boards. Measured of nvidia-smi's power (not of the counter) on 16 boards against external meters: of the 11 of
Turing and newer 10 read low, rms 6.1 %, one per model 7.2 % (data of arXiv 2312.02741)."""

PACKAGE_U: Final = 0.05
"""RAPL of a CPU package, and ``psys``. Inferred, from studies of Intel's processors only (Desrochers et al., 2016)."""

DRAM_U: Final = 0.15
"""RAPL of the memory: often a model, with a constant offset. Inferred, of Intel's processors only (same source)."""

ESTIMATE_U: Final = 0.5
"""The model of the CPU. Figures from a TDP are wrong by tens of percent: 27 to 37 % on nodes in arXiv 2506.14551."""
