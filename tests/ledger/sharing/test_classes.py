from __future__ import annotations

import threading

import numpy as np
import pytest

from lightning_energy.ledger.accounts import OUTSIDE, Accounts
from lightning_energy.ledger.sharing.classes import AFTER, BEFORE, Classes, Position


@pytest.fixture
def table():
    accounts = Accounts(threading.RLock())
    codes = {"out": OUTSIDE}
    for epoch in (0, 1):
        codes |= {
            f"step{epoch}": accounts.code(epoch, "train", "step"),
            f"gap{epoch}": accounts.code(epoch, "train", "gap"),
        }
        codes[f"val{epoch}"] = accounts.code(epoch, "validate", "gap")
        codes[f"vstep{epoch}"] = accounts.code(epoch, "validate", "step")
    return accounts, Classes(accounts), codes


def told(classes: Classes, codes: dict, words: str, before: Position = Position()) -> tuple[list[str], Position]:  # noqa: B008
    found, position = classes.of(np.array([codes[word] for word in words.split()], dtype=np.int64), before)
    return [" ".join(classes.names[k]) for k in found], position


def test_a_stage_opens_and_then_has_steps_and_gaps(table):
    _, classes, codes = table
    assert told(classes, codes, "out gap0 step0 gap0 gap0 step0 val0 vstep0 val0 gap1 step1 out")[0] == [
        "outside before",
        "train opening",
        "train step",
        "train gap",
        "train gap",
        "train step",
        "validate opening",
        "validate step",
        "validate gap",
        "train opening",
        "train step",
        "outside after",
    ]


def test_marks_that_come_one_by_one_are_told_as_those_at_once(table):
    _, classes, codes = table
    words = ["out", "gap0", "gap0", "step0", "gap0", "gap0", "out", "gap1", "step1", "out", "out"]
    position, one_by_one = Position(), []
    for word in words:
        found, position = told(classes, codes, word, position)
        one_by_one += found
    assert one_by_one == told(classes, codes, " ".join(words))[0]
    assert classes.of(np.empty(0, dtype=np.int64), position)[1] is position


def test_before_and_after_are_two(table):
    _, classes, codes = table
    found, position = told(classes, codes, "out step0 out")
    assert (found[0], found[-1]) == ("outside before", "outside after")
    assert told(classes, codes, "out", position)[0] == ["outside after"]
    assert (BEFORE, AFTER) == (0, 1)


def test_epochs_share_their_classes_and_stages_are_numbered(table):
    accounts, classes, codes = table
    told(classes, codes, "step0 val0")
    epochs = len(classes.names)
    accounts.code(7, "train", "step")
    codes["step7"] = len(accounts.rows) - 1
    assert told(classes, codes, "step7")[0] == ["train step"]  # an account that came later
    assert len(classes.names) == epochs
    assert classes.stage.tolist() == [0, 1, 2, 2, 2, 3, 3, 3]


def test_a_renamed_account_keeps_its_class_and_accounts_go_on(table):
    accounts, classes, codes = table
    codes["apart"] = accounts.apart(codes["gap0"])
    before = told(classes, codes, "step0 apart step0")[0]
    accounts.rename(codes["apart"], "validate")
    assert told(classes, codes, "step0 apart step0")[0] == before == ["train step", "train opening", "train step"]


def test_phases_are_classes_and_the_rest_of_a_step_is_that_of_gaps(table):
    accounts, classes, codes = table
    for kind, phases in {"step": ("other", "forward"), "gap": ("other", "data", "saving")}.items():
        codes |= {f"{kind}/{phase}": accounts.code(2, "train", kind, phase) for phase in phases}
    words = "gap/other gap/data gap/saving step/other step/forward gap/other gap/data gap/saving step/other"
    assert told(classes, codes, words)[0] == [
        "train opening",
        "train opening/data",
        "train saving",
        "train other",
        "train forward",
        "train other",
        "train data",
        "train saving",
        "train other",
    ]
    (forward,) = (k for k, name in enumerate(classes.names) if name == ("train", "forward"))
    assert forward in classes.steps
    assert classes.names.index(("train", "other")) not in classes.steps
    kinds = classes.kinds(forward, 2)
    assert kinds[0] == forward
    assert classes.names[kinds[1]] == ("train", "forward 2")
