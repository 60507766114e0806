"""Records that ranks left on their own, put together."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import torch

import lightning_energy
from lightning_energy import ReplayMeter
from lightning_energy.commands.main import main
from lightning_energy.ledger.phases import PhaseEnergy
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.ledger.session import Session
from lightning_energy.ledger.steps import SumsOfSteps
from lightning_energy.meters import MeterInfo, open_meters
from lightning_energy.results.formats import convert
from lightning_energy.results.read import read_record
from lightning_energy.results.record import Record, Samples, make_record
from lightning_energy.results.record_ranks import load_record, rank_file, rank_files
from lightning_energy.results.rows import SessionRow
from lightning_energy.results.summary import summarize
from lightning_energy.results.write import write_record

SCHEMA = json.loads((Path(lightning_energy.__file__).parent / "results/record.schema.json").read_text())
N_RANKS = 3


def left_by(rank: int, outcome: str = "interrupted", samples: int | None = 10) -> Record:
    """What a rank writes after an exception: a real session on a device of its own."""
    # its period is told: on a busy machine three short sessions would measure three
    info = MeterInfo(f"gpu-{rank}", "replayed device", "measured", "gpu", update_period_s=0.001)
    meter = ReplayMeter(100.0 * (1 + rank), counter_period_s=0.001, info=info)
    session = Session(open_meters([meter], device=torch.device("cpu")))
    for stage in ("train", "validate"):
        session.mark(session.code(0, stage, "gap"))
        time.sleep(0.03)  # that is the stage
    session.finish()
    ranks = Ranks(N_RANKS, rank).alone()
    units = {"train": {"samples": samples, "tokens": 7}, **({} if rank else {"validate": {"samples": 4, "tokens": 5}})}
    report = summarize(
        session, session.totals(), SumsOfSteps(), ranks, outcome=outcome, units=units, passes={"validate": 4}
    )
    session.close()
    row = SessionRow(0.0, outcome, report.session)
    return make_record(replace(report, total=report.session), started_unix_s=0.0, run_id="a", rank=rank, sessions=[row])


def leave(folder: Path, *records: Record) -> None:
    for record in records:
        write_record(
            folder / "energy.json" if not record.rank else rank_file(folder / "energy.json", record.rank), record
        )


def test_what_three_ranks_left_is_the_run(tmp_path):
    parts = [left_by(rank) for rank in range(N_RANKS)]
    leave(tmp_path, *parts)
    assert [p.name for p in rank_files(tmp_path / "energy.json")] == ["energy.rank1.json", "energy.rank2.json"]
    run = load_record(tmp_path)
    jsonschema.Draft202012Validator(SCHEMA).validate(run.to_plain())
    assert (run.ranks, run.absent_ranks) == (3, 0)
    for of in (lambda r: r.session, lambda r: r.stages["train"], lambda r: r.gaps, lambda r: r.total):
        assert of(run).energy_j == pytest.approx(sum(of(p).energy_j for p in parts))
    assert run.session.power_w == pytest.approx(600, rel=0.2)  # 100 + 200 + 300
    assert run.samples.n == 30
    assert run.samples.mean_j == pytest.approx(run.stages["train"].energy_j / 30)
    assert run.units == {"train": {"samples": 30, "tokens": 21}, "validate": {"samples": 4, "tokens": 5}}
    assert (run.n_val, run.n_test) == (12, None)
    assert [(d.device_id, d.rank) for d in run.devices] == [("gpu-0", 0), ("gpu-1", 1), ("gpu-2", 2)]
    for device, part in zip(run.devices, parts, strict=True):
        assert device.power == part.devices[0].power
        assert device.power.energy_j >= device.energy.energy_j * 0.999  # before the first stage, too
    text = run.report.details()
    assert "Put together from the records of ranks 0, 1, 2" in text
    assert "Incomplete" not in text
    assert "Covers, read by 3 ranks: 3 x " in text


@pytest.mark.parametrize("name", ["lr[0.1].json", "a*b?.json", "energy.json"])
def test_a_name_is_no_pattern(tmp_path, name):
    file, other = tmp_path / name, tmp_path / "lr0.json"
    for path in (rank_file(file, 1), rank_file(other, 2)):
        write_record(path, left_by(1))
    assert rank_files(file) == [rank_file(file, 1)]


def divided(record: Record, *names: str) -> Record:
    """The record with the training in as many equal phases."""
    train = record.stages["train"]
    part = replace(train, energy_j=train.energy_j / len(names))
    return replace(record, phases={"train": [PhaseEnergy(n, part, resolved=True, longer=1.0) for n in names]})


def test_phases_of_all_ranks_are_their_stage(tmp_path):
    zero, one, two = (left_by(rank) for rank in range(N_RANKS))
    of_each = divided(zero, "data", "mine"), divided(one, "data"), divided(two, "its", "data")
    leave(tmp_path, *of_each)
    run = load_record(tmp_path)
    assert [phase.name for phase in run.phases["train"]] == ["data", "mine", "its"]
    known_j = sum(phase.energy.energy_j for phase in run.phases["train"])
    assert known_j == pytest.approx(run.stages["train"].energy_j, rel=1e-9)
    assert run.phases_by_rank == [record.phases["train"] for record in of_each]
    jsonschema.Draft202012Validator(SCHEMA).validate(run.to_plain())
    leave(tmp_path, one)  # undivided: the phases of the others are not the stage of all
    assert (load_record(tmp_path).phases, load_record(tmp_path).phases_by_rank) == ({}, [])
    rank_file(tmp_path / "energy.json", 1).unlink()
    run = load_record(tmp_path)
    known_j = sum(phase.energy.energy_j for phase in run.phases["train"])
    assert known_j == pytest.approx(run.stages["train"].energy_j, rel=1e-9)
    assert run.phases_by_rank == []


def test_co2e_is_of_all_ranks(tmp_path):
    parts = [convert(left_by(rank), carbon_intensity=100) for rank in range(N_RANKS)]
    leave(tmp_path, *parts)
    run = load_record(tmp_path)
    assert run.derived.co2eq_g == pytest.approx(sum(p.derived.co2eq_g for p in parts))
    assert run.derived.co2eq_g == pytest.approx(100 * run.total.energy_j / 3.6e6)


def test_a_rank_that_left_nothing_is_missing(tmp_path, capsys):
    zero, one = left_by(0), left_by(1)
    leave(tmp_path, zero, one)
    run = load_record(tmp_path)
    assert (run.ranks, run.absent_ranks) == (2, 1)
    assert run.session.missing_s == pytest.approx(zero.session.duration_s)
    assert run.samples == Samples(None, None)
    assert run.n_val is None
    assert run.units["train"] == {"samples": None, "tokens": None}
    assert main(["report", str(tmp_path)]) == 0
    assert ", 1 other rank; more was spent than the figures say" in capsys.readouterr().out
    assert "Incomplete: 1 rank(s) left no record; their energy is missing" in run.report.details()


def test_a_rank_that_was_killed_is_missing_since_its_last_word(tmp_path):
    zero, one, two = left_by(0), left_by(1, "running"), left_by(2)
    zero = replace(zero, updated_unix_s=one.updated_unix_s + 7.5)
    leave(tmp_path, zero, one, two)
    run = load_record(tmp_path)
    assert run.session.missing_s == pytest.approx(7.5)
    assert run.samples.mean_j is None
    assert run.units["train"] == {"samples": None, "tokens": None}


def test_earlier_sessions_stay_in_the_total(tmp_path):
    """They are told apart from this one, whose row is there only when it has ended, and is of one rank alone."""
    zero, one, two = (left_by(rank) for rank in range(N_RANKS))
    earlier = replace(zero.session, energy_j=1000.0, u_j=0.0, u_absolute_j=50.0)
    zero = replace(zero, before=earlier, sessions=[SessionRow(-100.0, "completed", earlier), *zero.sessions])
    leave(tmp_path, zero, one, two)
    run = load_record(tmp_path)
    jsonschema.Draft202012Validator(SCHEMA).validate(run.to_plain())
    assert run.total.energy_j == pytest.approx(1000 + run.session.energy_j)
    assert [row.energy.energy_j for row in run.sessions] == [1000.0, run.session.energy_j]
    for outcome in ("running", "interrupted"):  # killed, and noticed afterwards: it has no row of its own
        leave(tmp_path, replace(zero, outcome=outcome, sessions=zero.sessions[:1]))
        again = load_record(tmp_path)
        assert again.total == run.total
        assert [row.energy.energy_j for row in again.sessions] == [1000.0]


def test_what_ranks_left_of_an_earlier_session_is_not_counted(tmp_path):
    zero, one, two = (left_by(rank) for rank in range(N_RANKS))
    leave(
        tmp_path,
        replace(zero, started_unix_s=1e6),
        replace(one, started_unix_s=1e6 - 3600),
        replace(two, started_unix_s=1e6),
    )
    assert [d.device_id for d in load_record(tmp_path).devices] == ["gpu-0", "gpu-2"]


def test_samples_that_ranks_share_are_not_counted_twice(tmp_path):
    parts = [left_by(rank) for rank in range(N_RANKS)]
    parts[0] = replace(parts[0], what={"devices": 3, "data_parallel_replicas": 1})
    leave(tmp_path, *parts)
    assert load_record(tmp_path).samples == Samples(None, None)
    assert load_record(tmp_path).units["train"]["tokens"] is None
    assert Ranks(4, replicas=2).of_all(10.0) == 20
    assert Ranks(4).of_all(10.0) == 40
    assert Ranks(4, replicas=2).alone().of_all(10.0) == 10
    assert Ranks(4).of_all(None) is None


def test_what_is_not_of_this_run_is_left_alone(tmp_path):
    zero, one, two = (left_by(rank) for rank in range(N_RANKS))
    leave(tmp_path, zero, replace(one, run_id="b"), two)
    rank_file(tmp_path / "energy.json", 7).write_text("{")
    run = load_record(tmp_path)
    assert [d.device_id for d in run.devices] == ["gpu-0", "gpu-2"]
    assert run.absent_ranks == 1
    complete = replace(zero, absent_ranks=0, outcome="completed")
    leave(tmp_path, complete)
    assert load_record(tmp_path) == read_record(tmp_path)
    assert load_record(rank_file(tmp_path / "energy.json", 2)) == two  # asked for itself
