from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_energy.curves.energy import QUALITIES, Energy
from lightning_energy.ledger.accounts import NO_ACCOUNT, Account
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.ledger.sums import Sums
from lightning_energy.ledger.totals import Totals
from lightning_energy.results.rows import EpochPhase, EpochRow
from lightning_energy.training import epoch_rows
from lightning_energy.training.epoch_rows import EpochEnds
from tests.training.parts import two_ranks

ACCOUNTS = [
    NO_ACCOUNT,
    Account(-1, "sanity_check", "step"),  # 2 J
    Account(0, "train", "step"),  # 4 J
    Account(0, "validate", "step"),  # 8 J
    Account(-1, "train", "gap"),  # 16 J, opened at the end of the first epoch
    Account(1, "train", "step"),  # 32 J
    Account(-1, "train", "gap"),  # 64 J
    Account(-1, "test", "gap"),  # 128 J
]


def totals() -> Totals:
    sums = Sums.zeros(len(ACCOUNTS))
    sums.energy_j[:] = 2.0 ** np.arange(len(ACCOUNTS))
    sums.time_s[QUALITIES.index("measured")] = 1.0
    return Totals(ACCOUNTS, [sums], [0.0], ["a"])


ROWS = [
    EpochRow(epoch=7, session=0, train_j=1.0, is_final=True),  # of an earlier session
    EpochRow(epoch=0, session=1, train_j=5.0, val_j=7.0, logged_train_j=5.0, logged_val_j=6.0),
    EpochRow(epoch=1, session=1, train_j=30.0, logged_train_j=30.0, metric=0.5),
]


def ends(first: int | None = 4, second: int | None = 6) -> EpochEnds:
    result = EpochEnds()
    result.add(0, 1, first)
    result.add(1, 2, second)
    return result


def after(session: Energy) -> Energy:
    return Energy.sequence([Energy(1000.0, 0.0, 0.0, 1.0, 0.0, "measured", 1000.0), session])


def test_rows_get_what_is_known_at_the_end():
    known = ends().final(ROWS, totals(), Ranks(), after=after)
    assert known.rows[0] == ROWS[0]
    first, second = known.rows[1:]
    assert (first.train_j, first.val_j, first.is_final) == (4.0, 8.0, True)
    assert (first.logged_train_j, first.logged_val_j) == (5.0, 6.0)
    assert (second.train_j, second.val_j, second.metric) == (32.0, None, 0.5)
    assert first.total_kwh * 3.6e6 == pytest.approx(1000 + 2 + 4 + 8)
    assert second.total_kwh * 3.6e6 == pytest.approx(1000 + 2 + 4 + 8 + 16 + 32)
    assert known.between.energy_j == 2 + 16 + 64 + 128
    without = ends().final(ROWS, totals(), Ranks(), without=["test"])
    assert without.between.energy_j == 2 + 16 + 64


def test_an_epoch_whose_row_is_not_there_yet_is_between_the_rows():
    known = ends().now(ROWS[:2], totals(), after)
    assert [row.train_j for row in known.rows] == [1.0, 4.0]
    assert known.between.energy_j == 2 + 16 + 32 + 64 + 128


def test_derived_columns_follow_the_total():
    derive = {"cost": None}.fromkeys
    known = ends().now(ROWS, totals(), after, lambda kwh: {**derive(["cost"], kwh)})
    assert known.rows[1].derived == {"cost": known.rows[1].total_kwh}
    assert ends().now(ROWS, totals()).rows[1].derived == {}


def test_an_account_that_is_not_known_leaves_the_total_as_it_was_logged():
    known = ends(None, None).final(ROWS, totals(), Ranks(), after=after)
    assert [row.total_kwh for row in known.rows] == [None, None, None]
    assert known.rows[1].train_j == 4.0


def test_ranks_add_up():
    known = ends().final(ROWS, totals(), two_ranks(), after=after)
    assert (known.rows[1].train_j, known.rows[1].val_j) == (8.0, 16.0)
    assert known.rows[1].total_kwh * 3.6e6 == pytest.approx(1000 + 2 * 14)
    assert known.between.energy_j == 2 * (2 + 16 + 64 + 128)


@pytest.mark.parametrize("case", ["alone after an exception", "a rank stopped measuring"])
def test_where_ranks_cannot_say_rows_stay_as_they_were_logged(case):
    ranks = two_ranks().alone() if case == "alone after an exception" else two_ranks()
    known = ends().final(ROWS, totals(), ranks, is_known=case != "a rank stopped measuring")
    assert known.rows == ROWS
    assert known.between is None


