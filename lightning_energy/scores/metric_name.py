"""The meaning of a logged metric's name: an accuracy, an error, and the same metric under another name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["canonical", "find_accuracy", "is_loss_only", "of_name", "says_error"]

_LOADER = re.compile(r"/dataloader_idx_(\d+)$")
_CAMEL = re.compile(r"(?<=[a-z]{2})(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})|(?<=[0-9])(?=[A-Z][a-z])")
_TOP = re.compile(r"(?:(?<![a-z])top[ _-]?|(?:(?<=acc)|(?<=accuracy))(?:@|[ _-]at[ _-]?)?)([1-9]\d*)(?!\d|\.\d)")
_WORD = re.compile(r"\d+\.\d+|[a-z]+\d*|\d+")
_ACCURACY = re.compile(r"([a-z]*?)(accuracy|acc)")
_VALIDATION = re.compile(r"(?:val|valid|validation|validate|eval|evaluation)(\d*)")

_OF_ANOTHER_STAGE = {"train", "training", "trn", "test", "testing", "tst"}
_OF_TIME = {"epoch": 1, "step": 2}  # the endings of a name that Lightning logs twice
_OVER_ALL = {"overall", "micro", "global"}
_OVER_CLASSES = {"average", "averaged", "avg", "mean", "macro", "weighted", "balanced"}
# what is written in one word with it: vacc, mAcc, aAcc, inacc
_BEFORE_ACCURACY = {"v": "val", "m": "mean", "a": "overall", "in": "misclassification"}
_BESIDE_TOP = {"knn", "linear", "probe", "online", "cls", "classifier", "clf", "head", "student", "teacher", "ema"}
_NEVER = {
    *("best", "worst", "max", "maximum", "min", "minimum", "highest", "lowest", "delta", "diff", "difference", "gain"),
    *("improvement", "drop", "gap", "change", "std", "stdev", "sd", "var", "variance", "se", "sem", "stderr", "ci"),
    *("count", "counts", "num", "number", "n", "threshold", "thresh", "thr", "time", "sec", "secs", "seconds", "ms"),
    *("duration", "chance", "random", "dummy", "goal", "confidence", "conf", "prob", "grad", "gradient"),
    *("epochs", "steps", "patience", "misclassification"),
}
_ERRORS = {
    *("loss", "losses", "error", "errors", "err", "perplexity", "ppl", "mae", "mse", "rmse", "msle", "rmsle", "mape"),
    *("smape", "mase", "nll", "wer", "cer", "ter", "eer", "fid", "kid", "lpips", "niqe", "distance", "distances"),
    *("divergence", "kld", "kl", "bce", "ce", "crossentropy", "bpc", "bpb", "bpd", "crps", "brier", "ece", "epe"),
    *("ade", "fde", "hausdorff", "hd95", "chamfer", "deviance", "residual", "regret", "cost", "inaccuracy", "hinge"),
    *("inacc", "misclassification", "fpr", "fnr"),
}
_ERROR_ENDING = re.compile(r"(?!gloss|floss).*(?:loss|error|perplexity|mse)")
_ERROR_PHRASES = (
    {"cross", "entropy"},
    {"bits", "per"},
    {"negative", "log", "likelihood"},
    {"neg", "log", "likelihood"},
    {"false", "rate"},
)
_OF_NO_MODEL = {
    *("lr", "learning", "epoch", "epochs", "step", "steps", "time", "seconds", "duration", "throughput", "memory"),
    *("momentum", "decay", "temperature", "beta", "grad", "gradient", "norm", "batch", "count"),
}
_TASKS = {"multiclass", "binary", "categorical", "sparse"}
_SHORT = {
    ("root", "mean", "squared", "error"): "rmse",
    ("mean", "absolute", "error"): "mae",
    ("mean", "squared", "error"): "mse",
    ("word", "error", "rate"): "wer",
    ("char", "error", "rate"): "cer",
    ("jaccard", "index"): "iou",
    ("f1", "score"): "f1",
    ("r2", "score"): "r2",
    ("ppl",): "perplexity",
    ("err",): "error",
}


@dataclass(frozen=True)
class _Name:
    """The words of a name, sorted by what they say.

    Attributes:
        validation: 0 where it says validation, else 1.
        loader: the number of its dataloader.
        is_accuracy: true where a word is or ends as ``acc`` or ``accuracy``, or the name says no more than top-k.
        top: the k of a top-k accuracy; 0 where it says none.
        time: 0 without a word of it, 1 of an epoch, 2 of a step.
        average: 0 without a word of it, 1 over all samples, 2 over classes.
        others: all further words, in their order.
    """

    validation: int
    loader: int
    is_accuracy: bool
    top: int
    time: int
    average: int
    others: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> _Name:
        loader, top = _LOADER.search(name), 0
        text = _CAMEL.sub("_", _LOADER.sub("", name)).lower()
        found = _TOP.search(text)
        if found:
            top, text = int(found.group(1)), f"{text[: found.start()]} {text[found.end() :]}"
        words = [w for word in _WORD.findall(text) for w in _apart(word)]
        others = tuple(w for w in words if w not in {"accuracy", "val", *_OF_TIME, *_OVER_ALL, *_OVER_CLASSES})
        return cls(
            validation=0 if "val" in words else 1,
            loader=int(loader.group(1)) if loader else 0,
            is_accuracy="accuracy" in words or (top > 0 and {*others} <= _BESIDE_TOP),
            top=top,
            time=max((_OF_TIME.get(w, 0) for w in words), default=0),
            average=2 if _OVER_CLASSES & {*words} else 1 if _OVER_ALL & {*words} else 0,
            others=others,
        )

    def is_variant_of(self, other: _Name) -> bool:
        """True when this says all that the other says, and perhaps more: ``val_acc_smooth`` of ``val_acc``."""
        return (
            self.loader >= other.loader
            and self.top >= other.top
            and self.time >= other.time
            and self.average >= other.average
            and {*self.others} >= {*other.others}
        )


def _apart(word: str) -> list[str]:
    """Take apart what was written in one word, and give words of one meaning one form."""
    validation = _VALIDATION.fullmatch(word)
    if validation:
        return ["val", validation.group(1)] if validation.group(1) else ["val"]
    accuracy = _ACCURACY.fullmatch(word)
    if accuracy is None:
        return [word]
    before = accuracy.group(1)
    return [*_apart(_BEFORE_ACCURACY.get(before, before)), "accuracy"] if before else ["accuracy"]


def _words(name: str) -> list[str]:
    """The words of a name in lower case: ``val/MulticlassAccuracy`` has three, ``mIoU`` and ``f1`` are one each."""
    return _WORD.findall(_CAMEL.sub("_", _LOADER.sub("", name)).lower())


def find_accuracy(names: Iterable[str]) -> str | None:
    """Find the one name among ``names`` that plainly names validation accuracy, or ``None``.

    A name fits when one of its words is ``acc`` or ``accuracy``, or ends so (``MulticlassAccuracy``), or when it says
    top-1 and nothing else (``val_top1``). It never fits when a word says another stage (``train``, ``test``), an error
    (see :func:`says_error`), or a quantity that is no accuracy itself: a best, max, min, delta, std, var, count,
    threshold, time, chance, or *in*accuracy.

    Names that say validation go before those that do not. Of several, the one is taken that all others are variants
    of: they add words to it (``val_acc_smooth``, ``val_acc_cats``), average over classes where it does not
    (``val_balanced_acc``, ``val_AverageAccuracy`` beside ``val_OverallAccuracy``), have a larger k (``val_acc5`` beside
    ``val_acc1``), or a later dataloader. Where there is no such name, there is no answer: the choice is the user's.

    Args:
        names: names of logged metrics, in any order.

    Example:
        >>> find_accuracy(["train_acc", "val_loss", "val/acc", "val/acc_best"])
        'val/acc'
        >>> find_accuracy(["val_acc_cats", "val_acc_dogs"]) is None
        True
    """
    found = {name: said for name in names if (said := _accuracy(name)) is not None}
    best = min((said.validation for said in found.values()), default=0)
    found = {name: said for name, said in found.items() if said.validation == best}
    plain = [n for n, said in found.items() if all(other.is_variant_of(said) for other in found.values())]
    return plain[0] if len(plain) == 1 else None


def _accuracy(name: str) -> _Name | None:
    said = _Name.of(name)
    refused = (_NEVER | _OF_ANOTHER_STAGE) & {*said.others}
    return None if refused or not said.is_accuracy or says_error(name) else said


def of_name(accuracy: str, names: Iterable[str]) -> str | None:
    """Find the logged name that the user's ``accuracy`` means: itself, or itself on the first dataloader."""
    names = {*names}
    return next((n for n in (accuracy, f"{accuracy}/dataloader_idx_0") if n in names), None)


