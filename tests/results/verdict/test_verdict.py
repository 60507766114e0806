"""The verdict on records whose figures are round: what is told, in which order, and what nobody could look at."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightning_energy
from lightning_energy import Energy, explain, load_record
from lightning_energy.commands.main import main
from lightning_energy.ledger.how_shared import ClassPower, HowShared
from lightning_energy.ledger.phases import PhaseEnergy
from lightning_energy.meters.base import Condition
from lightning_energy.results.brief import Place
from lightning_energy.results.figures import Device, FirstWaits, Spread
from lightning_energy.results.notes import Note
from lightning_energy.results.record import Record, Samples, Steps
from lightning_energy.results.rendering import as_text
from lightning_energy.results.rows import EpochRow
from lightning_energy.results.verdict import judge
from lightning_energy.results.verdict.judge import DEFECT
from lightning_energy.results.verdict.rules import RULES
from lightning_energy.results.write import write_record
from lightning_energy.scores.metric import Metric
from tests.records import energy, record

SCHEMA = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())


def phase(name: str, kwh: float, *, resolved: bool = True, seconds: float = 360.0, **more: Any) -> PhaseEnergy:
    longer = more.pop("longer", 1.0 if resolved else None)
    return PhaseEnergy(name, energy(kwh, duration_s=seconds, **more), resolved, longer)


def divided(*phases: PhaseEnergy, **more: Any) -> Record:
    """An hour of 1 kWh, of which these phases are parts; the rest is ``forward``. 360 steps."""
    rest = 1.0 - sum(p.energy.energy_j or 0.0 for p in phases) / 3.6e6
    run = record(1.0, None, **more)
    return replace(run, phases={"train": [*phases, phase("forward", rest)]}, steps=Steps(360, 10000.0))


def rules(run: Record, **more: Any) -> list[str]:
    return [s.rule for s in explain(run, **more).savings]


def why(run: Record, rule: str, **more: Any) -> str:
    (unseen,) = (u for u in explain(run, **more).unseen if u.rule == rule)
    return f"{unseen.why}; {unseen.remedy}"


def rows(*val_kwh: float | None, metrics: tuple[float | None, ...] = ()) -> list[EpochRow]:
    """Epochs of a tenth of a kWh, with validations of these energies in it."""
    return [
        EpochRow(
            session=0,
            epoch=i,
            train_j=0.36e6 - (kwh or 0.0) * 3.6e6,
            train_u_j=360.0,
            train_s=300.0,
            val_j=None if kwh is None else kwh * 3.6e6,
            val_u_j=None if kwh is None else 36.0,
            val_s=60.0,
            missing_s=0.0,
            total_kwh=0.1 * (i + 1),
            metric=metrics[i] if i < len(metrics) else None,
            validations=0 if kwh is None else 1,
        )
        for i, kwh in enumerate(val_kwh)
    ]


def course(*values: float | None, **more: Any) -> Record:
    """A run of 1 kWh whose epochs take a tenth each, with these values of the metric."""
    run = record(1.0, next(v for v in reversed(values) if v is not None), **more)
    return replace(run, score=None, epochs=rows(*[None if v is None else 0.001 for v in values], metrics=values))


# ------------------------------------------------------------------------------------------------ what is told


def test_savings_are_ranked_and_have_their_figures():
    """360 s of waiting in 360 steps are 1 s each, of which 1 ms ± 0.6 ms is that of taking a ready batch."""
    found = explain(divided(phase("data", 0.1), phase("saving", 0.3)))
    saving, waiting = found.savings
    assert (saving.rule, waiting.rule) == ("saving", "waiting")
    assert saving.energy_kwh == pytest.approx(0.15)
    assert saving.u_kwh == pytest.approx(0.15 * (0.05**2 + 0.03**2) ** 0.5)
    assert waiting.energy_kwh == pytest.approx(0.1 * 0.999)
    assert waiting.u_kwh == pytest.approx(0.1 * (0.05**2 + (0.001 / 3**0.5) ** 2 + 0.03**2) ** 0.5)
    assert waiting.share == pytest.approx(0.0999)
    assert waiting.because == "6.0 min of 1.00 h of training, 1 s a step, at 1 kW without a batch"
    assert found.energy_j == 3.6e6
    assert found.overlaps == []


@pytest.mark.parametrize(
    ("kwh", "u", "told"), [(0.1, 0.1, True), (0.1, 0.55, False), (0.021, 0.1, True), (0.0199, 0.1, False)]
)
def test_what_is_listed_exceeds_two_percent_and_two_standard_uncertainties(kwh, u, told):
    """In one step: taking its batch is nothing beside the wait."""
    run = replace(divided(phase("data", kwh, u=u, u_absolute=u)), steps=Steps(1, 1000.0))
    assert rules(run) == ["waiting"] * told
    assert [s.rule for s in explain(run).small] == ["waiting"] * (not told)


def test_savings_that_share_joules_are_named():
    found = explain(course(0.5, 0.9, *[0.6] * 8))
    assert [s.rule for s in found.savings] == ["stopping"]
    run = replace(course(0.5, 0.9, *[0.6] * 8), epochs=rows(*[0.03] * 10, metrics=(0.5, 0.9, *[0.6] * 8)))
    found = explain(run)
    assert [(a.rule, b.rule) for a, b in found.overlaps] == [("stopping", "validation")]
    assert (
        "Do not add up going on after the best epoch and validating often: in part they are the same joules."
        in " ".join(str(found).split())
    )
    assert [s["overlaps"] for s in found.to_plain()["savings"]] == [["validation"], ["stopping"]]


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ((0.5, 0.9, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6), 4),  # a patience of three
        ((0.5, 0.4, 0.4, 0.4, 0.4, 0.9, 0.6, 0.6, 0.6, 0.6), None),  # five, or the best is never reached: to the end
        ((0.5, 0.4, 0.4, 0.4, 0.9, 0.6, 0.6, 0.6, 0.6, 0.6), 8),
        ((0.5, None, 0.9, None, 0.6, 0.6, None, 0.6, 0.6, 0.6), 7),
        ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95), None),
    ],
)
def test_a_stop_keeps_the_best_epoch(values, ends):
    found = explain(course(*values))
    savings = [s for s in (*found.savings, *found.small) if s.rule == "stopping"]
    assert [s.energy_kwh for s in savings] == ([] if ends is None else [pytest.approx(0.1 * (9 - ends))])
    assert all(f"ends in epoch {ends};" in s.next_step for s in savings)


def test_a_stop_is_by_the_metric_where_less_is_better_and_by_the_score_where_there_is_one():
    run = course(9.0, 2.0, 5.0, 5.0, 5.0, 5.0, name="val_ppl", mode="min", scale="raw")
    (saving,) = (s for s in explain(run).savings if s.rule == "stopping")
    assert 'EarlyStopping("val_ppl", mode="min", patience=3) ends in epoch 4;' in saving.next_step
    run = course(0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    scores = (1.0, 2.0, 1.0, 1.0, 1.0, 1.0)
    run = replace(run, epochs=[replace(row, score=s) for row, s in zip(run.epochs, scores, strict=True)])
    (saving,) = (s for s in explain(run).savings if s.rule == "stopping")
    assert 'EarlyStopping("energy/score", mode="max", patience=3) ends in epoch 4;' in saving.next_step


def test_every_second_validation_is_the_first_third_and_so_on():
    run = replace(record(1.0, None), epochs=rows(0.01, 0.02, 0.03))
    (saving,) = (s for s in explain(run).savings if s.rule == "validation")
    assert saving.energy_kwh == pytest.approx(0.04)
    assert "for 6 % of the energy" in saving.because
    assert rules(replace(run, epochs=rows(0.05))) == []  # there is no second one


# ------------------------------------------------------------------------------------------------ what is not known


def test_what_the_first_validation_costs_more_the_second_may_cost_without_it():
    for first, saved, is_sure in ((0.09, 0.05, False), (0.031, 0.05, True), (0.02, 0.04, True)):
        found = explain(replace(record(1.0, None), epochs=rows(first, 0.03, 0.02, 0.04)))
        (saving,) = (s for s in (*found.savings, *found.small) if s.rule == "validation")
        assert saving.energy_kwh == pytest.approx(saved)
        assert (saving in found.savings) == is_sure
        assert saving.energy_j + 2 * saving.u_j > (first + 0.02) * 3.6e6


def test_without_phases_it_is_said_how_to_have_them():
    assert "train with EnergyCallback(phases=True)" in why(record(1.0, None), "waiting")


def test_what_is_not_resolved_is_never_told():
    run = divided(phase("data", 0.3, resolved=False, longer=4.0, u=0.5, u_absolute=0.5))
    assert rules(run) == []
    assert why(run, "waiting").endswith("is not resolved; it takes a run of 4.00 h at least to tell it")
    run = divided(phase("data", 0.3, resolved=False, u=0.5, u_absolute=0.5))
    assert "this sensor hardly tells it from its neighbours with steps like these" in why(run, "waiting")
    small = divided(phase("data", 0.005, resolved=False, u=0.5, u_absolute=0.5))  # 2 % at most, whatever it is
    assert [u for u in explain(small).unseen if u.rule == "waiting"] == []


def test_a_wait_that_is_short_beside_the_counter_is_not_listed():
    """The counter moves every 100 ms, and a step waits for 360 ms."""
    run = replace(divided(phase("data", 0.3)), steps=Steps(1000, 3600.0))
    assert rules(run) == []
    assert "takes 360 ms a step; in less than 400 ms, 4 updates" in why(run, "waiting")
    assert "number of its steps" in why(replace(run, steps=Steps(0, None)), "waiting")


ANEW = {"num_workers": 4, "persistent_workers": False}


def waits_at_beginnings(waits: FirstWaits | None, what: dict[str, Any], n: int = 100_000) -> Record:
    """360 s of waiting in steps that are far too short to tell each wait from the work around it."""
    return replace(divided(phase("data", 0.1), what=what), steps=Steps(n, 36.0), first_waits=waits)


def test_waits_at_the_beginnings_of_epochs_are_those_of_workers_that_start_anew():
    """Ten epochs that wait for 36 s each; workers that stay save nine of them."""
    (saving,) = explain(waits_at_beginnings(FirstWaits(10, 342.0, 36.0), ANEW)).savings
    assert saving.energy_kwh == pytest.approx(0.1 * 306 / 360, rel=1e-3)
    assert saving.u_kwh == pytest.approx(0.085 * (0.05**2 + 0.03**2 + 0.05**2) ** 0.5, rel=1e-3)  # of 5 % nobody knows
    assert "95 % of it at the beginning of 10 epochs, which start 4 workers anew" in saving.because
    assert saving.next_step.startswith("keep the workers from epoch to epoch (persistent_workers=True), or give")


@pytest.mark.parametrize(
    ("waits", "what"),
    [
        (None, ANEW),
        (FirstWaits(10, 300.0, 30.0), ANEW),  # others, too
        (FirstWaits(1, 360.0, 360.0), ANEW),  # workers that stay start once, too
        (FirstWaits(10, 342.0, 36.0), {}),
        (FirstWaits(10, 342.0, 36.0), {"num_workers": 0, "persistent_workers": False}),
        (FirstWaits(10, 342.0, 36.0), {"num_workers": 4, "persistent_workers": True}),
        (FirstWaits(2000, 342.0, 0.1), ANEW),  # each too short to be seen
    ],
)
def test_other_waits_are_nothing_that_workers_who_stay_would_save(waits, what):
    assert "powers that vary within a step" in why(waits_at_beginnings(waits, what), "waiting")
    if waits is None or waits.n < 2000:
        (saving,) = explain(waits_at_beginnings(waits, what, n=360)).savings
        assert "persistent_workers" not in saving.next_step


def test_waits_are_written_and_read_again(tmp_path):
    run = waits_at_beginnings(FirstWaits(10, 342.0, 36.0), ANEW)
    jsonschema.Draft202012Validator(SCHEMA).validate(run.to_plain())
    write_record(tmp_path / "energy.json", run)
    assert load_record(tmp_path) == run
    assert "first_waits" not in waits_at_beginnings(None, {}).to_plain()


def test_a_phase_with_missing_energy_is_not_told():
    assert why(divided(phase("data", 0.3, missing_s=1.0)), "waiting").startswith(
        "energy of its phase `data` is missing"
    )


def test_phases_of_one_rank_alone_are_not_told():
    run = divided(phase("data", 0.3))
    assert "not those of all ranks" in why(replace(run, stages={"train": energy(2.0)}), "waiting")


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (record(None, None), "its energy is unknown"),
        (record(1.0, None, spent={"missing_s": 90.0}), "the energy of 1.5 min of it is missing"),
        (record(1.0, None, notes=[Note("killed_session", "x")]), "more was spent than its total says"),
        (record(1.0, None, absent_ranks=1), "more was spent than its total says"),
        (record(1.0, None, stages={"test": energy(1.0)}, total=None), "nothing was trained in it"),
    ],
)
def test_of_a_run_that_is_not_known_nothing_is_said(run, text):
    run = replace(run, phases={"train": [phase("data", 1.0)]}, epochs=rows(*[0.05] * 10))
    found = explain(run)
    assert (found.savings, found.small) == ((), ())
    assert {u.why.startswith(text) for u in found.unseen} == {True}
    assert len(found.unseen) == 7


def test_a_validation_whose_energy_is_missing_is_not_told():
    assert "some validation" in why(replace(record(1.0, None), epochs=rows(0.05, None, 0.05)), "validation")


def test_without_a_metric_there_is_no_best_epoch():
    assert "no metric of quality" in why(replace(record(1.0, None), epochs=rows(0.1, 0.1)), "stopping")


def test_a_metric_that_no_epoch_has_is_none_of_a_stopping():
    assert "none of its epochs has a value" in why(replace(record(1.0, 0.9), epochs=[]), "stopping")


def with_cpu(watts: float | None) -> Record:
    """A board, and a CPU that reads the data."""
    classes = () if watts is None else (ClassPower("train", "data", watts, 1.0),)
    board = Device("A100", "GPU-1", "gpu", energy(0.8), 0.02, shared=HowShared("fitted", classes=classes))
    cpu = Device("EPYC", "package-0", "package", energy(0.2), 0.001)
    return replace(divided(phase("data", 0.1)), devices=[board, cpu])


def test_of_waiting_that_of_boards_alone_is_saved():
    """300 W for 360 s; the CPU's joules of fetching are needed in any case."""
    (waiting,) = explain(with_cpu(300.0)).savings
    assert waiting.energy_j == pytest.approx(300.0 * 360.0 * 0.999)
    assert "power of its boards in this phase is not known" in why(with_cpu(None), "waiting")
    cpu_alone = replace(with_cpu(300.0), devices=with_cpu(300.0).devices[1:])
    assert "workers would only move" in why(cpu_alone, "waiting")


