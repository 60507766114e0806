"""Lines on what was evaluated outside of ``fit``."""

from __future__ import annotations

import time
from dataclasses import replace

from lightning_energy import Energy
from lightning_energy.commands.main import main
from lightning_energy.results.evaluated import lines_of_evaluations
from lightning_energy.results.rows import Evaluation
from lightning_energy.results.write import write_record
from tests.records import energy, record

BEGUN = time.mktime((2026, 11, 28, 22, 30, 0, 0, 0, -1))


def test_each_stage_is_told_with_what_it_took_and_how_it_ended():
    tested = Evaluation(BEGUN, "completed", {"test": energy(0.001)}, {"test": {"samples": 8, "tokens": None}})
    broken = Evaluation(BEGUN + 60, "interrupted", {"validate": Energy.unknown(2.0)})
    test, validation = lines_of_evaluations(replace(record(1.0, 0.9), evaluations=[tested, broken]))
    assert test.startswith("Outside of fit, test of 2026-11-28 22:30:00: 3.6 kJ ")
    assert test.endswith(", 8 samples")
    assert validation == "Outside of fit, validate of 2026-11-28 22:31:00 (interrupted): energy missing, 2.00 s"


def test_a_record_prints_them_with_its_details(tmp_path, capsys):
    run = replace(record(1.0, 0.9), evaluations=[Evaluation(BEGUN, "completed", {"test": energy(0.001)})])
    write_record(tmp_path / "energy.json", run)
    for more, told in (([], 0), (["--details"], 1)):
        assert main(["report", str(tmp_path), *more]) == 0
        assert capsys.readouterr().out.count("Outside of fit, test of") == told
    write_record(tmp_path / "energy.json", replace(run, evaluations=[]))
    assert main(["report", str(tmp_path), "--details"]) == 0
    assert "Outside of fit" not in capsys.readouterr().out
