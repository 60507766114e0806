from __future__ import annotations

import pytest

from lightning_energy.comparison.subject import Subject, better, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (23.4567, "23.46"),
        (9.1, "9.100"),
        (0.0312, "0.03120"),
        (-0.12, "-0.1200"),
        (1234.5, "1234"),
        (123456.7, "123457"),
        (2.5e9, "2.500e+09"),
        (3e-9, "3.000e-09"),
        (0.0, "0.000"),
    ],
)
def test_numbers_of_any_size_are_short(value, text):
    assert number(value) == text
    assert Subject("val_ppl", "min", "raw").show(value) == text


def test_fractions_have_four_decimals():
    assert Subject("accuracy").show(0.91234) == "0.9123"
    assert Subject("val_wer", "min").show(1.3) == "1.3000"
    assert Subject("val_wer", "min").show(0.000321) == "0.000321"  # a percentage point is a hundred times that
    assert Subject("accuracy").show(0.0) == "0.0000"


def test_an_error_is_never_shown_as_none():
    """A spread of 0.00006 is no 0.0001, and of 0.0000062 no 0.0000."""
    accuracy, loss = Subject("accuracy"), Subject("val_loss", "min", "raw")
    assert [accuracy.show(0.91234, sd) for sd in (0.0012, 0.00031, 0.00006, 0.0)] == [
        "0.9123",
        "0.9123",
        "0.912340",
        "0.9123",
    ]
    assert [loss.show(23.4567, sd) for sd in (0.12, 0.0062, 0.0)] == ["23.46", "23.4567", "23.46"]


@pytest.mark.parametrize(
    ("subject", "is_accuracy", "words", "title"),
    [
        (Subject("accuracy"), True, "accuracy: last value", "Accuracy against energy"),
        (Subject("f1", epoch="best"), True, "f1 (more is better): best epoch", "f1 against energy"),
        (Subject("val_ppl", "min", "raw"), False, "val_ppl (less is better): last value", "val_ppl against energy"),
        (Subject("val_r2", "max", "raw"), False, "val_r2 (more is better): last value", "val_r2 against energy"),
        (Subject("val_wer", "min"), False, "val_wer (less is better): last value", "val_wer against energy"),
        (Subject(), False, "metric: last value", "Energy of trainings"),
    ],
)
def test_an_accuracy_is_a_fraction_of_which_more_is_better(subject, is_accuracy, words, title):
    assert subject.is_accuracy is is_accuracy
    assert subject.title == title
    if subject.name:
        assert subject.words == words
        assert bool(subject.no_score) is not is_accuracy


def test_the_reason_why_there_is_no_score_says_what_to_do():
    assert Subject("val_ppl", "min", "raw").no_score == (
        "No score: val_ppl is no accuracy (less is better), and scores are made of accuracies."
    )
    assert Subject("val_f1", "max", "raw").no_score == (
        "No score: val_f1 is not known to be a fraction or a percentage, and scores are made of these. If it is one, "
        "give scale='fraction' or scale='percent' (on the command line: --scale fraction)."
    )


def test_a_long_name_is_short_in_a_heading_alone():
    subject = Subject("a" * 30 + "b" * 30)
    assert subject.heading == "a" * 14 + "…" + "b" * 13
    assert subject.title == subject.name + " against energy"
    assert Subject().heading == "metric"


def test_words_of_a_value_to_reach():
    assert Subject("accuracy", targets=(0.9, 0.95)).target_words == (
        "Energy to reach accuracy 0.9 or 0.95: that of the training up to the end of the first epoch that was as good "
        "or better. Nothing is interpolated: it was passed somewhere after the validation before. > alone: never "
        "reached; it takes more than that. (> …) after a value: not reached yet by then. A dash: not known."
    )
    assert Subject("accuracy").target_words == Subject(targets=(0.9,)).target_words == ""


def test_directions():
    assert (better("max"), better("min")) == ("more is better", "less is better")
