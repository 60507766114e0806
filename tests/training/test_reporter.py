from __future__ import annotations

import pytest

from lightning_energy.curves.energy import NOTHING
from lightning_energy.ledger.ranks import Ranks
from lightning_energy.results.carbon import Conversion
from lightning_energy.results.notes import Note
from lightning_energy.results.read import read_record
from lightning_energy.results.record import NAME
from lightning_energy.results.record_ranks import rank_file
from lightning_energy.scores.metric import Metric
from lightning_energy.training.run_memory import RunMemory
from lightning_energy.training.scored import Scored
from tests.training.parts import Parts, joules, replay, spend, two_ranks


@pytest.fixture
def parts(tmp_path):
    """Makes the parts of a run that has trained for a moment, with a record."""
    made = []

    def make(*, stage="fit", is_training=True, **kwargs):
        one = Parts(replay(), stage=stage, record=tmp_path / NAME, **kwargs)
        made.append(one)
        one.stages.begin(one.session)
        one.stages.is_training = is_training
        spend(one.session, stage="train" if stage == "fit" else stage)
        return one

    yield make
    for one in made:
        one.outputs.end_writing()
        one.books.close()


def end(one, outcome="completed"):
    one.books.finish()
    report = one.reporter.final(one.session, outcome)
    one.reporter.publish(report)
    return report


def test_the_record_is_there_while_the_run_goes_on(parts, tmp_path):
    one = parts()
    one.reporter.so_far(one.session.totals(), one.books.ranks)
    one.outputs.flush()
    record = read_record(tmp_path)
    assert record.outcome == "running"
    assert record.total.energy_j > 0
    assert one.memory.before == NOTHING
    report = end(one)
    record = read_record(tmp_path)
    assert record.outcome == "completed"
    assert record.total.energy_j == report.total.energy_j == one.memory.before.energy_j


@pytest.mark.parametrize("outcome", ["completed", "interrupted"])
def test_a_session_that_ends_is_one_of_the_runs_earlier_ones(parts, outcome):
    one = parts(memory=RunMemory(before=joules(7.0)))
    report = end(one, outcome)
    assert (report.outcome, report.sessions, len(one.memory.sessions)) == (outcome, 1, 1)
    assert report.total == one.memory.before
    assert report.total.energy_j == pytest.approx(7.0 + report.session.energy_j)
    assert {*report.stages} == {"train"}


def test_an_evaluation_is_no_session_of_the_run(parts, tmp_path):
    one = parts(stage="test", memory=RunMemory(before=joules(7.0)))
    report = end(one)
    assert report.samples is None
    assert one.memory.sessions == []
    assert one.memory.before == joules(7.0)
    (row,) = read_record(tmp_path).evaluations
    assert row.stages["test"].energy_j == report.stages["test"].energy_j


def test_a_run_that_spent_nothing_has_no_total(parts):
    assert end(parts(stage="test")).total is None


def test_a_fit_that_failed_to_start_leaves_what_was_left(parts, tmp_path):
    end(parts())
    before = (tmp_path / NAME).read_bytes()
    one = parts(is_training=False)
    one.outputs.left = read_record(tmp_path)
    end(one, "interrupted")
    assert (tmp_path / NAME).read_bytes() == before
    one = parts(is_training=False)  # nothing was left for this one
    end(one, "interrupted")
    assert read_record(tmp_path).outcome == "interrupted"


def test_a_report_knows_the_last_score(parts):
    one = parts(conversion=Conversion.of(price=0.5))
    one.validations.last = Scored(Metric("val_acc", 0.75), 0.5, 2.0)
    report = end(one)
    assert (report.metric, report.score, report.score_kwh) == (Metric("val_acc", 0.75), 0.5, 2.0)
    assert report.score_name == one.validations.scorer.name
    assert report.derived.cost == pytest.approx(0.5 * report.total.energy_kwh)


def test_without_a_score_there_is_none(parts):
    report = end(parts())
    assert (report.metric, report.score, report.score_kwh, report.derived) == (None, None, None, None)


def test_notes_on_the_run_stand_before_those_on_the_session(parts):
    def broken(batch):
        raise KeyError("size")

    one = parts(memory=RunMemory(notes=[Note("killed_session", "An earlier session was killed")]), batch_size_fn=broken)
    one.stages.counts.of("train").add("batch", 0)
    one.session.notes.append("of the session")
    report = end(one)
    texts = [note.text for note in report.notes]
    assert texts[0] == "An earlier session was killed"
    assert "raised KeyError" in texts[1]
    assert "of the session" in texts[2:]


def test_each_rank_keeps_its_own_record(parts, tmp_path):
    one = parts(ranks=two_ranks(1))
    totals = one.session.totals()
    one.reporter.so_far(totals, one.books.ranks)
    one.outputs.flush()
    record = read_record(rank_file(tmp_path / NAME, 1))
    own_j = one.books.live(totals).energy_j
    assert record.session.energy_j == pytest.approx(own_j)  # not of both, as rank zero's has it
    assert not (tmp_path / NAME).exists()


def test_rank_zeros_record_is_that_of_all(parts, tmp_path):
    one = parts(ranks=two_ranks(0))
    totals = one.session.totals()
    one.reporter.so_far(totals, one.books.ranks)
    one.outputs.flush()
    assert read_record(tmp_path).session.energy_j == pytest.approx(2 * one.books.live(totals).energy_j)
    one.reporter.so_far(totals, one.books.ranks.alone())  # between reductions
    one.outputs.flush()
    assert read_record(tmp_path).session.energy_j == pytest.approx(one.books.live(totals).energy_j)


def test_after_an_exception_samples_of_the_others_are_not_known(parts):
    one = parts(ranks=Ranks(3, 1, _sum=lambda tensor: 1 / 0))
    one.books.leave_ranks()
    report = end(one, "interrupted")
    assert report.absent_ranks == 2
    assert one.memory.before.energy_j == pytest.approx(report.session.energy_j)
    assert one.memory.before.missing_s > 0


def test_closed_books_have_no_report(parts, tmp_path):
    one = parts()
    totals = one.session.totals()
    one.books.close()
    one.reporter.so_far(totals, one.books.ranks)
    one.reporter.write_trace()
    assert not (tmp_path / NAME).exists()
