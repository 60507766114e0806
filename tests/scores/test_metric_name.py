from __future__ import annotations

import pytest

from lightning_energy.scores.metric_name import find_accuracy, of_name


@pytest.mark.parametrize(
    "name",
    ["val_acc", "val/accuracy", "valid_acc", "val_MulticlassAccuracy", "valAcc", "accuracy", "Acc",
     "validation_accuracy",
     "val/BinaryAccuracy", "eval_acc1", "val_acc_epoch", "val_acc/dataloader_idx_0", "vacc"],
)  # fmt: skip
def test_names_that_say_accuracy(name):
    assert find_accuracy(["val_loss", "train_acc", "lr", name]) == name


@pytest.mark.parametrize(
    "name", ["val_loss", "train_acc", "test_accuracy", "accelerate", "vaccine_loss", "f1", "account"]
)
def test_names_that_do_not(name):
    assert find_accuracy([name]) is None


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["acc", "val_acc"], "val_acc"),
        (["val_acc", "val_acc_epoch", "val_acc_step"], "val_acc"),
        (["val_acc_epoch", "val_acc_step_ema"], "val_acc_epoch"),
        (["val_top5_acc", "val_acc"], "val_acc"),
        (["val_acc/dataloader_idx_1", "val_acc/dataloader_idx_0"], "val_acc/dataloader_idx_0"),
        (["val_acc_cats", "val_acc_dogs"], None),
        (["val_acc", "val_accuracy"], None),
        ([], None),
    ],
)
def test_the_best_of_several(names, best):
    assert find_accuracy(names) == best
    assert find_accuracy(reversed(names)) == best


def test_a_given_name_means_itself_or_its_first_dataloader():
    assert of_name("hits", ["hits", "hits/dataloader_idx_0"]) == "hits"
    assert of_name("hits", ["hits/dataloader_idx_1", "hits/dataloader_idx_0"]) == "hits/dataloader_idx_0"
    assert of_name("hits", ["misses"]) is None
