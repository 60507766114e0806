"""An EnergyCallback as an object among others: its copies, its twin in a Trainer, its results, its wrong uses."""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Mapping
from inspect import isfunction
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, SupportsIndex, TypeVar, get_args

from lightning.pytorch import Callback

from lightning_energy.meters.base import MeterUnavailable
from lightning_energy.meters.find import MeterName
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.training.added_on_ranks import is_on_all_ranks
from lightning_energy.training.ending import LEFT_OUT
from lightning_energy.training.error_guard import WarnOnce, guarded, warn_here
from lightning_energy.training.lightning_private import called_in
from lightning_energy.training.one_trainer import HOOKS, MIXED, REFUSED, Others, is_at_work
from lightning_energy.training.run_memory import RunMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning.pytorch import Trainer

    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.report import Report
    from lightning_energy.training.scored import Scored
    from lightning_energy.training.stages import BatchHooks
    from lightning_energy.training.trainer_run import TrainerRun

__all__ = ["OF_LIGHTNING", "OTHER_NAMES", "CallbackBase", "meant_by", "of_an_object"]

P = ParamSpec("P")
S = TypeVar("S", bound="CallbackBase")

OF_LIGHTNING = {"log", "log_dict"}  # methods of the module that a Trainer sets on its callbacks: they keep both alive
CARRY_FUNCTIONS = ("copy", "cloudpickle", "dill")  # modules that copy any function, by a part of their names
OWNER, DIRECT = "lightning_energy.callback", "lightning_energy.ledger.step_marks"  # modules whose hooks are our own
OF_STEPS = ("on_train_batch_start", "on_train_batch_end")

ON_SOME = (
    "LIGHTNING_ENERGY=1 is set on some ranks only: energy is not measured. Set it, and install lightning-energy, on "
    "all nodes, or unset it"
)
OTHER_NAMES = {
    "monitor": ("metric", "accuracy"),
    "target": ("metric", "accuracy"),
    "metric_name": ("metric", "accuracy"),
    "meter": ("meters",),
    "device": "omit it, as the Trainer chooses the device; what is measured there: meters='nvml', 'rapl', …",
    "devices": "omit it, as the Trainer chooses the devices; what is measured there: meters='nvml', 'rapl', …",
    "dirpath": ("record",),
    "save_dir": ("record",),
    "log_dir": ("record",),
    "output_dir": ("record",),
    "country": ("carbon_intensity",),
    "country_iso_code": ("carbon_intensity",),
    "verbose": ("print_report",),
}
"""The names that Lightning's callbacks and other tools have for the callback's arguments, or a word on what to do."""


def meant_by(value: Any) -> str:
    """The argument of the callback that a value without a name was probably meant for."""
    if isinstance(value, str):
        return "meters" if value in get_args(MeterName) else "accuracy"
    return "reference_kwh" if isinstance(value, (int, float)) else "score" if callable(value) else "meters"


def _no_mark() -> None:
    """Take no mark: nothing is measured."""


def _no_end(_batch: Any, _batch_idx: int) -> bool:
    """Take no mark, with nothing more to do."""
    return False


def _no_hook(*args: Any, **kwargs: Any) -> None:
    """Do nothing, with whatever a Fabric's program gives."""


# attributes of a run (threads, handles, closures) while there is none; in the instance alone, since a default in the
# class costs 0.4 us more per hook where memory is cold
IDLE: dict[str, Any] = {
    "_run": None,
    "_begin_batch": _no_mark,
    "_end_batch": _no_end,
}
OWN = {"_memory", "_last_report", "evaluations", "_is_aside", "_others", *IDLE}  # of one object: a copy has its own


def _is_direct(hook: Any) -> bool:
    return getattr(hook, "__module__", None) == DIRECT


class _StateKey:
    """The key of the callback's state in checkpoints: the name of its class.

    A Trainer that compares the keys of its callbacks finds different ones, so that two of them get to ``setup``, where
    one from an entry point stands aside, and two of the user's are told what to do. From ``setup`` on, the name is an
    attribute of the object, which is the fastest: Lightning asks for it at every hook.
    """

    def __get__(self, callback: CallbackBase | None, owner: type[CallbackBase]) -> Any:
        if callback is None:
            return self
        name = owner.__qualname__
        return f"{name} {id(callback)}" if called_in("_validate_callbacks_list") else name


