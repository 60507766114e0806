"""NVIDIA GPUs, through the driver's NVML library.

Nothing here touches CUDA before the Trainer did, and nothing touches NVML before a meter is opened.
"""

from __future__ import annotations

import math
import os
import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from lightning_energy.meters.base import (
    Meter,
    MeterError,
    MeterInfo,
    MeterLost,
    MeterUnavailable,
    Reading,
    Source,
    Survey,
)
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.gains import NVIDIA_U
from lightning_energy.meters.nvml_agreement import Look
from lightning_energy.meters.nvml_boards import (
    driver_version,
    handle_of,
    list_gpus,
    mig_instances,
    uuid_of_torch_device,
)
from lightning_energy.meters.nvml_library import Answer, ask, library, why
from lightning_energy.meters.nvml_models import coverage_of
from lightning_energy.meters.nvml_sensors import Board
from lightning_energy.meters.nvml_watch import Findings, Watch
from lightning_energy.meters.patience import NoThreadError, Question

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from lightning_energy.meters.nvml_watch import Told

__all__ = ["NvmlMeter", "NvmlSource"]

POWER_LAG_S = 1.0  # the power of most boards is a mean over the last second, and nothing says how late it is
PLAUSIBLE = 1.15  # factor on the power limit, above which the counter leapt
UNLIKE = 3.0  # factor between two powers at one moment, beyond which the instantaneous one has to be confirmed
UNLIKE_W = 20.0  # the same as a difference in watts
WHOLE_BOARD = "an instance has no sensor, so this is the whole board, all its instances together"
QUERY_S = 0.1  # longest wait for the processes on a board; later the answer is heeded when it comes
NO_ANSWER = Answer(error="the query for processes does not answer")
MODULE = "the counter covers the whole module: GPU, CPU and memory together"
GPU_OF_MODULE = "the counter covers the GPU alone, not the CPU and the memory of its module"
UNDECIDED = (
    "it cannot be told yet whether the counter covers the whole module (GPU, CPU and memory) or the GPU alone; a CPU "
    "meter beside it may count the CPU twice"
)
ODD = {
    "counter": "its energy counter contradicts both of its power readings and is not used any more: power is read",
    "instant": "its instantaneous power contradicts its other readings and is not used any more",
    "average": "its average power contradicts its other readings and is not used any more",
}

_read: weakref.WeakSet[NvmlMeter] = weakref.WeakSet()  # the open ones, which share the time for looks
_covers_module: dict[str, bool] = {}  # by the board's UUID, once it is known: a second run need not wait for it


