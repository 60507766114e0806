"""A ledger on a scripted curve, whose clock the test sets, and a session of scripted meters."""

from __future__ import annotations

import torch

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.session import Session
from lightning_energy.meters import MeterInfo, open_meters

S = 10**9
START = 10**15
INFO = MeterInfo("d", "device", "measured", "gpu", power_max_w=500.0, power_min_w=50.0)


class Clock:
    def __init__(self) -> None:
        self.now_ns = START

    def __call__(self) -> int:
        return self.now_ns


def constant(power_w: float = 100.0):
    clock = Clock()
    curve = Curve(INFO)
    ledger = Ledger([curve], clock=clock)

    def at(seconds: float, account: tuple | None) -> None:
        clock.now_ns = START + round(seconds * S)
        ledger.mark(ledger.code(*account) if account else 0)

    def grow(seconds: float) -> None:
        curve.add(START + round(seconds * S), power_w * (seconds + 1))

    grow(-1.0)
    return ledger, at, grow, clock


class Behind:
    """A device that reaches each mark 25 ms after the host: the last one or two are on their way."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def stamp(self, now_ns: int) -> int:
        return now_ns + 25_000_000

    def resolve(self, token: int) -> int | None:
        return token if token <= self._clock.now_ns else None


def steady(*, at_last: str, has_device: bool = False, is_exact: bool = False) -> Ledger:
    """A ledger after 20 s of steps of 50 ms, asked to look ahead 0.32 s before its end.

    Args:
        at_last: the stage of the last 0.17 s, which cost what the others do.
        has_device: true where marks count when a device reached them.
        is_exact: true where the register shows the energy at once.
    """
    clock, curve = Clock(), Curve(INFO)
    behind = {"device_clock": Behind(clock), "on_device": [True]} if has_device else {}
    ledger = Ledger([curve], clock=clock, is_exact=[lambda: is_exact], **behind)
    step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")
    updates = iter(range(1, 1000))
    due = next(updates)
    for n in range(400):
        begin_ns = START + n * S // 20
        for at_ns, code in ((begin_ns, step), (begin_ns + S // 25, gap)):
            while at_ns >= START + due * S // 10:
                curve.add(START + due * S // 10, 26.0 * due + 0.1 * (due % 3), half_width_ns=1_000_000)
                due = next(updates)
            clock.now_ns = at_ns
            ledger.mark(code)
        if n % 40 == 39 and n < 390:
            ledger.settle()
        if n == 393:
            ledger.expected.begin()
            ledger.foresee()
            assert ledger.expected.failure is None
        if n == 396:
            ledger.mark(ledger.code(0, at_last, "step"))
    clock.now_ns = START + 20 * S
    return ledger


def session_of(*meters, **kwargs) -> Session:
    return Session(open_meters(meters, device=torch.device("cpu")), **kwargs)
