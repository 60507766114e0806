"""Every example does what it shows: one as its users run it, the others in this process, which has loaded torch."""

from __future__ import annotations

import re
import runpy
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_energy import compare, load_record, study
from lightning_energy.results.write import write_record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run an example in ``tmp_path``; gives all that it printed."""

    def run_(script: str, *arguments: str) -> str:
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # users are shown them: they end nothing
            patch.chdir(tmp_path)
            patch.setenv("COLUMNS", "120")
            patch.setattr(sys, "argv", [script, *arguments])
            patch.syspath_prepend(EXAMPLES)
            runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    yield run_
    sys.modules.pop("quickstart", None)  # what examples import from each other


def tags(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {*events.Tags()["scalars"]}


def test_quickstart(tmp_path, warm):
    """In an interpreter of its own."""
    arguments = ["--max-epochs", "3", "--log-dir", "logs"]
    done = warm.run(EXAMPLES / "quickstart.py", *arguments, cwd=tmp_path, env={"COLUMNS": "120"})
    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    assert "Energy: " in out
    assert "tensorboard --logdir logs" in out
    folder = tmp_path / "logs/quickstart/version_0"
    is_estimated = load_record(folder).total.quality == "estimated"
    assert ("energy/power_w" in tags(folder)) is not is_estimated
    expected = {
        "energy/step_j",
        "energy/total_wh",
        "energy/score",
        "energy/train_j",
        "energy/val_j",
    }
    assert expected <= tags(folder)


def test_early_stopping(tmp_path, run):
    # so low a reference that accuracies alone decide the end, whatever this machine's energy is
    out = run("early_stopping.py", "--max-epochs", "9", "--reference-kwh", "1e-7")
    assert "<- the other run stopped here" in out
    stopped, of = (int(word) for word in out.split("Stopped after ")[1].split(" epochs")[0].split(" of "))
    assert stopped < of == 9
    full = load_record(tmp_path / "runs/early_stopping/to-the-end")
    if full.total.quality == "estimated":
        assert "No saving is sure: the energies are estimated by a model, not measured." in out
        assert "That saved" not in out
    assert {"energy/score"} <= tags(tmp_path / "runs/early_stopping/stopped")


def test_spend_wisely(tmp_path, run):
    # so dear a point that patience alone decides the end, whatever this machine's energy is
    out = run("spend_wisely.py", "--max-epochs", "4", "--times", "1e9", "--patience", "1")
    assert "What a replay cannot know:" in out
    folder = tmp_path / "runs/spend_wisely"
    whole, budget, stopped = (load_record(folder / name) for name in ("whole", "budget", "stopped"))
    said = " ".join(out[out.rindex("\nForecast after ") :].split())
    assert f"for 4 epochs. It took {1e3 * whole.total.energy_kwh:.3g} Wh: the forecast was " in said
    is_warned = "EnergyBudget: the budget of " in said  # a first epoch may take all of it, or allow no forecast
    assert len(budget.epochs) > 1 or not is_warned
    (ended,) = (note.text for note in budget.notes if note.kind == "ended")
    step = re.search(r"at step (\d+), \S+ J over its \S+ J; a step takes \S+ J\.", said)[1]
    assert ended.endswith(f" were spent at step {step}")
    replays = re.findall(r"The replay: (?:stopping at epoch (\d+)|it goes to the end)", said)
    assert len(stopped.epochs) - 1 == int(replays[1] or 3)
    assert said.count(" points (") == said.count("Saved: ") == 2


def test_slow_loader(tmp_path, run):
    out = run("slow_loader.py", "--max-epochs", "1", "--delay-ms", "1")
    assert "waiting for data" in out  # told, too little, or not looked at: as this machine's meters are
    assert "lightning-energy explain runs/slow_loader/version_0" in out
    assert load_record(tmp_path / "runs/slow_loader/version_0").phases["train"]


def test_energy_budget(tmp_path, run):
    out = run("energy_budget.py", "--max-j", "4")
    first, second = (float(line.split(" spent ")[1].split(" J")[0]) for line in out.splitlines() if " J of " in line)
    assert first > 0.9 * 4 * 0.9  # all but the reserve
    assert second > max(first, 2 * 4 * 0.9)
    assert (tmp_path / "runs/energy_budget/first/energy-budget.ckpt").exists()


def test_cli(tmp_path, run):
    out = run("cli.py", "fit", "--config", str(EXAMPLES / "cli.yaml"), "--trainer.max_epochs", "1")
    assert "Energy: " in out
    (saved,) = tmp_path.rglob("config.yaml")
    assert "reference_kwh: 1.0e-05" in saved.read_text()
    again = run("cli.py", "fit", "--config", str(saved))
    assert "Energy: " in again


def test_help_of_the_cli_comes_from_the_docstring(run, capsys):
    with pytest.raises(SystemExit) as exit_:
        run("cli.py", "fit", "--trainer.callbacks.help", "lightning_energy.EnergyCallback")
    assert not exit_.value.code
    out = capsys.readouterr().out
    assert "penalty begins to bite" in " ".join(out.split())


def test_compare_models(tmp_path, run):
    out = run("compare_models.py", "--max-epochs", "1")
    assert "lightning-energy compare runs/compare_models --picture compare.png --html compare.html" in out
    comparison = compare(tmp_path / "runs/compare_models")
    assert {r.name for r in comparison.runs} == {
        "logistic", "mlp-small", "mlp-wide", "cnn-small", "cnn-wide", "lstm", "transformer"
    }  # fmt: skip
    assert comparison.problems == []
    assert comparison.formula.reference_kwh == 1e-5
    assert len({r.parameters for r in comparison.runs}) == len({r.module for r in comparison.runs}) + 2
    assert all(r.is_comparable and r.sample_j for r in comparison.runs)
    assert comparison.front


def test_optuna_sweep(tmp_path, run):
    # a worse trial ends at once, whatever this machine's energy is; the first one is that of quickstart.py
    quick = ["--trials", "4", "--max-epochs", "3", "--final-epochs", "1", "--seeds", "1", "--times", "0"]
    out = run("optuna_sweep.py", *quick)
    folder = tmp_path / "runs/optuna_sweep"
    trials = [load_record(folder / f"tuning/trial-{n:03}") for n in range(4)]
    outcomes = [trial.outcome for trial in trials]
    assert outcomes[0] == "completed"
    pruned = [trial for trial in trials if trial.outcome == "interrupted"]
    assert pruned
    assert all(trial.total.energy_j > 0 for trial in pruned)
    ends = [note.text for trial in pruned for note in trial.notes if note.kind == "ended"]
    assert len(ends) == len(pruned)
    assert all(end.startswith("Ended by TrialPruned: in epoch ") for end in ends)
    assert f"4 trials: {4 - len(pruned)} complete, {len(pruned)} pruned" in out
    found = study.report(folder)
    tuning = found.spent["tuning"]
    assert tuning.energy_kwh == pytest.approx(sum(trial.total.energy_kwh for trial in trials), rel=1e-12)
    assert (tuning.n, tuning.interrupted, found.spent["runs"].n) == (4, len(pruned), 1)
    assert f"; {len(pruned)} of them interrupted" in out
    assert "all together: 5 with " in out

    (final,) = folder.glob("final/*/seed-0/energy.json")
    write_record(final, replace(load_record(final), outcome="interrupted"))  # of a Ctrl-C
    again = run("optuna_sweep.py", *quick[2:], "--trials", "1")  # it goes on
    assert "5 trials: " in again
    assert study.report(folder).spent["tuning"].n == 5
    finals = [load_record(file).outcome for file in folder.glob("final/*/seed-0*/energy.json")]
    assert sorted(finals) == ["completed", "interrupted"]

    run("optuna_sweep.py", *quick[2:], "--trials", "1", "--score")  # another search, with trials from 0 on
    assert study.report(folder).spent["tuning"].n == 6
    assert {file.name for file in folder.rglob("*.json")} == {"energy.json"}
    assert len([*folder.glob("final/*/seed-0*/energy.json")]) == 3


def test_optuna_sweep_with_one_objective(tmp_path, run):
    out = run("optuna_sweep.py", "--score", "--trials", "2", "--max-epochs", "2", "--final-epochs", "1", "--seeds", "1")
    assert "2 trials: 2 complete" in out  # Optuna's pruner lets some trials finish first
    assert "best: trial " in out


def test_paper_study(tmp_path, run):
    run("paper_study.py", "--quick")
    out = run("paper_study.py", "--quick", "--report")
    folder = tmp_path / "runs/paper_study/digits"
    records = {name: load_record(folder / f"runs/{name}/seed-0/run") for name in ("logistic", "mlp-small")}
    assert {(r.seed, r.n_val, r.n_test) for r in records.values()} == {(0, 359, 359)}
    assert "randomized blocks, seed 0" in out
    assert "validation: 359; test: 359" in out
    assert {"report.txt", "comparison.html", "comparison.png"} <= {p.name for p in (folder / "report").iterdir()}