def of_steps(power_w: float, **more: Any) -> Record:
    """An hour of steps of one power on a board of 400 W, whose idle power is 60 W ± 1 W."""
    kwh = power_w / 1000
    board = Device("A100", "GPU-1", "gpu", energy(kwh), 0.02, condition=Condition(power_limit_w=400.0))
    above = {"above_idle_j": (power_w - 60.0) * 3600, "above_idle_u": Spread(3600.0, 3600.0)}
    return record(kwh, None, devices=[board], gaps=energy(0.0, duration_s=0.0), **(above | more))


def test_a_small_batch_is_told_by_the_power_of_steps():
    (saving,) = explain(of_steps(120.0)).savings
    assert (saving.rule, saving.energy_j) == ("batch", pytest.approx(60.0 * 1800))
    assert saving.because == "steps drew 120 W of a limit of 400 W; idle boards 60 W"
    assert rules(of_steps(200.0)) == []
    assert [u.rule for u in explain(of_steps(200.0, above_idle_j=None)).unseen if u.rule == "batch"] == []
    assert "EnergyCallback(idle_s=10)" in why(of_steps(120.0, above_idle_j=None, above_idle_u=None), "batch")


def test_two_runs_know_what_a_precision_or_a_batch_size_saves():
    what = {"precision": "32-true", "batch_size": 8}
    run = replace(record(1.0, None, what=what), samples=Samples(1000, 3600.0, 36.0, 36.0))
    half = replace(run, what={**run.what, "precision": "bf16-mixed"}, samples=Samples(100, 1800.0, 36.0, 36.0))
    large = replace(run, what={**run.what, "batch_size": 64}, samples=half.samples)
    for other, rule in ((half, "precision"), (large, "batch")):
        (saving,) = explain(run, beside=other).savings
        assert (saving.rule, saving.energy_kwh) == (rule, pytest.approx(0.5))
    assert 'train with precision="bf16-mixed"' in explain(run, beside=half).savings[0].next_step
    assert "does not know the joules of another precision" in why(run, "precision")
    both = replace(half, what={**half.what, "batch_size": 64})
    assert "differs in batch_size, too" in why(run, "precision", beside=both)
    elsewhere = replace(half, devices=[replace(half.devices[0], name="H100")])
    assert "on other devices" in why(run, "precision", beside=elsewhere)
    assert "joules per sample of both" in why(run, "precision", beside=replace(half, samples=Samples(None, None)))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"accumulate_grad_batches": 4}, "differs in accumulate_grad_batches, too"),
        ({"devices": 2, "nodes": 2}, "differs in its number of ranks and its number of nodes, too"),
        ({"strategy": "FSDPStrategy"}, "differs in strategy, too"),
        ({"trainable_parameters": 3}, "differs in trainable parameters, too"),
        ({"parameters": 7}, "differs in parameters, too"),
    ],
)
def test_runs_that_are_unlike_in_more_than_one_fact_are_no_trial(change, text):
    run, other = of_two_precisions()
    assert rules(run, beside=other) == ["precision"]
    assert text in why(run, "precision", beside=replace(other, what={**other.what, **change}))


