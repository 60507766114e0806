"""Cost of a poll and of a booking to the step that they fall into, over the steps beside it.

    python benchmarks/neighbours.py                    # prints, within three quarters of an hour
    python benchmarks/neighbours.py --json FILE        # and writes
    python benchmarks/neighbours.py --quick            # a first look

Run from the repository's root, with the test extra installed and a C compiler at hand. One process runs steps of about
3 ms of Python, which a GPU would wait for, and marks them as EnergyCallback does. Meanwhile a sensor is read in the
background, in turns by
  sampler     the sampler, over the real pynvml and a simulated NVML that is compiled (benchmarks/driver.c)
  helper      a helper process, whose messages the sampler's thread puts on the curves (a "poll" is a message here),
              while another works bookings out
  nobody      no one: the same arithmetic on moments drawn at random, which shows the noise
  pynvml      a bare thread that wakes up as often as the sampler reads one board, and calls one function by pynvml
  ctypes      the same by ctypes, with the symbol bound and its buffer made before; also as often as a helper's messages
              and the pieces of bookings wake the training's process up
  process     a bare process of its own that does the same, and leaves what it reads in shared memory; also as often as
              a helper wakes up, with as many reads
  compiled    the same, but that the whole loop is compiled C
  exchange    a bare thread that sends a bare process as many bytes as a booking does, and gets as many back, as often;
              they mean nothing, and nobody looks at them
A step in which a call was made, or a piece of a booking, is compared with the nearest step beside it in which nothing
was. That comparison needs no other run, so that a machine's moods are in both. Intervals of 95 % are from resampled
pairs. Helpers, which touch few steps, are measured for eight times as long. The sampler is measured once the counter's
delay is known, or never will be, after a thousand of its updates; what the search for it costs before that, once in a
run, stands apart. So does the time for which an epoch's end waits for what a helper has read until then.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import psutil
import pynvml

from benchmarks.driver import NAME, CompiledNvml
from lightning_energy import __version__
from lightning_energy.curves import helper as helper_module
from lightning_energy.curves.channel import Channel
from lightning_energy.curves.helper import Helper
from lightning_energy.ledger import elsewhere as elsewhere_module
from lightning_energy.ledger.booker import Booker
from lightning_energy.ledger.elsewhere import PACKET
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.sharing.delay import MOST_HELD
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.find import OpenMeters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from lightning_energy.ledger.booking import Pause

    Case = Callable[[], dict]

UUID = "GPU-bbbbbbbb-0000-0000-0000-000000000000"
STEP_S = 0.003
OBJECTS = 2**18  # that a step goes through in part: 8 MiB, more than a core's own caches hold
BESIDE = 4  # steps on either side among which untouched ones are looked for
RESAMPLED = 2000
SHORT = 0.05  # quantile of the durations up to which a step is looked at for what happened in it
POLLS_PER_S = 30.0  # of the bare ones, until the sampler's own was measured
WAKE_UPS_PER_S = 3.0  # same, for what a helper wakes up
BOOKINGS_PER_S = 0.2  # same, for bookings
EXCHANGED = 40_000, 60_000  # bytes of a booking's messages, there and back
LONGER = 8  # times as long
MOST_CALLS = 2**14
SAMPLERS = {"100 ms": (1, 0.1), "20 ms": (1, 0.02), "8 boards, 100 ms": (8, 0.1), "8 boards, 20 ms": (8, 0.02)}
BEGUN_S = 5.0  # before it the period is sought
MOST_SEARCHES = 20  # times the interval between looks whether the search is over, at most
CATCH_UPS, CATCH_UP_S = 20, 0.5  # how often figures are asked for, as at an epoch's end, and the time between
READER = "helper_process"  # in its command
LOOK_S = 10.0  # that interval; a booking that begins with the last one's end may fit powers anew


class Steps:
    """A fixed amount of Python per step, which touches much memory; a hook's marks around it."""

    def __init__(self) -> None:
        self.data = [i * 1.5 for i in range(OBJECTS)]
        self.order = [random.Random(0).randrange(OBJECTS) for _ in range(OBJECTS)]
        self.n, self.at, self.total = 4096, 0, 0.0
        best_s = min(self._timed() for _ in range(50))
        self.n = min(round(self.n * STEP_S / best_s), OBJECTS)

    def _timed(self) -> float:
        begin_s = time.perf_counter()
        self.work()
        return time.perf_counter() - begin_s

    def work(self) -> None:
        if self.at + self.n > OBJECTS:
            self.at = 0
        data, total = self.data, 0.0
        for i in self.order[self.at : self.at + self.n]:
            total += data[i]
        self.at, self.total = self.at + self.n, self.total + total

    def run(self, seconds: float, mark: Callable[[], None] = lambda: None) -> NDArray[np.int64]:
        """Run steps for a time; begin and end of each."""
        rows, end_ns = [], time.monotonic_ns() + round(seconds * 1e9)
        while (begin_ns := time.monotonic_ns()) < end_ns:
            mark()
            self.work()
            rows.append((begin_ns, time.monotonic_ns()))
        return np.array(rows, dtype=np.int64)


