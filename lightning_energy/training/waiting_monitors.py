"""Monitors of our names while there is no value: they wait, where Lightning would end the training."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback

from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.training import log_keys
from lightning_energy.training.lightning_private import is_of_lightning_alone
from lightning_energy.training.monitor_checks import advice_on_names, monitors_of, name_of, plans_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning.pytorch import Trainer

    from lightning_energy.training.error_guard import Warn

__all__ = ["WaitingMonitors", "drop_values"]

# the public attribute of a monitor by which it does without a value, and what it is then: a ModelCheckpoint that keeps
# none does not look for one, an EarlyStopping and the plan of a learning rate pass over it
WAYS: tuple[tuple[str, Any], ...] = (("save_top_k", 0), ("strict", False))


# hooks in which a monitor of the user's own may look for a value
HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_") and name.endswith(("_end", "_start")))


class WaitingMonitors:
    """The monitors of one run that wait for a value.

    An unknown energy has no value, and its absence is no reason to end a training: a checkpoint by it is not saved, a
    stopping by it does not happen, a learning rate that follows it stays. Names that are none of ours are Lightning's.

    Args:
        warn: takes a topic's first warning.
    """

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        self._validations = 0  # in this epoch
        self._all_have_logged = False  # an epoch with a validation is over
        self._waiting: list[tuple[Any, str, Any]] = []  # monitor, attribute, what it was
        self._guarded: list[tuple[Any, str, Any]] = []  # callback, hook, what its own attribute was; ``None``: none

    def guard(self, trainer: Trainer) -> None:
        """Let no callback of the user's own that goes by one of our names end a training because it has no value."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        told = monitors_of(trainer, *log_keys.NAMES)
        for callback in callbacks:
            names = [] if is_of_lightning_alone(callback) else _names_in(callback)
            for hook in HOOKS if names else ():
                own = vars(callback).get(hook)
                if own is None and getattr(type(callback), hook, None) is getattr(Callback, hook):
                    continue
                tell = None if callback in told else self._warn
                with suppress(AttributeError):  # it takes no attributes
                    setattr(callback, hook, partial(_forgiving, getattr(callback, hook), trainer, names, tell))
                    self._guarded.append((callback, hook, own))

    def end_validation(self, trainer: Trainer, *, is_measured: bool) -> None:
        """Let those wait whose value is not there; tell of a typo where the epoch goes on, perhaps for weeks.

        Args:
            trainer: the Trainer.
            is_measured: false once there will be no more values.
        """
        self._look(trainer, is_measured=is_measured)
        self._validations += 1
        if self._validations > 1:
            self._tell(advice_on_names(trainer, may_follow=True))

    def end_epoch(self, trainer: Trainer, *, is_measured: bool) -> None:
        """Let those wait whose value is not there, and tell of them.

        Args:
            trainer: the Trainer.
            is_measured: false once there will be no more values.
        """
        self._tell(self._look(trainer, is_measured=is_measured))
        if not self._all_have_logged:
            self._all_have_logged = self._validations > 0 or not trainer.enable_validation
        self._validations = 0

    def tell_strange_names(self, trainer: Trainer) -> None:
        """Tell of monitors of a name like ours that nobody has logged, once all have had an epoch to do so."""
        if self._all_have_logged:
            self._tell(advice_on_names(trainer))

    def _tell(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._warn(text, f"EnergyCallback: {text}")

    def _look(self, trainer: Trainer, *, is_measured: bool) -> list[str]:
        """Let those wait whose value is not there, and those act again whose value is. All ranks take part.

        Returns:
            A sentence for each name besides the score's that has no value.
        """
        if not is_measured:
            drop_values(trainer)
        names = (*log_keys.NAMES,)
        monitors = [*monitors_of(trainer, *names), *plans_of(trainer, *names)]
        if not monitors:
            return []
        values = trainer.callback_metrics
        absent: dict[str, list[str]] = {}
        for monitor in monitors:
            if monitor.monitor in values:
                self._let_act(monitor)
            else:
                self._let_wait(monitor)
                absent.setdefault(monitor.monitor, []).append(name_of(monitor))
        return [
            f"{' and '.join(dict.fromkeys(who))} can do nothing while there is no {name}, as it is not known or not "
            f"logged in this training, which goes on. Give another monitor, or see the trouble of the sensors"
            for name, who in absent.items()
            if name != log_keys.SCORE
        ]

    def release(self) -> None:
        """Let all of them be as they were."""
        while self._waiting:
            monitor, attribute, value = self._waiting.pop()
            setattr(monitor, attribute, value)
        while self._guarded:
            callback, hook, own = self._guarded.pop()
            if own is None:
                with suppress(AttributeError):  # somebody else has removed it
                    delattr(callback, hook)
            else:
                setattr(callback, hook, own)

    def _let_wait(self, monitor: Any) -> None:
        if any(waiting is monitor for waiting, _, _ in self._waiting):
            return
        for attribute, lenient in WAYS:
            if hasattr(monitor, attribute):
                self._waiting.append((monitor, attribute, getattr(monitor, attribute)))
                setattr(monitor, attribute, lenient)
                return

    def _let_act(self, monitor: Any) -> None:
        for entry in self._waiting:
            if entry[0] is monitor:
                self._waiting.remove(entry)
                setattr(monitor, entry[1], entry[2])
                return


def _names_in(callback: Any) -> list[str]:
    """Our names among the attributes of a callback."""
    found = []
    for value in getattr(callback, "__dict__", {}).values():
        found += [v for v in (value if isinstance(value, (list, tuple)) else (value,)) if isinstance(v, str)]
    return [name for name in log_keys.NAMES if name in found]


def _forgiving(
    hook: Callable[..., Any], trainer: Trainer, names: list[str], warn: Warn | None, *args: Any, **kwargs: Any
) -> Any:
    """Call a hook of the user's; what it raises while there is no value for it gives a warning."""
    try:
        return hook(*args, **kwargs)
    except Warning:
        raise
    except Exception as error:
        absent = [name for name in names if name not in trainer.callback_metrics]
        if not absent or raised_by_handler(error):
            raise
        if warn is not None and not trainer.sanity_checking:
            who, problem = type(getattr(hook, "__self__", hook)).__name__, f"{type(error).__name__}: {error}"
            text = (
                f"EnergyCallback: {who} can do nothing while there is no {' and no '.join(absent)}, as it is not "
                f"known, not logged in this training or not there yet ({problem}). The training goes on"
            )
            warn(f"{who} {id(getattr(hook, '__self__', hook))}", text)
        return None


def drop_values(trainer: Trainer) -> None:
    """Remove the last values of our names, when no more will come: nothing may go on to act by them."""
    for name in log_keys.NAMES:
        trainer.callback_metrics.pop(name, None)
        trainer.logged_metrics.pop(name, None)
