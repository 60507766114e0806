from __future__ import annotations

from pathlib import Path

import pytest

from lightning_energy.results.notes import Note
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


@pytest.mark.parametrize(
    ("record", "match"),
    [
        ({"spent": {"missing_s": 360.0}}, "the energy of 6.0 min of that run, 10 % of its time, is missing"),
        ({"absent_ranks": 1}, "the energy of 1 other rank is missing"),
        ({"notes": [Note("killed_session", "An earlier session was killed: …")]}, "An earlier session was killed"),
        ({"notes": [Note("unknown_before", "Earlier sessions are not known")]}, "Earlier sessions are not known"),
    ],
)
def test_a_record_of_which_energy_is_missing_is_no_reference(tmp_path, record, match):
    """A lower bound would make every score too good, or too bad, by an unknown factor."""
    file = put(tmp_path, 2.0, **record)
    with pytest.raises(ValueError, match=match) as error:
        reference_of(file)
    assert str(error.value).endswith("2 kWh are a lower bound. Give a number of kWh")


def test_the_moment_before_a_sensor_first_moves_is_no_obstacle(tmp_path):
    assert reference_of(put(tmp_path, 2.0, spent={"missing_s": 180.0})) == 2.0


def test_no_record():
    with pytest.raises(ValueError, match="nowhere does not exist. Give a number of kWh, 'run', or the record of a f"):
        reference_of(Path("nowhere"))


def test_a_word_that_is_no_path_is_told_in_one_sentence_and_a_folder_without_a_record_with_where_records_are(tmp_path):
    with pytest.raises(ValueError, match="does not exist") as error:
        reference_of("first")
    assert str(error.value) == (
        "reference_kwh='first': first does not exist. Give a number of kWh, 'run', or the record of a finished run"
    )
    put(tmp_path / "runs" / "a", 2.0)
    with pytest.raises(ValueError, match=r"energy.json does not exist: records lie below it, try .*runs/a\. Give a nu"):
        reference_of(tmp_path)
