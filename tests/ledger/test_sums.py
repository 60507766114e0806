from __future__ import annotations

import math

import numpy as np
import pytest

from lightning_energy.curves.energy import QUALITIES
from lightning_energy.ledger.sums import ARRAYS, Shares, Sums
from lightning_energy.ledger.uncertainty import Uncertainty


def shares(used, energy_j, *, missing_s=0.0):
    n = len(used)
    time_s = np.zeros((len(QUALITIES), n))
    time_s[QUALITIES.index("measured")] = 1.0
    time_s[QUALITIES.index("missing")] = missing_s
    first = np.array([used[0]])
    alike = np.full(n, 5.0), np.array([1.0]), 2.0
    u = Uncertainty(np.full(n, 3.0), np.full(n, 16.0), first, np.array([1.0]), np.array([4.0]), 2.0, 9.0, *alike)
    return Shares(np.array(used), np.array(energy_j), time_s, u)


def test_shares_are_added_to_the_accounts_that_they_touch():
    sums = Sums.zeros(2)
    sums.add(shares([1, 9], [10.0, 20.0]), 10)  # accounts that came meanwhile
    sums.add(shares([1, 2], [1.0, 2.0], missing_s=0.5), 10)
    assert sums.energy_j[[0, 1, 2, 9]].tolist() == [0.0, 11.0, 2.0, 20.0]
    assert sums.time_s.sum() == pytest.approx(5.0)
    wanted = np.isin(np.arange(10), [1, 2])
    account = sums.energy(wanted, "account", 0.0)
    assert (account.energy_j, account.duration_s, account.missing_s) == (13.0, pytest.approx(4.0), 1.0)
    assert account.quality == "measured"
    assert account.u_j == pytest.approx(math.hypot(9.0, math.sqrt(48.0)))  # linear, and in quadrature
    assert sums.energy(wanted, "group", 0.0).u_j == pytest.approx(math.hypot(2.0, math.sqrt(8.0)))
    total_j = math.hypot(4.0, math.sqrt(18.0))  # what errs the same way linearly, the rest in quadrature
    assert sums.energy(wanted, "total", 0.0).u_j == pytest.approx(total_j)
    assert sums.energy(wanted, "total", 0.1).u_absolute_j == pytest.approx(math.hypot(total_j, 1.3))


def test_what_errs_alike_on_all_devices_is_the_linear_part_and_that_by_delays():
    sums = Sums.zeros(2)
    sums.add(shares([1, 2], [10.0, 20.0]), 3)
    wanted = np.array([False, True, True])
    assert sums.alike_j2(wanted, "account") == pytest.approx((3.0 + 3.0) ** 2 + 5.0 + 5.0)
    assert sums.alike_j2(wanted, "group") == pytest.approx(1.0**2 + 1.0)
    assert sums.alike_j2(wanted, "total") == pytest.approx(2.0**2 + 2.0)


def test_accounts_without_known_time_have_no_joules():
    sums = Sums.zeros(2)
    energy = sums.energy(np.array([False, True]), "group", 0.1)
    assert (energy.energy_j, energy.quality) == (None, "missing")


def test_a_copy_has_arrays_of_its_own():
    sums = Sums.zeros(2)
    copied = sums.copy()
    copied.add(shares([1], [10.0]), 2)
    for name in ARRAYS:
        assert not getattr(sums, name).any()
        assert getattr(copied, name).any()
    assert (sums.u2_total_j2, copied.u2_total_j2) == (0.0, 9.0)
