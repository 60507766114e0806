"""What the README and the pages of the documentation say is what the package does."""

from __future__ import annotations

import ast
import functools
import io
import json
import re
from pathlib import Path

import lightning as L
import pytest
import torch
from PIL import Image

from benchmarks import pictures, tables
from benchmarks.simulated import CpuTimeCounter
from docs.make import proofs
from lightning_energy import EnergyCallback, compare, energy_penalized_accuracy, explain, load_record, study
from lightning_energy.commands.main import main as lightning_energy_command
from lightning_energy.comparison.rank_stability import stability
from lightning_energy.ledger.accounts import SAVING
from lightning_energy.ledger.phases import KINDS
from lightning_energy.meters import CalibratedMeter
from lightning_energy.results.power_track import merge
from lightning_energy.scores.formula import EnergyPenalized
from lightning_energy.study.gather import Spent
from lightning_energy.training import log_keys
from lightning_energy.training.dashboards.names import AXIS_ACCURACY, AXIS_SCORE
from tests.comparison.replays import course
from tests.modules import Classifier, Data
from tests.records import put

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
LINES = 120
PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in {"index.md", "gallery.md"})
JOULES = ROOT / "docs/where-the-joules-come-from.md"
SCORE = ROOT / "docs/how-to/score.md"
IN_BRACKETS: set[str] = set()  # python docs/make/proofs.py moves the proofs of these pages, too


def test_the_readme_is_read_in_two_minutes():
    assert len(README.splitlines()) <= LINES


def rows(page: str, header: str) -> list[list[str]]:
    lines = page.split(header)[1].splitlines()[2:]
    table = lines[: next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_worked_values_of_the_score():
    page = SCORE.read_text()
    header, *_ = (line for line in page.splitlines() if line.startswith("| accuracy | E"))
    energies = [float(re.findall(r"[\d.]+", cell)[0]) for cell in header.strip("|").split("|")[1:]]
    for accuracy, *values in rows(page, "| accuracy | E"):
        for energy_kwh, value in zip(energies, values, strict=True):
            assert energy_penalized_accuracy(float(accuracy), energy_kwh) == pytest.approx(float(value), abs=5e-5)


class Unmoved(Classifier):
    def value(self) -> float:
        return 0.5


@pytest.mark.filterwarnings("ignore")  # users are shown them: they end nothing
def test_the_first_code_block_is_short_and_does_what_the_readme_says(tmp_path, monkeypatch, capsys):
    """With a model that learns nothing, so that no score is better than the first one."""
    block = README.split("```python\n")[1].split("```")[0]
    assert len(block.strip().splitlines()) <= LINES // 10
    monkeypatch.chdir(tmp_path)
    names = {"model": Unmoved(), "datamodule": Data()}
    exec(compile(block, "README", "exec"), names)
    trainer, (record,) = names["trainer"], [load_record(file) for file in tmp_path.rglob("energy.json")]
    assert 1 + 5 <= len(record.epochs) == trainer.current_epoch < 100  # the first score, and the patience
    assert {"energy/score", "energy/total_wh", "energy/train_j"} <= trainer.callback_metrics.keys()
    assert "Energy: " in capsys.readouterr().out


def test_the_block_that_calibrates_a_meter_runs():
    page = (ROOT / "docs/how-to/calibrate.md").read_text()
    (block,) = (b.split("```")[0] for b in page.split("```python\n")[1:] if "CalibratedMeter" in b.split("```")[0])
    names = {}
    exec(block.replace("\nEnergyCallback(", "\nenergy = EnergyCallback("), names)
    assert isinstance(names["energy"].meters, CalibratedMeter)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_block_that_makes_a_profile_and_the_command_that_merges_it_run(tmp_path, monkeypatch, capsys):
    """With a simulated counter, as a machine without one has no power to draw."""
    page = (ROOT / "docs/what-a-run-leaves.md").read_text().split("## Power beside a PyTorch profile")[1]
    block = page.split("```python\n")[1].split("```")[0]
    command = page.split("```bash\n")[1].split("```")[0].split()
    monkeypatch.chdir(tmp_path)
    names = {"L": L, "model": Classifier(), "datamodule": Data()}
    names["EnergyCallback"] = functools.partial(EnergyCallback, meters=CpuTimeCounter())
    exec(compile(block, "page", "exec"), names)
    assert command[0] == "lightning-energy"
    assert lightning_energy_command(command[1:]) == 0
    assert "wrote trace.power.json: the power of 1 device" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_the_function_of_the_first_study_trains(tmp_path):
    page = (ROOT / "docs/tutorials/first-study.md").read_text()
    threads = torch.get_num_threads()
    names = {"__name__": "train"}
    exec(compile(page.split("```python\n")[1].split("```")[0], "train.py", "exec"), names)
    configs = json.loads(page.split("```json\n")[1].split("```")[0])
    names["train"](configs["small"] | {"max_epochs": 1}, 0, tmp_path)
    torch.set_num_threads(threads)
    (record,) = tmp_path.rglob("energy.json")
    assert load_record(record).report.metric.name == "val_acc"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: p.name)