def divided() -> Totals:
    accounts = [
        NO_ACCOUNT,
        Account(0, "train", "step", "forward"),  # 2 J
        Account(0, "train", "gap", "data"),  # 4 J
        Account(0, "validate", "step"),  # 8 J
        Account(1, "train", "step", "other"),  # 16 J
    ]
    sums = Sums.zeros(len(accounts))
    sums.energy_j[:] = 2.0 ** np.arange(len(accounts))
    sums.time_s[QUALITIES.index("measured")] = 1.0
    return Totals(accounts, [sums], [0.0], ["a"])


@pytest.mark.parametrize(("ranks", "n"), [(Ranks(), 1), (two_ranks(), 2)], ids=["one rank", "two ranks"])
def test_rows_have_the_phases_of_their_epochs(ranks, n, monkeypatch):
    first, second = ends().final(ROWS, divided(), ranks).rows[1:]
    assert [(p.name, p.energy_j, p.resolved) for p in first.phases] == [
        ("forward", n * 2.0, False),  # straight lines tell none
        ("data", n * 4.0, False),
    ]
    assert sum(p.energy_j for p in first.phases) == first.train_j
    assert second.phases == ()  # nothing of it is divided
    monkeypatch.setattr(epoch_rows, "EXACT", 1)
    logged = EpochPhase("data", 3.0, 0.3, resolved=True), EpochPhase("other", 9.0, 0.3, resolved=False)
    old = ends().final([ROWS[0], replace(ROWS[1], phases=logged), ROWS[2]], divided(), ranks).rows[1]
    assert [(p.energy_j, p.resolved) for p in old.phases] == [(n * 1.5, True), (n * 4.5, False)]
    assert ends().now(ROWS, divided()).rows[1].phases == tuple(
        replace(p, energy_j=p.energy_j / n, u_j=p.u_j / n) for p in first.phases
    )


def test_an_epoch_with_several_rows_has_its_energy_in_the_last():
    of_loop = EpochEnds()
    rows = [EpochRow(epoch=0, session=0, train_j=x, logged_train_j=x, metric=x) for x in (1.0, 2.0)]
    of_loop.add(0, 0)
    of_loop.add(0, 1)
    first, second = of_loop.final(rows, totals(), Ranks()).rows
    assert (first.train_j, first.logged_train_j, first.metric) == (None, 1.0, 1.0)
    assert second.train_j == 4.0
    of_loop.clear()
    assert of_loop.final(rows, totals(), Ranks()).rows == rows


@pytest.mark.parametrize("lately", [1, 2])
def test_a_checkpoint_has_the_joules_of_all_rows_and_works_out_the_last_uncertainties(monkeypatch, lately):
    monkeypatch.setattr(epoch_rows, "LATELY", lately)
    known = ends().now(ROWS, totals(), after)
    assert [row.train_j for row in known.rows] == [1.0, 4.0, 32.0]
    assert known.rows[1].val_j == 8.0
    assert [row.is_final for row in known.rows] == [True, False, False]
    assert [row.train_u_j is None for row in known.rows] == [True, lately == 1, False]
    assert known.between.energy_j == 2 + 16 + 64 + 128
    assert known.rows[2].total_kwh * 3.6e6 == pytest.approx(1000 + 2 + 4 + 8 + 16 + 32)


def test_phases_of_older_rows_stay_together_the_energy_of_their_epoch(monkeypatch):
    """At a checkpoint the joules of an older row are known better than its phases, which keep their proportions."""
    monkeypatch.setattr(epoch_rows, "LATELY", 1)
    logged = EpochPhase("data", 3.0, 0.3, resolved=True), EpochPhase("other", 9.0, 0.3, resolved=False)
    rows = [replace(row, phases=logged, train_j=12.0) for row in ROWS]
    first, second, third = ends().now(rows, totals()).rows
    assert first.phases == logged  # of an earlier session
    assert [(p.name, p.energy_j) for p in second.phases] == [("data", 1.0), ("other", 3.0)]
    assert [p.u_j for p in second.phases] == pytest.approx([0.1, 0.1])
    assert (second.train_j, third.phases) == (4.0, ())  # nothing of it is divided
    unknown = Totals([NO_ACCOUNT], [], [], [])
    (row,) = ends().now(rows, unknown).rows[1:2]
    assert (row.train_j, [p.energy_j for p in row.phases]) == (None, [None, None])
