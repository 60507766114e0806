"""Checks of arguments that the callback and the monitor share."""

from __future__ import annotations

import functools
import inspect
import math
import re
import reprlib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["check_idle", "check_phase", "check_record", "check_switches", "named_arguments"]

P = ParamSpec("P")
S = TypeVar("S")
TAKEN = ("step", "gap", "opening", "before", "after")  # what parts of a run are called that are no phases
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 100


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
            return f"write {near[0]}={SHORT.repr(value)}" if near else f"there are {', '.join(names)}"

        return checked  # type: ignore[return-value]  # wraps() forgets that the first argument has no name

    return decorate
