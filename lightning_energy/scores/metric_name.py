"""The choice of the accuracy among the names of logged metrics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["canonical", "find_accuracy", "is_loss_only", "of_name", "says_error"]

_LOADER = re.compile(r"/dataloader_idx_(\d+)$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z]+")
_OF_ANOTHER_STAGE = {"train", "training", "test"}
_OF_VALIDATION = {"val", "valid", "validation", "eval"}
_OF_AN_ERROR = {"loss", "mae", "mse", "rmse", "error", "err"}
_OF_A_PART = {"step", "top", "class", "per", "aux", "ema"}


def _words(name: str) -> list[str]:
    return _WORD.findall(_CAMEL.sub("_", name).lower())


def _rank(name: str) -> tuple[int, ...] | None:
    """Rank a name, smaller is better; ``None`` when it is no validation accuracy."""
    words = _words(_LOADER.sub("", name))
    exact = "accuracy" in words or "acc" in words
    inside = any(w.endswith(("accuracy", "acc")) and w not in {"acc", "accuracy"} for w in words)
    if not (exact or inside) or (_OF_ANOTHER_STAGE | _OF_AN_ERROR) & {*words}:
        return None
    loader = _LOADER.search(name)
    return (
        0 if _OF_VALIDATION & {*words} or any(w.startswith("val") for w in words) else 1,
        sum(w in _OF_A_PART for w in words) + (1 if words[-1] == "epoch" else 0),
        int(loader.group(1)) if loader else 0,
    )


def find_accuracy(names: Iterable[str]) -> str | None:
    """Find the one name among ``names`` that names validation accuracy best, or ``None``.

    A name fits when one of its words is ``acc`` or ``accuracy``, or ends so (``MulticlassAccuracy``), and none is
    ``train`` or ``test`` or says an error (``loss``, ``mae``, …). Better is, in this order: a name that says
    validation; one without words that say a part (``top``, ``class``, ``step``, ``epoch``, ``ema``, …); the first of
    several dataloaders. When two names are equally good, there is no answer: the choice is the user's.

    Args:
        names: names of logged metrics.

    Example:
        >>> find_accuracy(["train_acc", "val_loss", "val/accuracy"])
        'val/accuracy'
        >>> find_accuracy(["val_acc_cats", "val_acc_dogs"]) is None
        True
    """
    ranked = sorted((rank, name) for name in names if (rank := _rank(name)) is not None)
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return ranked[0][1]


def of_name(accuracy: str, names: Iterable[str]) -> str | None:
    """Find the logged name that the user's ``accuracy`` means: itself, or itself on the first dataloader."""
    names = {*names}
    return next((n for n in (accuracy, f"{accuracy}/dataloader_idx_0") if n in names), None)


def says_error(name: str) -> bool:
    """Return true if a name says that less is better (to be replaced)."""
    return bool({"loss", "mae", "mse", "rmse", "error", "err", "ppl", "perplexity"} & {*_words(name)})


def is_loss_only(names: Iterable[str]) -> bool:
    """Return true if all names say so (to be replaced)."""
    names = [*names]
    return bool(names) and all(map(says_error, names))


def canonical(name: str) -> str:
    """Name the metric that a logged name means, without the words of stage and dataloader (to be replaced).

    Example:
        >>> canonical("val_acc"), canonical("valid/MulticlassAccuracy"), canonical("val_acc5"), canonical("val_loss")
        ('accuracy', 'accuracy', 'accuracy top 5', 'loss')
    """
    left_out = _OF_VALIDATION | _OF_ANOTHER_STAGE | {"epoch", "multiclass", "binary", "multilabel"}
    words = re.findall(r"[a-z]+|\d+", _CAMEL.sub("_", _LOADER.sub("", name)).lower())
    kept = ["accuracy" if w == "acc" else w for w in words if w not in left_out]
    if "accuracy" in kept and {*kept} <= {"accuracy", "top", "1", "3", "5"}:
        rank = "".join(w for w in kept if w.isdigit())
        return "accuracy" if rank in {"", "1"} else f"accuracy top {rank}"
    return " ".join(kept)
