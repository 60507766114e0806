"""The guard around our hooks: a defect of ours is reported once, and the training goes on."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from lightning.pytorch.utilities import rank_zero_only

from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.meters.user_line import warn_at_user
from lightning_energy.scores.scorer import AccuracyError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Warn", "WarnOnce", "guarded", "never_fatal", "warn_here"]

P = ParamSpec("P")
R = TypeVar("R")


class Warn(Protocol):
    """Anything that takes a warning: a :class:`WarnOnce`, or another function of a topic and a text."""

    def __call__(self, topic: str, text: str) -> None:
        """Take the warning ``text`` about ``topic``."""


class WarnOnce:
    """Warns of each topic once in a run, on rank zero.

    Attributes:
        may_raise: false where a user who made warnings errors has not asked for us.

    Example:
        >>> import warnings
        >>> warn = WarnOnce()
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     for _ in range(2):
        ...         warn("disk", "the disk is full")
        >>> len(caught)
        1
    """

    def __init__(self, *, may_raise: bool = True) -> None:
        self._topics: set[str] = set()
        self.may_raise = may_raise

    def begin_anew(self) -> None:
        """Begin another run, which has its own warnings."""
        self._topics.clear()

    def __call__(self, topic: str, text: str) -> None:
        """Warn, unless this topic had its warning."""
        if topic not in self._topics:
            self._topics.add(topic)
            try:
                rank_zero_only(warn_at_user)(text)
            except Warning:
                if self.may_raise:
                    raise


def warn_here(warn: Warn, text: str) -> None:
    """Warn on this rank, whatever its number; an error only where ``warn`` may raise one."""
    try:
        warn_at_user(text)
    except Warning:
        if getattr(warn, "may_raise", True):
            raise


class _GivesUp(Protocol):
    def _give_up(self, where: str, error: Exception) -> None: ...


S = TypeVar("S", bound=_GivesUp)


def _is_for_user(error: Exception) -> bool:
    """True for an error that the user is to see, or raised in a signal handler, which wants the training to end."""
    return isinstance(error, (AccuracyError, Warning)) or raised_by_handler(error)


def never_fatal(hook: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R | None]:
    """Decorate a hook whose defect must not end the user's training: its owner then gives up measuring.

    Two kinds of exceptions are meant for the user and pass: an accuracy that is no fraction, and a warning where the
    user made warnings errors.
    """

    @functools.wraps(hook)
    def guarded(self: S, *args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return hook(self, *args, **kwargs)
        except Exception as error:
            if _is_for_user(error):
                raise
            self._give_up(hook.__name__, error)
            return None

    return guarded  # type: ignore[return-value]  # wraps() forgets that the first argument has no name


def guarded(attend: Callable[[Any, int], None], owner: _GivesUp) -> Callable[[Any, int], None]:
    """The same function of a Trainer and a batch, after whose defect ``owner`` gives up, as a hook of its own.

    It does not keep its owner alive, which keeps the hook that calls it. Between that hook and the work there is this
    one call: each takes microseconds where a training has emptied the processor's caches.

    Args:
        attend: the function.
        owner: the object whose hook calls it.
    """
    owner_of = weakref.ref(owner)

    def attend_or_give_up(trainer: Any, batch_idx: int) -> None:
        try:
            attend(trainer, batch_idx)
        except Exception as error:
            if _is_for_user(error):
                raise
            owner = owner_of()
            if owner is not None:
                owner._give_up("attend", error)  # noqa: SLF001 - as above

    return attend_or_give_up
