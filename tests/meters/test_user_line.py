from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
import warnings

import pytest

from lightning_energy.meters import user_line
from lightning_energy.meters.user_line import warn_at_user


def place_of(act) -> tuple[str, int]:
    """The file and the line of the only warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    (warning,) = caught
    assert (warning.category, str(warning.message)) == (UserWarning, "text")
    return warning.filename, warning.lineno


def here() -> tuple[str, int]:
    """The file of this test, and the line that calls this."""
    return __file__, inspect.currentframe().f_back.f_lineno


def test_the_line_that_calls_it_is_the_place():
    found = []

    def act():
        warn_at_user("text"), found.append(here())

    assert place_of(act) == found[0]


@pytest.mark.parametrize("module", ["lightning_energy.callback", "lightning.pytorch.trainer", "torch.nn", "contextlib"])
def test_what_stands_between_is_passed_over(module):
    """Functions whose module is said to be one of these, as if it stood there."""
    between = {"__name__": module, "warn": warn_at_user}
    exec("def call():\n    warn('text')", between)
    found = []

    def act():
        between["call"](), found.append(here())

    assert place_of(act) == found[0]


def test_a_package_whose_name_only_begins_alike_is_the_users():
    users = {"__name__": "lightning_energy_of_mine", "warn": warn_at_user}
    exec(compile("def call():\n    warn('text')", "mine.py", "exec"), users)
    assert place_of(users["call"]) == ("mine.py", 2)


def test_a_context_manager_is_passed_over():
    @contextlib.contextmanager
    def ours():
        functools.partial(eval(compile("lambda warn: warn('text')", "-", "eval"), {"__name__": "torch"}))(warn_at_user)
        yield

    def act():
        with ours():
            pass

    assert place_of(act)[0] == __file__


def test_without_a_user_on_the_stack_there_is_a_warning_all_the_same(monkeypatch):
    everybody = {str(frame.frame.f_globals["__name__"]).partition(".")[0] for frame in inspect.stack()}
    monkeypatch.setattr(user_line, "BETWEEN", {*user_line.BETWEEN, *everybody, "threading"})

    def act():
        thread = threading.Thread(target=warn_at_user, args=("text",))
        thread.start()
        thread.join()

    assert place_of(act)[0] != user_line.__file__


def test_a_filter_of_the_users_module_applies():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=__name__.replace(".", r"\."))
        warn_at_user("text")
        warnings.resetwarnings()
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="text"):
            warn_at_user("text")


def test_one_place_is_told_once_by_pythons_default():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        globals().pop("__warningregistry__", None)
        for _ in range(2):
            warn_at_user("text")
    assert len(caught) == 1
    assert sys.modules[__name__].__warningregistry__