def of_an_object(hook: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Decorate a hook that is called once per run: it says so where it is not an object's, or not of a Trainer's run.

    ``callbacks=[EnergyCallback]`` calls the functions of the class with a Trainer in the place of ``self``.
    """

    @functools.wraps(hook)
    def called(self: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(self, CallbackBase):
            if hook.__name__ == "setup":
                _refuse_class(self)
            return
        trainer = args[0] if args else kwargs.get("trainer")
        if not hasattr(trainer, "callbacks"):
            self._measure_nothing()
            return
        try:
            hook(self, *args, **kwargs)  # type: ignore[arg-type]  # an S, as far as Python knows
        except Exception as error:
            if not self._goes_without(trainer, error):
                raise

    return called  # type: ignore[return-value]  # wraps() forgets that the first argument has no name


def _check_pickles(argument: str, fn: Any) -> None:
    try:
        pickle.dumps(fn)
    except Exception as error:
        raise pickle.PicklingError(
            f"an EnergyCallback with {argument}={fn.__qualname__} cannot be pickled: give a function that is defined "
            f"with def at the top of a module"
        ) from error


def _refuse_class(trainer: Any) -> None:
    """Say that a class is no callback.

    Raises:
        TypeError: always.
    """
    names = ["EnergyCallback"]
    for cls in getattr(trainer, "callbacks", ()):
        if isinstance(cls, type) and issubclass(cls, CallbackBase):
            names[0] = cls.__name__
            for name in OF_LIGHTNING & {*vars(cls)}:  # the Trainer took the class for an object
                delattr(cls, name)
    raise TypeError(f"callbacks=[{names[0]}] holds the class, not a callback: write callbacks=[{names[0]}()]")


class CallbackBase(Callback):
    """The part of :class:`~lightning_energy.EnergyCallback` that is about the object, not about a run.

    Attributes:
        evaluations: a report for each validation, test and prediction outside of ``fit`` since this run began.
        is_external: true for one that an entry point of Lightning made: it stands aside where the user has one.
    """

    evaluations: list[Report]
    state_key = _StateKey()  # a property of Lightning's, which would be slower
    _memory: RunMemory
    _last_report: Report | None
    _run: TrainerRun | None
    _begin_batch: Callable[[], None]
    _end_batch: Callable[[Any, int], bool]

    def __init__(self) -> None:
        super().__init__()
        self.is_external = called_in("_load_external_callbacks")
        self._warn = WarnOnce(may_raise=not self.is_external)
        self._begin_life()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Copy or pickle it; a function that a pickle cannot hold is told by its argument.

        Raises:
            pickle.PicklingError: a function among the settings is a lambda, or was made inside another function.
        """
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - Python has no other way to know it
        if not any(word in caller for word in CARRY_FUNCTIONS):
            for argument, fn in self._functions():
                _check_pickles(argument, fn)
        return super().__reduce_ex__(protocol)

    def _functions(self) -> Iterator[tuple[str, Any]]:
        """The functions among the settings, by the arguments that they were given as."""
        for name, value in vars(self).items():
            if isinstance(value, Mapping):
                yield from ((f"{name}[{key!r}]", fn) for key, fn in value.items() if isfunction(fn))
            elif isfunction(value) and not name.startswith("_") and name not in HOOKS:
                yield name, value

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone: a copy has no run, and has spent nothing."""
        drop = {*OF_LIGHTNING, *OWN, *HOOKS}  # a hook in the object itself is one of ours, for a while
        return {name: value for name, value in self.__dict__.items() if name not in drop}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin_life()

    def _begin_life(self) -> None:
        self.evaluations = []
        self._last_report = None
        self._memory = RunMemory()
        self._is_aside = False
        self._others = Others(HOOKS)
        self._forget_run()

    def _forget_run(self) -> None:
        self._forget_direct_hooks()
        for name, value in IDLE.items():
            setattr(self, name, value)

    @property
    def report(self) -> Report | None:
        """The figures of the last ``fit``; of the last validation, test or prediction while there was none.

        Evaluations after a ``fit`` are in :attr:`evaluations`. Before a run has ended it is ``None``, with one warning
        that says where figures are: an error would end programs that ask whether there is a report.
        """
        self._end_left_out()
        if self._last_report is None:
            self._warn(
                "report",
                "EnergyCallback.report is None until a run of this object has ended: read it after trainer.fit(…). "
                "Where a library trains a copy of the callback, or in processes of its own, it stays None: read the "
                "record, lightning_energy.load_record(folder of the run).report",
            )
        return self._last_report

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row per training epoch, as logged: its energies, the total, the metric and the score."""
        return [row.to_plain() for row in self._memory.history]

    @property
    def last_validation(self) -> Scored | None:
        """The metric of the validation that has just ended, with the energy until then; ``None`` where it has none."""
        return None if self._run is None else self._run.validations.now

    def _goes_without(self, trainer: Any, error: Exception) -> bool:
        """Let a training that has not asked for us go on without us, if no other rank waits for us then."""
        is_alone = trainer.world_size == 1 or isinstance(error, MeterUnavailable)  # all ranks have the latter
        if not self.is_external or not is_alone or raised_by_handler(error):
            return False
        self._is_aside = True
        self._drop()
        self._warn("without", f"EnergyCallback gives up on this run: {type(error).__name__}: {error}")
        return True

    def _drop(self) -> None:
        """Drop the run, and close everything it owns."""
        raise NotImplementedError

    def _keep(self, report: Report, *, is_fit: bool) -> None:
        """Keep the report of a run that has ended."""
        if not is_fit:
            self.evaluations.append(report)
        if is_fit or self._last_report is None or self._last_report.total is None:
            self._last_report = report

    def _end_left_out(self) -> None:
        """End a run of a Trainer that an exception ended while this callback was not one of its own. In any thread."""
        run = self._run
        if run is None or not run.books.is_ours or not run.ending.is_left_out:
            return
        with run.ending.lock:
            if self._run is not run:  # another thread has ended it
                return
            run.books.leave_ranks()
            self._end("interrupted")
        self._warn("left out", LEFT_OUT)

    def _end(self, outcome: Outcome) -> None:
        """End the run."""
        raise NotImplementedError

    def _give_up(self, where: str, error: Exception) -> None:
        """Stop measuring after a defect of ours."""
        raise NotImplementedError

    def _follow(self, hooks: BatchHooks) -> None:
        """Let the hooks of batches do this from now on; those of training steps themselves, where nobody has others."""
        self._begin_batch, self._end_batch = hooks.begin, hooks.end
        if hooks.direct_of is None or self._run is None:
            self._forget_direct_hooks()
            return
        for name, hook in zip(OF_STEPS, hooks.direct_of(guarded(self._run.steps.attend, self)), strict=True):
            there = self.__dict__.get(name)
            if getattr(type(self), name).__module__ == OWNER and (there is None or _is_direct(there)):
                self.__dict__[name] = hook

    def _forget_direct_hooks(self) -> None:
        for name in OF_STEPS:
            if _is_direct(self.__dict__.get(name)):
                del self.__dict__[name]

    def _refuses(self, trainer: Trainer) -> bool:
        """Refuse a Trainer, aloud, while another one is measured: it is booked to that one."""
        run = self._run
        first = None if run is None else run.ending.trainer
        if run is None or first in {None, trainer} or not run.books.is_ours or not is_at_work(first):
            self._others.accept(self, trainer)
            return False
        self._others.refuse(self, trainer)
        self._warn("refused", REFUSED)
        run.books.remark(MIXED)
        return True

    def refuse_state(self) -> None:
        """Take no state from the checkpoint that is loaded: it is of a run that is not measured."""
        self._memory.refuse()

    def _enter_trainer(self, trainer: Trainer, *, is_fit: bool) -> bool:
        """Begin a run of this Trainer; false where another EnergyCallback measures it.

        Raises:
            RuntimeError: the user gave the Trainer two.
        """
        self.__dict__["state_key"] = type(self).__qualname__
        for name in [name for name, value in self.__dict__.items() if value is _no_hook]:
            delattr(self, name)
        self._is_aside = self._stands_aside(trainer) or self._is_lacking_elsewhere(trainer)
        self._memory.refuse()
        from_start = trainer.global_step == 0 and trainer.current_epoch == 0
        if is_fit and self._memory.begin_fit(from_start=from_start):
            self.evaluations.clear()
            self._warn.begin_anew()
        return not self._is_aside

    def _stands_aside(self, trainer: Trainer) -> bool:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        ours = [c for c in callbacks if isinstance(c, CallbackBase)]
        users = [c for c in ours if not c.is_external]
        if len(users) > 1:
            raise RuntimeError(
                f"this Trainer has {len(users)} EnergyCallbacks, and each would measure and log the same: keep one, in "
                f"Trainer(callbacks=…), configure_callbacks() or the configuration file"
            )
        return self.is_external and (users or ours)[0] is not self

    def _is_lacking_elsewhere(self, trainer: Trainer) -> bool:
        """Return true, aloud, where the environment adds an EnergyCallback on some ranks alone."""
        if not self.is_external or is_on_all_ranks(trainer):
            return False
        warn_here(self._warn, ON_SOME)  # on each rank that has one
        return True

    def on_after_setup(self, **_: Any) -> None:
        """Say that a Fabric's program is not measured: of its hooks, this one is called by Fabric itself."""
        self._measure_nothing()

    def _measure_nothing(self) -> None:
        self._warn(
            "fabric",
            "EnergyCallback measures nothing in Fabric, which has no Trainer: remove it from Fabric(callbacks=…), and "
            "write `with EnergyMonitor(fabric=fabric) as monitor:` around the loop",
        )
        for name in HOOKS:
            self.__dict__[name] = _no_hook
