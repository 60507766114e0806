"""What a step does, counted and not timed: a meter read or a log call in a hook shows here, on any machine."""

from __future__ import annotations

import gc
import math
import pickle
import statistics
import sys
import threading
import time
import tracemalloc
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from lightning_energy import EnergyCallback
from lightning_energy.curves.curve import Curve
from lightning_energy.ledger import elsewhere
from lightning_energy.ledger.batch_source import Source
from lightning_energy.ledger.counts import Counts
from lightning_energy.ledger.device_clock import DeviceClock
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.step_marks import BatchMarks
from lightning_energy.ledger.steps import Steps
from lightning_energy.meters import NvmlMeter, ReplayMeter, open_meters
from lightning_energy.training import log_keys, step_log
from lightning_energy.training.error_guard import guarded
from lightning_energy.training.forecaster import Forecaster
from lightning_energy.training.foresight import Foresight
from lightning_energy.training.spent_joules import Spending, SpentJoules
from tests.curves.test_sampler import wait_for
from tests.ledger.plays import INFO, START, Clock, S, steady
from tests.modules import Classifier, MemoryLogger, Numbers, energy_callback, loader, make_trainer
from tests.sim.device import SimulatedEvents
from tests.sim.nvml import SimulatedGpu, SimulatedNvml
from tests.training.parts import Parts, replay, session_of
from tests.training.test_forecaster import Device, W, lightning_like

UUID = "GPU-dddddddd-0000-0000-0000-000000000000"
EVERY = 10  # log_every_n_steps
STEPS = 40  # per epoch
BLOCKS_PER_HOOK = 2  # a mark is its time stamp, and now and then the inbox grows
HOOKS = ("on_train_batch_start", "on_train_batch_end", "on_validation_batch_start", "on_validation_batch_end")


