"""Checks of arguments that the callback and the monitor share."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["check_idle", "check_switches"]


def check_idle(idle_s: Any) -> None:
    """Check the seconds to watch idle devices.

    Raises:
        TypeError: no number.
        ValueError: negative or not finite.
    """
    if isinstance(idle_s, bool) or not isinstance(idle_s, (int, float)):
        raise TypeError(f"idle_s={idle_s!r}: give seconds from 0 on, such as 10")
    if not 0 <= idle_s < math.inf:
        raise ValueError(f"idle_s={idle_s!r}: give seconds from 0 on, such as 10")


def check_switches(**switches: Any) -> None:
    """Check arguments that are on or off: a text such as ``"no"`` would count as on.

    Raises:
        TypeError: one is neither.
    """
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name}={value!r}: give True or False")