def says_error(name: str) -> bool:
    """True when a name says that less is better: a loss, an error, a perplexity, a distance, bits per something.

    A name that says the negative of one (``neg_mean_squared_error``) does not.

    Args:
        name: of a logged metric.

    Example:
        >>> [says_error(name) for name in ("val/ppl", "valid_MSE", "bits_per_byte", "val_f1", "neg_rmse")]
        [True, True, True, False, False]
    """
    words = {w for word in _words(name) for w in (word, word.rstrip("0123456789"))}
    if any(phrase <= words for phrase in _ERROR_PHRASES):
        return True
    if words & {"neg", "negative"}:
        return False
    return bool(words & _ERRORS) or any(_ERROR_ENDING.fullmatch(w) for w in words)


def is_loss_only(names: Iterable[str]) -> bool:
    """True when there is at least one loss or error among ``names``, and nothing that could be a quality to score.

    Learning rates, times, counts and norms beside them say nothing of a model.

    Args:
        names: names of logged metrics.

    Example:
        >>> is_loss_only(["val_loss", "val/mae", "lr-Adam"]), is_loss_only(["val_loss", "val_f1"]), is_loss_only([])
        (True, False, False)
    """
    names = [*names]
    errors = [name for name in names if says_error(name)]
    rest = [name for name in names if name not in errors]
    return bool(errors) and all(_OF_NO_MODEL & {*_words(name)} for name in rest)


