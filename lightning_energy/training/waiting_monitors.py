"""Monitors of our names while there is no value: they wait, where Lightning would end the training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_energy.training import log_keys
from lightning_energy.training.monitor_checks import monitors_of, name_of, plans_of

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = ["WaitingMonitors", "drop_values"]

# the public attribute of a monitor by which it does without a value, and what it is then: a ModelCheckpoint that keeps
# none does not look for one, an EarlyStopping and the plan of a learning rate pass over it
WAYS: tuple[tuple[str, Any], ...] = (("save_top_k", 0), ("strict", False))


class WaitingMonitors:
    """The monitors of one run that wait for a value.

    An unknown energy has no value, and its absence is no reason to end a training: a checkpoint by it is not saved, a
    stopping by it does not happen, a learning rate that follows it stays. Names that are none of ours are Lightning's.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Any, str, Any]] = []  # monitor, attribute, what it was

    def look(self, trainer: Trainer) -> list[str]:
        """Let those wait whose value is not there, and those act again whose value is. All ranks take part.

        Returns:
            A sentence for each name besides the score's that has no value.
        """
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


def drop_values(trainer: Trainer) -> None:
    """Remove the last values of our names, when no more will come: nothing may go on to act by them."""
    for name in log_keys.NAMES:
        trainer.callback_metrics.pop(name, None)
        trainer.logged_metrics.pop(name, None)