def of_two_precisions() -> tuple[Record, Record]:
    what = {"precision": "32-true", "batch_size": 8, "accumulate_grad_batches": 1, "devices": 1}
    run = replace(record(1.0, None, what=what), samples=Samples(1000, 3600.0, 36.0, 36.0))
    half = {**run.what, "precision": "bf16-mixed"}
    return run, replace(run, what=half, samples=Samples(100, 1800.0, 36.0, 36.0))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"stages": {"train": energy(1.0, quality="integrated")}},
            "its energy is measured, and that of the run beside",
        ),
        ({"session": energy(1.0, missing_s=2.0)}, "energy of the run beside it is missing"),
        ({"notes": [Note("gave_up", "x")]}, "energy of the run beside it is missing"),
        ({"absent_ranks": 1}, "energy of the run beside it is missing"),
        ({"devices": []}, "was measured on other devices"),
        ({"stages": {}}, "that of the run beside it missing"),
    ],
)
def test_runs_that_were_measured_in_unlike_ways_are_no_trial(change, text):
    run, other = of_two_precisions()
    assert text in why(run, "precision", beside=replace(other, **change))


def test_ranks_with_boards_of_several_models_are_not_compared():
    run = replace(divided(phase("backward", 0.5)), ranks=2)
    assert "no phases of each rank" in why(run, "ranks")
    devices = [replace(run.devices[0], name=name, rank=i) for i, name in enumerate(("A100", "H100"))]
    by_rank = [run.phases["train"]] * 2
    assert "several models" in why(replace(run, devices=devices, phases_by_rank=by_rank), "ranks")