class Counting(MemoryLogger):
    """Counts who calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def log_metrics(self, metrics, step=None) -> None:
        self.calls += 1
        super().log_metrics(metrics, step)


class Guard:
    """Wraps the batch hooks of a callback, and counts what happens inside them, by hook and by whether it logs."""

    def __init__(self, callback, module, *, nvml=None, logger=None, events=None) -> None:
        self.counts: Counter[tuple[str, bool, str]] = Counter()
        self.hooks: Counter[tuple[str, bool]] = Counter()
        self._counters = {
            "NVML calls": lambda: nvml.calls_by_thread[threading.get_ident()] if nvml else 0,
            "logger calls": lambda: logger.calls if logger else 0,
            "module.log calls": lambda: self._logs,
            "synchronizations": lambda: events.syncs if events else 0,
        }
        self.blocks: dict[str, list[int]] = {name: [] for name in HOOKS}  # left allocated at steps that are not logged
        self._logs = 0
        self._watch_log(module)
        for name in HOOKS:
            setattr(callback, name, self._wrapped(name, getattr(callback, name)))

    def _watch_log(self, module) -> None:
        for name in ("log", "log_dict"):
            old = getattr(module, name)

            def counted(*args, old=old, **kwargs):
                self._logs += 1
                return old(*args, **kwargs)

            object.__setattr__(module, name, counted)

    def _wrapped(self, name, hook):
        def call(trainer, *args, **kwargs):
            before = {what: count() for what, count in self._counters.items()}
            blocks = sys.getallocatedblocks()
            result = hook(trainer, *args, **kwargs)
            blocks = sys.getallocatedblocks() - blocks
            step = trainer.fit_loop.epoch_loop._batches_that_stepped
            logs = name == "on_train_batch_end" and (step + 1) % EVERY == 0
            self.hooks[name, logs] += 1
            if not logs:
                self.blocks[name].append(blocks)
            for what, count in self._counters.items():
                self.counts[name, logs, what] += count() - before[what]
            return result

        return call

    def total(self, what: str, *, logs: bool) -> int:
        return sum(n for (_, logged, counted), n in self.counts.items() if counted == what and logged == logs)


def fit(tmp_path, energy, module=None, logger=None, epochs=2, **kwargs) -> None:
    trainer = make_trainer(
        tmp_path, max_epochs=epochs, callbacks=[energy], logger=logger or False, log_every_n_steps=EVERY, **kwargs
    )
    trainer.fit(module or Classifier(), loader(4 * STEPS), loader(8))


def guarded_run(tmp_path, breaks=lambda energy: None):
    """A training over the simulated driver, and what was counted in its hooks."""
    gpu = SimulatedGpu(200.0, uuid=UUID, counter_period_s=0.02)
    logger, module = Counting(), Classifier()
    with SimulatedNvml([gpu]) as nvml:
        energy = energy_callback(meters=NvmlMeter(UUID))
        breaks(energy)
        guard = Guard(energy, module, nvml=nvml, logger=logger)
        fit(tmp_path, energy, module, logger)
    assert guard.hooks["on_train_batch_end", False] == 2 * (STEPS - STEPS // EVERY)
    assert guard.hooks["on_train_batch_end", True] == 2 * STEPS // EVERY
    assert energy.report.session.quality == "measured"
    return guard, logger


def problems(guard) -> list[str]:
    """What no hook of a batch may do, whether it is a logging step or not."""
    never = [what for what in ("NVML calls", "module.log calls") if guard.total(what, logs=False)]
    never += [f"{what} at logging steps" for what in ("NVML calls", "module.log calls") if guard.total(what, logs=True)]
    never += ["logger calls"] if guard.total("logger calls", logs=False) else []
    # the median, as the sampler's thread may come in between
    worst = max(statistics.median(blocks) for blocks in guard.blocks.values())
    return never + (["allocations"] if worst > BLOCKS_PER_HOOK else [])


def test_a_step_reads_no_meter_and_logs_nothing(tmp_path):
    guard, logger = guarded_run(tmp_path)
    assert problems(guard) == []
    assert guard.total("logger calls", logs=True) <= 2 * STEPS // EVERY  # one, for all values together
    assert logger.points("energy/total_wh")


def reads(energy):
    energy._run.books.session.channels[0].meter.read()


def logs(energy):
    energy.log("loss", 0.0)


def logs_to_loggers(energy):
    for logger in energy.trainer.loggers:
        logger.log_metrics({"x": 1.0}, step=0)


def keeps(energy):
    energy.__dict__.setdefault("kept", []).append({str(i): [float(i)] for i in range(1000, 1010)})


BREAKS = [
    (reads, "NVML calls"),
    (logs, "module.log calls"),
    (logs_to_loggers, "logger calls"),
    (keeps, "allocations"),
]


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_train_batch_end"])
@pytest.mark.parametrize(("what", "found"), BREAKS, ids=[found for _, found in BREAKS])
def test_the_guard_sees_who_breaks_it(tmp_path, hook, what, found):
    def breaks(energy):
        old = getattr(energy, hook)

        def broken(trainer, pl_module, *args):
            energy.trainer, energy.log = trainer, pl_module.log
            what(energy)
            return old(trainer, pl_module, *args)

        setattr(energy, hook, broken)

    guard, _ = guarded_run(tmp_path, breaks)
    assert found in problems(guard)


class Syncs(Callback):
    """How often the device was waited for, batch by batch."""

    def __init__(self, events) -> None:
        self.events, self.within, self.across = events, [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx == 0:
            self.first = self.events.syncs

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if batch_idx == STEPS - 1:
            self.within.append(self.events.syncs - self.first)

    def on_train_end(self, trainer, pl_module) -> None:
        self.across.append(self.events.syncs)


class RealClock:
    """The host's own clock where a virtual one is expected: nobody can move it."""

    def __call__(self) -> int:
        return time.monotonic_ns()

    @property
    def now_ns(self) -> int:
        return time.monotonic_ns()

    @now_ns.setter
    def now_ns(self, value: int) -> None:
        pass


