from __future__ import annotations

import pytest

from lightning_energy.results.own_files import free_place, is_record, kept_place, kept_places
from lightning_energy.results.write import write_record
from tests.records import record


def test_a_record_is_known_by_its_content(tmp_path):
    file = tmp_path / "energy.json"
    assert not is_record(file)
    write_record(file, record())
    assert is_record(file)
    file.write_text('{"format": "lightning-energy-record", "version": 99}')
    assert is_record(file)  # a later release's


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": "another"}', "not json", "\x00", "[" * 100_000])
def test_other_files_are_none(tmp_path, content):
    file = tmp_path / "config.json"
    file.write_text(content)
    assert not is_record(file)
    assert free_place(file) == tmp_path / "config-2.json"
    (tmp_path / "config-2.json").write_text(content)
    assert free_place(file) == tmp_path / "config-3.json"
    write_record(tmp_path / "config-3.json", record())
    assert free_place(file) == tmp_path / "config-3.json"  # ours


def test_a_folder_a_link_and_an_unreadable_name_are_none(tmp_path):
    (tmp_path / "energy.json").mkdir()
    assert free_place(tmp_path / "energy.json") == tmp_path / "energy-2.json"
    (tmp_path / "energy-2.json").symlink_to(tmp_path / "nowhere")
    assert free_place(tmp_path / "energy.json") == tmp_path / "energy-3.json"


def test_kept_records_have_names_of_their_own(tmp_path):
    file = tmp_path / "energy.json"
    first = kept_place(file, 0.0)
    assert first.name.startswith("energy.19")
    assert first.suffix == ".json"
    first.write_text("")
    second = kept_place(file, 0.0)
    assert second == first.with_name(f"{first.stem}-2.json")
    second.write_text("")
    for other in ("energy.json", "energy.rank1.json", "energy.rankings.json", "energy.steps.json", "other.json"):
        (tmp_path / other).write_text("")
    assert kept_places(file) == sorted([first, second])
    assert kept_places(tmp_path / "nowhere" / "energy.json") == []