JOULES = st.none() | st.sampled_from([0.0, 1e-30, 1.0, 3.6e6, 1e30])
SECONDS = st.sampled_from([0.0, 1e-9, 60.0, 3600.0])


@given(
    st.lists(st.tuples(st.sampled_from(["data", "saving", "backward", "mine"]), JOULES, SECONDS, st.booleans())),
    st.lists(st.tuples(JOULES, JOULES, st.none() | SECONDS, st.none() | st.floats(-1e9, 1e9))),
    st.tuples(JOULES, SECONDS, JOULES, st.sampled_from([("gpu",), ("package",), ("gpu", "package")])),
    st.integers(1, 2),
)
def test_whatever_figures_a_record_has_there_is_a_verdict(phases, epochs, whole, ranks):
    """No rule errs, whatever is 0 or not known, and no saving is told that is not a number."""
    total_j, total_s, gaps_j, scopes = whole

    def of(joules: float | None, seconds: float) -> Energy:
        return replace(energy(None if joules is None else joules / 3.6e6), duration_s=seconds)

    divided_ = [PhaseEnergy(name, of(joules, s), resolved) for name, joules, s, resolved in phases]
    powers = HowShared("fitted", classes=tuple(ClassPower("train", name, j or 0.0, 1.0) for name, j, *_ in phases))
    limit = Condition(power_limit_w=400.0)
    devices = [Device("A100", f"d-{s}", s, of(total_j, total_s), 0.02, condition=limit, shared=powers) for s in scopes]
    run = replace(
        of_steps(120.0, above_idle_j=gaps_j),
        devices=[replace(device, rank=rank) for device in devices for rank in range(ranks)],
        stages={"train": of(total_j, total_s)},
        session=of(total_j, total_s),
        total=of(total_j, total_s),
        gaps=of(gaps_j, total_s / 2),
        ranks=ranks,
        phases={"train": divided_},
        phases_by_rank=[divided_, divided_[:1]] if ranks > 1 else [],
        epochs=[
            EpochRow(epoch=i, train_j=t, train_u_j=t, val_j=v, val_u_j=v, val_s=s, total_kwh=t, metric=m)
            for i, (t, v, s, m) in enumerate(epochs)
        ],
        metric=Metric("val_loss", 1.0, "min", "raw"),
        score=None,
    )
    found = explain(run)
    assert [u for u in found.unseen if DEFECT in u.why] == []
    assert all(math.isfinite(s.energy_j) and math.isfinite(s.u_j) for s in found.savings)
    assert as_text(run.report)
    assert str(found)
    assert run.to_html()


