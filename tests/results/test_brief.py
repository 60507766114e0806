"""The short report, read aloud: every kind of run, in a dozen lines at most."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.energy import Energy
from lightning_energy.results.brief import MOST_LINES, Place, in_brief, per_unit
from lightning_energy.results.carbon import Conversion
from lightning_energy.results.figures import Best, Device
from lightning_energy.results.notes import Note
from lightning_energy.results.rendering import as_text
from lightning_energy.results.report import Report
from lightning_energy.results.verdict.saving import Saving, Verdict
from lightning_energy.scores.metric import Metric

PLACE = Place.of_record(Path("runs/quickstart/version_0/energy.json"))


def joules(energy_j: float, seconds: float = 90.0, *, u: float = 0.01, u_absolute: float = 0.07, **more) -> Energy:
    row = {"missing_s": 0.0, "quality": "measured", "power_w": energy_j / seconds} | more
    return Energy(energy_j, u * energy_j, u_absolute * energy_j, seconds, **row)


def estimated(energy_j: float, seconds: float = 10.6) -> Energy:
    return joules(energy_j, seconds, u_absolute=0.5, quality="estimated")


GPU = Device("NVIDIA A100", "GPU-1", "gpu", joules(600.0), 0.1)
CPU = Device("CPU package-0", "p0", "package", joules(112.0), 0.001)
MODEL = Device("CPU model, 2 threads", "m", "package", estimated(85.06), None, "a model, no measurement")
FIT = Report(
    outcome="completed",
    stages={"sanity_check": joules(5.0, 1.0), "train": joules(672.0, 80.0), "validate": joules(35.0, 9.0)},
    session=joules(712.0),
    total=joules(712.0),
    sessions=1,
    devices=[GPU, CPU],
    steps=280,
    step_j=2.4,
    samples=8806,
    sample_j=0.0763,
    gaps=joules(74.0),
    metric=Metric("val_acc", 0.9722),
    metric_epoch=6,
    best=Best(3, 0.96, 2.17, 1.2e-4),
    score=1.87,
    score_name="energy_penalized_accuracy(alpha=5)",
)
TEST = replace(
    FIT,
    stages={"test": joules(42.0, 2.0)},
    session=joules(42.0, 2.0),
    total=None,
    sessions=0,
    step_j=None,
    sample_j=None,
    gaps=None,
    metric=None,
    best=None,
    score=None,
)
ON = "measured on NVIDIA A100 + CPU package-0"


def lines(report: Report, place: Place = PLACE) -> list[str]:
    return as_text(report, place).split("\n")


def line(report: Report, label: str) -> str:
    (found,) = (text for text in lines(report) if text.startswith(label))
    return found


def test_a_measured_training():
    assert lines(FIT) == [
        f"Energy: 712 J (0.198 Wh) in 1.5 min, {ON}",
        "  train         672 J   94 %   76.3 mJ/sample, 2.4 J/step, 11 % of training between steps",
        "  validate       35 J    5 %",
        "  sanity check    5 J  0.7 %",
        "Accuracy: 0.9722 (val_acc, epoch 6); score 1.87 (best 2.17 in epoch 3)",
        "Meter: ± 1 % repeatability, ± 7 % absolute; runs differ by more",
        "Record: runs/quickstart/version_0/energy.json",
    ]


def test_an_estimate_says_so_first_and_is_nowhere_called_measured():
    all_ = estimated(85.06)
    absent = Note("absent_meter", "CPU: only root reads it.")
    text = lines(replace(FIT, session=all_, total=all_, stages={"train": all_}, devices=[MODEL], notes=[absent]))
    assert text[0] == "Energy: about 85.1 J (0.0236 Wh) in 10.60 s, estimated by CPU model, 2 threads"
    assert "Meter: none; the estimate is ± 50 %. `lightning-energy doctor` says what can be measured here" in text
    assert "2 notes: lightning-energy report runs/quickstart/version_0 --details" in text
    assert "measured on" not in "\n".join(text)


def test_an_estimated_part_makes_all_of_it_an_estimate():
    half = joules(712.0, u_absolute=0.2, quality="estimated")
    first = lines(replace(FIT, session=half, total=half, devices=[GPU, MODEL]))[0]
    assert first == (
        "Energy: about 712 J (0.198 Wh) in 1.5 min, estimated by CPU model, 2 threads, and measured on NVIDIA A100"
    )
    resumed = replace(FIT, total=joules(2100.0, quality="estimated", u_absolute=0.3), sessions=2)
    assert lines(resumed)[0].endswith(f"over 2 sessions, in part estimated; this session {ON}")
    assert line(resumed, "Meter") == "Meter: ± 30 % with the estimated part"


def test_missing_time_is_said_in_all_and_where_it_is():
    lost = joules(672.0, 80.0, missing_s=12.0)
    all_ = joules(712.0, missing_s=12.0)
    notes = [
        Note("sensor", "NVIDIA A100: could not be read for 12 s"),
        Note("absent_meter", "CPU: only root reads it."),
    ]
    report = replace(FIT, session=all_, total=all_, stages=FIT.stages | {"train": lost}, sample_j=None, notes=notes)
    assert "  train         672 J   94 %   2.4 J/step, 11 % of training between steps, 12.00 s missing" in lines(report)
    assert line(report, "Missing") == ("Missing: the energy of 12.00 s of 1.5 min; more was spent than the figures say")
    assert line(report, "Meter").endswith("; runs differ by more; not measured: CPU")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("killed_session", "part of a killed session"),
        ("unknown_before", "earlier sessions"),
        ("after_checkpoint", "what was spent after the checkpoint that was resumed"),
        ("gave_up", "all that was spent after measuring stopped"),
        ("sensor", "a sensor that failed for a while"),
        ("incomplete", "other ranks"),
    ],
)
def test_every_note_that_lowers_the_total_has_its_words(kind, words):
    assert Note(kind, "x").lowers_total
    missing = line(replace(FIT, notes=[Note(kind, "a long sentence")]), "Missing")
    assert missing == f"Missing: {words}; more was spent than the figures say"


def test_a_sensor_that_beats_against_steps_is_doubtful_aloud():
    report = replace(FIT, notes=[Note("aliasing", "x")])
    assert "steps keep time with the sensor, so that figures may be up to 40 % off" in line(report, "Meter")


def test_several_sessions():
    text = lines(replace(FIT, total=joules(2100.0, 270.0), sessions=3))
    assert text[:3] == [
        f"Energy: 2.1 kJ (0.583 Wh) in 4.5 min over 3 sessions, {ON}",
        "This session alone: 712 J (0.198 Wh) in 1.5 min, by stage:",
        "  train         672 J   94 %   76.3 mJ/sample, 2.4 J/step, 11 % of training between steps",
    ]


def test_a_session_that_still_runs_is_counted():
    text = lines(replace(FIT, total=joules(2100.0, 270.0), sessions=1, outcome="running"))
    assert text[0].startswith("Energy so far: 2.1 kJ (0.583 Wh) in 4.5 min over 2 sessions, ")
    broke_off = lines(replace(FIT, total=joules(2100.0, 270.0), sessions=1, outcome="interrupted"))
    assert broke_off[0].startswith("Energy until the run was interrupted: 2.1 kJ (0.583 Wh) in 4.5 min over several")
    assert len(lines(replace(FIT, sessions=0, outcome="running"))) == len(lines(FIT))


def test_several_ranks():
    all_ = [*(replace(GPU, energy=joules(150.0), rank=rank) for rank in range(4)), CPU]
    text = lines(replace(FIT, ranks=4, devices=all_))
    assert text[0].endswith("measured on 4 x NVIDIA A100 + CPU package-0 by 4 ranks")
    assert "2.4 J/step of rank 0" in text[1]
    one = lines(replace(FIT, ranks=4, devices=[GPU], sessions=0, outcome="running"))
    assert one[0] == "Energy so far: 712 J (0.198 Wh) in 1.5 min, by 4 ranks, this one measured on NVIDIA A100"
    left = [GPU, replace(GPU, rank=2)]  # what two of three ranks left
    assert lines(replace(FIT, ranks=2, absent_ranks=1, devices=left))[0].endswith("on 2 x NVIDIA A100 by 2 ranks")
    missing = line(replace(FIT, absent_ranks=3, outcome="interrupted", notes=[Note("incomplete", "x")]), "Missing")
    assert missing.startswith("Missing: 3 other ranks; ")


def test_a_loss_has_a_direction_a_best_and_a_reason():
    report = replace(
        FIT,
        metric=Metric("val_loss", 0.3123, "min", "raw"),
        best=Best(4, 0.2912, None, 1.2e-4),
        score=None,
        no_score="val_loss says loss; the energy is complete, and nothing must be done",
    )
    assert line(report, "val_loss") == (
        "val_loss: 0.3123 (epoch 6, less is better, best 0.2912 in epoch 4 after 0.12 Wh)"
    )
    assert line(report, "No score") == (
        "No score: val_loss says loss; the energy is complete, and nothing must be done"
    )
    assert line(replace(report, metric=Metric("psnr", 31.2, "max", "raw")), "psnr").startswith(
        "psnr: 31.2 (epoch 6, more is better, "
    )


def test_percent_stays_percent():
    report = replace(FIT, metric=Metric("val_acc", 91.25, scale="percent"))
    assert line(report, "Accuracy") == "Accuracy: 91.25 % (val_acc, epoch 6); score 1.87 (best 2.17 in epoch 3)"
    off = replace(report, score=None, best=Best(6, 91.25, None, 1.2e-4))
    assert line(off, "Accuracy") == "Accuracy: 91.25 % (val_acc, epoch 6, the best, reached after 0.12 Wh)"


def test_the_last_epoch_may_be_the_best():
    report = replace(FIT, best=Best(6, 0.9722, 1.87, None))
    assert line(report, "Accuracy") == "Accuracy: 0.9722 (val_acc, epoch 6); score 1.87 (the best)"
    ends = replace(FIT, best=Best(6, 0.9722, 1.87, None, is_of_ends=True))
    assert line(ends, "Accuracy") == "Accuracy: 0.9722 (val_acc, epoch 6); score 1.87 (the best at an epoch's end)"
    unknown = replace(FIT, metric_epoch=None, best=None)
    assert line(unknown, "Accuracy") == "Accuracy: 0.9722 (val_acc); score 1.87"


def test_a_test_alone_and_one_after_a_training():
    assert lines(TEST, Place(PLACE.record)) == [
        f"Energy: 42 J (0.0117 Wh) in 2.00 s, {ON}",
        "  test  42 J  100 %",
        "Meter: ± 1 % repeatability, ± 7 % absolute; runs differ by more",
        "Record: runs/quickstart/version_0/energy.json",
    ]
    after = lines(replace(TEST, total=joules(712.0), sessions=1))
    assert after[0] == lines(TEST)[0]
    assert "Training before: 712 J (0.198 Wh)" in after


def test_an_energy_that_nobody_knows():
    nothing = Energy.unknown(3.0)
    report = replace(TEST, session=nothing, stages={"test": nothing}, devices=[replace(GPU, energy=nothing)])
    assert lines(report)[:-1] == [
        "Energy: unknown, nothing could be read in 3.00 s (NVIDIA A100)",
        "  test  unknown     3.00 s missing",
    ]


def test_derived_figures_and_energy_above_idle():
    report = replace(FIT, derived=Conversion.of("DEU", 1.5, 0.3).derive(FIT.total), above_idle_j=300.0)
    assert line(report, "CO2e") == "CO2e: 113 mg (380.95 g/kWh, DEU, PUE 1.5); cost 8.9e-05 (0.3 per kWh, PUE 1.5)"
    assert line(report, "Above idle") == "Above idle: 300 J of this session; the rest flows without work, too"
    only = replace(FIT, derived=Conversion.of(None, 1.0, 0.3).derive(FIT.total))
    assert line(only, "Cost") == "Cost: 5.93e-05 (0.3 per kWh)"


TO_SAVE = Verdict(
    [Saving(rule, rule, 30.0, 1.0, 0.04, "x", "y", frozenset()) for rule in ("waiting", "saving")],
    (), (), 712.0, "measured",
)  # fmt: skip


@given(st.integers(1, 30), st.booleans(), st.booleans(), st.booleans())
def test_never_more_than_a_dozen_lines(stages, everything, resumed, judged):
    changes = {"stages": {f"stage {i}": joules(i + 1.0) for i in range(stages)} | {"train": joules(5.0)}}
    if everything:
        notes = [Note(kind, "x") for kind in ("sensor", "gave_up", "aliasing", "absent_meter")]
        derived = Conversion.of("DEU", 1.5, 0.3).derive(FIT.total)
        changes |= {"notes": notes, "derived": derived, "above_idle_j": 1.0, "score": None, "no_score": "x"}
    if resumed:
        changes |= {"sessions": 3, "total": joules(2100.0, 270.0)}
    if judged:
        changes |= {"verdict": TO_SAVE}
    text = lines(replace(FIT, **changes))
    assert len(text) <= MOST_LINES
    assert len(text) == MOST_LINES or not any(row.startswith("  other") for row in text)


def test_the_smallest_stages_stand_together():
    stages = {f"stage {i}": joules(float(i)) for i in range(1, 15)}
    rows = in_brief(replace(TEST, stages=stages, session=joules(105.0)), PLACE).rows
    assert [row[:3] for row in rows][-2:] == [("stage 14", "14 J", "13 %"), ("other", "21 J", "20 %")]
    assert rows[-1][3] == "stage 1, stage 2, stage 3, stage 4, 2 more"


def test_energy_per_unit_is_that_of_training():
    assert per_unit(FIT, "train") == [("sample", 0.0763)]
    assert per_unit(FIT, "validate") == []


def test_a_record_that_could_not_be_written_is_none():
    place = Place(details="callback.report.details()", why_none="the disk is full")
    assert lines(FIT, place)[-1] == "Record: none, as the disk is full"


def test_the_way_to_the_details():
    assert Place().details == "report.details()"
    assert Place.of_record(Path("a/b/energy.json")).details == "lightning-energy report a/b --details"
    assert Place.of_record(Path("a/b/mine.json")).details == "lightning-energy report a/b/mine.json --details"
    assert Place.of_record(Path("a/b/energy.json"), "a/b/").details == "lightning-energy report a/b/ --details"
    assert Place.of_record(Path("my runs/energy.json")).details == "lightning-energy report 'my runs' --details"
