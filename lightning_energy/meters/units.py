"""Factors between units, each written once for the whole package."""

from __future__ import annotations

__all__ = ["J_PER_KWH", "NS"]

NS = 1e-9
"""Seconds per nanosecond."""

J_PER_KWH = 3.6e6
"""Joules per kilowatt-hour."""