def test_no_synchronization_within_an_epoch(tmp_path, monkeypatch):
    """The device is waited for where stages change, and nowhere else."""
    events = SimulatedEvents(RealClock(), lead_ns=0)
    monkeypatch.setattr("lightning_energy.training.trainer_run.clock_of", lambda device: (DeviceClock(events), ""))
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *arguments: waited.append(arguments))
    energy, syncs = energy_callback(), Syncs(events)
    trainer = make_trainer(tmp_path, max_epochs=3, callbacks=[syncs, energy], log_every_n_steps=EVERY)
    trainer.fit(Classifier(), loader(4 * STEPS), loader(8))
    assert syncs.within == [0, 0, 0]
    assert 0 < syncs.across[0] <= 3 * 4 + 6  # begin and end of both stages of each epoch, and around the training
    assert waited == []


def calls_of(function, events=("call", "c_call")) -> int:
    """The calls of Python and C functions in one function, itself included."""
    n = 0

    def count(_frame, event, _argument) -> None:
        nonlocal n
        n += event in events

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return n - ("c_call" in events)  # that ends the count


BATCHES = {
    "list": [torch.zeros(4, 2), torch.zeros(4)],
    "tuple": (torch.zeros(4, 2), torch.zeros(4)),
    "dict": {"x": torch.zeros(4, 2), "y": torch.zeros(4)},
}
CALLS_PER_STEP = 2 * 3  # the hook, the clock and the append at both ends


@pytest.mark.parametrize("is_sure", [True, False])
@pytest.mark.parametrize("batch", BATCHES.values(), ids=[*BATCHES])
def test_the_hooks_of_a_step_make_few_calls(batch, is_sure):
    """Lightning calls the closures themselves; a batch is counted without a call, but for its shape's append."""
    of_four = DataLoader(Numbers(4 * 100), batch_size=4)
    counts = Counts(sources=lambda _stage: Source(of_four if is_sure else None))
    session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
    marks, attended = BatchMarks(counts), []
    marks.enter(session, 0, "train")
    start, end = marks.hooks_of(lambda _trainer, batch_idx: attended.append(batch_idx))
    marks.attend_at = 8
    for batch_idx in range(8):
        start(None, None, batch, batch_idx)
        end(None, None, None, batch, batch_idx)
    marks.attend_at = math.inf

    def step(batch_idx: int) -> None:
        start(None, None, batch, batch_idx)
        end(None, None, None, batch, batch_idx)

    step(8)  # it notes when the next one is attended to
    assert calls_of(partial(step, 9), ["call"]) - 1 == 2
    assert calls_of(partial(step, 10)) - 1 <= CALLS_PER_STEP + (not is_sure)
    assert counts.units == {"train": {"samples": 44}}
    assert attended == []
    session.close()


MOST_CALLS_OF_LOGGING = {0: 9, 1: 13, 3: 19}  # by the number of bookings since, with a logger of five calls