def test_everything_linked_exists(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in IN_BRACKETS], ids=lambda p: p.name)
def test_proofs_stand_in_footnotes(page):
    """After a new one in brackets: python docs/make/proofs.py PAGE."""
    text = page.read_text()
    assert proofs.moved(text) == text


def test_a_proof_becomes_a_footnote_behind_the_sentence():
    page = "Energy\nfalls [`tests/a.py::b`,\n`tests/c.py`].\n\n| it | rises [`tests/a.py`]; so |\n\nAgain.[^7]\n"
    notes = f"\n{proofs.SAID}\n\n[^1]: `tests/a.py::b`, `tests/c.py`\n[^2]: `tests/a.py`\n"
    after = "Energy falls.[^1]\n\n| it | rises;[^2] so |\n\nAgain.[^2]\n"
    assert proofs.moved(f"{page}\n[^7]: `tests/a.py`\n") == after + notes
    assert proofs.moved(after + notes) == after + notes
    assert proofs.moved("Nothing is claimed.\n") == "Nothing is claimed.\n"


CODE = (
    "Write `[^x]` behind it, or ``[`tests/a.py`]``.",
    "~~~text\n[^1]: a note [`tests/a.py`]\n```\n[^2]\n~~~",
    "````md\n```\n[`tests/a.py`]\n```\n````",
    "> ```\n> [`tests/a.py`][^3]\n> ```",
    "- one:\n  ```\n  [`tests/a.py`]\n  ```",
    "```\n[`tests/a.py`] in a fence that nobody closes",
)


@pytest.mark.parametrize("code", CODE)
def test_proofs_in_code_are_code(code):
    assert proofs.moved(f"{code}\n") == f"{code}\n"
    after = proofs.moved(f"So it is [`tests/b.py`].\n\n{code}\n")
    assert after == f"So it is.[^1]\n\n{code}\n\n{proofs.SAID}\n\n[^1]: `tests/b.py`\n" or "closes" in code
    assert after.startswith(f"So it is.[^1]\n\n{code}")


def test_a_block_of_code_below_a_proof_stays_a_block():
    page = "So it is [`tests/b.py`]:\n```\na  b\n```\nand `[^x]` on [`tests/c.py`].\n"
    notes = f"\n{proofs.SAID}\n\n[^1]: `tests/b.py`\n[^2]: `tests/c.py`\n"
    assert proofs.moved(page) == "So it is:[^1]\n```\na  b\n```\nand `[^x]` on.[^2]\n" + notes


def test_a_proof_in_a_quote_leaves_a_quote():
    long = " ".join(["word"] * 30)
    page = f"> One [`tests/a.py`,\n> `tests/b.py`].\n>\n> {long} [`tests/c.py`].\n"
    after = proofs.moved(page)
    quoted, _, notes = after.partition("\n\n")
    lines = quoted.split("\n")
    assert all(line.startswith(">") and len(line) <= proofs.WIDTH for line in lines)
    assert " ".join(line.removeprefix(">").strip() for line in lines).split() == f"One.[^1] {long}.[^2]".split()
    assert lines[1] == ">"
    assert notes == f"{proofs.SAID}\n\n[^1]: `tests/a.py`, `tests/b.py`\n[^2]: `tests/c.py`\n"
    assert proofs.moved(after) == after


