from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_energy.curves.energy import Energy
from lightning_energy.ledger.phases import PhaseEnergy
from lightning_energy.results.layout_phases import SUPPOSED, facts_of_phases, line_of_phases
from lightning_energy.results.node import Node
from lightning_energy.results.parse import record_of
from lightning_energy.results.record import make_record
from lightning_energy.results.report import Report


def energy(joules: float | None, u_j: float, duration_s: float) -> Energy:
    quality = "missing" if joules is None else "measured"
    return Energy(joules, u_j, 2 * u_j, duration_s, 0.0, quality, joules and joules / duration_s)


NEVER = "this sensor hardly tells it from its neighbours with steps like these"
LONGER = "it takes a run of 30.00 s at least to tell it"
TRAIN = energy(1000.0, 1.0, 10.0)
PHASES = [
    PhaseEnergy("data", energy(100.0, 5.0, 4.0), resolved=True, longer=1.0),
    PhaseEnergy("backward", energy(700.0, 20.0, 4.0), resolved=True, longer=1.0),
    PhaseEnergy("optimizer", energy(150.0, 100.0, 1.0), resolved=False, longer=3.0),
    PhaseEnergy("mine", energy(40.0, 40.0, 0.97), resolved=False),
    PhaseEnergy("copy", energy(None, 0.0, 0.03), resolved=False),
]


@pytest.fixture
def report() -> Report:
    return Report("completed", {"train": TRAIN}, TRAIN, TRAIN, 1, [], phases={"train": PHASES})


def test_each_phase_has_a_line_the_largest_first(report):
    assert facts_of_phases(report) == [
        ("Of train, backward", "700 J ± 40 J, 70 % of its energy, in 4.00 s (40 % of the time)"),
        (
            "Of train, optimizer",
            "not resolved, in 1.00 s (10 % of the time): it takes a run of 30.00 s at least to tell it",
        ),
        ("Of train, waiting for data", "100 J ± 10 J, 10 % of its energy, in 4.00 s (40 % of the time)"),
        ("Of train, mine", f"not resolved, in 0.97 s (10 % of the time): {NEVER}"),
        ("Of train, copying it to the device", "unknown, in 0.03 s (0.3 % of the time)"),
        ("Of phases", SUPPOSED),
    ]
    assert "Of train, backward: 700 J" in report.details()


def test_the_short_report_has_one_line_on_them(report):
    text = "backward 70 %, waiting for data 10 %; not resolved: optimizer, mine"
    assert line_of_phases(report) == [("Of training", text)]
    assert text in str(report)
    assert line_of_phases(replace(report, phases={})) == facts_of_phases(replace(report, phases={})) == []


def test_a_record_has_them_and_is_read_without(report):
    record = make_record(report, started_unix_s=0.0)
    document = record.to_plain()
    assert document["phases"]["train"][2]["longer"] == 3.0
    assert record_of(Node(document)).report.phases == {"train": PHASES}
    without = {key: value for key, value in document.items() if key != "phases"}
    assert record_of(Node(without)).report.phases == {}
    assert "phases" not in make_record(replace(report, phases={}), started_unix_s=0.0).to_plain()