def canonical(name: str) -> str:
    """Give one name to a metric that two runs log under two: equal results mean the same metric.

    Words of validation, of the dataloader and of the epoch go; the words of other stages stay, since an accuracy in
    training is not one in validation. An accuracy comes first, with what makes it a variant behind it.

    Args:
        name: of a logged metric.

    Example:
        >>> [canonical(name) for name in ("val/MulticlassAccuracy", "valid_top1", "val_acc5", "val/f1", "val_loss")]
        ['accuracy', 'accuracy', 'accuracy top 5', 'f1', 'loss']
    """
    said = _Name.of(name)
    if said.is_accuracy and not says_error(name):
        variant = sorted({*said.others} - _TASKS - {"score"})
        top = ["top", str(said.top)] if said.top > 1 else []
        macro = ["macro"] if said.average == 2 else []  # noqa: PLR2004 - see _Name
        step = ["step"] if said.time == _OF_TIME["step"] else []
        return " ".join(["accuracy", *top, *macro, *variant, *step])
    words = [w for w in _words(name) if not _VALIDATION.fullmatch(w) and w != "epoch" and w not in _TASKS]
    text = f" {' '.join(words)} "
    for long, short in _SHORT.items():
        text = text.replace(f" {' '.join(long)} ", f" {short} ")
    return text.strip() or name.lower()