@functools.cache
def functions_of(file: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_test_that_a_page_names_exists(page):
    """A page names tests and benchmarks. Which of them prove what it says, a reader must judge."""
    named = re.findall(r"`((?:tests|benchmarks)/[\w/.]+)(?:::(\w+))?`", page.read_text())
    assert named
    for file, test in named:
        assert (ROOT / file).is_file(), file
        if test:
            assert test in functions_of(file), f"{file} has no {test}"


def test_the_errors_of_single_steps_are_the_benchmarks():
    cells = json.loads((ROOT / "benchmarks/results/accuracy.json").read_text())["steps"]
    mean = {
        (period_s, method): sum(c[method] for c in cells if (c["period_s"], c["step_s"]) == (period_s, 0.05)) / 3
        for period_s in (0.1, 0.02)
        for method in ("ours", "lines", "counter")
    }
    fine, coarse = (f"{100 * mean[period_s, 'ours']:.1f} %" for period_s in (0.02, 0.1))
    line, at_ends, at_ends_fine = mean[0.02, "lines"], mean[0.1, "counter"], mean[0.02, "counter"]
    assert (
        f"50 ms steps over a simulated 20 ms counter are {fine} off (straight lines: {100 * line:.1f} %), over a "
        f"100 ms counter {coarse}, where reading the counter at the step's ends is {100 * at_ends_fine:.0f} and "
        f"{100 * at_ends:.0f} % off"
    ) in " ".join(JOULES.read_text().split())


def test_what_many_ranks_cost_is_the_benchmarks():
    result = json.loads((ROOT / "benchmarks/results/ranks.json").read_text())
    page = " ".join((ROOT / "docs/with-your-trainer.md").read_text().split())
    two, four, eight = (f"{row['epoch_ours_ms']:.2g} ms" for row in result["rows"])
    assert f"three reductions of {' + '.join(map(str, result['bytes']))} bytes" in page
    assert f"{two} per epoch with 2 ranks, {four} with 4 and {eight} with 8" in page
    assert f"gives {result['model']['at_1024_ms']:.0f} ms per epoch at 1,024 ranks" in page


def test_the_two_commands_use_the_constraints():
    commands = [line for line in README.splitlines() if line.startswith("pip install")]
    assert len(commands) == 2
    assert len([line for line in README.splitlines() if "pytest" in line]) == 1  # which .ci/run takes
    assert all("-c constraints.txt" in c for c in commands)


@pytest.mark.parametrize("path", tables.PAGES, ids=lambda path: path.stem)
def test_the_figures_of_a_page_are_the_benchmarks(path):
    """After new results: python benchmarks/tables.py."""
    page = path.read_text()
    assert tables.filled(page, path) == page


@pytest.mark.parametrize("page", pictures.REPORTED, ids=lambda page: page.name)
def test_the_report_is_the_quickstarts_as_it_is_worded_now(page):
    """After a change of the report: python benchmarks/pictures.py --report."""
    assert pictures.with_report(page.read_text()) == page.read_text()


def test_the_replay_is_of_the_committed_record_as_it_is_worded_now():
    """After a change of whatif: python benchmarks/pictures.py --wisely."""
    page = pictures.WISELY.read_text()
    assert pictures.with_replay(page) == page
    found = pictures.replayed()
    for name in pictures.REPLAYED:
        assert picture(name)[1]["caveats"] == [*found.runs[0].caveats]


def test_the_verdict_is_of_the_committed_record_as_it_is_worded_now():
    """After a change of explain: what it says of benchmarks/results/slow-loader.json goes into the page by hand."""
    text = explain(pictures.RESULTS / "slow-loader.json")
    assert f"```text\n{text}\n```" in (ROOT / "docs/what-to-do-about-it.md").read_text()


def test_the_training_is_the_committed_one():
    """After a new one: docs/spending-wisely.md by hand."""
    printed = (pictures.RESULTS / "spend-wisely.txt").read_text()
    assert f"```text\n{printed}```" in pictures.WISELY.read_text()
    page, printed = (" ".join(text.split()) for text in (pictures.WISELY.read_text(), printed))
    whole, budget, stopped = (
        load_record(pictures.RESULTS / f"whatif-{name}.json") for name in ("whole", "budget", "stopped")
    )
    of_whole, kwh = max(row.metric for row in whole.epochs), whole.total.energy_kwh
    assert f"It took {1e3 * kwh:.3g} Wh" in printed
    of_budget, of_price = printed.split("EnergyBudget: ")[1].split("A point may cost ")
    for record, text in ((budget, of_budget), (stopped, of_price)):
        best, saved = max(row.metric for row in record.epochs), 100 * (1 - record.total.energy_kwh / kwh)
        assert f"{abs(best - of_whole) * 100:.1f} points ({best:.4f} instead of {of_whole:.4f})" in text
        assert f"Saved: {saved:.0f} % of the energy ({1e3 * record.total.energy_kwh:.3g} instead of" in text
        assert f"stopped in epoch {record.epochs[-1].epoch}" in text
        (ended,) = (note.text for note in record.notes if note.kind == "ended")
        assert text is of_budget or ended.removeprefix("Ended by EnergyEfficiencyStopping: ") in text
    assert f"the budget of {kwh / 2:.4g} kWh" in of_budget
    assert ended.startswith("Ended by EnergyEfficiencyStopping")

    (replayed,) = pictures.replayed().runs
    replay = next(r for r in replayed.replays if r.rule == "a point for more than its mean")
    assert f"The replay: {replay.sentence()}." in of_price
    assert stopped.epochs[-1].epoch == replay.epoch
    assert f"the mean price is {replay.settings['max_kwh_per_point']:.3g} kWh" in page
    assert f"it stopped in epoch {replay.epoch}, as the replay had said: **0.2 points given up, {saved:.0f} %" in page
    assert f"At epoch {replay.epoch} it would have given up {-replay.points:.1f} points and saved" in page
    assert f"saved {100 * replay.saved:.0f} % of the energy. Most of the rest was spent after the best value" in page


def test_the_sweep_is_the_committed_one():
    """After a new one: docs/spending-wisely.md by hand."""
    document = json.loads((pictures.RESULTS / "sweep.json").read_text())
    spent = {use: Spent(**row) for use, row in document["spent"].items()}
    energy, _, _ = "\n".join(study.StudyReport(None, (), spent, (), ()).below()).partition("\n\n")
    page = pictures.WISELY.read_text()
    assert energy in page
    page, trials = " ".join(page.split()), document["trials"]
    pruned = [trial for trial in trials if trial["state"] == "PRUNED"]
    assert f"Of {len(trials)} trials {len(pruned)} were pruned." in page
    for number in (0, 3):
        accuracy, kwh = trials[number]["values"]
        assert f"{accuracy:.4f} for {1e3 * kwh:.3g} Wh" in page


BLOCKS = re.findall(r"```python\n(.*?)```", pictures.WISELY.read_text(), re.DOTALL)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"block-{i}", marks=[pytest.mark.slow] if "optuna" in code else [])
        for i, code in enumerate(BLOCKS)
    ],
)
def test_a_block_of_the_page_runs_as_it_stands(code, tmp_path, monkeypatch):
    """In a folder of its own, where there are records."""
    if "optuna" in code:
        pytest.importorskip("optuna")
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    course(tmp_path / "runs")
    exec(compile(code, pictures.WISELY.name, "exec"), {"__name__": "block"})
    plt.close("all")
    if "objective" in code:
        assert len([*tmp_path.glob("runs/sweep/tuning/*/energy.json")]) == 3


