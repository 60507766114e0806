from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lightning_energy.scores.metric_name import canonical, find_accuracy, is_loss_only, of_name, says_error


@pytest.mark.parametrize(
    "name",
    ["val_acc", "val/accuracy", "valid_acc", "val_MulticlassAccuracy", "valAcc", "accuracy", "Acc",
     "validation_accuracy", "val/BinaryAccuracy", "eval_acc1", "val_acc_epoch", "val_acc/dataloader_idx_0", "vacc",
     "kNN_accuracy", "val_top1", "val/top-1", "val_top5", "val_balanced_acc", "val_acc_smooth", "val/aAcc",
     "val_online_cls_top1", "val2_acc", "val/acc@0.5", "energy/val_acc"],
)  # fmt: skip
def test_names_that_say_accuracy(name):
    assert find_accuracy(["val_loss", "train_acc", "lr", name]) == name


@pytest.mark.parametrize(
    "name",
    ["val_loss", "train_acc", "test_accuracy", "accelerate", "vaccine_loss", "f1", "account",
     "val/acc_best", "best_val_acc", "val_bestacc", "val_acc_max", "val_min_acc", "val_acc_delta", "val_acc_std",
     "val_acc_var", "val_acc_se", "val_acc_count", "n_acc", "val_acc_threshold", "val_acc_time", "chance_accuracy",
     "val_inaccuracy", "val_inacc", "val_precision_at_1", "val_recall_top5", "stop1", "val_top1_error", "acc_loss",
     "accuracy_gap", "val_top_margin"],
)  # fmt: skip
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
        (["val_acc", "val_acc_cats", "val_acc_dogs"], "val_acc"),
        (["val_cats_acc", "val_white_dogs_acc"], None),  # neither is a variant of the other
        (["val_acc", "val_accuracy"], None),
        ([], None),
        (["val/acc", "val/acc_best", "val/loss"], "val/acc"),  # lightning-hydra-template
        (["val_loss", "val_acc1", "val_acc5"], "val_acc1"),  # timm, torchvision's references
        (["val/acc@1", "val/acc@5"], "val/acc@1"),
        (["val_top1", "val_top5"], "val_top1"),  # lightly
        (["val_online_cls_top1", "val_online_cls_top5", "val_online_cls_loss"], "val_online_cls_top1"),  # lightly
        (["kNN_accuracy"], "kNN_accuracy"),  # lightly's BenchmarkModule
        (["val_acc_top_10", "val_acc_top_5", "val_acc_top_1"], "val_acc_top_1"),
        (["val_acc1", "val_acc5", "best_val_acc1"], "val_acc1"),
        (["val_top1", "val_top1_best", "val_top5"], "val_top1"),
        (["val_loss", "val_OverallAccuracy", "val_AverageAccuracy", "val_OverallF1Score"], "val_OverallAccuracy"),
        (["val/acc_micro", "val/acc_macro"], "val/acc_micro"),
        (["val/aAcc", "val/mAcc", "val/mIoU"], "val/aAcc"),  # mmsegmentation
        (["val_acc", "val_balanced_acc"], "val_acc"),
        (["val_acc", "val_acc_smooth"], "val_acc"),
        (["val_acc", "best_val_acc"], "val_acc"),
        (["val_acc", "val_acc_std", "val_acc_threshold", "val_acc_time"], "val_acc"),
        (["val_acc_mean", "val_acc_std"], "val_acc_mean"),
        (["ptl/val_accuracy", "ptl/val_loss"], "ptl/val_accuracy"),  # ray's examples
        (["eval/accuracy", "eval/loss", "eval/runtime"], "eval/accuracy"),
        (["val_multiclass_accuracy", "val_accuracy"], "val_accuracy"),
        (["val_f1", "val_precision", "val_recall"], None),
    ],
)
def test_the_best_of_several(names, best):
    assert find_accuracy(names) == best
    assert find_accuracy(reversed(names)) == best


PLAIN = st.sampled_from(["acc", "accuracy", "MulticlassAccuracy", "acc1", "acc@1", "top1"])
VALIDATION = st.sampled_from(["val_", "val/", "valid_", "valid/", "validation/", "eval/"])
VARIANTS = ["{}_ema", "{}_smooth", "{}_cats", "balanced_{}", "macro_{}", "{}_dogs", "{}/dataloader_idx_1"]
OTHERS = ["{}_best", "best_{}", "{}_max", "min_{}", "{}_delta", "{}_std", "{}_var", "{}_se", "{}_count", "{}_threshold"]
OTHERS += ["{}_time", "chance_{}", "{}_loss"]
BESIDE = st.sampled_from(["val_loss", "val_f1", "lr-Adam", "train_acc", "test_acc", "val/mIoU", "epoch"])


