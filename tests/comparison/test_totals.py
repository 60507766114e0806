"""Sums over runs: each run once, kinds of quality apart, and what is not known said."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from lightning_energy.comparison.totals import NONE, totals
from lightning_energy.curves.power_series import PowerSeries
from lightning_energy.meters.clock import Anchor
from lightning_energy.results.notes import Note
from lightning_energy.results.rows import Evaluation, SessionRow
from lightning_energy.results.write import write_record
from tests.records import energy, put, record


def when(*date: int) -> float:
    return datetime(*date, tzinfo=timezone.utc).timestamp()


def hyper(**values: object) -> dict[str, object]:
    return {"what": {"hyperparameters": values}}


def test_projects_are_the_first_folders(tmp_path):
    put(tmp_path / "vision/logs/version_0", 1.0, run_id="a")
    put(tmp_path / "vision/logs/version_1", 2.0, run_id="b")
    put(tmp_path / "speech/version_0", 4.0, run_id="c")
    found = totals([tmp_path])
    assert [(row.group, row.runs, row.measured_kwh) for row in found.rows] == [
        (("speech",), 1, pytest.approx(4.0)),
        (("vision",), 2, pytest.approx(3.0)),
    ]
    assert found.whole.runs == 3
    assert found.whole.measured_kwh == pytest.approx(7.0)
    assert found.problems == ()
    both = totals([tmp_path / "vision", tmp_path / "speech"])
    assert [row.group for row in both.rows] == [("speech/version_0",), ("vision/logs",)]


def test_gains_add_linearly_and_repeatability_in_quadrature(tmp_path):
    """5 % of the gain and 0.1 % of repeatability of 3 and 4 kWh: the latter 0.005 kWh."""
    put(tmp_path / "a", 3.0, run_id="a")
    put(tmp_path / "b", 4.0, run_id="b")
    expected = (49 * (0.05**2 - 0.001**2) + 0.005**2) ** 0.5
    assert totals([tmp_path]).whole.measured_u_kwh == pytest.approx(expected, rel=1e-12)


def test_a_run_counts_once(tmp_path):
    put(tmp_path / "x/version_0", 1.0, run_id="a")  # went on in version_1
    put(tmp_path / "x/version_1", 3.0, run_id="a")
    shutil.copytree(tmp_path / "x/version_1", tmp_path / "y/copy")
    found = totals([tmp_path, tmp_path / "x"])
    assert (found.whole.runs, found.whole.measured_kwh) == (1, pytest.approx(3.0))


def test_kinds_of_quality_are_kept_apart(tmp_path):
    for i, quality in enumerate(["measured", "integrated", "estimated"]):
        put(tmp_path / quality, 2.0**i, run_id=quality, spent={"quality": quality})
    whole = totals([tmp_path]).whole
    assert (whole.measured_kwh, whole.integrated_kwh, whole.estimated_kwh) == pytest.approx((1.0, 2.0, 4.0))
    (row,) = totals([tmp_path / "measured"]).rows
    assert (row.integrated_kwh, row.estimated_u_kwh) == (None, None)


def test_what_is_not_known_is_said_and_in_no_sum(tmp_path):
    put(tmp_path / "unknown", None, run_id="a", spent={"missing_s": 3600.0})
    put(tmp_path / "partly", 1.0, run_id="b", spent={"missing_s": 60.0})
    put(tmp_path / "killed", 1.0, run_id="c", notes=[Note("killed_session", "more")])
    put(tmp_path / "running", 1.0, run_id="d", outcome="running")
    put(tmp_path / "known", 1.0, run_id="e")
    whole = totals([tmp_path]).whole
    assert (whole.runs, whole.unknown, whole.incomplete) == (5, 1, 3)
    assert whole.missing_s == pytest.approx(3660.0)
    assert whole.measured_kwh == pytest.approx(4.0)


def test_labels_are_hyperparameters_settings_and_the_seed(tmp_path):
    put(tmp_path / "a", 1.0, run_id="a", seed=3, **hyper(group="vision", optimizer={"lr": 0.1}))
    put(tmp_path / "b", 2.0, run_id="b", **hyper(group="speech"))
    put(tmp_path / "c", 4.0, run_id="c")
    rows = totals([tmp_path], by=["group", "module"]).rows
    assert {row.group: row.measured_kwh for row in rows} == {
        ("vision", "my.models.Net"): pytest.approx(1.0),
        ("speech", "my.models.Net"): pytest.approx(2.0),
        (NONE, "my.models.Net"): pytest.approx(4.0),
    }
    assert {row.group for row in totals([tmp_path], by=["optimizer/lr"]).rows} == {("0.1",), (NONE,)}
    assert {row.group for row in totals([tmp_path], by=["seed"]).rows} == {("3",), (NONE,)}
    put(tmp_path / "d", 8.0, run_id="d", seed=42, global_seed=5, **hyper(random_state=42))
    assert {row.group for row in totals([tmp_path], by=["seed"]).rows} == {("3",), ("5",), (NONE,)}
    assert {row.group for row in totals([tmp_path], by=["random_state"]).rows} == {("42",), (NONE,)}
    with pytest.raises(ValueError, match=r"no run has 'grup': give month, project, or one of group, module, "):
        totals([tmp_path], by=["grup"])


def test_sessions_and_evaluations_belong_to_the_month_in_which_they_began(tmp_path):
    """1 kWh in March, 2 in April, and a test of 0.5 kWh in May."""
    file = put(tmp_path, 3.0, run_id="a")
    sessions = [
        SessionRow(when(2026, 3, 31, 23), "interrupted", energy(1.0)),
        SessionRow(when(2026, 4, 1), "completed", energy(2.0)),
    ]
    test = Evaluation(when(2026, 5, 2), "completed", {"test": energy(0.5)})
    document = record(3.0, run_id="a")
    write_record(
        file,
        type(document)(
            **{**vars(document), "sessions": sessions, "evaluations": [test], "started_unix_s": when(2026, 4, 1)}
        ),
    )
    rows = totals([tmp_path], by=["month"]).rows
    assert [(row.group[0], row.runs, row.measured_kwh) for row in rows] == [
        ("2026-03", 1, pytest.approx(1.0)),
        ("2026-04", 0, pytest.approx(2.0)),
        ("2026-05", 0, pytest.approx(0.5)),
    ]
    assert totals([tmp_path], by=["month"]).whole.measured_kwh == pytest.approx(3.5)


def test_an_evaluation_alone_counts_once(tmp_path):
    test = Evaluation(0.0, "completed", {"test": energy(0.5)})
    document = record(0.5, run_id="a", total=None)
    write_record(tmp_path / "energy.json", type(document)(**{**vars(document), "evaluations": [test]}))
    assert totals([tmp_path]).whole.measured_kwh == pytest.approx(0.5)


def test_a_record_that_cannot_be_read_is_a_problem(tmp_path):
    put(tmp_path / "a", 1.0, run_id="a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/energy.json").write_text("{")
    found = totals([tmp_path])
    assert found.whole.runs == 1
    assert "b/energy.json is no JSON" in found.problems[0]
    assert totals([tmp_path / "nowhere"]).whole.runs == 0


def test_branches_from_one_checkpoint_are_all_in_the_sum(tmp_path):
    """1 kWh, then twice on from there: 2 and 3 kWh. A killed copy and a test in a folder of its own are of it, too."""

    def write(name: str, kwh: float, rows: list[SessionRow], **more: Any) -> None:
        made = record(kwh, run_id="a", spent=more)
        started_unix_s = rows[-1].started_unix_s - 0.01  # the record is begun before its session
        made = replace(made, sessions=rows, started_unix_s=started_unix_s, updated_unix_s=started_unix_s + 100.0)
        write_record(tmp_path / name / "energy.json", made)

    first = SessionRow(1000.0, "completed", energy(1.0))
    at_checkpoint = replace(first, outcome="checkpoint", energy=energy(0.8))
    write("v0", 1.0, [first])
    write("v1", 3.0, [first, SessionRow(2000.0, "completed", energy(2.0))])
    write("v2", 3.8, [at_checkpoint, SessionRow(3000.0, "interrupted", energy(3.0))])
    copy = replace(
        record(0.5, run_id="a", outcome="running"), started_unix_s=999.99, updated_unix_s=1001.0
    )  # made while v0 ran
    write_record(tmp_path / "copy/energy.json", copy)
    found = totals([tmp_path], by=["month"])
    assert (found.whole.runs, found.whole.incomplete) == (1, 0)
    assert found.whole.measured_kwh == pytest.approx(6.0)
    assert [row.measured_kwh for row in found.rows] == [pytest.approx(6.0)]
    estimated = [SessionRow(4000.0, "completed", energy(0.5, quality="estimated"))]
    write("v3", 1.5, [first, *estimated], quality="estimated")
    whole = totals([tmp_path]).whole  # by the worst kind of figure in it
    assert (whole.runs, whole.measured_kwh) == (1, None)
    assert whole.estimated_kwh == pytest.approx(6.5)


def test_a_killed_branch_is_not_one_that_began_in_its_time(tmp_path):
    """Power tells when its session began: 0.7 kWh from 1999.9 on, beside 2 kWh from 2000 on."""
    first, other = SessionRow(1000.0, "completed", energy(1.0)), SessionRow(2000.0, "completed", energy(2.0))

    def write(name: str, rows: list[SessionRow], **more: Any) -> None:
        made = record(sum(row.energy.energy_kwh for row in rows) + more.pop("kwh", 0.0), run_id="a")
        write_record(tmp_path / name / "energy.json", replace(made, sessions=rows, **more))

    power = PowerSeries(0, 1.0, (100.0,), clock=(Anchor(0, 1_999_900_000_000),))
    devices = [replace(record().devices[0], power=power)]
    ended = {"started_unix_s": 1999.99, "updated_unix_s": 6000.0}
    write("other", [first, other], **ended)
    killed = {"started_unix_s": 1999.8, "updated_unix_s": 5000.0, "session": energy(0.7), "devices": devices}
    write("killed", [first], kwh=0.7, **killed)
    assert totals([tmp_path]).whole.measured_kwh == pytest.approx(3.7)
    again = SessionRow(1999.9, "interrupted", energy(0.7))
    write("again", [first, again, SessionRow(7000.0, "completed", energy(4.0))], started_unix_s=6999.0)
    assert totals([tmp_path]).whole.measured_kwh == pytest.approx(7.7)


def test_runs_whose_records_made_place_for_later_ones_are_in_the_sum(tmp_path):
    """record="runs", three times: two are kept with the time in their names. A record that is given is one run."""
    file = put(tmp_path / "runs", 1.0, run_id="a")
    for name, kwh, run_id in (("2026-03-01_12-00-00", 2.0, "b"), ("2026-03-01_12-00-00-2", 4.0, "c")):
        write_record(file.with_name(f"energy.{name}.json"), record(kwh, run_id=run_id))
    (file.parent / "energy.rankings.json").write_text("{}")
    assert totals([tmp_path]).whole.measured_kwh == pytest.approx(7.0)
    assert totals([tmp_path]).rows[0].group == ("runs",)
    assert totals([file]).whole.measured_kwh == pytest.approx(1.0)


def test_copies_of_a_record_without_an_id_count_once(tmp_path):
    """That of a test alone has none."""
    for name, kwh in (("a", 0.5), ("copy of a", 0.5), ("b", 0.25)):
        test = Evaluation(7.0, "completed", {"test": energy(kwh)})
        made = replace(record(kwh, total=None), evaluations=[test], started_unix_s=7.0)
        write_record(tmp_path / name / "energy.json", made)
    assert totals([tmp_path]).whole.runs == 2
    assert totals([tmp_path]).whole.measured_kwh == pytest.approx(0.75)


@pytest.mark.parametrize("started_unix_s", [1e18, -1e18, 1e308])
def test_a_date_that_is_none_costs_no_sum(tmp_path, started_unix_s):
    write_record(tmp_path / "a/energy.json", replace(record(1.0, run_id="a"), started_unix_s=started_unix_s))
    put(tmp_path / "b", 2.0, run_id="b")
    rows = totals([tmp_path], by=["month"]).rows
    assert [(row.group[0], row.measured_kwh) for row in rows] == [
        (NONE, pytest.approx(1.0)),
        ("1970-01", pytest.approx(2.0)),
    ]


def test_the_record_of_a_rank_is_part_of_rank_zeros(tmp_path):
    """A shell's pattern, energy*.json, gives both."""
    zero = replace(
        record(1.0, run_id="a", outcome="running", absent_ranks=1), started_unix_s=1000.0, updated_unix_s=4600.0
    )
    one = replace(record(2.0, run_id="a", outcome="running", rank=1), started_unix_s=1000.01, updated_unix_s=4600.0)
    files = [tmp_path / "energy.json", tmp_path / "energy.rank1.json"]
    for file, made in zip(files, (zero, one), strict=True):
        write_record(file, made)
    assert totals([tmp_path]).whole.measured_kwh == pytest.approx(3.0)
    assert totals(files).whole.measured_kwh == pytest.approx(3.0)
