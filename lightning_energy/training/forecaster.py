"""From the hooks of a Trainer to a forecast: the stretches of a run as they end, and the part that is to come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.units import NS
from lightning_energy.results.forecast import Forecast, Left, Seen, Stretch, forecast, validations_between
from lightning_energy.training.lightning_private import (
    is_accumulation_scheduler,
    is_early_stopping,
    is_timer,
    last_validation_s,
    validation_every_s,
)
from lightning_energy.training.spent_joules import Spending

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch import Trainer

__all__ = ["Forecaster", "batches_by_schedule", "may_stop_early", "most_validations"]

STRETCHES = 16  # of the first epoch, at most; a later one is a single stretch between two validations
SAME_LENGTH = 0.1  # relative difference of the lengths of two epochs, where nothing but their end tells it
SEEN_STARTS = 2  # epochs after which a start of workers was seen: those of the first start before the training
END_S = 0.25  # from the end of the training until fit returns: the last update of a sensor is waited for
GUESSED = 0.1  # the part of a stretch for which the energy at its begin and end may be guessed from the last power


class Moment(NamedTuple):
    """A begin or end of a stretch.

    Attributes:
        batches: batches so far.
        ns: the time.
        spending: the energy then; behind the last update of a sensor a guess.
        age_ns: the time for which it is guessed; infinite where no power is known yet.
    """

    batches: int
    ns: int
    spending: Spending
    age_ns: float

    def guessed_since(self, before: Moment) -> float:
        """The time that is guessed, relative to the stretch that ends here; above 1 where no update came in it."""
        length_ns, guessed_ns = self.ns - before.ns, before.age_ns + self.age_ns
        if length_ns <= 0 or self.age_ns > length_ns:
            return math.inf
        return guessed_ns / length_ns


class Forecaster:
    """The stretches of a ``fit`` on one rank, and a forecast of its end.

    A stretch in which no sensor has moved tells nothing, and one in which a counter catches up has energy of the time
    before it. So stretches that may be short end only where what is guessed is a small part of them. Others, such as a
    validation, have the last power for their time where no update came in them, once that is one of the training;
    before, they are left out.

    Attributes:
        seen: the stretches so far.

    Args:
        now: gives what this rank has spent.
        clock: the monotonic clock in nanoseconds.
    """

    def __init__(self, now: Callable[[], Spending], clock: Callable[[], int] = monotonic_ns) -> None:
        self.seen = Seen()
        self._now = now
        self._clock = clock
        self._last = Moment(0, 0, Spending(0.0, 0.0, 0), math.inf)  # the end of the last stretch
        self._power_from_ns = 0  # a power that is known up to later than this is one of the training
        self._has_update = self._has_power = False  # since the training began
        self._first_step = self._batches = 0
        self._per_epoch = math.inf
        self._epochs = 0  # that have ended in this session
        self._varies = False  # the last two epochs were of different lengths
        self._due, self._due_ns = 0, 0.0  # batches and time from which on such a stretch may end

    def begin(self, trainer: Trainer) -> None:
        """Begin: the training starts, or goes on."""
        self._batches, self._first_step = _batches(trainer), trainer.global_step
        self._power_from_ns = self._clock()
        self._end_stretch(trainer, self._moment(trainer))

    def after_batches(self, trainer: Trainer) -> None:
        """End a stretch of batches in the first epoch, if it is long enough. Called now and then, and quick."""
        if self._has_power and (
            self._epochs
            or trainer.fit_loop.epoch_loop.batch_progress.total.ready < self._due
            or self._clock() < self._due_ns
        ):
            return
        last, now = self._last, self._moment(trainer)
        is_told = now.guessed_since(last) <= GUESSED or last.age_ns == math.inf or now.spending.unknown
        if is_told and now.batches >= self._due:
            self._end_batches(trainer, now)

    def rest(self, trainer: Trainer) -> int:
        """Batches to come before :meth:`after_batches` has something to do; 0 where that may be now."""
        return max(self._due - _batches(trainer), 0) if self._has_power else 0

    def begin_validation(self, trainer: Trainer) -> None:
        """End a stretch of batches: a validation begins."""
        self._end_batches(trainer, self._moment(trainer))

    def end_validation(self, trainer: Trainer) -> None:
        """End a validation."""
        stretch = self._end_stretch(trainer, self._moment(trainer))
        if stretch is not None:
            self.seen.validations.append(stretch)

    def end_epoch(self, trainer: Trainer) -> None:
        """End an epoch: its length is known."""
        self._epochs += 1
        before, self._per_epoch = self._per_epoch, float(trainer.fit_loop.epoch_loop.batch_progress.current.ready)
        self._varies = before < math.inf and abs(self._per_epoch - before) > SAME_LENGTH * before
        self._end_batches(trainer, self._moment(trainer))

    def begin_epoch(self, trainer: Trainer) -> Stretch | None:
        """End the time between two epochs, and return it; ``None`` before the first one, and where it is not known."""
        stretch = self._end_stretch(trainer, self._moment(trainer))
        if stretch is None or not self.has_epoch:
            return None
        self.seen.between.append(stretch)
        return stretch

    def forecast(
        self, trainer: Trainer, spent_j: float, *, scale: float = 1.0, begins: bool = False
    ) -> Forecast | None:
        """The run at its end; ``None`` where it cannot be told, and while energy is missing.

        Args:
            trainer: the Trainer.
            spent_j: joules of all ranks so far, all sessions together.
            scale: joules of all ranks for each of this one.
            begins: whether an epoch begins, so that Lightning's count of batches in it is still that of the last one.
        """
        if self._last.spending.unknown:
            return None
        left = self.left(trainer, begins=begins)
        return forecast(self.seen, left, spent_j, is_at_most=may_stop_early(trainer), scale=scale)

    @property
    def has_epoch(self) -> bool:
        """True once an epoch of this session has ended."""
        return self._per_epoch < math.inf

    def _of_epoch(self, trainer: Trainer) -> float:
        known = float(trainer.num_training_batches)
        return known if known < math.inf else self._per_epoch

    def _moment(self, trainer: Trainer) -> Moment:
        spending = self._now()  # first: it may wait a little
        ns, known_ns = self._clock(), spending.known_ns
        age_ns = math.inf if known_ns is None else ns - known_ns if ns > known_ns else 0
        now = Moment(_batches(trainer), ns, spending, age_ns)
        if not self._has_power and known_ns is not None and known_ns > self._power_from_ns:
            # the last interval of a device may have begun before the training, until all have moved once more
            self._has_update, self._has_power = True, self._has_update
            self._power_from_ns = now.ns
        return now

    def _end_batches(self, trainer: Trainer, now: Moment) -> None:
        batches = now.batches - self._last.batches
        stretch = self._end_stretch(trainer, now)
        if stretch is None:
            self.seen.left_out += batches
        elif batches:
            self.seen.add_batches(stretch, self._of_epoch(trainer))

    def _end_stretch(self, trainer: Trainer, now: Moment) -> Stretch | None:
        """The stretch since the last call; ``None`` where its energy is missing, or only guessed."""
        before, self._last, per_epoch = self._last, now, self._of_epoch(trainer)
        self._due = now.batches + (max(1, int(per_epoch // STRETCHES)) if per_epoch < math.inf else 1)
        self._due_ns = now.ns + now.age_ns / GUESSED if now.age_ns < math.inf else 0.0
        seconds, guessed = (now.ns - before.ns) * NS, now.guessed_since(before)
        if before.spending.unknown or now.spending.unknown:
            return None
        if guessed <= GUESSED or (self._has_power and guessed <= 1):
            energy_j = max(now.spending.spent_j - before.spending.spent_j, 0.0)
        elif self._has_power:
            energy_j = now.spending.power_w * seconds
        else:
            return None
        return Stretch(now.batches - before.batches, energy_j, seconds)

    def left(self, trainer: Trainer, *, begins: bool) -> Left:
        """The part of the run that is to come.

        Args:
            trainer: the Trainer.
            begins: see :meth:`forecast`.
        """
        loop, per_epoch = trainer.fit_loop, self._of_epoch(trainer)
        in_epoch = 0 if begins else loop.epoch_loop.batch_progress.current.ready
        varies = self._varies and trainer.num_training_batches == math.inf
        has_length = per_epoch < math.inf and not varies
        done = trainer.current_epoch * int(per_epoch) + in_epoch if has_length else _batches(trainer)
        if varies and (trainer.max_epochs or -1) > 0:
            return Left(done, None)
        ends: list[tuple[int, str]] = []
        if (trainer.max_epochs or -1) > 0 and per_epoch < math.inf:
            ends.append((int(trainer.max_epochs or 0) * int(per_epoch) - done, f"max_epochs={trainer.max_epochs}"))
        if trainer.max_steps > 0:
            ends.append((self._batches_to(trainer, trainer.max_steps, done), f"max_steps={trainer.max_steps}"))
        seconds, least = _time_left(trainer), 0
        if seconds is not None:
            least = self._batches_to(trainer, loop.min_steps or 0, done)
            least = max(least, (loop.min_epochs or 0) * int(per_epoch) - done if per_epoch < math.inf else 0)
        batches, limit = min(ends, default=(None if seconds is None else self._batches_in(seconds, least), ""))
        if batches is None:
            return Left(done, None)
        batches = max(batches, 0)
        epochs = _ends(done, batches, per_epoch, begins=begins)
        is_unseen = self._epochs < SEEN_STARTS and _starts_workers(trainer)
        validates = trainer.enable_validation
        every_s = validation_every_s(trainer) if trainer.check_val_every_n_epoch in {None, 1} else None
        return Left(
            done,
            batches,
            validations=_validations(trainer, done, done + batches, per_epoch) if validates else 0,
            epochs=epochs,
            validation_batches=_validation_batches(trainer) if validates else 0,
            seconds=seconds,
            per_epoch=per_epoch,
            limit=" or ".join(text for text in (limit, "max_time" if seconds is not None else "") if text),
            validation_every_s=every_s,
            validated_s=0.0 if every_s is None else max(self._clock() * NS - last_validation_s(trainer), 0.0),
            end_s=END_S if batches else 0.0,
            starts=max(epochs - (not begins), 0) if is_unseen else 0,
            least=least,
            closing=1 / (trainer.check_val_every_n_epoch or 1) if validates else 0.0,
        )

    def _batches_to(self, trainer: Trainer, step: int, done: int) -> int:
        """Batches to come until a step of the optimizer; by the schedule of a GradientAccumulationScheduler, if any."""
        to_come, per_epoch = max(step - trainer.global_step, 0), self._of_epoch(trainer)
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        schedule = next((c for c in callbacks if is_accumulation_scheduler(c)), None)
        if schedule is not None and per_epoch < math.inf:
            return batches_by_schedule(to_come, done, int(per_epoch), schedule.scheduling)
        steps = trainer.global_step - self._first_step
        each = (_batches(trainer) - self._batches) / steps if steps > 0 else trainer.accumulate_grad_batches
        return math.ceil(to_come * each)

    def _batches_in(self, seconds: float, least: int) -> int | None:
        """Twice the batches that so much time has room for: more than enough, whatever pace they come to."""
        seen = self.seen.batches or [self.seen.warm_up]
        batches, took_s = sum(s.batches for s in seen), sum(s.seconds for s in seen)
        return max(math.ceil(2 * max(seconds, 0.0) * batches / took_s), least) if took_s > 0 else None


def may_stop_early(trainer: Trainer) -> bool:
    """True where a callback may stop the run before its last epoch: an EarlyStopping, or one that says so of itself."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    return any(is_early_stopping(c) or getattr(c, "may_stop_early", False) for c in callbacks)


