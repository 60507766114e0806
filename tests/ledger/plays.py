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


def session_of(*meters, **kwargs) -> Session:
    return Session(open_meters(meters, device=torch.device("cpu")), **kwargs)