@example(prefix="val/", plain="acc", variants=[], others=["{}_best"], beside=[], order=0)
@given(
    prefix=VALIDATION,
    plain=PLAIN,
    variants=st.lists(st.sampled_from(VARIANTS)),
    others=st.lists(st.sampled_from(OTHERS)),
    beside=st.lists(BESIDE),
    order=st.randoms(use_true_random=False),
)
def test_a_plain_name_wins_whatever_stands_beside_it(*, prefix, plain, variants, others, beside, order):
    name = prefix + plain
    names = [name, *(prefix + text.format(plain) for text in (*variants, *others)), *beside]
    if order:
        order.shuffle(names)
    assert find_accuracy(names) == name


@given(prefix=VALIDATION, plain=PLAIN, others=st.lists(st.sampled_from(OTHERS)), beside=st.lists(BESIDE))
def test_a_name_that_is_no_accuracy_is_not_chosen_for_want_of_one(prefix, plain, others, beside):
    assert find_accuracy([*(prefix + text.format(plain) for text in others), *beside]) is None


@given(prefix=VALIDATION, plain=PLAIN, loader=st.sampled_from(["", "/dataloader_idx_0", "/dataloader_idx_3"]))
def test_a_metric_is_the_same_under_other_words_for_validation(prefix, plain, loader):
    assert canonical(prefix + plain + loader) == "accuracy"


@given(st.text(max_size=30))
def test_any_text_is_a_name(text):
    assert find_accuracy([text]) in {text, None}
    assert canonical(text) or not text
    assert not (says_error(text) and find_accuracy([text]))


def test_a_given_name_means_itself_or_its_first_dataloader():
    assert of_name("hits", ["hits", "hits/dataloader_idx_0"]) == "hits"
    assert of_name("hits", ["hits/dataloader_idx_1", "hits/dataloader_idx_0"]) == "hits/dataloader_idx_0"
    assert of_name("hits", ["misses"]) is None


@pytest.mark.parametrize(
    "name",
    ["loss", "val_loss", "val/loss_ce", "valLoss", "g_loss", "MSELoss", "val_ppl", "valid/perplexity", "val_mae",
     "val_MeanSquaredError", "val_mse", "rmse_epoch", "val_nll", "val_wer", "val/CER", "FID", "lpips", "edit_distance",
     "val_bits_per_byte", "bits_per_dim", "bpc", "val_smape", "error_rate", "top1_err", "cross_entropy",
     "negative_log_likelihood", "val_inaccuracy", "val_mse2", "test_loss/dataloader_idx_0", "acc_loss"],
)  # fmt: skip
def test_names_that_say_less_is_better(name):
    assert says_error(name)


@pytest.mark.parametrize(
    "name",
    ["val_acc", "val_f1", "mIoU", "val/mAP", "r2", "bleu", "psnr", "ssim", "auroc", "log_likelihood", "neg_rmse",
     "neg_mean_squared_error", "lossless", "gloss_f1", "recall", "lr", "val_precision_at_1", "gradnorm", ""],
)  # fmt: skip
def test_names_that_do_not_say_so(name):
    assert not says_error(name)


@pytest.mark.parametrize(
    ("names", "is_so"),
    [
        (["val_loss"], True),
        (["val_loss", "val_MAE", "val_SMAPE", "lr-Adam", "epoch"], True),  # pytorch-forecasting
        (["g_loss", "d_loss", "grad_norm"], True),
        (["val_loss", "val_f1"], False),
        (["val_loss", "train_acc"], False),
        (["lr", "epoch"], False),
        ([], False),
    ],
)
def test_where_all_are_losses_there_is_nothing_to_score(names, is_so):
    assert is_loss_only(names) is is_so
    assert is_loss_only(reversed(names)) is is_so


@pytest.mark.parametrize(
    ("names", "metric"),
    [
        (
            ["acc", "val_acc", "val/accuracy", "valid_top1", "val_acc1", "val/acc@1", "val_MulticlassAccuracy"],
            "accuracy",
        ),
        (["eval/OverallAccuracy", "val_acc_epoch", "val_acc/dataloader_idx_1", "val_accuracy_score"], "accuracy"),
        (["val_acc5", "val/top5", "val_acc@5", "valid_top-5_acc"], "accuracy top 5"),
        (["val_balanced_acc", "val_AverageAccuracy", "valid/acc_macro"], "accuracy macro"),
        (["val_acc_cats", "val/cats/accuracy"], "accuracy cats"),
        (["kNN_accuracy", "val_knn_acc"], "accuracy knn"),
        (["best_val_acc", "val/acc_best"], "accuracy best"),
        (["train_acc", "train/accuracy"], "accuracy train"),
        (["val/f1", "valid_f1", "val_F1Score", "val_MulticlassF1Score"], "f1"),
        (["val_loss", "loss", "validation/loss"], "loss"),
        (["val_ppl", "val/perplexity"], "perplexity"),
        (["val_mse", "val_MeanSquaredError"], "mse"),
        (["val_rmse", "val/root_mean_squared_error"], "rmse"),
        (["val_recall_at_precision"], "recall at precision"),
        (["val_precision_at_recall"], "precision at recall"),
        (["val/mIoU", "val_miou"], "miou"),
        (["val"], "val"),
        (["Ø"], "ø"),
    ],
)
def test_two_names_of_one_metric(names, metric):
    assert {canonical(name) for name in names} == {metric}
