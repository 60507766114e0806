"""The command ``lightning-energy report``; its formats are tested where they are made."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from lightning_energy.commands import main as cli
from lightning_energy.results.formats import FORMATS
from lightning_energy.results.notes import Note
from tests.commands.calls import HEAVY, call
from tests.records import put


def test_a_report_loads_no_torch(tmp_path):
    called = call("report", put(tmp_path, 2.0, 0.9))
    assert called.code == 0, called.err
    assert "2 kWh" in called.out
    assert not HEAVY & called.loaded


def test_no_format_loads_torch(tmp_path):
    code = """
import sys
from lightning_energy.commands.main import main
_, run, heavy, *names = sys.argv
for name in names:
    assert main(["report", run, "--format", name, "--carbon-intensity", "100", "--pue", "1.1"]) == 0, name
    assert not {*heavy.split()} & {*sys.modules}, name
    print("the end of", name)
"""
    arguments = [str(put(tmp_path, 2.0, 0.9)), " ".join(HEAVY), *FORMATS]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.split("the end of .*\n", done.stdout)
    assert len([text for text in shown if text.strip()]) == len(FORMATS)


def test_a_run_that_broke_off_is_put_together_without_torch(tmp_path):
    called = call("report", put(tmp_path, 2.0, 0.9, ranks=1, absent_ranks=1, outcome="interrupted"))
    assert called.code == 0, called.err
    assert "Missing: the energy of 1.00 h of 1.00 h, 1 other rank; more was spent" in called.out
    assert "1 rank(s) left no record" not in called.out
    assert not HEAVY & called.loaded


def test_the_folder_of_a_run_will_do(tmp_path, capsys):
    put(tmp_path, 2.0, 0.9)
    assert cli.main(["report", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["energy_j"] == pytest.approx(2.0 * 3.6e6)


def test_what_is_no_record_is_wrong_input(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "nowhere")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lightning-energy report: ")


def test_details_name_what_the_short_report_leaves_out(tmp_path, capsys):
    put(tmp_path, 2.0, 0.9, notes=[Note("samples", "samples could not be counted")])
    assert cli.main(["report", str(tmp_path)]) == 0
    brief = capsys.readouterr().out
    assert "samples could not be counted" not in brief
    assert brief.endswith(f"1 note: lightning-energy report {tmp_path} --details\nRecord: {tmp_path / 'energy.json'}\n")
    assert cli.main(["report", str(tmp_path), "--details"]) == 0
    assert "Note: samples could not be counted" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--details"], ["--format", "json"]])
def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path, more):
    put(tmp_path, 2.0, 0.9)
    command = [sys.executable, "-c", "from lightning_energy.commands.main import main; raise SystemExit(main())"]
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does, before anything is written
    done = subprocess.run(
        [*command, "report", str(tmp_path), *more], stdout=writer, stderr=subprocess.PIPE, check=False, timeout=280
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_report_that_nobody_takes_is_an_error(tmp_path, capsys, monkeypatch):
    put(tmp_path, 2.0, 0.9)
    with (tmp_path / "closed").open("w") as closed:
        closed.close()
        monkeypatch.setattr(sys, "stdout", closed)
        assert cli.main(["report", str(tmp_path)]) == 2
        monkeypatch.undo()
    assert "the report cannot be printed (ValueError" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("command", [["report"], ["report", "--format", "json"], ["compare"], ["doctor"]])
@pytest.mark.parametrize("target", ["closed", "/dev/full"])
def test_a_stdout_that_takes_nothing_brings_no_traceback(tmp_path, command, target):
    runs = [str(put(tmp_path / "a", 2.0, 0.9)), str(put(tmp_path / "b", 1.0, 0.8))]
    options = {"doctor": ["--seconds", "0.1"], "report": runs[:1], "compare": runs}[command[0]]
    code = "from lightning_energy.commands.main import main; raise SystemExit(main())"
    redirect = ">&-" if target == "closed" else f">{target}"
    shell = f'exec "$@" {redirect}'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-c", code, *command, *options],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=280,
    )
    if target == "closed":
        assert (done.returncode in {0, 1}, done.stderr) == (True, "")
    else:
        assert done.returncode == 2
        assert done.stderr.startswith(f"lightning-energy {command[0]}: ")
        assert "Traceback" not in done.stderr


def test_the_folder_of_a_study_has_a_report_of_its_own(tmp_path, capsys):
    (tmp_path / "study.json").write_text("{}")
    assert cli.main(["report", str(tmp_path)]) == 2
    assert f"it is the folder of a study: `lightning-energy study report {tmp_path}`" in capsys.readouterr().err
