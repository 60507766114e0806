from __future__ import annotations

import pytest

from lightning_energy.results.seeds import global_seed_of
from tests.records import record


@pytest.mark.parametrize(
    ("hyperparameters", "seed", "global_seed", "known"),
    [
        ({"seed": 42}, 42, 7, 7),
        ({"lr": 0.1}, 0, 0, 0),
        ({"lr": 0.1}, 7, None, 7),  # of an earlier release, which had no other one to keep
        ({"data": {"seed": 42}}, 7, None, 7),  # it looked at those of the first level alone
        ({"seed": "3"}, 7, None, 7),  # and at whole numbers
        ({"random_state": 42}, 42, None, None),
        ({}, None, None, None),
    ],
)
def test_the_global_seed_is_known_where_it_was_kept(hyperparameters, seed, global_seed, known):
    what = {"hyperparameters": hyperparameters}
    assert global_seed_of(record(what=what, seed=seed, global_seed=global_seed)) == known
