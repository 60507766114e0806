from __future__ import annotations

import pytest
import torch

from lightning_energy.ledger.counts import Counts
from lightning_energy.ledger.device_clock import DeviceClock
from lightning_energy.ledger.session import Session
from lightning_energy.meters.find import OpenMeters
from lightning_energy.training.stages import TUNE, Stages
from tests.sim.clock import VirtualClock
from tests.sim.device import SimulatedEvents
from tests.training.parts import replay, session_of

BATCH = [torch.zeros(4, 2), torch.zeros(4)]


@pytest.fixture
def session():
    session = session_of()
    yield session
    session.close()


def stages(stage="fit", **kwargs) -> Stages:
    return Stages(Counts(), stage, **kwargs)


def entered(session) -> list[tuple[int, str]]:
    """Epochs and stages that have accounts, in the order of their coming."""
    return [*dict.fromkeys((account.epoch, account.stage) for account in session.totals().accounts[1:])]


@pytest.mark.parametrize(
    ("stage", "searches", "first"),
    [
        ("fit", False, "train"),
        ("fit", True, TUNE),
        ("validate", False, "validate"),
        ("test", False, "test"),
        ("predict", True, TUNE),
    ],
)
def test_a_run_begins_with_its_searches_or_its_work(session, stage, searches, first):
    stages(stage, searches=searches).begin(session)
    assert entered(session) == [(-1, first)]


def test_epochs_are_those_of_a_fit():
    assert stages().epoch(3) == 3
    assert stages("validate").epoch(3) == -1


def test_batches_belong_to_the_stage_that_was_entered(session):
    of_fit = stages()
    of_fit.begin(session)
    hooks = of_fit.enter(session, 0, "train")
    hooks.begin()
    assert hooks.end(BATCH, 0)  # the first one is attended to
    of_fit.marks.attend_at = 5
    assert not hooks.end(BATCH, 1)
    hooks = of_fit.enter(session, 0, "validate")
    hooks.begin()
    hooks.end(BATCH, 0)
    assert entered(session) == [(-1, "train"), (0, "train"), (0, "validate")]
    assert of_fit.counts.units == {"train": {"samples": 8}, "validate": {"samples": 4}}


def test_without_a_session_no_mark_is_taken():
    of_fit = stages()
    hooks = of_fit.enter(None, 0, "train")
    hooks.begin()
    assert not hooks.end(BATCH, 0)
    of_fit.enter(None, 0, "validate").end(BATCH, 0)
    assert of_fit.counts.units == {"train": {"samples": 4}, "validate": {"samples": 4}}


def test_who_has_left_counts_on(session):
    """A number of samples that stops in the middle would be wrong."""
    of_fit = stages()
    of_fit.enter(session, 0, "train").end(BATCH, 0)
    hooks = of_fit.leave()
    assert hooks == of_fit.hooks
    waiting = len(session.inbox[0])
    hooks.begin()
    assert not hooks.end(BATCH, 1)
    assert len(session.inbox[0]) <= waiting
    assert of_fit.counts.units == {"train": {"samples": 8}}


def test_after_an_epoch_time_is_between_epochs(session):
    of_fit = stages()
    of_fit.enter(session, 0, "train")
    code = of_fit.end_epoch(session)
    assert of_fit.marks.gap_code == code > session.code(0, "train", "gap")
    assert session.ledger.accounts.rows[code] == (-1, "train", "gap", "")
    assert code != session.code(-1, "train", "gap")  # all older accounts are of the time before
    assert entered(session)[-1] == (-1, "train")


def test_a_change_of_stage_waits_for_the_device():
    events = SimulatedEvents(VirtualClock())
    session = Session(OpenMeters(), DeviceClock(events))
    of_fit = stages()
    before = events.syncs
    of_fit.begin(session)
    hooks = of_fit.enter(session, 0, "train")
    assert events.syncs == before + 2
    hooks.begin()
    hooks.end(BATCH, 0)
    assert events.syncs == before + 2
    session.close()


def tuned_j(searches: bool, restored: bool) -> float | None:
    """Joules of searches after a checkpoint was written, and perhaps restored."""
    session = session_of(replay())
    of_fit = stages(searches=searches)
    of_fit.enter(session, 0, "train")
    of_fit.maybe_begin_search(session)
    session._sampler.wait_until_known(session._started_ns + 5_000_000, 0.5)
    if restored:
        of_fit.end_search(session)
    of_fit.end_search(session)  # another checkpoint, which began no search
    session.finish()
    totals = session.totals()
    session.close()
    assert totals.energy(stage="train").energy_j is not None
    return totals.energy(stage=TUNE).energy_j


def test_a_search_in_the_middle_of_a_run_has_its_own_stage():
    assert tuned_j(searches=True, restored=True) > 0
    assert not tuned_j(searches=False, restored=True)


def test_a_search_that_ends_without_a_session_is_no_trouble(session):
    of_fit = stages(searches=True)
    of_fit.enter(session, 0, "train")
    of_fit.maybe_begin_search(session)
    of_fit.end_search(None)
    of_fit.end_search(session)
    assert (-1, TUNE) in entered(session) or (0, TUNE) in entered(session)
