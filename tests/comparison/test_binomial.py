from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_energy.comparison.binomial import counts_samples, in_samples
from lightning_energy.comparison.run import Run


def test_a_difference_is_told_in_samples():
    """486 and 489 of 540: the root of 486 * 0.1 + 489 * 0.0944 is 9.7; of 486 and 486 that of 97.2, 9.9."""
    worse, better = (
        Run(name, "", metric=k / 540, metric_name="val_acc", metric_n=540)
        for name, k in (("worse", 486), ("better", 489))
    )
    assert in_samples(worse, better) == (
        "better is better by 3 samples of 540; if both erred independently, the choice of the samples would make ±9.7 "
        "(binomial, one standard deviation); on the same samples it is usually less"
    )
    assert in_samples(worse, replace(worse, name="equal")) == (
        "equal is as good on 540 samples; if both erred independently, the choice of the samples would make ±9.9 "
        "(binomial, one standard deviation); on the same samples it is usually less"
    )
    large = replace(worse, metric=0.75, metric_n=50_000), replace(better, metric=0.752, metric_n=50_000)
    assert "by 100 samples of 50000; if both erred independently, the choice of the samples would make ±137 " in (
        in_samples(*large)
    )
    assert in_samples(worse, replace(better, metric_n=None)) is None
    assert in_samples(worse, replace(better, metric_n=541)) is None
    assert in_samples(replace(worse, mode="min"), replace(better, mode="min")) is None


@pytest.mark.parametrize(("k", "best"), [(20, 20), (19, 20), (0, 0), (0, 1)])
def test_of_an_accuracy_of_all_or_none_chance_is_not_told(k, best):
    """The binomial standard deviation is 0 there, whatever the next 20 samples would bring."""
    one, other = (Run(n, "", metric=m / 20, metric_name="val_acc", metric_n=20) for n, m in (("a", k), ("b", best)))
    difference = "better by 1 sample of 20" if best > k else "as good on 20 samples"
    assert in_samples(one, other) == (
        f"b is {difference}; what the choice of the samples would make of it is not known, as one is right about all "
        "of them or none"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"metric_name": "val_f1"},
        {"metric_name": "val_auroc"},
        {"metric_name": "val_balanced_acc"},
        {"metric_name": "test_acc"},  # of other samples than those of the validation
        {"metric_name": "val_acc/dataloader_idx_0"},  # of a part of them
        {"metric_name": None},
        {"metric": 0.9001},  # no number of 540 samples: an average over classes, or over batches of unequal size
        {"metric": None},
        {"metric_n": None},
        {"scale": "raw"},
        {"mode": "min"},
    ],
)
def test_what_counts_no_samples_is_not_told_in_samples(other):
    run = Run("a", "", metric=486 / 540, metric_name="val_acc", metric_n=540)
    assert counts_samples(run)
    assert counts_samples(replace(run, metric_name="val/top5_acc", metric=0.9 + 3e-8))  # in single precision
    assert not counts_samples(replace(run, metric=450_002.4 / 500_000, metric_n=500_000))  # too many pass by chance
    changed = replace(run, **other)
    assert not counts_samples(changed)
    assert in_samples(changed, replace(changed, name="b")) is None
