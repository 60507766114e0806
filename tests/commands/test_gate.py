from __future__ import annotations

import pytest

from lightning_energy.commands import main as cli
from tests.records import put


@pytest.fixture
def folder(tmp_path):
    """Four runs before, as many now, and some that cost a tenth more."""
    for name, kwh in (("base", 1.0), ("same", 1.0), ("dear", 1.1)):
        for i, off in enumerate((-0.004, 0.0, 0.002, 0.003)):
            put(tmp_path / name / str(i), kwh * (1 + off * (1 + i / 9)), 0.9 - off)
    put(tmp_path / "other" / "0", 1.0, 0.9, device="GPU-2")
    return tmp_path


def gate(folder, new, *more):
    return cli.main(["gate", "--base", str(folder / "base"), "--new", str(folder / new), "--max-increase", "3%", *more])


@pytest.mark.parametrize(
    ("new", "code", "heading"), [("same", 0, "passed"), ("dear", 1, "failed"), ("same/1", 3, "cannot tell")]
)
def test_exit_codes_and_summary(folder, capsys, new, code, heading):
    assert gate(folder, new) == code
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"### Energy gate: {heading}\n")
    assert "| base | 4 | 1000.6 ± 3.5 |" in out
    assert "allowed: +3.00 %." in out


def test_wrong_input(folder, capsys):
    assert gate(folder, "nothing") == gate(folder, "other") == 2
    err = capsys.readouterr().err
    assert "nothing does not exist" in err
    assert "measured by different sensors" in err
    with pytest.raises(SystemExit) as ended:
        gate(folder, "same", "--max-increase", "many")
    assert ended.value.code == 2


def test_small_energies_have_figures(tmp_path, capsys):
    for name, kwh in (("base", 1e-6), ("new", 1.2e-6)):
        for i in range(3):
            put(tmp_path / name / str(i), kwh * (1 + i / 1000), 0.9 + i / 1000)
    assert gate(tmp_path, "new") == 1
    out = capsys.readouterr().out
    assert "| | runs | J | " in out
    assert "| base | 3 | 3.6036 ± 0.0036 |" in out


def test_what_is_wrong_with_one_side_is_told_once_and_of_that_side(folder, capsys):
    put(folder / "same" / "loss", 1.0, 0.3, name="val_loss", mode="min", scale="raw")
    assert gate(folder, "same") == 2
    out = capsys.readouterr().out
    assert "- loss of new is not counted: its metric is val\\_loss (less is better), the others' is accuracy" in out
    assert gate(folder, "dear", "--metric", "nope") == 2
    err = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2][:34] for line in err] == [
        "base: metric='nope' is the metric ", "new: metric='nope' is the metric o"
    ]  # fmt: skip


def test_several_configurations_on_a_side_are_told(tmp_path, capsys):
    for side in ("base", "new"):
        for model in ("small", "wide"):
            for seed in range(3):
                what = {"hyperparameters": {"model": model, "seed": seed}}
                put(tmp_path / side / model / str(seed), 1.0 + seed / 100, 0.9 + seed / 100, what=what)
    gate(tmp_path, "new")
    out = capsys.readouterr().out
    words = "has runs of 2 configurations, by their settings, of which this is one mean: give those of one"
    assert f"- base {words}." in out
    assert f"- new {words}." in out


def test_what_nobody_foresaw_is_no_answer(folder, capsys, monkeypatch):
    """An exit code of 1 says that the energy rose."""

    def fails(*_):
        raise OverflowError("too large")

    monkeypatch.setattr("lightning_energy.commands.gate.gate", fails)
    assert gate(folder, "same") == 2
    assert "OverflowError: too large" in capsys.readouterr().err


def test_what_crashed_is_shown(folder, capsys):
    put(folder / "same" / "crashed", 0.1, 0.2, outcome="interrupted")
    assert gate(folder, "same") == 0
    assert "- crashed of new is not counted: it was interrupted." in capsys.readouterr().out


def test_a_number_of_runs_is_for_new_ones(folder, capsys):
    for i, off in enumerate((-0.004, 0.0, 0.002, 0.003)):
        put(folder / "near" / str(i), 1.026 * (1 + off), 0.9 - off)
    assert gate(folder, "near") == 3
    out = capsys.readouterr().out
    assert "% that was seen, some " in out
    assert "train that many anew on both sides, and judge these alone" in out


def test_it_says_which_runs_are_pairs(tmp_path, capsys):
    for name, seeds in (("base", (0, 1, 2, 3)), ("same", (3, 2, 1, 7))):
        for i, seed in enumerate(seeds):
            put(tmp_path / name / str(i), 1.0 + i * i / 1000, 0.9 - i / 1000, seed=seed)
    gate(tmp_path, "same")
    assert "- Paired by the seeds of 3 of 4 runs." in capsys.readouterr().out
