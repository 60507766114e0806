"""Factors between units, each written once for the whole package."""

from __future__ import annotations

__all__ = ["J_PER_KWH", "J_PER_WH", "NS", "SAMPLES"]

NS = 1e-9
"""Seconds per nanosecond."""

J_PER_KWH = 3.6e6
"""Joules per kilowatt-hour."""

J_PER_WH = 3.6e3
"""Joules per watt-hour."""

SAMPLES = "samples"
"""The unit of work that every stage is counted in, beside the user's own units."""