class NvmlMeter(Meter):
    """Reads one NVIDIA board.

    Its source is the energy counter where the board has one (Volta and newer), else the power sensor. A MIG instance
    has no sensor of its own: its whole board is read, and the scope says ``board``. The board's readings are compared
    with each other for some seconds after ``open``, and now and then later; one that the others contradict is not used.

    Args:
        uuid: ``GPU-…`` or ``MIG-…``, as ``nvidia-smi -L`` shows it.
        helper: true to have it read by a small process of its own while a training runs, on Linux: steps that keep
            Python busy then are hardly held up, and hold up no reading. Where no process can be started, or it ends,
            the training's process reads as usual.

    Raises:
        TypeError: ``helper`` is neither true nor false.
        ValueError: it is no UUID.

    Example:
        >>> NvmlMeter("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6").uuid
        'GPU-8932f937-d72c-4106-c12f-20bd9faed9f6'
    """

    def __init__(self, uuid: str, *, helper: bool = False) -> None:
        if not isinstance(uuid, str) or not uuid.startswith(("GPU-", "MIG-")):
            raise ValueError(f"uuid={uuid!r}: give a UUID as `nvidia-smi -L` shows it, GPU-… or MIG-…, not an index")
        if not isinstance(helper, bool):
            raise TypeError(f"helper={helper!r}: give True or False")
        self.uuid, self.helper = uuid, helper
        self._board: Board | None = None
        self._is_forked = False  # the board was found by the process that this one is a fork of
        self._has_counter = False
        self._has_instant = False
        self._is_confirmed = True  # the instantaneous power, where it was odd when the board was opened
        self._scope: int | None = None  # the part of a module whose power belongs to the counter
        self._opened: MeterInfo | None = None
        self._news: MeterInfo | None = None
        self._watch: Watch | None = None
        self._asked: Question[Answer] | None = None  # for other processes, until the answer is heeded
        self._others = Answer()
        self._is_looked_at = False  # its settings and temperature, with the first reading
        self._due_ns = 0  # from when on more is to be read than the counter

    def __reduce__(self) -> tuple[partial[NvmlMeter], tuple[str]]:
        """Make copies and pickles closed meters of the same board: its handle is worth nothing elsewhere."""
        return partial(NvmlMeter, helper=self.helper), (self.uuid,)

    def twin(self) -> NvmlMeter:
        """A closed meter of the same board."""
        return NvmlMeter(self.uuid, helper=self.helper)

    def open(self) -> MeterInfo:
        """Find the board and its sensors. A call that fails is made again; what cannot be read is said in the note.

        Raises:
            MeterUnavailable: no NVML, no such board, or a board that reports neither energy nor power.
        """
        nvml = library()
        handle = handle_of(nvml, self.uuid)
        uuid = ask(nvml, nvml.nvmlDeviceGetUUID, handle.value) if handle.is_known else handle
        if not handle.is_known or (not uuid.is_known and self.uuid.startswith("MIG-")):
            raise MeterUnavailable(f"GPU {self.uuid}: {uuid.error}.")
        board, device_id = Board(nvml, handle.value), uuid.value or self.uuid
        name = board.ask(nvml.nvmlDeviceGetName).value or "NVIDIA GPU"
        notes = self._find_sensors(board, f"GPU {name} ({device_id})")
        limit_w = board.limit_w()
        notes += _unknown("its power limit is", limit_w)
        info = MeterInfo(
            device_id=device_id,
            name=name,
            quality="measured" if self._has_counter else "integrated",
            scope="gpu",
            power_max_w=limit_w.value,
            calibration_u=NVIDIA_U,
            instant_power=self._has_instant,
            power_lag_s=POWER_LAG_S,
            coverage=coverage_of(name),
        )
        info = self._with_sharing(board, info, notes)
        in_module = board.is_in_module()
        notes += _unknown("whether it is part of a module is", in_module)
        module = _covers_module.get(device_id) if in_module.value else False
        seeks_scope = bool(in_module.value) and self._has_counter and module is None
        self._scope = nvml.NVML_POWER_SCOPE_GPU if in_module.value else None
        most_w = PLAUSIBLE * (info.power_max_w or math.inf)
        findings = Findings(module=module if in_module.value else None)
        self._watch = Watch(monotonic_ns(), self._has_counter, seeks_scope, most_w, findings)
        _read.add(self)
        self._board, self._is_forked, self._news, self._is_looked_at = board, False, None, False
        self._due_ns = 0
        self._others = Answer() if self.uuid.startswith("MIG-") else self._ask_for_others(board)
        self._opened = replace(info, note="; ".join(notes), scope_known=not seeks_scope)
        return self._described(self._opened, findings)

    def read(self) -> Reading:
        """Read the counter, or the power where there is none.

        Raises:
            MeterLost: the board does not answer.
        """
        board, watch = self._board or self._open_board(), self._watch
        try:
            reading = board.counter.take(monotonic_ns) if self._has_counter else self._powered(board)
        except board.nvml.NVMLError as error:
            raise MeterLost(f"GPU {self.uuid}: {why(board.nvml, error)}") from error
        if watch is not None:
            if reading.end_ns >= watch.since_ns:
                self._compare(board, watch, reading)
            self._due_ns = watch.due_ns
        if not self._is_looked_at:
            self._look_at(board)
        return reading

    def is_unchanged(self) -> bool:
        """Read the counter, and return true if it has not moved, and the board needs no other look now."""
        board = self._board
        return board is not None and self._has_counter and board.counter.has_stood(monotonic_ns, self._due_ns)

    def _powered(self, board: Board) -> Reading:
        """A reading of the power."""
        start_ns = monotonic_ns()
        power = self._power(board)
        reading = Reading(start_ns, monotonic_ns(), power_w=power.value)
        if not power.is_known:
            raise MeterLost(f"GPU {self.uuid}: {power.error}")
        return reading

    def read_power_w(self) -> float | None:
        """The instantaneous power in watts where the driver reports it, else ``power.draw``; ``None`` if neither.

        ``None`` as well while it is not known whether the counter covers more than the GPU, or whether the
        instantaneous power can be trusted.
        """
        board, watch = self._board or self._open_board(), self._watch
        if watch is not None and watch.seeks_scope and watch.findings.module is None:
            return None
        if self._has_counter and not self._is_confirmed:
            return None
        power_w: float | None = self._power(board).value
        return power_w

    def revised(self) -> MeterInfo | None:
        """The new description, once, after a comparison of the readings or a late answer has shown something."""
        others = None if self._asked is None else self._take_answer()
        if others is not None and self._opened is not None and self._watch is not None:
            self._others = others
            self._news = self._described(self._opened, self._watch.findings)
        news, self._news = self._news, None
        return news

    @property
    def findings(self) -> Told:
        """Everything that comparisons of the board's readings have shown so far, as plain values."""
        return (Findings() if self._watch is None else self._watch.findings).told

    def heed(self, told: Told) -> None:
        """Heed what comparisons have shown, if another process made them; they begin anew in this one."""
        board, watch = self._board, self._watch
        if board is not None and self._opened is not None and watch is not None:
            found, now_ns = watch.findings.joined(Findings.of(told)), monotonic_ns()
            self._watch = Watch(now_ns, watch.has_counter, watch.seeks_scope, watch.most_w, found)
            self._due_ns = now_ns
            self._heed(board, self._opened, found)

    def close(self) -> None:
        """Forget the board. NVML stays initialised: a second initialisation is slow, and hangs on some drivers."""
        self._board = self._watch = None
        _read.discard(self)

    def other_processes(self) -> list[int] | None:
        """Other processes that compute on the board; ``None`` when they are unknown. Slow: not in a loop."""
        if self._asked is not None and not self._asked.wait(0.0):  # that one hangs: a second one would, too
            return None
        found: list[int] | None = self._open_board().others().value
        return found

    def _open_board(self) -> Board:
        if self._is_forked:
            raise MeterLost(f"GPU {self.uuid}: NVML does not survive a fork; open the meter in this process")
        if self._board is None:
            raise MeterError(f"GPU {self.uuid} was read before it was opened: call open() first")
        return self._board

    def _forget(self) -> None:
        """Forget the board in a forked child."""
        self._board, self._is_forked = None, True

    def _find_sensors(self, board: Board, text: str) -> list[str]:
        """Find out what the board reports, and return sentences about what it does not."""
        counter, instant = board.ask(board.nvml.nvmlDeviceGetTotalEnergyConsumption), board.instant_w()
        average = board.average_w()
        self._has_counter, self._has_instant = counter.is_known, instant.is_known
        if not (counter.is_known or instant.is_known or average.is_known):
            if counter.is_lacking and average.is_lacking:
                raise MeterUnavailable(f"{text}: it reports neither energy nor power (Jetson, some vGPUs).")
            raise MeterUnavailable(
                f"{text}: neither its energy ({counter.error}) nor its power ({average.error}) can be read."
            )
        self._is_confirmed = not _unlike(instant.value, average.value)
        notes = _unknown("its instantaneous power is", instant)
        if not counter.is_known:
            problem = "it has no energy counter" if counter.is_lacking else "its energy counter cannot be read"
            notes.append(f"{problem} ({counter.error}): its power is read and integrated")
        return notes

    def _with_sharing(self, board: Board, info: MeterInfo, notes: list[str]) -> MeterInfo:
        """Add the scope of a board that is shared, and notes about that."""
        if self.uuid.startswith("MIG-"):
            notes.append(WHOLE_BOARD)
            return replace(info, scope="board")
        split = mig_instances(board.nvml, board.handle)
        notes += _unknown("its MIG instances are", split)
        if split.value:
            notes.append(f"split into {len(split.value)} MIG instance(s): {WHOLE_BOARD}")
        return replace(info, scope="board") if split.value else info

    def _ask_for_others(self, board: Board) -> Answer:
        """Ask for other processes, which some drivers answer late or never, and wait for a moment."""
        try:
            self._asked = Question(board.others)
        except NoThreadError as error:
            return Answer(error=str(error))
        self._asked.wait(QUERY_S)
        return self._take_answer() or NO_ANSWER

    def _take_answer(self) -> Answer | None:
        """The answer to the question for other processes, once; ``None`` while there is none."""
        asked = self._asked
        if asked is None or not asked.wait(0.0):
            return None
        self._asked = None
        try:
            return asked.answer()
        except Exception as error:  # noqa: BLE001 - a driver's surprise; the board is measured all the same
            return Answer(error=f"{type(error).__name__}: {error}")

    def _power(self, board: Board) -> Answer:
        """The power by the sensor that can be trusted, in watts."""
        if self._has_instant and self._is_confirmed:
            instant = board.instant_w(self._scope, tries=1)
            if instant.is_known or self._scope is not None:
                return instant
        return board.average_w(tries=1)

    def _look_at(self, board: Board) -> None:
        """Find the settings and the temperature of the board, once, in the thread that reads."""
        self._is_looked_at = True
        condition = board.condition()
        if condition is not None and self._opened is not None and self._watch is not None:
            self._opened = replace(self._opened, condition=condition)
            self._news = self._described(self._opened, self._watch.findings)

    def _compare(self, board: Board, watch: Watch, reading: Reading) -> None:
        """Look at the board's powers beside its counter, where it is time, and heed what that shows."""
        if reading.register_j is not None:
            watch.count(reading.end_ns, reading.register_j)
        if self._opened is None or reading.end_ns < watch.due_ns:
            return
        instant = board.instant_w(self._scope, tries=1) if self._has_instant else Answer()
        average = board.average_w(tries=1) if self._scope is None else Answer()
        module = board.module_w(tries=1) if watch.seeks_scope else Answer()
        now_ns = monotonic_ns()
        look = Look(now_ns, instant.value, average.value, module.value)
        if not watch.look(look, (now_ns - reading.end_ns) * max(len(_read), 1)):
            return
        self._heed(board, self._opened, watch.findings)

    def _heed(self, board: Board, opened: MeterInfo, found: Findings) -> None:
        if found.module is not None:
            _covers_module[opened.device_id] = found.module
            self._scope = board.nvml.NVML_POWER_SCOPE_MODULE if found.module else board.nvml.NVML_POWER_SCOPE_GPU
        self._has_counter &= "counter" not in found.odd
        self._has_instant &= "instant" not in found.odd
        self._is_confirmed |= found.is_judged
        self._news = self._described(opened, found)

    def _described(self, opened: MeterInfo, found: Findings) -> MeterInfo:
        """Describe the board as it is known by now."""
        others = _shared_with(self._others)
        notes = [opened.note, *others, *(ODD[name] for name in sorted(found.odd)), found.disagreement]
        scope = "board" if self._others.value else opened.scope
        is_known = opened.scope_known or found.module is not None
        if not is_known or found.module:
            notes.append(MODULE if found.module else UNDECIDED)
            scope = "module" if scope == "gpu" or found.module else scope
        elif found.module is False:
            notes.append(GPU_OF_MODULE)
        return replace(
            opened,
            quality="integrated" if "counter" in found.odd else opened.quality,
            scope=scope,
            per_node=scope == "module",
            scope_known=is_known,
            instant_power=opened.instant_power and "instant" not in found.odd,
            note="; ".join(text for text in notes if text),
        )


