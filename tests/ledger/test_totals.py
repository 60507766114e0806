from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.curves.energy import QUALITIES
from lightning_energy.ledger.accounts import NO_ACCOUNT, Account
from lightning_energy.ledger.sums import Sums
from lightning_energy.ledger.totals import Totals

ACCOUNTS = [
    NO_ACCOUNT,
    Account(-1, "train", "gap"),
    Account(0, "train", "step"),
    Account(0, "validate", "step"),
    Account(1, "train", "step"),
]


def sums(scale: float) -> Sums:
    """Joules of 1, 2, 4, 8 and 16 times ``scale``; one second each."""
    result = Sums.zeros(5)
    result.energy_j[:] = scale * 2.0 ** np.arange(5)
    result.time_s[QUALITIES.index("measured")] = 1.0
    result.u_account_j[:], result.u2_group_j2[:], result.u2_total_j2 = 1.0, 4.0, 9.0
    return result


def test_accounts_are_picked_and_the_time_outside_is_not():
    totals = Totals(ACCOUNTS, [sums(1.0)], [0.0], ["a"])
    assert totals.energy().energy_j == 30.0
    assert totals.energy(stage="train").energy_j == 22.0
    assert totals.energy(stage="train", epoch=0).energy_j == 4.0
    assert totals.energy(epoch=0).energy_j == 12.0
    assert totals.energy(kind="gap").energy_j == 2.0
    assert totals.energy(stage="outside").energy_j is None
    assert totals.stages == ["train", "validate"]
    assert totals.epochs == [0, 1]


def test_the_uncertainty_is_that_of_what_was_asked():
    totals = Totals(ACCOUNTS, [sums(1.0)], [0.0], ["a"])
    assert totals.energy().u_j == 3.0
    assert totals.energy(stage="validate").u_j == 2.0
    assert totals.energy(kind="step", epoch=0, stage="train").u_j == 1.0


def test_devices_are_together_or_one():
    totals = Totals(ACCOUNTS, [sums(1.0), sums(10.0)], [0.0, 0.0], ["a", "b"])
    assert totals.energy().energy_j == pytest.approx(330.0)
    assert totals.energy(device=1).energy_j == 300.0
    assert totals.energy().duration_s == 4.0


def test_errors_that_devices_share_add_up_linearly():
    """Of each device 4 J by lines, which err alike, and 3 J by the times of its own counter's updates."""
    devices = [sums(1.0), sums(10.0)]
    for of_device in devices:
        of_device.u_total_j = 4.0
    together = Totals(ACCOUNTS, devices, [0.0, 0.1], ["a", "b"]).energy()
    assert together.u_j == pytest.approx((8**2 + 3**2 + 3**2) ** 0.5)
    assert together.u_absolute_j == pytest.approx((8**2 + 3**2 + 3**2 + 30**2) ** 0.5)


def test_without_devices_nothing_is_known():
    assert Totals([NO_ACCOUNT], [], [], []).energy().energy_j is None


def test_all_up_to_an_account_and_all_that_is_in_no_epoch():
    accounts = [*ACCOUNTS[:4], Account(-1, "train", "gap"), Account(1, "train", "step"), Account(-1, "test", "gap")]
    of_device = sums(1.0)
    of_device.grow(len(accounts))
    of_device.energy_j[:7] = 2.0 ** np.arange(7)
    totals = Totals(accounts, [of_device], [0.0], ["a"])
    assert totals.until(4).energy_j == 2 + 4 + 8
    assert totals.until(1).energy_j is None
    assert totals.between([0]).energy_j == 2 + 16 + 32 + 64
    assert totals.between([0, 1], without=["test"]).energy_j == 2 + 16
    assert totals.between([]).energy_j == totals.energy().energy_j
    whole = [totals.energy(stage=stage, epoch=epoch).energy_j for epoch, stage in ((0, "train"), (0, "validate"))]
    assert sum(whole) + totals.between([0]).energy_j == totals.energy().energy_j


def test_the_uncertainty_up_to_a_moment_is_that_of_its_outer_ends():
    of_device = sums(1.0)
    of_device.u_total_j, of_device.u_account_j[:] = 4.0, [0.0, 9.0, 9.0, 0.0, 9.0]
    assert Totals(ACCOUNTS, [of_device], [0.0], ["a"]).until(4).u_j == 5.0  # 4 J and 3 J; single accounts do not count