def most_validations(trainer: Trainer) -> int | None:
    """The number of validations in a training that begins, at most; ``None`` where that is not known."""
    if trainer.num_training_batches == math.inf:
        return None
    is_at_an_end = trainer.fit_loop.epoch_loop.batch_progress.current.ready >= trainer.num_training_batches
    left = Forecaster(lambda: Spending(0.0, 0.0, 0)).left(trainer, begins=is_at_an_end)
    return None if left.batches is None else left.validations


def batches_by_schedule(steps: int, done: int, per_epoch: int, factors: Mapping[int, int]) -> int:
    """Batches that so many steps of the optimizer take where gradients are accumulated by a schedule.

    Args:
        steps: steps to come.
        done: batches so far.
        per_epoch: batches of an epoch; the last one makes a step in any case.
        factors: batches per step from an epoch on.

    Example:
        >>> batches_by_schedule(12, 0, 10, {0: 1, 1: 4})  # 10 in the first epoch, then after 4 and 8 batches of 10
        18
    """
    batches, epoch, in_epoch = 0, *divmod(done, per_epoch)
    last = max(factors, default=0)
    while steps > 0:
        factor = factors[max((e for e in factors if e <= epoch), default=last)]
        of_epoch, so_far = math.ceil(per_epoch / factor), in_epoch // factor
        if steps <= of_epoch - so_far:
            return batches + min((so_far + steps) * factor, per_epoch) - in_epoch
        whole = 1 if epoch < last or in_epoch else (steps - 1) // of_epoch
        steps -= whole * of_epoch - so_far
        batches += whole * per_epoch - in_epoch
        epoch, in_epoch = epoch + whole, 0
    return batches


