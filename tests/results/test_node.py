from __future__ import annotations

import math

import pytest

from lightning_energy.results.node import DamagedError, Node


@pytest.mark.parametrize(
    ("value", "read", "text"),
    [
        (None, Node.number, "x=None is not a finite number"),
        (True, Node.number, "x=True is not a finite number"),
        ("1", Node.number, "x='1' is not a finite number"),
        (math.nan, Node.number, "x=nan is not a finite number"),
        (math.inf, Node.amount, "x=inf is not a finite number from 0 on"),
        (10**400, Node.amount, "is not a finite number from 0 on"),
        (1e308, Node.amount, "x=1e+308 is not a number up to 1e+100"),
        (10**400, Node.integer, "is not a number up to 1e+100"),
        (-0.5, Node.amount, "x=-0.5 is not a finite number from 0 on"),
        (1.0, Node.integer, "x=1.0 is not a whole number from 0 on"),
        (-1, Node.integer, "x=-1 is not a whole number from 0 on"),
        (True, Node.integer, "x=True is not a whole number from 0 on"),
        (3, Node.text, "x=3 is not a text"),
        ([], Node.mapping, "x=[] is not an object"),
        ({}, Node.items, "x={} is not an array"),
        (["red"], lambda node: node.one_of(("red", "green")), "x=['red'] is not one of red, green"),
        ("blue", lambda node: node.one_of(("red", "green")), "x='blue' is not one of red, green"),
    ],
)
def test_a_wrong_value_is_named(value, read, text):
    with pytest.raises(DamagedError) as error:
        read(Node(value, "x"))
    assert text in str(error.value)


def test_a_name_is_the_place_in_the_document():
    document = Node({"rows": [{"energy": {}}]})
    (row,) = document["rows"].items()
    with pytest.raises(DamagedError, match=r"^rows\[0\]\.energy\.u_j is not there$"):
        row["energy"]["u_j"].amount()
    with pytest.raises(DamagedError, match="^the document=3 is not an object$"):
        Node(3).mapping()


def test_a_value_that_may_be_unknown():
    assert Node(None).maybe(Node.number) is None
    assert Node(2).maybe(Node.number) == 2.0
    assert Node({}).get("x").value is None


def test_a_long_value_is_shortened():
    with pytest.raises(DamagedError) as error:
        Node("x" * 10_000, "name").amount()
    assert len(str(error.value)) < 200
