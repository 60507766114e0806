"""EnergyMonitor: the same curves, accounts and report for a training loop written by hand."""

from __future__ import annotations

import copy
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lightning_energy.ledger.arguments import (
    check_idle,
    check_phase,
    check_record,
    check_stage,
    check_switches,
    named_arguments,
)
from lightning_energy.ledger.device_clock import clock_of
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.step_marks import NOWHERE, StepMarks
from lightning_energy.meters.find import Meters, check_meters, open_meters
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.meters.user_line import warn_at_user
from lightning_energy.results.rendering import show
from lightning_energy.training.ending import conclude
from lightning_energy.training.loop_run import LoopRun, metric_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from lightning_energy.curves.energy import Energy
    from lightning_energy.ledger.accounts import Kind
    from lightning_energy.results.figures import Outcome
    from lightning_energy.results.report import Report
    from lightning_energy.scores.metric import Mode, Scale

__all__ = ["EnergyMonitor"]

MOST_NAMES = 32  # of phases: each is a class of work, whose power is to be told
SETTINGS = ("meters", "idle_s", "allow_estimate", "print_report", "record", "helper", "_fabric", "_device")
OTHER_NAMES = {
    "accelerator": ("device",),
    "devices": ("device",),
    "meter": ("meters",),
    "dirpath": ("record",),
    "save_dir": ("record",),
    "log_dir": ("record",),
    "output_dir": ("record",),
    "verbose": ("print_report",),
}


def _meant_by(value: Any) -> str:
    """The argument that a value without a name was probably meant for."""
    if isinstance(value, (str, torch.device)):
        return "device"
    return "fabric" if hasattr(value, "strategy") else "meters"