def _ends(done: int, batches: int, per_epoch: float, *, begins: bool) -> int:
    """The times between epochs in the batches to come, and that behind the last of them.

    Args:
        done: batches so far.
        batches: batches to come.
        per_epoch: batches of an epoch; infinite where it is not known.
        begins: whether an epoch has begun; else the time behind the last one is still to come where one has ended.
    """
    if not batches or per_epoch == math.inf:
        return min(batches, 1)
    epochs, rest = divmod(done, int(per_epoch))
    return math.ceil((done + batches) / per_epoch) - epochs + (epochs > 0 and not rest and not begins)


def _batches(trainer: Trainer) -> int:
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def _starts_workers(trainer: Trainer) -> bool:
    """True where a DataLoader of the training starts its workers anew in each epoch."""
    given = getattr(trainer, "train_dataloader", None)
    loaders = given.values() if isinstance(given, Mapping) else given if isinstance(given, (list, tuple)) else [given]
    return any(getattr(x, "num_workers", 0) and not getattr(x, "persistent_workers", False) for x in loaders)


def _validation_batches(trainer: Trainer) -> int:
    return sum(int(n) for n in trainer.num_val_batches if n < math.inf)


def _time_left(trainer: Trainer) -> float | None:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # same
    left = [c.time_remaining() for c in callbacks if is_timer(c)]
    return min((seconds for seconds in left if seconds is not None), default=None)


def _validations(trainer: Trainer, done: int, last: int, per_epoch: float) -> int | None:
    """Validations to come; ``None`` where their schedule is not one of batches, or not known."""
    if validation_every_s(trainer) is not None:
        return None
    every = getattr(trainer, "val_check_batch", None)
    every_batches = math.inf if every is None else float(every)
    return validations_between(
        done, last, per_epoch, every_batches=every_batches, every_epochs=trainer.check_val_every_n_epoch
    )
