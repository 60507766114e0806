"""Groups whose runs differ in settings: what may be set against what."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lightning_energy import compare
from lightning_energy.comparison.configurations import of_main_kind, on_front_of_means, probabilities_of
from lightning_energy.comparison.front_probability import front_probabilities
from lightning_energy.comparison.groups import mean_of
from lightning_energy.comparison.mixtures import other_shares
from lightning_energy.comparison.more_pictures import plot_ranks
from lightning_energy.comparison.verdicts import judge
from tests.comparison.groups import repeats
from tests.records import put

SPREAD = (-0.02, 0.01, 0.0, 0.02, -0.01, 0.005, -0.005, 0.015)


def of(name, settings, kwh=1.0, **more):
    """A group whose runs have these settings, one run for each."""
    values = [kwh * (1 + off) for off in SPREAD[: len(settings)]]
    group = repeats(name, values, [0.9 + off / 10 for off in SPREAD[: len(settings)]], **more)
    runs = zip(group.runs, settings, strict=True)
    return replace(group, runs=tuple(replace(run, source=replace(run.source, settings=s)) for run, s in runs))


def widths(name, text, **more):
    return of(name, [{"model": name, "width": int(digit)} for digit in text], **more)


def test_seven_narrow_and_a_wide_one_are_not_set_against_the_opposite(tmp_path):
    """Of each width the model `a` is dearer and worse; by its means it would dominate."""
    i = 0
    for model, dearer, off, numbers in (("a", 1.05, -0.005, (7, 1)), ("b", 1.0, 0.0, (1, 7))):
        for (width, kwh, accuracy), n in zip(((10, 0.5, 0.92), (20, 1.0, 0.90)), numbers, strict=True):
            for scatter in SPREAD[:n]:
                what = {"hyperparameters": {"model": model, "width": width}}
                put(
                    tmp_path / str(i),
                    dearer * kwh * (1 + scatter / 2),
                    accuracy + off + scatter / 20,
                    what=what,
                    seed=i,
                )
                i += 1
    found = compare(tmp_path, by="model")
    (verdict,) = found.verdicts
    assert verdict.kind == "incomparable"
    (reason,) = verdict.reasons
    assert reason == (
        "their runs are of several configurations, in other shares on both sides (width: 7 and 1 against 1 and 7): "
        "group by these settings, too"
    )
    assert all(run.dominated_by == () for run in found.runs)
    groups = found.to_plain()["groups"]
    assert [g["front_probability"] for g in groups] == [None, None]
    assert [g["on_front"] for g in groups] == [True, True]  # none is behind the other one, and ranks leave both out
    assert found.stability() is None
    assert any("Runs differ in settings within model=a (width), model=b (width)" in text for text in found.caveats)
    assert "figures and decisions of these are of runs in this mixture" in found.to_html()


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("1122", "2211", ""),
        ("1122", "1212", ""),
        ("112", "112222", "width: 2 and 1 against 2 and 4"),
        ("112", "111122", ""),
        ("1122", "2112", ""),
        ("1122", "3344", "width: other numbers"),
        ("1112", "3344", "width: other numbers"),
        ("1111", "2222", ""),  # that is the difference which is asked for
        ("1234", "1111", "width: 1 and 1 and 1 and 1 against 4 and 0 and 0 and 0"),
        ("1234", "5555", "width: other numbers"),  # drawn anew for each run: no number is a label
        ("1234", "2345", "width: 1 and 1 and 1 and 1 and 0 against 0 and 1 and 1 and 1 and 1"),
        ("1234", "5678", "width: other numbers"),
        ("1234", "1122", "width: 1 and 1 and 1 and 1 against 2 and 2 and 0 and 0"),
    ],
)
def test_shares_of_one_setting(one, other, words):
    assert other_shares(widths("a", one), widths("b", other)) == words


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("1122", "1212", ""),
        ("1122", "1222", "width: 2 and 2 against 1 and 3"),
        ("1122", "3344", "width: other numbers; parameters: other numbers"),
    ],
)
def test_numbers_of_parameters_that_follow_from_widths_are_no_setting_of_their_own(one, other, words):
    def grid(name, text, per_width, drawn=0):
        numbers = [int(digit) * per_width + drawn * i for i, digit in enumerate(text)]
        return of(name, [{"width": int(d), "parameters": n} for d, n in zip(text, numbers, strict=True)])

    assert other_shares(grid("a", one, 1000), grid("b", other, 700)) == words
    assert "parameters: other numbers" in other_shares(grid("a", one, 1000), grid("b", other, 700, drawn=1))
    alone = [of(n, [{"parameters": int(d) * k} for d in "1122"]) for n, k in (("a", 1000), ("b", 700))]
    assert other_shares(*alone) == "parameters: other numbers"


def test_a_label_hides_no_other_setting():
    one, other = (
        of(name, [{"width": int(w), "run": f"{name}{i}"} for i, w in enumerate(text)])
        for name, text in (("a", "11112"), ("b", "12222"))
    )
    assert other_shares(one, other) == "width: 4 and 1 against 1 and 4"


def test_settings_are_looked_at_together_too():
    """Both have two of each width and two of each depth, but not together."""
    one = of("a", [{"w": 1, "d": 1}, {"w": 1, "d": 1}, {"w": 2, "d": 2}, {"w": 2, "d": 2}])
    other = of("b", [{"w": 1, "d": 2}, {"w": 1, "d": 2}, {"w": 2, "d": 1}, {"w": 2, "d": 1}])
    assert other_shares(one, other) == "w with d: 2 and 2 and 0 and 0 against 0 and 0 and 2 and 2"
    other = of("b", [{"w": 1, "d": 1}, {"w": 1, "d": 2}, {"w": 2, "d": 1}, {"w": 2, "d": 2}])
    assert other_shares(one, other) == "w with d: 2 and 2 and 0 and 0 against 1 and 1 and 1 and 1"


def test_texts_may_be_the_same_with_other_names_and_numbers_may_not():
    one, other = (of(n, [{"opt": f"{n}{k}"} for k in "xxxy"]) for n in "ab")
    assert other_shares(one, other) == ""
    one, other = (of(n, [{"lr": k * v} for k in (1, 1, 1, 2)]) for n, v in (("a", 0.1), ("b", 0.3)))
    assert other_shares(one, other) == "lr: other numbers"
    one, other = (of(n, [{"sizes": [k]} for k in ks]) for n, ks in (("a", (8, 8, 16, 16)), ("b", (32, 32, 64, 64))))
    assert other_shares(one, other) == "sizes: other numbers"
    one = of("a", [{"lr": v} for v in (1, 1, 1, "2e0")])
    assert other_shares(one, of("b", [{"lr": v} for v in (1.0, 2.0, 2, 2)])) == "lr: 3 and 1 against 1 and 3"


@pytest.mark.parametrize("values", [(0.1, 0.2, 0.3), ("1e-1", "2", "3"), ([8], [16], [None, 32]), (math.inf, 1, None)])
@pytest.mark.parametrize("others", ["none", ["sgd"] * 3, ["x", "y", "z"]])
def test_numbers_against_none_or_texts_are_no_labels(values, others):
    """A sweep over a rate that the other model does not have: each run has another one."""
    one = of("a", [{"model": "a", "lr": value} for value in values])
    other = of("b", [{"model": "b"} | ({} if others == "none" else {"lr": others[i]}) for i in range(3)], kwh=2.0)
    for two in ((one, other), (other, one)):
        assert other_shares(*two).startswith("lr: ")
        (verdict,) = judge(two)
        assert verdict.kind == "incomparable"
    if None not in values:
        assert other_shares(one, other) == "lr: numbers on one side alone"
    texts = of("a", [{"model": "a", "lr": name} for name in "uvw"])
    if others != "none":
        assert other_shares(texts, other) == ""


@pytest.mark.parametrize("label", [{"fold": "01234567"}, {"hidden": "aabbaabb"}, {}])
def test_no_other_setting_hides_two_that_are_mixed_otherwise(label):
    """Low with low and high with high, against low with high and high with low."""
    more = [{k: f"{v[i]}" for k, v in label.items()} for i in range(8)]
    one = of("a", [{"lr": i % 2, "wd": i % 2} | more[i] for i in range(8)])
    other = of("b", [{"lr": i % 2, "wd": 1 - i % 2} | more[i] for i in range(8)])
    assert other_shares(one, other).startswith("lr with wd: 4 and 4 and 0 and 0")


def test_no_group_that_is_dominated_is_on_the_front_and_none_is_behind_one_that_it_cannot_be_set_against():
    """Two are mixed alike; the third is cheaper and better at each width, but mixed otherwise."""
    one, other = widths("a", "1112"), widths("b", "1112", kwh=2.0)
    third = widths("d", "1222", kwh=0.5)
    assert [v.kind for v in judge([one, third])] == ["incomparable"]
    plain = widths("p", "1111", kwh=1.5)
    groups = [one, other, third, plain]
    assert on_front_of_means(groups) == [True, False, True, True]
    assert probabilities_of(groups) == [None] * 4
    assert [group.name for group in of_main_kind(groups)] == ["p"]
    assert [group.name for group in of_main_kind([one, other])] == ["a", "b"]
    named = of("r", [{"note": f"r{i}"} for i in range(4)], kwh=0.4)  # another text for each run
    alone = of("s", [{"note": "s"}] * 4, kwh=2.0)
    assert [v.kind for v in judge([named, alone])] != ["incomparable"]
    assert (on_front_of_means([named, alone]), probabilities_of([named, alone])) == ([True, False], [None, None])
    labelled = [of(n, [{"run_name": f"{n}{i}"} for i in range(4)], kwh=k) for n, k in (("x", 1.0), ("y", 2.0))]
    assert on_front_of_means([*labelled, widths("z", "1111", kwh=3.0)]) == [True, False, False]


def test_pairs_alone_count_where_seeds_are_shared():
    """A run of one fold failed: the others are paired, fold by fold."""
    folds = [{"fold": i % 2} for i in range(6)]
    one, other = of("a", folds), of("b", folds[:5], 2.0)
    other = replace(other, runs=tuple(replace(r, energy_kwh=2 + i % 2 / 99) for i, r in enumerate(other.runs)))
    assert other_shares(one, other) == "fold: 3 and 3 against 3 and 2"
    (verdict,) = judge([one, other])
    assert (verdict.kind, verdict.pairs) == ("cheaper", 5)


def test_pairs_are_no_comparison_of_what_the_other_runs_show_to_be_one_setting():
    """Pairs are of adam and of sgd, and the runs that are not paired show that both groups may have adam."""
    one = of("a", [{"opt": "adam"}] * 4)
    other = of("b", [{"opt": "sgd"}] * 4 + [{"opt": "adam"}] * 4, kwh=0.5)
    (verdict,) = judge([one, other])
    assert verdict.kind == "incomparable"
    assert "(opt: 4 and 0 against 0 and 4)" in verdict.reasons[0]
    known = of("b", [{"opt": "adam"}] * 4 + [{"opt": "sgd"}] * 4, kwh=0.5)
    (verdict,) = judge([one, known])
    assert (verdict.kind, verdict.pairs) == ("undecided", 4)  # all pairs differ by the same


def test_means_of_all_runs_rank_nothing_where_pairs_alone_are_mixed_alike():
    """The seed is the number of the run, and a sweep was cut off: of each width its model is dearer and worse."""
    one, other = widths("a", "1111222"), widths("b", "11112")
    runs = [
        [
            replace(r, metric=0.95 - w / 50 - off / 10 + i / 1e4, energy_kwh=w * (1 + off + i / 1e3))
            for i, r in enumerate(group.runs)
            for w in [r.source.settings["width"]]
        ]
        for group, off in ((one, 0.0), (other, 0.01))
    ]
    one, other = (
        replace(
            group,
            runs=tuple(of),
            energy=mean_of(r.energy_kwh for r in of),
            metric=mean_of(r.metric for r in of),
        )
        for group, of in zip((one, other), runs, strict=True)
    )
    assert other.energy.mean < one.energy.mean
    assert other.metric.mean > one.metric.mean
    assert on_front_of_means([one, other]) == [True, True]
    assert of_main_kind([one, other]) == []
    dearer = replace(one, name="c", runs=tuple(replace(r, energy_kwh=3 * r.energy_kwh) for r in one.runs))
    dearer = replace(dearer, energy=mean_of(r.energy_kwh for r in dearer.runs))
    assert on_front_of_means([dearer, other]) == [True, True]  # its pairs are better
    worse = replace(dearer, runs=tuple(replace(r, metric=r.metric - 0.1) for r in dearer.runs))
    worse = replace(worse, metric=mean_of(r.metric for r in worse.runs))
    assert on_front_of_means([worse, other]) == [False, True]


def test_a_mixture_has_no_probability_of_the_front():
    alike, mixed = widths("a", "1111"), widths("b", "1212", kwh=2.0)
    assert front_probabilities([alike, widths("b", "1111", kwh=2.0)])[0] is not None
    assert front_probabilities([alike, mixed]) == [None, None]


def test_a_hypervolume_is_of_runs_however_they_are_mixed_in_groups(tmp_path):
    for i, (model, width) in enumerate(zip("aaaabbbb", "11121222", strict=True)):
        what = {"hyperparameters": {"model": model, "width": width}}
        put(tmp_path / str(i), 1.0, 0.9, what=what, seed=i, epochs=(0.5, 0.9), epochs_kwh=(0.5, 1.0))
    mixed, alone = (compare(tmp_path, by=by) for by in ("model", "none"))
    assert [v.kind for v in mixed.verdicts] == ["incomparable"]
    assert mixed.progress().hypervolume == alone.progress().hypervolume == pytest.approx(0.25)
    assert mixed.progress().left_out == 0


def test_a_decision_about_pairs_is_not_said_to_be_of_the_whole_mixture(tmp_path):
    """Of the dearer model two narrow runs are not paired."""
    for model, kwh, numbers in (("a", 1.0, "1212"), ("b", 2.0, "121211")):
        for i, width in enumerate(map(int, numbers)):
            what = {"hyperparameters": {"model": model, "width": width}}
            figures = kwh * width * (1 + kwh * i * i / 1000), 0.8 + kwh * i * i / 1000
            put(tmp_path / model / str(i), *figures, what=what, seed=i, run_id=f"{model}{i}")
    found = compare(tmp_path, by="model")
    (verdict,) = found.verdicts
    assert (verdict.pairs, verdict.unpaired, verdict.energy.sign) == (4, 2, 1)
    words = (
        "Runs differ in settings within model=a (width), model=b (width): figures of these are of runs in this "
        "mixture, and of no single configuration. So are decisions, but those on model=a and model=b: these, with "
        "their savings, are of the runs with shared seeds alone, whatever settings these have."
    )
    assert words in found.caveats
    assert words in found.to_latex()
    paths = [tmp_path / "a", *(tmp_path / "b" / str(i) for i in range(4))]
    assert any(
        "figures and decisions of these are of runs in this mixture" in text
        for text in compare(paths, by="model").caveats
    )


def test_ranks_say_why_they_leave_a_mixture_out(tmp_path):
    """Two plain models, a mixture on the same GPU, and a model on a GPU with its memory."""
    for i, (model, width) in enumerate((("a", 1), ("a", 1), ("b", 1), ("b", 1), ("c", 1), ("c", 2), ("d", 1))):
        what = {"hyperparameters": {"model": model, "width": width}}
        scopes = ("gpu", "dram") if model == "d" else ("gpu",)
        put(tmp_path / str(i), 1.0 + i / 10, 0.9 + i / 1000, what=what, seed=i, scopes=scopes)
    found = compare(tmp_path, by="model")
    sentences = found.stability().sentences()
    assert (
        "1 configuration of another kind is left out, as unlike things are not ranked against each other." in sentences
    )
    assert (
        "1 configuration is left out, as runs differ in settings within it, and not in the same shares within all: "
        "means tell how they are mixed."
    ) in sentences
    assert (found.stability().left_out, found.to_plain()["stability"]["mixed"]) == (2, 1)
    title = plot_ranks(found)[1][0].get_title(loc="left")
    assert "; 1 of another kind left out; 1 of mixed settings left out" in title
