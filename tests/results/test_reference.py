from __future__ import annotations

from pathlib import Path

import pytest

from lightning_energy.results.reference import reference_of
from tests.records import put


def test_what_is_no_path_stays_as_it_is():
    assert [reference_of(given) for given in (2.0, 3, "run", None)] == [2.0, 3, "run", None]


@pytest.mark.parametrize("outcome", ["completed", "interrupted"])
def test_a_finished_run_gives_its_energy(tmp_path, outcome):
    file = put(tmp_path, 2.0, outcome=outcome)
    assert reference_of(file) == reference_of(str(tmp_path)) == 2.0


@pytest.mark.parametrize(
    ("record", "match"),
    [
        ({"kwh": None}, "the energy of that run is not known"),
        ({"kwh": 0.0}, "the energy of that run is not known"),
        ({"total": None}, "the energy of that run is not known"),
        ({"outcome": "running"}, "has not ended, or was killed, so that its energy is not final. Give a number of kWh"),
    ],
)
def test_a_record_without_a_final_energy(tmp_path, record, match):
    file = put(tmp_path, **record)
    with pytest.raises(ValueError, match=match) as error:
        reference_of(file)
    assert str(error.value).startswith(f"reference_kwh='{file}': ")


def test_no_record():
    with pytest.raises(ValueError, match="nowhere does not exist.*Give a number of kWh, 'run', or the record of a f"):
        reference_of(Path("nowhere"))
