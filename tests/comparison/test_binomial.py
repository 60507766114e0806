from __future__ import annotations

from dataclasses import replace

from lightning_energy.comparison.binomial import in_samples
from lightning_energy.comparison.run import Run


def test_a_difference_is_told_in_samples():
    """486 and 489 of 540: the root of 486 * 0.1 + 489 * 0.0944 is 9.7; of 486 and 486 that of 97.2, 9.9."""
    of = {"metric_name": "val_acc", "metric_n": 540}
    worse, better = (Run(name, "", metric=k / 540, **of) for name, k in (("worse", 486), ("better", 489)))
    assert in_samples(worse, better) == (
        "better is better by 3 samples of 540; if both erred independently, the choice of the samples would make ±9.7 "
        "(binomial, one standard deviation); on the same samples it is usually less"
    )
    assert in_samples(worse, replace(worse, name="equal")) == (
        "equal is as good on 540 samples; if both erred independently, the choice of the samples would make ±9.9 "
        "(binomial, one standard deviation); on the same samples it is usually less"
    )
    assert in_samples(worse, replace(better, metric_n=None)) is None
    assert in_samples(worse, replace(better, metric_n=541)) is None
    assert in_samples(replace(worse, mode="min"), replace(better, mode="min")) is None
    for name in ("val_f1", "val_auroc", "val_miou", "val_macro_acc", "val_acc/dataloader_idx_0"):
        assert in_samples(replace(worse, metric_name=name), replace(better, metric_name=name)) is None
