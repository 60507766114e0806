"""Checks of arguments that the callback and the monitor share."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import re
import reprlib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from lightning_energy.meters.units import J_PER_KWH, J_PER_WH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "check_idle",
    "check_phase",
    "check_record",
    "check_stage",
    "check_switches",
    "named_arguments",
    "slip_in_stage",
]

P = ParamSpec("P")
S = TypeVar("S")
TAKEN = ("step", "gap", "opening", "before", "after")  # what parts of a run are called that are no phases
SLIPS = {
    "training": "train",
    **dict.fromkeys(("val", "valid", "validation", "validating"), "validate"),
    "testing": "test",
    **dict.fromkeys(("prediction", "predicting"), "predict"),
}
OF_A_STAGE = {
    "train": "its steps and samples are not counted",
    "validate": "its energy is in no epoch's row",
    "test": "its energy is in the training's total",
    "predict": "its energy is in the training's total",
}
"""The consequence for a stage that is called by a slip of these names."""

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 100
IN_A_NAME = re.compile(
    r"(mwh|kwh|wh|kj|mj|joules?|(?<![a-z])j)(?![a-z])|(?<![a-z])(ms|s|seconds?|sec|min|minutes?|h|hours?)$"
)
UNITS: dict[str, tuple[str, float]] = {
    "kwh": ("kWh", J_PER_KWH),
    "wh": ("Wh", J_PER_WH),
    "kj": ("kJ", 1e3),
    **dict.fromkeys(("j", "joule", "joules"), ("J", 1.0)),
    "ms": ("ms", 1e-3),
    **dict.fromkeys(("s", "sec", "second", "seconds"), ("s", 1.0)),
    **dict.fromkeys(("min", "minute", "minutes"), ("min", 60.0)),
    **dict.fromkeys(("h", "hour", "hours"), ("h", 3600.0)),
}
"""The units that a name may end with: their symbols, and their joules or seconds; ``m`` may be milli or mega."""

OF_TIME = {"ms", "s", "min", "h"}


def check_idle(idle_s: Any) -> None:
    """Check the seconds to watch idle devices.

    Raises:
        TypeError: no number.
        ValueError: negative or not finite.
    """
    if isinstance(idle_s, bool) or not isinstance(idle_s, (int, float)):
        raise TypeError(f"idle_s={idle_s!r}: give seconds from 0 on, such as 10")
    if not 0 <= idle_s < math.inf:
        raise ValueError(f"idle_s={idle_s!r}: give seconds from 0 on, such as 10")


def check_switches(**switches: Any) -> None:
    """Check arguments that are on or off: a text such as ``"no"`` would count as on.

    Raises:
        TypeError: one is neither.
    """
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name}={value!r}: give True or False")


def check_phase(name: Any) -> None:
    """Check the name of a phase.

    Raises:
        TypeError: it is no text.
        ValueError: it has other letters than those of a name, or means something else here.
    """
    if not isinstance(name, str):
        raise TypeError(f"phase({SHORT.repr(name)}): give a name, such as 'forward'")
    if not re.fullmatch(r"[\w-]+", name) or name in TAKEN:
        raise ValueError(
            f"phase({SHORT.repr(name)}): give a name of letters, digits, - and _ that is none of {', '.join(TAKEN)}"
        )


def check_stage(name: Any, epoch: Any) -> int:
    """Check the name and the epoch of a stage, and return the epoch.

    Raises:
        TypeError: the name is no text, or the epoch no whole number.
    """
    if not isinstance(name, str):
        raise TypeError(f"stage({SHORT.repr(name)}): give a name, such as 'train'")
    try:
        return operator.index(epoch)
    except TypeError as error:
        wrong = f"stage({SHORT.repr(name)}, epoch={SHORT.repr(epoch)})"
        raise TypeError(f"{wrong}: give the epoch as a whole number, such as 0, or omit it") from error


def slip_in_stage(name: str) -> str:
    """Tell what is wrong with a name that was probably meant for one of ours; empty for any other.

    Example:
        >>> slip_in_stage("Train")
        "stage('Train') is not 'train': its steps and samples are not counted, write stage('train') if you mean it"
        >>> slip_in_stage("train"), slip_in_stage("warm-up")
        ('', '')
    """
    plain = name.strip().lower()
    meant = SLIPS.get(plain, plain)
    if meant == name or meant not in OF_A_STAGE:
        return ""
    return f"stage({name!r}) is not {meant!r}: {OF_A_STAGE[meant]}, write stage({meant!r}) if you mean it"


def check_record(record: Any) -> None:
    """Check whether and where a record is kept.

    Raises:
        TypeError: neither a switch nor a path of this machine.
    """
    if not isinstance(record, (bool, str, Path)) or record == "" or (isinstance(record, str) and "://" in record):
        raise TypeError(f"record={record!r}: give True, False, or the path of a file or folder on this machine")


def named_arguments(
    of: str, unnamed: Callable[[Any], str], other_names: Mapping[str, Sequence[str] | str]
) -> Callable[[Callable[Concatenate[S, P], None]], Callable[Concatenate[S, P], None]]:
    """Decorate an ``__init__`` of named arguments: a value without a name, or with a wrong one, is told the right one.

    Args:
        of: the name of the class.
        unnamed: the argument that a value without a name was probably meant for.
        other_names: what other tools call an argument: the first of the names here that there is, or what to do.
    """

    def decorate(init: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
        names = [p.name for p in inspect.signature(init).parameters.values() if p.kind is p.KEYWORD_ONLY]

        @functools.wraps(init)
        def checked(self: S, *args: Any, **kwargs: Any) -> None:
            if args:
                given = SHORT.repr(args[0])
                raise TypeError(f"{of}({given}): each argument has a name: write {of}({unnamed(args[0])}={given})")
            for name, value in kwargs.items():
                if name not in names:
                    raise TypeError(f"{of} has no argument {name}: {instead(name, value)}")
            init(self, *args, **kwargs)

        def instead(wrong: str, value: Any) -> str:
            others = other_names.get(wrong, ())
            if isinstance(others, str):
                return others
            known = [name for name in others if name in names]
            near = known or get_close_matches(wrong, names, n=1)
            return f"write {_given(wrong, near[0], value)}" if near else f"there are {', '.join(names)}"

        return checked  # type: ignore[return-value]  # wraps() forgets that the first argument has no name

    return decorate


def _given(wrong: str, right: str, value: Any) -> str:
    """An argument with its value, converted where the wrong name had another unit, or none where that is not possible.

    Example:
        >>> _given("max_wh", "max_kwh", 500), _given("max_j", "max_kwh", "1"), _given("kwh", "max_kwh", 2)
        ('max_kwh=0.5, in kWh', 'max_kwh=… in kWh', 'max_kwh=2')
    """
    had, wants = _unit_in(wrong), _unit_in(right)
    if had == wants or had is None:
        return f"{right}={SHORT.repr(value)}"
    if wants is None:
        return f"{right}=…"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or math.isnan(had[1]) or (had[0] in OF_TIME) != (wants[0] in OF_TIME):
        return f"{right}=… in {wants[0]}"
    return f"{right}={value * had[1] / wants[1]:.6g}, in {wants[0]}"


def _unit_in(name: str) -> tuple[str, float] | None:
    """The unit in an argument's name, with its size; ``None`` without one."""
    found = IN_A_NAME.search(name.lower())
    if found is None:
        return None
    unit = found[1] or found[2]
    return UNITS.get(unit, (unit, math.nan))
