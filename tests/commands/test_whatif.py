"""The command ``lightning-energy whatif``."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest

from lightning_energy import whatif
from lightning_energy.commands import main as cli
from tests.commands.calls import HEAVY, call
from tests.comparison.replays import course
from tests.records import put


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    return course(tmp_path / "run").parent


def test_formats(run, capsys):
    assert cli.main(["whatif", str(run)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100
    assert "EarlyStopping(metric, patience=3)" in out
    assert cli.main(["whatif", str(run), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == whatif(run).to_plain()
    assert cli.main(["whatif", str(run), "--format", "csv"]) == 0
    rows = [*csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert [row["kind"] for row in rows] == [r.kind for r in whatif(run).replays]
    assert cli.main(["whatif", str(run), "--format", "markdown"]) == 0
    assert "| rule | stops in |" in capsys.readouterr().out


def test_options(run, tmp_path, capsys):
    small = put(tmp_path / "small", 2.0)
    arguments = [
        "--rules", "metric,best,efficiency,budget", "--patience", "1", "--patience", "2", "--min-delta", "0.125",
        "--alpha", "1", "--alpha", "20", "--beta", "2", "--reference-kwh", str(small), "--reference-kwh", "50",
        "--max-kwh-per-point", "0.6", "--window", "2", "--point", "0.03125", "--budget-kwh", "5", "--metric", "val_acc",
        "--scale", "fraction", "--score", "penalized",
    ]  # fmt: skip
    assert cli.main(["whatif", str(run), *arguments, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == whatif(
        run, rules=("metric", "best", "efficiency", "budget"), patience=(1, 2), min_delta=0.125, alpha=(1, 20),
        beta=2, reference_kwh=(small, 50), max_kwh_per_point=0.6, window=2, point=0.03125, budget_kwh=5,
        metric="val_acc", scale="fraction", score="penalized",
    ).to_plain()  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "required: RUN"),
        (["x", "--patience", "0"], "'0': give a whole number from 1 on"),
        (["x", "--patience", "2.5"], "'2.5': give a whole number from 1 on"),
        (["x", "--min-delta", "-1"], "'-1': give a number from 0 on"),
        (["x", "--alpha", "nan"], "'nan': give a number above 0"),
        (["x", "--budget-kwh", "0"], "'0': give a number above 0"),
        (["x", "--max-kwh-per-point", "-2"], "'-2': give a number above 0"),
        (["x", "--reference-kwh", "0"], "'0': give a number above 0"),
        (["x", "--point", "inf"], "'inf': give a number above 0"),
        (["x", "--rules", "luck"], "'luck': give some of metric,score"),
        (["x", "--format", "xml"], "invalid choice"),
        (["x", "--picture", "a.gif"], "'a.gif': give a file that ends in .png or .svg"),
    ],
)
def test_wrong_arguments(arguments, match, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["whatif", *arguments])
    assert error.value.code == 2
    assert match in capsys.readouterr().err


def test_exit_codes(run, tmp_path, capsys):
    """Wrong input is 2, also beside runs that can be replayed; records that tell too little are 3."""
    put(tmp_path / "silent", 1.0, 0.9)
    assert cli.main(["whatif", str(tmp_path / "silent")]) == 3
    out, err = capsys.readouterr()
    assert out == "There is no run to replay.\n"
    assert err == (
        f"lightning-energy whatif: {tmp_path}/silent/energy.json cannot be replayed: its record has no epoch with a "
        f"value of the metric: validate in the epochs of a training\n"
    )
    assert cli.main(["whatif", str(run), str(tmp_path / "silent")]) == 2
    assert cli.main(["whatif", str(run), str(tmp_path / "nowhere")]) == 2
    assert cli.main(["whatif", str(tmp_path / "nowhere")]) == 2
    assert cli.main(["whatif", str(run), "--score", "sustainable", "--reference-kwh", "2"]) == 2
    assert "reference_kwh=2.0 belongs to score='penalized'" in capsys.readouterr().err
    assert cli.main(["whatif", str(run), "--reference-kwh", "run"]) == 2
    assert "reference_kwh='run' is for a training: give a number of kWh" in capsys.readouterr().err


def test_a_picture(run, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    file = tmp_path / "new" / "whatif.svg"
    assert cli.main(["whatif", str(run), "--picture", str(file)]) == 0
    assert file.stat().st_size > 10_000
    assert f"wrote {file}" in capsys.readouterr().err
    (tmp_path / "file").write_text("in the way")
    assert cli.main(["whatif", str(run), "--picture", str(tmp_path / "file" / "x.png")]) == 2
    assert "x.png cannot be written" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["whatif", str(run), "--picture", str(file)]) == 2
    assert "a picture needs matplotlib: pip install matplotlib" in capsys.readouterr().err


@pytest.mark.slow
def test_it_loads_no_torch(run):
    called = call("whatif", run)
    assert called.code == 0, called.err
    assert not HEAVY & called.loaded