def holding(steps: NDArray[np.int64], moments_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The steps in which at least one of these moments lies, in the part that every step has.

    A step that takes longer for a reason of its own holds more moments: only those in its first part count, as long as
    nearly the shortest of all steps.
    """
    most_ns = np.quantile(steps[:, 1] - steps[:, 0], SHORT)
    found = np.searchsorted(steps[:, 0], moments_ns, side="right") - 1
    found = found[(found >= 0) & (moments_ns <= steps[np.maximum(found, 0), 0] + most_ns)]
    held = np.zeros(len(steps), dtype=np.bool_)
    held[found] = True
    return held


def excesses_us(steps: NDArray[np.int64], held: NDArray[np.bool_], touched: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Duration of each step that is held beyond that of the nearest untouched step, before or after it in turns."""
    us = (steps[:, 1] - steps[:, 0]) * 1e-3
    found, is_before = [], True
    for i in np.flatnonzero(held):
        beside = range(i - 1, max(i - 1 - BESIDE, -1), -1) if is_before else range(i + 1, min(i + 1 + BESIDE, len(us)))
        pair = next((us[i] - us[j] for j in beside if not touched[j]), None)
        if pair is not None:
            found.append(pair)
            is_before = not is_before
    return np.array(found)


def summary(excess_us: NDArray[np.float64], touched_per_s: float) -> dict[str, float | list[float] | int]:
    """Median and 99th percentile per touched step, and the sum of all excesses in percent of the time."""
    if not len(excess_us):
        return {"steps": 0}
    rng = np.random.default_rng(0)
    again = rng.choice(excess_us, size=(RESAMPLED, len(excess_us)))
    to_percent = touched_per_s * 1e-4
    interval = np.quantile(again.mean(axis=1), [0.025, 0.975]) * to_percent
    return {
        "steps": len(excess_us),
        "median_us": float(np.median(excess_us)),
        "median_us_95": np.quantile(np.median(again, axis=1), [0.025, 0.975]).tolist(),
        "p99_us": float(np.quantile(excess_us, 0.99)),
        "percent": float(excess_us.mean() * to_percent),
        "percent_95": interval.tolist(),
    }


def compared(steps: NDArray[np.int64], **moments: NDArray[np.int64]) -> dict[str, dict]:
    """The cost of each kind of event; a step that holds several counts to the last of these."""
    seconds, held = (steps[-1, 1] - steps[0, 0]) * 1e-9, {k: holding(steps, m) for k, m in moments.items()}
    touched, kinds = np.logical_or.reduce([*held.values()]), [*held]
    found = {}
    for i, kind in enumerate(kinds):
        later = np.logical_or.reduce([np.zeros(len(steps), dtype=np.bool_), *(held[k] for k in kinds[i + 1 :])])
        own = held[kind] & ~later
        found[kind] = summary(excesses_us(steps, own, touched), own.sum() / seconds)
    if len(kinds) > 1:
        found["together"] = summary(excesses_us(steps, touched, touched), touched.sum() / seconds)
    return found


def cpu_s(thread: threading.Thread) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def children_cpu_s() -> float:
    return sum(map(_cpu_s, psutil.Process().children(recursive=True)))


def _cpu_s(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


class Helpers:
    """The CPU time that helper processes take, and how often they wake up: the one that reads, and all of them."""

    def __init__(self) -> None:
        self._children = psutil.Process().children(recursive=True)
        self._reader = [child for child in self._children if READER in " ".join(child.cmdline())]
        self._at = self._now()

    def _now(self) -> NDArray[np.float64]:
        cpu_s = [sum(map(_cpu_s, some)) for some in (self._children, self._reader)]
        return np.array([*cpu_s, sum(map(_wake_ups, self._reader))])

    def since(self) -> tuple[float, float, float]:
        """Since this was made: CPU seconds of all, those of the one that reads, and how often that woke up."""
        all_s, reader_s, wake_ups = (self._now() - self._at).tolist()
        return all_s, reader_s, wake_ups


def _wake_ups(process: psutil.Process) -> int:
    """How often its threads slept by themselves, and were woken."""
    found = 0
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        line = next(line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt_switches"))
        found += int(line.split()[1])
    return found


class Bookings:
    """When a piece of a booking was under way, and the CPU time of each."""

    def __init__(self) -> None:
        self.moments_ns: list[int] = []
        self.cpu_s: list[float] = []
        self.asked = 0  # pieces that a process beside was to work out
        self._begun: tuple[int, float] = (0, 0.0)

    @contextmanager
    def watched(self) -> Iterator[None]:
        begin, read = Booker.__init__, elsewhere_module._read

        def waited(*args: object) -> int:
            """Wait for a process beside: that is no work of this one."""
            self._end()
            n_bytes = read(*args)
            self.asked += n_bytes < PACKET
            self._begun = time.monotonic_ns(), time.thread_time()
            return n_bytes

        def watched(booker: Booker, settle: Callable[[Pause], None], *args: object) -> None:
            begin(booker, lambda pause: self._settle(settle, pause), *args)

        with patch.object(Booker, "__init__", watched), patch.object(elsewhere_module, "_read", waited):
            yield

    def _settle(self, settle: Callable[[Pause], None], pause: Pause) -> None:
        def between() -> None:
            self._end()
            pause()
            self._begun = time.monotonic_ns(), time.thread_time()

        self._begun = time.monotonic_ns(), time.thread_time()
        settle(between)
        self._end()

    def _end(self) -> None:
        begin_ns, begin_s = self._begun
        self.cpu_s.append(time.thread_time() - begin_s)
        self.moments_ns += range(begin_ns, time.monotonic_ns() + 1_000_000, 1_000_000)  # every step of its time


@contextmanager
def helped(boards: int, period_s: float) -> Iterator[list[int]]:
    """Let a helper read the same simulated boards; when its messages came."""
    moments_ns: list[int] = []
    receive, boot = Helper.receive, helper_module.BOOT
    simulated = f"from benchmarks.driver import CompiledNvml as C; nvml = C({boards}, {UUID!r}, {period_s}).__enter__()"

    def noted(helper: Helper) -> tuple[str, bool, list] | None:
        found = receive(helper)
        moments_ns.append(time.monotonic_ns())
        return found

    with (
        patch.object(helper_module, "BOOT", f"{simulated}; {boot}"),
        patch.object(Helper, "DRIVER", object),
        patch.object(Helper, "receive", noted),
    ):
        yield moments_ns


def sampler(
    steps: Steps, boards: int, period_s: float, seconds: float, *, quick: bool = False, helper: bool = False
) -> dict:
    """The sampler of a session, as EnergyCallback has it; with a helper, its messages."""
    search_s = 2 * BEGUN_S * helper + 1.0 if quick else MOST_HELD * period_s - BEGUN_S
    booked = Bookings()
    with CompiledNvml(boards, UUID, period_s) as nvml, booked.watched(), helped(boards, period_s) as messages_ns:
        meters = [NvmlMeter(gpu.uuid, helper=helper) for gpu in nvml.gpus]
        before = {*threading.enumerate()}
        session = Session(OpenMeters([(meter, meter.open()) for meter in meters]), helper=helper)
        threads = [t for t in threading.enumerate() if t not in before]
        step, gap = session.code(0, "train", "step"), session.code(0, "train", "gap")

        def mark() -> None:
            session.mark(gap)
            session.mark(step)

        steps.run(BEGUN_S, mark)
        booker = next(t for t in threads if "booker" in t.name)
        n_calls = (lambda: len(messages_ns)) if helper else (lambda: nvml.n_calls)
        sought_s = cpu_s(booker)
        rows = [steps.run(search_s, mark)]
        for _ in range(0 if quick else MOST_SEARCHES):
            is_over = all(book.sharing.is_final for book in session.ledger.books)
            rows.append(steps.run(LOOK_S, mark))
            if is_over:
                break
        search = np.concatenate(rows)
        begin_s, polls, booked_s, own_reads = sum(map(cpu_s, threads)), n_calls(), cpu_s(booker), nvml.n_calls
        sought_s = booked_s - sought_s
        session._sampler.catch_up()
        reads, pieces, asked, beside = (
            sum(c.reads for c in session.channels),
            len(booked.cpu_s),
            booked.asked,
            Helpers(),
        )
        found = steps.run(seconds, mark)
        taken_s, polls = sum(map(cpu_s, threads)) - begin_s, n_calls() - polls
        booked_s = cpu_s(booker) - booked_s
        pieces, asked = len(booked.cpu_s) - pieces, booked.asked - asked
        beside_s, reader_s, reader_wake_ups = beside.since()
        longest_s = max(booked.cpu_s[-pieces:], default=0.0) if pieces else 0.0
        moments_ns = np.array(messages_ns if helper else nvml.calls_ns())
        session._sampler.catch_up()
        reads = sum(c.reads for c in session.channels) - reads
        waits_ms = []
        for _ in range(CATCH_UPS if helper else 0):
            steps.run(CATCH_UP_S, mark)
            asked_s = time.perf_counter()
            session._sampler.catch_up()
            waits_ms.append(1e3 * (time.perf_counter() - asked_s))
        residual_s = session.channels[0].period_residual_s
        if helper and nvml.n_calls != own_reads:
            raise RuntimeError("no helper reads")
        if helper and not booked.asked:
            raise RuntimeError("no helper works bookings out")
        session.close()
    bookings_ns = np.array(booked.moments_ns, dtype=np.int64)
    together = compared(search, poll=moments_ns, booking=bookings_ns)["together"]
    return {
        "search": {
            "seconds": float(search[-1, 1] - search[0, 0]) * 1e-9,
            "cpu_of_bookings_s": sought_s,
            "together": together,
        },
        "seconds": seconds,
        "calls_per_s": polls / seconds,
        "wake_ups_per_s": (polls + pieces) / seconds,
        "bookings_beside_per_s": asked / seconds,
        "reads_per_s": reads / seconds,
        "cpu_of_helpers_ms_per_s": 1e3 * beside_s / seconds,
        "reader": {
            "wake_ups_per_s": reader_wake_ups / seconds,
            "cpu_ms_per_s": 1e3 * reader_s / seconds,
            "cpu_per_read_us": 1e6 * reader_s / reads,
        }
        if helper
        else None,
        "cpu_ms_per_s": 1e3 * taken_s / seconds,
        "cpu_of_bookings_ms_per_s": 1e3 * booked_s / seconds,
        "longest_piece_ms": 1e3 * longest_s,
        "cpu_per_call_us": 1e6 * (taken_s - booked_s) / polls,
        "catch_up_ms": float(np.median(waits_ms)) if waits_ms else None,
        "residual_ms": None if residual_s is None else 1e3 * residual_s,
        **compared(found, poll=moments_ns, booking=bookings_ns),
    }


def bare(read: Callable[[], object], polls_per_s: float, is_over: Callable[[], bool]) -> None:
    """Read again and again, at distances that differ by half."""
    rng = random.Random(0)
    while not is_over():
        time.sleep((0.75 + 0.5 * rng.random()) / polls_per_s)
        read()


def by_pynvml(handle: object) -> Callable[[], object]:
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)


def by_ctypes(handle: object) -> Callable[[], object]:
    value, function = ctypes.c_ulonglong(), getattr(pynvml.nvmlLib, NAME)
    at = ctypes.byref(value)

    def read() -> int:
        if function(handle, at):
            raise RuntimeError
        return value.value

    return read


def thread(steps: Steps, reader: Callable[[object], Callable[[], object]], polls_per_s: float, seconds: float) -> dict:
    with CompiledNvml(1, UUID) as nvml:
        over = threading.Event()
        read = reader(ctypes.c_void_p(1))
        worker = threading.Thread(target=bare, args=(read, polls_per_s, over.is_set), daemon=True)
        worker.start()
        steps.run(0.5)
        begin_s, polls = cpu_s(worker), nvml.n_calls
        found = steps.run(seconds)
        taken_s, polls = cpu_s(worker) - begin_s, nvml.n_calls - polls
        over.set()
        worker.join()
        moments_ns = np.array(nvml.calls_ns())
    return {
        "calls_per_s": polls / seconds,
        "cpu_per_call_us": 1e6 * taken_s / polls,
        **compared(found, poll=moments_ns),
    }


def elsewhere(name: str, wake_ups_per_s: float, boards: int, *, compiled: bool) -> None:
    """The helper: reads, and leaves the time and the value in shared memory, until its parent closes the pipe."""
    memory = SharedMemory(name)
    resource_tracker.unregister(memory._name, "shared_memory")  # which would remove what the parent owns
    with CompiledNvml(1, UUID) as nvml:
        over, is_over, n = threading.Event(), ctypes.c_int(0), 0
        reads = [by_ctypes(ctypes.c_void_p(1)) for _ in range(boards)]

        def end() -> None:
            sys.stdin.read()
            over.set()
            is_over.value = 1

        threading.Thread(target=end, daemon=True).start()

        def poll() -> None:
            nonlocal n
            for read in reads:
                value = read()
                struct.pack_into("=qq", memory.buf, 8 + 16 * (n % MOST_CALLS), time.monotonic_ns(), value)
                n += 1
            struct.pack_into("=q", memory.buf, 0, n)

        print("ready", flush=True)
        begin_s = time.thread_time()
        if compiled:
            ring = ctypes.c_int64.from_buffer(memory.buf)
            nvml.sample(wake_ups_per_s, boards, ctypes.byref(ring), MOST_CALLS, ctypes.byref(is_over))
            n = ring.value
            del ring
        else:
            bare(poll, wake_ups_per_s, over.is_set)
        print(1e6 * (time.thread_time() - begin_s) / max(n, 1), flush=True)
    memory.close()


def process(steps: Steps, seconds: float, wake_ups_per_s: float, boards: int = 1, *, compiled: bool = False) -> dict:
    """A bare process that reads so many boards whenever it wakes up."""
    memory = SharedMemory(create=True, size=8 + 16 * MOST_CALLS)
    try:
        how = [memory.name, str(wake_ups_per_s), str(boards), "compiled" if compiled else "python"]
        command = [sys.executable, __file__, "--elsewhere", *how]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as helper:
            if helper.stdout.readline() != "ready\n":
                raise RuntimeError("the helper process did not start")
            steps.run(0.5)
            found = steps.run(seconds)
            helper.stdin.close()
            cpu_us = float(helper.stdout.readline())
        (n,) = struct.unpack_from("=q", memory.buf, 0)
        moments_ns = np.array([struct.unpack_from("=q", memory.buf, 8 + 16 * i)[0] for i in range(min(n, MOST_CALLS))])
    finally:
        memory.close()
        memory.unlink()
    calls_per_s = wake_ups_per_s * boards
    return {"calls_per_s": calls_per_s, "cpu_per_call_us": cpu_us, **compared(found, poll=moments_ns)}


def answer() -> None:
    """The other end of an exchange: gets a message, and gives one back, until nobody sends any more."""
    with socket.socket(fileno=os.dup(0)) as sock:
        buffer, message = bytearray(PACKET), bytes(EXCHANGED[1])
        sock.send(b"r")
        while sock.recv_into(buffer):
            sock.send(message)


def exchange(steps: Steps, per_s: float, seconds: float) -> dict:
    """A bare thread that does now and then what a booking beside cannot do without."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    moments_ns: list[int] = []
    taken_s, over = [0.0], threading.Event()
    message, buffer = bytes(EXCHANGED[0]), bytearray(PACKET)

    def both_ways() -> None:
        begin_s, begin_ns = time.thread_time(), time.monotonic_ns()
        ours.send(message)
        moments_ns.extend(range(begin_ns, time.monotonic_ns() + 1_000_000, 1_000_000))
        ours.recv_into(buffer)
        moments_ns.append(time.monotonic_ns())
        taken_s.append(time.thread_time() - begin_s)

    with ours, theirs, subprocess.Popen([sys.executable, __file__, "--answer"], stdin=theirs) as beside:
        ours.recv(1)
        worker = threading.Thread(target=bare, args=(both_ways, per_s, over.is_set), daemon=True)
        worker.start()
        found = steps.run(seconds)
        over.set()
        worker.join()
        ours.shutdown(socket.SHUT_RDWR)
        beside.wait()
    n = len(taken_s) - 1
    return {
        "calls_per_s": n / seconds,
        "cpu_per_call_us": 1e6 * sum(taken_s) / n,
        **compared(found, booking=np.array(moments_ns)),
    }


def nobody(steps: Steps, polls_per_s: float, seconds: float) -> dict:
    found, rng = steps.run(seconds), np.random.default_rng(0)
    moments_ns = rng.integers(found[0, 0], found[-1, 1], round(polls_per_s * seconds))
    return compared(found, poll=np.sort(moments_ns))


def warm_us(settling_s: float = 4.0, seconds: float = 4.0) -> dict[str, float]:
    """CPU time of a poll of ours, one right after the other, by whether the register has moved."""
    with CompiledNvml(1, UUID, 0.02):
        meter, lock = NvmlMeter(UUID), threading.RLock()
        channel = Channel(meter, meter.open())
        taken_s: dict[bool, list[float]] = {False: [], True: []}
        from_s = time.monotonic() + settling_s
        while (now_s := time.monotonic()) < from_s + seconds:
            knots, begin_s = len(channel.curve), time.thread_time()
            channel.poll(lock)
            if now_s > from_s:
                taken_s[len(channel.curve) > knots].append(time.thread_time() - begin_s)
            if len(channel.curve) > 100:
                channel.curve.forget_before(channel.curve.end_ns)
    return {"stood_us": 1e6 * float(np.median(taken_s[False])), "moved_us": 1e6 * float(np.median(taken_s[True]))}


def line(name: str, row: dict) -> str:
    cells = [f"{name:<26}"]
    for kind in ("poll", "booking", "together"):
        x = row.get(kind)
        if x and x["steps"]:
            cells.append(
                f"{kind} +{x['median_us']:.0f} µs (p99 {x['p99_us']:.0f}), "
                f"{x['percent']:.3f} % ({x['percent_95'][0]:.3f}..{x['percent_95'][1]:.3f}, {x['steps']} steps)"
            )
    if "cpu_per_call_us" in row:
        cells.append(f"{row['cpu_per_call_us']:.0f} µs CPU per call, {row['calls_per_s']:.0f}/s")
    if "cpu_ms_per_s" in row:
        cells.append(f"{row['cpu_ms_per_s']:.1f} ms/s, {row['cpu_of_bookings_ms_per_s']:.1f} of it bookings")
        cells.append(f"longest piece {row['longest_piece_ms']:.1f} ms, {row['wake_ups_per_s']:.1f} wake-ups/s")
        cells.append(f"helpers {row['cpu_of_helpers_ms_per_s']:.1f} ms/s, {row['reads_per_s']:.0f} reads/s")
    if row.get("reader"):
        reader = row["reader"]
        cells.append(f"reader {reader['cpu_ms_per_s']:.1f} ms/s, {reader['wake_ups_per_s']:.0f} wake-ups/s")
    if "search" in row:
        search = row["search"]
        x, s = search["together"], search["seconds"]
        lost = f"{x['percent'] * s / 100:.2f} s more" if x["steps"] else "nothing more"
        cells.append(f"search: {s:.0f} s took {lost}, {search['cpu_of_bookings_s']:.2f} s CPU of bookings")
    if row.get("catch_up_ms") is not None:
        cells.append(f"an epoch's end waits {row['catch_up_ms']:.2f} ms for the helper")
    if row.get("residual_ms") is not None:
        cells.append(f"updates stray {row['residual_ms']:.2g} ms from their period")
    return "   ".join(cells)


class Rates:
    """How often the bare ones are to do what ours did in this run: at first a guess, for rows that stand alone."""

    def __init__(self) -> None:
        self.reads = dict.fromkeys(SAMPLERS, POLLS_PER_S)  # of the sampler's thread
        self.wake_ups = dict.fromkeys(SAMPLERS, WAKE_UPS_PER_S)  # of the training's process, by helpers
        self.bookings = dict.fromkeys(SAMPLERS, BOOKINGS_PER_S)  # of those that a helper works out
        self.reader = {name: (POLLS_PER_S, boards) for name, (boards, _) in SAMPLERS.items()}  # with reads in each

    def learn(self, name: str, row: dict) -> None:
        """Heed a row of ours."""
        by, _, case = name.partition(", ")
        if by == "sampler":
            self.reads[case] = row["calls_per_s"]
        elif by == "helper":
            self.wake_ups[case] = row["wake_ups_per_s"]
            self.bookings[case] = row["bookings_beside_per_s"] or BOOKINGS_PER_S
            per_s = row["reader"]["wake_ups_per_s"]
            self.reader[case] = per_s, max(round(row["reads_per_s"] / per_s), 1)


def all_cases(steps: Steps, rates: Rates, seconds: float, longer_s: float, *, quick: bool) -> dict[str, Case]:
    """The rows, by name; each is measured when it is called."""
    cases: dict[str, Case] = {
        f"{by}, {name}": lambda case=case, helper=by == "helper": sampler(
            steps, *case, longer_s if helper else seconds, quick=quick, helper=helper
        )
        for by in ("sampler", "helper")
        for name, case in SAMPLERS.items()
    }
    cases["nobody"] = lambda: nobody(steps, rates.reads["100 ms"], seconds)
    for name, (boards, _) in SAMPLERS.items():
        if boards == 1:  # with several, one wake-up reads some of them
            cases |= {
                f"bare thread, pynvml, as for {name}": lambda name=name: thread(
                    steps, by_pynvml, rates.reads[name], seconds
                ),
                f"bare thread, ctypes, as for {name}": lambda name=name: thread(
                    steps, by_ctypes, rates.reads[name], seconds
                ),
                f"bare process, as for {name}": lambda name=name: process(steps, seconds, rates.reads[name]),
                f"bare thread, ctypes, as for helper, {name}": lambda name=name: thread(
                    steps, by_ctypes, rates.wake_ups[name], longer_s
                ),
            }
    for name in SAMPLERS:
        cases |= {
            f"bare process, as for helper, {name}": lambda name=name: process(steps, seconds, *rates.reader[name]),
            f"compiled process, as for helper, {name}": lambda name=name: process(
                steps, seconds, *rates.reader[name], compiled=True
            ),
            f"bare exchange, as for helper, {name}": lambda name=name: exchange(steps, rates.bookings[name], longer_s),
        }
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=[], help="names of the cases to run")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--elsewhere", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.elsewhere:
        name, wake_ups_per_s, boards, how = args.elsewhere
        elsewhere(name, float(wake_ups_per_s), int(boards), compiled=how == "compiled")
        return
    if args.answer:
        answer()
        return
    seconds = 3.0 if args.quick else 15.0
    longer_s = seconds if args.quick else LONGER * seconds
    steps, rows, rates = Steps(), {}, Rates()
    for name, case in all_cases(steps, rates, seconds, longer_s, quick=args.quick).items():
        if args.only and name not in args.only:
            continue
        rows[name] = case()
        rates.learn(name, rows[name])
        print(line(name, rows[name]), flush=True)
        write(args.json, seconds, rows)
    warm = warm_us()
    print(f"CPU per poll, warm: {warm['stood_us']:.0f} µs where the register stood, {warm['moved_us']:.0f} where not")
    write(args.json, seconds, rows, warm)


def write(path: Path | None, seconds: float, rows: dict[str, dict], warm: dict[str, float] | None = None) -> None:
    """Write what is measured so far, if a file is asked for."""
    if path is None:
        return
    found = {
        "what": "benchmarks/neighbours.py",
        "date": datetime.now(timezone.utc).date().isoformat(),
        "lightning_energy": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores; simulated NVML with compiled sensors, no GPU",
        "load": round(os.getloadavg()[0], 1),
        "seconds": seconds,
        "rows": rows,
        "warm": warm,
    }
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
