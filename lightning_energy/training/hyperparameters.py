"""The user's hyperparameters as a record may hold them: plain, short, and without secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.results.seeds import seed_among
from lightning_energy.training.lightning_private import logged_hyperparameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning.pytorch import Trainer

__all__ = ["global_seed", "recorded_hyperparameters", "recorded_seed", "without_secrets"]

SECRET = re.compile(
    r"secret|passw|passphrase|credential|private_?key|(api|access|auth|license|account|wandb)_?(key|token)(_id)?\b|"
    r"(^|_)(token|auth|auth_header|authorization|pwd|apikey|cookie|bearer)$",
    re.IGNORECASE,
)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
SEPARATOR = re.compile(r"[-. ]")
HIDDEN = "…"
# in a text: what stands before a secret that is hidden, and the secret
IN_TEXT = (
    re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s?#]*(?=@)", re.IGNORECASE),
    re.compile(
        r"(\b(?:\w*(?:password|passwd|secret|api_?-?key|access_?-?key|private_?-?key)|pwd|token|(?:auth|access)_?-?token)=)"
        r"[^&;,\s]+",
        re.IGNORECASE,
    ),
    re.compile(r"(\b(?:bearer|basic)\s)\s*[\w.~+/=-]{6,}", re.IGNORECASE),
    re.compile(r"\b(sk-|hf_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA)[\w-]{14,}"),
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*", re.DOTALL),
)
LONGEST_TEXT = 200
LONGEST_LOOK = 10_000  # letters of a text that are looked at
MOST_VALUES = 500  # of all levels together
DEEPEST = 6
LARGEST_BITS = 256  # of a whole number
LEFT_OUT = "(left out: the name says that it is secret)"


def recorded_hyperparameters(trainer: Trainer) -> dict[str, Any]:
    """The hyperparameters that Lightning gives its loggers too: none with ``save_hyperparameters(logger=False)``."""
    values = logged_hyperparameters(trainer)
    return {} if values is None else without_secrets(values)


def recorded_seed(hyperparameters: Mapping[str, Any]) -> int | None:
    """The seed of a run: that of its hyperparameters, or of Lightning's ``seed_everything``; ``None`` unknown.

    Args:
        hyperparameters: those of the run, in plain types.

    Example:
        >>> recorded_seed({"seed": 3, "lr": 0.1})
        3
    """
    seed = seed_among(hyperparameters)
    return global_seed() if seed is None else seed


def global_seed() -> int | None:
    """The seed of Lightning's last ``seed_everything``; ``None`` unknown.

    Of several trainings after one call all have it, although the random state has moved on.
    """
    text = os.environ.get("PL_GLOBAL_SEED", "")
    return int(text) if text.isascii() and text.isdigit() else None


def without_secrets(values: Any) -> dict[str, Any]:
    """Hyperparameters in plain types: numbers, texts, and lists and mappings of these.

    Whatever else there is becomes the name of its class; long texts are cut, the home folder becomes ``~``, and a value
    whose name says that it is secret is left out, which stands in its place; so is a part of a text that looks like it.

    Example:
        >>> without_secrets({"lr": 0.1, "api_key": "abc", "loss": max, "path": "x" * 300})["api_key"]
        '(left out: the name says that it is secret)'
    """
    return _Plain().mapping(values, DEEPEST)


class _Plain:
    """Turns values into plain types, a bounded number of them; a value that makes trouble costs that value alone."""

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self._home = _home()

    def mapping(self, values: Any, levels: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in values.items():
            if self._left <= 0:
                plain["…"] = f"(left out: more than {MOST_VALUES} values)"
                break
            self._left -= 1
            name = self._text(key) if isinstance(key, (str, int, float)) else type(key).__name__
            plain[name] = LEFT_OUT if _is_secret(name) else self._value(value, levels - 1)
        return plain

    def _value(self, value: Any, levels: int) -> Any:
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return int(value) if value.bit_length() <= LARGEST_BITS else f"a number of {value.bit_length()} bits"
        if isinstance(value, (str, Path)):
            return self._text(value)
        try:
            return self._nested(value, levels)
        except Exception as error:  # whatever it is, it is the user's
            if raised_by_handler(error):
                raise
            return type(value).__name__

    def _nested(self, value: Any, levels: int) -> Any:
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a number of NumPy or torch
            return self._value(value.item(), levels)
        if levels > 0 and hasattr(value, "items") and not hasattr(value, "ndim"):
            return self.mapping(value, levels)
        if levels > 0 and isinstance(value, (list, tuple, set, frozenset)):
            return [self._counted(item, levels) for item in [*value][: self._left]]
        return getattr(value, "__name__", None) if isinstance(value, type) else type(value).__name__

    def _counted(self, value: Any, levels: int) -> Any:
        self._left -= 1
        return self._value(value, levels - 1)

    def _text(self, value: Any) -> str:
        text = str(value)[:LONGEST_LOOK]
        for secret in IN_TEXT:
            text = secret.sub(rf"\1{HIDDEN}", text)
        if self._home:
            text = re.sub(rf"{re.escape(self._home)}(?![\w.-])", "~", text)
        return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _is_secret(name: str) -> bool:
    return bool(SECRET.search(SEPARATOR.sub("_", CAMEL.sub("_", name))))


def _home() -> str:
    try:
        home = str(Path.home())
    except (RuntimeError, OSError):
        return ""
    return home if len(home) > 1 else ""