def _unknown(what: str, answer: Answer) -> list[str]:
    """Return a sentence where an answer is not known that should be."""
    return [f"{what} not known ({answer.fault})"] if answer.fault else []


def _shared_with(others: Answer) -> list[str]:
    """Return a sentence about other processes on a board, where there are some, or nobody knows."""
    if others.value:
        return [f"shared: {len(others.value)} other process(es) compute on this board"]
    return _unknown("other programs on it are", others)


def _unlike(instant_w: float | None, average_w: float | None) -> bool:
    """Return true if two powers differ so much that one of them may be wrong, or the load has just changed."""
    if instant_w is None or average_w is None:
        return False
    low_w, high_w = sorted((instant_w, average_w))
    return high_w > UNLIKE * low_w and high_w - low_w > UNLIKE_W


def _forget_boards() -> None:
    """Make the open meters known as lost in a forked child: a look at each reading whether it is one costs more."""
    for meter in [*_read]:
        meter._forget()  # noqa: SLF001 - of this module
    _read.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is forked
    os.register_at_fork(after_in_child=_forget_boards)


class NvmlSource(Source):
    """NVIDIA's boards."""

    name = "nvml"
    accelerator = "cuda"

    def of(self, device: torch.device) -> Sequence[Meter]:
        """The board that ``device`` is, or is part of.

        Raises:
            MeterUnavailable: it is no CUDA device, or its board cannot be determined.
        """
        if device.type != self.accelerator:
            raise MeterUnavailable(f"the training runs on {device}: train on a GPU, or use meters='auto'")
        return [NvmlMeter(uuid_of_torch_device(device))]

    def survey(self) -> Survey:
        """All boards, whatever ``CUDA_VISIBLE_DEVICES`` says."""
        try:
            version, gpus = driver_version(), list_gpus()
        except MeterUnavailable as error:
            return Survey(absent=[str(error)])
        absent = [
            f"{gpu.name} does not answer (fallen off the bus?); `nvidia-smi` or a reboot may help."
            for gpu in gpus
            if not gpu.uuid
        ]
        if not gpus:
            absent.append(f"GPU: the NVIDIA driver {version} is here, but shows no board.")
        meters = [NvmlMeter(gpu.uuid) for gpu in gpus if gpu.uuid]
        return Survey(meters, absent, f"NVIDIA driver {version}")