def test_a_defect_of_a_rule_costs_neither_report_nor_record(monkeypatch):
    def errs(_run: Any) -> None:
        raise ZeroDivisionError("mine")

    monkeypatch.setattr(judge, "RULES", [replace(RULES[0], look=errs), *RULES[1:]])
    run = divided(phase("saving", 0.3))
    assert rules(run) == ["saving"]
    assert "an error of lightning-energy (ZeroDivisionError: mine)" in why(run, "waiting")


# ------------------------------------------------------------------------------------------------ where it stands


def test_the_report_has_two_lines_at_most():
    run = divided(phase("data", 0.1), phase("saving", 0.3))
    place = Place.of_record(Path("runs/a b/energy.json"))
    first, second = (x for x in as_text(run.report, place).split("\n") if x.startswith(("Could save", "And")))
    assert first == (
        "Could save: 15 % (540 kJ ± 31 kJ), saving checkpoints: save half as often: ModelCheckpoint(every_n_epochs=… "
        "or every_n_train_steps=…) twice as large"
    )
    assert second == "And: 10 %, waiting for data (`lightning-energy explain 'runs/a b'`)"
    assert "Could save" not in as_text(record(1.0, None).report, place)


def test_the_record_has_the_verdict_and_reads_back(tmp_path):
    run = replace(divided(phase("data", 0.1)), phases_by_rank=[[phase("forward", 0.9)], [phase("forward", 0.9)]])
    document = run.to_plain()
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert [s["rule"] for s in document["verdict"]["savings"]] == ["waiting"]
    write_record(tmp_path / "energy.json", run)
    assert load_record(tmp_path) == run
    assert explain(tmp_path) == explain(run)
    assert "verdict" not in replace(run, outcome="running").to_plain()


