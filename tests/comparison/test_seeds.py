from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_energy import compare
from lightning_energy.comparison.configurations import probabilities_of
from lightning_energy.comparison.gate import gate
from lightning_energy.comparison.group_table import group_sentences
from lightning_energy.comparison.seeds import come_twice, labels_of, may_pair
from lightning_energy.comparison.verdicts import judge
from tests.comparison.groups import repeats
from tests.records import put


def compared(folder, own, of_lightning, **more):
    """Two models, the second one dearer and better, of which each run has some hyperparameters and a global seed."""
    for model, kwh, accuracy in (("small", 1.0, 0.8), ("wide", 2.0, 0.9)):
        for i, (hyper, seed) in enumerate(zip(own, of_lightning, strict=True)):
            what = {"hyperparameters": {"model": model, **hyper}}
            seeds = {"seed": hyper.get("seed", seed), "global_seed": seed} | more
            figures = kwh + i / 100, accuracy + i * i * kwh / 1000
            put(folder / model / str(i), *figures, what=what, run_id=f"{model}{i}", **seeds)
    comparison = compare(folder)
    (verdict,) = comparison.verdicts
    return comparison, verdict


def test_the_seed_of_a_split_makes_no_one_seed_of_repeats(tmp_path):
    """A DataModule(seed=42), and seed_everything(0), (1) and (2)."""
    comparison, verdict = compared(tmp_path, [{"seed": 42}] * 3, range(3))
    assert [(g.repeats_a_seed, g.seeds) for g in comparison.groups] == [(False, (0, 1, 2))] * 2
    assert (verdict.pairs, verdict.metric.flaw) == (3, "")
    assert not any("one seed" in sentence for sentence in group_sentences(comparison))
    run = comparison.to_plain()["runs"][0]
    assert (run["seed"], run["seeds"]) == (0, {"seed": 42, "seed_everything": 0})


def test_seeds_that_differ_among_themselves_and_not_from_run_to_run_are_one_seed(tmp_path):
    comparison, verdict = compared(tmp_path, [{"data": {"seed": 1}, "split_seed": 2}] * 3, [None] * 3)
    assert [(g.repeats_a_seed, g.seeds) for g in comparison.groups] == [(True, ("data/seed=1, split_seed=2",) * 3)] * 2
    assert (verdict.pairs, verdict.metric.flaw) == (0, "one seed")


def test_the_config_of_lightnings_command_line_names_the_same_seed(tmp_path):
    comparison, verdict = compared(tmp_path, [{"seed_everything": i} for i in range(3)], range(3))
    assert [g.seeds for g in comparison.groups] == [(0, 1, 2)] * 2
    assert verdict.pairs == 3


def test_records_of_earlier_releases_have_one_of_both(tmp_path):
    """Theirs is that of the training where the hyperparameters name none; else that of the training is not known."""
    earlier = {"global_seed": None}
    comparison, verdict = compared(tmp_path / "a", [{}] * 3, range(3), **earlier)
    assert comparison.groups[0].seeds == (0, 1, 2)
    assert verdict.pairs == 3
    comparison, verdict = compared(tmp_path / "b", [{"data": {"seed": 42}}] * 3, range(3), **earlier)
    assert comparison.groups[0].seeds == (0, 1, 2)
    comparison, verdict = compared(tmp_path / "c", [{"seed": 42}] * 3, range(3), **earlier)
    assert comparison.groups[0].seeds == (42, 42, 42)
    assert (verdict.pairs, verdict.metric.flaw) == (0, "one seed")


def test_runs_have_one_seed_where_all_that_both_have_are_equal():
    """Whatever one of them does not say: of an earlier release, or of a model that takes no seed of a split."""
    two = [{"seed_everything": 1, "seed": 42}, {"seed_everything": 2, "seed": 42}]
    assert not come_twice([*two, {}, {}])
    assert come_twice([*two, {"seed": 42}])
    assert come_twice([*two, {"seed_everything": 2}])
    assert not come_twice([*two, {"seed_everything": 3}, {"random_state": 1}])
    assert come_twice([*two, two[0]])
    assert labels_of([*two, {}]) == ("seed=42, seed_everything=1", "seed=42, seed_everything=2", None)


def test_runs_of_splits_with_several_seeds_each_are_no_independent_repeats(tmp_path):
    """Four splits with three seeds each: where models differ by split, the test of 12 pairs was wrong far too often."""
    own = [{"split_seed": i} for i in range(4) for _ in range(3)]
    comparison, verdict = compared(tmp_path / "a", own, [0, 1, 2] * 4)
    assert [(g.repeats_a_seed, g.metric.low) for g in comparison.groups] == [(True, None)] * 2
    assert (verdict.pairs, verdict.metric.flaw) == (0, "one seed")
    comparison, verdict = compared(tmp_path / "b", own, range(12))
    assert (verdict.pairs, verdict.metric.flaw) == (0, "one seed")
    comparison, verdict = compared(tmp_path / "c", [{"split_seed": i} for i in range(4)], [42] * 4)
    assert (verdict.pairs, verdict.metric.flaw) == (4, "")


