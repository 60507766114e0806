"""Warnings that name the user's line, rather than one of ours, of Lightning or of torch."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["warn_at_user"]

BETWEEN = {
    *("lightning_energy", "lightning", "lightning_fabric", "lightning_utilities", "pytorch_lightning"),
    *("torch", "torchmetrics", "contextlib", "functools"),
}
"""The packages whose functions may stand between a user's line and ours."""


def warn_at_user(text: str) -> None:
    """Warn, with the nearest line of the user's own as the place.

    Python shows it before the text, and looks there for the filters of a module. Where no such line is on the stack, as
    in a thread of ours, the place is that of the caller.

    Args:
        text: the warning.

    Raises:
        UserWarning: warnings are errors.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_at_user("the disk is full")
        >>> str(caught[0].message)
        'the disk is full'
    """
    frame = _of_user(inspect.currentframe())
    if frame is None:
        warnings.warn(text, stacklevel=2)
        return
    own = frame.f_globals
    warnings.warn_explicit(
        text,
        UserWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=own.get("__name__"),
        registry=own.setdefault("__warningregistry__", {}),
    )


def _of_user(frame: FrameType | None) -> FrameType | None:
    """The nearest frame that is the user's; ``None`` without one."""
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in BETWEEN:
        frame = frame.f_back
    return frame