def test_the_page_has_a_section_of_it():
    page = divided(phase("data", 0.1)).to_html()
    assert "<h2>What would save energy</h2>" in page
    assert "give the DataLoader more workers" in page
    assert "Could save" not in page
    assert "What would save energy" not in record(1.0, None).to_html()


def test_the_command(tmp_path, capsys):
    write_record(tmp_path / "energy.json", divided(phase("data", 0.1)))
    assert main(["explain", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("What would have saved energy in this run of 3.6 MJ (1 kWh):\n1. waiting")
    assert main(["explain", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == explain(tmp_path).to_plain()
    assert main(["explain", str(tmp_path), "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "### What would have saved energy in this run of 3.6 MJ (1 kWh)\n\n| what the energy goes to |"
    )
    assert "(num\\_workers)" in out


def test_a_phase_of_nothing_has_the_powers_of_its_boards():
    """A board that drew nothing in a phase beside a CPU that did not, either: the balance of ranks asks for it."""
    run = with_cpu(0.0)
    backward, nothing = phase("backward", 0.2), phase("data", 0.0, u=0.0)
    board, cpu = (replace(device, rank=0) for device in run.devices)
    powers = HowShared(
        "fitted", classes=(ClassPower("train", "data", 0.0, 0.0), ClassPower("train", "backward", 9.0, 1.0))
    )
    devices = [replace(d, rank=rank, shared=powers) for rank in range(2) for d in (board, cpu)]
    run = replace(run, ranks=2, devices=devices, phases_by_rank=[[backward, nothing]] * 2, steps=Steps(36, 100.0))
    assert [u for u in explain(run).unseen if DEFECT in u.why] == []
    none = replace(run, phases_by_rank=[[phase("backward", 0.0), nothing]] * 2)
    none = replace(none, devices=[replace(d, shared=HowShared("fitted", classes=(ClassPower("train", "data", 0.0, 0.0),
                   ClassPower("train", "backward", 0.0, 0.0)))) for d in devices])  # fmt: skip
    assert "took nothing in training" in why(none, "ranks")


def test_where_every_rule_has_looked_and_found_nothing_that_is_an_answer(tmp_path):
    """Two epochs on a busy board, without a wait: nothing to save, and nothing that nobody knows."""
    board = replace(of_steps(300.0).devices[0])
    run = replace(of_steps(300.0), devices=[board], epochs=rows(0.0, metrics=(0.5,)), what={"precision": "bf16-mixed"})
    run = replace(run, phases={"train": [phase("forward", 0.3)]}, metric=Metric("val_acc", 0.5), score=None)
    found = explain(run)
    assert (found.savings, found.small, found.unseen) == ((), (), ())
    write_record(tmp_path / "energy.json", run)
    assert main(["explain", str(tmp_path)]) == 0
    write_record(tmp_path / "energy.json", replace(run, phases={}))
    assert main(["explain", str(tmp_path)]) == 3  # nobody knows of waiting


def test_an_estimate_says_what_it_is_and_the_shares_that_it_would_give(tmp_path, capsys):
    run = course(
        0.5, 0.9, *[0.6] * 8, spent={"quality": "estimated", "u_j": 1e5, "u_absolute_j": math.hypot(1e5, 1.8e6)}
    )
    found = explain(run)
    assert (found.savings, found.u_j) == ((), math.hypot(1e5, 1.8e6))
    text = " ".join(str(found).split())
    assert text.startswith(
        "Nothing is sure that would have saved much of the 3.6 MJ (1 kWh) that are estimated for this run."
    )
    assert "The energy is estimated by a model (± 50 %, k=1), not measured: no saving is sure." in text
    assert (
        "By the model alone, these are the shares of the run: 50 % for going on after the best epoch. How sure" in text
    )
    assert "Too little, or not sure: validating often (" in text
    write_record(tmp_path / "energy.json", run)
    assert main(["explain", str(tmp_path)]) == 1
    assert "no saving is sure" in " ".join(capsys.readouterr().out.split())


def test_exit_codes_of_the_command(tmp_path, capsys):
    assert main(["explain", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("lightning-energy explain: ")
    write_record(tmp_path / "energy.json", record(None, None))
    assert main(["explain", str(tmp_path)]) == 3
    assert capsys.readouterr().out.startswith("Nothing can be said: the energy of this run is unknown.")
    estimated = course(0.5, 0.9, *[0.6] * 8, spent={"quality": "estimated"})
    write_record(tmp_path / "energy.json", estimated)
    assert main(["explain", str(tmp_path)]) == 1
    assert "estimated by a model (± 5 %, k=1), not measured: so are these savings" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["explain", str(tmp_path), "--beside", str(tmp_path / "none")]) == 2


def test_names_of_others_steer_no_terminal():
    run = course(0.5, 0.9, *[0.6] * 8, name="val\x1b[2J\nacc", mode="max", scale="raw")
    assert "\x1b" not in str(explain(run))