class EnergyMonitor:
    """Measure a loop of your own: with Lightning Fabric, or with plain PyTorch.

    Every joule between its beginning and its end goes to an account: to the stage you are in, and there to a step or
    to the gap between steps. Outside your stages the stage is ``train``. With Fabric and several ranks, :meth:`energy`
    and the end of the ``with`` statement are collective: all ranks come there.

    Every ``with`` statement is a run, with a record that ``lightning-energy report`` and ``compare`` take. The training
    is all of it but the stages ``test`` and ``predict``: its energy is ``report.total``. A comparison wants a metric as
    well: see :meth:`log_metric`. A copy, or what was pickled, has the settings and has spent nothing.

    Args:
        fabric: your ``lightning.fabric.Fabric``, for its device and ranks; ``None`` without Fabric.
        device: the device of the training, if there is no Fabric; by default the current CUDA device, else the CPU.
        meters: the meters; see :class:`~lightning_energy.EnergyCallback`.
        idle_s: seconds to watch the idle devices at the beginning, for a second figure, the energy above idle.
        allow_estimate: whether ``"auto"`` may fall back to a model of the CPU.
        print_report: whether to print a short table at the end, on rank zero.
        record: whether to leave a record on disk, from rank zero; or the path of the file or its folder. By default
            in a new folder, ``energy_runs/<time>_<id>/energy.json`` in the working directory, as a loop has no log
            directory: no run overwrites another's record, or a file of yours. At a path that you give, other
            files stay as they are, and the record of another run gets a name of its own.
        helper: whether processes beside the loop do most of the work of our threads; see
            :class:`~lightning_energy.EnergyCallback`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has an impossible value.

    Example:
        >>> from lightning_energy import EnergyMonitor, ReplayMeter
        >>> with EnergyMonitor(meters=ReplayMeter(100.0), record=False, print_report=False) as monitor:
        ...     for epoch in range(2):
        ...         with monitor.stage("train", epoch):
        ...             for batch in range(10):
        ...                 with monitor.step(samples=32):
        ...                     _ = sum(range(10_000))
        ...         with monitor.stage("validate", epoch):
        ...             _ = sum(range(10_000))
        ...         monitor.log_metric("val_acc", 0.9)
        >>> sorted(monitor.report.stages), monitor.report.samples
        (['train', 'validate'], 640)
        >>> 90 < monitor.report.session.power_w < 110
        True
    """

    @named_arguments("EnergyMonitor", _meant_by, OTHER_NAMES)
    def __init__(
        self,
        *,
        fabric: Any = None,
        device: torch.device | str | None = None,
        meters: Meters = "auto",
        idle_s: float = 0.0,
        allow_estimate: bool = True,
        print_report: bool = True,
        record: bool | str | Path = True,
        helper: bool = True,
    ) -> None:
        check_meters(meters)
        if fabric is not None and device is not None:
            raise ValueError(f"device={device!r} and fabric=… are both given: omit device, as Fabric knows it")
        check_idle(idle_s)
        check_switches(allow_estimate=allow_estimate, print_report=print_report, helper=helper)
        check_record(record)
        self.meters = meters
        self.idle_s = float(idle_s)
        self.allow_estimate = allow_estimate
        self.print_report = print_report
        self.record = record
        self.helper = helper
        self._fabric = fabric
        self._device = None if device is None else _device(device)
        self._begin_life()

    def _begin_life(self) -> None:
        self._report: Report | None = None
        self._has_ended = False
        self._session: Session | None = None
        self._ranks = Ranks()
        self._step = _Step()
        self._loop: LoopRun | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone: a copy has no run, and has spent nothing."""
        return {name: self.__dict__[name] for name in SETTINGS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin_life()

    def __deepcopy__(self, memo: dict[int, Any]) -> EnergyMonitor:
        twin = copy.copy(self)
        twin.meters = copy.deepcopy(self.meters, memo)
        return twin  # of the same Fabric

    @property
    def report(self) -> Report | None:
        """The figures, after the ``with`` statement. Before it is ``None``, with a warning."""
        if self._report is None and not self._has_ended:
            self._warn("report is None until the `with EnergyMonitor() as monitor:` statement has ended: read it after")
        return self._report

    @property
    def record_path(self) -> Path | None:
        """The place of the record; ``None`` without one, before the ``with`` statement, and on ranks but zero."""
        return None if self._loop is None else self._loop.path

    def __enter__(self) -> Self:
        """Open the meters and start.

        Raises:
            MeterUnavailable: a meter that was asked for cannot be read, or none can and an estimate is refused.
            RuntimeError: it is running already, or PyTorch has no such device here.
        """
        if self._session is not None:
            raise RuntimeError("this EnergyMonitor is running already: make a second one, or use its stages")
        self._ranks = ranks = self._find_ranks()
        wanted = check_meters(self.meters)
        allow, helper = self.allow_estimate, self.helper
        found = ranks.claim(lambda: open_meters(wanted, device=ranks.device, allow_estimate=allow, helper=helper))
        clock, problem = clock_of(ranks.device)
        self._report, self._has_ended = None, False
        self._loop = LoopRun(self.record, ranks, self._fabric, self._warn)
        self._session = session = Session(found, clock, helper=helper)
        try:
            for text in (problem, session.announcement()):
                self._warn(text)
            if self.idle_s:
                session.watch_idle(self.idle_s)
            self._go_to(*NOWHERE)
        except BaseException:  # Ctrl-C, or warnings that are errors: nobody will call __exit__
            self._session = None
            session.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop measuring, and make the report; after an exception without the other ranks, which may not come."""
        session, loop = self._session, self._loop
        if session is None or loop is None:
            return
        if not session.is_ours:  # a forked child leaves the parent's monitor alone
            self._session = None
            self._step.leave()
            return
        try:
            if error is not None:
                self._leave_ranks()
            do = partial(self._conclude, session, loop)
            conclude(do, "completed" if error is None else "interrupted", self._leave_ranks)
        except Exception as defect:  # our defect must not end the user's program
            if raised_by_handler(defect):
                raise
            self._warn(f"no report, as {type(defect).__name__}: {defect}; please report this as a bug")
        finally:
            self._has_ended, self._session = True, None
            session.close()
            self._step.leave()

    def _leave_ranks(self) -> None:
        self._ranks = self._ranks.alone()

    def _conclude(self, session: Session, loop: LoopRun, outcome: Outcome) -> None:
        session.finish()
        for text in session.new_troubles():
            self._warn(text)
        self._report = loop.report(session, self._ranks, outcome)
        loop.write(self._report, session)
        if self.print_report and self._ranks.is_zero:
            self._warn(show(self._report, loop.place))

    @contextmanager
    def stage(self, name: str, epoch: int = -1) -> Iterator[None]:
        """Assign the energy spent within the ``with`` statement to this stage; afterwards the stage around it goes on.

        Args:
            name: such as ``"train"``, ``"validate"``, ``"test"``. Steps and samples are counted in ``train``;
                ``test`` and ``predict`` are no part of the training.
            epoch: the epoch; -1 for none.

        Raises:
            RuntimeError: the monitor is not running.
            TypeError: the name is no text, or the epoch no whole number.
        """
        loop, epoch = self._running()[1], check_stage(name, epoch)
        before = self._step.account
        self._go_to(epoch, name)
        loop.enter(name, epoch)
        try:
            yield
        finally:
            if self._session is not None:
                self._go_to(*before)

    def step(self, samples: int | None = None) -> _Step:
        """Return a context manager for one step; it takes two time stamps.

        Args:
            samples: the samples of this rank's batch, for the energy per sample: known if every step of the training
                says its own.

        Raises:
            RuntimeError: the monitor is not running.
            TypeError: ``samples`` is no whole number.
            ValueError: ``samples`` is negative.
        """
        _, loop = self._running()
        loop.count(self._step.account[1], samples)
        return self._step

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Assign the energy spent within the ``with`` statement to this phase of the stage, in a step or between two.

        What is in none is ``other`` in ``report.phases``, which says whether the run tells the energy of each. Phases
        may be in one another, and around steps: the innermost counts. Those of another thread than the first one's are
        not marked, as they say nothing of what the device does, nor are more than 32 names; warnings say so.

        Args:
            name: such as ``"forward"`` or ``"data"``: letters, digits, ``-`` and ``_``.

        Raises:
            RuntimeError: the monitor is not running.
            TypeError: the name is no text.
            ValueError: the name has other letters, or means something else here.
        """
        session, _ = self._running()
        before = self._step.begin_phase(session, name, self._warn)
        try:
            yield
        finally:
            if before is not None and self._session is not None:
                self._step.end_phase(session, before)

    def log_metric(self, name: str, value: Any, *, mode: Mode | None = None, scale: Scale | None = None) -> None:
        """Give the metric of quality that this run is compared by, for the last stage's epoch. The last value stands.

        Args:
            name: its name, equal in the runs that are to be compared.
            value: its value, a number or a tensor of one. One that is not finite or not of its scale is left out,
                with a warning, and the record says so: the value before it is not the last one.
            mode: its better direction, ``"max"`` (the default) or ``"min"``. A name that says an error, such as
                ``val_loss``, is one of which less is better, with a warning until you say so.
            scale: its unit: ``"fraction"`` (the default where more is better), ``"percent"``, or ``"raw"`` (the default
                where less is) for any other number.

        Raises:
            RuntimeError: the monitor is not running.
            TypeError: the name is no text, or the value no number.
            ValueError: direction or scale are unknown.
        """
        session, loop = self._running()
        metric, problem = metric_of(name, value, mode, scale)
        self._warn(problem)
        loop.log_metric(name, metric, self._step.account[0], session, self._ranks, why_not=problem)

    def energy(self, *, stage: str | None = None, epoch: int | None = None) -> Energy:
        """Return the energy so far, all ranks together. With several ranks all of them must call this. Nothing stops.

        Args:
            stage: only this stage.
            epoch: only this epoch.

        Raises:
            RuntimeError: the monitor is not running.
        """
        session, _ = self._running()
        for text in session.new_troubles():
            self._warn(text)
        (energy,), _ = self._ranks.sum([session.totals().energy(stage=stage, epoch=epoch)])
        return energy

    def _running(self) -> tuple[Session, LoopRun]:
        if self._session is None or self._loop is None:
            raise RuntimeError("EnergyMonitor is not running: use it within `with EnergyMonitor() as monitor:`")
        return self._session, self._loop

    def _go_to(self, epoch: int, stage: str) -> None:
        session, loop = self._running()
        session.synchronize()
        self._step.enter(session, epoch, stage)
        loop.write_if_due(session, self._ranks)

    def _find_ranks(self) -> Ranks:
        if self._fabric is not None:
            return Ranks.of_fabric(self._fabric)
        device = self._device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(
                f"device={str(device)!r}: PyTorch {torch.__version__} finds no GPU here. Run `lightning-energy "
                f"doctor`, install a PyTorch with CUDA, or omit device to measure a training on the CPU"
            )
        return Ranks(device=device)

    def _warn(self, text: str) -> None:
        if text and self._ranks.is_zero:
            warn_at_user(f"EnergyMonitor: {text}")


def _device(device: torch.device | str) -> torch.device:
    """The device of PyTorch.

    Raises:
        ValueError: PyTorch has none of this name.
    """
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        advice = "give a name that PyTorch knows, such as 'cuda', 'cuda:1' or 'cpu', or omit it"
        if str(device).lower().startswith(("gpu", "nvidia")):
            advice = "PyTorch calls an NVIDIA GPU 'cuda': write device='cuda', or 'cuda:1' for the second one"
        raise ValueError(f"device={device!r}: {advice}") from error


class _Step(StepMarks):
    """Marks the beginning and the end of a step; one object for all of them."""

    __slots__ = ("_around", "_names", "_session", "_thread", "kind", "phase")
    kind: Kind
    phase: str

    def __init__(self) -> None:
        self._session: Session | None = None
        self._around, self._names, self._thread = "", set[str](), 0
        super().__init__()

    def __enter__(self) -> None:
        self.kind, self._around, self.phase = "step", self.phase, ""
        self.begin()
        if self._around and self._session is not None:
            self._mark(self._session, self._around)

    def __exit__(self, *_: object) -> None:
        self.kind, self.phase = "gap", ""
        self.end()
        if self._around and self._session is not None:
            self._mark(self._session, self._around)
        self._around = ""

    def enter(self, session: Session, epoch: int, stage: str, *, apart: bool = False, rest: str = "") -> None:
        """Let time belong to this stage of this epoch from now on, between steps."""
        if session is not self._session:
            self._session, self._thread = session, 0
            self._names.clear()
        self.kind, self.phase, self._around = "gap", "", ""
        super().enter(session, epoch, stage, apart=apart, rest=rest)

    def leave(self) -> None:
        """Forget a session that is over: later steps leave no marks."""
        self.kind, self.phase, self._session = "gap", "", None
        super().leave()

    def begin_phase(
        self, session: Session, name: str, warn: Callable[[str], None]
    ) -> tuple[tuple[int, str], Kind, str] | None:
        """Begin a phase; returns what was in force before, and ``None`` for one that is not marked."""
        check_phase(name)
        thread = threading.get_ident()
        self._thread = self._thread or thread
        if thread != self._thread:
            warn("a phase in another thread than the first one's is not marked: call phase() where the training runs")
            return None
        if name not in self._names and len(self._names) >= MOST_NAMES:
            warn(f"phases have more than {MOST_NAMES} names: further ones are 'other'; name the kind of work")
            return None
        self._names.add(name)
        before = self.account, self.kind, self.phase
        self._mark(session, name)
        return before

    def end_phase(self, session: Session, before: tuple[tuple[int, str], Kind, str]) -> None:
        """End a phase, where the step or the gap that it began in goes on."""
        account, kind, phase = before
        if (account, kind) == (self.account, self.kind):
            self._mark(session, phase)

    def _mark(self, session: Session, phase: str) -> None:
        self.phase = phase
        session.mark(session.code(*self.account, self.kind, phase))
