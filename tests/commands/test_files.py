"""Files that commands write."""

from __future__ import annotations

import pytest

from lightning_energy.commands.main import main
from tests.records import put


@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_record_is_never_written_over(tmp_path, capsys, command):
    """A slip of the hand would cost the figures of a run."""
    record = put(tmp_path, 1.0, run_id="a")
    before = record.read_bytes()
    assert main([command, str(tmp_path), "--html", str(record)]) == 2
    assert f"{record} is a record, which stays as it is: give another file" in capsys.readouterr().err
    assert record.read_bytes() == before
