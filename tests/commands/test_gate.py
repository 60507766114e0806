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
    assert "| base | 4 | 1.0006 ± 0.0035 kWh |" in out
    assert "allowed: +3.00 % (of geometric means; the table has arithmetic ones)." in out
    conditions = "- The 95 % hold if runs are independent (trained in turns), scatter roughly normally (of a few"
    assert (conditions in out) == (code != 3)


def test_wrong_input(folder, capsys):
    assert gate(folder, "nothing") == gate(folder, "other") == 2
    err = capsys.readouterr().err
    assert "nothing does not exist" in err
    assert "measured by different sensors" in err
    with pytest.raises(SystemExit) as ended:
        gate(folder, "same", "--max-increase", "many")
    assert ended.value.code == 2


def test_a_loss_in_points_is_none_of_a_fraction(folder, capsys):
    assert gate(folder, "same", "--max-loss", "1") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.rstrip().endswith(
        "--max-loss=1: accuracy is shown as a fraction, which loses no more than 1: give 0.01 for 1 point of a hundred"
    )


def test_half_a_point_is_no_half_of_a_fraction(tmp_path, capsys):
    """Who logs percentages, and lost thirty points."""
    for name, accuracy in (("base", 90.0), ("same", 60.0)):
        for i, off in enumerate((-0.4, 0.1, 0.3)):
            put(tmp_path / name / str(i), 1 + off / 99, accuracy + off, scale="percent")
    assert gate(tmp_path, "same", "--max-loss", "0.5") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.rstrip().endswith(
        "--max-loss=0.5: accuracy is shown as a fraction, also where percentages were logged: give 0.005 for 0.5 "
        "points of a hundred"
    )
    assert gate(tmp_path, "same", "--max-loss", "0.005") == 1


def test_what_crashed_is_shown(folder, capsys):
    put(folder / "same" / "crashed", 0.1, 0.2, outcome="interrupted")
    assert gate(folder, "same") == 0
    out = capsys.readouterr().out
    assert "- crashed of new is not counted: it was interrupted." in out
    assert "a configuration that often fails looks better than it is" in out
    assert gate(folder, "dear") == 1
    assert "often fails" not in capsys.readouterr().out


def test_of_a_metric_of_which_less_is_better_the_sign_is_explained(tmp_path, capsys):
    """Copies, whose metric has no interval: a loss of 0.5 that falls to 0.25."""
    for name, loss in (("base", 0.5), ("new", 0.25)):
        for i in range(3):
            put(tmp_path / name / str(i), 1.0 + i / 100, loss, name="val_loss", mode="min", scale="raw")
    assert gate(tmp_path, "new") == 0
    said = "val_loss: +0.25 (more is better: its sign is turned), without an interval."
    assert said in capsys.readouterr().out.replace("\\_", "_")


def test_a_number_of_runs_is_for_new_ones(folder, capsys):
    for i, off in enumerate((-0.004, 0.0, 0.002, 0.003)):
        put(folder / "near" / str(i), 1.026 * (1 + off), 0.9 - off)
    assert gate(folder, "near") == 3
    out = capsys.readouterr().out
    assert "% that was seen, some " in out
    assert "train that many anew on both sides, and judge these alone" in out
    assert "Each look has its own chance of a wrong answer" in out


def test_missing_energy_is_told_with_every_answer(folder, capsys):
    """Of an hour 3 minutes are missing, a twentieth at the mean power that the record has."""
    for name, kwh, code in (("less", 0.9, 0), ("more", 1.1, 1)):
        for i, off in enumerate((-0.004, 0.0, 0.002, 0.003)):
            put(folder / name / str(i), kwh * (1 + off * (1 + i / 9)), 0.9 - off, spent={"missing_s": 180.0})
        assert gate(folder, name) == code
        out = capsys.readouterr().out
        assert "% at least, if missing time was spent at mean power" in out
        assert (
            "- Energy of 4 of 8 runs is missing (up to 5 % of theirs, if it was spent at their mean power): the "
            "interval reaches to what it may have cost."
        ) in out
    gate(folder, "same")
    assert "missing" not in capsys.readouterr().out


def test_it_says_which_runs_are_pairs(tmp_path, capsys):
    for name, seeds in (("base", (0, 1, 2, 3)), ("same", (3, 2, 1, 7))):
        for i, seed in enumerate(seeds):
            put(tmp_path / name / str(i), 1.0 + i * i / 1000, 0.9 - i / 1000, seed=seed)
    gate(tmp_path, "same")
    assert (
        "- Increases are of the 3 shared seeds; the other 2 runs count for nothing here; the table has all runs."
    ) in capsys.readouterr().out


def test_a_record_on_both_sides_is_refused(folder, capsys, monkeypatch):
    """Records that know no id of their run, in a base that holds the new runs as well, given in another way."""
    monkeypatch.chdir(folder / "base")
    assert cli.main(["gate", "--base", str(folder / "base"), "--new", "0", "--max-increase", "3%"]) == 2
    assert "they have a run in common: give the records of each side alone" in capsys.readouterr().err


def test_small_energies_have_digits(tmp_path, capsys):
    """Trainings in continuous integration take joules: 1e-6 kWh are 3.6 J."""
    for name, kwh in (("base", 1e-6), ("dear", 1.2e-6)):
        for i, off in enumerate((-0.004, 0.0, 0.002, 0.003)):
            put(tmp_path / name / str(i), kwh * (1 + off), 0.9 - off)
    assert gate(tmp_path, "dear") == 1
    out = capsys.readouterr().out
    assert "| | runs | energy ± sd | accuracy ± sd |" in out
    assert "| base | 4 | 3.601 ± 0.011 J |" in out
    assert "| new | 4 | 4.321 ± 0.013 J |" in out


def test_no_loss_at_all_may_be_asked_for(folder, capsys):
    assert gate(folder, "same", "--max-loss", "0") == 3
    assert "; allowed: a loss of 0." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        gate(folder, "same", "--max-increase", "150%")
    assert "give a share from 0 on and below 100 %, such as 3% or 0.03" in capsys.readouterr().err


def test_what_is_wrong_says_of_which_side_and_of_which_run(folder, capsys):
    put(folder / "same" / "loss", 1.0, 0.5, name="val_loss", mode="min", scale="raw")
    for name in ("base", "same"):
        put(folder / name / "wide", 1.0, 0.9, what={"parameters": 10**12})
    assert gate(folder, "same") == 2
    out, err = capsys.readouterr()
    assert "- loss of new is not counted: its metric is val_loss (less is better), the others' is accuracy" in (
        out.replace("\\_", "_")
    )
    assert "- The runs of base are of several configurations (parameters): give those of one." in out
    assert err.count("lightning-energy gate: new: ") == err.count("lightning-energy gate: ") == 1
    assert gate(folder, "same", "--metric", "nope") == 2
    err = capsys.readouterr().err
    assert "gate: base: metric='nope' is the metric of no run (val_acc: 5): give the name of one of theirs" in err
    assert "has no run that ended" not in err
