from __future__ import annotations

import pytest

from lightning_energy.comparison.course import Validation
from lightning_energy.comparison.one_metric import of_one_metric
from lightning_energy.comparison.run import Run
from lightning_energy.comparison.run_source import Source
from lightning_energy.comparison.subject import Subject


def run(name: str, metric_name: str | None = "val_acc", mode: str = "max", scale: str = "fraction", **other) -> Run:
    figures = {"metric": 0.5, "energy_kwh": 1.0} | other
    return Run(name, f"/{name}", metric_name=metric_name, mode=mode, scale=scale, **figures)


def loss(name: str, **other) -> Run:
    return run(name, "val_loss", "min", "raw", **other)


def chosen(*runs: Run, metric: str | None = None):
    return of_one_metric(runs, metric, "last")


def names(runs: list[Run]) -> str:
    return "".join(run.name for run in runs)


def test_the_metric_of_most_runs_is_compared_and_others_have_a_reason():
    subject, runs, others, problems = chosen(loss("a"), run("b"), loss("c"))
    assert subject == Subject("val_loss", "min", "raw")
    assert (names(runs), names(others)) == ("ac", "b")
    reason = (
        "its metric is val_acc (more is better), the others' is val_loss (less is better): give runs of one metric, or "
        "compare(metric='val_acc') (on the command line: --metric val_acc)"
    )
    assert others[0].caveats == (reason,)
    assert problems == [f"/b is listed, but not compared: {reason}"]


def test_a_value_of_another_metric_stands_nowhere():
    source = Source(course=(Validation(0.5, 3.0),))
    diverged = loss("e", metric=None, target_kwh=0.5, source=source)
    others = (loss("c", target_kwh=0.5, source=source), loss("d", energy_kwh=None), diverged)
    _, (kept, _), (lost, other, dark), _ = chosen(run("a", source=source), run("b"), *others)
    assert lost.target_kwh is None
    assert (kept.source.course, lost.source.course, other.source.course) == (source.course, (), ())
    assert (other.metric, other.target_kwh, other.metric_name, other.mode) == (None, None, "val_loss", "min")
    assert dark.metric is None
    assert not other.is_comparable


def test_of_equally_frequent_metrics_accuracies_are_compared():
    subject, runs, others, _ = chosen(loss("a"), loss("b"), run("c"), run("d"))
    assert (subject.name, names(runs), names(others)) == ("accuracy", "cd", "ab")


@pytest.mark.parametrize(
    "name", ["val_acc", "valid/accuracy", "val_MulticlassAccuracy", "val_acc/dataloader_idx_0", "valAccuracy"]
)
def test_names_that_mean_the_same_are_one_metric(name):
    subject, runs, others, problems = chosen(run("a", name), run("b", "val/acc", scale="percent"))
    assert subject == Subject("accuracy")
    assert (names(runs), others, problems) == ("ab", [], [])


@pytest.mark.parametrize("name", ["val_acc_top5", "val_f1"])
def test_accuracies_that_mean_different_things_are_not_mixed(name):
    subject, runs, others, _ = chosen(run("a"), run("b"), run("c", name))
    assert (subject.name, names(runs), names(others)) == ("accuracy", "ab", "c")


def test_the_same_name_in_two_directions_is_not_mixed():
    _, runs, (other,), _ = chosen(loss("a"), loss("b"), run("c", "val_loss", "max", "raw"))
    assert names(runs) == "ab"
    assert other.caveats == (
        "its metric is val_loss (more is better), the others' is val_loss (less is better): give runs of one direction",
    )


def test_values_of_no_known_scale_are_not_mixed_with_fractions():
    _, runs, (other,), _ = chosen(run("a", "val_f1"), run("b", "val_f1"), run("c", "val_f1", scale="raw"))
    assert names(runs) == "ab"
    (caveat,) = other.caveats
    assert caveat == (
        "its val_f1 is of no known scale, the others' is a fraction: read all alike with scale='fraction' or 'percent' "
        "(on the command line: --scale fraction)"
    )


@pytest.mark.parametrize("metric", ["val_loss", "loss", "valid/loss"])
def test_a_metric_that_is_asked_for_is_compared_however_rare(metric):
    subject, runs, others, problems = chosen(run("a"), run("b"), loss("c"), metric=metric)
    assert (subject.name, names(runs), names(others), problems) == ("val_loss", "c", "ab", [])
    assert others[0].caveats == ("its metric is val_acc (more is better), the others' is val_loss (less is better)",)


def test_a_logged_name_goes_before_what_it_means():
    """Two logged names that mean the same are compared, also where the one that is asked for is rarer."""
    _, runs, others, _ = chosen(run("a"), run("b", "valid/accuracy"), run("c", "valid/accuracy"), metric="val_acc")
    assert (names(runs), others) == ("abc", [])


def test_a_metric_that_no_run_has():
    subject, runs, others, problems = chosen(run("a"), loss("b"), loss("c"), metric="val_f1")
    assert (subject, runs, names(others)) == (Subject(), [], "abc")
    assert problems == [
        "metric='val_f1' is the metric of no run (val_acc: 1; val_loss: 2): give the name of one of theirs"
    ]
    assert chosen(run("a", None, metric=None), metric="val_f1").problems == [
        "metric='val_f1' is the metric of no run (none has one): give the name of one of theirs"
    ]


def test_runs_without_energy_do_not_choose():
    dark = [loss(name, energy_kwh=None) for name in "abc"]
    subject, runs, others, problems = chosen(*dark, run("d"))
    assert (subject.name, names(runs), names(others)) == ("accuracy", "d", "abc")
    assert problems == []  # that they lack energy is said already
    subject, runs, others, _ = chosen(*dark)
    assert (subject.name, runs, [run.metric for run in others]) == ("val_loss", [], [0.5] * 3)


def test_without_any_metric_there_is_nothing_to_compare():
    subject, runs, others, problems = chosen(run("a", None, metric=None))
    assert (subject, runs, names(others), problems) == (Subject(), [], "a", [])


def test_several_logged_names_of_another_metric_have_the_word_they_share():
    subject, *_ = chosen(loss("a"), run("b", "valid/loss", "min", "raw"))
    assert subject.name == "loss"
