"""The command ``lightning-energy totals``."""

from __future__ import annotations

import csv
import io
import json

import pytest

from lightning_energy.commands import main as cli
from tests.commands.calls import HEAVY, call
from tests.records import put


@pytest.fixture
def runs(tmp_path):
    put(tmp_path / "vision/version_0", 1.0, run_id="a")
    put(tmp_path / "vision/version_1", 2.0, run_id="b", spent={"missing_s": 60.0})
    put(tmp_path / "speech/version_0", 0.004, run_id="c", spent={"quality": "estimated", "u_absolute_j": 7200.0})
    return tmp_path


def test_the_table(runs, capsys):
    assert cli.main(["totals", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "project  runs         measured     estimated             not known",
        "speech      1                -  4.0 ± 2.0 Wh                     -",
        "vision      2  3.00 ± 0.15 kWh             -  a part of 1, 1.0 min",
        "all         3  3.00 ± 0.15 kWh  4.0 ± 2.0 Wh  a part of 1, 1.0 min",
        "",
        "± is the absolute standard uncertainty (k=1). Sensors err alike in all runs: it does not average out.",
        "A run counts by the worst kind of figure in it; kinds are not added up.",
        "Estimated: from the CPU time of the training, by a model; no measurement.",
        "Energy that is not known is in no sum: more was spent.",
    ]


def test_it_loads_no_torch(runs):
    called = call("totals", runs, "--format", "json")
    assert called.code == 0, called.err
    assert json.loads(called.out)["whole"]["runs"] == 3
    assert not HEAVY & called.loaded


def test_csv_has_an_empty_cell_for_what_there_is_not(runs, capsys):
    assert cli.main(["totals", str(runs), "--format", "csv", "--by", "month", "--by", "project"]) == 0
    speech, vision = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (speech["month"], speech["project"], speech["measured_kwh"]) == ("1970-01", "speech", "")
    assert float(vision["measured_kwh"]) == pytest.approx(3.0)
    assert float(speech["estimated_u_kwh"]) == pytest.approx(0.002)


def test_wrong_input(runs, capsys):
    assert cli.main(["totals", str(runs), "--by", "label"]) == 2
    assert "no run has 'label'" in capsys.readouterr().err
    assert cli.main(["totals", str(runs / "nowhere")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "does not exist" in err


def test_nothing_in_a_cell_is_a_formula(tmp_path, capsys):
    """Not in the first line either: names of hyperparameters are other people's."""
    put(tmp_path, 1.0, run_id="a", what={"hyperparameters": {"=1+1": "@sum", "b": "x\x1b[2J,\n-1"}})
    assert cli.main(["totals", str(tmp_path), "--by", "=1+1", "--by", "b", "--format", "csv"]) == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header[:2] == ["'=1+1", "b"]
    assert row[0] == "'@sum"
    assert "\x1b" not in row[1]
    assert cli.main(["totals", str(tmp_path), "--by", "b"]) == 0
    assert "\x1b" not in capsys.readouterr().out
