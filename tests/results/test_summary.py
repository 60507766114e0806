from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.how_shared import HowShared
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.ledger.session import Session
from lightning_energy.meters import MeterInfo, ReplayMeter, open_meters
from lightning_energy.results.figures import Device
from lightning_energy.results.summary import StepSums, _falls_back, _note_on_lines, summarize
from tests.training.parts import TwoRanks

INFO = MeterInfo("d", "NVIDIA H100", "measured", "gpu", power_max_w=460.0, coverage=0.25, update_period_s=0.05)


def report_of(steps: StepSums, info: MeterInfo = INFO, ranks: Ranks | None = None, phase: str = "", **kwargs):
    meter = ReplayMeter(100.0, counter_period_s=0.05, info=info)
    session = Session(open_meters([meter], device=torch.device("cpu")), has_phases=bool(phase))
    session.mark(session.code(0, "train", "gap", phase))
    session.mark(session.code(0, "validate", "gap"))
    session.finish()
    try:
        return summarize(session, session.totals(), steps, ranks or Ranks(), outcome="completed", **kwargs)
    finally:
        session.close()


def test_part_time_sensors_and_short_steps_are_told():
    aliased = report_of(StepSums(100, 500.0, 100 * 0.0502))
    assert [n for n in aliased.notes if "aliasing risk" in n.text and n.kind == "aliasing"]
    assert aliased.step_j == 5.0
    short = report_of(StepSums(100, 100.0, 100 * 0.013))
    assert [
        n
        for n in short.notes
        if "steps of 13.0 ms are shorter than the time between two points of its curve (50 ms)" in n.text
    ]
    continuous = report_of(StepSums(100, 500.0, 100 * 0.0502), dataclasses.replace(INFO, coverage=1.0))
    assert not continuous.notes
    assert not report_of(StepSums()).notes


def test_a_register_that_moves_often_is_read_ten_times_a_second():
    often = dataclasses.replace(INFO, name="CPU package-0", coverage=1.0, update_period_s=0.001)
    report = report_of(StepSums(100, 100.0, 100 * 0.02), often)
    (note,) = report.notes
    assert (
        "CPU package-0: steps of 20.0 ms are shorter than the time between two points of its curve (100 ms)"
        in note.text
    )
    assert report.devices[0].period_s == 0.001
    assert not report_of(StepSums(10, 100.0, 10 * 0.2), often).notes


def test_short_stages_are_unresolved():
    report = report_of(StepSums())
    assert report.resolutions["train"] == "unresolved"  # two marks within microseconds
    assert ", unresolved" in report.details()


def test_units_of_two_ranks_in_the_order_of_stages():
    """Another rank that has the same, and a unit that this rank does not know, so that nobody does."""
    units = {"train": {"samples": 10, "tokens": None}, "validate": {"samples": 3, "tokens": 70}, "test": {"samples": 1}}
    two = Ranks(2, _sum=lambda tensor: 2 * tensor)
    report = report_of(StepSums(), ranks=two, units=units, stages=["tune", "train", "validate"])
    assert report.units == {"train": {"samples": 20, "tokens": None}, "validate": {"samples": 6, "tokens": 140}}
    assert report.samples == 20


def test_units_of_a_stage_without_batches_are_left_out():
    units = {"train": {"samples": 0, "tokens": 0}, "validate": {"samples": 3, "tokens": 0}}
    report = report_of(StepSums(), units=units)
    assert (report.units, report.samples) == ({"validate": {"samples": 3, "tokens": 0}}, 0)
    assert report.sample_j is report.unit_j("tokens", "validate") is None
    assert report_of(StepSums()).units == {}


def test_alone_after_an_exception():
    report = report_of(StepSums(), ranks=Ranks(4, 2).alone())
    (note,) = report.notes
    assert note.text.startswith("Incomplete: these are the figures of rank 2 alone")
    assert "3 other rank(s)" in note.text


def test_steps_are_summed():
    meter = ReplayMeter(100.0, counter_period_s=0.001, info=dataclasses.replace(INFO, update_period_s=0.001))
    session = Session(open_meters([meter], device=torch.device("cpu")))
    sums = StepSums()
    assert sums.take(session) is None
    step, gap = (session.code(0, "train", kind) for kind in ("step", "gap"))
    for _ in range(3):
        session.mark(step)
        for _ in range(100):
            sum(range(20_000))
        session.mark(gap)
    session.finish()
    news = sums.take(session)
    session.close()
    assert (news.n, sums.n) == (3, 3)
    assert sums.energy_j == pytest.approx(100.0 * sums.duration_s, rel=0.05)


def test_the_mean_of_steps_has_an_uncertainty():
    """Half of training is in steps: half of its 8 J are theirs, beside 3 J of their own ends."""
    train = Energy(1000.0, 8.0, math.hypot(8.0, 50.0), 2.0, 0.0, "measured", 500.0)
    u = StepSums(10, 500.0, 1.0, u2_j2=9.0).u_of_mean(train)
    assert u.u_j == pytest.approx(5.0 / 10)
    assert u.u_absolute_j == pytest.approx(math.hypot(5.0, 25.0) / 10)
    assert StepSums().u_of_mean(train) is None
    assert StepSums(1, 1.0, 1.0).u_of_mean(Energy.unknown(1.0)) is None


@pytest.mark.parametrize(("seconds", "is_noted"), [(0.5, False), (2.0, True)])
def test_a_counter_that_moves_too_seldom_is_noted(seconds, is_noted):
    shared = HowShared("lines", "its counter was seen to move too seldom for more")
    energy = Energy(100.0, 1.0, 5.0, seconds, 0.0, "measured", 50.0)
    device = Device("NVIDIA H100", "GPU-1", "gpu", energy, 0.1, shared=shared)
    assert _falls_back(device) is is_noted
    assert not _falls_back(dataclasses.replace(device, shared=HowShared("fitted")))
    integrated = dataclasses.replace(energy, quality="integrated")
    assert not _falls_back(dataclasses.replace(device, energy=integrated))  # which has no counter
    note = _note_on_lines(device)
    assert note.kind == "by_time"
    assert note.text.startswith(
        "NVIDIA H100: its counter was seen to move too seldom for more, so that energy between "
    )


def test_the_phases_of_each_of_several_ranks_are_kept():
    """One by one, for the verdict; those of one rank are its phases, and undivided training has none."""
    two = TwoRanks(2, _sum=lambda tensor: 2 * tensor)
    report = report_of(StepSums(), ranks=two, phase="data")
    assert [[phase.name for phase in phases] for phases in report.phases_by_rank] == [["data"], ["data"]]
    (together,), (one, other) = report.phases["train"], report.phases_by_rank
    assert one == other
    assert together.energy.duration_s == pytest.approx(one[0].energy.duration_s)
    assert report_of(StepSums(), phase="data").phases_by_rank == []
    assert report_of(StepSums(), ranks=two).phases_by_rank == []


def test_sums_of_steps_are_added_at_once():
    """A signal handler may raise between any two lines: joules without their steps would be a wrong mean."""

    class Torn(StepSums):
        @property
        def duration_s(self) -> float:
            raise KeyboardInterrupt

        @duration_s.setter
        def duration_s(self, _value: float) -> None:
            """Be a field all the same."""

    sums = StepSums(2, 6.0, 0.02, 0.1)
    with pytest.raises(KeyboardInterrupt):
        sums.add(Torn(1, 3.0, 0.01))
    assert sums == StepSums(2, 6.0, 0.02, 0.1)