def test_a_fold_is_not_paired_with_a_seed_of_the_same_number():
    folds = [{"seed_everything": 42, "split_seed": i} for i in range(3)]
    seeds = [{"seed_everything": i, "split_seed": 42} for i in range(3)]
    assert may_pair(folds, folds)
    assert not may_pair(folds, seeds)
    assert may_pair(seeds, [{"seed_everything": i} for i in range(3)])
    assert may_pair([{"seed": i} for i in range(3)], [{"seed_everything": i} for i in range(3)])


def test_of_one_seed_with_other_settings_nothing_is_said_of_the_machine(tmp_path):
    """One seed_everything before a loop over learning rates: what these bring is in the spread, too."""
    for model, kwh in (("small", 1.0), ("wide", 2.0)):
        for i, lr in enumerate((0.1, 0.2, 0.3)):
            what = {"hyperparameters": {"model": model, "lr": lr}}
            put(tmp_path / model / str(i), kwh + i / 100, 0.9 + i / 100, what=what, global_seed=42, run_id=f"{kwh}{i}")
    comparison = compare(tmp_path, by="model")
    said = " ".join(group_sentences(comparison))
    assert "model=small and model=wide have one seed in several runs, as far as records say, and" in said
    assert "machine scatters" not in said
    assert "machine's" not in said


@pytest.mark.parametrize(("splits", "flaw"), [((42, 42, 42), ""), ((0, 1, 2), "other split"), ((0, 42, None), "")])
def test_one_split_beside_several_is_in_no_spread_either(tmp_path, splits, flaw):
    """DataModule(split_seed=42) for one model, and for the other also split_seed=seed; of one run nobody knows it."""
    for model, kwh, of_model in (("small", 1.0, (42, 42, 42)), ("wide", 2.0, splits)):
        for i, split in enumerate(of_model):
            own = {"model": model} | ({} if split is None else {"split_seed": split})
            figures = kwh + i / 100, 0.7 + kwh / 10 + i * i * kwh / 1000
            more = {"run_id": f"{model}{i}", "global_seed": i, "epochs": figures[1:]}
            put(tmp_path / model / str(i), *figures, what={"hyperparameters": own}, **more)
    (verdict,) = compare(tmp_path).verdicts
    assert (verdict.kind, verdict.metric.flaw) == ("cheaper" if flaw else "trade-off", flaw)


def test_what_a_split_of_its_own_brings_to_a_group_is_in_no_spread(tmp_path):
    """DataModule(split_seed=1) for one model, and split_seed=2 for the other: each is validated on other samples."""
    for side, kwh in (("small", 1.0), ("wide", 2.0)):
        for i in range(3):
            what = {"hyperparameters": {"model": side, "split_seed": int(kwh)}}
            figures = kwh + i / 100, 0.9 - kwh / 10 + i * i * kwh / 1000
            more = {"run_id": f"{side}{i}", "global_seed": i, "epochs": figures[1:]}
            put(tmp_path / side / str(i), *figures, what=what, **more)
    comparison = compare(tmp_path)
    (verdict,) = comparison.verdicts
    assert (verdict.kind, verdict.pairs, verdict.metric.flaw, verdict.repeats) == ("cheaper", 3, "other split", None)
    assert "is one in all runs of one group, and not the same one in all of the other" in " ".join(
        group_sentences(comparison)
    )
    found = gate(*reversed(comparison.groups), 5.0), gate(*comparison.groups, 2.0)
    assert [of.gain_low for of in found] == [None, None]
    assert "give both the same" in found[1].reason


@pytest.mark.parametrize(
    ("epochs", "flaw", "outcome"), [((20, 22), "other split", "cannot tell"), ((20, 20), "", "fine")]
)
def test_a_split_of_its_own_may_bring_epochs_to_a_group(epochs, flaw, outcome):
    """Early stopping ends two epochs sooner by one split than by another: that saving is the split's."""
    found = []
    for name, kwh, split, stopped in (("small", 1.0, 1, epochs[0]), ("wide", 1.1, 2, epochs[1])):
        group = repeats(name, [kwh * (1 + i / 1000) for i in range(5)], [0.9 + i / 1000 for i in range(5)])
        runs = [
            replace(run, source=replace(run.source, seeds={"split_seed": split}, stopped_after=stopped, epochs=stopped))
            for run in group.runs
        ]
        found.append(replace(group, runs=tuple(runs)))
    (verdict,) = judge(found)
    assert verdict.energy.flaw == flaw
    answer = gate(*reversed(found), 0.0)
    assert (answer.outcome, answer.low is None) == (outcome, outcome == "cannot tell")
    assert probabilities_of(found) == [None, None]