@pytest.mark.parametrize("bookings", [*MOST_CALLS_OF_LOGGING])
def test_a_logging_step_makes_few_calls(bookings, monkeypatch):
    """A call takes a microsecond and more where a training has emptied the caches: the hook, and all that it calls."""
    now_s, logger, parts = [0.0], MemoryLogger(), Parts(replay())
    monkeypatch.setattr(step_log, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    parts.steps._epoch_end = Foresight(clock=lambda: round(now_s[0] * S))
    trainer = lightning_like(
        log_every_n_steps=1, loggers=[logger], num_training_batches=1000, progress_bar_callback=None
    )
    known, found = parts.session.ledger.steps, []
    parts.stages.enter(parts.session, 0, "train")
    _, end = parts.stages.marks.hooks_of(guarded(parts.steps.attend, parts))
    for batch_idx in range(100):
        now_s[0] += 0.01
        trainer.fit_loop.epoch_loop._batches_that_stepped = batch_idx
        news = Steps.of(np.array([2.0, 4.0]), np.array([0.01, 0.01]), 0.0)
        with parts.session.ledger.lock:
            known.go_on(known.look.looked, known.look._replace(steps=(news,) * bookings))
        found.append(calls_of(partial(end, trainer, None, None, BATCHES["list"], batch_idx)))
    parts.books.close()
    assert statistics.median(found) <= MOST_CALLS_OF_LOGGING[bookings]  # some look ahead to the epoch's end
    assert [step for step, _ in logger.rows] == ([*range(100)] if bookings else [])
    assert {values[log_keys.STEP_J] for _, values in logger.rows} <= {3.0}
    assert parts.books.steps.n == 100 * 2 * bookings


MOST_CALLS_OF_STRETCH = {"too short": 1, "too early": 2, "too old": 12, "ended": 25, "of a later epoch": 1}


class Late(Device):
    """Energy that is known up to some time ago only."""

    late_ns = 0

    def now(self) -> Spending:
        return Spending(self.spent_j, W, self.unknown, self.ns - self.late_ns)


def test_a_forecast_takes_few_calls_of_a_logging_step():
    """Of the first epoch a sixteenth is a stretch; in later ones nothing is looked at before their end."""
    device, trainer, found = Late(), lightning_like(num_training_batches=160, enable_validation=False), {}
    progress = trainer.fit_loop.epoch_loop.batch_progress
    progress.total.ready = progress.current.ready = 0
    forecaster = Forecaster(device.now, clock=lambda: device.ns)
    stretches, rests = forecaster.seen.batches, {}

    def steps(what: str, n: int, late_s: float = 0.0, step_s: float = 0.1) -> None:
        for _ in range(n):
            device.work(step_s)
            device.late_ns = round(late_s * S)
            progress.total.ready += 1
            progress.current.ready += 1
            rests.setdefault(what, []).append(forecaster.rest(trainer) > 0)  # it is not called then
            found.setdefault(what, []).append(calls_of(partial(forecaster.after_batches, trainer)))

    forecaster.begin(trainer)
    steps("warm-up", 40)  # until the power is one of the training
    n = len(stretches)
    assert n > 0
    steps("too short", 9)
    steps("ended", 1, late_s=0.05)
    assert len(stretches) == n + 1
    steps("too short", 9)
    steps("too old", 1, late_s=0.1)  # of 1 s, 0.15 s would be guessed
    assert len(stretches) == n + 1
    steps("ended", 1, late_s=0.05)
    assert len(stretches) == n + 2
    steps("too short", 9, step_s=0.02)
    steps("too early", 10, step_s=0.02)  # 0.05 s were guessed at its begin, which is a tenth of 0.5 s
    assert len(stretches) == n + 2
    steps("ended", 1, step_s=0.2)
    assert len(stretches) == n + 3
    assert all(rests["too short"])
    assert not any(any(rests[what]) for what in ("too early", "too old", "ended"))
    forecaster.end_epoch(trainer)
    forecaster.begin_epoch(trainer)
    n = len(stretches)
    progress.current.ready = 0
    steps("of a later epoch", 160)
    assert len(stretches) == n
    forecaster.end_epoch(trainer)
    assert [stretch.batches for stretch in stretches[n:]] == [160]
    for what, most in MOST_CALLS_OF_STRETCH.items():
        assert max(found[what]) <= most, what


def test_what_was_spent_is_known_in_few_calls():
    session = session_of(replay())
    session._sampler.wait_until_known(time.monotonic_ns() + 3_000_000, 60.0)
    joules = SpentJoules(session)
    assert joules.now().known_ns is not None
    assert calls_of(joules.now) <= 5  # itself, the clock, the sum, and the tuple of the result
    session.close()


MOST_CALLS_PER_STEP = 2.0  # of a booking
MOST_CALLS_OF_TOTALS = 1310  # a search makes 60,000
MOST_CALLS_IF_FORESEEN = 430
MOST_CALLS_OF_AN_END = 1180  # of an epoch, all that we do at it
MOST_PIECES = 450  # of a search: each waits for a training that holds the interpreter's lock
MOST_CALLS = {"usual": 350, "search": 900}  # between two moments at which other threads may go on


def test_a_booking_makes_few_calls_and_gives_up_the_interpreter_between_them():
    """3 ms steps in virtual time under a counter of 100 ms, booked every 2 s: of 64 updates on its delay is sought."""
    clock, curve = Clock(), Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")
    found: list[list[int]] = []

    def count(_frame, event, _argument) -> None:
        found[-1][-1] += event in {"call", "c_call"}

    for n in range(3300):
        clock.now_ns = START + n * 3_000_000
        ledger.mark(step)
        clock.now_ns += 2_700_000
        ledger.mark(gap)
        if n % 33 == 0:
            curve.add(clock.now_ns, 0.2 * n)
        if n % 660 == 659:
            found.append([0])
            sys.setprofile(count)
            try:
                ledger.settle(pause=lambda: found[-1].append(0))
            finally:
                sys.setprofile(None)
    searches = [pieces for pieces in found if len(pieces) > 100]
    assert len(searches) == 1
    assert len(searches[0]) <= MOST_PIECES
    usual = [pieces for pieces in found if pieces not in searches]
    assert max(max(pieces) for pieces in searches) <= MOST_CALLS["search"]
    assert max(max(pieces) for pieces in usual) <= MOST_CALLS["usual"]
    assert max(sum(pieces) for pieces in usual) <= 660 * MOST_CALLS_PER_STEP
    # whoever asks for the contents waits for no search, also where one is due
    for n in range(99, 199):
        curve.add(START + n * 100_000_000, 6.7 * n)
    clock.now_ns = START + 20 * S
    assert calls_of(ledger.totals) <= MOST_CALLS_OF_TOTALS
    assert calls_of(ledger.latest_s) <= MOST_CALLS_OF_TOTALS  # nor does whoever waits for the end


def test_what_was_foreseen_makes_still_fewer_calls():
    """An epoch's end is waited for by the training: shortly before it, the background works most of it out."""
    assert calls_of(steady(at_last="train").totals) <= MOST_CALLS_IF_FORESEEN


class Quiet(Classifier):
    """Logs nothing: the time of Lightning's own logging is not ours."""

    def log(self, *_args, **_kwargs) -> None:
        pass


class Foreseeing(Callback):
    """Stands before ours: some updates after an epoch's beginning, the totals that its end needs are foreseen."""

    def __init__(self, ledger) -> None:
        self.ledger = ledger

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        self.begun_ns = time.monotonic_ns()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        ledger = self.ledger()
        (book,) = ledger.books

        def foresee() -> bool:
            if (book.curve.end_ns or 0) < self.begun_ns + 300_000_000:
                return False
            ledger.expected.begin()
            ledger.foresee()
            return book.__dict__["_foreseen"] is not None

        wait_for(foresee)


def test_the_whole_end_of_an_epoch_makes_few_calls(tmp_path):
    """What was foreseen makes totals cheap; all that follows on them is counted, too, but for Lightning's logging."""
    gpu, found = SimulatedGpu([(0.05, 300.0), (0.05, 80.0)], uuid=UUID, counter_period_s=0.02), []

    class Counted(EnergyCallback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            found.append(calls_of(lambda: super(Counted, self).on_train_epoch_end(trainer, pl_module)))

    with SimulatedNvml([gpu]):
        energy = Counted(meters=NvmlMeter(UUID), print_report=False)
        before = Foreseeing(lambda: energy._run.books.session.ledger)
        make_trainer(tmp_path, callbacks=[before, energy], max_epochs=5, limit_val_batches=0).fit(
            Quiet(), loader(8), loader(8)
        )
    assert statistics.median(found) <= MOST_CALLS_OF_AN_END


MOST_CALLS_BESIDE = {1: (290, 450), 8: (1050, 2350)}  # in the training's process: usually, and where power is thinned
MOST_BYTES_BESIDE = {1: (45_000, 70_000), 8: (61_000, 370_000)}  # there and back


@pytest.mark.skipif(sys.platform != "linux", reason="such a process is started on Linux only")
@pytest.mark.parametrize("boards", [1, 8])
def test_a_booking_beside_is_one_piece_of_few_calls_and_bytes(boards, monkeypatch):
    """3 ms steps in virtual time under counters of 100 ms, booked every 5 s, after their delays were found."""
    monkeypatch.setattr(elsewhere, "START_S", 0.0)
    beside = elsewhere.Elsewhere()
    wait_for(lambda: beside.is_there)
    clock, curves, found, size = Clock(), [Curve(INFO) for _ in range(boards)], [], [0, 0]
    ledger = Ledger(curves, clock=clock, elsewhere=beside)
    step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")

    def count(_frame, event, _argument) -> None:
        found[-1][0] += event in {"call", "c_call"}

    class Pickle:
        """The messages of the ledger's own end, whose bytes are counted."""

        HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL

        @staticmethod
        def dumps(message, protocol) -> bytes:
            data = pickle.dumps(message, protocol)
            size[0] = len(data)
            return data

        @staticmethod
        def loads(data):
            size[1] = len(data)
            return pickle.loads(data)

    monkeypatch.setattr(elsewhere, "pickle", Pickle)
    monkeypatch.setattr(elsewhere, "LOOK_S", 600.0)  # it may take its time, which is no piece of ours
    rng = np.random.default_rng(0)
    for n in range(1, 50_000):
        clock.now_ns = START + n * 3_000_000
        ledger.mark(step)
        clock.now_ns += 2_700_000
        ledger.mark(gap)
        if n % 33 == 0:
            for curve in curves:
                curve.add(clock.now_ns, 0.2 * n + rng.random())
        if n % 1667 == 0:
            found.append([0, 1])
            last = found[-1]

            def pause(last=last) -> None:
                last[1] += 1

            sys.setprofile(count)
            try:
                ledger.settle(pause=pause)
            finally:
                sys.setprofile(None)
            last += size
    beside.leave()
    assert all(book.sharing.is_final for book in ledger.books)
    usual = np.array(found[-10:])
    assert usual[:, 1].tolist() == [1] * 10  # nothing but this piece wakes the thread up
    assert (np.quantile(usual[:, 0], [0.5, 1.0]) <= MOST_CALLS_BESIDE[boards]).all()
    assert (usual[:, 2:].max(axis=0) <= MOST_BYTES_BESIDE[boards]).all()
    steps = ledger.take_steps()
    assert len(steps.energy_j) > 48_200  # of all that were booked
    assert steps.energy_j.sum() == pytest.approx(boards * 0.2 * len(steps.energy_j), rel=1e-3)


def test_a_step_keeps_a_bounded_number_of_objects():
    """Marks are all that a step leaves, and only until the sampler's thread has booked them."""
    ledger = Ledger([Curve(INFO)])
    step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")
    ledger.settle(final=True)
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        for _ in range(1000):
            ledger.mark(step)
            ledger.mark(gap)
        kept = (sys.getallocatedblocks() - before) / 1000
    finally:
        gc.enable()
    assert 1.5 <= kept <= 2.5  # two time stamps, in one list; each tuple is gone at once
    ledger.settle(final=True)
    gc.collect()
    assert (sys.getallocatedblocks() - before) / 1000 <= 0.5


MOST_BYTES_PER_MARK = 200  # at once, beyond what was there; a table of numbers by two columns takes 16


def test_a_search_among_short_steps_takes_little_memory():
    """50 us steps in virtual time under a counter of 20 ms: the first search looks at all marks, and books them."""
    clock, curve = Clock(), Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")
    n, per_update = 70 * 400, 400
    for i in range(n):
        clock.now_ns = START + i * 50_000
        ledger.mark(step)
        clock.now_ns += 45_000
        ledger.mark(gap)
        if i % per_update == 0:
            curve.add(clock.now_ns, 6.0 * (i // per_update) - i // per_update % 7)
            if i < 60 * per_update:
                ledger.settle()
    clock.now_ns += S
    tracemalloc.start(1)
    try:
        ledger.settle()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ledger.books[0].sharing.looked >= 64
    assert peak / (2 * n) <= MOST_BYTES_PER_MARK