def test_the_winners_among_the_seven_models():
    page = " ".join(pictures.WISELY.read_text().split())
    found = [stability(pictures.models(), EnergyPenalized(reference_kwh=kwh)) for kwh in (1e-5, 1e-4)]
    (logistic, small), (small_again, wide) = (of.over_alpha for of in found)
    assert (logistic.name, small.name, small_again.name, wide.name) == (
        "logistic",
        "cnn-small",
        "cnn-small",
        "cnn-wide",
    )
    assert f"the logistic regression wins up to an alpha of {logistic.high:.3g}" in page
    assert f"at 1e-04 kWh the small one wins up to {small_again.high:.3g}" in page


PICTURES = [*pictures.PAGES, *pictures.COMPARED, *pictures.REPLAYED, pictures.RUN_PAGE, pictures.POWER_TRACK]


def picture(name: str) -> tuple[Image.Image, dict[str, list[str]]]:
    with Image.open(pictures.IMAGES / name) as image:
        return image.convert("RGB"), json.loads(image.text["about"])


def test_every_picture_is_made_by_the_script_and_shown():
    assert {path.name for path in pictures.IMAGES.iterdir()} == {*PICTURES}
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert all(f"images/{name})" in pages for name in PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_light_sharp_and_not_empty(name):
    image, _ = picture(name)
    assert image.width >= 1200
    assert image.height >= 700
    if name in pictures.PAGES:
        assert image.size == (pictures.PAGES[name].width, pictures.PAGES[name].height)
    grey = image.convert("L").histogram()
    light = sum(grey[200:]) / sum(grey)
    assert 0.6 < light < 0.995  # Perfetto has dark headings and coloured slices
    assert len(image.getcolors(maxcolors=256)) > 16


@pytest.mark.parametrize("name", pictures.PAGES)
def test_a_picture_of_tensorboard_shows_what_is_logged_now(name):
    """After a change of names: python benchmarks/pictures.py."""
    _, about = picture(name)
    ours = {tag for tag in about["names"] if tag.startswith("energy")}
    known = {key.name for key in log_keys.ALL}
    assert {log_keys.TOTAL_WH, log_keys.SCORE, log_keys.STEP_J} <= ours
    assert {tag for tag in ours - known if not tag.startswith((f"{AXIS_ACCURACY}_by_", f"{AXIS_SCORE}_by_"))} == set()
    assert log_keys.POWER_W not in ours  # the energies are estimated, as the captions say


def test_the_picture_of_a_runs_page_has_the_sections_of_now():
    """After a change of the page: python benchmarks/pictures.py --page."""
    assert picture(pictures.RUN_PAGE)[1]["headings"] == pictures.headings(pictures.run_html())


def test_the_picture_of_a_power_track_has_the_tracks_of_now():
    record = load_record(pictures.SLOW)
    start_us = 1e6 * record.started_unix_s
    event = {"ph": "X", "name": "step", "pid": 1, "tid": 1, "ts": start_us + 1e6, "dur": 1e6}
    profile = {"baseTimeNanoseconds": 0, "traceEvents": [event]}
    merged = merge(profile, Path("trace.json"), record, pictures.SLOW).document
    tracks = {event["name"] for event in merged["traceEvents"] if event["ph"] == "C"}
    about = picture(pictures.POWER_TRACK)[1]
    assert about["names"] == sorted(tracks)
    assert {*KINDS, "validate step"} - {SAVING} <= {*about["slices"]}  # it saves no checkpoints


def test_the_example_of_plus_and_minus_is_of_that_record():
    (block,) = re.findall(r"```text\n(.*?)```", (ROOT / "docs/what-plus-minus-means.md").read_text(), re.DOTALL)
    report = str(load_record(pictures.SLOW).report).splitlines()
    assert all(any(said.startswith(line) for said in report) for line in block.splitlines())
    total = load_record(pictures.SLOW).total
    assert (round(total.energy_j, 1), round(total.u_absolute_j / total.energy_j, 3)) == (28.6, 0.05)


@pytest.mark.parametrize("name", pictures.COMPARED)
def test_a_picture_of_a_comparison_has_the_caveats_of_now(name, tmp_path):
    for run in ("a", "b"):
        put(tmp_path / run, spent={"quality": "estimated"})
    _, about = picture(name)
    assert about["caveats"] == compare(tmp_path).caveats


def test_a_page_without_its_block_is_an_error():
    with pytest.raises(ValueError, match="0 blocks 'overhead'"):
        tables.filled("# What it costs\n")
